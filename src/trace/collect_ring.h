/* collect_ring.h: the reading side of one ring. Nothing read from the ring is believed. One thread. */
#ifndef HAK_TRACE_COLLECT_RING_H
#define HAK_TRACE_COLLECT_RING_H

#include "trace/collect_stack.h"
#include "trace/encode_put.h"
#include "trace/ring.h"

typedef struct hak_consumer {
    hak_ring *ring;
    const uint64_t *words;
    uint64_t tail;    /* words consumed */
    uint64_t visible; /* words that may be consumed */
    uint64_t high;    /* half of the stamps to come */
    uint64_t last;    /* stamp used last: a thread's events keep their order */
    bool busy;        /* its next record waits for another ring's free */
    bool broken;      /* the producer wrote nonsense: the ring is skipped from then on */

    bool has_thread;
    uint32_t thread; /* index in the trace */
    uint64_t tid;
    bool end_seen;
    uint64_t pending;     /* block handed to a realloc that has not ended; 0: none */
    bool pending_gone;    /* …and its address has a new owner already */
    uint64_t allocations; /* of this thread */
    hak_stack_ids stacks;
    hak_lane lane;
} hak_consumer;

/* A record, decoded as far as its length. */
typedef struct hak_record {
    uint64_t stamp; /* full */
    uint32_t kind;
    uint32_t form; /* HAK_RECORD_STACK… */
    uint32_t flags;
    uint32_t words;
    uint32_t stack;
    const uint64_t *at;
    uint64_t address;
    uint64_t size; /* of MODULE_LOAD: its word of lengths */
    uint32_t align_log2;
    uint32_t same;   /* of a stack described here: frames that it shares with the one described before */
    uint32_t frames; /* the others */
    const uint64_t *pcs;
} hak_record;

/* The next record that is visible; false: none. Takes in padding and times. Does not consume. */
bool hak_consumer_peek(hak_consumer *consumer, hak_record *record);

/* After the record has been used. */
void hak_consumer_take(hak_consumer *consumer, const hak_record *record);

/* Tells the producer how far it may go, and wakes it if it waits. */
void hak_consumer_release(hak_consumer *consumer);

/* Now and then while more is being read: one that waits sleeps on until it has room for a good while. */
void hak_consumer_release_part(hak_consumer *consumer);

#endif
