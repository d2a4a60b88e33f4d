/* reuse.h: addresses that one module gave up and another took. A return address alone does not tell the two
 * apart; the generation of its range does. Writer and reader feed it the same loads in the same order: the
 * writer ends a member where a range changes hands, so that within a member an address means one thing. One
 * thread. Memory: HAK_REUSE_MAX ranges, however many modules come and go; beyond, addresses are not told
 * apart. */
#ifndef HAK_TRACE_REUSE_H
#define HAK_TRACE_REUSE_H

#include "trace/trace_format.h"

#define HAK_REUSE_MAX 2048

typedef struct hak_reuse_range {
    uint64_t start;
    uint64_t end;
    uint64_t identity;   /* of the module that was there last */
    uint32_t generation; /* 0: no other was there before */
} hak_reuse_range;

typedef struct hak_reuse {
    hak_reuse_range *ranges; /* by address, disjoint */
    size_t count;
    size_t room;
    uint32_t last; /* greatest generation given out */
} hak_reuse;

void hak_reuse_clear(hak_reuse *reuse); /* gives the memory back; {0} is empty */

/* Path and build-id as one number. */
uint64_t hak_reuse_identity(const void *path, size_t path_bytes, const void *id, size_t id_bytes);

/* A module is loaded: true when some of its addresses were another's. */
bool hak_reuse_load(hak_reuse *reuse, uint64_t start, uint64_t end, uint64_t identity);

uint32_t hak_reuse_search(const hak_reuse *reuse, uint64_t pc);

HAK_INLINE uint32_t hak_reuse_generation(const hak_reuse *reuse, uint64_t pc)
{
    return HAK_LIKELY(reuse->last == 0) ? 0 : hak_reuse_search(reuse, pc);
}

#endif
