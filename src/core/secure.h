/* secure.h: how free blocks are marked and linked, and what a HAKMEM_SECURE build (libhakmem-secure.so) adds.
 *
 * A free block holds the link to the next one and a key that says "free, of this heap". In every build the
 * key is looked at before a block is handed out: a write after free that bends a link leads to memory whose
 * second word is not the key, and the process ends there instead of handing out somebody's memory. In the
 * secure build links and keys are encoded with a secret of the process, so that neither can be forged nor
 * learned from one of them, and free tests on every call that the address begins a block that was handed out
 * (the standard build tests that when a list goes home to its slabs).
 * Inline, without state of its own but the secret, which is written once before the second thread exists. */
#ifndef HAK_CORE_SECURE_H
#define HAK_CORE_SECURE_H

#include "core/superslab.h"

#if defined(HAKMEM_SECURE)
enum { HAK_SECURE = 1 };
#else
enum { HAK_SECURE = 0 };
#endif

extern uintptr_t hak_secret; /* secure builds only; 0 in others */

/* Once, before the first block: takes the kernel's random bytes for this process (no system call). */
void hak_secure_init(void);

/* The value that a link or key stored at `place` is combined with: a link bent by copying another block's is
 * no link either. */
HAK_INLINE uintptr_t hak_secure_mask(const void *place)
{
    return HAK_SECURE ? hak_secret ^ (uintptr_t)place << 16 : 0;
}

HAK_INLINE hak_block *hak_block_next(const hak_block *block)
{
    return (hak_block *)((uintptr_t)block->next ^ hak_secure_mask(block));
}

HAK_INLINE void hak_block_link(hak_block *block, hak_block *next)
{
    block->next = (hak_block *)((uintptr_t)next ^ hak_secure_mask(block));
}

/* Whether a link may be followed at all. */
HAK_INLINE bool hak_block_plausible(const hak_block *block)
{
    return block == NULL || (((uintptr_t)block & (HAK_CLASS_STEP - 1)) == 0 &&
                             hak_page_map_kind(block) == HAK_CHUNK_SUPERSLAB);
}

/* What the key of a free block of that heap is; never 0. */
HAK_INLINE uintptr_t hak_block_key(const hak_block *block, const struct hak_heap *heap)
{
    return (uintptr_t)heap ^ hak_secure_mask(&block->key);
}

/* Whether the block looks free, as one of either heap's. */
HAK_INLINE bool hak_block_has_key_of(const hak_block *block, const struct hak_heap *one,
                                     const struct hak_heap *other)
{
    return block->key == hak_block_key(block, one) || block->key == hak_block_key(block, other);
}

#endif
