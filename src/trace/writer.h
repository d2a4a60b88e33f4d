/* writer.h: events in, trace file out. One writer belongs to one thread (the collector's or an importer's).
 *
 * Events come in order of time; a writer stamps an earlier one with the last time. The file is a sequence of
 * independent gzip members (RFC 1952), written to "<path>.part" and renamed by hak_writer_finish. Compression
 * runs in the caller's thread, or in a thread of the writer's when `background` is set. Memory: O(distinct
 * contexts). */
#ifndef HAK_TRACE_WRITER_H
#define HAK_TRACE_WRITER_H

#include "trace/event.h"
#include "trace/trace_format.h"

typedef struct hak_writer hak_writer;

typedef struct hak_writer_options {
    int level;          /* zlib level, 1..9; 0 means 1 */
    bool background;    /* compress and write in an own thread */
    bool force;         /* replace an existing file */
    uint64_t max_bytes; /* stop after that many compressed bytes; 0: no limit */
} hak_writer_options;

/* NULL with *error filled when the file cannot be created (it exists and !force, no such folder, …). The file
 * is opened O_EXCL|O_NOFOLLOW|O_CLOEXEC, mode 0600. */
hak_writer *hak_writer_open(const char *path, const hak_trace_head *head, const hak_writer_options *options,
                            hak_trace_error *error);

/* The node for pc under parent (0: root), created when new. 0 (root) once HAK_TRACE_MAX_CONTEXTS is reached.
 */
uint32_t hak_writer_context(hak_writer *writer, uint32_t parent, uint64_t pc);

/* The same where the path's hash is known (context_map.h). */
uint32_t hak_writer_context_hashed(hak_writer *writer, uint32_t parent, uint64_t pc, uint32_t hash);

/* Declare before first use in an event; returns the dense index. name may be "" and set later. */
uint32_t hak_writer_thread(hak_writer *writer, uint64_t tid, const char *name);
void hak_writer_thread_name(hak_writer *writer, uint32_t thread, const char *name);

void hak_writer_module_load(hak_writer *writer,
                            const hak_trace_module *module); /* from_ns is taken, to_ns ignored */
void hak_writer_module_unload(hak_writer *writer, uint64_t start, uint64_t time_ns);
void hak_writer_row(hak_writer *writer, const hak_trace_row *row);
void hak_writer_rss(hak_writer *writer, const hak_trace_rss *rss);
void hak_writer_symbol(hak_writer *writer, const hak_trace_symbol *symbol); /* module: in order of loads */

void hak_writer_event(hak_writer *writer, const hak_event *event);

/* For a caller that puts plain events itself (encode_put.h): what it needs, and how many it may put before it
 * says so. None, while the writer is stopped: then hak_writer_event counts what is lost. */
typedef struct hak_writer_run {
    struct hak_encoder *encoder;
    struct hak_live *live;
    const struct hak_context_map *contexts;
    uint64_t last_ns; /* of the last event; no next one may be earlier */
    uint32_t room;    /* events */
} hak_writer_run;

hak_writer_run hak_writer_run_begin(hak_writer *writer);

/* `count` events have been put, up to last_ns. */
void hak_writer_run_end(hak_writer *writer, uint32_t count, uint64_t last_ns);

/* Ends the current member: it is written as soon as possible. */
void hak_writer_cut(hak_writer *writer);

/* Ends the current member, so that all so far is on disk. 0, or -1 once any write has failed. */
int hak_writer_flush(hak_writer *writer);

uint64_t hak_writer_bytes(const hak_writer *writer); /* compressed, written so far */
bool hak_writer_failed(
    const hak_writer *writer); /* a write failed, or max_bytes is reached: later events are counted as lost */

/* errno of the write that failed; 0: none did. */
int hak_writer_failure(const hak_writer *writer);

/* Writes tail and index, renames, frees the writer: also after a failed write, when what was whole leaves
 * room for them. 0, or -1 with *error filled: then the .part file stays. */
int hak_writer_finish(hak_writer *writer, const hak_trace_tail *tail, hak_trace_error *error);

#endif
