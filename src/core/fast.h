/* fast.h: the two paths everything is built around, and realloc's, which is made of them. They read the
 * thread's heap and the block, and test no mode, flag or policy. What they cannot do alone falls through to
 * alloc.h. Their length is a test (tests/bench/instructions). */
#ifndef HAK_CORE_FAST_H
#define HAK_CORE_FAST_H

#include <string.h>

#include "core/alloc.h"
#include "core/heap.h"
#include "core/options.h"
#include "core/secure.h"

/* A bin's address is computed anew at each use (HAK_AS_WRITTEN), which x86 does for nothing; the result is
 * built where it is returned; and what is counted down stays in memory, only its sign is looked at. */
#if defined(__x86_64__)
#define HAK_RETURNED(block)  __asm__("" : "+a"(block))
#define HAK_DOWN(room, none) __asm__("subl $1, %0" : "+m"(room), "=@ccs"(none))
#else
#define HAK_RETURNED(block)  (void)(block)
#define HAK_DOWN(room, none) ((none) = --(room) < 0)
#endif

/* The first block of the thread's list for that size, or NULL: ask hak_alloc. So also when it does not carry
 * the key of a free block (secure.h): hak_heap_take finds out why. */
HAK_INLINE void *hak_fast_take(size_t bytes)
{
    hak_heap *heap = hak_tls_heap;
    size_t place;
    if (HAK_LIKELY(bytes <= HAK_DIRECT_MAX))
        place = heap->bin_of[bytes];
    else if (HAK_LIKELY(bytes <= HAK_SMALL_MAX_BYTES))
        place = hak_class_bins[(bytes + HAK_CLASS_STEP - 1) / HAK_CLASS_STEP];
    else
        return NULL;
    hak_block *block = hak_bin_at(heap, place)->head;
    HAK_RETURNED(block);
    if (HAK_UNLIKELY(block == NULL) || HAK_UNLIKELY(block->key != hak_block_key(block, heap)))
        return NULL;
    hak_block *next = hak_block_next(block);
    if (HAK_SECURE && !hak_block_plausible(next))
        return NULL;
    HAK_AS_WRITTEN(place);
    hak_bin_at(heap, place)->head = next;
    block->key = 0;
    return block;
}

/* True when the block went onto the thread's own list; false: hak_free_slow(at). The block is looked at last:
 * an address that is none of ours may lead nowhere. */
HAK_INLINE bool hak_fast_put(void *at)
{
    uintptr_t unit = hak_window_unit(at);
    if (HAK_UNLIKELY(unit >= HAK_WINDOW_UNITS))
        return false;
    hak_heap *heap = hak_tls_heap;
    size_t place = ((hak_thread_heap *)heap)->place_of[unit];
    hak_block *block = at; /* never NULL here: the window begins far above it */
    bool none;
    HAK_DOWN(hak_bin_at(heap, place)->room, none);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    if (HAK_UNLIKELY(none) || HAK_UNLIKELY(block->key == hak_block_key(block, heap)))
        return false;
    if (HAK_SECURE && hak_slab_block_of(hak_slab_of(at), at) != at)
        return false;
    block->key = hak_block_key(block, heap);
    HAK_AS_WRITTEN(place);
    hak_block_link(block, hak_bin_at(heap, place)->head);
    HAK_AS_WRITTEN(place);
    hak_bin_at(heap, place)->head = block;
    return true;
}

/* free for a block of another heap's slab, as long as the thread wants such itself; false: it does not, or
 * the block looks free already. What goes back and forth between threads then stays with those who use it. */
HAK_INLINE bool hak_fast_keep(hak_heap *heap, const hak_slab *slab, hak_block *block)
{
    const hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    hak_kept *kept = &heap->kept[slab->class_index];
    if (kept->count >= kept->most || HAK_UNLIKELY(++heap->foreign_frees % HAK_KEEP_ALL_BUT == 0) ||
        HAK_UNLIKELY(hak_block_has_key_of(block, owner, heap)) || HAK_UNLIKELY(owner == &hak_heap_tracked))
        return false;
    block->key = hak_block_key(block, heap);
    hak_block_link(block, kept->head);
    kept->head = block;
    kept->count++;
    hak_heap_count(heap, HAK_COUNT_FREE_KEPT, 1);
    return true;
}

/* Whether a block of `room_bytes` serves `bytes` where it is: one that would use less than half of it, by
 * more than the smallest class, moves. Size 0 is none. */
HAK_INLINE bool hak_room_serves(size_t room_bytes, size_t bytes)
{
    return bytes - 1 < room_bytes && bytes + HAK_CLASS_STEP / 2 >= room_bytes / 2;
}

/* What a live block of one of the thread's lists has room for; 0 for all others. */
HAK_INLINE size_t hak_fast_room(const void *at)
{
    uintptr_t unit = hak_window_unit(at);
    if (HAK_UNLIKELY(unit >= HAK_WINDOW_UNITS))
        return 0;
    hak_heap *heap = hak_tls_heap;
    /* Place 0, and the bins of classes whose calls are seen, are none of malloc's fast path. */
    size_t steps =
        (size_t)((hak_thread_heap *)heap)->place_of[unit] - offsetof(hak_heap, bins) / HAK_BIN_STEP;
    const hak_block *block = at;
    if (HAK_UNLIKELY(steps >= sizeof heap->bins / HAK_BIN_STEP) ||
        HAK_UNLIKELY(block->key == hak_block_key(block, heap)))
        return 0;
    const hak_slab *slab = hak_slab_of(at);
    return HAK_LIKELY(hak_slab_begins(slab, at)) ? slab->block_bytes : 0;
}

#endif
