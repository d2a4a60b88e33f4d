/* core_pool.c: runs of units from the pool, blocks through heaps, counters and their printers. The program
 * runs on the allocator under test, so the pool is in use by it as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/heap.h"
#include "core/include/hakmem.h"
#include "core/options.h"
#include "core/secure.h"
#include "core/superslab.h"

#define RUNS 200

static uint64_t counter(const char *name)
{
    for (unsigned i = 0; i < hakmem_counter_count(); i++)
        if (strcmp(hakmem_counter_name(i), name) == 0)
            return hakmem_counter_value(i);
    fail_msg("no counter %s", name);
    return 0;
}

static void runs_are_disjoint(void **state)
{
    (void)state;
    hak_slab *runs[RUNS];
    unsigned random = 7;
    size_t before = hak_pool_info_get().used_bytes, used = 0;
    for (unsigned i = 0; i < RUNS; i++) {
        random = random * 1103515245u + 12345u;
        unsigned units = 1 + (random >> 16) % HAK_RUN_MAX_UNITS;
        bool zeroed;
        runs[i] = hak_pool_take(units, HAK_RUN_MID, &zeroed);
        assert_non_null(runs[i]);
        assert_int_equal(runs[i]->units, units);
        assert_int_equal((uintptr_t)runs[i]->start % HAK_UNIT_BYTES, 0);
        assert_ptr_equal(hak_slab_of(runs[i]->start + units * HAK_UNIT_BYTES - 1), runs[i]);
        if (zeroed)
            assert_int_equal(runs[i]->start[units * HAK_UNIT_BYTES - 1], 0);
        memset(runs[i]->start, (int)i, units * HAK_UNIT_BYTES);
        used += units * HAK_UNIT_BYTES;
    }
    assert_int_equal(hak_pool_info_get().used_bytes, before + used);
    assert_int_equal(hakmem_check(), 0);
    for (unsigned i = 0; i < RUNS; i++) {
        assert_int_equal(runs[i]->start[0], (char)i);
        assert_int_equal(runs[i]->start[runs[i]->units * HAK_UNIT_BYTES - 1], (char)i);
        hak_pool_give(runs[i]);
    }
    assert_int_equal(hak_pool_info_get().used_bytes, before);
    assert_int_equal(hakmem_check(), 0);
}

static void runs_grow_and_shrink(void **state)
{
    (void)state;
    bool zeroed;
    hak_slab *run = hak_pool_take(HAK_RUN_MAX_UNITS, HAK_RUN_MID, &zeroed);
    assert_non_null(run);
    assert_false(hak_pool_grow(run, HAK_RUN_MAX_UNITS + 1));
    hak_pool_shrink(run, 3);
    assert_int_equal(run->units, 3);
    assert_true(hak_pool_grow(run, 10));
    assert_ptr_equal(hak_slab_of(run->start + 10 * HAK_UNIT_BYTES - 1), run);
    hak_pool_shrink(run, 20); /* no shrinking: nothing happens */
    assert_int_equal(run->units, 10);
    assert_int_equal(hakmem_check(), 0);
    hak_pool_give(run);
    hak_pool_trim();
    assert_int_equal(hakmem_check(), 0);
}

#define REST_US    600000 /* longer than anything is regretted */
#define TURN_RUNS  40
#define TURN_BYTES (TURN_RUNS * HAK_RUN_MAX_UNITS * HAK_UNIT_BYTES) /* 77 MiB: more than stays */

/* What such a program pays: the bytes that a turn had given back. */
static uint64_t take_and_give(void)
{
    hak_slab *runs[TURN_RUNS];
    bool zeroed;
    for (unsigned i = 0; i < TURN_RUNS; i++)
        assert_non_null(runs[i] = hak_pool_take(HAK_RUN_MAX_UNITS, HAK_RUN_MID, &zeroed));
    uint64_t before = hak_process_counters[HAK_COUNT_PURGE_BYTES];
    for (unsigned i = 0; i < TURN_RUNS; i++)
        hak_pool_give(runs[i]);
    assert_int_equal(hakmem_check(), 0);
    return hak_process_counters[HAK_COUNT_PURGE_BYTES] - before;
}

/* What was given back and soon wanted again stays the next time; not so once the program has rested. */
static void what_is_wanted_again_stays(void **state)
{
    (void)state;
    hak_trim();
    usleep(REST_US);
    uint64_t regret = hak_process_counters[HAK_COUNT_PURGE_REGRET];
    uint64_t first = take_and_give();
    size_t first_kept = hak_pool_info_get().dirty_bytes;
    assert_int_equal(hak_process_counters[HAK_COUNT_PURGE_REGRET], regret);
    assert_in_range(first, TURN_BYTES / 2, TURN_BYTES);
    take_and_give();
    assert_in_range(hak_process_counters[HAK_COUNT_PURGE_REGRET] - regret, first / 2, first);
    uint64_t third = take_and_give();
    assert_in_range(third, 0, first - TURN_BYTES / 5);
    size_t kept = hak_pool_info_get().dirty_bytes;
    assert_in_range(kept, first_kept + TURN_BYTES / 5, 48 * HAK_MIB);
    usleep(REST_US);
    regret = hak_process_counters[HAK_COUNT_PURGE_REGRET];
    take_and_give();
    assert_int_equal(hak_process_counters[HAK_COUNT_PURGE_REGRET], regret);
    assert_in_range(hak_pool_info_get().dirty_bytes, 0, first_kept + TURN_BYTES / 10);
    hak_trim();
    assert_int_equal(hakmem_check(), 0);
}

/* What is known to be wanted gets huge pages, as far as it is known, and nothing else lies there until it was
 * freed. */
static void bulk_lies_apart(void **state)
{
    (void)state;
    enum { KNOWN = 3, SUPERS = KNOWN + 1 };
    hak_slab *bulk[SUPERS * HAK_UNITS];
    bool zeroed;
    int64_t before = hak_opt.knobs[HAK_KNOB_THP_KNOWN_BYTES];
    hak_opt.knobs[HAK_KNOB_THP_KNOWN_BYTES] = KNOWN * (int64_t)HAK_SUPERSLAB_BYTES + 1;
    uint64_t huge = counter("thp_on");
    for (unsigned i = 0; i < SUPERS * HAK_UNITS; i++) {
        bulk[i] = hak_pool_take(1, HAK_RUN_BULK, &zeroed);
        assert_int_equal(hak_superslab_of(bulk[i])->bulk, i < KNOWN * HAK_UNITS);
    }
    assert_int_equal(counter("thp_on"), huge + KNOWN);
    assert_int_equal(hakmem_check(), 0);

    hak_pool_give(bulk[0]);
    hak_slab *run = hak_pool_take(1, HAK_RUN_SLAB, &zeroed);
    assert_false(hak_superslab_of(run)->bulk);
    hak_pool_give(run);
    for (unsigned i = 1; i < HAK_UNITS; i++)
        hak_pool_give(bulk[i]);
    run = hak_pool_take(3, HAK_RUN_MID, &zeroed);
    assert_true(hak_superslab_of(run)->bulk);
    assert_int_equal(hakmem_check(), 0);

    hak_pool_give(run);
    for (unsigned i = HAK_UNITS; i < SUPERS * HAK_UNITS; i++)
        hak_pool_give(bulk[i]);
    hak_pool_trim();
    assert_int_equal(hakmem_check(), 0);
    hak_opt.knobs[HAK_KNOB_THP_KNOWN_BYTES] = before;
}

static void blocks_of_a_slab(void **state)
{
    (void)state;
    char *block = malloc(200);
    void *volatile freed = block; /* hides the free from the compiler, which knows what it is */
    hak_slab *slab = hak_slab_of(block);
    assert_int_equal(slab->kind, HAK_SLAB_BLOCKS);
    assert_true(slab->block_bytes >= 200);
    assert_ptr_equal(hak_slab_block_of(slab, block), block);
    assert_ptr_equal(hak_slab_block_of(slab, block + 1), block);
    assert_ptr_equal(hak_slab_block_of(slab, block + slab->block_bytes - 1), block);
    assert_null(hak_slab_block_of(slab, slab->start - 1));
    assert_null(hak_slab_block_of(slab, slab->start + (size_t)slab->capacity * slab->block_bytes));
    assert_false(hak_heap_holds(slab, (hak_block *)block));
    free(freed);
    assert_true(hak_heap_holds(slab, freed));
}

#define CROWD 2000
static void *crowd[CROWD];

static void *free_crowd(void *context)
{
    for (unsigned i = 0; i < CROWD; i++)
        free(crowd[i]);
    return context;
}

static void remote_frees_come_home(void **state)
{
    (void)state;
    uint64_t before = counter("free_ss_remote");
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < CROWD; i++)
            assert_non_null(crowd[i] = malloc(300));
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, free_crowd, NULL), 0);
        pthread_join(thread, NULL);
    }
    assert_true(counter("free_ss_remote") >= before + 5 * CROWD - 5);
    assert_true(counter("refill_remote") > 0);
    assert_int_equal(hakmem_check(), 0);
}

#define FEW 20

static bool is_of_few(const void *block)
{
    unsigned i = 0;
    while (i < FEW && crowd[i] != block)
        i++;
    return i < FEW;
}

/* Frees others' blocks of a size that it takes itself, and not just once: it gets most of these next. */
static void *keep_crowd(void *context)
{
    enum { TRIES = 200, TAKEN_FIRST = 8 };
    uint64_t before = counter("free_kept");
    void *own[TRIES];
    unsigned taken = 0;
    while (taken < TAKEN_FIRST)
        own[taken++] = malloc(300);
    for (unsigned i = 0; i < FEW; i++)
        free(crowd[i]);
    /* One in HAK_KEEP_ALL_BUT goes home: the heap has counted since it was new. */
    assert_in_range(counter("free_kept"), before + FEW - FEW / HAK_KEEP_ALL_BUT - 1,
                    before + FEW - FEW / HAK_KEEP_ALL_BUT);
    assert_true(hak_heap_holds(hak_slab_of(crowd[0]), crowd[0]));
    assert_int_equal(hakmem_check(), 0);
    do
        own[taken++] = malloc(300);
    while (!is_of_few(own[taken - 1]) && taken < TRIES);
    assert_true(taken < TRIES);
    assert_false(hak_heap_holds(hak_slab_of(own[taken - 1]), own[taken - 1]));
    while (taken > 0)
        free(own[--taken]);
    for (unsigned i = FEW; i < CROWD; i++)
        free(crowd[i]);
    assert_true(counter("free_kept") < before + CROWD / 2);
    return context;
}

static void wanted_blocks_are_kept(void **state)
{
    (void)state;
    hak_trim();
    size_t before = hak_pool_info_get().used_bytes;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CROWD; i++)
            assert_non_null(crowd[i] = malloc(300));
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, keep_crowd, NULL), 0);
        pthread_join(thread, NULL);
        assert_int_equal(hakmem_check(), 0);
    }
    hak_trim(); /* all of them are home: but for a few blocks of others nothing keeps their slabs */
    assert_true(hak_pool_info_get().used_bytes <= before + 2 * HAK_UNIT_BYTES);
}

static void *leave_blocks(void *context)
{
    for (unsigned i = 0; i < CROWD; i++)
        crowd[i] = malloc(777);
    return context;
}

static void left_heaps_are_taken_over(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, leave_blocks, NULL), 0);
        pthread_join(thread, NULL);
        assert_int_equal(hakmem_check(), 0);
        free_crowd(NULL);
        assert_int_equal(hakmem_check(), 0);
    }
    assert_true(counter("heap_abandoned") >= 4);
    assert_true(counter("heap_reused") >= 3);
}

static void counters_have_names(void **state)
{
    (void)state;
    unsigned count = hakmem_counter_count();
    assert_true(count > 20);
    for (unsigned i = 0; i < count; i++) {
        assert_true(strlen(hakmem_counter_name(i)) > 2);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(hakmem_counter_name(i), hakmem_counter_name(k));
    }
    assert_null(hakmem_counter_name(count));
    assert_int_equal(hakmem_counter_value(count), 0);
    assert_int_equal(hakmem_counter_value(UINT32_MAX), 0);
}

/* A block that realloc leaves is freed by the slow path, which must not take that for a full list. */
static void moved_blocks_are_counted_once(void **state)
{
    (void)state;
    enum { MOVES = 100000 };
    uint64_t before = hak_heap_counter_sum(HAK_COUNT_FREE_TLS_SLL);
    for (unsigned i = 0; i < MOVES; i++) {
        char *volatile block = malloc(16);
        block = realloc(block, 400);
        assert_non_null(block);
        free(block);
    }
    uint64_t counted = hak_heap_counter_sum(HAK_COUNT_FREE_TLS_SLL) - before;
    assert_in_range(counted, 2 * MOVES, 2 * MOVES + MOVES / 100);
}

/* Each shape, read back through a pipe in place of stderr. */
static size_t printed(hak_stats_shape shape, char *text, size_t room)
{
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    hak_stats_print(shape);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    size_t len = 0;
    for (ssize_t got; (got = read(ends[0], text + len, room - 1 - len)) > 0;)
        len += (size_t)got;
    close(ends[0]);
    text[len] = '\0';
    return len;
}

static void counters_are_printed(void **state)
{
    (void)state;
    static char text[16384];
    size_t len = printed(HAK_STATS_SHAPE_JSON, text, sizeof text);
    assert_true(strncmp(text, "{\"schema\":\"hakmem-stats-1\",\"mode\":\"balanced\",\"pid\":", 50) == 0);
    assert_string_equal(text + len - 3, "}}\n");
    for (unsigned i = 0; i < hakmem_counter_count(); i++) {
        char quoted[64];
        snprintf(quoted, sizeof quoted, "\"%s\":", hakmem_counter_name(i));
        assert_non_null(strstr(text, quoted));
    }
    printed(HAK_STATS_SHAPE_TABLE, text, sizeof text);
    assert_non_null(strstr(text, "hakmem:   free_tls_sll"));
    assert_null(strstr(text, "plain_alloc")); /* 0: left out */
    len = printed(HAK_STATS_SHAPE_SUMMARY, text, sizeof text);
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
}

/* With and without the encoding: what goes in comes out, and a key differs from place to place. */
static void links_and_keys(void **state)
{
    (void)state;
    hak_heap *heap = hak_heap_get();
    static hak_block blocks[3];
    hak_block_link(&blocks[0], &blocks[1]);
    hak_block_link(&blocks[1], NULL);
    assert_ptr_equal(hak_block_next(&blocks[0]), &blocks[1]);
    assert_null(hak_block_next(&blocks[1]));
    assert_int_not_equal(hak_block_key(&blocks[0], heap), 0);
    if (!HAK_SECURE) {
        assert_ptr_equal(blocks[0].next, &blocks[1]);
        return;
    }
    assert_ptr_not_equal(blocks[0].next, &blocks[1]);
    assert_non_null(blocks[1].next); /* nor does the end of a list show */
    blocks[2] = blocks[0];           /* a link copied from another place leads elsewhere */
    assert_ptr_not_equal(hak_block_next(&blocks[2]), &blocks[1]);
    assert_int_not_equal(hak_block_key(&blocks[0], heap), hak_block_key(&blocks[1], heap));
    assert_int_not_equal(hak_block_key(&blocks[0], heap), (uintptr_t)heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_disjoint),
        cmocka_unit_test(runs_grow_and_shrink),
        cmocka_unit_test(what_is_wanted_again_stays),
        cmocka_unit_test(bulk_lies_apart),
        cmocka_unit_test(blocks_of_a_slab),
        cmocka_unit_test(remote_frees_come_home),
        cmocka_unit_test(wanted_blocks_are_kept),
        cmocka_unit_test(left_heaps_are_taken_over),
        cmocka_unit_test(counters_have_names),
        cmocka_unit_test(counters_are_printed),
        cmocka_unit_test(links_and_keys),
        cmocka_unit_test(moved_blocks_are_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
