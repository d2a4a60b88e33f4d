/* span.h: where the blocks of the BigCache lie: spans of 64 KiB units in regions of address space, free ones
 * merged with their neighbours. What a block leaves resident serves blocks of any other size, in part or
 * joined with what is next to it, so nothing is mapped, faulted in and unmapped again and again.
 *
 * Per region one descriptor a unit, apart from the blocks. Of a free span it is known which units may be
 * resident ("dirty"); the others read as zero. Free dirty spans wait in the order of their age to be purged.
 * Every function: the caller holds hak_bigcache_lock unless it says otherwise. Sizes are units unless they
 * say bytes. */
#ifndef HAK_CORE_SPAN_H
#define HAK_CORE_SPAN_H

#include "core/large.h"
#include "core/options.h"
#include "core/pagemap.h"
#include "core/size_class.h"

#define HAK_REGION_MAX_UNITS 4096 /* 256 MiB */
#define HAK_CHUNK_UNITS      (HAK_CHUNK_BYTES / HAK_UNIT_BYTES)
#define HAK_SPAN_MAX_UNITS   (HAK_REGION_MAX_UNITS / 2)

typedef struct hak_region {
    char *start;
    uint32_t units;
    uint32_t used_units;
    bool huge;                                         /* advised */
    _Atomic uint64_t dirty[HAK_REGION_MAX_UNITS / 64]; /* bit per unit */
    uint64_t
        small[HAK_REGION_MAX_UNITS / HAK_CHUNK_UNITS / 64]; /* chunks with small pages from before that */
    uint16_t first_of[HAK_REGION_MAX_UNITS];                /* at the last unit of each span: its first one */
    hak_large spans[HAK_REGION_MAX_UNITS];                  /* at the first unit of each span */
} hak_region;

HAK_INLINE uint32_t hak_units_for(size_t bytes)
{
    return (uint32_t)((bytes + HAK_UNIT_BYTES - 1) / HAK_UNIT_BYTES);
}

/* In RESEARCH a block begins behind room for its header, else at the start of its span. */
HAK_INLINE size_t hak_span_lead(void)
{
    return hak_feature_on(HAK_FEATURE_HEADERS) ? HAK_LARGE_HEADER_BYTES : 0;
}

extern hak_region *hak_regions[HAK_REGION_COUNT];

/* The region that `at` lies in, which is in a chunk of that kind. Without the lock. */
HAK_INLINE hak_region *hak_region_of(hak_chunk_kind kind)
{
    return hak_regions[(unsigned)kind - HAK_CHUNK_REGION];
}

/* A span of that many units, LIVE, units set, block at its start; NULL where no region can be had. growing:
 * placed where it has room to grow. *dirty: how many of its units are not known to be zero. */
hak_large *hak_span_take(uint32_t units, bool growing, uint32_t *dirty);

/* Zeroes what is not known to be zero of the span's first bytes. Without the lock: the span is the caller's.
 */
void hak_span_zero(hak_large *span, size_t bytes);

/* Frees the span; its first reach_bytes may be resident. newest: to be purged after the others. */
void hak_span_give(hak_large *span, size_t reach_bytes, bool newest);

/* Takes units behind the span, `least` of them or up to `most`; false when fewer are free. *dirty as above.
 */
bool hak_span_grow(hak_large *span, uint32_t least, uint32_t most, uint32_t *dirty);

/* Frees all but the first `units`. */
void hak_span_shrink(hak_large *span, uint32_t units, size_t reach_bytes, bool newest);

/* The pages of the span's first `units` went elsewhere: they read as zero. */
void hak_span_emptied(hak_large *span, size_t units);

/* Purges what is longest free until `keep` dirty units are left; returns the bytes. Takes the lock itself and
 * lets it go while the kernel works. */
size_t hak_span_purge(uint32_t keep);

uint32_t hak_span_idle(void); /* dirty units that are free */

/* Unmaps the regions without a used unit. Returns the bytes. */
size_t hak_span_release(void);

/* The program touches its large blocks densely: regions use huge pages from now on. */
void hak_span_use_huge(void);

/* Number of broken invariants. Takes the lock itself. */
unsigned hak_span_check(void (*fault)(const char *text, const void *at));

#endif
