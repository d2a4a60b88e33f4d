/* fast.h: the two paths everything is built around. They read the thread's heap, one bin and one slab entry,
 * and test no mode, flag or policy. What they cannot do alone falls through to alloc.h. */
#ifndef HAK_CORE_FAST_H
#define HAK_CORE_FAST_H

#include "core/heap.h"
#include "core/secure.h"

/* The first block of the thread's list for that size, or NULL: ask hak_alloc. So also when it does not carry
 * the key of a free block (secure.h): hak_heap_take finds out why. */
HAK_INLINE void *hak_fast_take(size_t bytes)
{
    hak_heap *heap = hak_tls_heap;
    if (HAK_UNLIKELY(bytes > HAK_SMALL_MAX_BYTES))
        return NULL;
    size_t slot = (bytes + HAK_CLASS_STEP - 1) / HAK_CLASS_STEP;
    hak_bin *bin = (hak_bin *)((char *)heap + heap->bin_offset[slot]);
    hak_block *block = bin->head;
    if (HAK_UNLIKELY(block == NULL) || HAK_UNLIKELY(block->key != hak_block_key(block, heap)))
        return NULL;
    hak_block *next = hak_block_next(block);
    if (HAK_SECURE && !hak_block_plausible(next))
        return NULL;
    bin->head = next;
    block->key = 0;
    return block;
}

/* True when the block went onto the thread's own list; false: hak_free_slow(at). The rotation brings the low
 * four bits of a misaligned pointer on top, where they fail the bound like any other address that is none. */
HAK_INLINE bool hak_fast_put(void *at)
{
    uintptr_t address = (uintptr_t)at;
    uintptr_t chunk = (address >> 4 | address << 60) >> (HAK_CHUNK_SHIFT - 4);
    if (HAK_UNLIKELY(chunk >= HAK_MAP_CHUNKS || hak_page_map[chunk] != HAK_CHUNK_SUPERSLAB))
        return false;
    hak_heap *heap = hak_tls_heap;
    hak_slab *slab = hak_slab_at(at);
    hak_block *block = at;
    if (HAK_UNLIKELY(atomic_load_explicit(&slab->owner, memory_order_relaxed) != heap ||
                     block->key == hak_block_key(block, heap)))
        return false;
    if (HAK_SECURE && hak_slab_block_of(hak_slab_of(at), at) != at)
        return false;
    hak_bin *bin = slab->bin;
    if (HAK_UNLIKELY(__builtin_sub_overflow(bin->room, 1u, &bin->room))) {
        bin->room = 0;
        return false;
    }
    block->key = hak_block_key(block, heap);
    hak_block_link(block, bin->head);
    bin->head = block;
    return true;
}

#endif
