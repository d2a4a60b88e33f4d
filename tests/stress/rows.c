/* rows.c: see rows.h. The parent allocates nothing; children are killed by process group when they hang. */
#include "rows.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STATUS_FAILED  1
#define STATUS_USAGE   2
#define STATUS_SKIPPED 77
#define SHOWN_BYTES    4096 /* of a row's stderr */
#define POLL_MS        5

static bool unchecked;

static void say(const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t done = write(STDERR_FILENO, text, len);
        if (done <= 0)
            return;
        text += done;
        len -= (size_t)done;
    }
}

static void say_number(long long value)
{
    char digits[24];
    char *at = digits + sizeof digits;
    *--at = '\0';
    bool negative = value < 0;
    unsigned long long rest = negative ? 0ull - (unsigned long long)value : (unsigned long long)value;
    do
        *--at = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (negative)
        *--at = '-';
    say(at);
}

void row_fail(const char *file, int line, const char *text, long long value)
{
    int error = errno;
    const char *name = strrchr(file, '/');
    say(name != NULL ? name + 1 : file);
    say(":");
    say_number(line);
    say(": ");
    say(text);
    say(" failed, value ");
    say_number(value);
    say(", errno ");
    say_number(error);
    say("\n");
    _exit(STATUS_FAILED);
}

void row_skip(const char *why)
{
    say("skipped: ");
    say(why);
    say("\n");
    _exit(STATUS_SKIPPED);
}

static double scale(void)
{
    const char *text = getenv("STRESS_SCALE");
    double value = text != NULL ? strtod(text, NULL) : 1.0;
    return value > 0 ? value : 1.0;
}

size_t scaled(size_t count)
{
    double value = (double)count * scale();
    return value < 1 ? 1 : (size_t)value;
}

void row_leave_unchecked(void)
{
    unchecked = true;
}

/* The symbol, as a function pointer. */
static void *symbol(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

void check_heap(void)
{
    unsigned (*check)(void);
    *(void **)&check = symbol("hakmem_check");
    if (check != NULL)
        EXPECT(check() == 0);
}

const char *hakmem_mode_running(void)
{
    const char *(*mode)(void);
    *(void **)&mode = symbol("hakmem_mode");
    return mode != NULL ? mode() : NULL;
}

int run_row(const char *name, char *const environment[])
{
    extern char **environ;
    char option[] = "--row";
    char *arguments[] = {(char *)"stress", option, (char *)name, NULL};
    pid_t pid;
    EXPECT(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments,
                       environment != NULL ? environment : environ) == 0);
    int status;
    while (waitpid(pid, &status, 0) < 0)
        EXPECT(errno == EINTR);
    return status;
}

static int run_one(const stress_row *row)
{
    const char *expected = getenv("STRESS_EXPECT");
    if (expected != NULL) {
        const char *mode = hakmem_mode_running();
        EXPECT(mode != NULL && strcmp(mode, expected) == 0);
    }
    row->run();
    if (!unchecked)
        check_heap();
    return 0;
}

/* Waits for the child, or ends its whole group at the limit. False: it hung. */
static bool wait_limited(pid_t pid, unsigned limit_s, int *status)
{
    double end = (double)limit_s * (scale() > 1 ? scale() : 1) * 1000;
    for (double waited = 0; waited < end; waited += POLL_MS) {
        if (waitpid(pid, status, WNOHANG) == pid)
            return true;
        sleep_ms(POLL_MS);
    }
    kill(-pid, SIGKILL);
    waitpid(pid, status, 0);
    return false;
}

/* Names modes that print only what they are asked for. */
static bool quiet_mode(void)
{
    const char *mode = getenv("STRESS_EXPECT");
    return mode != NULL && strcmp(mode, "learning") != 0 && strcmp(mode, "research") != 0;
}

static bool run_child(const char *name, unsigned limit_s)
{
    int log = memfd_create("row", MFD_CLOEXEC);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        dup2(log, STDERR_FILENO);
        execl("/proc/self/exe", "stress", "--row", name, (char *)NULL);
        _exit(127);
    }
    int status;
    bool ended = wait_limited(pid, limit_s, &status);
    kill(-pid, SIGKILL); /* what the row left behind */
    char text[SHOWN_BYTES + 1];
    ssize_t len = pread(log, text, SHOWN_BYTES, 0);
    text[len > 0 ? len : 0] = '\0';
    close(log);
    bool chatty = quiet_mode() && strstr(text, "hakmem:") != NULL;
    bool skipped = ended && WIFEXITED(status) && WEXITSTATUS(status) == STATUS_SKIPPED;
    bool fine = ended && WIFEXITED(status) && (WEXITSTATUS(status) == 0 || skipped) && !chatty;
    if (fine)
        printf("%s %s\n", skipped ? "skip" : "ok  ", name);
    else if (!ended)
        printf("FAIL %s: still running after its time limit\n", name);
    else if (WIFSIGNALED(status))
        printf("FAIL %s: %s\n", name, strsignal(WTERMSIG(status)));
    else
        printf("FAIL %s: %s\n", name, chatty ? "printed without being asked" : "exit status not 0");
    if (!fine || skipped)
        printf("%s", text);
    return fine;
}

int rows_main(int argc, char **argv, const stress_row *rows, unsigned count)
{
    if (argc == 3 && strcmp(argv[1], "--row") == 0) {
        for (unsigned i = 0; i < count; i++)
            if (strcmp(rows[i].name, argv[2]) == 0)
                return run_one(&rows[i]);
        return STATUS_USAGE;
    }
    unsigned run = 0, failed = 0;
    for (unsigned i = 0; i < count; i++) {
        bool wanted = argc == 1 && rows[i].name[0] != '.';
        for (int k = 1; k < argc; k++)
            wanted = wanted || strcmp(argv[k], rows[i].name) == 0;
        if (!wanted)
            continue;
        run++;
        failed += !run_child(rows[i].name, rows[i].limit_s != 0 ? rows[i].limit_s : ROWS_LIMIT_S);
    }
    printf("%u rows, %u failed\n", run, failed);
    return run == 0 ? STATUS_USAGE : failed != 0;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

size_t random_size(uint64_t *state, size_t max)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(max);
    size_t size = (size_t)(random_next(state) & ((UINT64_C(1) << (1 + random_next(state) % bits)) - 1)) + 1;
    return size > max ? max : size;
}

/* Digits of the number behind `field` in a /proc file, read in pieces. */
static size_t proc_number(const char *path, const char *field)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        row_skip("no /proc");
    char text[8192];
    size_t len = 0;
    for (ssize_t got; len < sizeof text - 1 && (got = read(fd, text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)got;
    close(fd);
    text[len] = '\0';
    const char *at = field[0] == '\0' ? text : strstr(text, field);
    EXPECT(at != NULL);
    return (size_t)strtoull(at + strlen(field), NULL, 10);
}

size_t resident_bytes(void)
{
    return proc_number("/proc/self/status", "VmRSS:") * 1024;
}

size_t mapped_bytes(void)
{
    return proc_number("/proc/self/status", "VmSize:") * 1024;
}

size_t mapping_count(void)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        row_skip("no /proc");
    static char text[65536];
    size_t lines = 0;
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++)
            lines += text[i] == '\n';
    close(fd);
    return lines;
}

void pattern_fill(void *at, size_t size, uint64_t seed)
{
    unsigned char *bytes = at;
    uint64_t word = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
    size_t i = 0;
    for (; i + sizeof word <= size; i += sizeof word) {
        memcpy(bytes + i, &word, sizeof word);
        word += UINT64_C(0x9E3779B97F4A7C15);
    }
    for (; i < size; i++)
        bytes[i] = (unsigned char)(seed + i);
}

bool pattern_holds(const void *at, size_t size, uint64_t seed)
{
    const unsigned char *bytes = at;
    uint64_t word = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
    size_t i = 0;
    for (; i + sizeof word <= size; i += sizeof word) {
        if (memcmp(bytes + i, &word, sizeof word) != 0)
            return false;
        word += UINT64_C(0x9E3779B97F4A7C15);
    }
    for (; i < size; i++)
        if (bytes[i] != (unsigned char)(seed + i))
            return false;
    return true;
}

bool all_zero(const void *at, size_t size)
{
    const unsigned char *bytes = at;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

void sleep_ms(unsigned ms)
{
    struct timespec span = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&span, &span) != 0 && errno == EINTR)
        ;
}
