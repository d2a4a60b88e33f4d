/* workload.c: compiles a trace. One pass over the events; a block's first home is a slot of its own thread,
 * and when a free shows that another thread takes it over, the call that made it is patched to hand it over
 * in a cell. Never reads the clock, never prints. One thread per build.
 *
 * Order. Every wait in a replay is for something earlier in the recorded order, so no set of waits can be
 * circular. Epochs are runs of consecutive operations (over all threads): 512 of them for HAK_ORDER_WINDOW,
 * or fewer where they move many bytes; one thread's turn for HAK_ORDER_STRICT. A thread in epoch e knows that
 * all epochs before e - skew are complete; that is what lets a cell be used again two epochs after it was
 * emptied, without a version number.
 *
 * Memory: 8 bytes an operation (16 a realloc, 32 a rare entry point), 32 bytes a block live at once while
 * building, 8 bytes a cell. */
#include "replay/workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "replay/feed.h"
#include "replay/workload_build.h"

/* Two epochs are the skew window. At most so many calls; and so many bytes, allocated and freed, that no
 * order of them puts the live bytes off by more than 1% of their greatest sum. */
#define WINDOW_EPOCH_OPS        512u
#define WINDOW_SHARE            128u
#define WINDOW_MIN_BYTES        (4 * HAK_KIB)
#define WINDOW_MIN_OPS_SHIFT    21 /* 15 million epochs in a recording of 1 G calls */
#define HAK_WORKLOAD_INTERLUDES (HAK_WORKLOAD_PACE | HAK_WORKLOAD_THINK | HAK_WORKLOAD_POLLUTE)
#define LOOK_AHEAD              12 /* events: blocks that are freed then were made long ago */
#define BUDGET_PERCENT          80 /* of the memory that is available when building starts */

static uint64_t available_bytes(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib != 0 ? kib * 1024 : (uint64_t)4 * HAK_GIB;
}

/* May the epoch end here? Where live bytes could differ too much it ends early, unless there is one thread
 * only, or so many epochs were made that their table would take much memory. */
static HAK_NOINLINE bool window_over(hak_builder *b)
{
    const hak_workload_info *info = &b->w->info;
    b->window_budget = info->live_max_bytes / WINDOW_SHARE;
    if (b->window_budget < WINDOW_MIN_BYTES)
        b->window_budget = WINDOW_MIN_BYTES;
    if (b->window_ops >= WINDOW_EPOCH_OPS)
        return true;
    return b->window_bytes > b->window_budget && b->alive > 1 &&
           b->window_ops >= info->operations >> WINDOW_MIN_OPS_SHIFT;
}

/* Epoch of the operation that comes next, by `thread`. */
HAK_INLINE uint32_t epoch_now(hak_builder *b, uint32_t thread)
{
    switch (b->order) {
    case HAK_ORDER_WINDOW:
        if (HAK_UNLIKELY(b->window_ops >= WINDOW_EPOCH_OPS || b->window_bytes > b->window_budget) &&
            window_over(b)) {
            b->window_epoch++;
            b->window_ops = 0;
            b->window_bytes = 0;
        }
        return b->window_epoch;
    case HAK_ORDER_STRICT:
        if (b->last_thread == thread && b->epoch_count != 0)
            return b->epoch_count - 1;
        b->last_thread = thread;
        return b->epoch_count;
    case HAK_ORDER_EDGES:
        break;
    }
    return 0;
}

static HAK_NOINLINE int epoch_change(hak_builder *b, hak_stream *s, uint32_t epoch)
{
    if (epoch == HAK_W_EPOCH_NONE)
        return hak_builder_fail(b, "too many operations for this order; try --order=edges");
    if (HAK_BUILDER_GROW(b, b->epochs, b->epoch_cap, (size_t)epoch + 1) != 0)
        return -1;
    while (epoch >= b->epoch_count) {
        if (b->epoch_count % HAK_W_MARK_EPOCHS == 0) {
            if (hak_array_grow((void **)&b->marks, &b->mark_cap, b->mark_count + 1, sizeof *b->marks) != 0)
                return hak_builder_fail(b, "not enough memory to compile the trace");
            b->marks[b->mark_count++] = b->w->word_count;
        }
        b->epoch_count++;
    }
    b->epochs[epoch]++;
    bool first = s->epoch == HAK_W_EPOCH_NONE;
    s->epoch = epoch;
    if (first)
        s->first_epoch = epoch;
    return first ? 0 : hak_stream_put_number(b, s, HAK_W_EPOCH, epoch);
}

/* Makes the thread part of the present epoch. */
HAK_INLINE int epoch_join(hak_builder *b, uint32_t thread)
{
    hak_stream *s = &b->streams[thread];
    uint32_t epoch = epoch_now(b, thread);
    return HAK_LIKELY(s->epoch == epoch) ? 0 : epoch_change(b, s, epoch);
}

static int thread_start(hak_builder *b, uint32_t thread)
{
    if (HAK_BUILDER_GROW(b, b->streams, b->stream_cap, (size_t)thread + 1) != 0)
        return -1;
    for (; b->stream_count <= thread; b->stream_count++) {
        hak_stream *s = &b->streams[b->stream_count];
        s->epoch = s->first_epoch = HAK_W_EPOCH_NONE;
        s->slot_count = 1;
    }
    hak_stream *s = &b->streams[thread];
    if (s->started)
        return 0;
    s->started = true;
    b->alive++;
    if (b->alive > b->w->info.threads_max)
        b->w->info.threads_max = b->alive;
    if (thread == 0)
        return 0;
    /* The trace does not say who started it: the first thread does, at this point. */
    if (thread_start(b, 0) != 0 || epoch_join(b, 0) != 0)
        return -1;
    return hak_stream_put_number(b, &b->streams[0], HAK_W_CREATE, thread);
}

static void thread_end(hak_builder *b, uint32_t thread)
{
    if (!b->streams[thread].exits)
        b->alive--;
    b->streams[thread].exits = true;
}

HAK_INLINE uint32_t slot_take(hak_builder *b, hak_stream *s)
{
    if (s->spare_count != 0)
        return s->spare[--s->spare_count];
    if (s->slot_count == HAK_W_MAX_SLOTS) {
        hak_builder_fail(b, "more than 268 million blocks of one thread are live at once");
        return 0;
    }
    return s->slot_count++;
}

HAK_INLINE int slot_spare(hak_builder *b, hak_stream *s, uint32_t slot)
{
    if (HAK_BUILDER_GROW(b, s->spare, s->spare_cap, (size_t)s->spare_count + 1) != 0)
        return -1;
    s->spare[s->spare_count++] = slot;
    return 0;
}

/* A cell for a block made in epoch `made` and taken over in epoch `now`. */
static int cell_take(hak_builder *b, uint32_t made, uint32_t now, uint32_t *cell)
{
    if (b->order != HAK_ORDER_EDGES && b->cell_head != b->cell_tail && made >= 2 &&
        b->cells[b->cell_head].epoch <= made - 2) {
        *cell = b->cells[b->cell_head++].cell;
    } else {
        if (b->cell_count == HAK_W_MAX_SLOTS)
            return hak_builder_fail(b,
                                    "too many blocks are handed from thread to thread; try --order=window");
        *cell = b->cell_count++;
    }
    if (b->order == HAK_ORDER_EDGES)
        return 0;
    if (b->cell_cap != 0 && b->cell_tail == b->cell_cap && b->cell_head >= b->cell_cap / 2) {
        memmove(b->cells, b->cells + b->cell_head, (b->cell_tail - b->cell_head) * sizeof *b->cells);
        b->cell_tail -= b->cell_head;
        b->cell_head = 0;
    }
    if (hak_array_grow((void **)&b->cells, &b->cell_cap, b->cell_tail + 1, sizeof *b->cells) != 0)
        return hak_builder_fail(b, "not enough memory to compile the trace");
    b->cells[b->cell_tail++] = (hak_spare_cell){*cell, now};
    return 0;
}

/* The call that made the block hands it over in `cell` instead of keeping it. */
static void patch_to_cell(uint64_t *words, const hak_live_block *block, uint32_t cell)
{
    uint64_t word = block->word, first = words[word];
    unsigned code = hak_w_code_of(first);
    for (unsigned n = 1; n <= block->behind; n++)
        hak_w_row_end(&words[word - n], n);
    if (code == HAK_W_GENERIC) {
        words[word] = first | (uint64_t)HAK_W_TO_X << 16;
        words[word + 1] = (words[word + 1] & ~(uint64_t)UINT32_MAX) | cell;
    } else {
        words[word] = hak_w_pack(hak_w_code_x(code), cell, hak_w_size(first));
    }
}

/* Where a thread finds a block that it frees or reallocates. */
typedef struct source {
    uint32_t slot; /* or cell */
    bool cell;
    uint64_t size_bytes;
} source;

/* Ends the block in trace slot `at` for `thread`. A slot of the thread's own is not given back yet. */
HAK_INLINE int block_end(hak_builder *b, uint32_t thread, uint32_t at, source *from)
{
    *from = (source){0, false, 0};
    if (at == HAK_SLOT_NONE)
        return 0;
    hak_live_block *block = &b->lives[at];
    from->size_bytes = block->size_bytes;
    from->slot = block->slot;
    block->used = 0;
    b->live_bytes -= block->size_bytes;
    b->window_bytes += block->size_bytes;
    b->live_blocks--;
    if (block->thread == thread)
        return 0;
    from->cell = true;
    b->w->info.cross_thread_frees++;
    if (cell_take(b, block->epoch, b->streams[thread].epoch, &from->slot) != 0)
        return -1;
    patch_to_cell(b->w->words, block, from->slot);
    return slot_spare(b, &b->streams[block->thread], block->slot);
}

HAK_INLINE int block_begin(hak_builder *b, const hak_event *event, uint32_t slot, uint64_t word,
                           unsigned behind)
{
    if (HAK_BUILDER_GROW(b, b->lives, b->live_cap, (size_t)event->slot + 1) != 0)
        return -1;
    b->lives[event->slot] = (hak_live_block){
        .word = word,
        .size_bytes = event->size_bytes,
        .thread = event->thread,
        .slot = slot,
        .epoch = b->streams[event->thread].epoch,
        .used = 1,
        .behind = (uint16_t)behind,
    };
    hak_workload_info *info = &b->w->info;
    b->live_bytes += event->size_bytes;
    b->window_bytes += event->size_bytes;
    b->live_blocks++;
    if (b->live_bytes > info->live_max_bytes)
        info->live_max_bytes = b->live_bytes;
    if (b->live_blocks > info->live_max_blocks)
        info->live_max_blocks = b->live_blocks;
    if (event->size_bytes > b->size_max)
        b->size_max = event->size_bytes;
    if (HAK_UNLIKELY(event->size_bytes > PTRDIFF_MAX))
        return hak_builder_fail(b, "holds a block of more bytes than there are addresses");
    return 0;
}

static uint64_t put_generic(hak_builder *b, const hak_event *event, unsigned flags, uint32_t to, source from)
{
    uint64_t at = hak_stream_take(b, &b->streams[event->thread], HAK_W_GENERIC_WORDS);
    if (at == 0)
        return 0;
    if (from.cell)
        flags |= HAK_W_FROM_X;
    if (event->flags & HAK_EVENT_NOTHROW)
        flags |= HAK_W_NOTHROW;
    uint64_t *words = b->w->words + at;
    words[0] =
        HAK_W_GENERIC | (uint64_t)event->op << 8 | (uint64_t)flags << 16 | (uint64_t)event->align_log2 << 24;
    words[1] = to | (uint64_t)from.slot << 32;
    words[2] = event->size_bytes;
    words[3] = from.size_bytes;
    return at;
}

/* A malloc or free of the thread's own slot: those directly before it learn what follows them. *behind: how
 * many these are. */
HAK_INLINE uint64_t put_row(hak_builder *b, hak_stream *s, unsigned code, uint32_t slot, uint64_t size_bytes,
                            unsigned *behind)
{
    uint64_t expected = s->at;
    unsigned row = s->row;
    uint64_t at = hak_stream_take(b, s, 1);
    if (HAK_UNLIKELY(at != expected))
        row = 0; /* a new piece */
    if (at == 0)
        return 0;
    uint64_t *words = b->w->words + at;
    words[0] = hak_w_pack(code | HAK_W_ROW_ENDS, slot, size_bytes);
    if (row >= 1)
        hak_w_row_grow(words - 1, 1, code);
    if (row >= 2)
        hak_w_row_grow(words - 2, 2, code);
    if (row >= 3)
        hak_w_row_grow(words - 3, 3, code);
    *behind = row;
    s->row = row < HAK_W_ROW_MAX ? row + 1 : HAK_W_ROW_MAX;
    return at;
}

/* The one-word code of an entry point, or HAK_W_GENERIC. */
HAK_INLINE unsigned short_code(const hak_event *event)
{
    if (event->size_bytes >= HAK_W_SMALL_END || event->align_log2 != 0 || (event->flags & HAK_EVENT_NOTHROW))
        return HAK_W_GENERIC;
    switch (event->op) {
    case HAK_OP_MALLOC:
        return HAK_W_MALLOC;
    case HAK_OP_CALLOC:
        return HAK_W_CALLOC;
    case HAK_OP_NEW:
        return HAK_W_NEW;
    case HAK_OP_NEW_ARRAY:
        return HAK_W_NEW_ARRAY;
    case HAK_OP_FREE:
        return HAK_W_FREE;
    case HAK_OP_DELETE:
        return HAK_W_DELETE;
    case HAK_OP_DELETE_ARRAY:
        return HAK_W_DELETE_ARRAY;
    case HAK_OP_REALLOC:
        return HAK_W_REALLOC;
    default:
        return HAK_W_GENERIC;
    }
}

static int compile_alloc(hak_builder *b, const hak_event *event)
{
    hak_stream *s = &b->streams[event->thread];
    const source none = {0, false, 0};
    if (event->slot == HAK_SLOT_NONE)
        return put_generic(b, event, HAK_W_NO_BLOCK, 0, none) != 0 ? 0 : -1;
    uint32_t slot = slot_take(b, s);
    if (slot == 0)
        return -1;
    unsigned code = event->size_bytes != 0 ? short_code(event) : HAK_W_GENERIC, behind = 0;
    uint64_t at;
    if (code == HAK_W_MALLOC) {
        at = put_row(b, s, code, slot, event->size_bytes, &behind);
    } else if (code == HAK_W_GENERIC) {
        at = put_generic(b, event, 0, slot, none);
    } else {
        at = hak_stream_take(b, s, 1);
        if (at != 0)
            b->w->words[at] = hak_w_pack(code, slot, event->size_bytes);
    }
    return at == 0 ? -1 : block_begin(b, event, slot, at, behind);
}

/* A free, or a realloc that freed. */
static int compile_free(hak_builder *b, const hak_event *event)
{
    hak_stream *s = &b->streams[event->thread];
    source from;
    if (block_end(b, event->thread, event->slot_old, &from) != 0)
        return -1;
    bool short_form =
        from.size_bytes < HAK_W_SMALL_END && hak_op_class_of((hak_op)event->op) == HAK_CLASS_FREE;
    unsigned code = short_form ? short_code(event) : HAK_W_GENERIC, behind;
    uint64_t at;
    if (code == HAK_W_FREE && !from.cell) {
        at = put_row(b, s, code, from.slot, from.size_bytes, &behind);
    } else if (code == HAK_W_GENERIC) {
        at = put_generic(b, event, HAK_W_NO_BLOCK, 0, from);
    } else {
        at = hak_stream_take(b, s, 1);
        if (at != 0)
            b->w->words[at] = hak_w_pack(from.cell ? hak_w_code_x(code) : code, from.slot, from.size_bytes);
    }
    if (at == 0)
        return -1;
    return from.cell || from.slot == 0 ? 0 : slot_spare(b, s, from.slot);
}

/* A realloc that returned NULL: its size was 0 and the block is gone; or it failed and the block stays, which
 * is replayed as a failing call without a block (whoever frees the block later may be another thread). */
static int compile_realloc_null(hak_builder *b, const hak_event *event)
{
    if (!(event->flags & HAK_EVENT_FAILED))
        return compile_free(b, event);
    const source none = {0, false, 0};
    return put_generic(b, event, HAK_W_NO_BLOCK, 0, none) != 0 ? 0 : -1;
}

static int compile_realloc(hak_builder *b, const hak_event *event)
{
    if (event->slot == HAK_SLOT_NONE)
        return compile_realloc_null(b, event);
    hak_stream *s = &b->streams[event->thread];
    source from;
    if (block_end(b, event->thread, event->slot_old, &from) != 0)
        return -1;
    uint32_t to = from.cell || from.slot == 0 ? slot_take(b, s) : from.slot;
    if (to == 0)
        return -1;
    unsigned code = event->size_bytes != 0 ? short_code(event) : HAK_W_GENERIC;
    uint64_t at;
    if (code == HAK_W_GENERIC) {
        at = put_generic(b, event, 0, to, from);
    } else {
        at = hak_stream_take(b, s, 2);
        if (at != 0) {
            b->w->words[at] = hak_w_pack(code + 2u * from.cell, to, event->size_bytes);
            b->w->words[at + 1] = from.slot | from.size_bytes << HAK_W_SLOT_BITS;
        }
    }
    return at == 0 ? -1 : block_begin(b, event, to, at, 0);
}

/* Tells the loop where the allocations that follow come from. */
static int context_change(hak_builder *b, const hak_event *event)
{
    hak_stream *s = &b->streams[event->thread];
    if (!(b->flags & HAK_WORKLOAD_CONTEXTS) || s->context == event->context)
        return 0;
    s->context = event->context;
    if (HAK_BUILDER_GROW(b, b->first_ns, b->first_cap, (size_t)event->context + 1) != 0)
        return -1;
    if (b->first_ns[event->context] == 0)
        b->first_ns[event->context] = event->time_ns + 1;
    return hak_stream_put_number(b, s, HAK_W_CONTEXT, event->context);
}

#define PACE_STEP_NS  1000u /* waits are written where at least this has passed */
#define THINK_STEP_NS 200u  /* below that it is the recorder's own time */

/* Where the recording had a pause, or the caches are to be disturbed. */
static int interlude(hak_builder *b, const hak_event *event)
{
    hak_stream *s = &b->streams[event->thread];
    uint64_t now_ns = event->time_ns - b->first_event_ns;
    uint64_t gap_ns = now_ns > s->last_ns ? now_ns - s->last_ns : 0;
    if ((b->flags & HAK_WORKLOAD_POLLUTE) && s->operations % HAK_WORKLOAD_POLLUTE_OPS == 0 &&
        hak_stream_put_number(b, s, HAK_W_POLLUTE, 0) != 0)
        return -1;
    if (b->flags & HAK_WORKLOAD_PACE && gap_ns >= PACE_STEP_NS) {
        s->last_ns = now_ns;
        return hak_stream_put_number(b, s, HAK_W_TIME, now_ns);
    }
    if (b->flags & HAK_WORKLOAD_THINK) {
        s->last_ns = now_ns;
        if (gap_ns > HAK_WORKLOAD_THINK_MAX_NS)
            gap_ns = HAK_WORKLOAD_THINK_MAX_NS;
        if (gap_ns >= THINK_STEP_NS && s->operations != 0)
            return hak_stream_put_number(b, s, HAK_W_TIME, gap_ns);
    }
    return 0;
}

static int compile(hak_builder *b, const hak_event *event)
{
    if (HAK_UNLIKELY(b->first_event_ns == UINT64_MAX))
        b->first_event_ns = event->time_ns;
    bool known = event->thread < b->stream_count && b->streams[event->thread].started;
    if (HAK_UNLIKELY(!known) && thread_start(b, event->thread) != 0)
        return -1;
    hak_op_class op_class = hak_op_class_of((hak_op)event->op);
    if (op_class == HAK_CLASS_THREAD) {
        if (event->op == HAK_OP_THREAD_END)
            thread_end(b, event->thread);
        return 0;
    }
    if (op_class == HAK_CLASS_FREE && (event->flags & HAK_EVENT_FOREIGN))
        return 0; /* there is no block to free */
    if (epoch_join(b, event->thread) != 0)
        return -1;
    if (op_class != HAK_CLASS_FREE && context_change(b, event) != 0)
        return -1;
    if (b->flags & HAK_WORKLOAD_INTERLUDES && interlude(b, event) != 0)
        return -1;
    int status = op_class == HAK_CLASS_ALLOC  ? compile_alloc(b, event)
                 : op_class == HAK_CLASS_FREE ? compile_free(b, event)
                                              : compile_realloc(b, event);
    b->streams[event->thread].operations++;
    b->w->info.operations++;
    b->window_ops++;
    if (op_class != HAK_CLASS_FREE)
        b->w->info.allocations++;
    return status;
}

static int compile_batches(hak_builder *b, hak_feed *feed)
{
    for (hak_feed_batch batch;;) {
        int more = hak_feed_next(feed, &batch, b->error);
        if (more <= 0)
            return more;
        for (size_t i = 0; i < batch.count; i++) {
            if (i + LOOK_AHEAD < batch.count && batch.events[i + LOOK_AHEAD].slot_old < b->live_cap)
                __builtin_prefetch(&b->lives[batch.events[i + LOOK_AHEAD].slot_old], 1);
            if (compile(b, &batch.events[i]) != 0)
                return -1;
        }
    }
}

/* Another core decodes ahead. */
static int compile_all(hak_builder *b, hak_reader *reader)
{
    if (hak_words_take(b, hak_align_up(sizeof(hak_w_header), HAK_CACHE_LINE) / 8) != 0 || b->w->words == NULL)
        return -1;
    hak_feed *feed = hak_feed_start(reader);
    if (feed == NULL)
        return hak_builder_fail(b, "not enough memory to compile the trace");
    int status = compile_batches(b, feed);
    hak_feed_end(feed);
    return status == 0 && thread_start(b, 0) == 0 ? hak_builder_finish(b) : -1;
}

hak_workload *hak_workload_build(hak_reader *reader, hak_order order, unsigned flags, hak_trace_error *error)
{
    return hak_workload_build_in(reader, order, flags, NULL, 0, error);
}

hak_workload *hak_workload_build_in(hak_reader *reader, hak_order order, unsigned flags, const char *folder,
                                    uint64_t spill_bytes, hak_trace_error *error)
{
    if ((flags & (HAK_WORKLOAD_PACE | HAK_WORKLOAD_THINK)) &&
        hak_reader_head(reader)->clock != HAK_CLOCK_TSC) {
        snprintf(error->text, sizeof error->text,
                 "has no times; replay it without --pace=recorded and --think");
        return NULL;
    }
    if (hak_reader_head(reader)->sample_bytes != 0) {
        snprintf(
            error->text, sizeof error->text,
            "holds a sample of the calls (hakmem-trace --sample), which says nothing of time or memory when "
            "it is replayed; record it without --sample");
        return NULL;
    }
    hak_workload *w = calloc(1, sizeof *w);
    if (w == NULL || (w->fd = memfd_create("hakmem-workload", MFD_CLOEXEC)) < 0) {
        snprintf(error->text, sizeof error->text, "cannot create a workload: %s", strerror(errno));
        free(w);
        return NULL;
    }
    hak_builder b = {
        .w = w,
        .order = order,
        .flags = flags,
        .reader = reader,
        .folder = folder,
        .spill_bytes = spill_bytes,
        .budget_bytes = available_bytes() / 100 * BUDGET_PERCENT,
        .last_thread = UINT32_MAX,
        .first_event_ns = UINT64_MAX,
        .error = error,
    };
    int status = compile_all(&b, reader);
    for (uint32_t i = 0; i < b.stream_count; i++)
        free(b.streams[i].spare);
    free(b.streams);
    free(b.lives);
    free(b.epochs);
    free(b.cells);
    free(b.first_ns);
    free(b.marks);
    if (status == 0)
        return w;
    hak_workload_free(w);
    return NULL;
}

void hak_workload_free(hak_workload *workload)
{
    if (workload == NULL)
        return;
    if (workload->words != NULL)
        munmap(workload->words, workload->word_cap * 8);
    close(workload->fd);
    free(workload);
}

void hak_workload_info_get(const hak_workload *workload, hak_workload_info *info)
{
    *info = workload->info;
}

uint64_t hak_workload_bytes(const hak_workload *workload)
{
    return workload->word_count * 8;
}

const char *hak_workload_program(const hak_workload *workload)
{
    const hak_w_header *head = (const hak_w_header *)workload->words;
    return ((const hak_w_saved *)(workload->words + head->saved_at))->program;
}

const uint64_t *hak_workload_region(const hak_workload *workload)
{
    return workload->words;
}

int hak_workload_fd(const hak_workload *workload)
{
    return workload->fd;
}
