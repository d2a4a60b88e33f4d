/* heap.h: one thread's state: its lists of free blocks, its slabs, its cache of page runs.
 *
 * The fast paths (fast.h) touch only the first OS page of a heap, its window and the block. A bin is a list
 * of free blocks. Where a policy or a mode wants to see the calls of a class, that class's bin stays empty
 * for ever and the blocks live in one of its further bins, by place, which malloc's slow path alone takes
 * from; where it wants to see the frees, the slabs have no entry in the unit map: nobody tests a mode on the
 * fast path.
 *
 * A heap belongs to one thread. What other threads free of it they keep, a few of each class, if they take
 * such blocks themselves (hak_fast_keep); on a list a block carries the key of the list's heap, and it counts
 * as used by its slab, whosever that is. The rest, and what is left when a list is cut or the thread ends,
 * they hand to the owner, in one of two ways:
 *   - inbox, while the owner lives: a freer collects pointers to blocks of one owner in an outbox of its own
 *     heap, marks them as free, reserves as many slots of the owner's ring, fills them and counts them as
 *     posted. The owner takes what it finds when one of its lists is empty, and puts it onto its lists;
 *   - slab->remote, when the inbox is full, the owner has no thread, or the freer has no heap: the freer
 * links blocks of a slab and CASes slab->remote. The one whose CAS set the queued bit pushes the slab onto
 *     owner->pending. queued is cleared only by who popped the slab, and a slab with queued set is never
 * given back to the pool, so pending_next has one writer. A block on its way counts as used, so its slab
 * stays where it is. What pairs with what (tests/unit/core_remote_model.c and core_inbox_model.c explore
 * every interleaving):
 *   - inbox slot: the freer's release store of the block with the owner's acquire load: the block's mark, and
 *     what the freer last did with it;
 *   - inbox_head: the owner's release store, after it has emptied the slots, with the acquire load of a freer
 *     that reserves them again: a slot is filled only when it is empty;
 *   - slab->remote: the push's release CAS with the acquire exchange or CAS of the take: the links of the
 *     blocks, and what the freer last did with them;
 *   - heap->pending: the push's release CAS with the drain's acquire exchange: slab->pending_next;
 *   - slab->owner: the release store of whoever takes the slab over with the acquire load of push and drain:
 *     the new owner's heap. A push or post that still saw the old owner reaches the old one, and the next
 *     drain of that hands it on;
 *   - leaving: the state is stored, then posted and pending are read; a freer adds to posted, or puts the
 * slab on pending, then reads the state: all six seq_cst, so that one of the two sees the other and nothing
 *     stays where nobody looks. A slot that another freer has reserved and not filled yet ends a drain; that
 *     freer will read the state after it has posted.
 * Heaps are never unmapped: a stale owner pointer stays valid. A thread that ends leaves its heap; new
 * threads take whole heaps, running ones adopt single slabs, both under HAK_RANK_HEAPS. */
#ifndef HAK_CORE_HEAP_H
#define HAK_CORE_HEAP_H

#include "core/front.h"
#include "core/recall.h"
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
    HAK_HEAP_LOST,      /* its thread did not survive fork: not touched but by remote frees (heap_lost.c) */
    HAK_HEAP_SHARED,    /* no thread's: used under HAK_RANK_SHARED */
} hak_heap_state;

/* A block that realloc has moved, and how often in a row. */
typedef struct hak_growth {
    const void *block;
    uint32_t steps;
} hak_growth;
#define HAK_GROWTH_WAYS 4

/* A list of free blocks of one class, last in first out. */
typedef struct hak_bin {
    hak_block *head;
    int32_t room;    /* frees until the slow path is to look at the list's length */
    uint16_t limit;  /* blocks to keep, at most; 0: not used yet, or no lists */
    uint8_t flushed; /* blocks went home since the last refill */
    uint8_t calm;    /* looks in a row, up to a bound, that found no more than limit */
} hak_bin;

/* Blocks of other heaps, of one class, that are kept until the list of that class is empty. */
typedef struct hak_kept {
    hak_block *head;
    uint32_t count;
    uint32_t most; /* 0: none are wanted, the thread takes none of this class */
} hak_kept;
/* One of so many goes home all the same: a thread that is handed others' blocks once does not for ever free
 * them the slow way. */
#define HAK_KEEP_ALL_BUT 8

/* Blocks go home past a list that is full: as long as it begins with `head`, and `count` of them. */
typedef struct hak_bin_past {
    const hak_block *head;
    uint32_t count;
} hak_bin_past;

/* Blocks of another heap on their way home: so that several share the atomic operations, and nobody waits for
 * a block's cache line that the other thread has. */
#define HAK_OUTBOX_COUNT 32
typedef struct hak_outbox {
    struct hak_heap *owner; /* NULL: empty */
    hak_block *last;        /* put in; NULL: none */
    uint32_t count;
    int32_t room_bytes; /* until it is sent */
    hak_block *blocks[HAK_OUTBOX_COUNT];
} hak_outbox;

#define HAK_OUTBOXES    8    /* by owner */
#define HAK_INBOX_SLOTS 1024 /* a power of two */

/* Where a bin is in its heap, in steps of 8 bytes: what a byte can hold for the bins that malloc's fast path
 * takes from, and what the processor multiplies without a further instruction. Place 0 is a bin that never
 * has room: for addresses that are not the heap's own. */
#define HAK_BIN_STEP   8
#define HAK_DIRECT_MAX 1024 /* requests up to here find their bin by their bytes */

typedef struct hak_heap {
    alignas(HAK_OS_PAGE_BYTES) hak_bin nowhere; /* place 0: no list, no room */
    hak_bin bins[HAK_CLASS_MAX];                /* blocks of a class, for malloc's fast path */
    uint8_t bin_of[HAK_DIRECT_MAX + 1];         /* bytes -> place of the bin; as hak_class_bins */
    bool owns;                                  /* has a window of its own units behind it: a thread's heap */
    uint8_t places;                             /* bit per place that it had slabs of, ever */
    bool posts;                                 /* has used an outbox, ever */
    uint32_t empty_kept;                        /* slabs without a used block */
    uint32_t foreign_frees;                     /* of blocks of other heaps */
    uint32_t sample_credit;                     /* refills until the learner looks again */
    uint64_t granted;                           /* room given to bins so far; less what is left: fast frees */
    size_t grown_bytes;                         /* by which limits of bins exceed their first ones */
    _Atomic uint64_t counters[HAK_HEAP_COUNTER_COUNT]; /* written by the owner */
    uint8_t leader[HAK_CLASS_MAX]; /* class whose list serves the requests of a class: at last its own */
    uint16_t shared_bytes[HAK_CLASS_MAX];           /* about what a class has taken from another's list */
    uint8_t slabs_taken[HAK_CLASS_MAX];             /* by class, as far as it matters (slab_new) */
    alignas(HAK_CACHE_LINE) _Atomic uint32_t state; /* hak_heap_state; a line that freers only read */
    uint32_t number;                                /* of the heap, for outboxes */
    struct hak_heap *all_next;
    struct hak_heap *abandoned_next;
    _Atomic uint64_t inbox_head;                       /* slots emptied so far; by the owner */
    alignas(HAK_CACHE_LINE) hak_slab *_Atomic pending; /* slabs with remote frees */
    _Atomic uint64_t inbox_tail;                       /* slots reserved so far; by freers */
    _Atomic uint64_t inbox_posted;                     /* slots filled so far */
    /* With partial's first row all that a small program or a short thread touches of its heap: two OS pages.
     * What lies behind is looked at only where `places` or `posts` say so. */
    alignas(HAK_CACHE_LINE) hak_front front;    /* large blocks freed last */
    hak_slab *mid_cache[HAK_RUN_MAX_UNITS + 1]; /* by units, last in first out */
    size_t mid_cache_bytes;
    hak_growth growth[HAK_GROWTH_WAYS];
    uint32_t growth_next;
    hak_kept kept[HAK_CLASS_MAX];                      /* beside bins */
    hak_slab *partial[HAK_PLACE_COUNT][HAK_CLASS_MAX]; /* slabs with blocks to give */
    hak_bin placed[HAK_PLACE_COUNT][HAK_CLASS_MAX];    /* bins of the classes whose calls are seen */
    hak_bin_past past[HAK_CLASS_MAX], placed_past[HAK_PLACE_COUNT][HAK_CLASS_MAX]; /* of bins and placed */
    hak_recall_table recall;           /* calls the policy was consulted about */
    hak_outbox outboxes[HAK_OUTBOXES]; /* for blocks of other heaps */
    alignas(HAK_CACHE_LINE) hak_block *_Atomic inbox[HAK_INBOX_SLOTS];
} hak_heap;

_Static_assert(offsetof(hak_heap, bins[HAK_CLASS_MAX]) / HAK_BIN_STEP <= 256,
               "the place of a bin fits in a byte");

/* Behind a thread's heap: for each 64 KiB of a window of the address space, the place of the bin that blocks
 * there go to when they are the heap's own; else 0. So free learns from one load that an address is one of
 * ours, that the block is the calling thread's, and which list it goes to. Written by the owner of the heap.
 * Only what is used of it is touched: 4 KiB for 128 MiB of blocks. What the kernel maps outside of the window
 * is served by free's slow path, which needs none of this. */
#define HAK_WINDOW_SHIFT HAK_UNIT_SHIFT
#define HAK_WINDOW_UNITS ((size_t)1 << 18) /* 16 GiB */

typedef struct hak_thread_heap {
    hak_heap heap;
    uint16_t place_of[HAK_WINDOW_UNITS];
} hak_thread_heap;

/* Start of the window: around the first slab, fixed by it. A plain word: a reader needs the window only for
 * blocks that were handed out after it was fixed. */
extern HAK_HIDDEN uintptr_t hak_window;

/* The compiler is to compute the value as it is written; each use is worth an instruction on a path of
 * twenty. */
#define HAK_AS_WRITTEN(value) __asm__("" : "+r"(value))

/* True when something was posted that the owner has not taken. */
HAK_INLINE bool hak_inbox_filled(const hak_heap *heap, memory_order order)
{
    return atomic_load_explicit(&heap->inbox_posted, order) !=
           atomic_load_explicit(&heap->inbox_head, memory_order_relaxed);
}

/* Number of the unit in the window, or HAK_WINDOW_UNITS and more. An address that is no multiple of 16 is
 * outside: the rotation brings its low bits on top. */
HAK_INLINE uintptr_t hak_window_unit(const void *at)
{
    uintptr_t distance = (uintptr_t)at - hak_window;
    uintptr_t unit = (distance >> 4 | distance << 60) >> (HAK_WINDOW_SHIFT - 4);
    HAK_AS_WRITTEN(unit);
    return unit;
}

/* (bytes + 15) / 16 -> place of the bin */
extern HAK_HIDDEN uint8_t hak_class_bins[HAK_CLASS_SLOTS];

/* Every thread's before its first call and after its end: all bins empty, nothing its own. */
extern HAK_HIDDEN hak_thread_heap hak_no_heap;
#define hak_heap_none hak_no_heap.heap
extern _Atomic uint64_t hak_heapless_frees; /* remote frees by threads without a heap */
extern hak_heap hak_heap_shared;            /* for threads that have ended, under hak_shared_lock */
/* For blocks whose free the learner wants to see, under hak_shared_lock. */
extern HAK_HIDDEN hak_heap hak_heap_tracked;
extern HAK_HIDDEN HAK_TLS_IE hak_heap *hak_tls_heap;
extern hak_lock hak_shared_lock;
extern hak_lock hak_heaps_lock;

/* How the calls of a class are served; fixed at start. */
typedef enum hak_route {
    HAK_ROUTE_LIST,   /* by the thread's list, unseen */
    HAK_ROUTE_POLICY, /* looked up in the policy */
    HAK_ROUTE_EVERY,  /* research: header and context on every call */
} hak_route;
extern uint8_t hak_class_routes[HAK_CLASS_MAX];

HAK_INLINE hak_bin *hak_bin_at(hak_heap *heap, size_t place)
{
    return (hak_bin *)((char *)heap + place * HAK_BIN_STEP);
}

/* Other threads read the counters while their owner writes them: whole words, momentarily stale. */
HAK_INLINE void hak_heap_count(hak_heap *heap, hak_heap_counter counter, uint64_t by)
{
    uint64_t now = atomic_load_explicit(&heap->counters[counter], memory_order_relaxed);
    atomic_store_explicit(&heap->counters[counter], now + by, memory_order_relaxed);
}

/* The calling thread's heap, made on first use; NULL when the thread has already left its heap (then use
 * hak_heap_shared under its lock) or there is no memory for one. */
hak_heap *hak_heap_get(void);

/* The same for a thread that has only freed blocks of others so far: NULL at first, until it seems worth it.
 */
hak_heap *hak_heap_get_to_free(void);

/* heap_share.c: sizes between two powers of two share the list of the largest one at first: a small program
 * or a short thread has few blocks of each size, and each list of its own has a partly used OS page. Once for
 * a new heap. */
void hak_heap_share(hak_heap *heap);

/* The class that serves a request of `class_index`, whose list was found empty; owner only. */
unsigned hak_heap_class(hak_heap *heap, unsigned class_index);

/* A block of the class, key cleared; NULL with ENOMEM. The caller owns the heap. */
void *hak_heap_take(hak_heap *heap, hak_place place, unsigned class_index);

/* The same from hak_heap_shared (tracked: hak_heap_tracked), which any thread may do. */
void *hak_heap_take_shared(bool tracked, unsigned class_index);

/* Slow half of free for a block of the heap's own slab, whose bin is out of room. */
void hak_heap_put(hak_heap *heap, hak_slab *slab, hak_block *block);

/* free for a slab of another heap. Any thread. `heap`: the caller's, for its counters, or NULL. */
void hak_heap_put_remote(hak_heap *heap, hak_slab *slab, hak_block *block);

/* True when the block carries the key of a free block and is on one of its slab's lists, or in a list or
 * outbox of the caller's heap. Any thread; what other threads' lists say is trusted only with the key. */
bool hak_heap_holds(const hak_slab *slab, const hak_block *block);

/* Whether a block that was handed out once begins there; `at` lies in the slab. */
HAK_INLINE bool hak_slab_begins(const hak_slab *slab, const void *at)
{
    size_t offset = (size_t)((const char *)at - slab->start); /* in front of the first one: a large number */
    uint32_t number = hak_class_quotient(slab->reciprocal, offset);
    return number < slab->fresh && (size_t)number * slab->block_bytes == offset;
}

/* The start of the block that `at` lies in, or NULL when it was never handed out. */
void *hak_slab_block_of(const hak_slab *slab, const void *at);

/* True when a block of the slab begins at `at`, handed out or not. Any thread: it reads what changes seldom.
 * Of the products of a number and the reciprocal of another those of its multiples are the least ones, modulo
 * 2^64 (Lemire, Kaser, Kurz 2019: Faster remainder by direct computation). */
HAK_INLINE bool hak_slab_may_begin(const hak_slab *slab, const void *at)
{
    size_t offset = (size_t)((const char *)at - slab->start); /* in front of the first one: a large number */
    return offset < slab->blocks_bytes && slab->reciprocal * offset < slab->reciprocal;
}

/* Empties lists and caches into slabs and pool. Owner only. */
void hak_heap_flush(hak_heap *heap);
void hak_heap_flush_shared(void); /* the heaps that are no thread's; any thread */

/* heap_list.c: which heaps exist. */
hak_heap *hak_heap_new(void);        /* a left heap, else a fresh one; NULL with ENOMEM */
void hak_heap_leave(hak_heap *heap); /* the thread ends */
/* A slab that a left heap has blocks in, now owned by `mine`, not linked; or NULL. */
hak_slab *hak_heap_adopt(hak_heap *mine, hak_place place, unsigned class_index);
void hak_heap_drain_abandoned(hak_heap *heap); /* after remote frees to a heap without thread */
void hak_heap_init(void);                      /* once, after the classes are known */
/* In a forked child, all locks held: true when there were other threads with a heap. */
bool hak_heap_lose_others(hak_heap *mine);
/* True when no other thread that runs has a heap. Momentarily right. */
bool hak_heap_alone(const hak_heap *mine);
/* True when the block carries the key of some heap: that of the slab's owner before it was adopted. */
bool hak_heap_any_key(const hak_block *block);
bool hak_heap_any_key_locked(const hak_block *block); /* the same under hak_heaps_lock */
/* heap_lost.c, under hak_heaps_lock: lost heaps, linked by abandoned_next, become left ones. */
void hak_heap_recover(hak_heap *lost);
uint64_t hak_heap_counter_sum(hak_heap_counter counter);
void hak_heap_visit(void (*visit)(hak_heap *heap, void *context), void *context);

/* heap_remote.c; the heap is the caller's, or locked. */
/* Ends the process when the block, which carries the key of a free one, is one. */
void hak_heap_refuse_free(const hak_slab *slab, const hak_block *block);
void hak_heap_drain(hak_heap *heap);       /* the blocks that other threads freed go home */
void hak_heap_empty_inbox(hak_heap *heap); /* what is in the inbox goes onto the lists; owner only */
/* In a forked child: slots may be reserved by threads that are gone. */
void hak_heap_repack_inbox(hak_heap *heap);
/* There, all pending stacks empty: nobody may know of what is on the slab's remote list. */
void hak_slab_requeue(hak_slab *slab);
void hak_heap_send_outboxes(hak_heap *heap);
/* Splices what other threads freed into the slab's local list and returns their count. `popped`: the caller
 * took the slab off a pending stack, so the queued bit is its to clear. */
uint32_t hak_slab_take_remote(hak_slab *slab, bool popped);
/* True while the slab is on a pending stack, or about to be pushed: it must not go back to the pool. */
bool hak_slab_queued(const hak_slab *slab);

/* Between heap.c, heap_list.c and heap_remote.c; owner only. */
_Noreturn void hak_heap_corrupted(const void *at);     /* ends the process: a free list was written over */
void hak_slab_link(hak_heap *heap, hak_slab *slab);    /* into its heap's partial list */
void hak_slab_unlink(hak_heap *heap, hak_slab *slab);  /* and out of it */
void hak_slab_emptied(hak_heap *heap, hak_slab *slab); /* all blocks are home: kept, or given back */
void hak_heap_put_home(hak_heap *heap, hak_slab *slab, hak_block *block); /* past the lists */
/* For heap_list.c: the slab becomes the heap's own, and is no longer. */
void hak_slab_own(hak_heap *heap, hak_slab *slab);
void hak_slab_disown(hak_heap *heap, const hak_slab *slab);

#endif
