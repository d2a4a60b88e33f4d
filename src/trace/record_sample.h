/* record_sample.h: sampling by bytes in the recorded program. Where it is asked for, hooks never find the
 * thread ready (hak_enter), and come here instead. A sampled block's address is kept, so that its free is
 * recorded, too. A call that is not sampled is let pass by the two functions at the end, before its hook has
 * done anything else: some ten instructions. Any thread. */
#ifndef HAK_TRACE_RECORD_SAMPLE_H
#define HAK_TRACE_RECORD_SAMPLE_H

#include "trace/event.h"
#include "trace/record_process.h"

/* After an allocation; block NULL: it failed, which is not recorded. */
void hak_sample_alloc(hak_thread *self, hak_op op, unsigned flags, const void *block, size_t size,
                      unsigned align_log2, hak_hook hook);

/* Before a block is freed, or handed to realloc (op HAK_OP_FREE). */
void hak_sample_free(hak_thread *self, hak_op op, const void *block, hak_hook hook);

/* The calling thread is in a new process: it is to join when it allocates next. */
void hak_sample_forked(void);

/* Sampled blocks that live, by a hash of the OS page they begin in; HAK_SAMPLE_MANY means "or more, for
 * ever". */
#define HAK_SAMPLE_PAGE_BITS  15
#define HAK_SAMPLE_PAGE_SHIFT 12
#define HAK_SAMPLE_MANY       UINT8_MAX
extern _Atomic uint8_t hak_sample_pages[1 << HAK_SAMPLE_PAGE_BITS];

HAK_INLINE _Atomic uint8_t *hak_sample_page(const void *block)
{
    uint64_t page = (uint64_t)(uintptr_t)block >> HAK_SAMPLE_PAGE_SHIFT;
    return &hak_sample_pages[page * UINT64_C(0x9e3779b97f4a7c15) >> (64 - HAK_SAMPLE_PAGE_BITS)];
}

/* This allocation is not the one; it has been counted. */
HAK_INLINE bool hak_sample_passes(hak_thread *self, size_t size)
{
    uint64_t left = self->sample_left;
    if (size >= left)
        return false;
    self->sample_left = left - size - (size == 0);
    return true;
}

/* This block was not sampled. */
HAK_INLINE bool hak_sample_passes_free(const hak_thread *self, const void *block)
{
    return self->sample_left != 0 && atomic_load_explicit(hak_sample_page(block), memory_order_relaxed) == 0;
}

/* For what is recorded in any case. False: nested, or not sampling. After true: hak_leave. */
bool hak_sample_enter(hak_thread *self, hak_hook hook);

#endif
