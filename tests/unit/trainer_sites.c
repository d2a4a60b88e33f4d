/* The closed form on written traces whose truth is known: the shallowest pure context is taken, traces must
 * agree, interpreters switch themselves off, classes fit the sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "replay/trainer_classes.h"
#include "replay/trainer_sites.h"
#include "trace/writer.h"

#define BIAS 0x500000 /* differs by trace: decisions must not depend on where a module was loaded */

enum {
    PC_WRAPPER = 0x100,
    PC_A = 0x200,
    PC_B = 0x300,
    PC_SWITCH = 0x400,
    PC_DIRECT = 0x500,
    PC_GROW = 0x600,
    PC_REMOTE = 0x700,
    PC_BIG = 0x800,
    PC_MAIN = 0x900
};

typedef struct author {
    hak_writer *writer;
    uint64_t bias;
    uint64_t time_ns;
    uint32_t next_slot;
} author;

static void event(author *a, hak_op op, uint64_t size, uint32_t slot_old, uint32_t slot, uint32_t context,
                  uint32_t thread)
{
    hak_event e = {.time_ns = a->time_ns++,
                   .size_bytes = size,
                   .slot_old = slot_old,
                   .slot = slot,
                   .context = context,
                   .thread = thread,
                   .op = (uint8_t)op};
    hak_writer_event(a->writer, &e);
}

static uint32_t context(author *a, const uint64_t *pcs_innermost_first, unsigned count)
{
    uint32_t node = 0;
    while (count-- > 0)
        node = hak_writer_context(a->writer, node, a->bias + pcs_innermost_first[count]);
    return node;
}

#define CONTEXT(a, ...)                                                                                      \
    context(a, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

/* A short life: freed after next to nothing. A long one: never freed. */
static void block(author *a, uint32_t ctx, uint64_t size, bool is_long)
{
    uint32_t slot = is_long ? ++a->next_slot : a->next_slot + 1;
    event(a, HAK_OP_MALLOC, size, 0, slot, ctx, 0);
    if (!is_long)
        event(a, HAK_OP_FREE, 0, slot, 0, 0, 0);
}

/* One trace of the made-up program. `switched`: what the switch site does in this trace. */
static void write_trace(const char *path, uint64_t bias, bool switched, unsigned rounds, uint64_t size)
{
    author a = {.bias = bias};
    hak_trace_head head = {.program = "/usr/bin/made", .command = "", .recorder = "test"};
    hak_writer_options options = {.force = true};
    hak_trace_error error;
    a.writer = hak_writer_open(path, &head, &options, &error);
    assert_non_null(a.writer);
    hak_trace_module module = {.start = bias,
                               .end = bias + 0x10000,
                               .bias = bias,
                               .path = "/usr/bin/made",
                               .build_id = {1, 2, 3},
                               .build_id_bytes = 20};
    hak_writer_module_load(a.writer, &module);
    hak_writer_thread(a.writer, 1, "main");
    hak_writer_thread(a.writer, 2, "other");
    for (uint64_t pc = PC_WRAPPER; pc <= PC_MAIN; pc += 0x100) {
        hak_trace_row row = {.pc = bias + pc, .row = {.cfa_offset = (int32_t)pc / 16, .kind = HAK_FRAME_SP}};
        hak_writer_row(a.writer, &row);
    }
    uint32_t via_a = CONTEXT(&a, PC_WRAPPER, PC_A, PC_MAIN), via_b = CONTEXT(&a, PC_WRAPPER, PC_B, PC_MAIN),
             via_switch = CONTEXT(&a, PC_WRAPPER, PC_SWITCH, PC_MAIN),
             direct = CONTEXT(&a, PC_DIRECT, PC_MAIN), grow = CONTEXT(&a, PC_GROW, PC_MAIN),
             remote = CONTEXT(&a, PC_REMOTE, PC_MAIN), big = CONTEXT(&a, PC_BIG, PC_MAIN),
             main_only = CONTEXT(&a, PC_MAIN);
    for (unsigned i = 0; i < rounds; i++) {
        block(&a, via_a, size, false);
        block(&a, via_b, size, true);
        block(&a, via_switch, size, switched);
        block(&a, direct, size, false);
        for (unsigned filler = 0; filler < 10; filler++)
            block(&a, main_only, 32, false);
        uint32_t kept = ++a.next_slot;
        event(&a, HAK_OP_MALLOC, 64, 0, kept, remote, 0);
        event(&a, HAK_OP_FREE, 0, kept, 0, 0, 1);
        a.next_slot--;
    }
    for (unsigned i = 0; i < 10; i++) {
        block(&a, big, 4 << 20, true);
        uint32_t slot = ++a.next_slot;
        event(&a, HAK_OP_MALLOC, 100000, 0, slot, grow, 0);
        for (uint64_t grown = 110000; grown < 400000; grown += 20000)
            event(&a, HAK_OP_REALLOC, grown, slot, slot, grow, 0);
    }
    hak_trace_tail tail = {.ended = true};
    assert_int_equal(hak_writer_finish(a.writer, &tail, &error), 0);
}

typedef struct loaded {
    hak_reader *reader;
    hak_train_trace digest;
} loaded;

static hak_site_source load(loaded *l, const char *path)
{
    hak_trace_error error = {.text = ""};
    l->reader = hak_reader_open(path, 0, &error);
    if (l->reader == NULL || hak_train_trace_read(l->reader, &l->digest, &error) != 0)
        fail_msg("%s", error.text);
    hak_site_source s = {.digest = &l->digest, .reader = l->reader};
    s.nodes = hak_reader_nodes(l->reader, &s.node_count);
    s.rows = hak_reader_rows(l->reader, &s.row_count);
    s.modules = hak_reader_modules(l->reader, &s.module_count);
    return s;
}

static void unload(loaded *l)
{
    hak_train_trace_clear(&l->digest);
    hak_reader_close(l->reader);
}

static const hak_policy_node *node_at(const hak_policy *policy, uint64_t offset)
{
    for (uint32_t i = 0; i < policy->node_count; i++)
        if (policy->nodes[i].offset == offset)
            return &policy->nodes[i];
    return NULL;
}

static char folder[TEST_PATH], path_1[TEST_PATH], path_2[TEST_PATH];

static const hak_site_options all_families = {.families = {[HAK_TRAIN_LIFETIME] = true,
                                                           [HAK_TRAIN_REMOTE] = true,
                                                           [HAK_TRAIN_RETENTION] = true,
                                                           [HAK_TRAIN_SITE_THP] = true,
                                                           [HAK_TRAIN_SLACK] = true}};

static void the_shallowest_pure_context_is_taken(void **state)
{
    (void)state;
    write_trace(path_1, BIAS, true, 1000, 1040);
    loaded l;
    hak_site_source source = load(&l, path_1);
    hak_policy policy;
    hak_site_result result;
    hak_policy_init(&policy);
    assert_true(hak_sites_build(&source, 1, &all_families, &policy, &result));

    const hak_policy_node *direct = node_at(&policy, PC_DIRECT), *wrapper = node_at(&policy, PC_WRAPPER),
                          *a = node_at(&policy, PC_A), *b = node_at(&policy, PC_B),
                          *grow = node_at(&policy, PC_GROW), *remote = node_at(&policy, PC_REMOTE),
                          *big = node_at(&policy, PC_BIG);
    assert_non_null(direct);
    assert_int_equal(direct->lifetime, HAK_LIFETIME_SHORT);
    assert_int_equal(direct->flags & HAK_NODE_DEEPER, 0); /* its caller need not be looked at */
    assert_int_equal(wrapper->lifetime, HAK_LIFETIME_DEFAULT);
    assert_int_equal(wrapper->flags, HAK_NODE_DEEPER);
    assert_int_equal(wrapper->row.cfa_offset, PC_WRAPPER / 16);
    assert_int_equal(a->lifetime, HAK_LIFETIME_SHORT);
    assert_int_equal(b->lifetime, HAK_LIFETIME_LONG);
    assert_int_equal(a->flags & HAK_NODE_DEEPER, 0);
    assert_int_equal(node_at(&policy, PC_MAIN)->parent, HAK_POLICY_ROOT);
    assert_int_equal(grow->slack_percent, HAK_POLICY_MAX_SLACK);
    assert_int_equal(remote->flags, HAK_NODE_REMOTE_FREED);
    assert_int_equal(big->retention, HAK_RETENTION_BATCH);
    assert_int_equal(big->thp, HAK_THP_ON);
    assert_int_equal(direct->weight, 1000);
    assert_int_equal(direct->size_bytes, 1040);

    assert_int_equal(policy.gate_count, 1); /* large sizes; the small ones are another question */
    assert_int_equal(policy.gate[0][1], UINT32_MAX);
    assert_int_equal(policy.module_count, 1);
    assert_int_equal(policy.modules[0].weight, 1000000);

    hak_policy_error error = {.text = ""};
    size_t len_bytes;
    void *bytes = hak_policy_encode(&policy, &len_bytes, &error);
    assert_string_equal(error.text, "");
    free(bytes);

    assert_true(hak_sites_drop(&policy, HAK_TRAIN_LIFETIME));
    assert_null(node_at(&policy, PC_WRAPPER));
    assert_non_null(node_at(&policy, PC_REMOTE));
    assert_true(hak_sites_drop(&policy, HAK_TRAIN_REMOTE));
    assert_null(node_at(&policy, PC_REMOTE));
    assert_non_null(node_at(&policy, PC_GROW));
    assert_int_equal(policy.gate_count, 1);
    hak_policy_clear(&policy);
    unload(&l);
}

static void traces_must_agree_wherever_they_were_loaded(void **state)
{
    (void)state;
    write_trace(path_1, BIAS, true, 1000, 1040);
    write_trace(path_2, 16 * BIAS, false, 1000, 1040);
    loaded l[2];
    hak_site_source sources[] = {load(&l[0], path_1), load(&l[1], path_2)};
    hak_policy policy;
    hak_site_result result;
    hak_policy_init(&policy);
    assert_true(hak_sites_build(sources, 2, &all_families, &policy, &result));
    assert_null(node_at(&policy, PC_SWITCH)); /* long in one, short in the other */
    assert_int_equal(node_at(&policy, PC_A)->lifetime, HAK_LIFETIME_SHORT);
    assert_int_equal(node_at(&policy, PC_B)->lifetime, HAK_LIFETIME_LONG);
    assert_int_equal(node_at(&policy, PC_A)->weight, 2000);
    hak_site_forecast forecast = hak_sites_foretell(&policy, &sources[1]);
    assert_true(forecast.covered > 0.55 && forecast.covered < 0.95);
    assert_true(forecast.wrong == 0);
    hak_policy_clear(&policy);
    /* Learned from the first alone, the switch site is decided, and the second trace tells that it is wrong.
     */
    hak_policy_init(&policy);
    assert_true(hak_sites_build(sources, 1, &all_families, &policy, &result));
    assert_int_equal(node_at(&policy, PC_SWITCH)->lifetime, HAK_LIFETIME_LONG);
    forecast = hak_sites_foretell(&policy, &sources[1]);
    assert_true(forecast.wrong > 0.05);
    hak_policy_clear(&policy);
    unload(&l[0]);
    unload(&l[1]);
}

/* Kinds of documents take turns; what is kept of each (`longs`) holds the slabs its nodes have left. */
static void write_kinds(const char *path, bool keep)
{
    author a = {.bias = BIAS};
    hak_trace_head head = {.program = "/usr/bin/made", .command = "", .recorder = "test"};
    hak_writer_options options = {.force = true};
    hak_trace_error error;
    a.writer = hak_writer_open(path, &head, &options, &error);
    assert_non_null(a.writer);
    hak_trace_module module = {.start = BIAS, .end = BIAS + 0x10000, .bias = BIAS, .path = "/usr/bin/made"};
    hak_writer_module_load(a.writer, &module);
    hak_writer_thread(a.writer, 1, "main");
    uint32_t node = CONTEXT(&a, PC_A, PC_MAIN), kept = CONTEXT(&a, PC_B, PC_MAIN);
    uint32_t free_slots[4000], slots[4000], free_count = 0, greatest = 0;
    for (uint64_t size = 64; size <= 448; size += 64) {
        for (uint32_t i = 0; i < 4000; i++) {
            slots[i] = free_count != 0 ? free_slots[--free_count] : ++greatest;
            event(&a, HAK_OP_MALLOC, size, 0, slots[i], node, 0);
            if (i % 100 == 0)
                event(&a, HAK_OP_MALLOC, size, 0, free_count != 0 ? free_slots[--free_count] : ++greatest,
                      keep ? kept : node, 0);
        }
        for (uint32_t i = 0; i < 4000; i++) {
            event(&a, HAK_OP_FREE, 0, slots[i], 0, 0, 0);
            free_slots[free_count++] = slots[i];
        }
    }
    hak_trace_tail tail = {.ended = true};
    assert_int_equal(hak_writer_finish(a.writer, &tail, &error), 0);
}

static double gate_of(const char *path, hak_policy *policy)
{
    loaded l;
    hak_site_source source = load(&l, path);
    hak_site_result result;
    hak_trace_error error = {.text = ""};
    hak_slab_use *use = calloc(1, sizeof *use);
    double saved = -1;
    assert_true(hak_sites_build(&source, 1, &all_families, policy, &result));
    uint8_t *lifetimes = hak_sites_lifetimes(policy, &source);
    assert_int_equal(hak_slabs_simulate(source.reader, lifetimes, source.digest->context_count, use, &error),
                     0);
    assert_true(use->all_peak > 64 * 4000);
    assert_true(hak_sites_gate_lifetimes(&source, use, 1, 1, policy, &saved));
    free(lifetimes);
    free(use);
    unload(&l);
    return saved;
}

static void classes_are_gated_where_mixing_lives_holds_memory(void **state)
{
    (void)state;
    hak_policy policy;
    write_kinds(path_1, true);
    hak_policy_init(&policy);
    assert_true(gate_of(path_1, &policy) > 0.3);
    assert_true(policy.gate_count >= 4);
    assert_true(policy.gate[0][0] > 0 && policy.gate[policy.gate_count - 1][1] <= 448);
    for (uint32_t i = 1; i < policy.gate_count; i++)
        assert_true(policy.gate[i][0] > policy.gate[i - 1][1]);
    hak_policy_clear(&policy);
    /* The contexts do not tell the kept ones from the others: nothing to be had. */
    write_kinds(path_1, false);
    hak_policy_init(&policy);
    assert_true(gate_of(path_1, &policy) == 0);
    assert_int_equal(policy.gate_count, 0);
    hak_policy_clear(&policy);
    /* Told apart very well, but every slab empties anyway. */
    write_trace(path_1, BIAS, true, 1000, 1040);
    hak_policy_init(&policy);
    assert_true(gate_of(path_1, &policy) < 0.05);
    hak_policy_clear(&policy);
}

static void classes_fit_the_sizes_and_keep_a_backbone(void **state)
{
    (void)state;
    write_trace(path_1, BIAS, true, 1000, 1040);
    loaded l;
    load(&l, path_1);
    const hak_train_trace *digest = &l.digest;
    uint32_t sizes[HAK_POLICY_MAX_CLASSES];
    double gain;
    uint32_t count = hak_fit_classes(&digest, 1, sizes, &gain);
    bool fitted = false;
    for (uint32_t i = 0; i < count; i++) {
        fitted |= sizes[i] == 1040;
        assert_int_equal(sizes[i] % 16, 0);
        if (i > 0) /* no size wastes more than half of its block */
            assert_true(sizes[i] <= 2 * sizes[i - 1]);
    }
    assert_true(fitted);
    assert_int_equal(sizes[count - 1], 32768);
    assert_true(gain > 0.15); /* 1280 -> 1040 */
    unload(&l);
    /* 1024 is a standard class already: nothing to gain. */
    write_trace(path_1, BIAS, true, 1000, 1024);
    load(&l, path_1);
    hak_fit_classes(&digest, 1, sizes, &gain);
    assert_true(gain < 0.005);
    unload(&l);
}

static int make_paths(void **state)
{
    (void)state;
    return test_folder_make(folder) && test_path(path_1, folder, "1") && test_path(path_2, folder, "2") ? 0
                                                                                                        : -1;
}

static int remove_paths(void **state)
{
    (void)state;
    return test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shallowest_pure_context_is_taken),
        cmocka_unit_test(traces_must_agree_wherever_they_were_loaded),
        cmocka_unit_test(classes_are_gated_where_mixing_lives_holds_memory),
        cmocka_unit_test(classes_fit_the_sizes_and_keep_a_backbone),
    };
    return cmocka_run_group_tests(tests, make_paths, remove_paths);
}
