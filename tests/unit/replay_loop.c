/* replay_loop.c: random threaded programs -> trace -> workload -> replay on a target that writes down every
 * call. Sizes are event numbers, so a call tells which event it replays. What must hold: the same calls on
 * the same blocks; each thread in its own order; no block freed before it is there or twice; the order's
 * bound on how far threads run apart; and under strict order the live set of every moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replay/loop.h"
#include "replay/measure.h"
#include "core/base/bits.h"
#include "replay/null.h"
#include "replay/stats.h"
#include "replay/workload.h"
#include "folder.h"
#include "replay_maker.h"

#define FAR  ((uint64_t)1 << 40) /* added to some sizes: beyond the short form of an operation */
#define MASK (FAR - 1)

enum { ALLOC = 1, FREE = 2 };

/* The recording. */
static hak_event *events;
static uint32_t event_count;
static uint32_t *freed_by; /* event that ends the block made by this one; 0: none */

static char folder[TEST_PATH];
static const char *spill_folder; /* workloads go to a file there */

/* The log: kind << 62 | event number of the block. */
static _Atomic uint64_t *calls;
static _Atomic uint32_t call_count;
static _Atomic uint8_t *state; /* of the block made by an event: 0, 1 live, 2 freed */
static _Atomic uint32_t faults;

static void note(uint64_t kind, uint64_t block)
{
    atomic_store(&calls[atomic_fetch_add(&call_count, 1)], kind << 62 | block);
}

static void *check_malloc(size_t size)
{
    uint64_t block = size & MASK;
    if (block > event_count || atomic_exchange(&state[block], 1) != 0)
        atomic_fetch_add(&faults, 1);
    note(ALLOC, block);
    return (void *)(block * 16 + 16);
}

static void check_free(void *at)
{
    uint64_t block = at == NULL ? 0 : (uintptr_t)at / 16 - 1;
    if (at != NULL && atomic_exchange(&state[block], 2) != 1)
        atomic_fetch_add(&faults, 1); /* not live */
    note(FREE, at == NULL ? 0 : block);
}

static void *check_calloc(size_t count, size_t size)
{
    return check_malloc(count * size);
}

static void *check_realloc(void *at, size_t size)
{
    if (at != NULL) {
        uint64_t block = (uintptr_t)at / 16 - 1;
        if (atomic_exchange(&state[block], 2) != 1)
            atomic_fetch_add(&faults, 1);
    }
    return check_malloc(size);
}

static void *check_memalign(size_t align, size_t size)
{
    (void)align;
    return check_malloc(size);
}

static hak_workload *make(uint64_t seed, uint32_t threads, unsigned cross, uint32_t count, hak_order order)
{
    static replay_maker maker;
    static uint32_t maker_of[REPLAY_MAKER_BLOCKS + 1]; /* event that made the block in a slot */
    char path[TEST_PATH];
    hak_trace_error error;
    assert_true(test_path(path, folder, "loop.gz"));
    const hak_trace_head head = {.program = "p", .command = "p", .command_bytes = 1, .recorder = "test"};
    const hak_writer_options options = {.force = true};
    hak_writer *writer = hak_writer_open(path, &head, &options, &error);
    assert_non_null(writer);
    replay_maker_begin(&maker, seed, threads, cross);
    for (uint32_t i = 0; i < threads; i++)
        hak_writer_thread(writer, i + 1, "");
    events = calloc(count + 1, sizeof *events);
    freed_by = calloc(count + 1, sizeof *freed_by);
    event_count = count;
    for (uint32_t i = 1; i <= count; i++) { /* event numbers start at 1: size 0 is special */
        hak_event event = replay_maker_next(&maker);
        if (hak_op_class_of((hak_op)event.op) != HAK_CLASS_FREE)
            event.size_bytes = event.op >= HAK_OP_THREAD_START ? 0 : i + (i % 37 == 0 ? FAR : 0);
        if (event.slot_old != 0)
            freed_by[maker_of[event.slot_old]] = i;
        if (event.slot != 0)
            maker_of[event.slot] = i;
        hak_writer_event(writer, &event);
        events[i] = event;
    }
    const hak_trace_tail tail = {.ended = true};
    assert_int_equal(hak_writer_finish(writer, &tail, &error), 0);
    hak_reader *reader = hak_reader_open(path, 0, &error);
    assert_non_null(reader);
    hak_workload *workload =
        hak_workload_build_in(reader, order, HAK_WORKLOAD_CONTEXTS, spill_folder, HAK_MIB / 4, &error);
    assert_non_null(workload);
    hak_reader_close(reader);
    unlink(path);
    return workload;
}

static void done(hak_workload *workload)
{
    hak_workload_free(workload);
    free(events);
    free(freed_by);
}

/* Event that the n-th call replays. A free(NULL) is told by nothing: 0. */
static uint32_t event_of(uint64_t call)
{
    uint32_t block = (uint32_t)(call & (((uint64_t)1 << 62) - 1));
    return call >> 62 == ALLOC ? block : freed_by[block];
}

static bool is_call(const hak_event *event)
{
    return event->op < HAK_OP_THREAD_START;
}

/* Numbers events among the calls: what position in time they had. */
static uint32_t *positions(uint32_t *total)
{
    uint32_t *position = calloc(event_count + 1, sizeof *position);
    for (uint32_t i = 1; i <= event_count; i++)
        position[i] = is_call(&events[i]) ? (*total)++ : 0;
    return position;
}

/* Every call of the recording was made once, on the right block, each thread's in its order. */
static void check_log(hak_order order)
{
    uint32_t total = 0, nulls = 0;
    uint32_t *position = positions(&total);
    uint32_t *last = calloc(REPLAY_MAKER_THREADS, sizeof *last);
    uint8_t *seen = calloc(total + 1, 1);
    assert_int_equal(atomic_load(&faults), 0);
    assert_int_equal(atomic_load(&call_count), total);
    for (uint32_t n = 0; n < total; n++) {
        uint32_t event = event_of(atomic_load(&calls[n]));
        if (event == 0) {
            nulls++;
            continue;
        }
        assert_true(position[event] >= last[events[event].thread]);
        last[events[event].thread] = position[event];
        if (order == HAK_ORDER_STRICT)
            assert_int_equal(position[event], n);
        seen[position[event]] = 1;
    }
    for (uint32_t i = 1; i <= event_count; i++) {
        if (!is_call(&events[i]))
            continue;
        if (events[i].slot == 0 && events[i].slot_old == 0)
            nulls--; /* free(NULL) */
        else
            assert_true(seen[position[i]]);
    }
    assert_int_equal(nulls, 0);
    free(seen);
    free(last);
    free(position);
}

/* How far ahead of the oldest call not yet made the replay has been, in calls. */
static uint32_t skew(void)
{
    uint32_t total = 0, oldest = 0, most = 0;
    uint32_t *position = positions(&total);
    uint8_t *seen = calloc(total + 1, 1);
    for (uint32_t i = 1; i <= event_count; i++)
        if (is_call(&events[i]) && events[i].slot == 0 && events[i].slot_old == 0)
            seen[position[i]] = 1; /* free(NULL): cannot be told from others */
    for (uint32_t n = 0; n < total; n++) {
        uint32_t event = event_of(atomic_load(&calls[n]));
        if (event == 0)
            continue;
        seen[position[event]] = 1;
        if (position[event] > oldest && position[event] - oldest > most)
            most = position[event] - oldest;
        while (oldest < total && seen[oldest])
            oldest++;
    }
    free(seen);
    free(position);
    return most;
}

static bool kernel_threads; /* not carried, though there are more than processors */

/* A loop on the checking target, with room to write every call down. */
static hak_loop *loop_open(const hak_workload *workload)
{
    static hak_api api;
    static hak_loop_options options = {.touch = HAK_TOUCH_NONE};
    options.streamed = spill_folder != NULL;
    options.kernel_threads = kernel_threads;
    api = (hak_api){.malloc = check_malloc,
                    .calloc = check_calloc,
                    .realloc = check_realloc,
                    .free = check_free,
                    .memalign = check_memalign,
                    .pvalloc = check_malloc}; /* the fallback would round the size up */
    hak_api_fill(&api);
    size_t bytes = (size_t)lseek(hak_workload_fd(workload), 0, SEEK_END);
    uint64_t *region = mmap(NULL, bytes, PROT_READ, MAP_SHARED, hak_workload_fd(workload), 0);
    assert_true(region != MAP_FAILED); /* stays mapped: a loop lives as long as its process */
    calls = calloc(2 * event_count + 2, sizeof *calls);
    state = calloc(event_count + 1, sizeof *state);
    hak_loop *loop = hak_loop_new(region, &api, &options);
    assert_non_null(loop);
    return loop;
}

static void loop_close(void)
{
    free((void *)calls);
    free((void *)state);
}

static void run(const hak_workload *workload, uint32_t passes, hak_order order)
{
    hak_loop *loop = loop_open(workload);
    for (uint32_t i = 0; i < passes; i++) {
        hak_pass pass;
        for (uint32_t k = 0; k <= event_count; k++)
            atomic_store(&state[k], 0);
        atomic_store(&call_count, 0);
        assert_int_equal(hak_loop_pass(loop, &pass), 0);
        assert_int_equal(pass.failed, 0);
        check_log(order);
        for (uint32_t k = 1; k <= event_count; k++) /* what was never freed is what is live */
            assert_int_equal(atomic_load(&state[k]), events[k].slot == 0 ? 0 : freed_by[k] != 0 ? 2 : 1);
        hak_loop_clean(loop);
        for (uint32_t k = 1; k <= event_count; k++)
            assert_true(atomic_load(&state[k]) != 1);
    }
    loop_close();
}

static void same_calls(void **unused)
{
    static const hak_order orders[] = {HAK_ORDER_WINDOW, HAK_ORDER_EDGES, HAK_ORDER_STRICT};
    static const uint32_t threads[] = {1, 3, 40};
    (void)unused;
    for (unsigned o = 0; o < HAK_COUNT_OF(orders); o++)
        for (unsigned t = 0; t < HAK_COUNT_OF(threads); t++) {
            hak_workload *workload = make(7 * o + t + 1, threads[t], 60, 20000, orders[o]);
            kernel_threads = false;
            run(workload, 2, orders[o]);
            kernel_threads = true;
            run(workload, 2, orders[o]);
            kernel_threads = false;
            done(workload);
        }
}

/* From a file, dropped behind the threads as they go, and again from the file that was kept of it. */
static void streamed_and_kept(void **unused)
{
    (void)unused;
    char command[TEST_PATH + 64];
    const hak_workload_key key = {{1, 2}}, other = {{1, 3}};
    spill_folder = folder;
    hak_workload *workload = make(5, 9, 60, 300000, HAK_ORDER_WINDOW);
    hak_workload_info info, kept_info;
    hak_workload_info_get(workload, &info);
    assert_int_equal(hak_workload_save(workload, folder, &key), 0);
    hak_workload_free(workload);
    assert_null(hak_workload_open(folder, &other));
    hak_workload *kept = hak_workload_open(folder, &key);
    assert_non_null(kept);
    hak_workload_info_get(kept, &kept_info);
    assert_memory_equal(&info, &kept_info, sizeof info);
    assert_string_equal(hak_workload_program(kept), "p");
    run(kept, 2, HAK_ORDER_WINDOW);
    assert_int_equal(ftruncate(hak_workload_fd(kept), 0), -1); /* opened for reading */
    done(kept);
    spill_folder = NULL;
    snprintf(command, sizeof command, "cd '%s' && truncate -s -8 *.workload", folder);
    assert_int_equal(system(command), 0);
    assert_null(hak_workload_open(folder, &key)); /* cut off */
}

/* What is live after the first `cut` calls, as the sum of a mixed number of each block. */
static uint64_t live_after_calls(uint32_t cut)
{
    uint64_t live = 0;
    for (uint32_t n = 0; n < cut; n++) {
        uint64_t call = atomic_load(&calls[n]), block = call & (((uint64_t)1 << 62) - 1);
        if (block != 0)
            live += call >> 62 == ALLOC ? hak_mix64(block) : 0 - hak_mix64(block);
    }
    return live;
}

static uint64_t live_after_events(uint32_t cut, const uint32_t *position)
{
    uint64_t live = 0;
    for (uint32_t i = 1; i <= event_count; i++) {
        if (!is_call(&events[i]) || events[i].slot == 0 || position[i] >= cut)
            continue;
        if (freed_by[i] == 0 || position[freed_by[i]] >= cut)
            live += hak_mix64(i);
    }
    return live;
}

/* The multiset of live blocks at 1000 random moments, by strict order; reallocs are noted as the block they
 * make, so cuts see the old one as gone: check_realloc ends it in `state` only. */
static void same_live_sets(void **unused)
{
    (void)unused;
    uint64_t random = 77;
    for (uint32_t round = 0; round < 4; round++) {
        hak_workload *workload = make(1000 + round, 2 + 11 * round, 60, 8000, HAK_ORDER_STRICT);
        hak_loop *loop = loop_open(workload);
        hak_pass pass;
        uint32_t total = 0;
        uint32_t *position = positions(&total);
        atomic_store(&call_count, 0);
        assert_int_equal(hak_loop_pass(loop, &pass), 0);
        assert_int_equal(atomic_load(&call_count), total);
        uint64_t replaced = 0; /* blocks that a realloc ended leave no call of their own */
        for (uint32_t cut_index = 0; cut_index < 250; cut_index++) {
            uint32_t cut = hak_random_below(&random, total + 1);
            replaced = 0;
            for (uint32_t i = 1; i <= event_count; i++)
                if (freed_by[i] != 0 && position[freed_by[i]] < cut &&
                    hak_op_class_of((hak_op)events[freed_by[i]].op) == HAK_CLASS_REALLOC)
                    replaced += hak_mix64(i);
            assert_true(live_after_calls(cut) - replaced == live_after_events(cut, position));
        }
        free(position);
        hak_loop_clean(loop);
        loop_close();
        done(workload);
    }
}

/* realloc(p, 0) that freed, failed calls, frees of large blocks: the forms that are not one word. */
static void rare_forms(void **unused)
{
    (void)unused;
    char path[TEST_PATH];
    hak_trace_error error;
    assert_true(test_path(path, folder, "rare.gz"));
    const hak_trace_head head = {.program = "p", .command = "p", .command_bytes = 1, .recorder = "test"};
    const hak_writer_options options = {.force = true};
    hak_writer *writer = hak_writer_open(path, &head, &options, &error);
    assert_non_null(writer);
    hak_writer_thread(writer, 1, "");
    static const hak_event list[] = {
        {.op = HAK_OP_MALLOC, .slot = 1, .size_bytes = 1},
        {.op = HAK_OP_REALLOC, .slot_old = 1},                   /* freed it */
        {.op = HAK_OP_MALLOC, .slot = 1, .size_bytes = FAR + 3}, /* beyond the short form */
        {.op = HAK_OP_MALLOC, .size_bytes = 4, .flags = HAK_EVENT_FAILED},
        {.op = HAK_OP_FREE, .slot_old = 1},
        {.op = HAK_OP_MALLOC, .slot = 1, .size_bytes = 6},
    };
    for (size_t i = 0; i < HAK_COUNT_OF(list); i++)
        hak_writer_event(writer, &list[i]);
    const hak_trace_tail tail = {.ended = true};
    assert_int_equal(hak_writer_finish(writer, &tail, &error), 0);
    hak_reader *reader = hak_reader_open(path, 0, &error);
    hak_workload *workload = hak_workload_build(reader, HAK_ORDER_WINDOW, 0, &error);
    assert_non_null(workload);
    hak_reader_close(reader);
    unlink(path);
    event_count = HAK_COUNT_OF(list);
    static hak_loop_live live;
    static _Atomic uint64_t begun[1];
    hak_loop_options observed = {.touch = HAK_TOUCH_NONE, .live = &live, .begun = begun};
    static hak_api api;
    api = (hak_api){.malloc = check_malloc,
                    .calloc = check_calloc,
                    .realloc = check_realloc,
                    .free = check_free,
                    .memalign = check_memalign};
    hak_api_fill(&api);
    calls = calloc(64, sizeof *calls);
    state = calloc(64, sizeof *state);
    atomic_store(&call_count, 0);
    atomic_store(&faults, 0);
    hak_loop *loop = hak_loop_new(hak_workload_region(workload), &api, &observed);
    assert_non_null(loop);
    hak_pass pass;
    assert_int_equal(hak_loop_pass(loop, &pass), 0);
    assert_int_equal(atomic_load(&faults), 0);
    assert_int_equal(atomic_load(&begun[0]), 6);
    assert_int_equal(atomic_load(&live.bytes), 6);
    assert_true(atomic_load(&live.max) == FAR + 3);
    assert_int_equal(atomic_load(&state[1]), 2);
    assert_int_equal(atomic_load(&state[3]), 2);
    assert_int_equal(atomic_load(&state[6]), 1);
    loop_close();
    hak_workload_free(workload);
}

static void latencies(void **unused)
{
    (void)unused;
    static hak_latency latency;
    for (uint32_t i = 0; i < HAK_LATENCY_BUCKETS - 1; i++) {
        uint64_t floor = hak_latency_floor(i);
        assert_int_equal(hak_latency_bucket(floor), i);
        assert_int_equal(hak_latency_bucket(hak_latency_floor(i + 1) - 1), i);
    }
    assert_int_equal(hak_latency_bucket(UINT64_MAX), HAK_LATENCY_BUCKETS - 1);
    for (uint64_t i = 1; i <= 10000; i++)
        hak_latency_note(&latency, i);
    assert_int_equal(hak_latency_count(&latency), 10000);
    assert_true(fabs(hak_latency_quantile(&latency, 0.5) / 5000 - 1) < 0.07);
    assert_true(fabs(hak_latency_quantile(&latency, 0.99) / 9900 - 1) < 0.07);
    assert_int_equal(atomic_load(&latency.max), 10000);
}

static void window_holds(void **unused)
{
    (void)unused;
    hak_workload *workload = make(99, 12, 0, 60000, HAK_ORDER_WINDOW);
    hak_loop *loop = loop_open(workload);
    hak_pass pass;
    atomic_store(&call_count, 0);
    assert_int_equal(hak_loop_pass(loop, &pass), 0);
    uint32_t most = skew();
    print_message("threads ran apart by at most %u operations\n", most);
    assert_true(most <= 1024 + 64); /* a call is noted a little after it is made */
    hak_loop_clean(loop);
    loop_close();
    done(workload);
}

static void info_is_right(void **unused)
{
    (void)unused;
    hak_workload *workload = make(5, 6, 50, 30000, HAK_ORDER_WINDOW);
    hak_workload_info info;
    hak_workload_info_get(workload, &info);
    uint64_t operations = 0, allocations = 0, live = 0, most = 0, blocks = 0, blocks_most = 0, cross = 0;
    uint32_t maker_of[REPLAY_MAKER_BLOCKS + 1];
    for (uint32_t i = 1; i <= event_count; i++) {
        const hak_event *e = &events[i];
        operations += is_call(e);
        allocations += is_call(e) && e->slot != 0;
        if (e->slot_old != 0) {
            live -= events[maker_of[e->slot_old]].size_bytes;
            blocks--;
            cross += events[maker_of[e->slot_old]].thread != e->thread;
        }
        if (e->slot != 0) {
            maker_of[e->slot] = i;
            live += e->size_bytes;
            blocks++;
        }
        most = live > most ? live : most;
        blocks_most = blocks > blocks_most ? blocks : blocks_most;
    }
    assert_int_equal(info.operations, operations);
    assert_int_equal(info.allocations, allocations);
    assert_int_equal(info.live_max_bytes, most);
    assert_int_equal(info.live_max_blocks, blocks_most);
    assert_int_equal(info.cross_thread_frees, cross);
    assert_true(cross > 100);
    assert_int_equal(info.threads, 6);
    done(workload);
}

static void null_target(void **unused)
{
    (void)unused;
    static hak_api api;
    hak_null_api(&api, 1000);
    hak_api_fill(&api);
    char *first = api.malloc(100);
    memset(first, 1, 100);
    char *second = api.malloc(1);
    assert_true(second + 1 <= first || second >= first + 100);
    for (int i = 0; i < 100000; i++) {
        char *block = api.malloc(1 + (size_t)i % 1000);
        assert_true(((uintptr_t)block & 15) == 0);
        block[(size_t)i % 1000] = 1;
        api.free(block);
    }
    assert_null(api.malloc((size_t)1 << 40));
}

static int make_folder(void **unused)
{
    (void)unused;
    return test_folder_make(folder) ? 0 : -1;
}

static int remove_folder(void **unused)
{
    (void)unused;
    return test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_calls),        cmocka_unit_test(same_live_sets),
        cmocka_unit_test(streamed_and_kept), cmocka_unit_test(rare_forms),
        cmocka_unit_test(latencies),         cmocka_unit_test(window_holds),
        cmocka_unit_test(info_is_right),     cmocka_unit_test(null_target),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
