/* record_sample.h: sampling by bytes in the recorded program. Where it is asked for, hooks never find the
 * thread ready (hak_enter), and come here instead. A sampled block's address is kept, so that its free is
 * recorded, too. Costs a few nanoseconds where nothing is sampled. Any thread. */
#ifndef HAK_TRACE_RECORD_SAMPLE_H
#define HAK_TRACE_RECORD_SAMPLE_H

#include "trace/event.h"
#include "trace/record_process.h"

/* After an allocation; block NULL: it failed, which is not recorded. */
void hak_sample_alloc(hak_thread *self, hak_op op, unsigned flags, const void *block, size_t size,
                      unsigned align_log2, hak_hook hook);

/* Before a block is freed, or handed to realloc (op HAK_OP_FREE). */
void hak_sample_free(hak_thread *self, hak_op op, const void *block, hak_hook hook);

/* For what is recorded in any case. False: nested, or not sampling. After true: hak_leave. */
bool hak_sample_enter(hak_thread *self, hak_hook hook);

#endif
