/* threads.c: many threads, short ones, small ones, and blocks that outlive theirs. */
#include "rows.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static pthread_t start(void *(*run)(void *), void *context, size_t stack_bytes, bool detached)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    EXPECT(pthread_attr_setstacksize(&attributes, stack_bytes) == 0);
    pthread_attr_setdetachstate(&attributes, detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
    pthread_t thread;
    int error;
    while ((error = pthread_create(&thread, &attributes, run, context)) == EAGAIN)
        sleep_ms(1);
    EXPECT_OF(error == 0, error);
    pthread_attr_destroy(&attributes);
    return thread;
}

/* All alive at the same time, each with blocks of its own. */
#define CROWD 1500
static pthread_barrier_t crowd_in, crowd_out;

static void *crowd_thread(void *context)
{
    uint64_t seed = (uint64_t)(uintptr_t)context + 1, random = seed;
    void *blocks[8];
    size_t sizes[8];
    for (unsigned i = 0; i < 8; i++) {
        sizes[i] = random_size(&random, 2000);
        EXPECT((blocks[i] = malloc(sizes[i])) != NULL);
        pattern_fill(blocks[i], sizes[i], seed + i);
    }
    pthread_barrier_wait(&crowd_in);
    pthread_barrier_wait(&crowd_out);
    for (unsigned i = 0; i < 8; i++) {
        EXPECT(pattern_holds(blocks[i], sizes[i], seed + i));
        free(blocks[i]);
    }
    return NULL;
}

static void thousands_at_once(void)
{
    static pthread_t threads[CROWD];
    pthread_barrier_init(&crowd_in, NULL, CROWD + 1);
    pthread_barrier_init(&crowd_out, NULL, CROWD + 1);
    size_t before = resident_bytes();
    for (uintptr_t i = 0; i < CROWD; i++)
        threads[i] = start(crowd_thread, (void *)i, 65536, false);
    pthread_barrier_wait(&crowd_in);
    size_t each = (resident_bytes() - before) / CROWD;
    EXPECT_OF(each < 200 * 1024, each); /* an idle thread's share, its stack included */
    pthread_barrier_wait(&crowd_out);
    for (unsigned i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
}

/* Each leaves a block behind that the next but seven frees. */
#define LEFT 8
static void *left_blocks[LEFT];

static void *short_thread(void *context)
{
    uint64_t random = (uint64_t)(uintptr_t)context + 1;
    void **left = &left_blocks[(uintptr_t)context % LEFT];
    free(*left);
    for (unsigned i = 0; i < 10; i++)
        free(malloc(random_size(&random, 20000)));
    *left = malloc(random_size(&random, 5000));
    return NULL;
}

static void short_in_sequence(void)
{
    size_t count = scaled(20000), settled = 0;
    for (size_t i = 0; i < count; i++) {
        pthread_join(start(short_thread, (void *)i, 65536, false), NULL);
        if (i == count / 10)
            settled = resident_bytes();
    }
    EXPECT_OF(resident_bytes() < settled + 8 * MIB, resident_bytes());
    EXPECT_OF(mapped_bytes() < (size_t)4 << 30, mapped_bytes());
    EXPECT_OF(mapping_count() < 300, mapping_count());
}

static _Atomic size_t detached_ended;

static void *detached_thread(void *context)
{
    short_thread((void *)((uintptr_t)context | 1 << 20));
    detached_ended++;
    return NULL;
}

static void detached(void)
{
    static void *none[LEFT];
    memcpy(left_blocks, none, sizeof none);
    size_t count = scaled(3000);
    for (size_t i = 0; i < count; i++) {
        start(detached_thread, (void *)(i * LEFT), 65536, true); /* all on one slot: one at a time */
        while (detached_ended <= i)
            sched_yield();
    }
    EXPECT_OF(resident_bytes() < 64 * MIB, resident_bytes());
}

/* The owner is gone when its blocks are freed, by one thread or by many. */
#define ORPHANS 3000
static char *orphans[4][ORPHANS];

static void *orphan_maker(void *context)
{
    uintptr_t family = (uintptr_t)context;
    for (unsigned i = 0; i < ORPHANS; i++) {
        size_t size = 16 + (i * 7919u + family) % 3000;
        EXPECT((orphans[family][i] = malloc(size)) != NULL);
        pattern_fill(orphans[family][i], size, i);
    }
    return NULL;
}

static void *orphan_freer(void *context)
{
    uintptr_t family = (uintptr_t)context;
    for (unsigned i = 0; i < ORPHANS; i++) {
        size_t size = 16 + (i * 7919u + family) % 3000;
        EXPECT(pattern_holds(orphans[family][i], size, i));
        free(orphans[family][i]);
    }
    return NULL;
}

static void freed_after_the_owner(void)
{
    size_t rounds = scaled(20), settled = 0;
    for (size_t round = 0; round < rounds; round++) {
        pthread_t threads[4];
        for (uintptr_t i = 0; i < 4; i++)
            threads[i] = start(orphan_maker, (void *)i, 65536, false);
        for (unsigned i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        if (round % 3 == 0) {
            for (uintptr_t i = 0; i < 4; i++)
                orphan_freer((void *)i);
        } else {
            for (uintptr_t i = 0; i < 4; i++)
                threads[i] = start(orphan_freer, (void *)i, 65536, false);
            for (unsigned i = 0; i < 4; i++)
                pthread_join(threads[i], NULL);
        }
        check_heap();
        if (round == 2)
            settled = resident_bytes();
    }
    EXPECT_OF(resident_bytes() < settled + 20 * MIB, resident_bytes());
}

/* One allocates, another only frees. */
#define QUEUE 4096
static void *_Atomic queue[QUEUE];

static void *consumer(void *context)
{
    size_t count = *(size_t *)context;
    for (size_t i = 0; i < count; i++) {
        void *block;
        while ((block = atomic_exchange_explicit(&queue[i % QUEUE], NULL, memory_order_acquire)) == NULL)
            sched_yield();
        free(block);
    }
    return NULL;
}

static void freed_by_another(void)
{
    size_t count = scaled(400000), top = 0;
    uint64_t random = 5;
    pthread_t thread = start(consumer, &count, 65536, false);
    for (size_t i = 0; i < count; i++) {
        size_t size = random_size(&random, 4000);
        void *block = malloc(size);
        EXPECT(block != NULL);
        memset(block, 1, size);
        while (atomic_load_explicit(&queue[i % QUEUE], memory_order_relaxed) != NULL)
            sched_yield();
        atomic_store_explicit(&queue[i % QUEUE], block, memory_order_release);
        if (i % 20000 == 19999) {
            size_t now = resident_bytes();
            top = now > top ? now : top;
        }
    }
    pthread_join(thread, NULL);
    EXPECT_OF(top < 40 * MIB, top); /* live: at most 4096 blocks of 4000 bytes */
}

/* Blocks wander through a ring of threads; each stage frees what it got and allocates what it passes on. */
#define STAGES 4
static pthread_barrier_t stage_barrier;
static void *stage_blocks[2][STAGES][2000];

static void *stage_thread(void *context)
{
    uintptr_t stage = (uintptr_t)context;
    for (unsigned round = 0; round < 40; round++) {
        unsigned now = round % 2;
        for (unsigned i = 0; i < 2000; i++) {
            free(stage_blocks[now][stage][i]);
            size_t size = 100 + (round * 97 + i) % 2000;
            void *block = malloc(size);
            EXPECT(block != NULL);
            memset(block, 1, size);
            stage_blocks[!now][(stage + 1) % STAGES][i] = block;
        }
        pthread_barrier_wait(&stage_barrier);
    }
    return NULL;
}

static void wandering_blocks(void)
{
    pthread_t threads[STAGES];
    pthread_barrier_init(&stage_barrier, NULL, STAGES);
    size_t before = resident_bytes();
    for (uintptr_t i = 0; i < STAGES; i++)
        threads[i] = start(stage_thread, (void *)i, 65536, false);
    for (unsigned i = 0; i < STAGES; i++)
        pthread_join(threads[i], NULL);
    size_t grown = resident_bytes() - before, live = STAGES * (size_t)2000 * 1100;
    EXPECT_OF(grown < live * 5 / 2 + 8 * MIB, grown);
}

/* Short threads swap blocks of a few sizes into a table and free what was there: a slab's blocks come home
 * from everywhere while its heap is left, adopted and left again. The yields make the scheduler cut in
 * anywhere; on a busy machine each may cost a time slice, so they are few. */
#define SWAPS 512
static void *_Atomic swapped[SWAPS];

static void *swapping_thread(void *context)
{
    static const size_t sizes[] = {24, 200, 3000};
    uint64_t random = (uint64_t)(uintptr_t)context * 77 + 1;
    for (unsigned i = 0; i < 400; i++) {
        uint64_t draw = random_next(&random);
        size_t size = sizes[draw % 3];
        uint64_t *block = malloc(size);
        EXPECT(block != NULL);
        block[0] = size;
        block[size / 8 - 1] = ~(uint64_t)size;
        uint64_t *old =
            atomic_exchange_explicit(&swapped[draw >> 8 & (SWAPS - 1)], block, memory_order_acq_rel);
        if (old != NULL)
            EXPECT(old[old[0] / 8 - 1] == ~old[0]);
        if ((draw >> 40 & 127) == 0)
            sched_yield();
        free(old);
    }
    return NULL;
}

static void *swapping_starter(void *context)
{
    for (size_t i = 0; i < scaled(150); i++) {
        uintptr_t seed = (uintptr_t)context * 100000 + i * 2;
        pthread_t pair[2];
        for (unsigned k = 0; k < 2; k++)
            pair[k] = start(swapping_thread, (void *)(seed + k), 65536, false);
        for (unsigned k = 0; k < 2; k++)
            pthread_join(pair[k], NULL);
    }
    return NULL;
}

static void swapped_everywhere(void)
{
    pthread_t starters[4];
    for (uintptr_t i = 0; i < 4; i++)
        starters[i] = start(swapping_starter, (void *)i, 65536, false);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(starters[i], NULL);
    check_heap();
    for (unsigned i = 0; i < SWAPS; i++)
        free(swapped[i]);
    check_heap();
    EXPECT_OF(resident_bytes() < 40 * MIB, resident_bytes());
}

static void *cancelled_thread(void *context)
{
    uint64_t random = (uint64_t)(uintptr_t)context + 1;
    for (void *block;; free(block)) {
        block = malloc(random_size(&random, 3000));
        pthread_testcancel(); /* the block leaks; the heap must not */
    }
    return NULL;
}

static void cancellation(void)
{
    for (size_t i = 0; i < scaled(500); i++) {
        pthread_t thread = start(cancelled_thread, (void *)i, 65536, false);
        EXPECT(pthread_cancel(thread) == 0);
        void *result;
        pthread_join(thread, &result);
        EXPECT(result == PTHREAD_CANCELED);
    }
    EXPECT_OF(resident_bytes() < 64 * MIB, resident_bytes());
}

/* Everything, on the smallest stack there is. */
static void *tiny_stack_thread(void *context)
{
    for (size_t size = 1; size < 100 * MIB; size = size * 2 + 1) {
        char *at = malloc(size);
        EXPECT_OF(at != NULL, size);
        at[0] = at[size - 1] = 1;
        at = realloc(at, size + size / 3);
        EXPECT_OF(at != NULL && at[0] == 1, size);
        free(at);
        free(calloc(1, size < MIB ? size : 1));
        free(memalign(4096, size));
    }
    void **blocks = malloc(20000 * sizeof *blocks);
    for (unsigned i = 0; i < 20000; i++)
        EXPECT((blocks[i] = malloc(i % 700)) != NULL);
    for (unsigned i = 0; i < 20000; i++)
        free(blocks[i]);
    free(blocks);
    return context;
}

static void smallest_stacks(void)
{
    for (unsigned i = 0; i < 4; i++) {
        pthread_t threads[4];
        for (unsigned k = 0; k < 4; k++)
            threads[k] = start(tiny_stack_thread, NULL, (size_t)PTHREAD_STACK_MIN, false);
        for (unsigned k = 0; k < 4; k++)
            pthread_join(threads[k], NULL);
    }
}

/* Mappings that grow and move while others map: an address given up by one thread is taken by the next. */
static void *moving_thread(void *context)
{
    for (size_t i = 0; i < scaled(20); i++) {
        size_t size = 2 * MIB;
        char *at = malloc(size);
        while (size < 24 * MIB) {
            at[size - 1] = (char)i;
            at = realloc(at, size + size / 2);
            EXPECT_OF(at != NULL && at[size - 1] == (char)i, size);
            size += size / 2;
        }
        free(at);
    }
    return context;
}

static void moving_mappings(void)
{
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        threads[i] = start(moving_thread, NULL, 65536, false);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* The first thing it does: glibc calls realloc there with the thread's lock held, which is not recursive. */
static void *asks_for_its_stack(void *context)
{
    pthread_attr_t attributes;
    EXPECT(pthread_getattr_np(pthread_self(), &attributes) == 0);
    void *low;
    size_t size;
    EXPECT(pthread_attr_getstack(&attributes, &low, &size) == 0);
    EXPECT((char *)&attributes > (char *)low && (char *)&attributes < (char *)low + size);
    pthread_attr_destroy(&attributes);
    free(malloc(100));
    return context;
}

static void first_asks_for_its_stack(void)
{
    for (unsigned i = 0; i < 50; i++)
        pthread_join(start(asks_for_its_stack, NULL, 65536, false), NULL);
}

/* Hundreds of libraries with thread-locals, each a file of its own. */
#define LIBRARIES 300
static void *(*plugin_make[LIBRARIES])(size_t);
static void (*plugin_free[LIBRARIES])(void *);

static void *plugin_thread(void *context)
{
    for (unsigned i = 0; i < LIBRARIES; i++) {
        void *block = plugin_make[i](i * 10);
        EXPECT_OF(block != NULL, i);
        free(block);
        plugin_free[i](malloc(i));
    }
    return context;
}

static void copy_file(const char *from, const char *to)
{
    static char data[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    EXPECT(in >= 0 && out >= 0);
    for (ssize_t got; (got = read(in, data, sizeof data)) > 0;)
        EXPECT(write(out, data, (size_t)got) == got);
    close(in);
    close(out);
}

static void hundreds_of_libraries(void)
{
    char folder[] = "/tmp/stress.XXXXXX";
    EXPECT(mkdtemp(folder) != NULL);
    static void *handles[LIBRARIES];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < LIBRARIES; i++) {
            char path[PATH_MAX];
            snprintf(path, sizeof path, "%s/plugin%u.so", folder, i);
            copy_file(STRESS_PLUGIN, path);
            handles[i] = dlopen(path, RTLD_NOW | (i % 2 ? RTLD_LOCAL : RTLD_GLOBAL));
            unlink(path);
            EXPECT_OF(handles[i] != NULL, i);
            *(void **)&plugin_make[i] = dlsym(handles[i], "plugin_make");
            *(void **)&plugin_free[i] = dlsym(handles[i], "plugin_free");
            EXPECT(plugin_make[i] != NULL && plugin_free[i] != NULL);
        }
        pthread_t threads[4];
        for (unsigned i = 0; i < 4; i++)
            threads[i] = start(plugin_thread, NULL, 1 << 18, false);
        for (unsigned i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        plugin_thread(NULL);
        for (unsigned i = 0; i < LIBRARIES; i++)
            dlclose(handles[i]);
    }
    rmdir(folder);
}

/* A library that sees the C library's malloc, not ours: each frees its own. */
static void own_namespace(void)
{
    for (unsigned i = 0; i < 10; i++) {
        void *deep = dlopen(STRESS_PLUGIN, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
        void *apart = dlmopen(LM_ID_NEWLM, STRESS_PLUGIN, RTLD_NOW | RTLD_LOCAL);
        EXPECT(deep != NULL && apart != NULL);
        void *handles[] = {deep, apart};
        for (unsigned k = 0; k < 2; k++) {
            void *(*make)(size_t);
            void (*drop)(void *);
            *(void **)&make = dlsym(handles[k], "plugin_make");
            *(void **)&drop = dlsym(handles[k], "plugin_free");
            for (size_t size = 1; size < 4 * MIB; size = size * 3 + 1) {
                void *mine = malloc(size), *its = make(size);
                EXPECT(mine != NULL && its != NULL);
                memset(mine, 1, size);
                memset(its, 2, size);
                EXPECT(((char *)mine)[size - 1] == 1);
                drop(its);
                free(mine);
            }
        }
        dlclose(apart);
        dlclose(deep);
    }
}

static const stress_row table[] = {
    {"thousands_at_once", thousands_at_once, 0},
    {"short_in_sequence", short_in_sequence, 60},
    {"detached", detached, 0},
    {"freed_after_the_owner", freed_after_the_owner, 0},
    {"freed_by_another", freed_by_another, 0},
    {"wandering_blocks", wandering_blocks, 0},
    {"swapped_everywhere", swapped_everywhere, 60},
    {"cancellation", cancellation, 0},
    {"smallest_stacks", smallest_stacks, 0},
    {"first_asks_for_its_stack", first_asks_for_its_stack, 0},
    {"moving_mappings", moving_mappings, 0},
    {"hundreds_of_libraries", hundreds_of_libraries, 0},
    {"own_namespace", own_namespace, 0},
};

ROWS_MAIN(table)
