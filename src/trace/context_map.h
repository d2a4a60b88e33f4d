/* context_map.h: (parent, return address, its generation: reuse.h) to a dense node number, both ways: the
 * tree of call contexts. One thread. About 24 bytes a node. */
#ifndef HAK_TRACE_CONTEXT_MAP_H
#define HAK_TRACE_CONTEXT_MAP_H

#include "trace/trace_format.h"

typedef struct hak_context_map {
    hak_trace_node *nodes; /* [0] is the root */
    uint16_t *depths;      /* of each node; the root's is 0 */
    size_t count;          /* root included */
    size_t nodes_room;
    size_t depths_room;
    uint32_t *table; /* node numbers; 0: empty */
    size_t mask;
} hak_context_map;

bool hak_context_map_init(hak_context_map *map); /* false: no memory */
void hak_context_map_done(hak_context_map *map);

/* The node, created when new. 0 when HAK_TRACE_MAX_CONTEXTS or HAK_TRACE_MAX_DEPTH is reached or there is no
 * memory. parent < map->count. */
uint32_t hak_context_map_add(hak_context_map *map, uint32_t parent, uint64_t pc, uint32_t generation);

#endif
