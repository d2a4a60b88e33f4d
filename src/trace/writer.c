/* writer.c: joins context map, consistency check, encoder and sink. One thread per writer. */
#include "trace/writer.h"

#include <stdlib.h>
#include <string.h>

#include "trace/check.h"
#include "trace/encode.h"
#include "trace/error.h"
#include "trace/reuse.h"
#include "trace/sink.h"

enum { LIMITED_EVENTS = 1024 }; /* a member holds at least so many, near the limit */

/* Events between looks whether the member is full; divides HAK_MEMBER_EVENTS. What so many events can add to
 * a member of HAK_MEMBER_RAW_TARGET stays far below HAK_TRACE_MEMBER_MAX_BYTES. */
#define FULL_EVENTS 64

struct hak_writer {
    hak_sink *sink;
    hak_encoder *encoder;
    hak_context_map contexts;
    hak_live live;
    hak_reuse reuse;
    hak_bytes thread_ids; /* uint64_t each, by thread index */
    uint32_t threads;
    uint32_t modules;
    uint32_t rows;
    uint32_t rss;
    uint32_t symbols;
    uint64_t last_ns;
    uint64_t given;     /* events taken in */
    uint64_t encoded;   /* events in submitted members */
    uint64_t submitted; /* of these, in the member being encoded: given to the encoder since its last end */
    uint64_t max_bytes; /* of the file; 0: no limit */
    bool stopped;       /* nothing more is written: the sink stopped, or memory ran out */
};

static int put_head(hak_writer *writer, const hak_trace_head *head, hak_trace_error *error)
{
    hak_bytes raw = {.at = NULL};
    hak_encode_head(head, &raw);
    bool ok = !raw.failed && raw.len_bytes <= HAK_TRACE_MEMBER_MAX_BYTES;
    if (ok) {
        memcpy(hak_sink_buffer(writer->sink), raw.at, raw.len_bytes);
        hak_sink_submit(writer->sink, raw.len_bytes, 0);
    }
    hak_bytes_done(&raw);
    return ok ? 0 : hak_trace_fail(error, "out of memory");
}

static void free_writer(hak_writer *writer)
{
    hak_encoder_free(writer->encoder);
    hak_context_map_done(&writer->contexts);
    hak_live_done(&writer->live);
    hak_reuse_clear(&writer->reuse);
    hak_bytes_done(&writer->thread_ids);
    free(writer);
}

hak_writer *hak_writer_open(const char *path, const hak_trace_head *head, const hak_writer_options *options,
                            hak_trace_error *error)
{
    hak_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        hak_trace_fail(error, "out of memory");
        return NULL;
    }
    hak_live_init(&writer->live);
    writer->max_bytes = options->max_bytes;
    writer->encoder = hak_encoder_new();
    if (writer->encoder == NULL || !hak_context_map_init(&writer->contexts)) {
        hak_trace_fail(error, "out of memory");
        free_writer(writer);
        return NULL;
    }
    writer->sink = hak_sink_open(path, options, error);
    if (writer->sink == NULL) {
        free_writer(writer);
        return NULL;
    }
    if (put_head(writer, head, error) != 0) {
        hak_sink_finish(writer->sink, NULL, NULL);
        free_writer(writer);
        return NULL;
    }
    return writer;
}

/* Ends the member being encoded. Once one is lost, later ones must not follow: they would speak of blocks
 * that the reader never saw. */
static void end_member(hak_writer *writer)
{
    if (hak_encoder_empty(writer->encoder))
        return;
    uint32_t events = hak_encoder_events(writer->encoder);
    size_t raw_bytes = hak_encoder_end(writer->encoder, writer->encoded, hak_sink_buffer(writer->sink));
    if (raw_bytes == 0 || events != writer->submitted)
        writer->stopped = true;
    writer->submitted = 0;
    if (hak_sink_stopped(writer->sink))
        writer->stopped = true;
    if (writer->stopped)
        return;
    hak_sink_submit(writer->sink, raw_bytes, events);
    writer->encoded += events;
}

uint32_t hak_writer_context(hak_writer *writer, uint32_t parent, uint64_t pc)
{
    return hak_context_map_add(&writer->contexts, parent, pc, 0); /* a member holds one generation */
}

uint32_t hak_writer_context_hashed(hak_writer *writer, uint32_t parent, uint64_t pc, uint32_t hash)
{
    return hak_context_map_add_hashed(&writer->contexts, parent, pc, 0, hash);
}

uint32_t hak_writer_thread(hak_writer *writer, uint64_t tid, const char *name)
{
    if (writer->threads == HAK_TRACE_MAX_THREADS - 1) {
        writer->stopped = true;
        return 0;
    }
    hak_bytes_raw(&writer->thread_ids, &tid, sizeof tid);
    if (writer->thread_ids.failed) {
        writer->stopped = true;
        return 0;
    }
    hak_encoder_thread(writer->encoder, writer->threads, tid, name);
    return writer->threads++;
}

void hak_writer_thread_name(hak_writer *writer, uint32_t thread, const char *name)
{
    if (thread >= writer->threads)
        return;
    uint64_t tid;
    memcpy(&tid, writer->thread_ids.at + (size_t)thread * sizeof tid, sizeof tid);
    hak_encoder_thread(writer->encoder, thread, tid, name);
}

/* Near the limit members become smaller, so that the last one that does not fit is small: half of what is
 * left will do for it even if it did not compress at all. */
static bool near_limit(hak_writer *writer)
{
    uint32_t events = hak_encoder_events(writer->encoder);
    if (writer->max_bytes == 0 || events < LIMITED_EVENTS || events % LIMITED_EVENTS != 0)
        return false;
    uint64_t written = hak_sink_bytes(writer->sink);
    uint64_t left = written < writer->max_bytes ? writer->max_bytes - written : 0;
    return hak_encoder_bytes(writer->encoder) >= left / 2;
}

static void end_member_if_full(hak_writer *writer)
{
    if (HAK_UNLIKELY(hak_encoder_full(writer->encoder) || near_limit(writer)))
        end_member(writer);
}

void hak_writer_module_load(hak_writer *writer, const hak_trace_module *module)
{
    if (writer->modules == HAK_TRACE_MAX_MODULES || module->start >= module->end)
        return;
    writer->modules++;
    uint64_t identity =
        hak_reuse_identity(module->path, strlen(module->path), module->build_id, module->build_id_bytes);
    if (hak_reuse_load(&writer->reuse, module->start, module->end, identity))
        end_member(writer);
    hak_encoder_module_load(writer->encoder, module);
    end_member_if_full(writer);
}

void hak_writer_module_unload(hak_writer *writer, uint64_t start, uint64_t time_ns)
{
    hak_encoder_module_unload(writer->encoder, start, time_ns);
    end_member_if_full(writer);
}

void hak_writer_row(hak_writer *writer, const hak_trace_row *row)
{
    if (writer->rows == HAK_TRACE_MAX_ROWS)
        return;
    writer->rows++;
    hak_encoder_row(writer->encoder, row);
    end_member_if_full(writer);
}

void hak_writer_rss(hak_writer *writer, const hak_trace_rss *rss)
{
    if (writer->rss == HAK_TRACE_MAX_RSS)
        return;
    writer->rss++;
    hak_encoder_rss(writer->encoder, rss);
    end_member_if_full(writer);
}

void hak_writer_symbol(hak_writer *writer, const hak_trace_symbol *symbol)
{
    if (writer->symbols == HAK_TRACE_MAX_SYMBOLS || symbol->module >= writer->modules || symbol->count == 0 ||
        symbol->count > HAK_TRACE_MAX_FRAMES)
        return;
    writer->symbols++;
    hak_encoder_symbol(writer->encoder, symbol);
    end_member_if_full(writer);
}

void hak_writer_event(hak_writer *writer, const hak_event *event)
{
    writer->given++;
    if (HAK_UNLIKELY(writer->stopped))
        return;
    if (HAK_UNLIKELY(event->thread >= writer->threads || event->context >= writer->contexts.count ||
                     hak_live_apply(&writer->live, event) != NULL))
        return; /* would make the trace invalid: counted as lost */
    hak_event timed;
    if (HAK_UNLIKELY(event->time_ns < writer->last_ns)) {
        timed = *event;
        timed.time_ns = writer->last_ns;
        event = &timed;
    }
    writer->last_ns = event->time_ns;
    hak_encoder_event(writer->encoder, &writer->contexts, event);
    if (++writer->submitted % FULL_EVENTS == 0)
        end_member_if_full(writer);
}

hak_writer_run hak_writer_run_begin(hak_writer *writer)
{
    uint32_t room = FULL_EVENTS - (uint32_t)(writer->submitted % FULL_EVENTS);
    return (hak_writer_run){.encoder = writer->encoder,
                            .live = &writer->live,
                            .contexts = &writer->contexts,
                            .last_ns = writer->last_ns,
                            .room = writer->stopped ? 0 : room};
}

void hak_writer_run_end(hak_writer *writer, uint32_t count, uint64_t last_ns)
{
    writer->given += count;
    writer->submitted += count;
    writer->last_ns = last_ns;
    if (count != 0 && writer->submitted % FULL_EVENTS == 0)
        end_member_if_full(writer);
}

void hak_writer_cut(hak_writer *writer)
{
    end_member(writer);
}

int hak_writer_flush(hak_writer *writer)
{
    end_member(writer);
    hak_sink_drain(writer->sink);
    return hak_writer_failed(writer) ? -1 : 0;
}

uint64_t hak_writer_bytes(const hak_writer *writer)
{
    return hak_sink_bytes(writer->sink);
}

bool hak_writer_failed(const hak_writer *writer)
{
    return writer->stopped || hak_sink_stopped(writer->sink);
}

int hak_writer_failure(const hak_writer *writer)
{
    return hak_sink_failure(writer->sink);
}

int hak_writer_finish(hak_writer *writer, const hak_trace_tail *tail, hak_trace_error *error)
{
    end_member(writer);
    hak_sink_drain(writer->sink);
    uint64_t written = hak_sink_written(writer->sink);
    hak_trace_tail full = *tail;
    full.events_lost += writer->given - written;
    hak_bytes index = {.at = NULL};
    hak_bytes raw = {.at = NULL};
    hak_index_put(hak_sink_index(writer->sink), &index);
    hak_encode_tail(&full, written, &index, &raw);
    int result = hak_sink_finish(writer->sink, &raw, error);
    hak_bytes_done(&raw);
    hak_bytes_done(&index);
    free_writer(writer);
    return result;
}
