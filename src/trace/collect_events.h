/* collect_events.h: records in order of time become events of the trace: addresses to slots, stacks to
 * contexts, tids to threads, and the figures of the summary. One thread. */
#ifndef HAK_TRACE_COLLECT_EVENTS_H
#define HAK_TRACE_COLLECT_EVENTS_H

#include "trace/collect_ring.h"
#include "trace/slots.h"
#include "trace/weight.h"
#include "trace/writer.h"

/* What is known of a live block, by slot. */
typedef struct hak_block {
    uint64_t size_bytes;
    uint64_t ordinal; /* allocations of its thread before it */
    uint32_t thread;
    uint32_t weight;
} hak_block;

typedef struct hak_events {
    hak_writer *writer;
    const char *program; /* path of the executable; the caller's */
    hak_slots *slots;
    hak_block *blocks;
    size_t blocks_room;
    uint64_t *tids; /* by thread index; cleared when the thread has ended */
    uint32_t threads;
    hak_weigher weigher;
    uint64_t allocations; /* this and the next ones: estimates where calls are sampled */
    uint64_t temporary;
    uint64_t live_bytes;
    uint64_t peak_bytes;
    uint64_t lost;    /* appended, but of no use: memory ran out here, or a ring was broken */
    unsigned pending; /* consumers within a realloc */
} hak_events;

/* False: no memory. */
bool hak_events_init(hak_events *events, hak_writer *writer, const char *program, uint64_t sample_bytes);
void hak_events_done(hak_events *events);

/* Uses one record at that time. Except for allocations: hak_events_owner says who must go first. False,
 * and nothing has been used: it allocates a block that is still live here, so a free of another thread may
 * have to go first; with `force` that block is then said to have been freed unseen. */
bool hak_events_record(hak_events *events, hak_consumer *consumer, const hak_record *record, uint64_t time_ns,
                       bool force);

/* The address of the record is still in the hands of a realloc of another thread: that thread's end of
 * realloc must be used first. NULL: nobody's. */
hak_consumer *hak_events_owner(hak_events *events, hak_consumer *consumers, size_t count,
                               const hak_consumer *consumer, const hak_record *record);

/* The thread ended without saying so. */
void hak_events_thread_gone(hak_events *events, hak_consumer *consumer, uint64_t time_ns);

#endif
