/* collect_events.c: see collect_events.h. */
#include "trace/collect_events.h"

#include <stdlib.h>
#include <string.h>

bool hak_events_init(hak_events *events, hak_writer *writer, const char *program, uint64_t sample_bytes)
{
    *events = (hak_events){.writer = writer,
                           .program = program,
                           .slots = hak_slots_new(),
                           .weigher = {.mean_bytes = sample_bytes}};
    return events->slots != NULL;
}

void hak_events_done(hak_events *events)
{
    if (events->slots != NULL)
        hak_slots_free(events->slots);
    free(events->blocks);
    free(events->tids);
    events->slots = NULL;
    events->blocks = NULL;
    events->tids = NULL;
}

static hak_block *block_of(hak_events *events, uint32_t slot)
{
    if (slot >= events->blocks_room) {
        size_t room = events->blocks_room == 0 ? 4096 : 2 * events->blocks_room;
        while (room <= slot)
            room *= 2;
        hak_block *grown = realloc(events->blocks, room * sizeof *grown);
        if (grown == NULL)
            return NULL;
        memset(grown + events->blocks_room, 0, (room - events->blocks_room) * sizeof *grown);
        events->blocks = grown;
        events->blocks_room = room;
    }
    return &events->blocks[slot];
}

static void block_begins(hak_events *events, hak_consumer *consumer, uint32_t slot, uint64_t size_bytes)
{
    hak_block *block = block_of(events, slot);
    if (block == NULL)
        return; /* only figures of the summary suffer */
    uint32_t weight = hak_weigh(&events->weigher, size_bytes);
    *block = (hak_block){size_bytes, consumer->allocations, consumer->thread, weight};
    events->allocations += weight;
    events->allocations--; /* the caller has counted one */
    events->live_bytes += weight * size_bytes;
    if (events->live_bytes > events->peak_bytes)
        events->peak_bytes = events->live_bytes;
}

/* freed: by free; what a realloc ends goes on as another block. */
static void block_ends(hak_events *events, const hak_consumer *consumer, uint32_t slot, bool freed)
{
    if (slot >= events->blocks_room)
        return;
    const hak_block *block = &events->blocks[slot];
    events->live_bytes -= block->weight * block->size_bytes;
    if (freed && events->weigher.mean_bytes == 0 && block->thread == consumer->thread &&
        block->ordinal == consumer->allocations)
        events->temporary++;
}

/* A slot for a new block; false: another one lives at that address. With `force` that one was freed where
 * nobody saw it: says so first. */
static bool slot_begins(hak_events *events, hak_consumer *consumer, uint64_t address, hak_event *event,
                        bool force)
{
    uint32_t lost;
    uint32_t slot = hak_slots_add(events->slots, address, &lost);
    if (HAK_UNLIKELY(lost != 0)) {
        if (!force)
            return false;
        hak_event unseen = {
            .time_ns = event->time_ns, .slot_old = lost, .thread = event->thread, .op = HAK_OP_FREE};
        hak_writer_event(events->writer, &unseen);
        block_ends(events, consumer, lost, true);
    }
    event->slot = slot;
    return true;
}

static uint32_t context_of(hak_events *events, hak_consumer *consumer, const hak_record *record)
{
    if (HAK_UNLIKELY((record->form & HAK_RECORD_STACK) != 0))
        return hak_stack_ids_set(&consumer->stacks, record->stack, record->pcs, record->frames, record->same,
                                 events->writer);
    return hak_stack_ids_get(&consumer->stacks, record->stack);
}

static bool put_alloc(hak_events *events, hak_consumer *consumer, const hak_record *record, hak_event *event,
                      bool force)
{
    bool failed = (record->flags & HAK_RECORD_FAILED) != 0 || record->address == 0;
    if (HAK_UNLIKELY(!failed && !slot_begins(events, consumer, record->address, event, force)))
        return false;
    event->context = context_of(events, consumer, record);
    event->size_bytes = record->size;
    event->align_log2 = (uint8_t)record->align_log2;
    if (HAK_UNLIKELY((record->flags & HAK_RECORD_NOTHROW) != 0))
        event->flags |= HAK_EVENT_NOTHROW;
    events->allocations++;
    consumer->allocations++;
    if (HAK_UNLIKELY(failed)) {
        event->flags |= HAK_EVENT_FAILED;
    } else if (HAK_UNLIKELY(event->slot == HAK_SLOT_NONE)) {
        events->lost++;
        return true;
    } else {
        block_begins(events, consumer, event->slot, record->size);
    }
    hak_writer_event(events->writer, event);
    return true;
}

/* What the realloc did to its old block: sets slot_old and flags. Returns the old address, 0: none known. */
static uint64_t realloc_begins(hak_events *events, hak_consumer *consumer, bool from, hak_event *event)
{
    uint64_t old = from ? consumer->pending : 0;
    bool gone = from && (consumer->pending_gone || old == 0);
    if (consumer->pending != 0) {
        events->pending--;
        consumer->pending = 0;
        consumer->pending_gone = false;
    }
    if (old != 0 && !gone)
        event->slot_old = hak_slots_take(events->slots, old);
    if (from && event->slot_old == HAK_SLOT_NONE)
        event->flags |= HAK_EVENT_FOREIGN;
    return old;
}

static bool put_realloc(hak_events *events, hak_consumer *consumer, const hak_record *record,
                        hak_event *event, bool force)
{
    bool from = (record->form & HAK_RECORD_MOVED_FROM) != 0;
    bool failed = (record->flags & HAK_RECORD_FAILED) != 0;
    bool moves = !failed && record->address != 0 && (!from || record->address != consumer->pending);
    if (moves && !force && hak_slots_find(events->slots, record->address) != HAK_SLOT_NONE)
        return false;
    event->context = context_of(events, consumer, record);
    event->size_bytes = record->size;
    events->allocations++;
    uint64_t old = realloc_begins(events, consumer, from, event);
    if (failed) {
        uint32_t lost;
        event->flags |= HAK_EVENT_FAILED;
        if (event->slot_old != HAK_SLOT_NONE)
            hak_slots_add(events->slots, old, &lost); /* last in, first out: the same slot */
        hak_writer_event(events->writer, event);
        return true;
    }
    if (event->slot_old != HAK_SLOT_NONE)
        block_ends(events, consumer, event->slot_old, record->address == 0);
    consumer->allocations++;
    if (record->address != 0)
        slot_begins(events, consumer, record->address, event, true);
    if (record->address != 0 && event->slot == HAK_SLOT_NONE) {
        events->lost++;
        return true;
    }
    if (event->slot != HAK_SLOT_NONE)
        block_begins(events, consumer, event->slot, record->size);
    if (from && moves)
        event->flags |= HAK_EVENT_MOVED;
    hak_writer_event(events->writer, event);
    return true;
}

static void put_free(hak_events *events, hak_consumer *consumer, const hak_record *record, hak_event *event)
{
    if (record->address != 0) {
        event->slot_old = hak_slots_take(events->slots, record->address);
        if (event->slot_old == HAK_SLOT_NONE && events->weigher.mean_bytes != 0)
            return; /* let through to be on the safe side */
        if (event->slot_old == HAK_SLOT_NONE)
            event->flags |= HAK_EVENT_FOREIGN;
        else
            block_ends(events, consumer, event->slot_old, true);
    }
    hak_writer_event(events->writer, event);
}

/* ---- threads ---- */

static bool thread_new(hak_events *events, hak_consumer *consumer)
{
    uint64_t *grown = realloc(events->tids, (events->threads + 1) * sizeof *grown);
    if (grown == NULL)
        return false;
    events->tids = grown;
    consumer->thread = hak_writer_thread(events->writer, consumer->tid, "");
    grown[events->threads++] = consumer->tid;
    return true;
}

static void thread_starts(hak_events *events, hak_consumer *consumer, const hak_record *record,
                          uint64_t time_ns)
{
    bool again = (record->at[1] >> 32 & 1) != 0;
    consumer->tid = (uint32_t)record->at[1];
    consumer->has_thread = false;
    consumer->end_seen = false;
    if (consumer->pending != 0)
        events->pending--;
    consumer->pending = 0;
    consumer->allocations = 0;
    for (uint32_t i = events->threads; again && i > 0; i--)
        if (events->tids[i - 1] == consumer->tid) {
            consumer->thread = i - 1;
            consumer->has_thread = true;
            return;
        }
    consumer->has_thread = thread_new(events, consumer);
    hak_event event = {.time_ns = time_ns, .thread = consumer->thread, .op = HAK_OP_THREAD_START};
    if (consumer->has_thread)
        hak_writer_event(events->writer, &event);
}

static void name_thread(hak_events *events, const hak_consumer *consumer)
{
    char name[sizeof consumer->ring->name + 1] = {0};
    memcpy(name, consumer->ring->name, sizeof consumer->ring->name);
    if (consumer->has_thread)
        hak_writer_thread_name(events->writer, consumer->thread, name);
}

void hak_events_thread_gone(hak_events *events, hak_consumer *consumer, uint64_t time_ns)
{
    name_thread(events, consumer);
    hak_event event = {.time_ns = time_ns, .thread = consumer->thread, .op = HAK_OP_THREAD_END};
    if (consumer->has_thread && !consumer->end_seen)
        hak_writer_event(events->writer, &event);
    consumer->end_seen = true;
    if (consumer->pending != 0)
        events->pending--;
    consumer->pending = 0;
}

/* ---- modules and rows ---- */

static void module_loads(hak_events *events, const hak_record *record, uint64_t time_ns)
{
    char path[HAK_MODULE_PATH_MAX + 1];
    uint32_t path_bytes = (uint32_t)record->size;
    uint32_t id_bytes = (uint32_t)(record->size >> 32);
    memcpy(path, &record->at[HAK_RECORD_MODULE_WORDS], path_bytes);
    path[path_bytes] = 0;
    const char *name =
        path_bytes == 0 ? events->program : path; /* the loader gives the program itself no name */
    hak_trace_module module = {.start = record->at[1],
                               .end = record->at[2],
                               .bias = record->at[3],
                               .from_ns = time_ns,
                               .to_ns = UINT64_MAX,
                               .path = name};
    if (id_bytes <= HAK_BUILD_ID_MAX_BYTES) {
        module.build_id_bytes = (uint8_t)id_bytes;
        memcpy(module.build_id, &record->at[5], id_bytes);
    }
    if (module.start < module.end)
        hak_writer_module_load(events->writer, &module);
}

static void row_learned(hak_events *events, const hak_record *record)
{
    hak_trace_row row = {.pc = record->at[1]};
    memcpy(&row.row, &record->at[2], sizeof row.row);
    hak_writer_row(events->writer, &row);
}

/* Records that are no events; false: it is one. */
static bool use_other(hak_events *events, hak_consumer *consumer, const hak_record *record, uint64_t time_ns)
{
    switch (record->kind) {
    case HAK_RECORD_THREAD_START:
        thread_starts(events, consumer, record, time_ns);
        name_thread(events, consumer);
        return true;
    case HAK_RECORD_THREAD_END:
        hak_events_thread_gone(events, consumer, time_ns);
        return true;
    case HAK_RECORD_REALLOC_BEGIN:
        if (consumer->pending == 0)
            events->pending++;
        consumer->pending = record->address;
        consumer->pending_gone = false;
        return true;
    case HAK_RECORD_MODULE_LOAD:
        module_loads(events, record, time_ns);
        return true;
    case HAK_RECORD_MODULE_UNLOAD:
        hak_writer_module_unload(events->writer, record->at[1], time_ns);
        return true;
    case HAK_RECORD_ROW:
        row_learned(events, record);
        return true;
    default:
        return false;
    }
}

bool hak_events_record(hak_events *events, hak_consumer *consumer, const hak_record *record, uint64_t time_ns,
                       bool force)
{
    if (HAK_UNLIKELY(record->kind >= HAK_OP_COUNT && use_other(events, consumer, record, time_ns)))
        return true;
    if (HAK_UNLIKELY(!consumer->has_thread)) {
        events->lost++;
        return true;
    }
    hak_event event = {.time_ns = time_ns, .thread = consumer->thread, .op = (uint8_t)record->kind};
    switch (hak_op_class_of((hak_op)record->kind)) {
    case HAK_CLASS_ALLOC:
        return put_alloc(events, consumer, record, &event, force);
    case HAK_CLASS_REALLOC:
        return put_realloc(events, consumer, record, &event, force);
    case HAK_CLASS_FREE:
        put_free(events, consumer, record, &event);
        return true;
    case HAK_CLASS_THREAD:
        break;
    }
    return true;
}

hak_consumer *hak_events_owner(hak_events *events, hak_consumer *consumers, size_t count,
                               const hak_consumer *consumer, const hak_record *record)
{
    if (HAK_LIKELY(events->pending == 0) || record->address == 0 || record->kind >= HAK_OP_COUNT)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (&consumers[i] != consumer && consumers[i].pending == record->address &&
            !consumers[i].pending_gone)
            return &consumers[i];
    return NULL;
}
