/* hostile.c: limits, filters, missing descriptors and file systems, and environments nobody meant. */
#include "rows.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

extern char **environ;

static void some_work(void)
{
    enum { COUNT = 3000 };
    static char *blocks[COUNT];
    uint64_t random = 77;
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            size_t size = random_size(&random, i % 100 ? 6000 : 2 * MIB);
            free(blocks[i]);
            blocks[i] = i % 3 ? malloc(size) : calloc(1, size);
            EXPECT_OF(blocks[i] != NULL, size);
            EXPECT_OF(i % 3 != 0 || all_zero(blocks[i], size), size);
            memset(blocks[i], 0xee, size < 10000 ? size : 10000);
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

static void set_limit(int resource, size_t bytes)
{
    struct rlimit limit = {bytes, bytes};
    EXPECT(setrlimit(resource, &limit) == 0);
}

/* Takes blocks of one size until there is no more; the list is kept in the blocks. */
static size_t exhaust(size_t size, void **list, size_t most)
{
    size_t count = 0;
    void *block;
    *list = NULL;
    errno = 0;
    while (count < most && (block = malloc(size)) != NULL) {
        memset(block, 0x77, size < 4096 ? size : 4096);
        *(void **)block = *list;
        *list = block;
        count++;
    }
    EXPECT(count == most || errno == ENOMEM);
    return count;
}

static void release_list(void *list)
{
    while (list != NULL) {
        void *next = *(void **)list;
        free(list);
        list = next;
    }
}

/* What a mode adds to each block, or may: RESEARCH's header and guard. */
static size_t block_cost(void)
{
    const char *mode = hakmem_mode_running();
    return mode != NULL && strcmp(mode, "research") == 0 ? 64 : 16;
}

/* At the limit: ENOMEM, old blocks whole; afterwards the memory serves other sizes. */
static void at_the_limit(void)
{
    static const size_t sizes[] = {64, 1000, 20000, 300000, 3000000, 32};
    char *old = malloc(10000);
    EXPECT(old != NULL);
    pattern_fill(old, 10000, 5);
    size_t most = 0;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *list;
        size_t count = exhaust(sizes[i], &list, SIZE_MAX), bytes = count * (sizes[i] + block_cost());
        EXPECT_OF(realloc(old, 400 * MIB) == NULL && errno == ENOMEM, sizes[i]);
        EXPECT_OF(calloc(400, MIB) == NULL && errno == ENOMEM, sizes[i]);
        EXPECT_OF(memalign(1 << 22, 400 * MIB) == NULL && errno == ENOMEM, sizes[i]);
        EXPECT_OF(pattern_holds(old, 10000, 5), sizes[i]);
        release_list(list);
        most = bytes > most ? bytes : most;
        EXPECT_OF(bytes > most / 2, bytes);
        check_heap();
    }
    free(old);
    some_work();
}

static void *limited_thread(void *context)
{
    for (unsigned round = 0; round < 3; round++) {
        void *small, *large;
        exhaust(500, &small, 60000);
        exhaust(200000, &large, 400);
        release_list(large);
        release_list(small);
    }
    return context;
}

static void threads_at_the_limit(void)
{
    pthread_t threads[8];
    unsigned started = 0;
    for (unsigned i = 0; i < 8; i++) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 65536);
        started += pthread_create(&threads[started], &attributes, limited_thread, NULL) == 0;
    }
    EXPECT(started > 0);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    check_heap();
    some_work();
}

static void address_space_limit(void)
{
    set_limit(RLIMIT_AS, 256 * MIB);
    EXPECT(run_row(".at_the_limit", NULL) == 0); /* it starts under the limit, too */
    EXPECT(run_row(".threads_at_the_limit", NULL) == 0);
}

static void data_limit(void)
{
    set_limit(RLIMIT_DATA, 128 * MIB);
    EXPECT(run_row(".at_the_limit", NULL) == 0);
    EXPECT(run_row(".threads_at_the_limit", NULL) == 0);
}

static void limit_set_later(void)
{
    some_work();
    set_limit(RLIMIT_AS, mapped_bytes() + 8 * MIB);
    void *list;
    size_t count = exhaust(4000, &list, SIZE_MAX);
    EXPECT_OF(count > 100, count);
    release_list(list);
    set_limit(RLIMIT_AS, 4 * MIB); /* below what is mapped: nothing new at all */
    count = exhaust(4000, &list, SIZE_MAX);
    release_list(list);
    check_heap();
    EXPECT_OF(count > 100, count); /* what we have still serves */
}

/* Every mapping is taken: nothing new can be mapped, and no mapping can be split. */
static void mappings_exhausted(void)
{
    enum { KEEP = 64 };
    void *blocks[KEEP];
    for (unsigned i = 0; i < KEEP; i++) {
        EXPECT((blocks[i] = malloc(i * i * 1000 + 1)) != NULL);
        memset(blocks[i], 1, i * i * 1000 + 1);
    }
    size_t room = (size_t)200000 * 4096;
    char *strip = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(strip != MAP_FAILED);
    size_t at = 0;
    while (at < room && mprotect(strip + at, 4096, PROT_READ) == 0)
        at += 8192;
    if (at >= room)
        row_skip("no bound on mappings");
    void *list;
    exhaust(3000, &list, 100000);
    release_list(list);
    exhaust(3000000, &list, 100);
    release_list(list);
    for (unsigned i = 0; i < KEEP; i++) {
        void *moved = realloc(blocks[i], i * i * 1500 + 100);
        blocks[i] = moved != NULL ? moved : blocks[i];
        EXPECT_OF(((char *)blocks[i])[0] == 1, i);
        void *other = memalign(1 << 16, 100000);
        free(other);
    }
    for (unsigned i = 0; i < KEEP; i++)
        free(blocks[i]);
    munmap(strip, room);
    check_heap();
    some_work();
}

/* Locked memory cannot be given back with madvise, so it does not read as zero afterwards. */
static void everything_locked(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        row_skip("mlockall refused");
    for (unsigned round = 0; round < 2; round++) {
        void *list;
        exhaust(300000, &list, 100);
        release_list(list);
        exhaust(2500000, &list, 20);
        release_list(list);
        malloc_trim(0);
        sleep_ms(round * 700);
        for (unsigned i = 0; i < 60; i++) {
            size_t size = i % 2 ? 300000 : 2500000;
            char *zero = calloc(1, size);
            EXPECT_OF(zero != NULL && all_zero(zero, size), size);
            memset(zero, 0x99, size);
            free(zero);
        }
    }
    some_work();
}

static void install(const struct sock_filter *filter, size_t count)
{
    struct sock_fprog program = {(unsigned short)count, (struct sock_filter *)filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        row_skip("no seccomp");
}

static void burst_and_zero(void)
{
    void *list;
    exhaust(2000, &list, 20000);
    release_list(list);
    exhaust(200000, &list, 200);
    release_list(list);
    exhaust(3000000, &list, 20);
    release_list(list);
    malloc_trim(0);
    for (unsigned i = 0; i < 100; i++) {
        static const size_t sizes[] = {2000, 200000, 3000000, 60000};
        size_t size = sizes[i % 4];
        char *zero = calloc(1, size);
        EXPECT_OF(zero != NULL && all_zero(zero, size), size);
        memset(zero, 0x99, size);
        free(zero);
    }
}

#define NUMBER      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ANSWER(k)   BPF_STMT(BPF_RET | BPF_K, (k))
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), ANSWER(SECCOMP_RET_ALLOW)

static void madvise_refused(void)
{
    static const struct sock_filter filter[] = {
        NUMBER,
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
        ANSWER(SECCOMP_RET_ERRNO | EPERM),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    burst_and_zero();
    install(filter, sizeof filter / sizeof *filter);
    burst_and_zero();
    some_work();
    check_heap();
}

static void mremap_refused(void)
{
    static const struct sock_filter filter[] = {
        NUMBER,
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 1),
        ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    install(filter, sizeof filter / sizeof *filter);
    char *at = malloc(100 * MIB);
    EXPECT(at != NULL);
    pattern_fill(at, 5000, 1);
    at = realloc(at, 300 * MIB);
    EXPECT(at != NULL && pattern_holds(at, 5000, 1));
    at = realloc(at, 80 * MIB);
    EXPECT(at != NULL && pattern_holds(at, 5000, 1));
    free(at);
}

/* A sandbox: after the start anything but memory calls kills. */
static void only_memory_calls(void)
{
    static const struct sock_filter filter[] = {
        NUMBER,
        ALLOW(SYS_mmap),
        ALLOW(SYS_munmap),
        ALLOW(SYS_mremap),
        ALLOW(SYS_mprotect),
        ALLOW(SYS_madvise),
        ALLOW(SYS_brk),
        ALLOW(SYS_futex),
        ALLOW(SYS_write),
        ALLOW(SYS_exit_group),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
    };
    free(malloc(1));
    install(filter, sizeof filter / sizeof *filter);
    for (unsigned i = 0; i < 3; i++) {
        burst_and_zero();
        some_work();
        free(realloc(malloc(70 * MIB), 140 * MIB));
        free(memalign(1 << 23, 3 * MIB));
    }
    EXPECT(realloc(malloc(10), SIZE_MAX / 2 + 1) == NULL);
    _exit(0);
}

/* Started with no descriptor at all, and none is left open. */
static void without_descriptors(void)
{
    some_work();
    burst_and_zero();
    for (int fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            _exit(9);
}

static void descriptors_closed(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        syscall(SYS_close_range, 0u, ~0u, 0u);
        execl("/proc/self/exe", "stress", "--row", ".without_descriptors", (char *)NULL);
        _exit(127);
    }
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT_OF(status == 0, status);
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void counted_descriptors(void)
{
    size_t before = open_descriptors();
    EXPECT_OF(before <= 3, before); /* the three, and nothing of ours since the start */
    some_work();
    burst_and_zero();
    EXPECT(open_descriptors() == before);
}

static void no_descriptor_kept(void)
{
    syscall(SYS_close_range, 3u, ~0u, 0u); /* what our own caller has left open */
    EXPECT(run_row(".counted_descriptors", NULL) == 0);
}

/* No /proc, no /sys, no files. */
static void root_gone(void)
{
    free(malloc(1));
    char folder[] = "/tmp/stress.XXXXXX";
    EXPECT(mkdtemp(folder) != NULL);
    if (chroot(folder) != 0 || chdir("/") != 0) {
        rmdir(folder);
        row_skip("chroot refused");
    }
    some_work();
    burst_and_zero();
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, limited_thread, NULL) == 0);
    pthread_join(thread, NULL);
}

static void without_proc(void)
{
    some_work();
    EXPECT(access("/proc/self/maps", F_OK) != 0);
}

static void proc_gone_before_the_start(void)
{
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        umount2("/proc", MNT_DETACH) != 0)
        row_skip("may not change mounts");
    pid_t pid = fork();
    if (pid == 0) {
        char *arguments[] = {(char *)"stress", (char *)"--row", (char *)".without_proc", NULL};
        fexecve(self, arguments, environ);
        _exit(127);
    }
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT_OF(status == 0, status);
}

/* The preload itself has to stay in the environments below. */
static char *preload_variable(void)
{
    static char text[4096];
    const char *value = getenv("LD_PRELOAD");
    snprintf(text, sizeof text, "LD_PRELOAD=%s", value != NULL ? value : "");
    return text;
}

static void environment_work(void)
{
    some_work();
}

static void environment_empty(void)
{
    char *environment[] = {preload_variable(), NULL};
    EXPECT(run_row(".environment_work", environment) == 0);
}

static void environment_enormous(void)
{
    enum { COUNT = 1200, BYTES = 1024 };
    static char texts[COUNT][BYTES], *environment[COUNT + 3];
    static char longest[120000];
    for (unsigned i = 0; i < COUNT; i++) {
        memset(texts[i], 'x', BYTES - 1);
        memcpy(texts[i], i % 2 ? "HAKMEM_KNOB_" : "HAKMEMORY___", 12);
        texts[i][40] = '=';
        environment[i] = texts[i];
    }
    memset(longest, '9', sizeof longest - 1);
    memcpy(longest, "HAKMEM_KNOB_mmap_min_bytes=", 27);
    environment[COUNT] = longest;
    environment[COUNT + 1] = preload_variable();
    EXPECT(run_row(".environment_work", environment) == 0);
}

static void environment_garbage(void)
{
    static const char *const names[] = {"MODE",
                                        "FEATURES",
                                        "THP",
                                        "FREE_POLICY",
                                        "EVO_POLICY",
                                        "DISABLE_BIGCACHE",
                                        "DISABLE_ELO",
                                        "TINY_USE_SUPERSLAB",
                                        "STATS",
                                        "SHOW_CONFIG",
                                        "KNOB_tiny_cache_bytes",
                                        "KNOB_tiny_cache_count",
                                        "KNOB_tiny_refill_count",
                                        "KNOB_slab_keep_count",
                                        "KNOB_mid_cache_bytes",
                                        "KNOB_large_min_bytes",
                                        "KNOB_mmap_min_bytes",
                                        "KNOB_bigcache_bytes",
                                        "KNOB_bigcache_ways",
                                        "KNOB_purge_delay_ms",
                                        "KNOB_thp",
                                        "KNOB_thp_first_bytes",
                                        "KNOB_realloc_slack_percent",
                                        "KNOB_",
                                        "",
                                        "KNOB_no_such_knob"};
    static const char *const values[] = {"",
                                         "-1",
                                         "99999999999999999999999999999",
                                         "-9223372036854775808",
                                         "9223372036854775807g",
                                         "0x10",
                                         "1e3",
                                         "\xff\xfe\x80",
                                         "%s%n%s%n",
                                         "+,-,+,,,-,=",
                                         "+pool,-pool,+,-nothing,pool",
                                         " 1",
                                         "1 ",
                                         "researchresearch",
                                         "\033[2J"};
    enum { NAMES = sizeof names / sizeof *names, VALUES = sizeof values / sizeof *values };
    static char texts[NAMES][128];
    for (unsigned v = 0; v < VALUES; v++) {
        char *environment[NAMES + 5] = {NULL};
        for (unsigned i = 0; i < NAMES; i++) {
            snprintf(texts[i], sizeof texts[i], "HAKMEM_%s=%s", names[i], values[v]);
            environment[i] = texts[i];
        }
        environment[NAMES] = preload_variable();
        environment[NAMES + 1] = (char *)"HAKMEM_MODE";
        environment[NAMES + 2] = (char *)"=";
        environment[NAMES + 3] = (char *)"";
        EXPECT_OF(run_row(".environment_work", environment) == 0, v);
    }
}

/* Every knob at each end of its range: slower is fine. */
static void knobs_at_their_ends(void)
{
    static const char *const knobs[][3] = {
        {"tiny_cache_bytes", "0", "1m"},      {"tiny_cache_count", "1", "65535"},
        {"tiny_refill_count", "1", "4096"},   {"slab_keep_count", "0", "1024"},
        {"superslab_keep_bytes", "0", "1g"},  {"mid_cache_bytes", "0", "256m"},
        {"large_min_bytes", "64k", "16m"},    {"mmap_min_bytes", "1m", "1g"},
        {"bigcache_bytes", "0", "16g"},       {"bigcache_ways", "1", "8"},
        {"bigcache_fit_percent", "0", "100"}, {"purge_delay_ms", "0", "60000"},
        {"purge_delay_hot_ms", "0", "60000"}, {"purge_batch_bytes", "0", "1g"},
        {"purge_keep_percent", "0", "400"},   {"thp", "0", "2"},
        {"thp_first_bytes", "0", "1g"},       {"realloc_slack_percent", "0", "25"}};
    enum { KNOBS = sizeof knobs / sizeof *knobs };
    static char texts[KNOBS][96], mode[64];
    const char *running = getenv("HAKMEM_MODE");
    snprintf(mode, sizeof mode, "HAKMEM_MODE=%s", running != NULL ? running : "balanced");
    for (unsigned which = 0; which <= KNOBS + 1;
         which++) /* each alone at its least; then all least, all most */
        for (unsigned end = 1; end <= 2; end++) {
            char *environment[KNOBS + 3] = {NULL};
            unsigned used = 0;
            for (unsigned i = 0; i < KNOBS; i++)
                if (i == which || which >= KNOBS) {
                    snprintf(texts[i], sizeof texts[i], "HAKMEM_KNOB_%s=%s", knobs[i][0], knobs[i][end]);
                    environment[used++] = texts[i];
                }
            environment[used++] = preload_variable();
            environment[used++] = mode;
            EXPECT_OF(run_row(".environment_work", environment) == 0, which * 10 + end);
        }
}

/* Files that are no policy. */
static void policy_garbage(void)
{
    static const char *const paths[] = {"/nowhere",        "/dev/zero", "/dev/null", "/tmp",
                                        "/proc/self/maps", "/bin/true", ""};
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC); /* one line of refusal is what it should print */
    int shown = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    char path[128];
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        snprintf(path, sizeof path, "HAKMEM_POLICY=%s", paths[i]);
        char *environment[] = {preload_variable(), path, (char *)"HAKMEM_MODE=fast", NULL};
        dup2(quiet, STDERR_FILENO);
        int status = run_row(".environment_work", environment);
        dup2(shown, STDERR_FILENO);
        EXPECT_OF(status == 0, i);
    }
}

static void environment_changed_later(void)
{
    clearenv();
    setenv("HAKMEM_MODE", "minimal", 1);
    for (unsigned i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof name, "VARIABLE_%u", i % 300);
        setenv(name, "value", 1);
        putenv((char *)"OTHER=1");
    }
    some_work();
    environ = NULL;
    some_work();
}

static void huge_pages_off(void)
{
    EXPECT(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
    some_work();
    burst_and_zero();
    EXPECT(run_row(".environment_work", NULL) == 0);
}

static const stress_row table[] = {
    {".at_the_limit", at_the_limit, 60},
    {".threads_at_the_limit", threads_at_the_limit, 60},
    {".without_descriptors", without_descriptors, 0},
    {".without_proc", without_proc, 0},
    {".environment_work", environment_work, 0},
    {".counted_descriptors", counted_descriptors, 0},
    {"address_space_limit", address_space_limit, 60},
    {"data_limit", data_limit, 60},
    {"limit_set_later", limit_set_later, 0},
    {"mappings_exhausted", mappings_exhausted, 60},
    {"everything_locked", everything_locked, 0},
    {"madvise_refused", madvise_refused, 0},
    {"mremap_refused", mremap_refused, 0},
    {"only_memory_calls", only_memory_calls, 0},
    {"descriptors_closed", descriptors_closed, 0},
    {"no_descriptor_kept", no_descriptor_kept, 0},
    {"root_gone", root_gone, 0},
    {"proc_gone_before_the_start", proc_gone_before_the_start, 0},
    {"environment_empty", environment_empty, 0},
    {"environment_enormous", environment_enormous, 0},
    {"environment_garbage", environment_garbage, 0},
    {"knobs_at_their_ends", knobs_at_their_ends, 120},
    {"policy_garbage", policy_garbage, 0},
    {"environment_changed_later", environment_changed_later, 0},
    {"huge_pages_off", huge_pages_off, 0},
};

ROWS_MAIN(table)
