/* chunks.h: 2 MiB chunks for the pool, cut from larger mappings ("extents"), so that a process has one
 * mapping where it would have dozens. An extent is as large as a quarter of what is mapped, smaller where a
 * limit wants it. A chunk given back is purged and kept for the next one; an extent without a used chunk is
 * unmapped. The caller holds HAK_RANK_POOL for every function. Never allocates from malloc. */
#ifndef HAK_CORE_CHUNKS_H
#define HAK_CORE_CHUNKS_H

#include "core/base/types.h"

/* A zeroed chunk, at a multiple of 2 MiB; NULL with ENOMEM. */
void *hak_chunk_take(void);

/* The chunk's content is lost. */
void hak_chunk_give(void *chunk);

/* Unmaps every chunk that is not used: where a limit leaves no room for other mappings. Returns the bytes. */
size_t hak_chunk_release(void);

#endif
