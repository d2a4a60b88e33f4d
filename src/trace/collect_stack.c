/* collect_stack.c: see collect_stack.h. */
#include "trace/collect_stack.h"

#include <stdlib.h>
#include <string.h>

#include "trace/grow.h"
#include "trace/ring.h"

void hak_stack_ids_done(hak_stack_ids *ids)
{
    free(ids->contexts);
    free(ids->last);
    *ids = (hak_stack_ids){0};
}

static uint32_t context_of(hak_stack_ids *ids, const uint64_t *pcs, uint32_t count, uint32_t same,
                           hak_writer *writer)
{
    if (same > ids->last_count)
        same = ids->last_count; /* nonsense: no stack has been told that long */
    uint32_t all = same + count;
    if (!HAK_GROW(&ids->last, &ids->last_room, all)) {
        ids->last_count = 0;
        return 0;
    }
    uint32_t context = same != 0 ? ids->last[same - 1] : 0;
    for (uint32_t i = 0; i < count; i++)
        ids->last[same + i] = context = hak_writer_context(writer, context, pcs[count - 1 - i]);
    ids->last_count = all;
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
