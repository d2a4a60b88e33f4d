/* large.h: blocks from large_min_bytes on, each its own mapping at a multiple of 2 MiB with its header in
 * front: the header is at (block - 1) rounded down to 2 MiB, for every alignment. The BigCache keeps freed
 * ones, by size class, up to a bound that follows the live bytes. Sizes are bytes. Any thread. */
#ifndef HAK_CORE_LARGE_H
#define HAK_CORE_LARGE_H

#include "core/base/types.h"
#include "core/lock.h"
#include "core/policy_format.h"

#define HAK_LARGE_MAGIC        UINT64_C(0x68616b2d6c617267)
#define HAK_LARGE_HEADER_BYTES 128
#define HAK_LARGE_ALIGN_BYTES  64 /* what every large block is aligned to */

typedef enum hak_large_state { HAK_LARGE_LIVE = 1, HAK_LARGE_CACHED = 2 } hak_large_state;
typedef enum hak_thermal { HAK_THERMAL_HOT, HAK_THERMAL_WARM, HAK_THERMAL_COLD } hak_thermal;

/* How one large block is to be treated. */
typedef struct hak_large_plan {
    uint8_t retention; /* hak_site_retention */
    uint8_t thp;       /* hak_site_thp */
    uint8_t mapped;    /* past the BigCache: map it now, unmap it when freed */
    uint8_t strategy;  /* the learner's own number, handed back on free; 0: none */
} hak_large_plan;

typedef struct hak_large {
    uint64_t magic;
    char *block;
    char *map; /* start of the mapping: this header's 2 MiB */
    size_t map_bytes;
    size_t bytes; /* requested */
    uint32_t state;
    uint16_t class_index;
    uint8_t huge;
    uint8_t headered; /* research.h header in front of what the program sees */
    hak_large_plan plan;
    uint32_t site;
    uint64_t freed_ns;
    struct hak_large *class_prev, *class_next; /* cached ones of a class, last freed first */
    struct hak_large *age_prev, *age_next;     /* all cached ones, to be evicted from the end */
} hak_large;

_Static_assert(sizeof(hak_large) <= HAK_LARGE_HEADER_BYTES, "the block begins behind the header");

typedef struct hak_large_info {
    size_t live_blocks;
    size_t live_bytes;
    size_t cached_bytes;
} hak_large_info;

/* NULL with ENOMEM. `align`: a power of two. */
void *hak_large_take(size_t bytes, size_t align, bool zero, const hak_large_plan *plan);

/* Header of the live block at `at`; NULL when there is none. Any value of `at`. *freed: it is cached. */
hak_large *hak_large_of(const void *at, bool *freed);

void hak_large_put(hak_large *large);

/* Resizes in place or by moving pages; the block's new place, or NULL when copying is the better way. */
void *hak_large_resize(hak_large *large, size_t bytes);

HAK_INLINE size_t hak_large_usable(const hak_large *large)
{
    return (size_t)(large->map + large->map_bytes - large->block);
}

void hak_large_unmap(hak_large *large); /* for bigcache.c */
hak_large_info hak_large_info_get(void);

/* bigcache.c */
extern hak_lock hak_bigcache_lock;
#define HAK_LARGE_CLASSES 160
unsigned hak_large_class(size_t bytes);             /* smallest class that holds it */
size_t hak_large_class_bytes(unsigned class_index); /* block bytes of the class */
hak_large *hak_bigcache_take(size_t bytes);         /* a cached block that fits, or NULL */
void hak_bigcache_put(hak_large *large, size_t live_bytes);
hak_thermal hak_bigcache_heat(unsigned class_index);
size_t hak_bigcache_bytes(void);
size_t hak_bigcache_trim(void);

#endif
