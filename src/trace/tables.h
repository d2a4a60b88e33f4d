/* tables.h: what a trace says beside its events: head, threads, modules, contexts, rows, RSS. Owned by one
 * reader. Bounded by the limits of trace_format.h. */
#ifndef HAK_TRACE_TABLES_H
#define HAK_TRACE_TABLES_H

#include "trace/context_map.h"
#include "trace/reuse.h"
#include "trace/trace_format.h"

typedef struct hak_tables {
    hak_trace_head head;
    hak_context_map contexts;
    hak_trace_thread *threads;
    size_t threads_room;
    uint32_t threads_count;
    hak_trace_module *modules; /* in order of load */
    size_t modules_room;
    uint32_t modules_count;
    hak_trace_row *rows;
    size_t rows_room;
    uint32_t rows_count;
    hak_trace_rss *rss;
    size_t rss_room;
    uint32_t rss_count;
    hak_reuse reuse; /* of the modules up to the member at hand */
    hak_trace_symbol *symbols;
    uint32_t *symbol_frames; /* by symbol: its first frame */
    size_t symbols_room;
    size_t symbol_frames_room;
    uint32_t symbols_count;
    hak_trace_frame *frames; /* of all symbols */
    size_t frames_room;
    size_t frames_count;
    struct hak_text_block *text; /* strings live here */
    size_t text_bytes;
} hak_tables;

bool hak_tables_init(hak_tables *tables); /* false: no memory */
void hak_tables_done(hak_tables *tables);

/* Copies, ends with a NUL that is not counted; NULL when HAK_TRACE_MAX_TEXT_BYTES is reached or there is no
 * memory. A NUL inside stays. */
const char *hak_tables_text(hak_tables *tables, const void *text, size_t text_bytes);

/* Each returns NULL or what is wrong (static text). Strings inside belong to the tables already. */
const char *hak_tables_thread(hak_tables *tables, uint64_t index, uint64_t tid, const char *name);
const char *hak_tables_module_load(hak_tables *tables, const hak_trace_module *module);
const char *hak_tables_module_unload(hak_tables *tables, uint64_t start, uint64_t time_ns);
const char *hak_tables_row(hak_tables *tables, hak_trace_row row);
const char *hak_tables_rss(hak_tables *tables, hak_trace_rss rss);
/* Its frames are added one by one behind it, up to its count. */
const char *hak_tables_symbol(hak_tables *tables, hak_trace_symbol symbol);
const char *hak_tables_frame(hak_tables *tables, hak_trace_frame frame);

#endif
