/* scenes_stacks.c: scenes of signals, stacks, threads and modules. See scenes.h. */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "scenes.h"

/* ---- signals and stacks ---- */

static volatile sig_atomic_t ticks;
static sigjmp_buf back;

static void tick(int number_)
{
    (void)number_;
    ticks = ticks + 1;
}

static int own_profiler(int argc, char **argv)
{
    (void)argc, (void)argv;
    struct itimerval often = {{0, 500}, {0, 500}};
    signal(SIGPROF, tick);
    setitimer(ITIMER_PROF, &often, NULL);
    while (ticks < 50)
        scene_churn(1000);
    setitimer(ITIMER_PROF, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    scene_mark(100);
    puts("ticked");
    return 0;
}

static void caught(int number_)
{
    (void)number_;
    scene_mark(1);
    siglongjmp(back, 1);
}

/* Faults that the program's own handler mends, on a stack of its own, with allocations in the handler. */
static int own_handler(int argc, char **argv)
{
    (void)argc, (void)argv;
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    struct sigaction action = {.sa_handler = caught, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    volatile int count = 0;
    for (int i = 0; i < 200; i++)
        if (sigsetjmp(back, 1) == 0)
            *(volatile int *)(uintptr_t)(i + 16) = 1;
        else
            count++;
    printf("%d\n", count);
    return 0;
}

static void overflow(int n)
{
    volatile char frame[4096];
    frame[0] = (char)n;
    free(malloc(10));
    if (n < 1000000)
        overflow(n + 1);
    frame[1] = frame[0];
}

static void overflowed(int number_)
{
    (void)number_;
    static const char text[] = "overflow\n";
    _exit(write(1, text, sizeof text - 1) > 0 ? 5 : 6);
}

static int stack_overflow(int argc, char **argv)
{
    (void)argc, (void)argv;
    static char room[65536];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_handler = overflowed, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    overflow(0);
    return 1;
}

static __attribute__((noinline)) int sink_down(int n, jmp_buf out)
{
    volatile char frame[32];
    frame[0] = 1;
    if (n % 100 == 0)
        scene_mark(1);
    if (n == 0 && out != NULL)
        longjmp(out, 1);
    int got = n == 0 ? 0 : sink_down(n - 1, out);
    return got + frame[0];
}

static int jump_out(int argc, char **argv)
{
    (void)argc, (void)argv;
    volatile int jumps = 0;
    for (volatile int i = 0; i < 100; i = i + 1) {
        jmp_buf out;
        if (setjmp(out) == 0)
            sink_down(300, out);
        else
            jumps = jumps + 1;
        scene_mark(1);
    }
    printf("%d\n", jumps);
    return 0;
}

static void *recurse(void *depth)
{
    printf("%d\n", sink_down(*(int *)depth, NULL));
    return NULL;
}

static int recursion(int argc, char **argv)
{
    int depth = scene_number(argc, argv, 0, 500);
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)256 << 20);
    pthread_create(&thread, &attributes, recurse, &depth);
    pthread_join(thread, NULL);
    return 0;
}

static ucontext_t main_context, coroutines[8];

static void coroutine(int index)
{
    for (int i = 0; i < 50; i++) {
        scene_mark(1);
        swapcontext(&coroutines[index], &main_context);
    }
}

static int coroutine_switches(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (int i = 0; i < 8; i++) {
        getcontext(&coroutines[i]);
        coroutines[i].uc_stack.ss_sp =
            mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        coroutines[i].uc_stack.ss_size = 65536;
        coroutines[i].uc_link = &main_context;
        makecontext(&coroutines[i], (void (*)(void))coroutine, 1, i);
    }
    for (int round = 0; round < 50; round++)
        for (int i = 0; i < 8; i++)
            swapcontext(&main_context, &coroutines[i]);
    puts("done");
    return 0;
}

static __attribute__((noinline, optimize("O2"))) void *tail_of(size_t size)
{
    return valloc(size);
}

static __attribute__((noinline, optimize("O2"))) void *tail_calls(size_t size)
{
    return size % 2 == 0 ? tail_of(size) : valloc(size + 1);
}

static int tails(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (size_t i = 0; i < 1000; i++)
        free(tail_calls(i));
    return 0;
}

/* An aligned local beside an alloca: the compiler realigns the stack and says by an expression where the
 * frame is. */
static __attribute__((noinline, optimize("O2"))) void realigned(size_t size)
{
    alignas(64) volatile char aligned[128];
    volatile char *more = __builtin_alloca(size);
    more[0] = aligned[size % sizeof aligned] = 1;
    free(valloc(size));
    more[size - 1] = aligned[0];
}

static int realigns(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (size_t i = 1; i <= 1000; i++)
        realigned(i);
    return 0;
}

/* ---- contexts, threads, modules ---- */

static __attribute__((noinline)) int spread(int n, int way)
{
    volatile int kept = way;
    if (n == 0) {
        free(valloc(1));
        return kept;
    }
    int left = spread(n - 1, 0);
    int right = spread(n - 1, 1); /* another return address: 2^n contexts */
    return left + right + kept;
}

static int contexts(int argc, char **argv)
{
    printf("%d\n", spread(scene_number(argc, argv, 0, 10), 0));
    return 0;
}

static pthread_barrier_t all_there;

static void *one_of_many(void *name)
{
    pthread_setname_np(pthread_self(), name);
    void *block = valloc(10);
    pthread_barrier_wait(&all_there);
    scene_churn(100);
    free(block);
    return NULL;
}

static int threads(int argc, char **argv)
{
    int count = scene_number(argc, argv, 0, 1000);
    pthread_t *all = calloc((size_t)count, sizeof *all);
    pthread_attr_t attributes;
    char name[16];
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    pthread_barrier_init(&all_there, NULL, (unsigned)count);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "worker");
        if (pthread_create(&all[i], &attributes, one_of_many, (void *)"worker") != 0)
            return 77;
    }
    for (int i = 0; i < count; i++)
        pthread_join(all[i], NULL);
    printf("%d\n", count);
    free(all);
    return 0;
}

static void *short_lived(void *unused)
{
    free(valloc(10));
    return unused;
}

static int thread_stream(int argc, char **argv)
{
    int count = scene_number(argc, argv, 0, 5000);
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, short_lived, NULL) != 0)
            return 1;
        pthread_join(thread, NULL);
    }
    return 0;
}

/* Two libraries in turn, which the loader puts to one address. */
static int modules(int argc, char **argv)
{
    uintptr_t where[2] = {0, 0};
    if (argc < 2)
        return 1;
    for (int i = 0; i < 20; i++) {
        void *library = dlopen(argv[i % 2], RTLD_NOW);
        int (*work)(int) = (int (*)(int))dlsym(library, "work");
        if (work == NULL)
            return 1;
        where[i % 2] = (uintptr_t)work;
        work(5);
        dlclose(library);
    }
    printf("%s\n", where[0] == where[1] ? "one address" : "two addresses");
    return 0;
}

static int in_iteration(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info, (void)size, (void)data;
    scene_mark(1);
    return 0;
}

static void *open_and_close(void *path)
{
    for (int i = 0; i < 200; i++) {
        void *library = dlopen(path, RTLD_NOW);
        if (library != NULL)
            dlclose(library);
    }
    return NULL;
}

/* Allocations under the loader's lock, in two threads. */
static int loader_lock(int argc, char **argv)
{
    pthread_t thread;
    if (argc < 1 || pthread_create(&thread, NULL, open_and_close, argv[0]) != 0)
        return 1;
    for (int i = 0; i < 200; i++)
        dl_iterate_phdr(in_iteration, NULL);
    pthread_join(thread, NULL);
    puts("no deadlock");
    return 0;
}

const scene scenes_of_stacks[] = {
    {"sigprof", own_profiler},
    {"sigsegv", own_handler},
    {"overflow", stack_overflow},
    {"longjmp", jump_out},
    {"recursion", recursion},
    {"coroutines", coroutine_switches},
    {"tails", tails},
    {"realigns", realigns},
    {"contexts", contexts},
    {"threads", threads},
    {"thread_stream", thread_stream},
    {"modules", modules},
    {"loader_lock", loader_lock},
    {NULL, NULL},
};
