/* research.h: RESEARCH mode's blocks. Each carries a header in front (site id, requested bytes, guard) and a
 * guard behind. Freed ones rest in a quarantine, filled or inaccessible, so that a second free and a write
 * after the free are seen. Every misuse is one fixed line on stderr and an abort; what is only found at exit
 * is a line. Any thread; the quarantine has its own lock. Sizes are bytes.
 *
 * A dressed block lies inside an allocator's block (below: base): a slab's block, a page run, or a large
 * block, whose own header leaves room in front of it. */
#ifndef HAK_CORE_RESEARCH_H
#define HAK_CORE_RESEARCH_H

#include "core/heap.h"
#include "core/large.h"

#define HAK_RESEARCH_FRONT_BYTES 32
#define HAK_RESEARCH_TAIL_BYTES  32 /* at least; up to twice that where there is room */

/* Bytes to ask the slabs or the page runs for; the block is aligned inside. */
HAK_INLINE size_t hak_research_dressed_bytes(size_t bytes, size_t align)
{
    return bytes + HAK_RESEARCH_FRONT_BYTES + HAK_RESEARCH_TAIL_BYTES + (align > 16 ? align : 0);
}

/* Number of the call context: a hash of its innermost return addresses. Any thread. */
uint32_t hak_research_site(hak_frame frame);

/* Dresses a fresh small or mid block of `base_bytes`; returns what the program gets. */
void *hak_research_dress(void *base, size_t base_bytes, size_t bytes, size_t align, uint32_t site);

/* The same for a large block, whose header goes in front of it. `room_bytes`: from `at` to its end. */
void hak_research_dress_large(void *at, size_t room_bytes, size_t bytes, uint32_t site);

/* Requested bytes of the live block `at`; aborts with a line when it is none or a guard is broken. */
size_t hak_research_check_small(const hak_slab *slab, void *at, const char *caller);
size_t hak_research_check_mid(const hak_slab *run, void *at, const char *caller);
size_t hak_research_check_large(const hak_large *large, void *at, const char *caller);

/* At exit: one line for each live block whose guard behind is broken; the number of them. `own`: only blocks
 * of the calling thread's slabs (others may be changing theirs). Large blocks are not looked at. */
unsigned hak_research_check_live(bool own);

/* quarantine.c: takes in a checked block, which is filled, or made inaccessible when it is large. Returns one
 * that has to leave instead (itself when it is huge), or NULL. *more: others have to leave as well. */
void *hak_quarantine_put(void *at, size_t bytes, bool *more);

/* A block that has to leave because the quarantine holds too many bytes (or, `all`: any); NULL: none. What
 * leaves was checked and is no longer marked; its place is the caller's to free. */
void *hak_quarantine_leave(bool all);

/* At exit: a line for each block written after its free; the number of them. */
unsigned hak_quarantine_check(void);

extern hak_lock hak_quarantine_lock;

/* For quarantine.c: marks as freed, or as nobody's; true when the mark is whole; requested bytes. */
void hak_research_mark_freed(void *at);
void hak_research_unmark(void *at);
bool hak_research_marked_freed(const void *at);
size_t hak_research_bytes(const void *at);
_Noreturn void hak_research_report(const char *caller, const char *what, const void *at);
void hak_research_note(const char *what, const void *at); /* a line, no abort */

#endif
