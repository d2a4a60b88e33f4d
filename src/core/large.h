/* large.h: blocks from large_min_bytes on. With the BigCache they are spans of its regions (span.h), to
 * mmap_min_bytes; else each is its own mapping at a multiple of 2 MiB with its descriptor in front: that is
 * at (block - 1) rounded down to 2 MiB, for every alignment. Sizes are bytes. Any thread. */
#ifndef HAK_CORE_LARGE_H
#define HAK_CORE_LARGE_H

#include "core/base/types.h"
#include "core/lock.h"
#include "core/policy_format.h"

#define HAK_LARGE_MAGIC        UINT64_C(0x68616b2d6c617267)
#define HAK_LARGE_HEADER_BYTES 192 /* in front of a block: ours, and behind it RESEARCH's */
#define HAK_LARGE_ALIGN_BYTES  64  /* what every large block is aligned to */

typedef enum hak_large_state {
    HAK_LARGE_NONE,
    HAK_LARGE_LIVE,
    HAK_LARGE_CACHED,  /* freed, in a thread's front */
    HAK_LARGE_FREE,    /* a free span */
    HAK_LARGE_MERGED,  /* began a block once and lies in another span now */
    HAK_LARGE_PURGING, /* a free span that is in no list while it is given back */
} hak_large_state;

typedef enum hak_thermal { HAK_THERMAL_HOT, HAK_THERMAL_WARM, HAK_THERMAL_COLD } hak_thermal;

/* How one large block is to be treated. */
typedef struct hak_large_plan {
    uint8_t retention; /* hak_site_retention */
    uint8_t thp;       /* hak_site_thp */
    uint8_t mapped;    /* past the BigCache: map it now, unmap it when freed */
    uint8_t strategy;  /* the learner's own number, handed back on free; 0: none */
} hak_large_plan;

typedef struct hak_large {
    char *block;
    size_t bytes;      /* requested */
    size_t room_bytes; /* that the program may use */
    uint32_t state;    /* hak_large_state */
    uint32_t units;    /* of a span; 0: an own mapping */
    hak_large_plan plan;
    uint16_t class_index;
    uint8_t region;                /* of a span */
    uint8_t huge;                  /* advice given: 0 none, 1 small pages, 2 huge ones */
    uint8_t growing;               /* has room behind it: units beyond room_bytes were not handed out yet */
    uint32_t dirty_units;          /* of a free span */
    size_t live_bytes;             /* by which it is in the sum of live bytes */
    struct hak_large *prev, *next; /* free spans of a length */
    struct hak_large *age_prev, *age_next; /* free dirty spans, older and newer */
    uint64_t magic;                        /* of an own mapping, as below */
    char *map;                             /* start of the mapping: this descriptor's 2 MiB */
    size_t map_bytes;
} hak_large;

_Static_assert(sizeof(hak_large) <= HAK_LARGE_HEADER_BYTES, "the block begins behind the header");

typedef struct hak_large_info {
    size_t live_blocks;
    size_t live_bytes;
    size_t cached_bytes;
} hak_large_info;

/* NULL with ENOMEM. `align`: a power of two. */
void *hak_large_take(size_t bytes, size_t align, bool zero, const hak_large_plan *plan);

/* A block that was grown before and will be again: it has room behind it. NULL: there is none for it, or the
 * BigCache is off. */
void *hak_large_take_growing(size_t bytes);

/* Descriptor of the live block at `at`; NULL when there is none. Any value of `at`. *freed: it was one. */
hak_large *hak_large_of(const void *at, bool *freed);

void hak_large_put(hak_large *large);

/* Resizes in place a growing block that has the room at hand; false: hak_large_resize, if it is one at all.
 * `at`: any value, in a chunk of a region. */
bool hak_large_grow_here(const void *at, size_t bytes);

/* Resizes in place or by moving pages; the block's new place, or NULL when copying is the better way. */
void *hak_large_resize(hak_large *large, size_t bytes);

HAK_INLINE size_t hak_large_usable(const hak_large *large)
{
    return large->room_bytes;
}

hak_large_info hak_large_info_get(void);

/* Looks whether a block that lies in a region is densely written. True once: huge pages have been switched on
 * because of it. */
bool hak_large_look(const char *block, size_t bytes);

/* Adds to the sums of what is live; negative: takes away. */
void hak_large_live(ptrdiff_t blocks, ptrdiff_t bytes);
size_t hak_large_live_bytes(void);

/* bigcache.c */
extern hak_lock hak_bigcache_lock;
#define HAK_LARGE_CLASSES 160
unsigned hak_large_class(size_t bytes); /* of sizes: eight per doubling */
hak_large *hak_bigcache_take(size_t bytes, bool zero, bool growing, const hak_large_plan *plan);
void hak_bigcache_put(hak_large *large);
bool hak_bigcache_grow(hak_large *large, size_t bytes); /* in place */
void hak_bigcache_shrink(hak_large *large, size_t bytes);
void hak_bigcache_emptied(hak_large *large, size_t moved_bytes); /* frees it; those pages went elsewhere */
size_t hak_bigcache_bytes(void);
size_t hak_bigcache_trim(void);

#endif
