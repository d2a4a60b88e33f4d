/* check.h: what makes an event consistent with those before it. The writer drops (and counts) what is not,
 * the reader refuses it. One thread per hak_live. Memory: one bit per slot. */
#ifndef HAK_TRACE_CHECK_H
#define HAK_TRACE_CHECK_H

#include "trace/event.h"

/* Which slots are live. */
typedef struct hak_live {
    uint64_t *bits;
    size_t room;   /* words */
    uint32_t high; /* slots 1 … high have been used */
} hak_live;

void hak_live_init(hak_live *live);
void hak_live_done(hak_live *live);

/* Applies the event. NULL, or what is wrong with it (static text); then nothing has changed. Threads and
 * contexts are not looked at. A new slot is at most one above the highest used before. */
const char *hak_live_apply(hak_live *live, const hak_event *event);

/* Applies a plain allocation into a slot that was used before. False: it is not that, nothing has changed. */
HAK_INLINE bool hak_live_begin_again(hak_live *live, uint32_t slot)
{
    uint64_t bit = UINT64_C(1) << (slot & 63);
    if (HAK_UNLIKELY(slot > live->high || (live->bits[slot >> 6] & bit) != 0))
        return false;
    live->bits[slot >> 6] |= bit;
    return true;
}

/* Applies a plain free. False: the slot is not live. */
HAK_INLINE bool hak_live_finish(hak_live *live, uint32_t slot)
{
    uint64_t bit = UINT64_C(1) << (slot & 63);
    if (HAK_UNLIKELY(slot > live->high || (live->bits[slot >> 6] & bit) == 0))
        return false;
    live->bits[slot >> 6] &= ~bit;
    return true;
}

#endif
