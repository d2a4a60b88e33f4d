/* superslab.h: 2 MiB regions cut into 64 KiB units, and the pool that hands out runs of units: to heaps as
 * slabs of equal blocks, to mid.c as page runs.
 *
 * A SuperSlab starts with its header and one hak_slab per unit; the first unit's blocks begin behind them.
 * The pool is global under one lock (HAK_RANK_POOL), taken once per slab, not per block. Freed units stay
 * resident ("dirty") up to a bound that follows the live bytes, then the longest idle ones are given back in
 * batches: so an idle process shrinks without any thread of ours and without a further call. One thread at a
 * time does that (HAK_RANK_PURGE), and lets the pool's lock go while the kernel works.
 * Sizes are units of 64 KiB unless they say bytes. */
#ifndef HAK_CORE_SUPERSLAB_H
#define HAK_CORE_SUPERSLAB_H

#include "core/base/types.h"
#include "core/lock.h"
#include "core/pagemap.h"
#include "core/size_class.h"

#define HAK_SUPERSLAB_BYTES  HAK_CHUNK_BYTES
#define HAK_UNITS            32 /* per SuperSlab */
#define HAK_UNIT_SHIFT       16
#define HAK_FIRST_UNIT_START 8192 /* where unit 0's blocks begin: OS page aligned, behind the header */
#define HAK_RUN_MAX_UNITS    (HAK_UNITS - 1)

struct hak_heap;

typedef struct hak_block {
    struct hak_block *next;
    uintptr_t key; /* of a free block: the owning heap, so that a second free is noticed */
} hak_block;

typedef enum hak_slab_kind {
    HAK_SLAB_FREE = 0,
    HAK_SLAB_BLOCKS = 1, /* first unit of a slab */
    HAK_SLAB_MID = 2,    /* first unit of a page run in use */
    HAK_SLAB_MID_CACHED = 3,
    HAK_SLAB_REST = 4, /* further unit of a slab or a run: unit_first tells whose */
} hak_slab_kind;

enum { HAK_SLAB_HEADERED = 1 }; /* blocks carry research.h headers */

/* One unit. In the further units of a slab, owner and unit_first are copies. free's fast path reads none of
 * it (pagemap.h). The first line changes seldom: other threads read it for each block they free. */
typedef struct hak_slab {
    struct hak_heap *_Atomic owner; /* NULL: not a slab */
    uint32_t bin;                   /* place of the owner's list for these blocks (heap.h) */
    uint32_t block_bytes;
    char *start;
    uint64_t reciprocal;
    size_t mid_bytes;  /* requested bytes of a mid run */
    uint16_t capacity; /* blocks */
    uint8_t class_index;
    uint8_t kind; /* hak_slab_kind */
    uint8_t unit_first;
    uint8_t units;
    uint8_t lifetime; /* hak_site_lifetime; 3: freed by others */
    uint8_t flags;
    uint32_t blocks_bytes; /* all of them */
    struct hak_slab *pending_next;

    /* Free blocks pushed by other threads: address | count << 48 | queued. queued: the slab is on its owner's
     * pending stack, or about to be. */
    alignas(HAK_CACHE_LINE) _Atomic uint64_t remote;
    hak_block *local; /* blocks at home; owner only, as all below */
    uint32_t used;    /* blocks not at home: live, in a thread list, or on their way from another thread */
    uint16_t fresh;   /* blocks from here on were never used */
    uint8_t linked;   /* in its heap's partial list */
    uint8_t reserved;
    struct hak_slab *prev; /* partial list; mid cache */
    struct hak_slab *next;
    uint64_t reserved2[3];
} hak_slab;

_Static_assert(sizeof(hak_slab) == 128, "two cache lines");

typedef struct hak_superslab {
    uint32_t free_units;  /* bit per unit */
    uint32_t dirty_units; /* subset of free_units: resident, content unknown */
    uint32_t fit;         /* what first_fit.h knows of the free ones */
    uint32_t slot;        /* in first_fit.h */
    bool dirty_linked;
    uint64_t dirty_since_ns;
    struct hak_superslab *all_prev, *all_next;     /* every SuperSlab */
    struct hak_superslab *dirty_prev, *dirty_next; /* longest idle first */
    bool bulk; /* with huge pages, for slabs of classes that fill what they take */
    alignas(128) hak_slab slabs[HAK_UNITS];
} hak_superslab;

_Static_assert(sizeof(hak_superslab) <= HAK_FIRST_UNIT_START, "unit 0 begins behind the header");

typedef struct hak_pool_info {
    size_t superslabs;
    size_t used_bytes;
    size_t dirty_bytes;
} hak_pool_info;

extern hak_lock hak_pool_lock;
extern hak_lock hak_purge_lock; /* fork waits for who gives back */

HAK_INLINE hak_superslab *hak_superslab_of(const void *at)
{
    return (hak_superslab *)((uintptr_t)at & ~(HAK_SUPERSLAB_BYTES - 1));
}

/* The unit's own entry; `at` lies in a SuperSlab. */
HAK_INLINE hak_slab *hak_slab_at(const void *at)
{
    return &hak_superslab_of(at)->slabs[(uintptr_t)at >> HAK_UNIT_SHIFT & (HAK_UNITS - 1)];
}

/* The first unit's entry of the slab or run that `at` lies in. */
HAK_INLINE hak_slab *hak_slab_of(const void *at)
{
    hak_superslab *super = hak_superslab_of(at);
    return &super->slabs[super->slabs[(uintptr_t)at >> HAK_UNIT_SHIFT & (HAK_UNITS - 1)].unit_first];
}

HAK_INLINE char *hak_unit_address(const hak_superslab *super, unsigned unit)
{
    return (char *)super + unit * HAK_UNIT_BYTES + (unit == 0 ? HAK_FIRST_UNIT_START : 0);
}

/* What a run of units is for. */
typedef enum hak_run_use {
    HAK_RUN_MID,  /* a page run, of which a program may write the ends only */
    HAK_RUN_SLAB, /* the first slabs of a class, perhaps the only ones */
    HAK_RUN_BULK, /* one more of many: all of it will be used */
} hak_run_use;

/* A run of units (1 … HAK_RUN_MAX_UNITS), kind FREE, to be filled in by the caller; NULL with ENOMEM. The
 * entry's unit_first, units and start are set, the same in the further entries. Only single units for slabs
 * may be unit 0. *zeroed: the bytes are known to be zero. */
hak_slab *hak_pool_take(unsigned units, hak_run_use use, bool *zeroed);

/* Gives a run back; clears its entries. */
void hak_pool_give(hak_slab *run);

/* Grows a run in place to `units`; false when what follows is taken. */
bool hak_pool_grow(hak_slab *run, unsigned units);

/* Gives the tail of a run back, keeping `units`. */
void hak_pool_shrink(hak_slab *run, unsigned units);

/* Gives all free memory back to the system now (malloc_trim). Returns the bytes. */
size_t hak_pool_trim(void);

hak_pool_info hak_pool_info_get(void);

/* Calls `visit` for every SuperSlab, the pool locked. */
void hak_pool_visit(void (*visit)(hak_superslab *super, void *context), void *context);

/* Pool part of hakmem_check: number of broken invariants, each reported through `fault`. */
unsigned hak_pool_check(void (*fault)(const char *text, const void *at));

#endif
