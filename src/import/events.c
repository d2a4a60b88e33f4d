/* events.c: see events.h. Only here are import events written; never parses. One thread per import.
 *
 * Two blocks at one address. Most recorders write an allocation down after it happened and a free before, so
 * a second allocation at an address means that a free was missed: one is put in. But a realloc is written
 * down when it has already freed, and some recorders claim their place late or early: then the free is still
 * to come (im->late_events). So the older block waits as a ghost. A free by the thread that got the newer
 * block cannot be late: it is the newer one's. One by another thread is the ghost's. A ghost for which none
 * comes in time gets its free put in. */
#include "import/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "trace/error.h"
#include "trace/grow.h"

#define GHOST         ((uint64_t)1 << 63) /* of a key: the older block's */
#define GHOSTS_MAX    64u
#define FIRST_THREADS 1024u
#define THREAD_ENDED  UINT32_MAX
#define EMPTY_THREAD  (UINT32_MAX - 1)

struct hak_import_thread {
    uint64_t tid;
    uint32_t index; /* EMPTY_THREAD: no entry; THREAD_ENDED: it has ended */
};

struct hak_import_ghost {
    uint64_t key;    /* of both blocks */
    uint64_t since;  /* event number of the newer one */
    uint32_t thread; /* that got the newer one */
};

int hak_import_begin(hak_import *im, const char *to, const char *recorder, const hak_writer_options *options)
{
    const hak_trace_head head = {.program = "",
                                 .command = "",
                                 .recorder = recorder,
                                 .clock = im->timed ? HAK_CLOCK_TSC : HAK_CLOCK_COUNTER,
                                 .depth_max = HAK_TRACE_MAX_DEPTH};
    im->slots = hak_slots_new();
    im->threads = malloc(FIRST_THREADS * sizeof *im->threads);
    im->ghosts = malloc(GHOSTS_MAX * sizeof *im->ghosts);
    if (im->slots == NULL || im->threads == NULL || im->ghosts == NULL)
        return hak_trace_fail(im->error, "out of memory");
    im->threads_mask = FIRST_THREADS - 1;
    for (size_t i = 0; i < FIRST_THREADS; i++)
        im->threads[i].index = EMPTY_THREAD;
    im->writer = hak_writer_open(to, &head, options, im->error);
    return im->writer != NULL ? 0 : -1;
}

static int give_up(hak_import *im, const char *to)
{
    hak_trace_error ignored;
    const hak_trace_tail tail = {.ended = true};
    char part[4096];
    if (im->writer == NULL)
        return -1;
    /* A writer ends by finishing; what it made is then taken away again. */
    if (hak_writer_finish(im->writer, &tail, &ignored) == 0)
        unlink(to);
    else if ((size_t)snprintf(part, sizeof part, "%s.part", to) < sizeof part)
        unlink(part);
    return -1;
}

static void ghost_lay(hak_import *im, size_t which);

int hak_import_end(hak_import *im, const char *to, int status)
{
    if (status == 0 && im->ghost_count != 0 && !im->any_thread)
        hak_import_thread(im, im->last_tid); /* who writes their frees must not have ended */
    while (status == 0 && im->ghost_count != 0)
        ghost_lay(im, 0);
    if (status == 0 && im->failed)
        status = hak_trace_fail(im->error, "out of memory");
    if (status != 0) {
        status = give_up(im, to);
    } else {
        const hak_trace_tail tail = {.ended = true, .duration_ns = im->last_ns};
        im->summary->live_end_blocks = im->live_blocks;
        status = hak_writer_finish(im->writer, &tail, im->error);
    }
    im->writer = NULL;
    hak_slots_free(im->slots);
    free(im->sizes);
    free(im->threads);
    free(im->ghosts);
    return status;
}

/* ---- threads ---- */

static struct hak_import_thread *thread_find(hak_import *im, uint64_t tid)
{
    size_t at = hak_mix64(tid) & im->threads_mask;
    while (im->threads[at].index != EMPTY_THREAD && im->threads[at].tid != tid)
        at = (at + 1) & im->threads_mask;
    return &im->threads[at];
}

static bool threads_widen(hak_import *im)
{
    size_t count = im->threads_mask + 1;
    struct hak_import_thread *old = im->threads;
    struct hak_import_thread *wide = malloc(2 * count * sizeof *wide);
    if (wide == NULL)
        return false;
    im->threads = wide;
    im->threads_mask = 2 * count - 1;
    for (size_t i = 0; i < 2 * count; i++)
        wide[i].index = EMPTY_THREAD;
    for (size_t i = 0; i < count; i++)
        if (old[i].index != EMPTY_THREAD)
            *thread_find(im, old[i].tid) = old[i];
    free(old);
    return true;
}

/* The time of an event that is written now. */
static uint64_t stamp(hak_import *im)
{
    if (!im->timed)
        return ++im->last_ns;
    if (HAK_UNLIKELY(im->time_ns < im->last_ns))
        im->summary->times_back++;
    else
        im->last_ns = im->time_ns;
    return im->last_ns;
}

static void put(hak_import *im, hak_event *event)
{
    event->time_ns = stamp(im);
    event->thread = im->thread;
    im->summary->events++;
    hak_writer_event(im->writer, event);
}

void hak_import_thread_slow(hak_import *im, uint64_t tid)
{
    if (im->threads_used * 2 > im->threads_mask && !threads_widen(im)) {
        im->failed = true;
        return;
    }
    struct hak_import_thread *entry = thread_find(im, tid);
    im->last_tid = tid;
    im->any_thread = true;
    if (entry->index != EMPTY_THREAD && entry->index != THREAD_ENDED) {
        im->thread = entry->index;
        return;
    }
    im->threads_used += entry->index == EMPTY_THREAD;
    entry->tid = tid;
    entry->index = im->thread = hak_writer_thread(im->writer, tid, "");
    im->summary->threads++;
    hak_event event = {.op = HAK_OP_THREAD_START};
    put(im, &event);
}

void hak_import_thread_end(hak_import *im)
{
    hak_event event = {.op = HAK_OP_THREAD_END};
    put(im, &event);
    thread_find(im, im->last_tid)->index = THREAD_ENDED;
    im->any_thread = false;
    im->summary->threads_ended++;
}

static uint8_t align_log2_of(uint64_t align)
{
    return hak_is_pow2(align) && align > 1 ? (uint8_t)hak_log2_floor(align) : 0;
}

static void live_end(hak_import *im, uint32_t slot)
{
    im->live_bytes -= im->sizes[slot];
    im->live_blocks--;
}

static void put_missing_free(hak_import *im, uint32_t slot)
{
    im->summary->duplicates++;
    live_end(im, slot);
    hak_event event = {.op = HAK_OP_FREE, .slot_old = slot};
    put(im, &event);
}

/* ---- ghosts ---- */

static void ghost_forget(hak_import *im, size_t which)
{
    im->ghost_count--;
    memmove(im->ghosts + which, im->ghosts + which + 1, (im->ghost_count - which) * sizeof *im->ghosts);
}

/* Its free was missed. */
static void ghost_lay(hak_import *im, size_t which)
{
    put_missing_free(im, hak_slots_take(im->slots, im->ghosts[which].key ^ GHOST));
    ghost_forget(im, which);
}

static size_t ghost_find(const hak_import *im, uint64_t key)
{
    size_t which = 0;
    while (which < im->ghost_count && im->ghosts[which].key != key)
        which++;
    return which;
}

/* The slot of the block that a free of that key means, where a ghost bears it, too; else 0. */
static uint32_t ghost_take(hak_import *im, uint64_t key)
{
    size_t which = ghost_find(im, key);
    if (which == im->ghost_count)
        return 0;
    if (!im->threads_unknown && im->ghosts[which].thread == im->thread) {
        ghost_lay(im, which);
        return 0;
    }
    im->summary->inversions++;
    ghost_forget(im, which);
    return hak_slots_take(im->slots, key ^ GHOST);
}

/* A block begins at an address where one is live: that one becomes a ghost. The slot of the new one; 0: it is
 * to be treated as usual. */
static uint32_t ghost_make(hak_import *im, uint64_t key)
{
    uint32_t lost;
    if (key == 0 || key == GHOST || hak_slots_find(im->slots, key) == 0)
        return 0;
    size_t which = ghost_find(im, key);
    if (which < im->ghost_count)
        ghost_lay(im, which);
    else if (im->ghost_count == GHOSTS_MAX)
        ghost_lay(im, 0);
    uint32_t slot = hak_slots_add(im->slots, key ^ GHOST, &lost);
    if (slot == 0)
        return 0;
    hak_slots_swap(im->slots, key, key ^ GHOST);
    im->ghosts[im->ghost_count++] = (struct hak_import_ghost){key, im->summary->events, im->thread};
    return slot;
}

/* ---- blocks ---- */

/* The block's slot; 0 when it is unknown. */
static uint32_t take(hak_import *im, uint64_t key)
{
    uint32_t slot = HAK_UNLIKELY(im->ghost_count != 0) ? ghost_take(im, key) : 0;
    if (HAK_LIKELY(slot == 0))
        slot = hak_slots_take(im->slots, key);
    if (slot != 0)
        live_end(im, slot);
    return slot;
}

/* A slot for the block that is there from now on. 0: out of memory. */
static uint32_t add(hak_import *im, uint64_t key, uint64_t size_bytes)
{
    uint32_t lost = 0, slot = 0;
    while (HAK_UNLIKELY(im->ghost_count != 0) && im->summary->events - im->ghosts[0].since > im->late_events)
        ghost_lay(im, 0);
    if (HAK_LIKELY(key != 0))
        slot = hak_slots_add_again(im->slots, key);
    if (HAK_UNLIKELY(slot == 0) && im->late_events != 0 && (im->threads_unknown || im->summary->threads > 1))
        slot = ghost_make(im, key);
    if (HAK_UNLIKELY(slot == 0))
        slot = hak_slots_add(im->slots, key, &lost);
    if (HAK_UNLIKELY(lost != 0))
        put_missing_free(im, lost);
    if (HAK_UNLIKELY(slot == 0 || !HAK_GROW(&im->sizes, &im->sizes_room, (size_t)slot + 1))) {
        im->failed = true;
        return 0;
    }
    im->sizes[slot] = size_bytes;
    im->live_bytes += size_bytes;
    im->live_blocks++;
    if (im->live_bytes > im->summary->live_max_bytes)
        im->summary->live_max_bytes = im->live_bytes;
    if (im->live_blocks > im->summary->live_max_blocks)
        im->summary->live_max_blocks = im->live_blocks;
    return slot;
}

void hak_import_alloc(hak_import *im, hak_op op, uint64_t key, uint64_t size_bytes, uint64_t align)
{
    hak_event event = {.op = (uint8_t)op,
                       .size_bytes = size_bytes,
                       .context = im->context,
                       .align_log2 = align_log2_of(align)};
    im->summary->allocations++;
    im->summary->zero_sizes += size_bytes == 0;
    if (HAK_UNLIKELY(key == 0)) {
        im->summary->failed++;
        event.flags = HAK_EVENT_FAILED;
    } else if ((event.slot = add(im, key, size_bytes)) == 0) {
        return;
    }
    put(im, &event);
}

void hak_import_free(hak_import *im, hak_op op, uint64_t key)
{
    hak_event event = {.op = (uint8_t)op};
    im->summary->frees++;
    if (HAK_UNLIKELY(key == 0)) {
        im->summary->null_frees++;
    } else if (HAK_UNLIKELY((event.slot_old = take(im, key)) == 0)) {
        im->summary->orphan_frees++;
        event.flags = HAK_EVENT_FOREIGN;
    }
    put(im, &event);
}

/* A realloc that returned NULL freed the block when its size was 0, else it failed and the block stays. */
static void realloc_null(hak_import *im, uint64_t from, uint64_t size_bytes, hak_event *event)
{
    if (size_bytes != 0 || from == 0) {
        im->summary->failed++;
        event->flags = HAK_EVENT_FAILED;
        event->slot_old = from != 0 ? hak_slots_find(im->slots, from) : 0;
    } else if ((event->slot_old = take(im, from)) == 0) {
        im->summary->orphan_reallocs++;
        event->flags = HAK_EVENT_FOREIGN | HAK_EVENT_FAILED;
    }
    put(im, event);
}

void hak_import_realloc(hak_import *im, uint64_t to, uint64_t from, uint64_t size_bytes)
{
    hak_event event = {.op = HAK_OP_REALLOC, .size_bytes = size_bytes, .context = im->context};
    im->summary->reallocs++;
    im->summary->zero_sizes += size_bytes == 0;
    if (HAK_UNLIKELY(to == 0)) {
        realloc_null(im, from, size_bytes, &event);
        return;
    }
    if (from != 0) {
        event.slot_old = take(im, from);
        if (HAK_UNLIKELY(event.slot_old == 0)) {
            im->summary->orphan_reallocs++;
            event.flags = HAK_EVENT_FOREIGN;
        } else if (from != to) {
            event.flags = HAK_EVENT_MOVED;
        }
    }
    if ((event.slot = add(im, to, size_bytes)) == 0)
        return;
    put(im, &event);
}

/* ---- faults ---- */

static void note_broken(hak_import *im, uint64_t number)
{
    im->summary->broken++;
    if (im->summary->first_broken == 0)
        im->summary->first_broken = number;
}

int hak_import_broken_line(hak_import *im, const char *what)
{
    if (im->flags & HAK_READER_PARTIAL) {
        note_broken(im, im->in.line);
        return 0;
    }
    hak_trace_fail(im->error, "line %llu: %s; use --partial to leave such lines out",
                   (unsigned long long)im->in.line, what);
    im->error->event_index = im->summary->events;
    return -1;
}

int hak_import_broken_record(hak_import *im, const char *what)
{
    uint64_t number = im->summary->records + 1;
    if (im->flags & HAK_READER_PARTIAL) {
        note_broken(im, number);
        im->summary->cut_off = true;
        return 0;
    }
    hak_trace_fail(im->error, "record %llu (byte %llu): %s; use --partial to take what is before it",
                   (unsigned long long)number, (unsigned long long)hak_input_position(&im->in), what);
    im->error->event_index = im->summary->events;
    im->error->offset_bytes = hak_input_position(&im->in);
    return -1;
}

int hak_import_input_end(hak_import *im)
{
    if (im->in.fault == NULL)
        return 0;
    if (im->flags & HAK_READER_PARTIAL) {
        im->summary->cut_off = true;
        return 0;
    }
    hak_trace_fail(im->error, "%s after line %llu (byte %llu unpacked); use --partial to take what is whole",
                   im->in.fault, (unsigned long long)im->in.line,
                   (unsigned long long)hak_input_position(&im->in));
    im->error->event_index = im->summary->events;
    return -1;
}

int hak_import_records(hak_import *im, size_t record_bytes,
                       const char *(*take_one)(hak_import *im, const uint8_t *record))
{
    size_t have;
    while ((have = hak_input_need(&im->in, record_bytes)) >= record_bytes) {
        const char *fault = take_one(im, im->in.at);
        if (fault != NULL)
            return hak_import_broken_record(im, fault);
        hak_input_take(&im->in, record_bytes);
        im->summary->records++;
        if (im->failed)
            return 0;
    }
    if (have != 0)
        return hak_import_broken_record(im, "the file ends within a record");
    return hak_import_input_end(im);
}
