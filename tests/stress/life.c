/* life.c: allocation at the edges of a process's and a thread's life. */
#include "rows.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define EARLY 300

static char *early_blocks[3][EARLY];
static bool check_at_end;
static _Atomic bool over;

static void early_make(unsigned stage)
{
    for (unsigned i = 0; i < EARLY; i++) {
        early_blocks[stage][i] = i % 3 ? malloc(i * 37 + 1) : calloc(1, i * 37 + 1);
        if (early_blocks[stage][i] == NULL)
            _exit(3);
        pattern_fill(early_blocks[stage][i], i * 37 + 1, i);
    }
    for (unsigned i = 0; i < EARLY; i += 2) {
        free(early_blocks[stage][i]);
        early_blocks[stage][i] = NULL;
    }
}

static void early_drop(unsigned stage)
{
    for (unsigned i = 0; i < EARLY; i++) {
        if (early_blocks[stage][i] != NULL && !pattern_holds(early_blocks[stage][i], i * 37 + 1, i))
            _exit(4);
        free(early_blocks[stage][i]);
        early_blocks[stage][i] = NULL;
    }
}

/* Runs before the constructors of every library. */
static void before_all(void)
{
    early_make(0);
}
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = before_all;

__attribute__((constructor(101))) static void constructor(void)
{
    early_make(1);
}

__attribute__((destructor(101))) static void destructor(void)
{
    if (!check_at_end)
        return;
    early_make(2);
    early_drop(2);
    early_drop(0);
    free(malloc(5 << 20));
}

static void from_constructors(void)
{
    early_drop(1);
    check_at_end = true;
}

static void at_exit_second(void)
{
    early_make(2);
    early_drop(2);
}

static void at_exit_first(void)
{
    atexit(at_exit_second); /* allocates inside exit */
    early_drop(1);
    early_make(1);
}

static void from_exit_handlers(void)
{
    for (unsigned i = 0; i < 200; i++) /* more than fit into the list libc starts with */
        EXPECT(atexit(at_exit_first) == 0);
    check_at_end = true;
}

/* dlerror allocates inside dlsym. */
static void *ask_dlsym(void *context)
{
    (void)context;
    for (unsigned i = 0; i < 300; i++) {
        EXPECT(dlsym(RTLD_DEFAULT, "no_such_function_anywhere") == NULL);
        EXPECT(dlerror() != NULL);
        EXPECT(dlsym(RTLD_NEXT, "malloc") != NULL);
    }
    return NULL;
}

static void from_dlsym(void)
{
    pthread_t threads[8];
    for (unsigned i = 0; i < 8; i++)
        EXPECT(pthread_create(&threads[i], NULL, ask_dlsym, NULL) == 0);
    for (unsigned i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}

/* A thread's last words: destructors of keys run after its thread-locals may be gone, in rounds. */
#define KEYS 20
static pthread_key_t keys[KEYS];
static _Atomic size_t key_calls;

static void key_destructor(void *value)
{
    unsigned char *block = value;
    unsigned key = block[0], round = block[1];
    EXPECT(all_zero(block + 2, 200));
    free(block);
    free(malloc(30000));
    free(malloc(3 << 20));
    char *kept = realloc(malloc(24), 500);
    EXPECT(kept != NULL);
    free(kept);
    key_calls++;
    if (round < 3) {
        unsigned char *again = calloc(1, 202);
        again[0] = (unsigned char)key;
        again[1] = (unsigned char)(round + 1);
        pthread_setspecific(keys[key], again);
    }
}

static void *key_thread(void *context)
{
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned char *block = calloc(1, 202);
        block[0] = (unsigned char)i;
        pthread_setspecific(keys[i], block);
    }
    return context;
}

static void key_destructors(void)
{
    for (unsigned i = 0; i < KEYS; i++)
        EXPECT(pthread_key_create(&keys[i], key_destructor) == 0);
    size_t before = 0, count = scaled(1000);
    for (size_t i = 0; i < count; i++) {
        pthread_t thread;
        EXPECT(pthread_create(&thread, NULL, key_thread, NULL) == 0);
        pthread_join(thread, NULL);
        if (i == count / 10)
            before = resident_bytes();
    }
    EXPECT_OF(key_calls == count * KEYS * 4, key_calls);
    EXPECT_OF(resident_bytes() < before + (4 << 20), resident_bytes());
}

/* The destructor is the first in its thread to allocate. */
static void *silent_thread(void *context)
{
    pthread_setspecific(keys[0], context);
    return NULL;
}

static void first_words_in_destructor(void *value)
{
    (void)value;
    void *blocks[50];
    for (unsigned i = 0; i < 50; i++)
        EXPECT((blocks[i] = malloc(100 * i)) != NULL);
    for (unsigned i = 0; i < 50; i++)
        free(blocks[i]);
    key_calls++;
}

static void first_call_in_destructor(void)
{
    EXPECT(pthread_key_create(&keys[0], first_words_in_destructor) == 0);
    size_t count = scaled(3000), before = 0;
    for (size_t i = 0; i < count; i++) {
        pthread_t thread;
        EXPECT(pthread_create(&thread, NULL, silent_thread, &keys) == 0);
        pthread_join(thread, NULL);
        if (i == count / 10)
            before = resident_bytes();
    }
    EXPECT(key_calls == count);
    EXPECT_OF(resident_bytes() < before + (8 << 20), resident_bytes());
}

/* main returns while others allocate. */
static void *allocate_for_ever(void *context)
{
    uint64_t random = (uint64_t)(uintptr_t)context + 1;
    void *blocks[64] = {NULL};
    while (!over) {
        unsigned i = (unsigned)(random_next(&random) % 64);
        free(blocks[i]);
        blocks[i] = malloc(random_size(&random, 1 << 20));
    }
    return NULL;
}

static void leave_running(void)
{
    pthread_t thread;
    for (uintptr_t i = 0; i < 4; i++)
        EXPECT(pthread_create(&thread, NULL, allocate_for_ever, (void *)i) == 0);
    sleep_ms(3);
    for (unsigned i = 0; i < 4; i++)
        atexit(at_exit_second);
    row_leave_unchecked();
}

static void others_run_on(void)
{
    for (size_t i = 0; i < scaled(12); i++)
        EXPECT(run_row(".leave_running", NULL) == 0);
}

static void *outlives_main(void *context)
{
    pthread_join(*(pthread_t *)context, NULL);
    for (unsigned i = 1; i < 2000; i++)
        free(malloc(i * 40));
    early_drop(1);
    return NULL;
}

static void leave_by_pthread_exit(void)
{
    static pthread_t main_thread, other;
    main_thread = pthread_self();
    EXPECT(pthread_create(&other, NULL, outlives_main, &main_thread) == 0);
    pthread_exit(NULL);
}

static void main_thread_exits_first(void)
{
    for (size_t i = 0; i < scaled(10); i++)
        EXPECT(run_row(".leave_by_pthread_exit", NULL) == 0);
}

static void leave_quickly(void)
{
    at_quick_exit(at_exit_first);
    quick_exit(0);
}

static void quick(void)
{
    EXPECT(run_row(".leave_quickly", NULL) == 0);
}

/* The thread that is interrupted allocates only in its handler; the others all the time. */
static _Atomic size_t handled;

static void handler(int number)
{
    (void)number;
    char *block = malloc(1 + handled % 5000);
    if (block == NULL)
        _exit(6);
    memset(block, 1, 1 + handled % 5000);
    block = realloc(block, 9000);
    free(block);
    free(calloc(3, 50000));
    handled++;
}

static void *interrupted_thread(void *context)
{
    stack_t *stack = context;
    sigaltstack(stack, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigaddset(&none, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &none, NULL);
    while (!over)
        ;
    return NULL;
}

static void *busy_thread(void *context)
{
    uint64_t random = (uint64_t)(uintptr_t)context + 9;
    while (!over)
        free(malloc(random_size(&random, 100000)));
    return NULL;
}

static void in_signal_handlers(void)
{
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &block, NULL);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    /* On a small stack of its own: what a handler may need beside the frame the kernel saves there. */
    stack_t stack = {.ss_size = (size_t)sysconf(_SC_MINSIGSTKSZ) + 8192};
    static char room[65536];
    EXPECT(stack.ss_size <= sizeof room);
    stack.ss_sp = room;
    pthread_t interrupted, busy[2];
    EXPECT(pthread_create(&interrupted, NULL, interrupted_thread, &stack) == 0);
    for (uintptr_t i = 0; i < 2; i++)
        EXPECT(pthread_create(&busy[i], NULL, busy_thread, (void *)i) == 0);
    size_t count = scaled(300);
    for (size_t i = 0; i < count; i++) {
        pthread_kill(interrupted, SIGUSR1);
        while (handled <= i)
            sched_yield();
    }
    over = true;
    pthread_join(interrupted, NULL);
    pthread_join(busy[0], NULL);
    pthread_join(busy[1], NULL);
    EXPECT(handled == count);
}

/* We use no signal: every disposition is the program's. */
static void dispositions_untouched(void)
{
    for (int number = 1; number < 32; number++) {
        struct sigaction action;
        if (number == SIGKILL || number == SIGSTOP)
            continue;
        EXPECT_OF(sigaction(number, NULL, &action) == 0, number);
        EXPECT_OF(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN, number);
    }
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number < 32; number++)
        EXPECT_OF(sigismember(&mask, number) == 0, number);
    stack_t stack;
    sigaltstack(NULL, &stack);
    EXPECT((stack.ss_flags & SS_DISABLE) != 0);
}

static const stress_row table[] = {
    {"from_constructors", from_constructors, 0},
    {"from_exit_handlers", from_exit_handlers, 0},
    {"from_dlsym", from_dlsym, 0},
    {"key_destructors", key_destructors, 0},
    {"first_call_in_destructor", first_call_in_destructor, 0},
    {".leave_running", leave_running, 0},
    {"others_run_on", others_run_on, 0},
    {".leave_by_pthread_exit", leave_by_pthread_exit, 0},
    {"main_thread_exits_first", main_thread_exits_first, 0},
    {".leave_quickly", leave_quickly, 0},
    {"quick_exit", quick, 0},
    {"in_signal_handlers", in_signal_handlers, 0},
    {"dispositions_untouched", dispositions_untouched, 0},
};

ROWS_MAIN(table)
