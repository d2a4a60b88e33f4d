/* collect_clock.c: see collect_clock.h. */
#include "trace/collect_clock.h"

#include <cpuid.h>
#include <time.h>

#include "trace/trace_format.h"

#define FIRST_GUESS_NS 1000000 /* how long the speed is measured at the start */
#define SLACK_NS       50000   /* where stamps are no ticks */

bool hak_clock_is_tsc(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d >> 8 & 1) != 0;
}

static double speed(const hak_clock *clock)
{
    uint64_t ticks = hak_tsc() - clock->start_tsc;
    uint64_t ns = hak_os_monotonic_ns() - clock->start_ns;
    return ticks == 0 ? clock->ns_per_tick : (double)ns / (double)ticks;
}

uint64_t hak_clock_wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void hak_clock_start(hak_clock *clock, hak_share *share)
{
    *clock = (hak_clock){.share = share, .tsc = share->clock == HAK_CLOCK_TSC};
    clock->start_ns = hak_os_monotonic_ns();
    clock->start_tsc = hak_tsc();
    if (!clock->tsc)
        return;
    while (hak_os_monotonic_ns() - clock->start_ns < FIRST_GUESS_NS)
        continue;
    clock->ns_per_tick = speed(clock);
}

uint64_t hak_clock_now(hak_clock *clock)
{
    return clock->tsc ? hak_tsc() - clock->share->tsc_base : atomic_load(&clock->share->counter);
}

void hak_clock_adjust(hak_clock *clock, uint64_t stamp)
{
    if (stamp <= clock->base_stamp)
        return;
    double ns = (double)hak_clock_ns(clock, stamp);
    clock->base_stamp = stamp;
    clock->base_ns = ns;
    if (clock->tsc) {
        clock->ns_per_tick = speed(clock);
        return;
    }
    /* Counted stamps: what comes next is spread from here on at the pace so far, catching up with the clock.
     */
    uint64_t elapsed = hak_os_monotonic_ns() - clock->start_ns;
    clock->base_ns = ns < (double)elapsed ? (double)elapsed : ns;
    clock->ns_per_tick = 1.0;
}

void hak_clock_slack(const hak_clock *clock, uint64_t moment)
{
    if (!clock->tsc) {
        struct timespec pause = {.tv_nsec = SLACK_NS};
        nanosleep(&pause, NULL);
        return;
    }
    while (hak_tsc() - clock->share->tsc_base - moment < HAK_RING_SLACK_TICKS)
        __builtin_ia32_pause();
}
