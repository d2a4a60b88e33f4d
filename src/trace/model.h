/* model.h: what encoder and decoder both expect to come next, so that the expected costs one zero byte. State
 * lives for one member and starts empty in each: members stay independent. One thread per model.
 *
 * Contexts: what followed the last context in this thread. Sizes: the last one in this context. New slots:
 * the last one freed (slots are re-used last-in first-out), or one above the last new one. Freed slots: near
 * the thread's last touched one. */
#ifndef HAK_TRACE_MODEL_H
#define HAK_TRACE_MODEL_H

#include "core/base/types.h"

typedef struct hak_model_context {
    uint64_t size_bytes; /* last size asked for here */
    uint32_t next;       /* local context that followed */
} hak_model_context;

typedef struct hak_model_thread {
    uint32_t context; /* last local context */
    uint32_t slot;    /* last slot touched */
} hak_model_thread;

typedef struct hak_model {
    hak_model_context *contexts; /* by local context; 0 is "none" */
    size_t contexts_room;
    hak_model_thread *threads; /* by local thread */
    size_t threads_room;
    uint32_t *stack; /* slots freed in this member */
    size_t stack_count;
    size_t stack_room;
    uint32_t fresh; /* last slot that did not come from the stack */
} hak_model;

/* The slot a new block is expected in; takes it off the stack. */
HAK_INLINE uint32_t hak_model_expect_slot(hak_model *model)
{
    return model->stack_count != 0 ? model->stack[--model->stack_count] : model->fresh + 1;
}

/* As expected or not: the next fresh one is above the greatest fresh one's last value. */
HAK_INLINE void hak_model_saw_slot(hak_model *model, uint32_t slot, uint32_t expected)
{
    if (slot != expected || slot == model->fresh + 1)
        model->fresh = slot;
}

/* The caller has made room. */
HAK_INLINE void hak_model_saw_free(hak_model *model, uint32_t slot)
{
    model->stack[model->stack_count++] = slot;
}

#endif
