/* collect_stack.c: see collect_stack.h. */
#include "trace/collect_stack.h"

#include <stdlib.h>
#include <string.h>

#include "trace/grow.h"
#include "trace/ring.h"

void hak_stack_ids_done(hak_stack_ids *ids)
{
    free(ids->contexts);
    free(ids->last_pcs);
    free(ids->last_contexts);
    *ids = (hak_stack_ids){0};
}

static uint32_t context_of(hak_stack_ids *ids, const uint64_t *pcs, uint32_t count, hak_writer *writer)
{
    uint32_t same = 0;
    if (!HAK_GROW(&ids->last_pcs, &ids->last_pcs_room, count) ||
        !HAK_GROW(&ids->last_contexts, &ids->last_contexts_room, count))
        return 0;
    while (same < count && same < ids->last_count && ids->last_pcs[same] == pcs[count - 1 - same])
        same++;
    uint32_t context = same != 0 ? ids->last_contexts[same - 1] : 0;
    for (uint32_t i = same; i < count; i++) {
        ids->last_pcs[i] = pcs[count - 1 - i];
        ids->last_contexts[i] = context = hak_writer_context(writer, context, ids->last_pcs[i]);
    }
    ids->last_count = count;
    return context;
}

uint32_t hak_stack_ids_set(hak_stack_ids *ids, uint32_t id, const uint64_t *pcs, uint32_t count,
                           hak_writer *writer)
{
    uint32_t context = context_of(ids, pcs, count, writer);
    size_t before = ids->room;
    if (id == 0 || id >= HAK_STACK_IDS_MAX || !HAK_GROW(&ids->contexts, &ids->room, (size_t)id + 1))
        return context;
    memset(ids->contexts + before, 0, (ids->room - before) * sizeof *ids->contexts);
    ids->contexts[id] = context;
    return context;
}
