/* record_put.h: records into the calling thread's ring. Callers are inside (hak_enter returned true). */
#ifndef HAK_TRACE_RECORD_PUT_H
#define HAK_TRACE_RECORD_PUT_H

#include "trace/event.h"
#include "trace/record_process.h"

/* One allocation event, after it happened. block NULL: it failed (or freed, for realloc). flags:
 * HAK_RECORD_FAILED, NOTHROW, MOVED_FROM. */
void hak_put_alloc(hak_thread *self, hak_op op, unsigned flags, const void *block, size_t size,
                   unsigned align_log2, hak_frame caller);

/* Before the block is freed, or handed to realloc. kind: an op of class free, or HAK_RECORD_REALLOC_BEGIN. */
HAK_INLINE void hak_put_free(hak_thread *self, unsigned kind, const void *block)
{
    uint64_t *at = hak_reserve(self, 2);
    if (HAK_UNLIKELY(at == NULL))
        return;
    at[1] = (uint64_t)(uintptr_t)block & HAK_ADDRESS_MASK;
    at[0] = hak_record_word0(hak_begin_stamp(self), kind, 0);
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
