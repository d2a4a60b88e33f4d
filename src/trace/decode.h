/* decode.h: the payload of one member back into tables and events. Every byte is hostile: all numbers are
 * checked, nothing is allocated by a count that the payload does not itself fill. One thread per decoder. */
#ifndef HAK_TRACE_DECODE_H
#define HAK_TRACE_DECODE_H

#include "core/base/wire.h"
#include "trace/event.h"
#include "trace/layout.h"
#include "trace/model.h"
#include "trace/tables.h"

/* A kind, ready to be copied. */
typedef struct hak_decode_kind {
    hak_event event; /* thread (of the trace), op, flags, align_log2 */
    uint32_t thread; /* of the member */
    uint8_t shape;
} hak_decode_kind;

/* A context as the member lists it. */
typedef struct hak_decode_context {
    uint64_t pc;
    uint32_t parent; /* local number, below its own */
    uint32_t generation;
    uint32_t hash; /* hak_context_hash */
} hak_decode_context;

typedef struct hak_decoder {
    /* tables of the member */
    uint32_t *contexts; /* local to the trace's number; [0] is the root */
    size_t contexts_room;
    uint32_t contexts_count;    /* root included */
    hak_decode_context *listed; /* those of the section, before they have numbers of the trace */
    size_t listed_room;
    uint32_t *threads;
    size_t threads_room;
    uint32_t threads_count;
    hak_decode_kind *kinds;
    size_t kinds_room;
    uint32_t kinds_count;
    /* events */
    hak_wire_in columns[HAK_COLUMN_COUNT];
    hak_model model;
    uint64_t time_ns;     /* of the last event decoded */
    uint64_t first_index; /* events before this member, as it says */
    uint32_t events;      /* in this member */
    uint32_t left;        /* of these, not yet decoded */
} hak_decoder;

void hak_decoder_init(hak_decoder *decoder);
void hak_decoder_done(hak_decoder *decoder);

/* The payload's kind (HAK_PAYLOAD_*), 0 with *fault set when it is none that we know. */
unsigned hak_decode_prefix(const uint8_t *raw, size_t raw_bytes, const char **fault);

/* Sections of a head, data or tail payload into the tables (and, for data, the columns into the decoder).
 * NULL, or what is wrong (static text). raw must stay until the events are decoded. `again`: the tables have
 * taken this payload before (a second pass). */
const char *hak_decode_head(const uint8_t *raw, size_t raw_bytes, hak_tables *tables);
const char *hak_decode_data(hak_decoder *decoder, const uint8_t *raw, size_t raw_bytes, hak_tables *tables,
                            bool again);
const char *hak_decode_tail(const uint8_t *raw, size_t raw_bytes, hak_trace_tail *tail, uint64_t *events,
                            hak_wire_in *index);

/* Up to max of the member's events; *count is set. NULL, or what is wrong; then *count events before it are
 * whole. Once none is left, all columns must have been used up. Liveness of slots is not checked here. */
const char *hak_decode_events(hak_decoder *decoder, hak_event *events, size_t max, size_t *count);

#endif
