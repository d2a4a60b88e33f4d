/* record_process.h: the recorded process and its threads: joining the collector, rings, forks, ends.
 *
 * A process joins at its first recorded event (or in the library's constructor), and again after a fork,
 * which it notices by a page that the kernel wipes in the child. It never keeps a descriptor, and never
 * records in secure execution. Whatever fails here turns recording off in this process and nothing else. */
#ifndef HAK_TRACE_RECORD_PROCESS_H
#define HAK_TRACE_RECORD_PROCESS_H

#include "trace/record_walk.h"
#include "trace/ring.h"

/* A thread's own state; nobody else reads it. */
typedef struct hak_thread {
    uintptr_t inside_sp; /* a hook is running: the frame of its caller; 0 outside */
    uintptr_t inside_pc;
    hak_ring *ring; /* NULL: none yet, or not any more */
    uint64_t *words;
    uint64_t head;  /* words written */
    uint64_t limit; /* head may grow up to here before hak_thread_room must look again */
    hak_walk *walk;
    unsigned sent;   /* frames the collector knows of */
    uint32_t epoch;  /* of the process when ring was claimed */
    uint32_t ending; /* rounds of thread-specific destructors that have passed */
    bool ended;      /* its end was recorded; it came back */
} hak_thread;

typedef struct hak_live {
    _Atomic uint32_t on; /* 1: recording. The page is zero in a forked child. */
} hak_live;

extern HAK_TLS_IE hak_thread hak_self;
extern hak_live *hak_live_page;
extern hak_share *hak_shared; /* valid while on */

/* The slow side of entering a hook: nested, not joined yet, forked, or without a ring. True: record, and the
 * thread is marked as inside. */
bool hak_thread_enter(hak_thread *self, hak_frame caller);

/* Room for `words` after the head, or NULL: the event is lost and counted, and the walk starts afresh. */
uint64_t *hak_thread_room(hak_thread *self, size_t words);

/* Takes part from the library's constructor on. */
void hak_process_start(void);

/* False when the calling hook must not record. */
HAK_INLINE bool hak_enter(hak_thread *self, hak_frame caller)
{
    if (HAK_UNLIKELY(self->inside_sp != 0 || self->ring == NULL ||
                     atomic_load_explicit(&hak_live_page->on, memory_order_relaxed) == 0))
        return hak_thread_enter(self, caller);
    self->inside_pc = caller.pc;
    self->inside_sp = caller.sp;
    return true;
}

HAK_INLINE void hak_leave(hak_thread *self)
{
    self->inside_sp = 0;
}

/* Room for a record. */
HAK_INLINE uint64_t *hak_reserve(hak_thread *self, size_t words)
{
    size_t at = self->head & (HAK_RING_WORDS - 1);
    if (HAK_UNLIKELY(self->head + words > self->limit || at + words > HAK_RING_WORDS))
        return hak_thread_room(self, words);
    return self->words + at;
}

/* From here to hak_publish the collector waits for this ring. */
HAK_INLINE uint64_t hak_begin_stamp(hak_thread *self)
{
    /* Partner: the collector's load of head, HAK_RING_SLACK_TICKS after it took its own stamp. */
    atomic_store_explicit(&self->ring->head, self->head << 1 | HAK_RING_INSIDE, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    return hak_share_stamp(hak_shared);
}

HAK_INLINE void hak_publish(hak_thread *self, size_t words)
{
    self->head += words;
    /* Partner: the collector's acquire load of head. */
    atomic_store_explicit(&self->ring->head, self->head << 1, memory_order_release);
}

#endif
