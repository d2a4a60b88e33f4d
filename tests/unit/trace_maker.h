/* trace_maker.h: random but consistent events for the trace tests. One thread; deterministic by seed. */
#ifndef TESTS_TRACE_MAKER_H
#define TESTS_TRACE_MAKER_H

#include <stdlib.h>
#include <string.h>

#include "core/base/print.h"
#include "trace/slots.h"
#include "trace/writer.h"

enum { MAKER_BLOCKS = 4096, MAKER_SITES = 64 };

typedef struct maker {
    uint64_t state;
    uint64_t time_ns;
    uint32_t threads;
    uint32_t sites[MAKER_SITES];
    hak_slots *slots;
    uint64_t address[MAKER_BLOCKS]; /* 0: free */
    uint64_t next_address;
} maker;

static inline uint64_t maker_random(maker *m, uint64_t below)
{
    m->state = m->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (m->state >> 33) % below;
}

/* Declares the threads and a tree of contexts. */
static inline void maker_begin(maker *m, hak_writer *writer, uint64_t seed, uint32_t threads)
{
    memset(m, 0, sizeof *m);
    m->state = seed;
    m->threads = threads;
    m->slots = hak_slots_new();
    m->next_address = 0x10000;
    hak_assert(m->slots != NULL);
    for (uint32_t i = 0; i < threads; i++)
        hak_assert(hak_writer_thread(writer, 1000 + i, i == 0 ? "main" : "worker") == i);
    for (unsigned i = 0; i < MAKER_SITES; i++) {
        uint32_t parent = i == 0 ? 0 : m->sites[maker_random(m, i)];
        m->sites[i] = hak_writer_context(writer, parent, 0x400000 + maker_random(m, 100000));
    }
}

static inline uint64_t maker_size(maker *m)
{
    switch (maker_random(m, 8)) {
    case 0:
        return 0;
    case 1:
        return maker_random(m, 1 << 20);
    case 2:
        return UINT64_MAX - maker_random(m, 3);
    default:
        return 8 * maker_random(m, 16);
    }
}

/* One event that fits what came before. */
static inline hak_event maker_event(maker *m)
{
    hak_event event = {.time_ns = m->time_ns += maker_random(m, 300),
                       .thread = (uint32_t)maker_random(m, m->threads)};
    uint64_t *block = &m->address[maker_random(m, MAKER_BLOCKS)];
    uint64_t what = maker_random(m, 100);
    uint32_t lost;
    event.context = maker_random(m, 4) == 0 ? 0 : m->sites[maker_random(m, MAKER_SITES)];
    if (what < 2) {
        event.op = what == 0 ? HAK_OP_MALLOC : HAK_OP_REALLOC;
        event.flags = HAK_EVENT_FAILED;
        event.size_bytes = maker_size(m);
        if (what == 1 && *block != 0) { /* a failed realloc leaves its block alone: look the slot up */
            event.slot_old = hak_slots_take(m->slots, *block);
            hak_assert(hak_slots_add(m->slots, *block, &lost) == event.slot_old);
        }
    } else if (what < 4) {
        event.op = HAK_OP_FREE;
        event.flags = what == 2 ? HAK_EVENT_FOREIGN : 0;
    } else if (*block == 0) {
        event.op = (uint8_t)maker_random(m, HAK_OP_REALLOC + 1);
        event.align_log2 = event.op == HAK_OP_MEMALIGN ? (uint8_t)maker_random(m, 22) : 0;
        event.flags = event.op == HAK_OP_NEW && what < 20 ? HAK_EVENT_NOTHROW : 0;
        event.size_bytes = maker_size(m);
        *block = m->next_address += 16;
        event.slot = hak_slots_add(m->slots, *block, &lost);
    } else if (what < 15) {
        event.op = HAK_OP_REALLOC;
        event.size_bytes = maker_size(m);
        event.slot_old = hak_slots_take(m->slots, *block);
        *block = what < 5 ? 0 : what < 10 ? *block : (m->next_address += 16);
        event.flags = what >= 10 ? HAK_EVENT_MOVED : 0;
        event.slot = *block == 0 ? 0 : hak_slots_add(m->slots, *block, &lost);
    } else {
        event.op = (uint8_t)(HAK_OP_FREE + maker_random(m, HAK_OP_DELETE_ARRAY - HAK_OP_FREE + 1));
        event.slot_old = hak_slots_take(m->slots, *block);
        *block = 0;
    }
    return event;
}

static inline void maker_end(maker *m)
{
    hak_slots_free(m->slots);
}

#endif
