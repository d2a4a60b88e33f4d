/* encode_put.h: the state of an encoder, and how one event's values get into its columns: for encode.c, and
 * for who has plain events by the million (collect_run.c) and no time to describe each. Each column gets what
 * the model did not expect; the expected is a zero byte. One thread per encoder. */
#ifndef HAK_TRACE_ENCODE_PUT_H
#define HAK_TRACE_ENCODE_PUT_H

#include "trace/encode.h"
#include "trace/layout.h"
#include "trace/model.h"

#define HAK_RECENT_KINDS 64

typedef struct hak_column {
    uint8_t *start;
    uint8_t *at;
} hak_column;

/* A number of the whole trace and the member's own for it; valid when the generation is the member's. */
typedef struct hak_local {
    uint32_t generation;
    uint32_t number;
} hak_local;

typedef struct hak_kind_entry {
    uint64_t key; /* 0: empty */
    uint32_t number;
} hak_kind_entry;

struct hak_encoder {
    hak_column columns[HAK_COLUMN_COUNT];
    hak_model model;
    uint32_t generation; /* of the member; never 0 */
    uint32_t count;
    uint64_t base_ns;
    uint64_t last_ns;

    hak_local *contexts; /* by node */
    size_t contexts_room;
    uint32_t contexts_count; /* local ones, without the root */
    uint64_t last_pc;
    hak_bytes context_bytes;

    hak_local *threads; /* by thread index */
    size_t threads_room;
    uint32_t threads_count;
    hak_bytes thread_numbers;

    hak_kind_entry *kinds;
    size_t kinds_mask;
    uint32_t kinds_count;
    hak_bytes kind_bytes;
    hak_kind_entry recent[HAK_RECENT_KINDS]; /* direct-mapped: a program's events are of a few kinds */

    hak_bytes meta_threads;
    hak_bytes meta_modules;
    hak_bytes meta_rows;
    hak_bytes meta_rss;
    hak_bytes meta_symbols;
    bool failed;
};

/* What is the same for all plain events of one thread in one member: no flags, no alignment. Zeroed: nothing
 * known. */
typedef struct hak_lane {
    uint32_t generation;          /* of the member this holds for; 0: none */
    uint32_t of;                  /* thread */
    uint32_t thread;              /* its local number */
    uint32_t kinds[HAK_OP_COUNT]; /* plus 1; 0: not asked for yet */
} hak_lane;

/* Makes the lane hold for the current member. False: no memory, the member has failed. */
bool hak_encoder_enter(hak_encoder *encoder, hak_lane *lane, uint32_t thread);

/* Adds the kind of plain events of this operation to the lane. */
bool hak_encoder_learn_kind(hak_encoder *encoder, hak_lane *lane, hak_op op, uint8_t shape);

/* Adds a context to the member; 0 and `failed` set: no memory. */
uint32_t hak_encoder_new_context(hak_encoder *encoder, const hak_context_map *map, uint32_t node);

HAK_INLINE uint32_t hak_encoder_context(hak_encoder *e, const hak_context_map *map, uint32_t node)
{
    if (HAK_LIKELY(node < e->contexts_room && e->contexts[node].generation == e->generation))
        return e->contexts[node].number;
    return hak_encoder_new_context(e, map, node);
}

HAK_INLINE void hak_column_put(hak_column *to, uint64_t value)
{
    uint8_t *at = to->at;
    while (HAK_UNLIKELY(value >= 0x80)) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at = (uint8_t)value;
    to->at = at + 1;
}

HAK_INLINE void hak_encoder_put_start(hak_encoder *e, uint32_t kind, uint64_t time_ns)
{
    if (HAK_UNLIKELY(e->count == 0))
        e->base_ns = e->last_ns = time_ns;
    e->count++;
    hak_column_put(&e->columns[HAK_COLUMN_KIND], kind);
    hak_column_put(&e->columns[HAK_COLUMN_TIME], time_ns - e->last_ns);
    e->last_ns = time_ns;
}

HAK_INLINE void hak_encoder_put_context(hak_encoder *e, hak_model_thread *thread, uint32_t context)
{
    hak_model_context *before = &e->model.contexts[thread->context];
    hak_column_put(&e->columns[HAK_COLUMN_CONTEXT], before->next == context ? 0 : context);
    before->next = context;
    thread->context = context;
}

HAK_INLINE void hak_encoder_put_size(hak_encoder *e, hak_model_context *context, uint64_t size_bytes)
{
    hak_column *to = &e->columns[HAK_COLUMN_SIZE];
    if (size_bytes == context->size_bytes) {
        hak_column_put(to, HAK_SIZE_SAME);
    } else if (HAK_LIKELY(size_bytes < HAK_SIZE_DIRECT)) {
        hak_column_put(to, size_bytes + HAK_SIZE_BASE);
    } else {
        hak_column_put(to, HAK_SIZE_LITERAL);
        hak_column_put(to, size_bytes);
    }
    context->size_bytes = size_bytes;
}

HAK_INLINE void hak_encoder_put_old(hak_encoder *e, hak_model_thread *thread, uint32_t slot)
{
    hak_column_put(&e->columns[HAK_COLUMN_OLD], hak_zigzag((int64_t)slot - (int64_t)thread->slot));
    thread->slot = slot;
}

HAK_INLINE void hak_encoder_put_slot(hak_encoder *e, hak_model_thread *thread, uint32_t slot)
{
    uint32_t expected = hak_model_expect_slot(&e->model);
    hak_column_put(&e->columns[HAK_COLUMN_SLOT], hak_zigzag((int64_t)slot - (int64_t)expected));
    hak_model_saw_slot(&e->model, slot, expected);
    thread->slot = slot;
}

/* A plain allocation with a context, as hak_encoder_event would put it. The lane holds. */
HAK_INLINE void hak_encoder_alloc(hak_encoder *e, const hak_context_map *map, hak_lane *lane, hak_op op,
                                  uint64_t time_ns, uint32_t node, uint64_t size_bytes, uint32_t slot)
{
    uint32_t context = hak_encoder_context(e, map, node);
    if (HAK_UNLIKELY(lane->kinds[op] == 0) &&
        !hak_encoder_learn_kind(e, lane, op, HAK_SHAPE_CONTEXT | HAK_SHAPE_SIZE | HAK_SHAPE_SLOT))
        return;
    if (HAK_UNLIKELY(e->failed))
        return;
    hak_model_thread *thread = &e->model.threads[lane->thread];
    hak_encoder_put_start(e, lane->kinds[op] - 1, time_ns);
    hak_encoder_put_context(e, thread, context);
    hak_encoder_put_size(e, &e->model.contexts[context], size_bytes);
    hak_encoder_put_slot(e, thread, slot);
}

/* The same for a free of a known block. */
HAK_INLINE void hak_encoder_free_of(hak_encoder *e, hak_lane *lane, hak_op op, uint64_t time_ns,
                                    uint32_t slot)
{
    if (HAK_UNLIKELY(lane->kinds[op] == 0) && !hak_encoder_learn_kind(e, lane, op, HAK_SHAPE_OLD))
        return;
    hak_encoder_put_start(e, lane->kinds[op] - 1, time_ns);
    hak_encoder_put_old(e, &e->model.threads[lane->thread], slot);
    hak_model_saw_free(&e->model, slot);
}

#endif
