/* trainer_trace.c: a trace's digest for training. The first pass finds the sizes and the peak, from which the
 * bounds of short and long lives follow; the second one follows every block. */
#include "replay/trainer_trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/trainer_classes.h"

/* A short life lets its slab empty again soon; a long one outlives most of what stands beside it. */
#define SHORT_SHARE_OF_PEAK 16
#define SHORT_MIN_BYTES     (16 * HAK_KIB)
#define SHORT_MAX_BYTES     HAK_MIB
#define LONG_MIN_BYTES      (256 * HAK_KIB)
#define LONG_MAX_BYTES      (64 * HAK_MIB)
#define LIST_THREADS        64 /* whose lists are looked at */
#define PEAK_STEP_PERCENT   2  /* the cells are copied when the peak has grown by so much */

/* A block, by slot. */
typedef struct block {
    uint64_t born_bytes; /* allocated bytes so far, at birth */
    uint64_t size_bytes;
    uint32_t context;
    uint32_t thread;
    uint32_t grown_by; /* context of the realloc that grew it last, 0: none */
    bool live;
} block;

typedef struct pass {
    hak_train_trace *trace;
    hak_trace_error *error;
    block *blocks;
    uint32_t block_room;
    uint64_t clock_bytes;
    uint64_t live_bytes;
    uint64_t copied_bytes; /* live bytes when `peak` was copied */
    uint64_t *live;        /* by cell */
    uint8_t class_of[HAK_CELLS];
    uint32_t (*lists)[HAK_POLICY_MAX_CLASSES]; /* by thread: blocks that were freed and not taken again */
    bool second;
} pass;

static uint32_t cell_of(uint64_t size_bytes)
{
    uint64_t cell = size_bytes == 0 ? 0 : (size_bytes - 1) / HAK_CELL_BYTES;
    return cell < HAK_CELLS ? (uint32_t)cell : HAK_CELLS;
}

static bool fail_memory(pass *p)
{
    snprintf(p->error->text, sizeof p->error->text, "out of memory");
    return false;
}

static bool room_for_slot(pass *p, uint32_t slot)
{
    if (slot < p->block_room)
        return true;
    uint64_t room = p->block_room == 0 ? 4096 : p->block_room;
    while (room <= slot)
        room *= 2;
    block *blocks = realloc(p->blocks, room * sizeof *blocks);
    if (blocks == NULL)
        return fail_memory(p);
    memset(blocks + p->block_room, 0, (room - p->block_room) * sizeof *blocks);
    p->blocks = blocks;
    p->block_room = (uint32_t)room;
    return true;
}

static bool room_for_context(pass *p, uint32_t context)
{
    hak_train_trace *t = p->trace;
    if (context < t->context_count)
        return true;
    uint64_t count = t->context_count == 0 ? 1024 : t->context_count;
    while (count <= context)
        count *= 2;
    hak_context_stats *contexts = realloc(t->contexts, count * sizeof *contexts);
    if (contexts == NULL)
        return fail_memory(p);
    memset(contexts + t->context_count, 0, (count - t->context_count) * sizeof *contexts);
    t->contexts = contexts;
    t->context_count = (uint32_t)count;
    return true;
}

static void count_birth(pass *p, const hak_event *e)
{
    hak_train_trace *t = p->trace;
    uint32_t cell = cell_of(e->size_bytes);
    t->allocations++;
    if (cell < HAK_CELLS) {
        t->small_allocations++;
        t->count[cell]++;
        p->live[cell]++;
        if (e->thread < LIST_THREADS && p->lists[e->thread][p->class_of[cell]] != 0)
            p->lists[e->thread][p->class_of[cell]]--;
    }
    t->total_bytes += e->size_bytes;
    p->live_bytes += e->size_bytes;
    if (p->live_bytes > t->peak_bytes)
        t->peak_bytes = p->live_bytes;
    if (p->live_bytes > p->copied_bytes + p->copied_bytes * PEAK_STEP_PERCENT / 100) {
        p->copied_bytes = p->live_bytes;
        memcpy(t->peak, p->live, sizeof t->peak);
    }
}

static void context_birth(pass *p, const hak_event *e)
{
    hak_context_stats *c = &p->trace->contexts[e->context];
    if (c->blocks++ == 0)
        c->first_ns = e->time_ns;
    c->bytes += e->size_bytes;
}

static bool birth(pass *p, const hak_event *e, uint32_t grown_by)
{
    if (!room_for_slot(p, e->slot) || !room_for_context(p, e->context))
        return false;
    if (p->second)
        context_birth(p, e);
    else
        count_birth(p, e);
    p->blocks[e->slot] = (block){p->clock_bytes, e->size_bytes, e->context, e->thread, grown_by, true};
    p->clock_bytes += e->size_bytes;
    return true;
}

/* `freed`: false for what is still alive at the end. */
static void judge_life(pass *p, const block *b, bool freed)
{
    hak_train_trace *t = p->trace;
    hak_context_stats *c = &t->contexts[b->context];
    uint64_t age_bytes = p->clock_bytes - b->born_bytes;
    bool is_short = freed && age_bytes <= t->short_bytes;
    bool is_long = !freed || age_bytes >= t->long_bytes;
    /* Born too late to become old before the program tidied up and ended: that says nothing. */
    if (!is_short && !is_long && b->born_bytes + t->long_bytes > t->total_bytes)
        return;
    uint32_t cell = cell_of(b->size_bytes);
    if (cell < HAK_CELLS) {
        c->small++;
        c->small_short += is_short;
        c->small_long += is_long;
        t->shorts[cell] += is_short;
        t->longs[cell] += is_long;
    }
    if (b->size_bytes >= HAK_BIG_BYTES) {
        c->big++;
        c->big_bytes += b->size_bytes;
        c->big_short += is_short;
        c->big_long += is_long;
    }
}

static void list_free(pass *p, const block *b, uint32_t thread, uint32_t cell)
{
    if (thread >= LIST_THREADS || b->thread != thread)
        return;
    unsigned class_index = p->class_of[cell], step = 0;
    uint32_t length = p->lists[thread][class_index]++;
    while (step < HAK_LIST_STEPS - 1 && length >> step != 0)
        step++;
    p->trace->list_lengths[class_index][step]++;
}

static void death(pass *p, const hak_event *e)
{
    block *b = &p->blocks[e->slot_old];
    if (!p->second) {
        uint32_t cell = cell_of(b->size_bytes);
        if (cell < HAK_CELLS) {
            p->live[cell]--;
            list_free(p, b, e->thread, cell);
        }
        p->live_bytes -= b->size_bytes;
    } else {
        hak_context_stats *c = &p->trace->contexts[b->context];
        c->freed++;
        c->freed_remote += b->thread != e->thread;
        if (b->thread != e->thread && cell_of(b->size_bytes) < HAK_CELLS)
            p->trace->remotes[cell_of(b->size_bytes)]++;
        judge_life(p, b, true);
    }
    b->live = false;
}

/* A growth at once followed by another small one is what slack would have saved. Returns the context that the
 * next growth of this block will be credited to. */
static uint32_t count_growth(pass *p, const hak_event *e, const block *old)
{
    if (e->size_bytes <= old->size_bytes || e->size_bytes < HAK_SLACK_BYTES)
        return 0;
    if (p->second) {
        uint64_t bound_bytes = old->size_bytes + old->size_bytes * HAK_POLICY_MAX_SLACK / 100;
        if (old->grown_by != 0 && e->size_bytes <= bound_bytes)
            p->trace->contexts[old->grown_by].grown_again++;
        p->trace->contexts[e->context].grown++;
    }
    return e->context;
}

static bool realloc_event(pass *p, const hak_event *e)
{
    uint32_t grown_by = 0;
    if (!room_for_context(p, e->context))
        return false;
    if (e->slot_old != 0 && e->slot_old < p->block_room && p->blocks[e->slot_old].live) {
        grown_by = count_growth(p, e, &p->blocks[e->slot_old]);
        death(p, e);
    }
    return e->slot == 0 || birth(p, e, grown_by);
}

static bool take_event(pass *p, const hak_event *e)
{
    if (e->flags & HAK_EVENT_FAILED)
        return true;
    switch (hak_op_class_of((hak_op)e->op)) {
    case HAK_CLASS_ALLOC:
        return e->slot == 0 || birth(p, e, 0);
    case HAK_CLASS_REALLOC:
        return realloc_event(p, e);
    case HAK_CLASS_FREE:
        if (e->slot_old != 0 && e->slot_old < p->block_room && p->blocks[e->slot_old].live)
            death(p, e);
        return true;
    case HAK_CLASS_THREAD:
        return true;
    }
    return true;
}

static int run_pass(hak_reader *reader, pass *p)
{
    const hak_event *events;
    size_t count;
    int more;
    while ((more = hak_reader_next(reader, &events, &count, p->error)) > 0)
        for (size_t i = 0; i < count; i++)
            if (!take_event(p, &events[i]))
                return -1;
    return more;
}

static uint64_t within(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

int hak_train_trace_read(hak_reader *reader, hak_train_trace *trace, hak_trace_error *error)
{
    memset(trace, 0, sizeof *trace);
    pass p = {.trace = trace,
              .error = error,
              .live = calloc(HAK_CELLS, sizeof *p.live),
              .lists = calloc(LIST_THREADS, sizeof *p.lists)};
    int result = -1;
    uint32_t ladder[HAK_POLICY_MAX_CLASSES];
    hak_standard_ladder(ladder);
    for (uint32_t cell = 0, class_index = 0; cell < HAK_CELLS; cell++) {
        while (ladder[class_index] < (cell + 1) * HAK_CELL_BYTES)
            class_index++;
        p.class_of[cell] = (uint8_t)class_index;
    }
    if (p.live == NULL || p.lists == NULL) {
        fail_memory(&p);
        goto out;
    }
    if (hak_reader_rewind(reader, error) != 0 || run_pass(reader, &p) != 0)
        goto out;
    trace->short_bytes = within(trace->peak_bytes / SHORT_SHARE_OF_PEAK, SHORT_MIN_BYTES, SHORT_MAX_BYTES);
    trace->long_bytes = within(trace->peak_bytes, LONG_MIN_BYTES, LONG_MAX_BYTES);
    if (p.blocks != NULL)
        memset(p.blocks, 0, p.block_room * sizeof *p.blocks);
    p.clock_bytes = 0;
    p.second = true;
    if (hak_reader_rewind(reader, error) != 0 || run_pass(reader, &p) != 0)
        goto out;
    for (uint32_t slot = 0; slot < p.block_room; slot++)
        if (p.blocks[slot].live)
            judge_life(&p, &p.blocks[slot], false);
    result = 0;
out:
    free(p.live);
    free(p.lists);
    free(p.blocks);
    if (result != 0)
        hak_train_trace_clear(trace);
    return result;
}

void hak_train_trace_clear(hak_train_trace *trace)
{
    free(trace->contexts);
    trace->contexts = NULL;
    trace->context_count = 0;
}
