/* collect_stack.h: what the stack numbers of one ring stand for: contexts of the trace. One thread.
 *
 * A program with many contexts tells most of its stacks anew, and each frame of them is looked up in tables
 * that no cache holds. Where a frame will be looked for depends on return addresses alone, so records that
 * are to come are read ahead for them, and the tables' lines asked for. What was read ahead is never
 * believed. */
#ifndef HAK_TRACE_COLLECT_STACK_H
#define HAK_TRACE_COLLECT_STACK_H

#include "core/base/types.h"
#include "trace/context_map.h"
#include "trace/writer.h"

#define HAK_STACK_QUEUE 64

/* Zeroed: no number stands for anything. The next stack mostly differs from the last one in its innermost
 * frames only. */
typedef struct hak_stack_ids {
    uint32_t *contexts; /* by number */
    size_t room;
    uint32_t *last;   /* context of the last stack up to each of its frames, outermost first */
    uint32_t *hashes; /* and its path's hash */
    size_t last_room;
    size_t hashes_room;
    uint32_t last_count;

    uint32_t told;  /* events to come for which it is worth looking ahead: some stacks were told of late */
    uint64_t tail;  /* of the ring: so far it was looked */
    uint32_t *path; /* hashes of the stack told last before there */
    size_t path_room;
    uint32_t path_count;
    uint32_t queue[HAK_STACK_QUEUE]; /* hashes whose nodes are still to be asked for */
    uint32_t queued;                 /* ever */
    uint32_t asked;
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

/* Looking ahead begins anew behind the last stack, at this place of the ring. */
void hak_stack_ids_look_from(hak_stack_ids *ids, uint64_t tail);

/* The next stack that will be told, as for hak_stack_ids_set. */
void hak_stack_ids_foresee(hak_stack_ids *ids, const uint64_t *pcs, uint32_t count, uint32_t same,
                           const hak_context_map *map);

#endif
