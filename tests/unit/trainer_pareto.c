/* Policies to choose from: none is better than another in both; what is as good as another within noise, was
 * seen too rarely, failed or breaks a constraint is none of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "replay/trainer_parts.h"

typedef struct made {
    double time, rss; /* ratios to the default */
} made;

static const made *made_up;

static void run(void *arg, uint32_t trace, hak_trial *trials, uint32_t count)
{
    (void)arg;
    (void)trace;
    for (uint32_t i = 0; i < count; i++) {
        trials[i].ns_per_op = 100 * made_up[trials[i].id].time;
        trials[i].rss_bytes = 1e6 * made_up[trials[i].id].rss;
    }
}

/* Runs candidates 0 to count - 1 in so many blocks. */
static void begin(hak_training *t, const hak_train_options *options, const made *all, uint32_t count,
                  uint32_t blocks)
{
    uint32_t ids[HAK_ARENA_MAX_BLOCK];
    bool failed = false;
    memset(t, 0, sizeof *t);
    t->options = options;
    t->search.noise_bound = 0.01;
    made_up = all;
    assert_true(hak_arena_init(&t->arena, run, NULL, HAK_OBJECTIVE_BALANCED, 1));
    for (uint32_t i = 0; i < count; i++) {
        hak_candidate c = {.knob_set = {[0] = i != 0}, .knobs = {[0] = (int64_t)i}};
        ids[i] = hak_arena_add(&t->arena, &c);
        assert_int_equal(ids[i], i);
    }
    for (uint32_t i = 0; i < blocks; i++)
        assert_true(hak_arena_block(&t->arena, 0, ids, count, &failed));
}

static void the_front_is_what_nothing_else_beats(void **state)
{
    (void)state;
    static const made all[] = {{1, 1},       {0.9, 1.2}, {1.1, 0.8}, {1.2, 0.9},
                               {0.895, 1.3}, {0.5, 2},   {1.3, 0.8}};
    static const hak_train_options free_choice = {.max_time = NAN, .max_rss = NAN};
    static hak_training t;
    uint32_t front[HAK_TRAIN_MAX_POINTS];
    begin(&t, &free_choice, all, 7, 2);
    assert_int_equal(hak_pareto_front(&t, 0, NULL, 0, front), 4);
    const uint32_t expected[] = {2, 0, 1, 5}; /* 3 and 6 are beaten, 4 is not faster than 1 beyond noise */
    assert_memory_equal(front, expected, sizeof expected);
    const uint32_t some[] = {0, 1, 3};
    assert_int_equal(hak_pareto_front(&t, 0, some, 3, front), 3);
    assert_int_equal(front[0], 3);
    t.arena.failed[5] = true;
    assert_int_equal(hak_pareto_front(&t, 0, NULL, 0, front), 3);
    assert_int_equal(hak_pareto_front(&t, 1, NULL, 0, front), 0); /* one block since then: luck */
    hak_arena_clear(&t.arena);
}

static void constraints_of_the_caller_hold(void **state)
{
    (void)state;
    static const made all[] = {{1, 1}, {0.9, 1.2}, {1.1, 0.8}, {0.8, 1.4}};
    static const hak_train_options bound = {.max_time = 0.05, .max_rss = 0.25};
    static hak_training t;
    uint32_t front[HAK_TRAIN_MAX_POINTS];
    begin(&t, &bound, all, 4, 2);
    assert_int_equal(hak_pareto_front(&t, 0, NULL, 0, front), 2);
    assert_int_equal(front[0], 0);
    assert_int_equal(front[1], 1);
    hak_arena_clear(&t.arena);
}

static void a_long_front_keeps_its_ends(void **state)
{
    (void)state;
    made all[40] = {{1, 1}};
    static const hak_train_options free_choice = {.max_time = NAN, .max_rss = NAN};
    static hak_training t;
    uint32_t front[HAK_TRAIN_MAX_POINTS];
    for (uint32_t i = 1; i < 40; i++)
        all[i] = (made){1 - 0.02 * i, 1 + 0.02 * i};
    begin(&t, &free_choice, all, 40, 2);
    assert_int_equal(hak_pareto_front(&t, 0, NULL, 0, front), HAK_TRAIN_MAX_POINTS);
    assert_int_equal(front[0], 0);
    assert_int_equal(front[HAK_TRAIN_MAX_POINTS - 1], 39);
    for (uint32_t i = 1; i < HAK_TRAIN_MAX_POINTS; i++)
        assert_true(front[i] > front[i - 1]);
    hak_arena_clear(&t.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_front_is_what_nothing_else_beats),
        cmocka_unit_test(constraints_of_the_caller_hold),
        cmocka_unit_test(a_long_front_keeps_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
