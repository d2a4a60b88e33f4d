/* record_process.h: the recorded process and its threads: joining the collector, rings, forks, ends.
 *
 * A process joins at its first recorded event (or in the library's constructor), and again after a fork,
 * which it notices by a page that the kernel wipes in the child. It never keeps a descriptor, and never
 * records in secure execution. Whatever fails here turns recording off in this process and nothing else. */
#ifndef HAK_TRACE_RECORD_PROCESS_H
#define HAK_TRACE_RECORD_PROCESS_H

#include "trace/record_seen.h"
#include "trace/ring.h"

/* A thread's own state; nobody else reads it. */
typedef struct hak_thread {
    uintptr_t inside_sp; /* a hook is running: the frame of its caller; 0 outside */
    uintptr_t inside_pc;
    hak_ring *ring; /* NULL: none yet, or not any more */
    uint64_t *words;
    uint64_t head;       /* words written */
    hak_share *share;    /* of the ring */
    uint32_t stamp_high; /* of the last stamp, as the collector knows it */
    hak_seen seen;
    hak_walk *walk;         /* belongs to the ring */
    uint32_t epoch;         /* of the process when ring was claimed; HAK_NO_EPOCH: there is none */
    uint32_t ending;        /* rounds of thread-specific destructors that have passed */
    uint64_t sample_random; /* 0: not seeded */
    bool ended;             /* its end was recorded and its ring given up; it came back */
} hak_thread;

#define HAK_NO_EPOCH   UINT32_MAX
#define HAK_ON_SAMPLED ((uint32_t)1 << 31) /* in hak_live.on: no thread's epoch is equal to it */

typedef struct hak_live {
    _Atomic uint32_t on; /* the epoch while recording, else 0. The page is zero in a forked child. */
} hak_live;

extern HAK_TLS_IE hak_thread hak_self;
extern HAK_HIDDEN hak_live *hak_live_page;
extern uint64_t hak_sample_bytes; /* of the segment joined last */
extern hak_share *hak_shared;     /* valid while on */

/* The slow side of entering a hook: nested, not joined yet, forked, or without a ring. True: record, and the
 * thread is marked as inside. */
bool hak_thread_enter(hak_thread *self, hak_frame caller);

/* The same for a sample, where hak_thread_enter is always false. */
bool hak_thread_enter_sample(hak_thread *self, hak_frame caller);

/* What a record is worth when there is no room: an event is counted as lost, and under --drop dropped at
 * once; a part of one is not counted beside it; what later events rest on waits in any case. */
typedef enum hak_weight { HAK_WEIGHT_EVENT, HAK_WEIGHT_PART, HAK_WEIGHT_TABLE } hak_weight;

/* Room for `words` after the head, or NULL: the event is lost and counted, and the walk starts afresh. */
uint64_t *hak_thread_room(hak_thread *self, size_t words, hak_weight weight);

/* Takes part from the library's constructor on. */
void hak_process_start(void);

/* A hook's own frame: BP of its caller, return address; the caller's SP is just above. One word to hand
 * around where the three that it stands for may not be needed. */
typedef const uintptr_t *hak_hook;

#define HAK_HOOK() ((hak_hook)__builtin_frame_address(0))

HAK_INLINE hak_frame hak_hook_caller(hak_hook hook)
{
    return (hak_frame){.pc = hook[1], .sp = (uintptr_t)(hook + 2), .bp = hook[0]};
}

/* False when the calling hook must not record. */
HAK_INLINE bool hak_enter(hak_thread *self, hak_hook hook)
{
    if (HAK_UNLIKELY(self->inside_sp != 0 ||
                     atomic_load_explicit(&hak_live_page->on, memory_order_relaxed) != self->epoch))
        return hak_thread_enter(self, hak_hook_caller(hook));
    self->inside_pc = hook[1];
    self->inside_sp = (uintptr_t)(hook + 2);
    return true;
}

HAK_INLINE void hak_leave(hak_thread *self)
{
    self->inside_sp = 0;
}

/* The collector has read this line the last time round and still has it: asked for some events ahead, it
 * comes without a store that waits. */
#define HAK_RING_AHEAD_WORDS 32

HAK_INLINE void hak_fetch_to_write(const void *at)
{
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)at)); /* any x86-64 knows it, if only as nothing */
}

/* Room for a record, and for a time before it. */
HAK_INLINE uint64_t *hak_reserve(hak_thread *self, size_t words, hak_weight weight)
{
    uint64_t limit = atomic_load_explicit(&self->ring->limit, memory_order_relaxed);
    if (HAK_UNLIKELY(self->head + words + HAK_RECORD_TIME_WORDS > limit))
        return hak_thread_room(self, words + HAK_RECORD_TIME_WORDS, weight);
    uint64_t *at = self->words + (self->head & (HAK_RING_WORDS - 1));
    hak_fetch_to_write(at + HAK_RING_AHEAD_WORDS);
    return at;
}

/* The remembered stacks may be asked: nothing that they rest on has changed, and it is not yet time for a
 * comparison with the unwinder. */
HAK_INLINE bool hak_walk_is_known(hak_thread *self)
{
    return --self->walk->until_check != 0 &&
           self->seen.age == atomic_load_explicit(&hak_walk_age, memory_order_relaxed);
}

/* Stamps the record at `at` and writes its first word; returns where the record is: further on, when the
 * stamp's high half had to be told first. From here to hak_publish the collector waits for this ring. */
HAK_INLINE uint64_t *hak_put_word0(hak_thread *self, uint64_t *at, unsigned kind, unsigned form,
                                   uint32_t stack)
{
    /* Partner: the collector's load of head, HAK_RING_SLACK_TICKS after it took its own stamp. */
    atomic_store_explicit(&self->ring->head, self->head << 1 | HAK_RING_INSIDE, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    uint64_t stamp = hak_share_stamp(self->share);
    if (HAK_UNLIKELY(stamp >> HAK_STAMP_BITS != self->stamp_high)) {
        at[0] = hak_record_word0(0, HAK_RECORD_TIME, 0, 0);
        at[1] = stamp;
        at += HAK_RECORD_TIME_WORDS;
        self->head += HAK_RECORD_TIME_WORDS;
        self->stamp_high = (uint32_t)(stamp >> HAK_STAMP_BITS);
    }
    at[0] = hak_record_word0(stamp, kind, form, stack);
    return at;
}

HAK_INLINE void hak_publish(hak_thread *self, size_t words)
{
    self->head += words;
    /* Partner: the collector's acquire load of head. */
    atomic_store_explicit(&self->ring->head, self->head << 1, memory_order_release);
}

#endif
