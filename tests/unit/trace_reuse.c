/* Addresses that change hands, and weights of samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trace/reuse.h"
#include "trace/weight.h"

static void a_range_that_changes_hands_gets_a_new_generation(void **state)
{
    (void)state;
    hak_reuse reuse = {.ranges = NULL};
    uint64_t one = hak_reuse_identity("one", 3, "", 0);
    uint64_t two = hak_reuse_identity("two", 3, "", 0);
    assert_true(one != two);
    assert_true(one != hak_reuse_identity("one", 3, "x", 1));
    assert_false(hak_reuse_load(&reuse, 0x1000, 0x2000, one));
    assert_false(hak_reuse_load(&reuse, 0x3000, 0x4000, two));
    assert_false(hak_reuse_load(&reuse, 0x1000, 0x2000, one)); /* the same once more */
    assert_int_equal(hak_reuse_generation(&reuse, 0x1fff), 0);
    assert_true(hak_reuse_load(&reuse, 0x1800, 0x2800, two)); /* overlaps */
    uint32_t second = hak_reuse_generation(&reuse, 0x1800);
    assert_true(second != 0);
    assert_int_equal(hak_reuse_generation(&reuse, 0x27ff), second);
    assert_int_equal(hak_reuse_generation(&reuse, 0x2800), 0);
    assert_int_equal(hak_reuse_generation(&reuse, 0x3000), 0);
    assert_true(hak_reuse_load(&reuse, 0x0, 0x10000, one)); /* swallows all */
    assert_true(hak_reuse_generation(&reuse, 0x3000) > second);
    assert_int_equal(reuse.count, 1);
    hak_reuse_clear(&reuse);
}

static void however_many_modules_come_the_memory_is_bounded(void **state)
{
    (void)state;
    hak_reuse reuse = {.ranges = NULL};
    for (uint64_t i = 0; i < 3 * HAK_REUSE_MAX; i++)
        hak_reuse_load(&reuse, i * 0x1000, i * 0x1000 + 0x800, i);
    assert_true(reuse.count <= HAK_REUSE_MAX);
    hak_reuse_clear(&reuse);
}

static void weights_add_up_to_what_they_stand_for(void **state)
{
    (void)state;
    hak_weigher whole = {.mean_bytes = 0};
    assert_int_equal(hak_weigh(&whole, 5), 1);
    static const uint64_t sizes[] = {0, 1, 100, 4096, 1 << 20};
    for (size_t i = 0; i < HAK_COUNT_OF(sizes); i++) {
        hak_weigher weigher = {.mean_bytes = 4096};
        double size = sizes[i] == 0 ? 1 : (double)sizes[i];
        double chance = -expm1(-size / 4096);
        double sum = 0;
        for (int k = 0; k < 10000; k++)
            sum += hak_weigh(&weigher, sizes[i]);
        assert_true(sum * chance > 10000 - 2 && sum * chance < 10000 + 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_that_changes_hands_gets_a_new_generation),
        cmocka_unit_test(however_many_modules_come_the_memory_is_bounded),
        cmocka_unit_test(weights_add_up_to_what_they_stand_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
