/* Records of several rings in the order in which things happened, where their stamps say little or mislead.
 */
#include "trace/collect_merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "trace/reader.h"

#define RINGS 3
#define LATER (10 * HAK_RING_SLACK_TICKS)

static char folder[TEST_PATH];
static char path[TEST_PATH];
static hak_merge merge;
static hak_events events;
static hak_clock time_clock;
static hak_ring rings[RINGS];
static uint64_t *words[RINGS];

static int set_up(void **state)
{
    (void)state;
    if (!test_folder_make(folder) || !test_path(path, folder, "a.gz"))
        return -1;
    for (size_t i = 0; i < RINGS; i++)
        words[i] = calloc(HAK_RING_WORDS, sizeof *words[i]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < RINGS; i++)
        free(words[i]);
    return test_folder_remove(folder);
}

static void put(size_t ring, uint64_t stamp, unsigned kind, uint64_t address)
{
    uint64_t head = rings[ring].head >> 1;
    words[ring][head] = hak_record_word0(stamp, kind, 0, 0);
    words[ring][head + 1] = address;
    rings[ring].head = (head + 2) << 1;
}

static void begin(void)
{
    const hak_trace_head head = {.program = "p", .command = "", .recorder = "test"};
    const hak_writer_options options = {.force = true};
    hak_trace_error error;
    hak_writer *writer = hak_writer_open(path, &head, &options, &error);
    assert_non_null(writer);
    assert_true(hak_events_init(&events, writer, "p", 0));
    time_clock = (hak_clock){.ns_per_tick = 1};
    merge = (hak_merge){.pid_fd = -1, .clock = &time_clock, .events = &events};
    assert_true(hak_merge_reserve(&merge, RINGS));
    merge.count = RINGS;
    for (size_t i = 0; i < RINGS; i++) {
        memset(&rings[i], 0, sizeof rings[i]);
        merge.consumers[i] = (hak_consumer){.ring = &rings[i], .words = words[i]};
        put(i, 1, HAK_RECORD_THREAD_START, i + 1);
    }
}

/* Merges what all rings have up to the limit. */
static void merge_to(uint64_t limit)
{
    for (size_t i = 0; i < RINGS; i++)
        merge.consumers[i].visible = rings[i].head >> 1;
    hak_merge_run(&merge, limit);
}

/* Events that speak of a block that nobody knows, or of one that was freed where nobody saw it. */
static unsigned strange(size_t expected_events)
{
    const hak_trace_tail tail = {.ended = true};
    const hak_event *batch;
    hak_trace_error error;
    size_t count;
    size_t all = 0;
    unsigned foreign = 0;
    assert_int_equal(hak_writer_finish(events.writer, &tail, &error), 0);
    hak_reader *reader = hak_reader_open(path, 0, &error);
    assert_non_null(reader);
    while (hak_reader_next(reader, &batch, &count, &error) == 1)
        for (size_t i = 0; i < count; i++) {
            all += batch[i].op != HAK_OP_THREAD_START;
            foreign += (batch[i].flags & HAK_EVENT_FOREIGN) != 0;
        }
    hak_reader_close(reader);
    unlink(path);
    for (size_t i = 0; i < RINGS; i++)
        hak_stack_ids_done(&merge.consumers[i].stacks);
    hak_merge_done(&merge);
    hak_events_done(&events);
    return foreign + (unsigned)(all > expected_events ? all - expected_events : 0);
}

static void by_stamps(void **state)
{
    (void)state;
    begin();
    put(0, 10, HAK_OP_MALLOC, 0x1000);
    put(1, 20, HAK_OP_FREE, 0x1000);
    put(2, 30, HAK_OP_MALLOC, 0x1000);
    put(0, 40, HAK_OP_FREE, 0x1000);
    merge_to(100);
    assert_int_equal(hak_slots_live(events.slots), 0);
    assert_int_equal(strange(4), 0);
}

static void a_free_comes_before_the_early_stamp_of_who_takes_its_block(void **state)
{
    (void)state;
    begin();
    put(0, 10, HAK_OP_MALLOC, 0x1000);
    put(0, 20, HAK_OP_MALLOC, 0x1000); /* really after ring 1's free */
    put(1, 25, HAK_OP_FREE, 0x1000);
    put(2, LATER, HAK_OP_FREE, 0x1000);
    merge_to(2 * LATER);
    assert_int_equal(hak_slots_live(events.slots), 0);
    assert_int_equal(strange(4), 0);
}

/* Ring 1 is used ahead up to its free of one block, and on the way takes another, which ring 2 took and gave
 * up just before. */
static void an_address_keeps_its_order_where_a_ring_is_used_ahead(void **state)
{
    (void)state;
    begin();
    put(0, 10, HAK_OP_MALLOC, 0x1000);
    put(0, 100, HAK_OP_MALLOC, 0x1000); /* really after ring 1's free of it */
    put(2, 105, HAK_OP_MALLOC, 0x2000);
    put(2, 110, HAK_OP_FREE, 0x2000);
    put(1, 120, HAK_OP_MALLOC, 0x2000);
    put(1, 130, HAK_OP_FREE, 0x1000);
    put(1, LATER, HAK_OP_FREE, 0x2000);
    put(0, LATER, HAK_OP_FREE, 0x1000);
    merge_to(50);
    merge_to(101);
    merge_to(2 * LATER);
    assert_int_equal(hak_slots_live(events.slots), 0);
    assert_int_equal(strange(8), 0);
}

static void a_free_ahead_leaves_the_block_to_who_freed_it_before(void **state)
{
    (void)state;
    begin();
    put(0, 10, HAK_OP_MALLOC, 0x1000);
    put(0, 11, HAK_OP_MALLOC, 0x2000);
    put(0, 100, HAK_OP_MALLOC, 0x1000); /* really after ring 1's free of it */
    put(2, 105, HAK_OP_FREE, 0x2000);
    put(2, 110, HAK_OP_MALLOC, 0x2000);
    put(1, 120, HAK_OP_FREE, 0x2000);
    put(1, 130, HAK_OP_FREE, 0x1000);
    put(0, LATER, HAK_OP_FREE, 0x1000);
    merge_to(2 * LATER);
    assert_int_equal(hak_slots_live(events.slots), 0);
    assert_int_equal(strange(8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_stamps),
        cmocka_unit_test(a_free_comes_before_the_early_stamp_of_who_takes_its_block),
        cmocka_unit_test(an_address_keeps_its_order_where_a_ring_is_used_ahead),
        cmocka_unit_test(a_free_ahead_leaves_the_block_to_who_freed_it_before),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
