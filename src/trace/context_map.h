/* context_map.h: (parent, return address, its generation: reuse.h) to a dense node number, both ways: the
 * tree of call contexts. One thread. About 30 bytes a node. */
#ifndef HAK_TRACE_CONTEXT_MAP_H
#define HAK_TRACE_CONTEXT_MAP_H

#include "core/base/bits.h"
#include "trace/trace_format.h"

typedef struct hak_context_map {
    hak_trace_node *nodes; /* [0] is the root */
    uint16_t *depths;      /* of each node; the root's is 0 */
    uint32_t *hashes;      /* of each node's whole path: hak_context_hash */
    size_t count;          /* root included */
    size_t nodes_room;
    size_t depths_room;
    size_t hashes_room;
    uint32_t *table; /* node numbers; 0: empty */
    size_t mask;
} hak_context_map;

bool hak_context_map_init(hak_context_map *map); /* false: no memory */
void hak_context_map_done(hak_context_map *map);

/* The hash of a path from its parent's; the root's is 0. It needs no node numbers, so that a reader knows it
 * for paths that it has not looked up yet. */
HAK_INLINE uint32_t hak_context_hash(uint32_t parent_hash, uint64_t pc, uint32_t generation)
{
    return (uint32_t)hak_mix64(pc ^ (uint64_t)parent_hash << 29 ^ (uint64_t)generation << 47);
}

/* The node, created when new. 0 when HAK_TRACE_MAX_CONTEXTS or HAK_TRACE_MAX_DEPTH is reached or there is no
 * memory. parent < map->count. */
uint32_t hak_context_map_add(hak_context_map *map, uint32_t parent, uint64_t pc, uint32_t generation);

/* The same where the path's hash is known already. */
uint32_t hak_context_map_add_hashed(hak_context_map *map, uint32_t parent, uint64_t pc, uint32_t generation,
                                    uint32_t hash);

/* Bring what an add will look at closer, in two steps: first well before, then again a little before. Inlined
 * always: a compiler takes a function that only prefetches for one without effect. */
HAK_INLINE void hak_context_map_foresee(const hak_context_map *map, uint32_t hash)
{
    __builtin_prefetch(&map->table[hash & map->mask]);
}

HAK_INLINE void hak_context_map_foresee_node(const hak_context_map *map, uint32_t hash)
{
    __builtin_prefetch(&map->nodes[map->table[hash & map->mask]]);
}

#endif
