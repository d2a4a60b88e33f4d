/* ticks.h: the time stamp counter. x86-64; any thread. */
#ifndef HAK_REPLAY_TICKS_H
#define HAK_REPLAY_TICKS_H

#include "core/base/types.h"

HAK_INLINE uint64_t hak_ticks_now(void)
{
    return __builtin_ia32_rdtsc();
}

/* Not before what precedes is done (Intel SDM 2B, RDTSC). */
HAK_INLINE uint64_t hak_ticks_before(void)
{
    __builtin_ia32_lfence();
    return __builtin_ia32_rdtsc();
}

/* Not before what is measured is done. */
HAK_INLINE uint64_t hak_ticks_after(void)
{
    unsigned ignored;
    return __builtin_ia32_rdtscp(&ignored);
}

#endif
