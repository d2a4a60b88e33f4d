/* replay_best.c: which target is said to serve a trace best: made figures with a known answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "replay/best.h"

enum { ROUNDS = 8, ROWS = 7 };

typedef struct made {
    const char *name;
    double ns;
    uint64_t kib;
} made;

/* Each round is slower or faster as a whole; `wobble` is each run's own share. */
static void make(hak_compare *compare, const made *rows, size_t count, uint32_t rounds, double wobble)
{
    static hak_compare_row out[ROWS];
    static hak_measure runs[ROWS][ROUNDS];
    static uint32_t numbers[ROUNDS];
    uint64_t random = 1;
    memset(out, 0, sizeof out);
    memset(runs, 0, sizeof runs);
    for (size_t i = 0; i < count; i++) {
        snprintf(out[i].target.name, sizeof out[i].target.name, "%s", rows[i].name);
        out[i].target.null = strcmp(rows[i].name, "null") == 0;
        out[i].runs_data = runs[i];
        out[i].runs_round = numbers;
        out[i].runs = rounds;
        for (uint32_t r = 0; r < rounds; r++) {
            double own = 1 + wobble * ((double)hak_random_below(&random, 1001) / 1000 - 0.5);
            numbers[r] = r;
            runs[i][r].ns_per_op = rows[i].ns * own * (1 + 0.3 * r);
            runs[i][r].peak_rss_bytes = rows[i].kib * HAK_KIB;
            runs[i][r].start_rss_bytes = 100 * HAK_KIB;
        }
    }
    *compare = (hak_compare){.rows = out, .row_count = count, .rounds = rounds};
    assert_int_equal(hak_compare_evaluate(compare, 1, 1), 0);
}

static void picks(void **unused)
{
    (void)unused;
    static const made rows[ROWS] = {{"null", 1, 1},           {"glibc", 10, 2000},
                                    {"mimalloc", 5, 9000},    {"hakmem:balanced", 6, 2400},
                                    {"hakmem:fast", 6, 2400}, {"hakmem:research", 2, 500},
                                    {"glibc again", 1, 1}};
    hak_compare compare;
    hak_best best[HAK_BEST_COUNT];
    make(&compare, rows, ROWS, ROUNDS, 0.02);
    assert_int_equal(hak_best_find(&compare, 1, true, 1, best), 0);
    assert_true(best[HAK_BEST_TIME].row == 2 && best[HAK_BEST_TIME].known);
    assert_true(best[HAK_BEST_TIME].ties == 0);
    assert_true(best[HAK_BEST_TIME].ratio.ratio > 0.45 && best[HAK_BEST_TIME].ratio.ratio < 0.55);
    assert_int_equal(best[HAK_BEST_RSS].row, 1);
    assert_true(best[HAK_BEST_BOTH].row == 3 || best[HAK_BEST_BOTH].row == 4);
    assert_true((best[HAK_BEST_BOTH].ties | (uint64_t)1 << best[HAK_BEST_BOTH].row) == (1u << 3 | 1u << 4));
    assert_int_equal(best[HAK_BEST_MODE].row, 3); /* the default, where another one is only as good */
    assert_true(best[HAK_BEST_MODE].ties == 1u << 4);
}

static void modes(void **unused)
{
    (void)unused;
    static const made rows[] = {
        {"null", 1, 1}, {"glibc", 10, 2000}, {"hakmem:balanced", 6, 2400}, {"hakmem:minimal", 4, 2300}};
    hak_compare compare;
    hak_best best[HAK_BEST_COUNT];
    make(&compare, rows, HAK_COUNT_OF(rows), ROUNDS, 0.02);
    assert_int_equal(hak_best_find(&compare, 1, true, 1, best), 0);
    assert_true(best[HAK_BEST_MODE].row == 3 && best[HAK_BEST_MODE].ratio.ratio < 0.9);
    assert_int_equal(hak_best_find(&compare, 1, false, 1, best), 0); /* by time alone */
    assert_true(!best[HAK_BEST_RSS].found && !best[HAK_BEST_BOTH].found && best[HAK_BEST_MODE].row == 3);
    make(&compare, rows, HAK_COUNT_OF(rows), 3, 0.02); /* too few rounds */
    assert_int_equal(hak_best_find(&compare, 1, true, 1, best), 0);
    assert_true(best[HAK_BEST_TIME].found && !best[HAK_BEST_TIME].known && !best[HAK_BEST_MODE].known);
    make(&compare, rows, 1, ROUNDS, 0.02);
    assert_int_equal(hak_best_find(&compare, 0, true, 1, best), 0);
    assert_true(!best[HAK_BEST_TIME].found && !best[HAK_BEST_MODE].found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(picks), cmocka_unit_test(modes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
