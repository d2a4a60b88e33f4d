/* chunks.c: see chunks.h. A table of extents, each with a bit per chunk. */
#include "core/chunks.h"

#include <errno.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/base/print.h"
#include "core/pagemap.h"
#include "core/stats.h"

#define EXTENTS       1024
#define EXTENT_CHUNKS 256 /* at most: 512 MiB */
#define EXTENT_FIRST  4   /* 8 MiB: what a small program reserves */
#define GROW_SHARE    4   /* an extent is this part of what is mapped */
#define WORD_BITS     64
#define WORDS         (EXTENT_CHUNKS / WORD_BITS)

/* A chunk is free (mapped, all zero bytes), used, or unmapped again: then another extent may lie there. */
typedef struct extent {
    char *start;
    uint32_t count; /* chunks; 0: no extent */
    uint32_t used_count;
    uint32_t free_count;
    uint64_t used[WORDS];
    uint64_t free[WORDS];
    uint64_t huge[WORDS]; /* advised to use huge pages; the others not to */
} extent;

static extent extents[EXTENTS];
static unsigned extent_end; /* no extent from here on */
static size_t mapped_chunks;

static void *chunk_at(const extent *e, unsigned index)
{
    return e->start + index * HAK_CHUNK_BYTES;
}

static bool bit_of(const uint64_t *bits, unsigned index)
{
    return (bits[index / WORD_BITS] >> index % WORD_BITS & 1) != 0;
}

static void flip(uint64_t *bits, unsigned index)
{
    bits[index / WORD_BITS] ^= UINT64_C(1) << index % WORD_BITS;
}

static extent *extent_new(hak_chunk_pages pages)
{
    unsigned slot = 0;
    while (slot < extent_end && extents[slot].count != 0)
        slot++;
    if (slot == EXTENTS) {
        errno = ENOMEM;
        return NULL;
    }
    size_t count = mapped_chunks / GROW_SHARE;
    count = count < EXTENT_FIRST ? EXTENT_FIRST : count > EXTENT_CHUNKS ? EXTENT_CHUNKS : count;
    char *start = NULL;
    while (start == NULL && count != 0) {
        start = hak_os_reserve(count * HAK_CHUNK_BYTES, HAK_CHUNK_BYTES);
        if (start != NULL && hak_page_map_covers(start, count))
            break;
        if (start != NULL)
            hak_os_unmap(start, count * HAK_CHUNK_BYTES);
        start = NULL;
        count /= 2;
    }
    if (start == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    extent *e = &extents[slot];
    *e = (extent){.start = start, .count = (uint32_t)count, .free_count = (uint32_t)count};
    for (unsigned i = 0; i < count; i++)
        flip(e->free, i);
    if (pages == HAK_PAGES_HUGE)
        memcpy(e->huge, e->free, sizeof e->huge);
    if (pages != HAK_PAGES_SYSTEM)
        hak_os_advise_huge(start, count * HAK_CHUNK_BYTES, pages == HAK_PAGES_HUGE);
    extent_end = slot == extent_end ? slot + 1 : extent_end;
    mapped_chunks += count;
    hak_count(HAK_COUNT_OS_MAP, 1);
    return e;
}

void *hak_chunk_take(hak_chunk_pages pages)
{
    extent *e = NULL;
    for (unsigned slot = 0; slot < extent_end && e == NULL; slot++)
        e = extents[slot].free_count != 0 ? &extents[slot] : NULL;
    if (e == NULL && (e = extent_new(pages)) == NULL)
        return NULL;
    unsigned index = 0;
    while (!bit_of(e->free, index))
        index++;
    flip(e->free, index);
    flip(e->used, index);
    e->free_count--;
    e->used_count++;
    if (pages != HAK_PAGES_SYSTEM && bit_of(e->huge, index) != (pages == HAK_PAGES_HUGE)) {
        flip(e->huge, index);
        hak_os_advise_huge(chunk_at(e, index), HAK_CHUNK_BYTES, pages == HAK_PAGES_HUGE);
    }
    return chunk_at(e, index);
}

/* Unmaps the free chunks of an extent, a call per run of them. */
static size_t unmap_free(extent *e)
{
    size_t unmapped = 0;
    for (unsigned from = 0, to; from < e->count; from = to + 1) {
        for (to = from; to < e->count && bit_of(e->free, to); to++)
            flip(e->free, to);
        if (to == from)
            continue;
        hak_os_unmap(chunk_at(e, from), (to - from) * HAK_CHUNK_BYTES);
        hak_count(HAK_COUNT_OS_UNMAP, 1);
        unmapped += to - from;
    }
    mapped_chunks -= unmapped;
    e->free_count = 0;
    if (e->used_count == 0)
        e->count = 0;
    return unmapped * HAK_CHUNK_BYTES;
}

/* The extent in which the chunk is used; NULL: none, it was never taken or is given twice. */
static extent *extent_of(const char *chunk, unsigned *index)
{
    for (unsigned slot = 0; slot < extent_end; slot++) {
        extent *e = &extents[slot];
        size_t distance = (size_t)(chunk - e->start) / HAK_CHUNK_BYTES;
        if (chunk < e->start || distance >= e->count || !bit_of(e->used, (unsigned)distance))
            continue;
        *index = (unsigned)distance;
        return e;
    }
    return NULL;
}

void hak_chunk_empty(void *chunk)
{
    if (!hak_os_purge(chunk, HAK_CHUNK_BYTES))
        memset(chunk, 0, HAK_CHUNK_BYTES); /* locked memory, or a filter: then it stays resident */
}

void hak_chunk_give(void *chunk)
{
    unsigned index;
    extent *e = extent_of(chunk, &index);
    hak_assert(e != NULL);
    flip(e->used, index);
    flip(e->free, index);
    e->used_count--;
    e->free_count++;
    if (e->used_count == 0)
        unmap_free(e);
}

size_t hak_chunk_release(void)
{
    size_t bytes = 0;
    for (unsigned slot = 0; slot < extent_end; slot++)
        bytes += unmap_free(&extents[slot]);
    return bytes;
}
