/* collect_clock.h: stamps of the rings to nanoseconds since the start, never backwards. One thread. */
#ifndef HAK_TRACE_COLLECT_CLOCK_H
#define HAK_TRACE_COLLECT_CLOCK_H

#include "trace/ring.h"

#define HAK_CLOCK_LAST_NS                                                                                    \
    (UINT64_C(1) << 62) /* 146 years; a stamp beyond is none and counts as the last one */

typedef struct hak_clock {
    hak_share *share;
    bool tsc;
    uint64_t start_tsc;
    uint64_t start_ns; /* CLOCK_MONOTONIC */
    double ns_per_tick;
    uint64_t base_stamp; /* of the segment in force: ns = base_ns + (stamp - base_stamp) * ns_per_tick */
    double base_ns;
    uint64_t last_ns; /* given out last */
} hak_clock;

/* The processor's counter runs at one speed, on all cores, in all sleep states (CPUID 8000_0007h, EDX bit 8).
 */
bool hak_clock_is_tsc(void);

/* Since 1970: for the head of a trace only, a step of it changes nothing else. */
uint64_t hak_clock_wall_ns(void);

/* share->clock and tsc_base are set. */
void hak_clock_start(hak_clock *clock, hak_share *share);

uint64_t hak_clock_now(hak_clock *clock); /* a stamp later than all that are visible */

HAK_INLINE uint64_t hak_clock_ns(hak_clock *clock, uint64_t stamp)
{
    double ns = clock->base_ns;
    if (HAK_LIKELY(stamp > clock->base_stamp))
        ns += (double)(int64_t)(stamp - clock->base_stamp) * clock->ns_per_tick;
    if (HAK_UNLIKELY(!(ns >= 0 && ns < (double)HAK_CLOCK_LAST_NS))) /* NaN, too: a broken program's stamp */
        return clock->last_ns;
    uint64_t whole = (uint64_t)(int64_t)ns; /* signed: one instruction */
    if (HAK_LIKELY(whole > clock->last_ns))
        clock->last_ns = whole;
    return clock->last_ns;
}

/* Everything up to `stamp` has been converted: measures the speed anew for what follows. */
void hak_clock_adjust(hak_clock *clock, uint64_t stamp);

/* Returns once HAK_RING_SLACK_TICKS have passed since the stamp `moment` was taken. */
void hak_clock_slack(const hak_clock *clock, uint64_t moment);

#endif
