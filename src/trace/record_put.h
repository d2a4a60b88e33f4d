/* record_put.h: records into the calling thread's ring. Callers are inside (hak_enter returned true). */
#ifndef HAK_TRACE_RECORD_PUT_H
#define HAK_TRACE_RECORD_PUT_H

#include "trace/event.h"
#include "trace/record_process.h"

/* One allocation event, after it happened. block NULL: it failed (or freed, for realloc). flags:
 * HAK_RECORD_FAILED, NOTHROW, MOVED_FROM. Any, and a size or alignment that does not fit beside the address.
 */
void hak_put_rare_alloc(hak_thread *self, hak_op op, unsigned flags, const void *block, size_t size,
                        unsigned align_log2, hak_frame caller);

/* The same. */
HAK_INLINE void hak_put_alloc(hak_thread *self, hak_op op, unsigned flags, const void *block, size_t size,
                              unsigned align_log2, hak_hook hook)
{
    bool plain =
        size <= HAK_SMALL_SIZE_MAX && (flags & ~(unsigned)HAK_RECORD_MOVED_FROM) == 0 && align_log2 == 0;
    const hak_seen_stack *stack = NULL;
    if (HAK_LIKELY(plain && hak_walk_is_known(self)))
        stack = hak_seen_find(&self->seen, hak_hook_caller(hook));
    if (HAK_UNLIKELY(stack == NULL || !stack->told)) {
        hak_put_rare_alloc(self, op, flags, block, size, align_log2, hak_hook_caller(hook));
        return;
    }
    uint64_t *at = hak_reserve(self, 2, HAK_WEIGHT_EVENT);
    if (HAK_UNLIKELY(at == NULL))
        return;
    at = hak_put_word0(self, at, (unsigned)op, flags, stack->id);
    at[1] = ((uint64_t)(uintptr_t)block & HAK_ADDRESS_MASK) | (uint64_t)size << HAK_ADDRESS_BITS;
    hak_publish(self, 2);
}

/* Before the block is freed, or handed to realloc. kind: an op of class free, or HAK_RECORD_REALLOC_BEGIN. */
HAK_INLINE void hak_put_free(hak_thread *self, unsigned kind, const void *block)
{
    hak_weight weight = kind == HAK_RECORD_REALLOC_BEGIN ? HAK_WEIGHT_PART : HAK_WEIGHT_EVENT;
    uint64_t *at = hak_reserve(self, 2, weight);
    if (HAK_UNLIKELY(at == NULL))
        return;
    at = hak_put_word0(self, at, kind, 0, 0);
    at[1] = (uint64_t)(uintptr_t)block & HAK_ADDRESS_MASK;
    hak_publish(self, 2);
}

void hak_put_thread_start(hak_thread *self, bool again);
void hak_put_thread_end(hak_thread *self);
void hak_put_row(hak_thread *self, uintptr_t pc, hak_frame_row row);

typedef struct hak_module_seen {
    uint64_t start;
    uint64_t end;
    uint64_t bias;
    const char *path;
    const uint8_t *build_id;
    uint32_t build_id_bytes;
} hak_module_seen;

void hak_put_module_load(hak_thread *self, const hak_module_seen *module);
void hak_put_module_unload(hak_thread *self, uint64_t start);

#endif
