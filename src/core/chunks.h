/* chunks.h: 2 MiB chunks for the pool, cut from larger mappings ("extents"), so that a process has one
 * mapping where it would have dozens. An extent is as large as a quarter of what is mapped, smaller where a
 * limit wants it. A chunk given back is purged and kept for the next one; an extent without a used chunk is
 * unmapped. The caller holds HAK_RANK_POOL for every function. Never allocates from malloc. */
#ifndef HAK_CORE_CHUNKS_H
#define HAK_CORE_CHUNKS_H

#include "core/base/types.h"

typedef enum hak_chunk_pages {
    HAK_PAGES_SYSTEM, /* as the kernel is set: then every chunk is taken so */
    HAK_PAGES_SMALL,
    HAK_PAGES_HUGE,
} hak_chunk_pages;

/* A zeroed chunk, at a multiple of 2 MiB; NULL with ENOMEM. An extent is advised as its first chunk wants it,
 * a chunk only where it wants something else: each advice waits for the faults of all threads. */
void *hak_chunk_take(hak_chunk_pages pages);

/* Its content is given back to the system; without the lock. */
void hak_chunk_empty(void *chunk);

/* A chunk that was emptied. */
void hak_chunk_give(void *chunk);

/* Unmaps every chunk that is not used: where a limit leaves no room for other mappings. Returns the bytes. */
size_t hak_chunk_release(void);

#endif
