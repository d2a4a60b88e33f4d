/* reader.c: a trace file member by member. Joins file, unpacker, decoder, tables and the consistency check.
 * Every byte is hostile until it went through them. One thread per reader. */
#include "trace/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trace/check.h"
#include "trace/decode.h"
#include "trace/error.h"
#include "trace/grow.h"
#include "trace/gzip.h"
#include "trace/index.h"

enum { BATCH_EVENTS = 8192 }; /* 384 KiB: stays in the second-level cache */

/* Incompressible payloads grow by less than this. */
#define PACKED_MAX_BYTES (HAK_TRACE_MEMBER_MAX_BYTES + HAK_TRACE_MEMBER_MAX_BYTES / 16 + 4096)

struct hak_reader {
    int fd;
    unsigned flags;
    uint64_t file_bytes;
    uint64_t offset_bytes; /* of the member being read */
    uint64_t next_bytes;   /* of the one after it */
    uint64_t tables_bytes; /* members before this offset are in the tables already */
    uint64_t head_bytes;   /* length of the first member */
    uint64_t faulty_bytes; /* of the member whose tables are damaged; 0: none was met */
    const char *fault;     /* in it */
    uint64_t events;       /* whole ones so far */
    uint64_t last_ns;
    uint8_t *packed;
    size_t packed_room;
    uint8_t *raw;
    size_t raw_room;
    size_t raw_bytes;
    hak_unpacker *unpacker;
    hak_decoder decoder;
    hak_tables tables;
    hak_live live;
    hak_index index;
    hak_trace_tail tail;
    bool head_done;
    bool ended;   /* tail read, or the cut end of a partial trace */
    bool partial; /* `why` says what is missing */
    hak_trace_error why;
    hak_event *batch;
};

/* ---- faults ---- */

static int fail_at(hak_reader *reader, hak_trace_error *error, const char *consequence, const char *fault)
{
    hak_trace_fail(error, "%s after event %llu (%s at byte %llu)%s", consequence,
                   (unsigned long long)reader->events, fault, (unsigned long long)reader->offset_bytes,
                   reader->head_done ? "; use --partial to take what is whole" : "");
    if (error != NULL) {
        error->offset_bytes = reader->offset_bytes;
        error->event_index = reader->events;
    }
    return -1;
}

static int damaged(hak_reader *reader, hak_trace_error *error, const char *fault)
{
    return fail_at(reader, error, "damaged", fault);
}

/* A fault past the head ends a partial trace where it is whole: 0. Else -1. */
static int end_or_fail(hak_reader *reader, hak_trace_error *error)
{
    if ((reader->flags & HAK_READER_PARTIAL) == 0 || !reader->head_done)
        return -1;
    reader->ended = reader->partial = true;
    reader->decoder.left = 0;
    if (error != NULL)
        reader->why = *error;
    return 0;
}

/* ---- members ---- */

static int read_at(hak_reader *reader, uint8_t *to, size_t len_bytes, uint64_t at, hak_trace_error *error)
{
    while (len_bytes != 0) {
        ssize_t n = pread(reader->fd, to, len_bytes, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return damaged(reader, error, strerror(errno));
        if (n == 0)
            return fail_at(reader, error, "cut off", "the file shrank");
        to += n;
        at += (uint64_t)n;
        len_bytes -= (size_t)n;
    }
    return 0;
}

/* Reads and inflates the member at next_bytes: 1, 0 at the end of the file, -1. */
static int next_member(hak_reader *reader, hak_trace_error *error)
{
    uint8_t header[HAK_GZIP_HEADER_BYTES];
    size_t member_bytes;
    reader->offset_bytes = reader->next_bytes;
    uint64_t left = reader->file_bytes - reader->offset_bytes;
    if (left == 0)
        return 0;
    size_t have = left < sizeof header ? (size_t)left : sizeof header;
    if (read_at(reader, header, have, reader->offset_bytes, error) != 0)
        return -1;
    if (have < sizeof header && (reader->head_done || memcmp(header, "\x1f\x8b", have < 2 ? have : 2) == 0))
        return fail_at(reader, error, "cut off", "last member incomplete");
    if (have < sizeof header || !hak_gzip_header(header, &member_bytes, &reader->raw_bytes))
        return reader->head_done
                   ? damaged(reader, error, "not a member of a hakmem trace")
                   : hak_trace_fail(error, "not a hakmem trace (or compressed anew: then its members "
                                           "are lost)");
    if (reader->raw_bytes > HAK_TRACE_MEMBER_MAX_BYTES || member_bytes > PACKED_MAX_BYTES)
        return damaged(reader, error, "member larger than the format allows");
    if (member_bytes > left)
        return fail_at(reader, error, "cut off", "last member incomplete");
    if (!HAK_GROW(&reader->packed, &reader->packed_room, member_bytes) ||
        !HAK_GROW(&reader->raw, &reader->raw_room, reader->raw_bytes))
        return damaged(reader, error, "out of memory");
    if (read_at(reader, reader->packed, member_bytes, reader->offset_bytes, error) != 0)
        return -1;
    if (!hak_unpacker_unpack(reader->unpacker, reader->packed, member_bytes, reader->raw, reader->raw_bytes))
        return damaged(reader, error, "member does not match its checksum or length");
    reader->next_bytes = reader->offset_bytes + member_bytes;
    return 1;
}

static int take_head(hak_reader *reader, hak_trace_error *error)
{
    int got = next_member(reader, error);
    if (got <= 0)
        return got == 0 ? hak_trace_fail(error, "empty file") : -1;
    const char *fault = NULL;
    unsigned kind = hak_decode_prefix(reader->raw, reader->raw_bytes, &fault);
    if (kind != 0 && kind != HAK_PAYLOAD_HEAD)
        fault = "does not begin with a head";
    if (fault == NULL)
        fault = hak_decode_head(reader->raw, reader->raw_bytes, &reader->tables);
    if (fault != NULL)
        return hak_trace_fail(error, "%s", fault);
    reader->head_done = true;
    reader->head_bytes = reader->next_bytes;
    if (!hak_index_add(&reader->index, reader->head_bytes, 0))
        return hak_trace_fail(error, "out of memory");
    return 0;
}

static int take_data(hak_reader *reader, hak_trace_error *error)
{
    uint64_t before_ns = reader->last_ns;
    bool again = reader->offset_bytes < reader->tables_bytes;
    /* What was read before the fault is in the tables, so another look might find less wrong. */
    if (reader->offset_bytes == reader->faulty_bytes)
        return damaged(reader, error, reader->fault);
    const char *fault =
        hak_decode_data(&reader->decoder, reader->raw, reader->raw_bytes, &reader->tables, again);
    if (fault == NULL && !again)
        reader->tables_bytes = reader->next_bytes;
    if (fault != NULL) {
        reader->faulty_bytes = reader->offset_bytes;
        reader->fault = fault;
    }
    if (fault == NULL && reader->decoder.events != 0) {
        if (reader->decoder.first_index != reader->events)
            fault = "a member is missing or out of order";
        else if (reader->decoder.time_ns < before_ns)
            fault = "time runs backwards";
    }
    if (fault == NULL &&
        !hak_index_add(&reader->index, reader->next_bytes - reader->offset_bytes, reader->decoder.events))
        fault = "out of memory";
    return fault == NULL ? 0 : damaged(reader, error, fault);
}

static int take_tail(hak_reader *reader, hak_trace_error *error)
{
    hak_trace_tail tail = {.ended = true};
    hak_wire_in index;
    uint64_t events = 0;
    const char *fault = hak_decode_tail(reader->raw, reader->raw_bytes, &tail, &events, &index);
    if (fault == NULL && events != reader->events)
        fault = "the tail counts other events";
    if (fault == NULL && !hak_index_equals(&reader->index, index))
        fault = "the index does not match the members";
    if (fault == NULL && reader->next_bytes != reader->file_bytes)
        fault = "something follows the tail";
    if (fault != NULL)
        return damaged(reader, error, fault);
    reader->tail = tail;
    reader->ended = true;
    return 0;
}

/* Reads members until there are events to decode: 1, 0 at the end, -1. */
static int next_events_member(hak_reader *reader, hak_trace_error *error)
{
    while (!reader->ended && reader->decoder.left == 0) {
        int got = next_member(reader, error);
        if (got == 0)
            return fail_at(reader, error, "cut off", "the end is missing: still being recorded, or killed");
        const char *fault = NULL;
        unsigned kind = got < 0 ? 0 : hak_decode_prefix(reader->raw, reader->raw_bytes, &fault);
        if (got < 0)
            return -1;
        if (kind == HAK_PAYLOAD_DATA)
            got = take_data(reader, error);
        else if (kind == HAK_PAYLOAD_TAIL)
            got = take_tail(reader, error);
        else
            got = damaged(reader, error, fault != NULL ? fault : "a second head");
        if (got != 0)
            return -1;
    }
    return reader->ended ? 0 : 1;
}

/* ---- opening ---- */

static int open_file(hak_reader *reader, const char *path, hak_trace_error *error)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (reader->fd < 0)
        return hak_trace_fail(error, "cannot be opened: %s", strerror(errno));
    struct stat status;
    if (fstat(reader->fd, &status) != 0)
        return hak_trace_fail(error, "cannot be opened: %s", strerror(errno));
    if (S_ISDIR(status.st_mode))
        return hak_trace_fail(error, "is a directory");
    if (!S_ISREG(status.st_mode))
        return hak_trace_fail(error, "is not a regular file; copy it to one first");
    reader->file_bytes = (uint64_t)status.st_size;
    return 0;
}

static bool make_parts(hak_reader *reader)
{
    hak_decoder_init(&reader->decoder);
    hak_live_init(&reader->live);
    hak_index_init(&reader->index);
    bool ok = hak_tables_init(&reader->tables);
    reader->batch = malloc(BATCH_EVENTS * sizeof *reader->batch);
    reader->unpacker = hak_unpacker_new();
    return ok && reader->batch != NULL && reader->unpacker != NULL;
}

hak_reader *hak_reader_open(const char *path, unsigned flags, hak_trace_error *error)
{
    hak_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        hak_trace_fail(error, "out of memory");
        return NULL;
    }
    reader->fd = -1;
    reader->flags = flags;
    if (!make_parts(reader))
        hak_trace_fail(error, "out of memory");
    else if (open_file(reader, path, error) == 0 && take_head(reader, error) == 0)
        return reader;
    hak_reader_close(reader);
    return NULL;
}

void hak_reader_close(hak_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->fd >= 0)
        close(reader->fd);
    hak_decoder_done(&reader->decoder);
    hak_tables_done(&reader->tables);
    hak_live_done(&reader->live);
    hak_index_done(&reader->index);
    hak_unpacker_free(reader->unpacker);
    free(reader->packed);
    free(reader->raw);
    free(reader->batch);
    free(reader);
}

/* ---- events ---- */

static void see_thread(hak_reader *reader, const hak_event *event)
{
    hak_trace_thread *thread = &reader->tables.threads[event->thread];
    if (thread->from_ns > event->time_ns)
        thread->from_ns = event->time_ns;
    if (event->op == HAK_OP_THREAD_END)
        thread->to_ns = event->time_ns;
}

/* Decodes and checks the next batch of the member at hand. Events before a fault stay usable. */
static int decode_batch(hak_reader *reader, size_t *count, hak_trace_error *error)
{
    size_t decoded = 0;
    const char *fault = hak_decode_events(&reader->decoder, reader->batch, BATCH_EVENTS, &decoded);
    const char *wrong = NULL;
    size_t whole = 0;
    while (whole < decoded && (wrong = hak_live_apply(&reader->live, &reader->batch[whole])) == NULL) {
        see_thread(reader, &reader->batch[whole]);
        whole++;
    }
    reader->events += whole;
    *count = whole;
    if (whole != 0)
        reader->last_ns = reader->batch[whole - 1].time_ns;
    if (wrong == NULL && fault == NULL)
        return 0;
    return damaged(reader, error, wrong != NULL ? wrong : fault);
}

int hak_reader_next(hak_reader *reader, const hak_event **events, size_t *count, hak_trace_error *error)
{
    hak_trace_error scratch = {.text = ""};
    if (error == NULL)
        error = &scratch;
    *events = reader->batch;
    *count = 0;
    int got = next_events_member(reader, error);
    if (got < 0)
        return end_or_fail(reader, error);
    if (got == 0)
        return 0;
    if (decode_batch(reader, count, error) == 0)
        return 1;
    if (end_or_fail(reader, error) != 0) {
        *count = 0;
        return -1;
    }
    return *count != 0 ? 1 : 0;
}

int hak_reader_rewind(hak_reader *reader, hak_trace_error *error)
{
    reader->next_bytes = reader->head_bytes;
    reader->events = reader->last_ns = 0;
    reader->ended = reader->partial = false;
    reader->decoder.left = 0;
    hak_live_done(&reader->live);
    hak_reuse_clear(&reader->tables.reuse);
    hak_index_done(&reader->index);
    if (!hak_index_add(&reader->index, reader->head_bytes, 0))
        return hak_trace_fail(error, "out of memory");
    return 0;
}

/* ---- tables ---- */

const hak_trace_head *hak_reader_head(const hak_reader *reader)
{
    return &reader->tables.head;
}

const hak_trace_tail *hak_reader_tail(const hak_reader *reader)
{
    return &reader->tail;
}

const hak_trace_node *hak_reader_nodes(const hak_reader *reader, uint32_t *count)
{
    *count = (uint32_t)reader->tables.contexts.count;
    return reader->tables.contexts.nodes;
}

const hak_trace_thread *hak_reader_threads(const hak_reader *reader, uint32_t *count)
{
    *count = reader->tables.threads_count;
    return reader->tables.threads;
}

const hak_trace_module *hak_reader_modules(const hak_reader *reader, uint32_t *count)
{
    *count = reader->tables.modules_count;
    return reader->tables.modules;
}

const hak_trace_row *hak_reader_rows(const hak_reader *reader, uint32_t *count)
{
    *count = reader->tables.rows_count;
    return reader->tables.rows;
}

const hak_trace_rss *hak_reader_rss(const hak_reader *reader, uint32_t *count)
{
    *count = reader->tables.rss_count;
    return reader->tables.rss;
}

uint32_t hak_reader_symbols(const hak_reader *reader)
{
    return reader->tables.symbols_count;
}

hak_trace_symbol hak_reader_symbol(const hak_reader *reader, uint32_t index)
{
    const hak_tables *tables = &reader->tables;
    hak_trace_symbol symbol = tables->symbols[index];
    uint32_t first = tables->symbol_frames[index];
    size_t left = tables->frames_count - first; /* fewer than it says, where a fault ended a partial trace */
    symbol.count = symbol.count < left ? symbol.count : (uint32_t)left;
    symbol.frames = symbol.count != 0 ? tables->frames + first : NULL;
    return symbol;
}

uint32_t hak_reader_slots(const hak_reader *reader)
{
    return reader->live.high;
}

bool hak_reader_partial(const hak_reader *reader, hak_trace_error *why)
{
    if (reader->partial && why != NULL)
        *why = reader->why;
    return reader->partial;
}

uint32_t hak_reader_module_of(const hak_reader *reader, uint64_t pc, uint64_t time_ns)
{
    for (uint32_t i = reader->tables.modules_count; i-- != 0;) {
        const hak_trace_module *module = &reader->tables.modules[i];
        if (pc >= module->start && pc < module->end && time_ns >= module->from_ns && time_ns < module->to_ns)
            return i;
    }
    return HAK_TRACE_MODULE_NONE;
}
