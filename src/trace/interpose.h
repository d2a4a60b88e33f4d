/* interpose.h: what the recorder's hooks are made of, beside their entries (interpose_entry.h). Each records
 * and calls the next allocator; called by entries, and by nobody else. Any thread. */
#ifndef HAK_TRACE_INTERPOSE_H
#define HAK_TRACE_INTERPOSE_H

#include "trace/event.h"
#include "trace/record_process.h"

HAK_HIDDEN void *hak_record_malloc(size_t size);
HAK_HIDDEN void *hak_record_calloc(size_t count, size_t size);
HAK_HIDDEN void *hak_record_realloc(void *block, size_t size);
HAK_HIDDEN void hak_record_free(void *block, hak_op op);
HAK_HIDDEN void *hak_record_new(size_t size, hak_op op);

/* operator new (op: HAK_OP_NEW or HAK_OP_NEW_ARRAY), not recorded. */
void *hak_next_new(size_t size, hak_op op);

#endif
