/* mid.h: blocks from 32 KiB to large_min_bytes: runs of 64 KiB units, with a small cache per thread. A run
 * has no owner: whoever frees it may cache it. `heap`: the caller's own, or NULL (then straight to the pool).
 * Sizes are bytes; blocks are aligned to 64 KiB. */
#ifndef HAK_CORE_MID_H
#define HAK_CORE_MID_H

#include "core/heap.h"

#define HAK_MID_MAX_BYTES (HAK_RUN_MAX_UNITS * HAK_UNIT_BYTES)

/* NULL with ENOMEM. */
void *hak_mid_take(hak_heap *heap, size_t bytes, bool zero);

/* `run` is the entry of a live run's first unit. */
void hak_mid_put(hak_heap *heap, hak_slab *run);

/* Resizes in place; false when it does not fit there or would waste more than half. */
bool hak_mid_resize(hak_heap *heap, hak_slab *run, size_t bytes);

HAK_INLINE size_t hak_mid_usable(const hak_slab *run)
{
    return run->units * HAK_UNIT_BYTES;
}

/* Gives the thread's cached runs to the pool. */
void hak_mid_flush(hak_heap *heap);

#endif
