/* slices.c: see slices.h. Never prints. */
#include "replay/slices.h"

#include <stdlib.h>

#include "trace/error.h"
#include "trace/grow.h"

typedef struct block {
    uint64_t size_bytes;
    uint32_t node;
    uint32_t thread;
    uint32_t turn;
} block;

typedef struct pass {
    hak_slices *slices;
    const uint32_t *node_of;
    uint32_t contexts;
    uint64_t offset_ns;
    block *blocks; /* by slot */
    size_t blocks_room;
    size_t blocks_count;
    uint32_t *turns; /* by thread: allocations so far */
    size_t turns_room;
    uint32_t turns_count;
} pass;

bool hak_slices_init(hak_slices *slices, uint32_t count, uint32_t nodes, uint64_t span_ns)
{
    *slices = (hak_slices){.count = count, .nodes = nodes, .step_ns = span_ns / count + 1};
    slices->cells = calloc((size_t)count * nodes + 1, sizeof *slices->cells);
    return slices->cells != NULL;
}

void hak_slices_done(hak_slices *slices)
{
    free(slices->cells);
    *slices = (hak_slices){.cells = NULL};
}

static hak_slice *cell_of(const pass *p, uint64_t time_ns, uint32_t node)
{
    uint64_t slice = (time_ns + p->offset_ns) / p->slices->step_ns;
    uint64_t last = p->slices->count - 1;
    return &p->slices->cells[(slice < last ? slice : last) * p->slices->nodes + node];
}

static void end_block(pass *p, const hak_event *event, bool freed)
{
    block *ended = &p->blocks[event->slot_old];
    if (ended->node == HAK_SLICES_NO_NODE)
        return;
    hak_slice *cell = cell_of(p, event->time_ns, ended->node);
    cell->live_bytes -= (int64_t)ended->size_bytes;
    cell->temporary += freed && p->turns[ended->thread] == ended->turn;
    ended->node = HAK_SLICES_NO_NODE;
}

static void begin_block(pass *p, const hak_event *event)
{
    uint32_t node = event->context < p->contexts ? p->node_of[event->context] : HAK_SLICES_NO_NODE;
    p->blocks[event->slot] = (block){event->size_bytes, node, event->thread, ++p->turns[event->thread]};
    if (node == HAK_SLICES_NO_NODE)
        return;
    hak_slice *cell = cell_of(p, event->time_ns, node);
    cell->calls++;
    cell->bytes += event->size_bytes;
    cell->live_bytes += (int64_t)event->size_bytes;
}

static bool follow_tables(pass *p, const hak_reader *reader)
{
    uint32_t threads;
    hak_reader_threads(reader, &threads);
    size_t slots = (size_t)hak_reader_slots(reader) + 1;
    if (!HAK_GROW(&p->blocks, &p->blocks_room, slots) || !HAK_GROW(&p->turns, &p->turns_room, threads))
        return false;
    for (; p->blocks_count < slots; p->blocks_count++)
        p->blocks[p->blocks_count] = (block){.node = HAK_SLICES_NO_NODE};
    for (; p->turns_count < threads; p->turns_count++)
        p->turns[p->turns_count] = 0;
    return true;
}

static void take_event(pass *p, const hak_event *event)
{
    if ((event->flags & HAK_EVENT_FAILED) != 0)
        return;
    if (event->slot_old != HAK_SLOT_NONE)
        end_block(p, event, event->slot == HAK_SLOT_NONE);
    if (event->slot != HAK_SLOT_NONE)
        begin_block(p, event);
}

int hak_slices_add(hak_slices *slices, hak_reader *reader, const uint32_t *node_of, uint32_t contexts,
                   uint64_t offset_ns, hak_trace_error *error)
{
    pass p = {.slices = slices, .node_of = node_of, .contexts = contexts, .offset_ns = offset_ns};
    const hak_event *events;
    size_t count;
    int got = hak_reader_rewind(reader, error);
    while (got == 0 && (got = hak_reader_next(reader, &events, &count, error)) == 1) {
        got = follow_tables(&p, reader) ? 0 : hak_trace_fail(error, "out of memory");
        for (size_t i = 0; got == 0 && p.blocks != NULL && p.turns != NULL && i < count; i++)
            take_event(&p, &events[i]);
        if (got == 0 && count == 0)
            break;
    }
    free(p.blocks);
    free(p.turns);
    return got;
}
