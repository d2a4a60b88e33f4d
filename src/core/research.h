/* research.h: RESEARCH mode's blocks. Small ones carry a header in front (site id, requested bytes, guard)
 * and all of them a guard behind; freed small ones rest in a quarantine, filled, so that a second free and a
 * write after the free are seen. Every misuse is one fixed line on stderr and an abort. Any thread; the
 * quarantine has its own lock. Sizes are bytes. */
#ifndef HAK_CORE_RESEARCH_H
#define HAK_CORE_RESEARCH_H

#include "core/heap.h"
#include "core/large.h"

#define HAK_RESEARCH_FRONT_BYTES 32
#define HAK_RESEARCH_TAIL_BYTES  16

/* Bytes to ask the heap for. `align` <= 16, else the caller adds it: the block is aligned inside. */
HAK_INLINE size_t hak_research_small_bytes(size_t bytes, size_t align)
{
    return bytes + HAK_RESEARCH_FRONT_BYTES + HAK_RESEARCH_TAIL_BYTES + (align > 16 ? align : 0);
}

/* Number of the call context: a hash of its innermost return addresses. Any thread. */
uint32_t hak_research_site(hak_frame frame);

/* Dresses a fresh small block; returns what the program gets. */
void *hak_research_dress(hak_slab *slab, void *base, size_t bytes, size_t align, uint32_t site);

/* Writes the guard behind a mid or large block, which has room for it. */
void hak_research_seal(void *block, size_t bytes);

/* Requested bytes of a live small block; aborts with a line when it is none or a guard is broken. */
size_t hak_research_check(const hak_slab *slab, void *at, const char *caller);

/* Aborts with a line when the guard behind a mid or large block is broken. */
void hak_research_check_seal(const void *block, size_t bytes, const char *caller);

/* Takes a checked small block into quarantine; returns the block that leaves it (its slab's start), or NULL.
 */
void *hak_research_retire(void *at, size_t bytes);

/* Checks the blocks in quarantine: number of those written after their free. */
unsigned hak_research_check_quarantine(void);

extern hak_lock hak_quarantine_lock;

#endif
