/* record_sample.h: sampling by bytes in the recorded program. Where it is asked for, hooks never find the
 * thread ready (hak_enter), and come here instead. A sampled block's address is kept, so that its free is
 * recorded, too. Calls that are not sampled mostly never come so far: interpose_entry.h. Any thread. */
#ifndef HAK_TRACE_RECORD_SAMPLE_H
#define HAK_TRACE_RECORD_SAMPLE_H

#include "trace/event.h"
#include "trace/record_next.h"
#include "trace/record_process.h"

/* After an allocation; block NULL: it failed, which is not recorded. */
void hak_sample_alloc(hak_thread *self, hak_op op, unsigned flags, const void *block, size_t size,
                      unsigned align_log2, hak_hook hook);

/* Before a block is freed, or handed to realloc (op HAK_OP_FREE). */
void hak_sample_free(hak_thread *self, hak_op op, const void *block, hak_hook hook);

/* The calling thread is in a new process: it is to join when it allocates next. */
void hak_sample_forked(void);

/* From now on calls that are not sampled go by, or none does. Before recording is announced (hak_live.on). */
void hak_sample_set(bool sampling);

/* Bytes to the calling thread's next sample. 0: not known yet. Means nothing where every call is recorded. */
extern HAK_HIDDEN HAK_TLS_IE uint64_t hak_sample_left;

/* Where calls go whose bytes hold no sample: to the next allocator where sampling, else to be recorded. */
typedef struct hak_pass_table {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*new)(size_t, hak_op);
} hak_pass_table;
extern HAK_HIDDEN hak_pass_table hak_pass;
extern const hak_pass_table hak_pass_to_record;

/* For each place a block may lie in (the low 32 bits of its address, less those of one place): a free from
 * there is to ask; nothing there is sampled; else one more than the sampled blocks that live there, where
 * MANY means "or more, for ever". */
#define HAK_SAMPLE_PLACE_SHIFT 14
#define HAK_SAMPLE_PLACES      ((size_t)1 << (32 - HAK_SAMPLE_PLACE_SHIFT))
#define HAK_SAMPLE_ASK         0
#define HAK_SAMPLE_NONE        1
#define HAK_SAMPLE_MANY        UINT8_MAX
extern HAK_HIDDEN _Atomic uint8_t hak_sample_places[HAK_SAMPLE_PLACES];

HAK_INLINE _Atomic uint8_t *hak_sample_place(const void *block)
{
    return &hak_sample_places[(uint32_t)(uintptr_t)block >> HAK_SAMPLE_PLACE_SHIFT];
}

/* For what is recorded in any case. False: nested, or not sampling. After true: hak_leave. */
bool hak_sample_enter(hak_thread *self, hak_hook hook);

#endif
