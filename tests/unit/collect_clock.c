/* collect_clock.c: stamps that only a broken or hostile program writes. */
#include "trace/collect_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NS_PER_TICK 0.5

static hak_clock clock_at(uint64_t base_stamp, double base_ns)
{
    return (hak_clock){.ns_per_tick = NS_PER_TICK, .base_stamp = base_stamp, .base_ns = base_ns};
}

static void converts_and_never_goes_back(void **state)
{
    (void)state;
    hak_clock clock = clock_at(1000, 5000);
    assert_int_equal(hak_clock_ns(&clock, 1200), 5100);
    assert_int_equal(hak_clock_ns(&clock, 1100), 5100);
    assert_int_equal(hak_clock_ns(&clock, 1400), 5200);
}

static void a_stamp_beyond_any_recording_moves_nothing(void **state)
{
    (void)state;
    static const uint64_t stamps[] = {INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX / 3 * 2};
    static const double speeds[] = {2, 3, 1e300};
    for (size_t i = 0; i < HAK_COUNT_OF(stamps); i++)
        for (size_t k = 0; k < HAK_COUNT_OF(speeds); k++) {
            hak_clock clock = clock_at(0, 5000);
            clock.last_ns = 6000;
            clock.ns_per_tick = speeds[k];
            assert_int_equal(hak_clock_ns(&clock, stamps[i]), 6000);
            clock.ns_per_tick = NS_PER_TICK;
            assert_int_equal(hak_clock_ns(&clock, 4000), 7000);
        }
}

static void survives_not_a_number(void **state)
{
    (void)state;
    hak_clock clock = clock_at(0, __builtin_nan(""));
    assert_int_equal(hak_clock_ns(&clock, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converts_and_never_goes_back),
        cmocka_unit_test(a_stamp_beyond_any_recording_moves_nothing),
        cmocka_unit_test(survives_not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
