/* encode.h: events and tables into the payload of one data member; the layout is hakmem-trace(5). One encoder
 * belongs to one thread. It knows nothing of files or compression. */
#ifndef HAK_TRACE_ENCODE_H
#define HAK_TRACE_ENCODE_H

#include "trace/bytes.h"
#include "trace/context_map.h"
#include "trace/event.h"

typedef struct hak_encoder hak_encoder;

hak_encoder *hak_encoder_new(void); /* NULL: no memory */
void hak_encoder_free(hak_encoder *encoder);

/* Takes an event that is consistent (check.h), with its context in the map and time not before the last
 * one's. Call hak_encoder_end when hak_encoder_full says so, before the next one. */
void hak_encoder_event(hak_encoder *encoder, const hak_context_map *map, const hak_event *event);

void hak_encoder_thread(hak_encoder *encoder, uint32_t index, uint64_t tid, const char *name);
void hak_encoder_module_load(hak_encoder *encoder, const hak_trace_module *module);
void hak_encoder_module_unload(hak_encoder *encoder, uint64_t start, uint64_t time_ns);
void hak_encoder_row(hak_encoder *encoder, const hak_trace_row *row);
void hak_encoder_rss(hak_encoder *encoder, const hak_trace_rss *rss);
void hak_encoder_symbol(hak_encoder *encoder, const hak_trace_symbol *symbol);

bool hak_encoder_full(const hak_encoder *encoder);
size_t hak_encoder_bytes(const hak_encoder *encoder); /* of the payload so far, nearly */
bool hak_encoder_empty(const hak_encoder *encoder);
uint32_t hak_encoder_events(const hak_encoder *encoder); /* in the member so far */

/* Writes the payload (HAK_TRACE_MEMBER_MAX_BYTES of room) and begins the next member. first_index: events in
 * all members before. Returns its length, 0 when memory ran out while encoding; the member is then lost. */
size_t hak_encoder_end(hak_encoder *encoder, uint64_t first_index, uint8_t *raw);

/* Payloads of the first and the last member. */
void hak_encode_head(const hak_trace_head *head, hak_bytes *raw);
void hak_encode_tail(const hak_trace_tail *tail, uint64_t events, const hak_bytes *index_body,
                     hak_bytes *raw);

#endif
