/* collect_run.c: see collect_run.h. */
#include "trace/collect_run.h"

#include "trace/check.h"
#include "trace/encode_put.h"

/* A plain record: two words, and at most a stack told beside them. */
typedef struct plain {
    uint64_t stamp;
    uint64_t address;
    uint64_t size;
    uint32_t stack;
    hak_op op;
    uint32_t words;
    uint32_t same; /* of the stack told; as in hak_record */
    uint32_t frames;
    const uint64_t *pcs; /* NULL: none is told */
} plain;

#define AHEAD_WORDS 96 /* of the ring, for stacks that will be told */

/* What a run works on. */
typedef struct run {
    hak_events *events;
    hak_consumer *consumer;
    hak_writer_run writer;
} run;

/* The stack behind the two words; false: it does not fit into `left` words. */
static bool read_stack(plain *record, const uint64_t *words, uint64_t left)
{
    if (left < 3)
        return false;
    uint64_t counts = *(const volatile uint64_t *)&words[2]; /* the program may change it in between */
    uint32_t frames = (uint32_t)counts;
    record->same = (uint32_t)(counts >> 32);
    if (frames > HAK_RECORD_DEPTH_MAX || record->same > frames || frames - record->same > left - 3)
        return false;
    record->frames = frames - record->same;
    record->pcs = words + 3;
    record->words = 3 + record->frames;
    return true;
}

/* The visible record there; false: it is none, or another one. */
HAK_INLINE bool peek(const hak_consumer *consumer, uint64_t tail, plain *record)
{
    uint64_t at = tail & (HAK_RING_WORDS - 1);
    if (HAK_UNLIKELY(tail + 2 > consumer->visible || at == HAK_RING_WORDS - 1))
        return false;
    uint64_t first = consumer->words[at];
    uint64_t second = consumer->words[at + 1];
    uint32_t kind_form = (uint32_t)(first >> (HAK_STAMP_BITS + HAK_STACK_ID_BITS));
    bool told = kind_form >> HAK_KIND_BITS == HAK_RECORD_STACK;
    if (told)
        kind_form &= (1u << HAK_KIND_BITS) - 1;
    if (HAK_UNLIKELY(kind_form >= HAK_OP_COUNT)) /* another form, or no event */
        return false;
    uint64_t stamp = consumer->high | (uint32_t)first;
    *record = (plain){.stamp = stamp < consumer->last ? consumer->last : stamp,
                      .address = second & HAK_ADDRESS_MASK,
                      .size = second >> HAK_ADDRESS_BITS,
                      .stack = (uint32_t)(first >> HAK_STAMP_BITS) & ((1u << HAK_STACK_ID_BITS) - 1),
                      .op = (hak_op)kind_form,
                      .words = 2};
    if (HAK_LIKELY(!told))
        return true;
    uint64_t left = consumer->visible - tail;
    return read_stack(record, consumer->words + at, left < HAK_RING_WORDS - at ? left : HAK_RING_WORDS - at);
}

/* False: not plain, nothing has changed. */
HAK_INLINE bool put_alloc(run *r, const plain *record, uint64_t time_ns)
{
    hak_events *events = r->events;
    hak_consumer *consumer = r->consumer;
    uint32_t node = HAK_LIKELY(record->pcs == NULL)
                        ? hak_stack_ids_get(&consumer->stacks, record->stack)
                        : hak_stack_ids_set(&consumer->stacks, record->stack, record->pcs, record->frames,
                                            record->same, events->writer); /* twice does no harm */
    if (HAK_UNLIKELY(record->address == 0 || node == 0 || events->pending != 0))
        return false;
    uint32_t slot = hak_slots_add_again(events->slots, record->address);
    if (HAK_UNLIKELY(slot == 0))
        return false;
    if (HAK_UNLIKELY(slot >= events->blocks_room || !hak_live_begin_again(r->writer.live, slot))) {
        hak_slots_take_known(events->slots, record->address);
        return false;
    }
    consumer->allocations++;
    events->allocations++;
    events->blocks[slot] = (hak_block){record->size, consumer->allocations, consumer->thread, 1};
    events->live_bytes += record->size;
    if (events->live_bytes > events->peak_bytes)
        events->peak_bytes = events->live_bytes;
    hak_encoder_alloc(r->writer.encoder, r->writer.contexts, &consumer->lane, record->op, time_ns, node,
                      record->size, slot);
    return true;
}

HAK_INLINE bool put_free(run *r, const plain *record, uint64_t time_ns)
{
    hak_events *events = r->events;
    hak_consumer *consumer = r->consumer;
    if (HAK_UNLIKELY(record->address == 0 || record->pcs != NULL || events->pending != 0))
        return false;
    uint32_t slot = hak_slots_take_known(events->slots, record->address);
    if (HAK_UNLIKELY(slot == 0))
        return false;
    if (HAK_UNLIKELY(slot >= events->blocks_room || !hak_live_finish(r->writer.live, slot))) {
        hak_slots_add_again(events->slots, record->address); /* last in, first out: the same slot */
        return false;
    }
    const hak_block *block = &events->blocks[slot];
    events->live_bytes -= block->weight * block->size_bytes;
    events->temporary += block->thread == consumer->thread && block->ordinal == consumer->allocations;
    hak_encoder_free_of(r->writer.encoder, &consumer->lane, record->op, time_ns, slot);
    return true;
}

HAK_INLINE bool put(run *r, const plain *record, uint64_t time_ns)
{
    switch (hak_op_class_of(record->op)) {
    case HAK_CLASS_ALLOC:
        return put_alloc(r, record, time_ns);
    case HAK_CLASS_FREE:
        return put_free(r, record, time_ns);
    case HAK_CLASS_REALLOC:
    case HAK_CLASS_THREAD:
        break;
    }
    return false;
}

/* Two records further, at most. */
static void look_ahead(run *r)
{
    hak_consumer *consumer = r->consumer;
    hak_stack_ids *ids = &consumer->stacks;
    plain next;
    ids->told--;
    if (HAK_UNLIKELY(ids->tail < consumer->tail))
        hak_stack_ids_look_from(ids, consumer->tail);
    for (unsigned i = 0; i < 2 && ids->tail - consumer->tail < AHEAD_WORDS; i++) {
        if (!peek(consumer, ids->tail, &next))
            return; /* looking begins anew behind it */
        if (next.pcs != NULL)
            hak_stack_ids_foresee(ids, next.pcs, next.frames, next.same, r->writer.contexts);
        ids->tail += next.words;
    }
}

/* As many as the writer takes at once. */
static uint32_t run_once(run *r, hak_clock *clock, uint64_t until)
{
    hak_consumer *consumer = r->consumer;
    uint32_t count = 0;
    plain record;
    while (count < r->writer.room && peek(consumer, consumer->tail, &record) && record.stamp <= until) {
        if (consumer->stacks.told != 0)
            look_ahead(r);
        uint64_t time_ns = hak_clock_ns(clock, record.stamp);
        if (HAK_UNLIKELY(time_ns < r->writer.last_ns))
            time_ns = r->writer.last_ns;
        if (HAK_UNLIKELY(!put(r, &record, time_ns)))
            break;
        r->writer.last_ns = time_ns;
        consumer->tail += record.words;
        consumer->last = record.stamp;
        count++;
    }
    return count;
}

uint64_t hak_events_run(hak_events *events, hak_consumer *consumer, hak_clock *clock, uint64_t until)
{
    uint64_t used = 0;
    uint32_t count = 0;
    run r = {.events = events, .consumer = consumer};
    if (HAK_UNLIKELY(!consumer->has_thread || events->weigher.mean_bytes != 0))
        return 0;
    do {
        r.writer = hak_writer_run_begin(events->writer);
        if (HAK_UNLIKELY(consumer->lane.generation != r.writer.encoder->generation ||
                         consumer->lane.of != consumer->thread) &&
            !hak_encoder_enter(r.writer.encoder, &consumer->lane, consumer->thread))
            return used;
        uint32_t room = r.writer.room;
        count = run_once(&r, clock, until);
        hak_writer_run_end(events->writer, count, r.writer.last_ns);
        used += count;
        hak_consumer_release_part(consumer);
        if (count < room)
            break;
    } while (count != 0);
    return used;
}
