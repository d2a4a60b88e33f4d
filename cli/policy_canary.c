/* policy_canary.c: hakmem-policy canary: what the processes of a canary have reported (HAKMEM_CANARY_OUT,
 * outcome.c of the allocator) promotes a policy, retires it, or is not enough yet.
 *
 * Both arms are compared by the logarithms of processor time and of peak memory, with a confidence sequence
 * (Howard, Ramdas, McAuliffe, Sekhon, Annals of Statistics 2021, normal mixture): it may be looked at after
 * every record without being wrong more often for it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/policy_verbs.h"
#include "core/base/wire.h"

#define ERROR_RATE  0.05
#define MIXTURE     20.0 /* records at which the sequence is tightest */
#define MIN_RECORDS 8    /* of each arm */
#define TOLERANCE   0.01 /* what a policy may cost */
#define MAX_RETIRED 0.10 /* share of processes in which its guard retired it */
#define LINE_BYTES  512

typedef struct arm {
    uint64_t count, retired;
    double sum[2], squares[2]; /* log processor time, log peak */
} arm;

typedef struct change {
    double mean, low, high;
} change;

static bool take_record(const char *line, uint32_t crc, arm arms[2])
{
    char name[16];
    unsigned found_crc;
    double cpu_ms, peak_kib;
    uint64_t retired;
    if (sscanf(line, "canary 1 policy %x arm %15s pid %*u cpu_ms %lf peak_kib %lf retired %" SCNu64,
               &found_crc, name, &cpu_ms, &peak_kib, &retired) != 5)
        return false;
    bool policy = strcmp(name, "policy") == 0;
    if (found_crc != crc || (!policy && strcmp(name, "default") != 0) || !(cpu_ms > 0) || !(peak_kib > 0))
        return false;
    arm *a = &arms[policy];
    const double values[2] = {log(cpu_ms), log(peak_kib)};
    a->count++;
    a->retired += retired != 0;
    for (unsigned i = 0; i < 2; i++) {
        a->sum[i] += values[i];
        a->squares[i] += values[i] * values[i];
    }
    return true;
}

static double variance(const arm *a, unsigned i)
{
    double n = (double)a->count;
    return fmax((a->squares[i] - a->sum[i] * a->sum[i] / n) / (n - 1), 1e-12);
}

static change compare(const arm arms[2], unsigned i)
{
    double n = 2.0 / (1.0 / (double)arms[0].count +
                      1.0 / (double)arms[1].count); /* records of an even pair of arms */
    double spread = sqrt(variance(&arms[0], i) + variance(&arms[1], i));
    double mean = arms[1].sum[i] / (double)arms[1].count - arms[0].sum[i] / (double)arms[0].count;
    double half = spread * sqrt((n + MIXTURE) * log((n + MIXTURE) / (MIXTURE * ERROR_RATE * ERROR_RATE))) / n;
    return (change){mean, mean - half, mean + half};
}

static void put_change(const char *what, change c)
{
    printf("%-15s %+.1f%% [%+.1f, %+.1f]\n", what, 100 * expm1(c.mean), 100 * expm1(c.low),
           100 * expm1(c.high));
}

/* HAK_STATE_CANARY: not decided yet. */
static uint32_t decide(const arm arms[2])
{
    if (arms[0].count < MIN_RECORDS || arms[1].count < MIN_RECORDS) {
        printf("not enough: %d records of each arm are needed at least\n", MIN_RECORDS);
        return HAK_STATE_CANARY;
    }
    change time = compare(arms, 0), peak = compare(arms, 1);
    put_change("processor time", time);
    put_change("peak memory", peak);
    double limit = log1p(TOLERANCE);
    if ((double)arms[1].retired > MAX_RETIRED * (double)arms[1].count) {
        printf("retired by its own guard in %" PRIu64 " processes\n", arms[1].retired);
        return HAK_STATE_RETIRED;
    }
    if (time.low > limit || peak.low > limit)
        return HAK_STATE_RETIRED;
    if (time.high < limit && peak.high < limit && (time.high < 0 || peak.high < 0))
        return HAK_STATE_FROZEN;
    return HAK_STATE_CANARY;
}

static int read_records(const char *path, uint32_t crc, arm arms[2])
{
    char line[LINE_BYTES];
    uint64_t others = 0;
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return hak_policy_trouble(path, "cannot be read");
    while (fgets(line, sizeof line, in) != NULL)
        others += !take_record(line, crc, arms);
    bool failed = ferror(in) != 0;
    fclose(in);
    if (failed)
        return hak_policy_trouble(path, "cannot be read");
    printf("%" PRIu64 " records with the policy, %" PRIu64 " without, %" PRIu64
           " of other policies or broken\n",
           arms[1].count, arms[0].count, others);
    return 0;
}

/* The policy's bytes as programs load them name it in their records. */
static int crc_of(const hak_policy *policy, uint32_t *crc)
{
    hak_policy_error error = {.text = ""};
    size_t len_bytes;
    hak_policy_header *bytes = hak_policy_encode(policy, &len_bytes, &error);
    if (bytes == NULL)
        return hak_policy_trouble(NULL, error.text);
    *crc = bytes->crc32;
    free(bytes);
    return 0;
}

int hak_verb_canary(int argc, char **argv)
{
    const char *out = NULL, *records = NULL;
    const hak_verb_option options[] = {
        {"-o", &out, true}, {"--records", &records, true}, {NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 2 || records == NULL)
        return hak_policy_trouble(
            NULL, "canary takes --records=FILE, one policy in state canary, and -o FILE for the verdict");
    hak_policy policy;
    if (hak_policy_load(argv[1], &policy) != 0)
        return EXIT_TROUBLE;
    uint32_t crc = 0;
    arm arms[2] = {{0}};
    hak_policy_error error = {.text = ""};
    int status = policy.state != HAK_STATE_CANARY ? hak_policy_trouble(argv[1], "is not in state canary")
                                                  : crc_of(&policy, &crc);
    if (status == 0)
        status = read_records(records, crc, arms);
    if (status == 0) {
        uint32_t verdict = decide(arms);
        puts(verdict == HAK_STATE_FROZEN    ? "promoted: frozen"
             : verdict == HAK_STATE_RETIRED ? "retired"
                                            : "undecided: let it run on");
        policy.state = verdict;
        status = verdict == HAK_STATE_CANARY ? EXIT_FINDING : 0;
        if (status == 0 && out != NULL && hak_policy_write(&policy, out, false, &error) != 0)
            status = hak_policy_trouble(out, error.text);
    }
    hak_policy_clear(&policy);
    return status;
}
