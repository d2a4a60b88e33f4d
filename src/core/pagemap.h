/* pagemap.h: what lies in each 2 MiB of the address space: one byte, so that any pointer a program hands in
 * is recognised before it is dereferenced.
 *
 * The map covers 47 bits with 64 MiB of untouched .bss: 4 KiB of it are resident per 8 GiB of heap. Only
 * these 4 KiB are writable: the rest would count against RLIMIT_DATA. Written under the lock of whoever owns
 * the region, before the first block of it is handed out and after the last one came home; read by any thread
 * without synchronisation (a racing reader is a program that frees what it does not own). */
#ifndef HAK_CORE_PAGEMAP_H
#define HAK_CORE_PAGEMAP_H

#include "core/base/types.h"

#define HAK_CHUNK_BYTES ((size_t)2 << 20)
#define HAK_CHUNK_SHIFT 21
#define HAK_MAP_CHUNKS  ((size_t)1 << (47 - HAK_CHUNK_SHIFT))

typedef enum hak_chunk_kind {
    HAK_CHUNK_FOREIGN = 0,
    HAK_CHUNK_SUPERSLAB = 1,
    HAK_CHUNK_LARGE = 2,   /* the chunk that holds the header of a large block */
    HAK_CHUNK_PLAIN = 3,   /* MINIMAL's heap */
    HAK_CHUNK_REGION = 16, /* and above: that region's (span.h) */
    HAK_CHUNK_KINDS = 256,
} hak_chunk_kind;

#define HAK_REGION_COUNT (HAK_CHUNK_KINDS - HAK_CHUNK_REGION)

extern uint8_t hak_page_map[HAK_MAP_CHUNKS];

/* The kind at an address; any value of `at` is allowed. */
HAK_INLINE hak_chunk_kind hak_page_map_kind(const void *at)
{
    uintptr_t chunk = (uintptr_t)at >> HAK_CHUNK_SHIFT;
    return chunk < HAK_MAP_CHUNKS ? (hak_chunk_kind)hak_page_map[chunk] : HAK_CHUNK_FOREIGN;
}

/* Makes the map ready for [at, at + chunk_count * 2 MiB); false when it lies outside of it or the kernel
 * refuses: then no block may be there. Any thread. */
bool hak_page_map_covers(const void *at, size_t chunk_count);

/* [at, at + chunk_count * 2 MiB) is of that kind; `at` at a multiple of 2 MiB, covered. */
void hak_page_map_set(const void *at, size_t chunk_count, hak_chunk_kind kind);

/* Once at start: makes the map read-only and keeps huge pages away from it. */
void hak_page_map_init(void);

#endif
