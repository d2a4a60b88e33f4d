/* context_map.c: linear probing over node numbers; nodes are never removed. One thread. */
#include "trace/context_map.h"

#include <sys/mman.h>

#include "trace/grow.h"

enum { FIRST_TABLE = 1024 };

/* A large table is met in no order: on small pages most looks would miss the TLB as well. A wish. */
static void wish_huge(void *start, size_t bytes)
{
    const uintptr_t huge = 2 * HAK_MIB;
    uintptr_t first = ((uintptr_t)start + huge - 1) & ~(huge - 1);
    uintptr_t end = ((uintptr_t)start + bytes) & ~(huge - 1);
    if (first < end)
        madvise((void *)first, end - first, MADV_HUGEPAGE); /* NOLINT(performance-no-int-to-ptr) */
}

bool hak_context_map_init(hak_context_map *map)
{
    *map = (hak_context_map){.count = 1, .mask = FIRST_TABLE - 1};
    map->table = calloc(FIRST_TABLE, sizeof *map->table);
    if (map->table == NULL || !HAK_GROW(&map->nodes, &map->nodes_room, 1) ||
        !HAK_GROW(&map->depths, &map->depths_room, 1) || !HAK_GROW(&map->hashes, &map->hashes_room, 1)) {
        hak_context_map_done(map);
        return false;
    }
    map->nodes[0] = (hak_trace_node){.parent = 0};
    map->depths[0] = 0;
    map->hashes[0] = 0;
    return true;
}

void hak_context_map_done(hak_context_map *map)
{
    free(map->table);
    free(map->nodes);
    free(map->depths);
    free(map->hashes);
    *map = (hak_context_map){.count = 0};
}

static bool widen(hak_context_map *map)
{
    size_t slots = (map->mask + 1) * 2;
    uint32_t *wide = calloc(slots, sizeof *wide);
    if (wide == NULL)
        return false;
    wish_huge(wide, slots * sizeof *wide);
    for (size_t node = 1; node < map->count; node++) {
        size_t at = map->hashes[node] & (slots - 1);
        while (wide[at] != 0)
            at = (at + 1) & (slots - 1);
        wide[at] = (uint32_t)node;
    }
    free(map->table);
    map->table = wide;
    map->mask = slots - 1;
    return true;
}

static uint32_t create(hak_context_map *map, uint32_t parent, uint64_t pc, uint32_t generation, uint32_t hash)
{
    if (map->count >= HAK_TRACE_MAX_CONTEXTS || map->depths[parent] >= HAK_TRACE_MAX_DEPTH)
        return 0;
    size_t room = map->nodes_room;
    if (!HAK_GROW(&map->nodes, &map->nodes_room, map->count + 1) ||
        !HAK_GROW(&map->depths, &map->depths_room, map->count + 1) ||
        !HAK_GROW(&map->hashes, &map->hashes_room, map->count + 1) ||
        (map->count * 2 > map->mask && !widen(map)))
        return 0;
    if (HAK_UNLIKELY(room != map->nodes_room))
        wish_huge(map->nodes, map->nodes_room * sizeof *map->nodes);
    size_t at = hash & map->mask;
    while (map->table[at] != 0)
        at = (at + 1) & map->mask;
    uint32_t node = (uint32_t)map->count++;
    map->nodes[node] = (hak_trace_node){parent, generation, pc};
    map->depths[node] = (uint16_t)(map->depths[parent] + 1);
    map->hashes[node] = hash;
    map->table[at] = node;
    return node;
}

uint32_t hak_context_map_add_hashed(hak_context_map *map, uint32_t parent, uint64_t pc, uint32_t generation,
                                    uint32_t hash)
{
    size_t at = hash & map->mask;
    for (uint32_t node; (node = map->table[at]) != 0; at = (at + 1) & map->mask) {
        const hak_trace_node *seen = &map->nodes[node];
        if (seen->parent == parent && seen->pc == pc && seen->generation == generation)
            return node;
    }
    return create(map, parent, pc, generation, hash);
}

uint32_t hak_context_map_add(hak_context_map *map, uint32_t parent, uint64_t pc, uint32_t generation)
{
    return hak_context_map_add_hashed(map, parent, pc, generation,
                                      hak_context_hash(map->hashes[parent], pc, generation));
}
