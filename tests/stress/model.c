/* model.c: millions of random operations against a model that knows what every block must hold. Overlap, lost
 * bytes, misalignment and dirty calloc show as a pattern that no longer holds; a broken structure shows in
 * hakmem_check, which runs all along. */
#include "rows.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOTS          4096
#define EDGE_BYTES     256               /* of a large block only the ends are written and read */
#define WHOLE_MAX      32768             /* up to here whole blocks are */
#define LARGE_BUDGET   ((size_t)2 << 30) /* address space in blocks above 1 MiB, at most */
#define ALIGN_MAX_LOG2 30

typedef struct block {
    char *at;
    size_t size;
    uint64_t seed;
} block;

typedef struct model {
    block slots[SLOTS];
    uint64_t random;
    size_t large_bytes;
    size_t size_max;
    bool huge_alignments;
} model;

static void write_block(const block *b)
{
    if (b->size <= WHOLE_MAX) {
        pattern_fill(b->at, b->size, b->seed);
        return;
    }
    pattern_fill(b->at, EDGE_BYTES, b->seed);
    pattern_fill(b->at + b->size / 2, EDGE_BYTES, b->seed + 1);
    pattern_fill(b->at + b->size - EDGE_BYTES, EDGE_BYTES, b->seed + 2);
}

static void read_block(const block *b)
{
    if (b->size <= WHOLE_MAX) {
        EXPECT_OF(pattern_holds(b->at, b->size, b->seed), b->size);
        return;
    }
    EXPECT_OF(pattern_holds(b->at, EDGE_BYTES, b->seed), b->size);
    EXPECT_OF(pattern_holds(b->at + b->size / 2, EDGE_BYTES, b->seed + 1), b->size);
    EXPECT_OF(pattern_holds(b->at + b->size - EDGE_BYTES, EDGE_BYTES, b->seed + 2), b->size);
}

static size_t new_size(model *m)
{
    uint64_t draw = random_next(&m->random) % 1000;
    size_t max = draw < 700 ? 512 : draw < 930 ? 8192 : draw < 985 ? 262144 : m->size_max;
    size_t size = random_size(&m->random, max < m->size_max ? max : m->size_max);
    if (size > 1 << 20 && m->large_bytes + size > LARGE_BUDGET)
        size &= 0xffff;
    return size == 0 ? 1 : size;
}

static void account(model *m, size_t size, bool add)
{
    if (size > 1 << 20)
        m->large_bytes = add ? m->large_bytes + size : m->large_bytes - size;
}

static void allocate(model *m, block *b)
{
    size_t size = new_size(m);
    uint64_t kind = random_next(&m->random) % 16;
    if (kind < 10) {
        b->at = malloc(size);
    } else if (kind < 14) {
        b->at = calloc(1, size);
        size_t look = size <= WHOLE_MAX ? size : WHOLE_MAX;
        EXPECT_OF(b->at != NULL && all_zero(b->at, look) && all_zero(b->at + size - look, look), size);
    } else {
        uint64_t draw = random_next(&m->random);
        unsigned log2 = 4 + (unsigned)(draw % (draw >> 32 & 31 ? 9 : 13));
        if (m->huge_alignments && (draw >> 40) % 2048 == 0)
            log2 = 20 + (unsigned)((draw >> 52) % (ALIGN_MAX_LOG2 - 19));
        if (log2 > 20 && size > 1 << 20)
            size = 4096;
        b->at = memalign((size_t)1 << log2, size);
        EXPECT_OF(((uintptr_t)b->at & (((uintptr_t)1 << log2) - 1)) == 0, log2);
    }
    EXPECT_OF(b->at != NULL && ((uintptr_t)b->at & 15) == 0, size);
    EXPECT_OF(malloc_usable_size(b->at) >= size, size);
    b->size = size;
    b->seed = random_next(&m->random);
    account(m, size, true);
    write_block(b);
}

static void release(model *m, block *b)
{
    read_block(b);
    account(m, b->size, false);
    free(b->at);
    b->at = NULL;
}

static void resize(model *m, block *b)
{
    read_block(b);
    account(m, b->size, false);
    size_t size =
        random_next(&m->random) % 4 ? b->size + random_next(&m->random) % (b->size + 16) : new_size(m);
    if (size > m->size_max || (size > 1 << 20 && m->large_bytes + size > LARGE_BUDGET))
        size = 100;
    size_t kept = (size < b->size ? size : b->size);
    if (b->size > WHOLE_MAX && kept > EDGE_BYTES)
        kept = EDGE_BYTES;
    b->at = realloc(b->at, size);
    EXPECT_OF(b->at != NULL && pattern_holds(b->at, kept & ~(size_t)7, b->seed), size);
    b->size = size;
    account(m, size, true);
    write_block(b);
}

static model *model_new(uint64_t seed, size_t size_max, bool huge_alignments)
{
    model *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(m != MAP_FAILED);
    m->random = seed * 2 + 1;
    m->size_max = size_max;
    m->huge_alignments = huge_alignments;
    return m;
}

/* In waves: the live set swells and shrinks, so that slabs empty, leave and come back. */
static void model_run(model *m, size_t operations, bool check)
{
    for (size_t i = 0; i < operations; i++) {
        bool growing = (i / (SLOTS * 4)) % 2 == 0;
        block *b = &m->slots[random_next(&m->random) % SLOTS];
        uint64_t draw = random_next(&m->random) % 16;
        if (b->at == NULL) {
            if (growing || draw < 4)
                allocate(m, b);
        } else if (draw < 2) {
            resize(m, b);
        } else if (!growing || draw < 8) {
            release(m, b);
        }
        if (check && i % 131072 == 131071)
            check_heap();
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (m->slots[i].at != NULL)
            release(m, &m->slots[i]);
    munmap(m, sizeof *m);
}

static void random_operations(void)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        model_run(model_new(seed, (size_t)64 << 20, true), scaled(500000), true);
        check_heap();
    }
}

static void small_operations(void)
{
    model_run(model_new(11, 1024, false), scaled(1500000), true);
}

static void *model_thread(void *context)
{
    model_run(model_new((uint64_t)(uintptr_t)context, (size_t)4 << 20, false), scaled(120000), false);
    return NULL;
}

static void threads_at_once(void)
{
    enum { COUNT = 8 };
    pthread_t threads[COUNT];
    for (uintptr_t i = 0; i < COUNT; i++)
        EXPECT(pthread_create(&threads[i], NULL, model_thread, (void *)(i + 100)) == 0);
    for (unsigned i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);
}

/* One table of blocks for all threads: whoever draws a slot checks, frees, resizes or refills it. */
typedef struct shared_slot {
    _Atomic bool busy;
    block b;
} shared_slot;

static shared_slot shared_slots[SLOTS];

static void *shared_thread(void *context)
{
    model *m = model_new((uint64_t)(uintptr_t)context, (size_t)1 << 20, false);
    size_t operations = scaled(250000);
    for (size_t i = 0; i < operations; i++) {
        shared_slot *slot = &shared_slots[random_next(&m->random) % SLOTS];
        bool expected = false;
        if (!atomic_compare_exchange_strong(&slot->busy, &expected, true))
            continue;
        if (slot->b.at == NULL)
            allocate(m, &slot->b);
        else if (random_next(&m->random) % 8 == 0)
            resize(m, &slot->b);
        else
            release(m, &slot->b);
        slot->busy = false;
    }
    munmap(m, sizeof *m);
    return NULL;
}

static void threads_share_blocks(void)
{
    enum { COUNT = 4 };
    pthread_t threads[COUNT];
    for (unsigned round = 0; round < 3; round++) {
        for (uintptr_t i = 0; i < COUNT; i++)
            EXPECT(pthread_create(&threads[i], NULL, shared_thread, (void *)(i + round * 10 + 1)) == 0);
        for (unsigned i = 0; i < COUNT; i++)
            pthread_join(threads[i], NULL);
        check_heap();
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (shared_slots[i].b.at != NULL) {
            read_block(&shared_slots[i].b);
            free(shared_slots[i].b.at);
        }
}

static const stress_row table[] = {
    {"random_operations", random_operations, 120},
    {"small_operations", small_operations, 120},
    {"threads_at_once", threads_at_once, 120},
    {"threads_share_blocks", threads_share_blocks, 120},
};

ROWS_MAIN(table)
