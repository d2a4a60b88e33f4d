/* heap.h: one thread's state: its lists of free blocks, its slabs, its cache of page runs.
 *
 * The fast paths (fast.h) touch only bins, bin_offset and the slab of the block. Where a policy or a mode
 * wants to see the calls of a class, that class's bin stays empty for ever and the blocks live in `placed`
 * bins, which only the slow path reads: nobody tests a mode on the fast path.
 *
 * A heap belongs to one thread. Other threads only push onto slab->remote and heap->pending:
 *   - a freer links the block and CASes slab->remote (release; pairs with the owner's acquire exchange);
 *   - the one whose CAS set the queued bit pushes the slab onto owner->pending (release CAS; pairs with the
 *     acquire exchange in the drain). queued is cleared only by who popped the slab, and a slab with queued
 *     set is never given back to the pool, so pending_next has one writer.
 * Heaps are never unmapped: a stale owner pointer stays valid. A thread that ends leaves its heap; new
 * threads take whole heaps, running ones adopt single slabs, both under HAK_RANK_HEAPS. */
#ifndef HAK_CORE_HEAP_H
#define HAK_CORE_HEAP_H

#include "core/front.h"
#include "core/stats.h"
#include "core/superslab.h"

/* Where a policy puts blocks of one class: apart from each other, so that slabs empty as a whole. */
typedef enum hak_place {
    HAK_PLACE_DEFAULT, /* = HAK_LIFETIME_DEFAULT */
    HAK_PLACE_SHORT,
    HAK_PLACE_LONG,
    HAK_PLACE_REMOTE, /* freed by other threads */
    HAK_PLACE_COUNT
} hak_place;

typedef enum hak_heap_state {
    HAK_HEAP_LIVE,
    HAK_HEAP_ABANDONED, /* its thread ended */
    HAK_HEAP_LOST,      /* its thread did not survive fork: never touched again, except for remote frees */
    HAK_HEAP_SHARED,    /* no thread's: used under HAK_RANK_SHARED */
} hak_heap_state;

/* A block that realloc has moved, and how often in a row. */
typedef struct hak_growth {
    const void *block;
    uint32_t steps;
} hak_growth;
#define HAK_GROWTH_WAYS 4

typedef struct hak_heap {
    hak_bin bins[HAK_CLASS_MAX];
    uint16_t bin_offset[HAK_CLASS_SLOTS]; /* (bytes + 15) / 16 -> offset of the bin within the heap */
    struct hak_slab *partial[HAK_PLACE_COUNT][HAK_CLASS_MAX]; /* slabs with blocks to give */
    hak_bin placed[HAK_PLACE_COUNT][HAK_CLASS_MAX];           /* bins of the classes whose calls are seen */
    hak_slab *mid_cache[HAK_RUN_MAX_UNITS + 1];               /* by units, last in first out */
    size_t mid_cache_bytes;
    uint64_t granted;       /* room given to bins so far; minus the room left = frees on the fast path */
    uint32_t empty_kept;    /* slabs without a used block */
    uint32_t sample_credit; /* refills until the learner looks again */
    hak_front front;        /* large blocks freed last */
    hak_growth growth[HAK_GROWTH_WAYS];
    uint32_t growth_next;
    uint64_t counters[HAK_HEAP_COUNTER_COUNT];
    _Atomic uint32_t state; /* hak_heap_state */
    struct hak_heap *all_next;
    struct hak_heap *abandoned_next;
    alignas(HAK_CACHE_LINE) hak_slab *_Atomic pending; /* slabs with remote frees */
} hak_heap;

extern hak_heap hak_heap_none;    /* every thread's before its first call: all bins empty, never written */
extern hak_heap hak_heap_shared;  /* for threads that have ended, under hak_shared_lock */
extern hak_heap hak_heap_tracked; /* blocks whose free the learner wants to see, under hak_shared_lock */
extern HAK_TLS_IE hak_heap *hak_tls_heap;
extern hak_lock hak_shared_lock;
extern hak_lock hak_heaps_lock;

/* How the calls of a class are served; fixed at start. */
typedef enum hak_route {
    HAK_ROUTE_LIST,   /* by the thread's list, unseen */
    HAK_ROUTE_POLICY, /* looked up in the policy */
    HAK_ROUTE_EVERY,  /* research: header and context on every call */
} hak_route;
extern uint8_t hak_class_routes[HAK_CLASS_MAX];

HAK_INLINE void hak_heap_count(hak_heap *heap, hak_heap_counter counter, uint64_t by)
{
    heap->counters[counter] += by;
}

/* The calling thread's heap, made on first use; NULL when the thread has already left its heap (then use
 * hak_heap_shared under its lock) or there is no memory for one. */
hak_heap *hak_heap_get(void);

/* A block of the class, key cleared; NULL with ENOMEM. The caller owns the heap. */
void *hak_heap_take(hak_heap *heap, hak_place place, unsigned class_index);

/* The same from hak_heap_shared (tracked: hak_heap_tracked), which any thread may do. */
void *hak_heap_take_shared(bool tracked, unsigned class_index);

/* Slow half of free for a block of the heap's own slab, whose bin is out of room. */
void hak_heap_put(hak_heap *heap, hak_slab *slab, hak_block *block);

/* free for a slab of another heap. Any thread. `heap`: the caller's, for its counters, or NULL. */
void hak_heap_put_remote(hak_heap *heap, hak_slab *slab, hak_block *block);

/* True when the block is on one of its slab's lists of free blocks. Any thread; for a block that carries the
 * key of a free one: what other threads' lists say is only trusted together with it. */
bool hak_heap_holds(const hak_slab *slab, const hak_block *block);

/* The start of the block that `at` lies in, or NULL when it was never handed out. */
void *hak_slab_block_of(const hak_slab *slab, const void *at);

/* Empties lists and caches into slabs and pool. Owner only. */
void hak_heap_flush(hak_heap *heap);
void hak_heap_flush_shared(void); /* the heaps that are no thread's; any thread */

/* heap_list.c: which heaps exist. */
hak_heap *hak_heap_new(void);        /* a left heap, else a fresh one; NULL with ENOMEM */
void hak_heap_leave(hak_heap *heap); /* the thread ends */
/* A slab that a left heap has blocks in, now owned by `mine`, not linked; or NULL. */
hak_slab *hak_heap_adopt(hak_heap *mine, hak_place place, unsigned class_index);
void hak_heap_drain_abandoned(hak_heap *heap); /* after remote frees to a heap without thread */
void hak_heap_init_bins(hak_heap *heap, bool lists);
/* In a forked child, all locks held: true when there were other threads with a heap. */
bool hak_heap_lose_others(hak_heap *mine);
/* True when no other thread that runs has a heap. Momentarily right. */
bool hak_heap_alone(const hak_heap *mine);
/* True when the block carries the key of some heap: that of the slab's owner before it was adopted. */
bool hak_heap_any_key(const hak_block *block);
uint64_t hak_heap_counter_sum(hak_heap_counter counter);
void hak_heap_visit(void (*visit)(hak_heap *heap, void *context), void *context);

/* For heap_list.c: moves the blocks other threads freed home; the heap is the caller's, or locked. */
void hak_heap_drain(hak_heap *heap);
/* For heap_list.c: takes the slab out of its heap's partial list. */
void hak_slab_unlink(hak_heap *heap, hak_slab *slab);
/* For heap_list.c: the slab becomes the heap's own. */
void hak_slab_own(hak_heap *heap, hak_slab *slab);

#endif
