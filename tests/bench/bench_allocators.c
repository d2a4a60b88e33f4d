/* bench_allocators.c: own small workloads (scenarios.h) under several allocators, in interleaved rounds, each
 * run a fresh process with the allocator preloaded: time per allocation, peak resident memory, and the ratio
 * to the best of the others. Run by hand; never gates on time. Exit status 0, 2 trouble. One thread.
 *
 *   bench_allocators --scenario tiny-hot --allocator hakmem,glibc,mimalloc
 *   bench_allocators --scenario all --threads 2
 *   bench_allocators --ablation --scenario large,vm16 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replay/measure.h"
#include "replay/stats.h"
#include "scenarios.h"

#define TOOL       "bench_allocators"
#define ALLOCATORS 32
#define ROUNDS_MAX 1000

static const struct {
    const char *text;
    uint64_t iterations;
    const char *help;
} scenarios[] = {
#define X(name, text, iterations, help) {text, iterations, help},
    BENCH_SCENARIOS(X)
#undef X
};

/* Feature by feature from the honest baseline; the names are those of HAKMEM_FEATURES. */
static const struct {
    const char *label, *target;
} ablation[] = {
    {"minimal", "hakmem:minimal"},
    {"+pool", "hakmem:minimal:HAKMEM_FEATURES=+pool,+lists"},
    {"+BigCache", "hakmem:minimal:HAKMEM_FEATURES=+pool,+lists,+bigcache"},
    {"+batch", "hakmem:minimal:HAKMEM_FEATURES=+pool,+lists,+bigcache,+batch,+thermal"},
    {"+THP", "hakmem:minimal:HAKMEM_FEATURES=+pool,+lists,+bigcache,+batch,+thermal,+thp"},
    {"+ELO", "hakmem:minimal:HAKMEM_FEATURES=+pool,+lists,+bigcache,+batch,+thermal,+thp,+elo"},
    {"balanced", "hakmem:balanced"},
};

typedef struct allocator {
    hak_target target;
    char label[40];
    double ns[ROUNDS_MAX], rss[ROUNDS_MAX], faults[ROUNDS_MAX];
    uint32_t runs;
    bool failed;
    double ns_median, rss_median, faults_median;
} allocator;

static allocator allocators[ALLOCATORS];
static size_t allocator_count;
static bool chosen[SCENARIO_COUNT];
static uint32_t rounds = 7, thread_count = 1;
static uint64_t iterations, seed = 1;
static double scale = 1;
static const char *shape[3]; /* larson's sizes and blocks */
static bool json;

static _Noreturn void fail(const char *what, const char *subject)
{
    fprintf(stderr, TOOL ": %s: %s\n", subject, what);
    exit(2);
}

static void allocator_add(const char *name, const char *label)
{
    hak_trace_error error;
    if (strcmp(name, "system") == 0)
        name = "glibc";
    if (strcmp(name, "hakmem") == 0)
        name = "hakmem:balanced";
    if (allocator_count == ALLOCATORS)
        fail("too many allocators", name);
    allocator *a = &allocators[allocator_count];
    if (hak_target_parse(name, &a->target, &error) != 0)
        fail(error.text, name);
    if (a->target.null)
        fail("is no allocator", name);
    const char *base = strrchr(a->target.name, '/');
    bool path = base != NULL && strncmp(a->target.name, "hakmem", 6) != 0;
    snprintf(a->label, sizeof a->label, "%.39s", label != NULL ? label : path ? base + 1 : a->target.name);
    allocator_count++;
}

static void allocators_installed(void)
{
    static const char *const names[] = {"glibc",         "mimalloc",       "jemalloc", "tcmalloc",
                                        "tcmalloc-full", "tbbmalloc",      "rpmalloc", "snmalloc",
                                        "hakmem:fast",   "hakmem:balanced"};
    hak_target ignored;
    hak_trace_error error;
    for (size_t i = 0; i < HAK_COUNT_OF(names); i++)
        if (hak_target_parse(names[i], &ignored, &error) == 0)
            allocator_add(names[i], NULL);
        else
            fprintf(stderr, TOOL ": left out: %s\n", error.text);
}

static void scenarios_choose(char *list)
{
    char *rest = NULL;
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        bool found = strcmp(name, "all") == 0;
        for (int i = 0; i < SCENARIO_COUNT; i++)
            if (strcmp(name, "all") == 0 || strcmp(name, scenarios[i].text) == 0)
                chosen[i] = found = true;
        if (!found)
            fail("unknown scenario; see --help", name);
    }
}

static void worker_path(char path[4096])
{
    ssize_t len = readlink("/proc/self/exe", path, 4000);
    if (len <= 0)
        fail(strerror(errno), "/proc/self/exe");
    path[len] = '\0';
    strcpy(strrchr(path, '/') + 1, "bench_worker");
}

static bool run_once(const allocator *a, int which, bench_result *result)
{
    char path[4096], count[32], threads[16], preload[4200];
    char *env[HAK_TARGET_MAX_ENV + 2] = {NULL};
    size_t env_count = 0;
    uint64_t n = iterations != 0 ? iterations : (uint64_t)((double)scenarios[which].iterations * scale);
    worker_path(path);
    snprintf(count, sizeof count, "%llu", (unsigned long long)(n != 0 ? n : 1));
    snprintf(threads, sizeof threads, "%u", thread_count);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", a->target.library);
    if (a->target.library[0] != '\0')
        env[env_count++] = preload;
    for (size_t i = 0; i < HAK_TARGET_MAX_ENV && a->target.env[i][0] != '\0'; i++)
        env[env_count++] = (char *)a->target.env[i];
    bool shaped = which == SCENARIO_larson && shape[0] != NULL;
    char *argv[] = {(char *)"bench_worker",
                    (char *)scenarios[which].text,
                    count,
                    threads,
                    shaped ? (char *)shape[0] : NULL,
                    shaped ? (char *)shape[1] : NULL,
                    shaped ? (char *)shape[2] : NULL,
                    NULL};
    int fd = memfd_create("bench", MFD_CLOEXEC);
    int high = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 16) : -1;
    if (high < 0 || ftruncate(high, sizeof *result) != 0)
        fail(strerror(errno), "memory for results");
    close(fd);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, high, 3);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0); /* RESEARCH is talkative */
    pid_t pid;
    int status = posix_spawn(&pid, path, &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    if (status != 0)
        fail(strerror(status), path);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    bool done = WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                pread(high, result, sizeof *result, 0) == (ssize_t)sizeof *result && result->done == 1;
    close(high);
    if (!done)
        fprintf(stderr, TOOL ": %s: %s ended with status 0x%x\n", scenarios[which].text, a->label,
                (unsigned)status);
    const char *base = strrchr(a->target.library, '/');
    if (done && base != NULL && strstr(result->library, "libc.so") != NULL)
        fail("could not be preloaded: malloc is still the C library's", a->target.library);
    return done && result->operations != 0;
}

static void measure(int which)
{
    size_t order[ALLOCATORS];
    uint64_t random = seed;
    for (size_t i = 0; i < allocator_count; i++) {
        order[i] = i;
        allocators[i].runs = 0;
        allocators[i].failed = false;
    }
    for (uint32_t round = 0; round < rounds; round++) {
        for (size_t i = allocator_count; i > 1; i--) {
            size_t k = hak_random_below(&random, (uint32_t)i), swap = order[i - 1];
            order[i - 1] = order[k];
            order[k] = swap;
        }
        for (size_t i = 0; i < allocator_count; i++) {
            allocator *a = &allocators[order[i]];
            bench_result result;
            if (a->failed || (a->failed = !run_once(a, which, &result)))
                continue;
            a->ns[a->runs] = (double)result.time_ns / (double)result.operations;
            a->rss[a->runs] = (double)result.peak_rss_bytes;
            a->faults[a->runs++] = (double)result.minor_faults;
        }
    }
    for (size_t i = 0; i < allocator_count; i++) {
        allocator *a = &allocators[i];
        a->ns_median = hak_stats_median(a->ns, a->runs);
        a->rss_median = hak_stats_median(a->rss, a->runs);
        a->faults_median = hak_stats_median(a->faults, a->runs);
    }
}

static bool is_ours(const allocator *a)
{
    return strncmp(a->target.name, "hakmem", 6) == 0;
}

/* The fastest peer; for an ablation (nothing but ours) the first row. NULL when none was measured. */
static const allocator *best_peer(void)
{
    const allocator *best = NULL;
    for (size_t i = 0; i < allocator_count; i++)
        if (!is_ours(&allocators[i]) && allocators[i].runs != 0 &&
            (best == NULL || allocators[i].ns_median < best->ns_median))
            best = &allocators[i];
    return best != NULL || allocators[0].runs == 0 ? best : &allocators[0];
}

static void print_scenario(int which)
{
    const allocator *best = best_peer();
    printf("%s, %u thread%s: %s\n", scenarios[which].text, thread_count, thread_count == 1 ? "" : "s",
           scenarios[which].help);
    for (size_t i = 0; i < allocator_count; i++) {
        const allocator *a = &allocators[i];
        if (a->runs == 0) {
            printf("  %-18s failed\n", a->label);
            continue;
        }
        printf("  %-18s %10.1f ns %7.2f %10.1f MiB %10.0f faults%s\n", a->label, a->ns_median,
               best != NULL ? a->ns_median / best->ns_median : 0, a->rss_median / 1048576, a->faults_median,
               a == best ? "  <- to beat" : "");
    }
    fflush(stdout);
}

static void print_json(int which, bool first)
{
    printf("%s  {\"scenario\": \"%s\", \"threads\": %u, \"rounds\": %u, \"allocators\": [",
           first ? "" : ",\n", scenarios[which].text, thread_count, rounds);
    for (size_t i = 0; i < allocator_count; i++)
        printf("%s{\"name\": \"%s\", \"runs\": %u, \"ns_per_op\": %.3f, \"peak_rss_bytes\": %.0f, "
               "\"minor_faults\": %.0f}",
               i != 0 ? ", " : "", allocators[i].label, allocators[i].runs, allocators[i].ns_median,
               allocators[i].rss_median, allocators[i].faults_median);
    printf("]}");
}

static void help(void)
{
    puts(
        "Examples:\n"
        "  bench_allocators --scenario tiny-hot --allocator hakmem,glibc,mimalloc\n"
        "  bench_allocators --scenario all --threads 2 --json > bench.json\n"
        "  bench_allocators --ablation --scenario mixed,large,vm\n\n"
        "Options:\n"
        "  --scenario S[,S...]|all   see below (default all)\n"
        "  --allocator A[,A...]      glibc, mimalloc, jemalloc, tcmalloc, tcmalloc-full, tbbmalloc, "
        "rpmalloc,\n"
        "                            snmalloc, hakmem[:MODE], /path/to.so; may be repeated. Default: all "
        "that\n"
        "                            are found in LD_LIBRARY_PATH and the usual folders. Debian has "
        "libmimalloc2.0,\n"
        "                            libjemalloc2, libtcmalloc-minimal4, libgoogle-perftools4 and "
        "libtbbmalloc2\n"
        "  --ablation                hakmem's minimal mode, feature by feature up to balanced\n"
        "  --iterations N            of the scenario's loop, per thread (default: by scenario)\n"
        "  --scale X                 multiplies the default iterations\n"
        "  --threads N               (default 1)\n"
        "  --rounds N                interleaved rounds; medians are shown (default 7)\n"
        "  --larson LOW,HIGH,BLOCKS  sizes and live blocks of the larson scenario\n"
        "  --seed N   --json   --help\n\n"
        "Time is elapsed time over all threads' allocations (with one thread, processor time); memory is the "
        "peak less what was there before.\n"
        "Scenarios:");
    for (int i = 0; i < SCENARIO_COUNT; i++)
        printf("  %-13s %s\n", scenarios[i].text, scenarios[i].help);
}

static void parse_larson(char *text)
{
    char *rest = NULL;
    for (int i = 0; i < 3; i++)
        if ((shape[i] = strtok_r(i == 0 ? text : NULL, ",", &rest)) == NULL)
            fail("--larson takes LOW,HIGH,BLOCKS", "larson");
}

static double number(const char *text, double low, double high, const char *what)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= low && value <= high))
        fail("not a number in range", what);
    return value;
}

static void parse(int argc, char **argv)
{
    static const struct option longs[] = {{"scenario", required_argument, NULL, 's'},
                                          {"allocator", required_argument, NULL, 'a'},
                                          {"iterations", required_argument, NULL, 'i'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"scale", required_argument, NULL, 'x'},
                                          {"larson", required_argument, NULL, 'l'},
                                          {"seed", required_argument, NULL, 'e'},
                                          {"ablation", no_argument, NULL, 'b'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    bool any = false;
    for (int id; (id = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        char *rest = NULL;
        switch (id) {
        case 's':
            scenarios_choose(optarg);
            any = true;
            break;
        case 'a':
            if (strchr(optarg, '=') != NULL) { /* settings hold commas */
                allocator_add(optarg, NULL);
                break;
            }
            for (char *name = strtok_r(optarg, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest))
                allocator_add(name, NULL);
            break;
        case 'b':
            for (size_t i = 0; i < HAK_COUNT_OF(ablation); i++)
                allocator_add(ablation[i].target, ablation[i].label);
            break;
        case 'i':
            iterations = (uint64_t)number(optarg, 1, 1e15, "--iterations");
            break;
        case 't':
            thread_count = (uint32_t)number(optarg, 1, 256, "--threads");
            break;
        case 'r':
            rounds = (uint32_t)number(optarg, 1, ROUNDS_MAX, "--rounds");
            break;
        case 'x':
            scale = number(optarg, 1e-6, 1e6, "--scale");
            break;
        case 'e':
            seed = (uint64_t)number(optarg, 0, 1e15, "--seed");
            break;
        case 'l':
            parse_larson(optarg);
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            help();
            exit(0);
        default:
            exit(2);
        }
    }
    if (optind != argc)
        fail("not an option", argv[optind]);
    for (int i = 0; i < SCENARIO_COUNT && !any; i++)
        chosen[i] = true;
}

/* Geometric means over the scenarios of the ratio to the best peer of each. */
static void print_summary(const double *log_sums, const uint32_t *counts)
{
    puts("geometric mean of the ratios to the best peer of each scenario");
    for (size_t i = 0; i < allocator_count; i++)
        if (counts[i] != 0)
            printf("  %-18s %7.2f\n", allocators[i].label, exp(log_sums[i] / counts[i]));
}

int main(int argc, char **argv)
{
    double log_sums[ALLOCATORS] = {0};
    uint32_t counts[ALLOCATORS] = {0}, measured = 0;
    parse(argc, argv);
    if (allocator_count == 0)
        allocators_installed();
    if (json)
        puts("{\"schema\": 1, \"results\": [");
    for (int which = 0; which < SCENARIO_COUNT; which++) {
        if (!chosen[which])
            continue;
        measure(which);
        if (json)
            print_json(which, measured == 0);
        else
            print_scenario(which);
        measured++;
        const allocator *best = best_peer();
        for (size_t i = 0; i < allocator_count && best != NULL; i++)
            if (allocators[i].runs != 0) {
                log_sums[i] += log(allocators[i].ns_median / best->ns_median);
                counts[i]++;
            }
    }
    if (json)
        puts("\n]}");
    else if (measured > 1)
        print_summary(log_sums, counts);
    return 0;
}
