/* replay_maker.h: random programs as events: threads that start and end, blocks that move between them, every
 * entry point. Deterministic by seed. One thread. */
#ifndef TESTS_REPLAY_MAKER_H
#define TESTS_REPLAY_MAKER_H

#include <stdlib.h>
#include <string.h>

#include "core/base/print.h"
#include "trace/writer.h"

enum { REPLAY_MAKER_BLOCKS = 20000, REPLAY_MAKER_THREADS = 512 };

typedef struct replay_maker {
    uint64_t state;
    uint64_t time_ns;
    uint32_t live[REPLAY_MAKER_BLOCKS]; /* slots */
    uint32_t owner[REPLAY_MAKER_BLOCKS];
    uint8_t aligned[REPLAY_MAKER_BLOCKS];
    uint32_t live_count;
    uint32_t spare[REPLAY_MAKER_BLOCKS];
    uint32_t spare_count, slots;
    uint32_t threads, alive[REPLAY_MAKER_THREADS], alive_count, started;
    unsigned cross_percent; /* frees of other threads' blocks */
    uint32_t blocks_max;
    uint64_t size_max;
} replay_maker;

static inline uint32_t replay_maker_random(replay_maker *m, uint32_t below)
{
    m->state = m->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((m->state >> 33) % below);
}

static inline uint32_t replay_maker_slot(replay_maker *m)
{
    return m->spare_count != 0 ? m->spare[--m->spare_count] : ++m->slots;
}

static inline uint64_t replay_maker_size(replay_maker *m)
{
    uint32_t kind = replay_maker_random(m, 100);
    if (kind < 70)
        return replay_maker_random(m, 200);
    if (kind < 95)
        return replay_maker_random(m, 2000);
    return replay_maker_random(m, (uint32_t)m->size_max) + 1;
}

static inline hak_event replay_maker_alloc(replay_maker *m, uint32_t thread)
{
    static const uint8_t ops[] = {
        HAK_OP_MALLOC,    HAK_OP_MALLOC,  HAK_OP_MALLOC,      HAK_OP_CALLOC,        HAK_OP_NEW,
        HAK_OP_NEW_ARRAY, HAK_OP_REALLOC, HAK_OP_MEMALIGN,    HAK_OP_ALIGNED_ALLOC, HAK_OP_POSIX_MEMALIGN,
        HAK_OP_VALLOC,    HAK_OP_PVALLOC, HAK_OP_REALLOCARRAY};
    hak_event event = {.thread = thread, .op = ops[replay_maker_random(m, sizeof ops)]};
    event.size_bytes = replay_maker_size(m);
    event.slot = replay_maker_slot(m);
    if (event.op >= HAK_OP_MEMALIGN && event.op <= HAK_OP_POSIX_MEMALIGN)
        event.align_log2 = (uint8_t)(4 + replay_maker_random(m, 9));
    m->live[m->live_count] = event.slot;
    m->aligned[m->live_count] = event.align_log2;
    m->owner[m->live_count++] = thread;
    return event;
}

static inline hak_event replay_maker_end(replay_maker *m, uint32_t thread, bool regrow)
{
    uint32_t at = m->live_count - 1 - replay_maker_random(m, m->live_count < 200 ? m->live_count : 200);
    if (m->owner[at] != thread && replay_maker_random(m, 100) >= m->cross_percent)
        for (uint32_t i = 0; i < m->live_count && m->owner[at] != thread; i++)
            at = (at + 1) % m->live_count;
    hak_event event = {.thread = thread, .slot_old = m->live[at]};
    m->spare[m->spare_count++] = event.slot_old;
    if (regrow) {
        event.op = HAK_OP_REALLOC;
        event.size_bytes = replay_maker_size(m) + 1;
        event.slot = replay_maker_slot(m);
        m->live[at] = event.slot;
        m->owner[at] = thread;
        return event;
    }
    static const uint8_t ops[] = {HAK_OP_FREE,         HAK_OP_FREE,  HAK_OP_FREE,      HAK_OP_DELETE,
                                  HAK_OP_DELETE_ARRAY, HAK_OP_CFREE, HAK_OP_FREE_SIZED};
    event.op = ops[replay_maker_random(m, sizeof ops)];
    if (m->aligned[at] != 0 && event.op > HAK_OP_CFREE)
        event.op = HAK_OP_FREE; /* what was got by alignment is freed plainly: any target accepts that */
    m->live_count--;
    m->live[at] = m->live[m->live_count];
    m->owner[at] = m->owner[m->live_count];
    m->aligned[at] = m->aligned[m->live_count];
    return event;
}

static inline hak_event replay_maker_thread(replay_maker *m, bool start)
{
    if (start) {
        m->alive[m->alive_count++] = m->started;
        return (hak_event){.thread = m->started++, .op = HAK_OP_THREAD_START};
    }
    uint32_t at = 1 + replay_maker_random(m, m->alive_count - 1);
    hak_event event = {.thread = m->alive[at], .op = HAK_OP_THREAD_END};
    m->alive[at] = m->alive[--m->alive_count];
    return event;
}

static inline hak_event replay_maker_next(replay_maker *m)
{
    uint32_t dice = replay_maker_random(m, 1000);
    hak_event event;
    m->time_ns += replay_maker_random(m, 100);
    uint32_t thread = m->alive[replay_maker_random(m, m->alive_count)];
    if (m->started < m->threads && dice < 20)
        event = replay_maker_thread(m, true);
    else if (m->alive_count > 4 && m->started < m->threads && dice < 38)
        event = replay_maker_thread(m, false);
    else if (dice < 45)
        event = (hak_event){.thread = thread, .op = HAK_OP_FREE}; /* free(NULL) */
    else if (m->live_count < 10 || (m->live_count < m->blocks_max && dice < 520))
        event = replay_maker_alloc(m, thread);
    else
        event = replay_maker_end(m, thread, dice > 950);
    event.time_ns = m->time_ns;
    return event;
}

static inline void replay_maker_begin(replay_maker *m, uint64_t seed, uint32_t threads,
                                      unsigned cross_percent)
{
    memset(m, 0, sizeof *m);
    m->state = seed;
    m->threads = threads;
    m->cross_percent = cross_percent;
    m->alive_count = m->started = 1;
    m->blocks_max = 4000;
    m->size_max = 100000;
}

/* A whole trace of `count` events in the file; an existing one is replaced. */
static inline void replay_maker_file(replay_maker *m, const char *path, uint64_t count)
{
    hak_trace_error error;
    const hak_trace_head head = {.program = "/usr/bin/made",
                                 .command = "made",
                                 .command_bytes = 4,
                                 .recorder = "test",
                                 .pid = 1000,
                                 .clock = HAK_CLOCK_NONE,
                                 .depth_max = 1};
    const hak_writer_options options = {.force = true};
    hak_writer *writer = hak_writer_open(path, &head, &options, &error);
    hak_assert(writer != NULL);
    for (uint32_t i = 0; i < m->threads; i++)
        hak_writer_thread(writer, 1000 + i, "");
    for (uint64_t i = 0; i < count; i++) {
        hak_event event = replay_maker_next(m);
        hak_writer_event(writer, &event);
    }
    const hak_trace_tail tail = {.ended = true, .duration_ns = m->time_ns};
    hak_assert(hak_writer_finish(writer, &tail, &error) == 0);
}

#endif
