/* mid.h: blocks from 32 KiB to large_min_bytes: runs of 64 KiB units, with a small cache per thread. A run
 * has no owner: whoever frees it may cache it. `heap`: the caller's own, or NULL (then straight to the pool).
 * Sizes are bytes; blocks are aligned to 64 KiB. */
#ifndef HAK_CORE_MID_H
#define HAK_CORE_MID_H

#include "core/heap.h"

#define HAK_MID_MAX_BYTES (HAK_RUN_MAX_UNITS * HAK_UNIT_BYTES)

/* NULL with ENOMEM. */
void *hak_mid_take(hak_heap *heap, size_t bytes, bool zero);

/* The two for a thread whose front is open (front.h), without a look at modes. A run of the thread's cache,
 * or NULL: hak_mid_take. */
void *hak_mid_recall(hak_heap *heap, size_t bytes);
/* Frees the block into the thread's cache; false when it is no live run's or there is no room. `at` lies in a
 * SuperSlab. */
bool hak_mid_keep(hak_heap *heap, void *at);

/* `run` is the entry of a live run's first unit. */
void hak_mid_put(hak_heap *heap, hak_slab *run);

/* Resizes in place; false when it does not fit there, or where slabs or larger blocks are for. */
bool hak_mid_resize(hak_heap *heap, hak_slab *run, size_t bytes);

HAK_INLINE size_t hak_mid_usable(const hak_slab *run)
{
    return run->units * HAK_UNIT_BYTES;
}

/* Gives the thread's cached runs to the pool. */
void hak_mid_flush(hak_heap *heap);

#endif
