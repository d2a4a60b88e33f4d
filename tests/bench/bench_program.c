/* bench_program.c: one program under several environments, in interleaved rounds: wall time, processor time
 * and peak resident memory of the whole program, and whether it printed the same each time.
 *
 *   bench_program [--rounds N] [--seed N] [--input FILE]
 *                 --as NAME [VAR=VALUE]… [--via WORD]… [--as NAME …]… -- PROGRAM ARGS…
 *
 * --via puts a word in front of the program: a wrapper command and its options, a word at a time.
 *
 * Each round runs every variant once, in an order shuffled by the seed; the first variant is what the others
 * are compared with. Figures are medians over the rounds; the ratio is the median of the rounds' own ratios,
 * with the second lowest and highest of them when there are enough to leave one out at each end. Exit status
 * 0; 1 when a variant printed something else or failed; 2 trouble. One thread. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_VARIANTS  32
#define MAX_VARIABLES 16
#define MAX_ROUNDS    1000
#define MAX_WORDS     64

typedef struct run {
    double wall_ms;
    double cpu_ms;
    double peak_kib;
    double faults;
} run;

typedef struct variant {
    const char *name;
    const char *variables[MAX_VARIABLES + 1];
    unsigned variable_count;
    const char *via[MAX_VARIABLES];
    unsigned via_count;
    bool failed;
    int status;
    run *runs;
} variant;

static variant variants[MAX_VARIANTS];
static unsigned variant_count;
static unsigned rounds = 5;
static uint64_t seed = 1;
static const char *input_path = "/dev/null";
static uint64_t first_output;
static bool have_output;

static _Noreturn void fail(const char *what, const char *subject)
{
    fprintf(stderr, "bench_program: %s: %s\n", subject, what);
    exit(2);
}

/* FNV-1a over what the program printed. */
static uint64_t digest_of(int fd)
{
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    uint8_t bytes[65536];
    ssize_t count;
    for (off_t at = 0; (count = pread(fd, bytes, sizeof bytes, at)) > 0; at += count)
        for (ssize_t i = 0; i < count; i++)
            digest = (digest ^ bytes[i]) * UINT64_C(0x100000001b3);
    return digest;
}

/* Runs in the child. This program is small, so that the peak which a process inherits over exec is small. */
static _Noreturn void become(const variant *which, char **command, int input, int output)
{
    for (unsigned i = 0; i < which->variable_count; i++)
        putenv((char *)which->variables[i]);
    char *words[MAX_WORDS + 1] = {NULL};
    unsigned count = 0;
    for (unsigned i = 0; i < which->via_count; i++)
        words[count++] = (char *)which->via[i];
    while (*command && count < MAX_WORDS)
        words[count++] = *command++;
    if (*command || dup2(input, 0) < 0 || dup2(output, 1) < 0)
        _exit(126);
    execvp(words[0], words);
    _exit(127);
}

static double timeval_ms(struct timeval time)
{
    return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void measure(variant *which, char **command, run *result)
{
    int input = open(input_path, O_RDONLY | O_CLOEXEC);
    int output = memfd_create("output", MFD_CLOEXEC);
    if (input < 0 || output < 0)
        fail(strerror(errno), input_path);
    double from = now_ms();
    pid_t pid = fork();
    if (pid == 0)
        become(which, command, input, output);
    struct rusage usage;
    int status;
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
        fail(strerror(errno), command[0]);
    *result = (run){now_ms() - from, timeval_ms(usage.ru_utime) + timeval_ms(usage.ru_stime),
                    (double)usage.ru_maxrss, (double)usage.ru_minflt};
    uint64_t digest = digest_of(output);
    if (!have_output)
        first_output = digest;
    have_output = true;
    if (status != 0 || digest != first_output) {
        which->failed = true;
        which->status = status;
    }
    close(input);
    close(output);
}

static uint64_t next_random(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed >> 33;
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

typedef struct spread {
    double middle, low, high;
} spread;

/* Sorts `values` in place. */
static spread spread_of(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    unsigned skip = count >= 6 ? 1 : 0;
    return (spread){(values[(count - 1) / 2] + values[count / 2]) / 2, values[skip],
                    values[count - 1 - skip]};
}

static double column(const run *of, unsigned which)
{
    const double values[] = {of->wall_ms, of->cpu_ms, of->peak_kib, of->faults};
    return values[which];
}

static spread spread_of_column(const variant *of, unsigned which, bool relative)
{
    double values[MAX_ROUNDS];
    for (unsigned i = 0; i < rounds; i++)
        values[i] = column(&of->runs[i], which) / (relative ? column(&variants[0].runs[i], which) : 1);
    return spread_of(values, rounds);
}

static void print_table(void)
{
    printf("%-24s %9s %20s %9s %6s %10s %6s %8s\n", "ALLOCATOR", "WALL ms", "vs first", "CPU ms", "",
           "PEAK RSS", "", "FAULTS");
    for (unsigned i = 0; i < variant_count; i++) {
        const variant *at = &variants[i];
        spread wall = spread_of_column(at, 0, true);
        printf("%-24s %9.1f  %5.2f [%4.2f, %5.2f] %9.1f %6.2f %6.1f MiB %6.2f %8.0f", at->name,
               spread_of_column(at, 0, false).middle, wall.middle, wall.low, wall.high,
               spread_of_column(at, 1, false).middle, spread_of_column(at, 1, true).middle,
               spread_of_column(at, 2, false).middle / 1024, spread_of_column(at, 2, true).middle,
               spread_of_column(at, 3, false).middle);
        if (at->failed)
            printf("  FAILED: %s", at->status ? "status" : "printed something else");
        if (at->failed && at->status)
            printf(" %#x", (unsigned)at->status);
        printf("\n");
    }
    printf("%u interleaved rounds; medians; brackets: %s of the rounds' ratios\n", rounds,
           rounds >= 6 ? "range but one at each end" : "range");
}

static uint64_t number(const char *text, uint64_t max)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < 1 || value > max)
        fail("not a number in range", text);
    return value;
}

/* Returns the command. */
static char **parse(int argc, char **argv)
{
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--rounds") && more) {
            rounds = (unsigned)number(argv[++i], MAX_ROUNDS);
        } else if (!strcmp(argv[i], "--seed") && more) {
            seed = number(argv[++i], UINT64_MAX);
        } else if (!strcmp(argv[i], "--input") && more) {
            input_path = argv[++i];
        } else if (!strcmp(argv[i], "--as") && more && variant_count < MAX_VARIANTS) {
            variants[variant_count++].name = argv[++i];
        } else if (!strcmp(argv[i], "--via") && more && variant_count &&
                   variants[variant_count - 1].via_count < MAX_VARIABLES) {
            variant *last = &variants[variant_count - 1];
            last->via[last->via_count++] = argv[++i];
        } else if (strchr(argv[i], '=') && argv[i][0] != '-' && variant_count &&
                   variants[variant_count - 1].variable_count < MAX_VARIABLES) {
            variant *last = &variants[variant_count - 1];
            last->variables[last->variable_count++] = argv[i];
            /* The loader ignores a library it does not find, and glibc would be compared with itself. */
            if (!strncmp(argv[i], "LD_PRELOAD=", 11) && access(argv[i] + 11, R_OK) != 0)
                fail("no such library", argv[i] + 11);
        } else {
            fail("not understood", argv[i]);
        }
    }
    if (i + 1 >= argc || variant_count == 0)
        fail("usage: [--rounds N] [--input FILE] --as NAME [VAR=VALUE]... -- PROGRAM ARGS...", argv[0]);
    return argv + i + 1;
}

int main(int argc, char **argv)
{
    char **command = parse(argc, argv);
    for (unsigned i = 0; i < variant_count; i++) {
        variants[i].runs = calloc(rounds, sizeof *variants[i].runs);
        if (!variants[i].runs)
            fail("out of memory", argv[0]);
    }
    run warm_up;
    measure(&variants[0], command, &warm_up);
    for (unsigned round = 0; round < rounds; round++) {
        unsigned order[MAX_VARIANTS];
        for (unsigned i = 0; i < variant_count; i++) {
            unsigned other = (unsigned)(next_random() % (i + 1));
            order[i] = order[other];
            order[other] = i;
        }
        for (unsigned i = 0; i < variant_count; i++)
            measure(&variants[order[i]], command, &variants[order[i]].runs[round]);
    }
    print_table();
    bool failed = false;
    for (unsigned i = 0; i < variant_count; i++) {
        failed |= variants[i].failed;
        free(variants[i].runs);
    }
    return failed;
}
