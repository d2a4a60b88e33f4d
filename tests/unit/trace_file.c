/* Writer to reader: what goes in comes out; cut-off and damaged files are told, never believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "folder.h"
#include "trace/reader.h"
#include "trace_maker.h"

static char folder[TEST_PATH];
static char path[TEST_PATH];
static char part_path[TEST_PATH];

static int make_folder(void **state)
{
    (void)state;
    /* In memory where possible: thousands of small files are written. */
    snprintf(folder, sizeof folder, "/dev/shm/hakmem-trace-test.XXXXXX");
    if (mkdtemp(folder) == NULL) {
        if (!test_folder_make(folder))
            return -1;
    }
    return test_path(path, folder, "a.trace.gz") && test_path(part_path, folder, "a.trace.gz.part") ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(part_path);
    return rmdir(folder);
}

static const hak_trace_head head = {
    .program = "/usr/bin/app\n\033[31m",
    .command = "app\0-x\0\xff\xfe",
    .command_bytes = 9,
    .recorder = "test",
    .start_unix_ns = 1700000000000000000u,
    .pid = 4711,
    .parent_pid = 4710,
    .parent_start_ns = 5,
    .clock = HAK_CLOCK_TSC,
    .depth_max = 64,
    .sample_bytes = 0,
};

static const hak_trace_tail tail = {.duration_ns = 123456789,
                                    .events_lost = 3,
                                    .walks = 10,
                                    .walks_checked = 4,
                                    .walks_wrong = 1,
                                    .walks_dynamic = 2,
                                    .exit_status = 256};

static hak_writer *open_writer(bool background, uint64_t max_bytes)
{
    const hak_writer_options options = {.background = background, .force = true, .max_bytes = max_bytes};
    hak_trace_error error;
    hak_writer *writer = hak_writer_open(path, &head, &options, &error);
    if (writer == NULL)
        fail_msg("%s", error.text);
    return writer;
}

/* Writes `count` events; the caller may keep them. */
static void write_trace(uint64_t seed, uint32_t threads, size_t count, hak_event *kept, bool background,
                        size_t flush_every)
{
    hak_writer *writer = open_writer(background, 0);
    maker m;
    maker_begin(&m, writer, seed, threads);
    for (size_t i = 0; i < count; i++) {
        hak_event event = maker_event(&m);
        hak_writer_event(writer, &event);
        if (kept != NULL)
            kept[i] = event;
        if (flush_every != 0 && i % flush_every == flush_every - 1)
            assert_int_equal(hak_writer_flush(writer), 0);
    }
    maker_end(&m);
    hak_trace_error error;
    if (hak_writer_finish(writer, &tail, &error) != 0)
        fail_msg("%s", error.text);
}

static void assert_same_events(const hak_event *a, const hak_event *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg(
                "event %zu differs: op %u/%u slot %u/%u old %u/%u size %llu/%llu time %llu/%llu ctx %u/%u", i,
                a[i].op, b[i].op, a[i].slot, b[i].slot, a[i].slot_old, b[i].slot_old,
                (unsigned long long)a[i].size_bytes, (unsigned long long)b[i].size_bytes,
                (unsigned long long)a[i].time_ns, (unsigned long long)b[i].time_ns, a[i].context,
                b[i].context);
    }
}

static size_t read_and_compare(hak_reader *reader, const hak_event *expected)
{
    const hak_event *events;
    size_t count;
    size_t at = 0;
    hak_trace_error error;
    int got;
    while ((got = hak_reader_next(reader, &events, &count, &error)) == 1) {
        if (expected != NULL)
            assert_same_events(expected + at, events, count);
        at += count;
    }
    if (got != 0)
        fail_msg("%s", error.text);
    return at;
}

/* The contexts a reader numbers need not be the writer's, but here both number in the same order. */
static void what_goes_in_comes_out(void **state)
{
    (void)state;
    static const struct {
        uint32_t threads;
        size_t count;
        bool background;
        size_t flush_every;
    } cases[] = {{1, 1, false, 0},     {1, 1000, false, 1},        {3, 50000, false, 777},
                 {2, 300000, true, 0}, {500, 200000, true, 50000}, {1, 131072, true, 0}};
    for (size_t i = 0; i < HAK_COUNT_OF(cases); i++) {
        hak_event *kept = malloc(cases[i].count * sizeof *kept);
        assert_non_null(kept);
        write_trace(i + 1, cases[i].threads, cases[i].count, kept, cases[i].background, cases[i].flush_every);
        hak_trace_error error;
        hak_reader *reader = hak_reader_open(path, 0, &error);
        if (reader == NULL)
            fail_msg("%s", error.text);
        /* Map the reader's contexts by chain: compare after translating the expected events. */
        for (int pass = 0; pass < 2; pass++) {
            const hak_event *events;
            size_t count;
            size_t at = 0;
            int got;
            while ((got = hak_reader_next(reader, &events, &count, &error)) == 1) {
                for (size_t k = 0; k < count; k++) {
                    hak_event event = events[k];
                    assert_int_equal(event.context == 0, kept[at + k].context == 0);
                    event.context = kept[at + k].context;
                    assert_same_events(&kept[at + k], &event, 1);
                }
                at += count;
            }
            if (got != 0)
                fail_msg("%s", error.text);
            assert_int_equal(at, cases[i].count);
            assert_int_equal(hak_reader_rewind(reader, &error), 0);
        }
        uint32_t threads;
        const hak_trace_thread *table = hak_reader_threads(reader, &threads);
        assert_int_equal(threads, cases[i].threads);
        assert_string_equal(table[0].name, "main");
        hak_reader_close(reader);
        free(kept);
    }
}

static void contexts_keep_their_chains(void **state)
{
    (void)state;
    hak_writer *writer = open_writer(false, 0);
    uint32_t thread = hak_writer_thread(writer, 1, "");
    uint32_t node = 0;
    for (unsigned i = 0; i < HAK_TRACE_MAX_DEPTH; i++)
        node = hak_writer_context(writer, node, i % 2 != 0 ? UINT64_MAX - i : i);
    assert_int_not_equal(node, 0);
    assert_int_equal(hak_writer_context(writer, node, 1), 0); /* too deep */
    for (uint32_t i = 0; i < 3; i++) {
        hak_event event = {.op = HAK_OP_MALLOC, .slot = i + 1, .context = node, .thread = thread};
        hak_writer_event(writer, &event);
        hak_writer_flush(writer); /* each member has its own table */
    }
    assert_int_equal(hak_writer_finish(writer, &tail, NULL), 0);

    hak_reader *reader = hak_reader_open(path, 0, NULL);
    assert_non_null(reader);
    const hak_event *events;
    size_t count;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hak_reader_next(reader, &events, &count, NULL), 1);
        uint32_t nodes;
        const hak_trace_node *tree = hak_reader_nodes(reader, &nodes);
        assert_int_equal(nodes, HAK_TRACE_MAX_DEPTH + 1);
        uint32_t at = events[0].context;
        for (unsigned k = HAK_TRACE_MAX_DEPTH; k-- != 0; at = tree[at].parent)
            assert_true(tree[at].pc == (k % 2 != 0 ? UINT64_MAX - k : k));
        assert_int_equal(at, 0);
    }
    hak_reader_close(reader);
}

static void tables_come_back(void **state)
{
    (void)state;
    hak_writer *writer = open_writer(true, 0);
    hak_trace_module module = {.start = 0x1000,
                               .end = 0x2000,
                               .bias = 0x800,
                               .from_ns = 7,
                               .path = "/lib/x\033.so",
                               .build_id = {1, 2, 3},
                               .build_id_bytes = 3};
    hak_writer_module_load(writer, &module);
    hak_writer_module_unload(writer, 0x1000, 50);
    module.from_ns = 60;
    module.path = "/lib/y.so";
    hak_writer_module_load(writer, &module);
    hak_writer_row(writer,
                   &(hak_trace_row){0x1234, {.cfa_offset = -16, .bp_slot = -2, .kind = HAK_FRAME_BP}});
    hak_writer_rss(writer, &(hak_trace_rss){99, 4096});
    uint32_t thread = hak_writer_thread(writer, 77, "");
    hak_writer_flush(writer);
    hak_writer_thread_name(writer, thread, "late");
    assert_int_equal(hak_writer_finish(writer, &tail, NULL), 0);

    hak_reader *reader = hak_reader_open(path, 0, NULL);
    assert_non_null(reader);
    const hak_trace_head *got = hak_reader_head(reader);
    assert_string_equal(got->program, head.program);
    assert_int_equal(got->command_bytes, head.command_bytes);
    assert_memory_equal(got->command, head.command, head.command_bytes);
    assert_string_equal(got->recorder, "test");
    assert_int_equal(got->start_unix_ns, head.start_unix_ns);
    assert_int_equal(got->pid, 4711);
    assert_int_equal(got->parent_start_ns, 5);
    assert_int_equal(got->depth_max, 64);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(read_and_compare(reader, NULL), 0);
        uint32_t count;
        const hak_trace_module *modules = hak_reader_modules(reader, &count);
        assert_int_equal(count, 2);
        assert_int_equal(modules[0].to_ns, 50);
        assert_true(modules[1].to_ns == UINT64_MAX);
        assert_string_equal(modules[1].path, "/lib/y.so");
        assert_int_equal(modules[1].build_id_bytes, 3);
        assert_int_equal(hak_reader_module_of(reader, 0x1fff, 49), 0);
        assert_int_equal(hak_reader_module_of(reader, 0x1fff, 55), HAK_TRACE_MODULE_NONE);
        assert_int_equal(hak_reader_module_of(reader, 0x1000, 60), 1);
        assert_int_equal(hak_reader_module_of(reader, 0x2000, 60), HAK_TRACE_MODULE_NONE);
        const hak_trace_row *rows = hak_reader_rows(reader, &count);
        assert_int_equal(count, 1);
        assert_int_equal(rows[0].row.cfa_offset, -16);
        assert_int_equal(rows[0].row.bp_slot, -2);
        const hak_trace_rss *rss = hak_reader_rss(reader, &count);
        assert_int_equal(count, 1);
        assert_int_equal(rss[0].rss_bytes, 4096);
        const hak_trace_thread *threads = hak_reader_threads(reader, &count);
        assert_int_equal(count, 1);
        assert_string_equal(threads[0].name, "late");
        const hak_trace_tail *end = hak_reader_tail(reader);
        assert_true(end->ended);
        assert_int_equal(end->duration_ns, tail.duration_ns);
        assert_int_equal(end->events_lost, 3);
        assert_int_equal(end->exit_status, 256);
        assert_int_equal(hak_reader_rewind(reader, NULL), 0);
    }
    hak_reader_close(reader);
}

static void inconsistent_events_are_counted_not_written(void **state)
{
    (void)state;
    hak_writer *writer = open_writer(false, 0);
    uint32_t thread = hak_writer_thread(writer, 1, "");
    const hak_event good = {.op = HAK_OP_MALLOC, .slot = 1, .time_ns = 50};
    const hak_event bad[] = {
        {.op = HAK_OP_MALLOC, .slot = 1},              /* live already */
        {.op = HAK_OP_MALLOC, .slot = 3},              /* leaves a gap */
        {.op = HAK_OP_MALLOC},                         /* no block, not failed */
        {.op = HAK_OP_FREE, .slot_old = 2},            /* never allocated */
        {.op = HAK_OP_FREE, .slot_old = 1, .slot = 2}, /* a free that allocates */
        {.op = HAK_OP_REALLOC, .slot_old = 2, .slot = 2},
        {.op = HAK_OP_FREE, .thread = 1},               /* undeclared */
        {.op = HAK_OP_MALLOC, .slot = 2, .context = 1}, /* unknown */
        {.op = HAK_OP_COUNT},
        {.op = HAK_OP_THREAD_END, .slot = 2},
        {.op = HAK_OP_MALLOC, .slot = 2, .align_log2 = 64},
    };
    hak_writer_event(writer, &good);
    for (size_t i = 0; i < HAK_COUNT_OF(bad); i++)
        hak_writer_event(writer, &bad[i]);
    hak_writer_event(writer, &(hak_event){.op = HAK_OP_FREE, .slot_old = 1, .thread = thread, .time_ns = 40});
    assert_int_equal(hak_writer_finish(writer, &tail, NULL), 0);
    hak_reader *reader = hak_reader_open(path, 0, NULL);
    const hak_event *events;
    size_t count;
    assert_int_equal(hak_reader_next(reader, &events, &count, NULL), 1);
    assert_int_equal(count, 2);
    assert_int_equal(events[1].time_ns, 50); /* an earlier stamp becomes the last one */
    assert_int_equal(hak_reader_next(reader, &events, &count, NULL), 0);
    assert_int_equal(hak_reader_tail(reader)->events_lost, 3 + HAK_COUNT_OF(bad));
    hak_reader_close(reader);
}

static void a_limit_ends_the_recording_well(void **state)
{
    (void)state;
    hak_writer *writer = open_writer(true, 300000);
    maker m;
    maker_begin(&m, writer, 9, 2);
    enum { COUNT = 1000000 };
    for (size_t i = 0; i < COUNT; i++) {
        hak_event event = maker_event(&m);
        hak_writer_event(writer, &event);
    }
    maker_end(&m);
    hak_writer_flush(writer);
    assert_true(hak_writer_failed(writer));
    assert_true(hak_writer_bytes(writer) <= 300000);
    assert_int_equal(hak_writer_finish(writer, &(hak_trace_tail){.ended = true}, NULL), 0);
    hak_reader *reader = hak_reader_open(path, 0, NULL);
    size_t whole = read_and_compare(reader, NULL);
    assert_int_equal(hak_reader_tail(reader)->events_lost, COUNT - whole);
    hak_reader_close(reader);
}

static void an_existing_file_is_not_replaced(void **state)
{
    (void)state;
    write_trace(1, 1, 100, NULL, false, 0);
    hak_trace_error error;
    const hak_writer_options careful = {.level = 1};
    assert_null(hak_writer_open(path, &head, &careful, &error));
    assert_non_null(strstr(error.text, "exists"));
    assert_null(hak_writer_open("/no/such/folder/x.gz", &head, &careful, &error));
    assert_non_null(strstr(error.text, "cannot be created"));
    unlink(path);
    hak_writer *writer = hak_writer_open(path, &head, &careful, &error);
    assert_non_null(writer);
    assert_null(hak_writer_open(path, &head, &careful, &error)); /* the .part file is taken */
    struct stat status;
    assert_int_equal(stat(part_path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(hak_writer_finish(writer, &tail, &error), 0);
    assert_int_equal(stat(part_path, &status), -1);
}

static size_t load(const char *from, uint8_t **bytes)
{
    FILE *file = fopen(from, "rb");
    assert_non_null(file);
    *bytes = malloc(1 << 20);
    size_t n = fread(*bytes, 1, 1 << 20, file);
    fclose(file);
    return n;
}

static void store(const uint8_t *bytes, size_t len_bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len_bytes, file), len_bytes);
    fclose(file);
}

/* Events that can be read; *got is the last result. */
static size_t read_all(unsigned flags, int *got, hak_trace_error *error)
{
    hak_reader *reader = hak_reader_open(path, flags, error);
    size_t whole = 0;
    *got = -1;
    if (reader == NULL)
        return 0;
    const hak_event *events;
    size_t count;
    while ((*got = hak_reader_next(reader, &events, &count, error)) == 1)
        whole += count;
    if (*got == 0 && flags != 0)
        hak_reader_partial(reader, error);
    hak_reader_close(reader);
    return whole;
}

/* Under the thread sanitizer a read takes a hundred times longer; a sample is enough where it is the threads
 * that are looked at. */
#if defined(__SANITIZE_THREAD__)
#define CUT_STEP 37
#define BIT_STEP 293
#else
#define CUT_STEP 1
#define BIT_STEP 1
#endif

static void every_cut_is_noticed(void **state)
{
    (void)state;
    write_trace(3, 2, 300, NULL, false, 100);
    uint8_t *bytes;
    size_t n = load(path, &bytes);
    hak_trace_error error;
    int got;
    size_t last = 0;
    for (size_t cut = 0; cut < n; cut += CUT_STEP) {
        store(bytes, cut);
        read_all(0, &got, &error);
        assert_int_equal(got, -1);
        assert_true(error.text[0] != '\0');
        size_t whole = read_all(HAK_READER_PARTIAL, &got, &error);
        assert_true(whole == 0 || whole == 100 || whole == 200 || whole == 300);
        assert_true(whole >= last); /* longer files hold no less */
        last = whole;
    }
    assert_true(last == 300 || CUT_STEP > 1);
    free(bytes);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    write_trace(4, 2, 90, NULL, false, 30);
    uint8_t *bytes;
    size_t n = load(path, &bytes);
    hak_trace_error error;
    int got;
    assert_int_equal(read_all(0, &got, &error), 90);
    for (size_t bit = 0; bit < n * 8; bit += BIT_STEP) {
        bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        store(bytes, n);
        read_all(0, &got, &error);
        if (got != -1)
            fail_msg("bit %zu of byte %zu: not noticed", bit % 8, bit / 8);
        read_all(HAK_READER_PARTIAL, &got, &error);
        bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    free(bytes);
}

static void only_regular_files_are_read(void **state)
{
    (void)state;
    hak_trace_error error;
    assert_null(hak_reader_open(folder, 0, &error));
    assert_string_equal(error.text, "is a directory");
    assert_null(hak_reader_open("/dev/zero", 0, &error));
    assert_null(hak_reader_open("/no/such/file", 0, &error));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(hak_reader_open(path, 0, &error)); /* and does not wait */
    unlink(path);
    store((const uint8_t *)"", 0);
    assert_null(hak_reader_open(path, 0, &error));
    assert_string_equal(error.text, "empty file");
    store((const uint8_t *)"SQLite format 3 and so on, no trace at all", 40);
    assert_null(hak_reader_open(path, 0, &error));
    assert_non_null(strstr(error.text, "not a hakmem trace"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(contexts_keep_their_chains),
        cmocka_unit_test(tables_come_back),
        cmocka_unit_test(inconsistent_events_are_counted_not_written),
        cmocka_unit_test(a_limit_ends_the_recording_well),
        cmocka_unit_test(an_existing_file_is_not_replaced),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(only_regular_files_are_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
