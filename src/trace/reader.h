/* reader.h: a trace file as batches of events. Every byte is hostile until decoded. One reader belongs to one
 * thread; several readers of one file may run at once. Memory: one member, and O(contexts + threads +
 * modules). */
#ifndef HAK_TRACE_READER_H
#define HAK_TRACE_READER_H

#include "trace/event.h"
#include "trace/trace_format.h"

typedef struct hak_reader hak_reader;

enum {
    HAK_READER_PARTIAL =
        1, /* use what is whole: a cut-off or damaged end is the end, hak_reader_partial() tells */
};

/* NULL with *error filled. Only regular files are opened. A ".part" file of a live or killed recording needs
 * PARTIAL. */
hak_reader *hak_reader_open(const char *path, unsigned flags, hak_trace_error *error);
void hak_reader_close(hak_reader *reader);

/* Next batch (the events of one member, time order; batches follow each other in time): 1, 0 at the end, -1
 * with *error filled. The array belongs to the reader until the next call. Every event is valid: op known,
 * slots consistent (an allocated slot was free, a freed one was live), context and thread in range. */
int hak_reader_next(hak_reader *reader, const hak_event **events, size_t *count, hak_trace_error *error);

/* Back to the first event; tables stay. 0 or -1. */
int hak_reader_rewind(hak_reader *reader, hak_trace_error *error);

/* Tables: what has been read so far; complete after hak_reader_next returned 0. Pointers are valid until the
 * next hak_reader_next or close. Context 0 is the root. */
const hak_trace_head *hak_reader_head(const hak_reader *reader);
const hak_trace_tail *hak_reader_tail(const hak_reader *reader);
const hak_trace_node *hak_reader_nodes(const hak_reader *reader,
                                       uint32_t *count); /* [0] is the root, {0, 0} */
const hak_trace_thread *hak_reader_threads(const hak_reader *reader, uint32_t *count);
const hak_trace_module *hak_reader_modules(const hak_reader *reader, uint32_t *count);
const hak_trace_row *hak_reader_rows(const hak_reader *reader, uint32_t *count);
const hak_trace_rss *hak_reader_rss(const hak_reader *reader, uint32_t *count);
uint32_t hak_reader_symbols(const hak_reader *reader);                        /* how many */
hak_trace_symbol hak_reader_symbol(const hak_reader *reader, uint32_t index); /* index < that */
uint32_t hak_reader_slots(const hak_reader *reader); /* slots used so far are 1 … this number */
bool hak_reader_partial(const hak_reader *reader, hak_trace_error *why);

/* Module that held pc at that time, or HAK_TRACE_MODULE_NONE. */
uint32_t hak_reader_module_of(const hak_reader *reader, uint64_t pc, uint64_t time_ns);

#endif
