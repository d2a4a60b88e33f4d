/* processes.c: fork from and beside threads that allocate, vfork, spawn, raw clone, exec, other preloads. */
#include "rows.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic bool over;

static void *busy_thread(void *context)
{
    uint64_t random = (uint64_t)(uintptr_t)context + 1;
    void *blocks[128] = {NULL};
    while (!over) {
        unsigned i = (unsigned)(random_next(&random) % 128);
        free(blocks[i]);
        size_t max = random_next(&random) % 64 ? 2000 : (size_t)3 << 20;
        blocks[i] = malloc(random_size(&random, max));
    }
    for (unsigned i = 0; i < 128; i++)
        free(blocks[i]);
    return NULL;
}

static void *some_work(void *context)
{
    uint64_t random = (uint64_t)(uintptr_t)context + 1;
    void *blocks[200];
    size_t sizes[200];
    for (unsigned i = 0; i < 200; i++) {
        sizes[i] = random_size(&random, i % 20 ? 5000 : (size_t)2 << 20);
        EXPECT((blocks[i] = malloc(sizes[i])) != NULL);
        pattern_fill(blocks[i], sizes[i] < 5000 ? sizes[i] : 5000, i);
    }
    for (unsigned i = 0; i < 200; i++) {
        EXPECT(pattern_holds(blocks[i], sizes[i] < 5000 ? sizes[i] : 5000, i));
        free(blocks[i]);
    }
    return NULL;
}

static void ends_well(pid_t pid)
{
    int status;
    EXPECT(pid > 0);
    while (waitpid(pid, &status, 0) < 0)
        EXPECT(errno == EINTR);
    EXPECT_OF(status == 0, status);
}

/* What a child does: work, threads, and forking on. */
static void child_work(unsigned depth)
{
    some_work((void *)(uintptr_t)depth);
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++)
        EXPECT(pthread_create(&threads[i], NULL, some_work, (void *)(uintptr_t)i) == 0);
    if (depth > 0) {
        pid_t pid = fork();
        if (pid == 0) {
            child_work(depth - 1);
            _exit(0);
        }
        ends_well(pid);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    check_heap();
}

static void fork_beside_threads(void)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        EXPECT(pthread_create(&threads[i], NULL, busy_thread, (void *)i) == 0);
    for (size_t i = 0; i < scaled(60); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            child_work(2);
            _exit(0);
        }
        some_work((void *)i);
        ends_well(pid);
    }
    over = true;
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

static void *forking_thread(void *context)
{
    for (size_t i = 0; i < scaled(25); i++) {
        free(malloc(i * 100));
        pid_t pid = fork();
        if (pid == 0) {
            child_work(0);
            _exit(0);
        }
        ends_well(pid);
    }
    return context;
}

static void fork_from_threads(void)
{
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        EXPECT(pthread_create(&threads[i], NULL, forking_thread, NULL) == 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* Blocks of threads that the child does not have: it may read, resize and free them. */
#define KEPT 5000
static char *kept_blocks[2][KEPT];
static _Atomic unsigned keepers_ready;

static void *keeper_thread(void *context)
{
    uintptr_t family = (uintptr_t)context;
    for (unsigned i = 0; i < KEPT; i++) {
        EXPECT((kept_blocks[family][i] = malloc(20 + i % 900)) != NULL);
        pattern_fill(kept_blocks[family][i], 20 + i % 900, i);
    }
    keepers_ready++;
    while (!over)
        sleep_ms(1);
    return NULL;
}

static void child_frees_blocks_of_lost_threads(void)
{
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++)
        EXPECT(pthread_create(&threads[i], NULL, keeper_thread, (void *)i) == 0);
    while (keepers_ready < 2)
        sleep_ms(1);
    pid_t pid = fork();
    if (pid == 0) {
        for (unsigned round = 0; round < 20; round++) {
            for (unsigned k = 0; k < 2; k++)
                for (unsigned i = 0; i < KEPT; i++) {
                    EXPECT(round > 0 || pattern_holds(kept_blocks[k][i], 20 + i % 900, i));
                    if (i % 3 == 0)
                        kept_blocks[k][i] = realloc(kept_blocks[k][i], 1000 + i % 3000);
                    else
                        free(kept_blocks[k][i]), kept_blocks[k][i] = malloc(20 + i % 900);
                    EXPECT(kept_blocks[k][i] != NULL);
                    memset(kept_blocks[k][i], 1, 20 + i % 900);
                }
        }
        EXPECT_OF(resident_bytes() < (size_t)80 << 20, resident_bytes());
        check_heap();
        _exit(0);
    }
    ends_well(pid);
    over = true;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

/* What threads that the child does not have had freed, and what it frees of theirs, serves the child. */
#define LOST_COUNT 40000
static char *lost_blocks[2][LOST_COUNT];

static void *losing_thread(void *context)
{
    uintptr_t family = (uintptr_t)context;
    for (unsigned i = 0; i < LOST_COUNT; i++)
        EXPECT((lost_blocks[family][i] = malloc(100 + i % 700)) != NULL);
    for (unsigned i = 0; i < LOST_COUNT; i++)
        memset(lost_blocks[family][i], 1, 100 + i % 700);
    for (unsigned i = 0; i < LOST_COUNT; i++)
        if (i % 4 == 0)
            free(lost_blocks[family][i]);
    keepers_ready++;
    for (size_t i = 0; !over; i++) /* fork meets it at work */
        free(malloc(100 + i * 7919 % 700));
    return NULL;
}

static void child_reuses_blocks_of_lost_threads(void)
{
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++)
        EXPECT(pthread_create(&threads[i], NULL, losing_thread, (void *)i) == 0);
    while (keepers_ready < 2)
        sleep_ms(1);
    const char *mode = hakmem_mode_running();
    pid_t pid = fork();
    if (pid == 0) {
        size_t before = resident_bytes();
        for (unsigned i = 0; i < 2 * LOST_COUNT; i++)
            if (i / 2 % 4 != 0)
                free(lost_blocks[i % 2][i / 2]);
        for (unsigned i = 0; i < 2 * LOST_COUNT; i++) {
            char *block = malloc(100 + i / 2 % 700);
            EXPECT(block != NULL);
            memset(block, 2, 100 + i / 2 % 700);
            lost_blocks[i % 2][i / 2] = block;
        }
        size_t after = resident_bytes();
        size_t grown = after > before ? after - before : 0;
        if (mode != NULL && strcmp(mode, "research") != 0) /* which keeps freed blocks for a while */
            EXPECT_OF(grown < (size_t)12 << 20, grown);    /* of 36 MiB */
        check_heap();
        for (unsigned i = 0; i < 2 * LOST_COUNT; i++)
            for (unsigned k = 0; k < 100; k++)
                EXPECT(lost_blocks[i % 2][i / 2][k] == 2);
        _exit(0);
    }
    ends_well(pid);
    over = true;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

/* Somebody else's fork handlers allocate, before and behind ours. */
static void *fork_handler_block;
static bool handlers_on; /* one thread forks, then: handlers of two forks may run side by side */

static void handler_before(void)
{
    if (!handlers_on)
        return;
    free(fork_handler_block);
    fork_handler_block = malloc(3000);
    free(malloc((size_t)3 << 20));
}

static void handler_after(void)
{
    if (!handlers_on)
        return;
    free(fork_handler_block);
    fork_handler_block = calloc(1, 30000);
    free(malloc((size_t)3 << 20));
}

static void register_early(void)
{
    pthread_atfork(handler_before, handler_after, handler_after);
}
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = register_early;

static void handlers_that_allocate(void)
{
    pthread_atfork(handler_before, handler_after, handler_after);
    handlers_on = true;
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++)
        EXPECT(pthread_create(&threads[i], NULL, busy_thread, (void *)i) == 0);
    for (unsigned i = 0; i < 30; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            child_work(0);
            _exit(0);
        }
        ends_well(pid);
    }
    over = true;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

static void fork_chain(void)
{
    pid_t pid = 0;
    for (unsigned depth = 0; depth < 40 && pid == 0; depth++) {
        void *block = malloc(1000 + depth);
        EXPECT(block != NULL);
        pid = fork();
        if (pid == 0)
            free(block);
    }
    if (pid > 0)
        ends_well(pid);
    check_heap();
}

static void vforked(void)
{
    for (unsigned i = 0; i < 50; i++) {
        void *mine = malloc(100);
        pid_t pid = vfork();
        if (pid == 0) {
            if (i % 2) {
                execl("/bin/true", "true", (char *)NULL);
                _exit(127);
            }
            free(malloc(5000)); /* glibc lets it */
            _exit(0);
        }
        ends_well(pid);
        free(mine);
    }
}

static void spawned(void)
{
    for (unsigned i = 0; i < 5; i++)
        EXPECT(run_row("fork_chain", NULL) == 0);
    FILE *from = popen("echo spoken", "r");
    char line[64];
    EXPECT(from != NULL && fgets(line, sizeof line, from) != NULL && strcmp(line, "spoken\n") == 0);
    EXPECT(pclose(from) == 0);
    EXPECT(system("exit 7") == 7 << 8);
}

/* No handler of anybody's runs. */
static void raw_fork(void)
{
    some_work(NULL);
    for (unsigned i = 0; i < 20; i++) {
        void *mine = malloc(3000);
        pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid == 0) {
            free(mine);
            some_work((void *)1);
            _exit(0);
        }
        ends_well(pid);
        free(mine);
    }
}

/* The same memory, another process, its own stack, our thread-locals: as vfork, but by hand. */
static int shares_memory(void *context)
{
    (void)context;
    free(malloc(500));
    void *block = malloc(70000);
    memset(block, 1, 70000);
    free(block);
    return 0;
}

static void clone_sharing_memory(void)
{
    static char stack[65536];
    for (unsigned i = 0; i < 50; i++) {
        pid_t pid = clone(shares_memory, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
        ends_well(pid);
        free(malloc(500));
    }
    some_work(NULL);
}

/* A wrapper of malloc before us, behind us, on both sides. */
static void wrapped_work(void)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        EXPECT(pthread_create(&threads[i], NULL, some_work, (void *)i) == 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    some_work(NULL);
    child_work(1);
    if (getenv("STRESS_WRAPPED") != NULL) {
        unsigned long *calls = dlsym(RTLD_DEFAULT, "wrap_calls");
        EXPECT(calls != NULL && *calls > 100);
    }
}

static void with_preload(const char *before, const char *after, bool wrapped)
{
    const char *ours = getenv("LD_PRELOAD");
    char preload[8192], mode[64], expect[64];
    const char *mode_text = getenv("HAKMEM_MODE"), *expect_text = getenv("STRESS_EXPECT");
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s:%s:%s", before, ours != NULL ? ours : "", after);
    snprintf(mode, sizeof mode, "HAKMEM_MODE=%s", mode_text != NULL ? mode_text : "");
    snprintf(expect, sizeof expect, "%s=%s", expect_text != NULL ? "STRESS_EXPECT" : "NOTHING",
             expect_text != NULL ? expect_text : "");
    char mark[] = "STRESS_WRAPPED=1";
    char *environment[] = {preload, mode, expect, wrapped ? mark : NULL, NULL};
    EXPECT(run_row(".wrapped_work", environment) == 0);
}

static void other_preloads(void)
{
    with_preload(STRESS_WRAP, "", true);
    with_preload("", STRESS_WRAP, false);
    if (access(STRESS_PEER, R_OK) == 0) {
        with_preload("", STRESS_PEER, false); /* another allocator, which nobody reaches */
        with_preload(STRESS_PEER, "", false); /* now nobody reaches us */
    }
}

static const stress_row table[] = {
    {"fork_beside_threads", fork_beside_threads, 120},
    {"fork_from_threads", fork_from_threads, 60},
    {"child_frees_blocks_of_lost_threads", child_frees_blocks_of_lost_threads, 0},
    {"child_reuses_blocks_of_lost_threads", child_reuses_blocks_of_lost_threads, 60},
    {"handlers_that_allocate", handlers_that_allocate, 60},
    {"fork_chain", fork_chain, 0},
    {"vforked", vforked, 0},
    {"spawned", spawned, 0},
    {"raw_fork", raw_fork, 0},
    {"clone_sharing_memory", clone_sharing_memory, 0},
    {".wrapped_work", wrapped_work, 0},
    {"other_preloads", other_preloads, 0},
};

ROWS_MAIN(table)
