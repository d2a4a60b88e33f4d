/* collect_stack.c: see collect_stack.h. */
#include "trace/collect_stack.h"

#include <stdlib.h>
#include <string.h>

#include "trace/grow.h"
#include "trace/ring.h"

void hak_stack_ids_done(hak_stack_ids *ids)
{
    free(ids->contexts);
    *ids = (hak_stack_ids){0};
}

uint32_t hak_stack_ids_set(hak_stack_ids *ids, uint32_t id, const uint64_t *pcs, uint32_t count,
                           hak_writer *writer)
{
    uint32_t context = 0;
    for (uint32_t i = count; i > 0; i--)
        context = hak_writer_context(writer, context, pcs[i - 1]);
    size_t before = ids->room;
    if (id == 0 || id >= HAK_STACK_IDS_MAX || !HAK_GROW(&ids->contexts, &ids->room, (size_t)id + 1))
        return context;
    memset(ids->contexts + before, 0, (ids->room - before) * sizeof *ids->contexts);
    ids->contexts[id] = context;
    return context;
}
