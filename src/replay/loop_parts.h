/* loop_parts.h: what loop.c, loop_api.c and loop_run.h share. For those only. */
#ifndef HAK_REPLAY_LOOP_PARTS_H
#define HAK_REPLAY_LOOP_PARTS_H

#include <pthread.h>
#include <string.h>

#include "core/base/bits.h"
#include "replay/latency.h"
#include "replay/loop.h"
#include "replay/measure.h"
#include "replay/sync.h"
#include "replay/ticks.h"
#include "trace/event.h"

/* Compiled in: a run tests none of it. */
typedef enum run_mode {
    MODE_PLAIN,
    MODE_OBSERVED, /* live bytes and the number of calls begun are published */
    MODE_LATENCY,  /* every call is timed */
    MODE_COUNT
} run_mode;

typedef struct player {
    alignas(HAK_CACHE_LINE) hak_loop *loop;
    const hak_w_thread *thread;
    hak_latency *latency; /* [HAK_LATENCY_POINT_COUNT], shared with few others; with MODE_LATENCY */
    uint64_t idle_ticks;  /* spent waiting and polluting on purpose, on the processor */
    uint32_t index;
    uint32_t epoch;
    uint32_t stack;
    uint32_t next_exited; /* index of the player that exited before this one, plus one */
    bool created;
    pthread_t handle;
    hak_waiter waiter;
    hak_fiber fiber; /* where there are more threads than processors */
} player;

struct hak_loop {
    const uint64_t *region;
    const hak_w_header *head;
    const hak_w_thread *threads;
    const hak_api *api;
    hak_loop_options options;
    void (*run_stream)(player *);
    void **slots;
    hak_cell *cells;
    hak_epochs epochs;
    hak_fibers *fibers; /* NULL: threads run by themselves */
    player *players;
    char *stacks;
    uint32_t *free_stacks;
    uint32_t free_stack_count;
    int error; /* errno of a thread that could not be created */
    uint64_t start_ns, start_ticks;
    uint64_t end_ns;
    double ticks_per_ns;
    volatile char *pollution;
    alignas(HAK_CACHE_LINE) _Atomic uint32_t running; /* streams not at their end */
    _Atomic uint32_t released;                        /* the pass is over: parked threads go */
    _Atomic uint32_t exited;                          /* head of the list of players that exit, plus one */
    _Atomic uint64_t failed;
    _Atomic uint64_t idle_ticks;
    _Atomic uint64_t dropped_bytes; /* of the region: no longer mapped in */
};

/* Rare entry points (loop_api.c). */
void *hak_api_alloc(const hak_api *api, hak_op op, unsigned flags, size_t align, size_t size);
void hak_api_free(const hak_api *api, hak_op op, void *block, size_t align, size_t old);

/* What a program does with the part [old, size) of a block it just got. */
HAK_INLINE void touch_block(char *block, uint64_t old, uint64_t size, hak_touch touch)
{
    if (touch == HAK_TOUCH_NONE || old >= size)
        return;
    if (touch == HAK_TOUCH_WHOLE || touch == HAK_TOUCH_USE) {
        memset(block + old, 0x5a, size - old);
        return;
    }
    volatile char *at = block + old;
    uintptr_t last = (uintptr_t)block + size - 1;
    *at = 1;
    if (HAK_LIKELY(((uintptr_t)at ^ last) < HAK_OS_PAGE_BYTES))
        return;
    while ((at = (volatile char *)hak_align_down((uintptr_t)at + HAK_OS_PAGE_BYTES, HAK_OS_PAGE_BYTES)) <=
           (volatile char *)last)
        *at = 1;
}

/* HAK_TOUCH_USE: a program looks at what it is about to free, as destructors do; where the allocator put the
 * block decides what that costs. */
HAK_INLINE void use_block(const char *block, uint64_t size, hak_touch touch)
{
    if (touch != HAK_TOUCH_USE || block == NULL)
        return;
    for (uint64_t at = 0; at < size; at += HAK_CACHE_LINE)
        (void)*(const volatile char *)(block + at);
}

/* MODE_OBSERVED: the sum of live bytes, in the order in which the replay really went. */
HAK_INLINE void live_add(hak_loop *loop, uint64_t bytes)
{
    uint64_t now = atomic_fetch_add_explicit(&loop->options.live->bytes, bytes, memory_order_relaxed) + bytes;
    uint64_t max = atomic_load_explicit(&loop->options.live->max, memory_order_relaxed);
    while (now > max && !atomic_compare_exchange_weak_explicit(&loop->options.live->max, &max, now,
                                                               memory_order_relaxed, memory_order_relaxed)) {
    }
}

HAK_INLINE void live_sub(hak_loop *loop, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&loop->options.live->bytes, bytes, memory_order_relaxed);
}

HAK_INLINE void begin_note(player *me)
{
    _Atomic uint64_t *begun = &me->loop->options.begun[me->index];
    atomic_store_explicit(begun, atomic_load_explicit(begun, memory_order_relaxed) + 1, memory_order_relaxed);
}

#endif
