/* collect_stack.c: see collect_stack.h. */
#include "trace/collect_stack.h"

#include <stdlib.h>
#include <string.h>

#include "trace/grow.h"
#include "trace/ring.h"

#define NODE_DELAY 12  /* hashes between asking for a table's line and for the node it names */
#define TOLD_SPAN  256 /* events after a stack was told that are looked at ahead */

void hak_stack_ids_done(hak_stack_ids *ids)
{
    free(ids->contexts);
    free(ids->last);
    free(ids->hashes);
    free(ids->path);
    *ids = (hak_stack_ids){0};
}

static uint32_t context_of(hak_stack_ids *ids, const uint64_t *pcs, uint32_t count, uint32_t same,
                           hak_writer *writer)
{
    if (same > ids->last_count)
        same = ids->last_count; /* nonsense: no stack has been told that long */
    uint32_t all = same + count;
    if (!HAK_GROW(&ids->last, &ids->last_room, all) || !HAK_GROW(&ids->hashes, &ids->hashes_room, all)) {
        ids->last_count = 0;
        return 0;
    }
    uint32_t context = same != 0 ? ids->last[same - 1] : 0;
    uint32_t hash = same != 0 ? ids->hashes[same - 1] : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t pc = pcs[count - 1 - i];
        hash = hak_context_hash(hash, pc, 0);
        context = hak_writer_context_hashed(writer, context, pc, hash);
        if (HAK_UNLIKELY(context == 0)) /* there is no room: what follows hangs on the root */
            hash = 0;
        ids->last[same + i] = context;
        ids->hashes[same + i] = hash;
    }
    ids->last_count = all;
    ids->told = TOLD_SPAN;
    return context;
}

uint32_t hak_stack_ids_set(hak_stack_ids *ids, uint32_t id, const uint64_t *pcs, uint32_t count,
                           uint32_t same, hak_writer *writer)
{
    uint32_t context = context_of(ids, pcs, count, same, writer);
    size_t before = ids->room;
    if (id == 0 || id >= HAK_STACK_IDS_MAX || !HAK_GROW(&ids->contexts, &ids->room, (size_t)id + 1))
        return context;
    memset(ids->contexts + before, 0, (ids->room - before) * sizeof *ids->contexts);
    ids->contexts[id] = context;
    return context;
}

void hak_stack_ids_look_from(hak_stack_ids *ids, uint64_t tail)
{
    ids->tail = tail;
    ids->path_count = 0;
    if (ids->last_count == 0 || !HAK_GROW(&ids->path, &ids->path_room, ids->last_count))
        return;
    memcpy(ids->path, ids->hashes, ids->last_count * sizeof *ids->path);
    ids->path_count = ids->last_count;
}

void hak_stack_ids_foresee(hak_stack_ids *ids, const uint64_t *pcs, uint32_t count, uint32_t same,
                           const hak_context_map *map)
{
    if (same > ids->path_count || !HAK_GROW(&ids->path, &ids->path_room, (size_t)same + count))
        return;
    uint32_t hash = same != 0 ? ids->path[same - 1] : 0;
    for (uint32_t i = 0; i < count; i++) {
        hash = hak_context_hash(hash, pcs[count - 1 - i], 0);
        ids->path[same + i] = hash;
        hak_context_map_foresee(map, hash);
        ids->queue[ids->queued++ % HAK_STACK_QUEUE] = hash;
        if (ids->queued - ids->asked > NODE_DELAY)
            hak_context_map_foresee_node(map, ids->queue[ids->asked++ % HAK_STACK_QUEUE]);
    }
    ids->path_count = same + count;
}
