/* collect_stack.h: what the stack numbers of one ring stand for: contexts of the trace. One thread. */
#ifndef HAK_TRACE_COLLECT_STACK_H
#define HAK_TRACE_COLLECT_STACK_H

#include "core/base/types.h"
#include "trace/writer.h"

/* Zeroed: no number stands for anything. The next stack mostly differs from the last one in its innermost
 * frames only. */
typedef struct hak_stack_ids {
    uint32_t *contexts; /* by number */
    size_t room;
    uint32_t *last; /* context of the last stack up to each of its frames, outermost first */
    size_t last_room;
    uint32_t last_count;
} hak_stack_ids;

void hak_stack_ids_done(hak_stack_ids *ids);

/* The context of these frames, innermost first, and the outermost `same` ones of the last stack; it is what
 * `id` stands for from now on, unless that is 0. */
uint32_t hak_stack_ids_set(hak_stack_ids *ids, uint32_t id, const uint64_t *pcs, uint32_t count,
                           uint32_t same, hak_writer *writer);

/* HAK_CONTEXT_NONE for a number that was never set. */
HAK_INLINE uint32_t hak_stack_ids_get(const hak_stack_ids *ids, uint32_t id)
{
    return HAK_LIKELY(id < ids->room) ? ids->contexts[id] : 0;
}

#endif
