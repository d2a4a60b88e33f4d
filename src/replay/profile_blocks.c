/* profile_blocks.c: what an event does to the figures. Never prints. One thread. */
#include "replay/profile_parts.h"

#include <stdlib.h>

#include "core/base/bits.h"
#include "trace/grow.h"

/* The context of a node, made when new; NULL: no memory. */
static HAK_NOINLINE hak_profile_context *new_context(hak_build *b, uint32_t node, uint64_t time_ns)
{
    hak_profile *p = b->profile;
    uint32_t number = p->contexts_count;
    uint32_t chunk = number / HAK_CONTEXT_CHUNK;
    if (number % HAK_CONTEXT_CHUNK == 0) {
        hak_profile_context *made = HAK_GROW(&p->chunks, &p->chunks_room, chunk + 1u)
                                        ? hak_pieces_take(&p->pieces, HAK_CONTEXT_CHUNK * sizeof *made)
                                        : NULL;
        if (made == NULL) {
            b->no_memory = true;
            return NULL;
        }
        p->chunks[chunk] = made;
    }
    p->contexts_count++;
    b->context_of[node] = number + 1;
    hak_profile_context *context = hak_profile_at(p, number);
    context->node = node;
    context->first_ns = time_ns;
    return context;
}

static hak_profile_context *context_of(hak_build *b, const hak_event *event, uint32_t *number)
{
    uint32_t known = b->context_of[event->context];
    if (HAK_LIKELY(known != 0)) {
        *number = known - 1;
        return hak_profile_at(b->profile, known - 1);
    }
    *number = b->profile->contexts_count;
    return new_context(b, event->context, event->time_ns);
}

/* ---- blocks ---- */

static void count_heap(hak_build *b, const hak_event *event, uint64_t weight, uint64_t number)
{
    hak_profile *p = b->profile;
    b->live_bytes += weight * event->size_bytes;
    b->live_blocks += weight;
    if (b->live_bytes > b->point_max_bytes)
        b->point_max_bytes = b->live_bytes;
    if (b->live_bytes > p->peak_bytes) {
        p->peak_bytes = b->live_bytes;
        p->peak_blocks = b->live_blocks;
        p->peak_ns = event->time_ns;
        p->peak_event = number;
        b->peak_number++;
    }
}

static void count_allocation(hak_profile *p, const hak_event *event, uint64_t weight)
{
    uint64_t bytes = weight * event->size_bytes;
    unsigned bucket = hak_log2_ceil(event->size_bytes);
    p->size_calls[bucket] += weight;
    p->size_bytes[bucket] += bytes;
    p->allocations += weight;
    p->op_calls[event->op] += weight - 1; /* take_event has counted one */
    p->allocated_bytes += bytes;
    p->threads[event->thread].calls += weight;
    p->threads[event->thread].bytes += bytes;
    p->threads[event->thread].live_bytes += bytes;
}

/* Whether an allocation counts. */
static bool counts(const hak_build *b, const hak_event *event)
{
    const hak_profile_options *o = &b->options;
    return event->time_ns >= o->from_ns &&
           (o->threads_keep == NULL ||
            (event->thread < o->threads_count && o->threads_keep[event->thread] != 0)) &&
           (o->nodes_keep == NULL || (event->context < o->nodes_count && o->nodes_keep[event->context] != 0));
}

static void begin_block(hak_build *b, const hak_event *event, uint64_t number)
{
    hak_build_block *made = &b->blocks[event->slot];
    hak_build_thread *thread = &b->threads[event->thread];
    uint64_t size = event->size_bytes;
    uint32_t weight = hak_weigh(&b->weigher, size);
    *made = (hak_build_block){size,          event->time_ns, number,
                              HAK_UNCOUNTED, event->thread,  hak_pins_add(&b->pins, size),
                              weight,        ++thread->turn};
    thread->last_slot = event->slot;
    hak_profile_context *context = counts(b, event) ? context_of(b, event, &made->context) : NULL;
    if (context == NULL) {
        made->context = HAK_UNCOUNTED;
        return;
    }
    hak_usage *usage = &context->usage;
    hak_build_save(b, context);
    usage->calls += weight;
    usage->bytes += weight * size;
    usage->live_blocks += weight;
    usage->live_bytes += weight * size;
    if (usage->live_bytes > usage->max_bytes)
        usage->max_bytes = usage->live_bytes;
    if (usage->live_blocks > usage->max_blocks)
        usage->max_blocks = usage->live_blocks;
    if (size > usage->size_max_bytes)
        usage->size_max_bytes = size;
    count_allocation(b->profile, event, weight);
    count_heap(b, event, weight, number);
}

/* What the block was; its context, or NULL when it does not count. */
static hak_profile_context *end_block(hak_build *b, uint32_t slot, hak_build_block *ended)
{
    *ended = b->blocks[slot];
    hak_pins_remove(&b->pins, ended->slab);
    b->blocks[slot].slab = HAK_PIN_NONE;
    b->blocks[slot].context = HAK_UNCOUNTED;
    if (ended->context == HAK_UNCOUNTED)
        return NULL;
    hak_profile_context *context = hak_profile_at(b->profile, ended->context);
    hak_build_save(b, context);
    uint64_t bytes = ended->weight * ended->size_bytes;
    context->usage.live_bytes -= bytes;
    context->usage.live_blocks -= ended->weight;
    b->profile->threads[ended->thread].live_bytes -= bytes;
    b->live_bytes -= bytes;
    b->live_blocks -= ended->weight;
    return context;
}

static void record_life(hak_build *b, hak_profile_context *context, uint64_t life_ns, uint64_t life_events)
{
    context->usage.life_ns += life_ns;
    if (HAK_UNLIKELY(!hak_lives_record(&context->lives, &b->profile->pieces, life_ns, life_events)))
        b->no_memory = true;
}

/* A container that grows makes the new block, copies, frees the old one: the first block of its context that
 * is freed after that. The others that a thread then frees are no containers but what one held. */
static void see_growth(hak_build *b, hak_usage *usage, const hak_build_block *ended, uint32_t thread)
{
    uint32_t last = b->threads[thread].last_slot;
    if (last == 0)
        return;
    const hak_build_block *made = &b->blocks[last];
    if (made->context != ended->context || made->birth_turn == ended->birth_turn)
        return;
    b->threads[thread].last_slot = 0;
    if (made->size_bytes > ended->size_bytes && made->size_bytes <= 3 * ended->size_bytes) {
        usage->grown++;
        usage->grown_bytes += ended->size_bytes;
    }
}

/* Number of the pair, made when new; HAK_REMOTE_PAIRS_MAX: no room. */
static uint32_t pair_of(hak_build *b, uint32_t from, uint32_t to)
{
    hak_profile *p = b->profile;
    uint64_t hash = hak_mix64((uint64_t)from << 32 | to);
    size_t at = hash % HAK_PAIR_TABLE;
    for (; b->pair_table[at] != 0; at = (at + 1) % HAK_PAIR_TABLE) {
        const hak_remote_pair *pair = &p->pairs[b->pair_table[at] - 1];
        if (pair->from == from && pair->to == to)
            return b->pair_table[at] - 1;
    }
    if (p->pairs_count == HAK_REMOTE_PAIRS_MAX ||
        !HAK_GROW(&p->pairs, &b->pairs_room, (size_t)p->pairs_count + 1))
        return HAK_REMOTE_PAIRS_MAX;
    p->pairs[p->pairs_count++] = (hak_remote_pair){from, to, 0, 0};
    b->pair_table[at] = (uint16_t)p->pairs_count;
    return p->pairs_count - 1;
}

static void count_pair(hak_build *b, const hak_build_block *ended, uint32_t thread)
{
    uint32_t at = pair_of(b, ended->thread, thread);
    if (at == HAK_REMOTE_PAIRS_MAX) {
        b->profile->pairs_lost++;
        return;
    }
    b->profile->pairs[at].frees += ended->weight;
    b->profile->pairs[at].bytes += ended->weight * ended->size_bytes;
}

static void free_block(hak_build *b, const hak_event *event, uint64_t number)
{
    hak_profile *p = b->profile;
    hak_build_block ended;
    hak_profile_context *context = end_block(b, event->slot_old, &ended);
    if (context == NULL)
        return;
    hak_usage *usage = &context->usage;
    usage->freed += ended.weight;
    p->frees += ended.weight;
    p->threads[event->thread].frees += ended.weight;
    if (ended.thread != event->thread) {
        usage->freed_remotely += ended.weight;
        p->threads[event->thread].frees_of_others += ended.weight;
        count_pair(b, &ended, event->thread);
    }
    see_growth(b, usage, &ended, event->thread);
    if (b->threads[ended.thread].last_slot == event->slot_old)
        b->threads[ended.thread].last_slot = 0;
    if (b->weigher.mean_bytes == 0 && /* a sample does not tell what came in between */
        b->threads[ended.thread].turn - ended.birth_turn <= b->options.temporary) {
        usage->temporary++;
        usage->temporary_deleted += event->op == HAK_OP_DELETE || event->op == HAK_OP_DELETE_ARRAY;
        p->temporary++;
    }
    record_life(b, context, event->time_ns - ended.birth_ns, number - ended.birth_event);
}

static void realloc_block(hak_build *b, const hak_event *event, uint64_t number)
{
    uint32_t old = event->slot_old;
    if (event->slot == HAK_SLOT_NONE) {
        if (old != HAK_SLOT_NONE)
            free_block(b, event, number);
        return;
    }
    hak_build_block ended = {.size_bytes = 0};
    if (old != HAK_SLOT_NONE) {
        end_block(b, old, &ended);
        if (b->threads[ended.thread].last_slot == old)
            b->threads[ended.thread].last_slot = 0;
    }
    begin_block(b, event, number);
    uint32_t made = b->blocks[event->slot].context;
    if (old == HAK_SLOT_NONE || made == HAK_UNCOUNTED)
        return;
    hak_usage *usage = &hak_profile_at(b->profile, made)->usage;
    usage->reallocs++;
    if ((event->flags & HAK_EVENT_MOVED) != 0) {
        usage->moved++;
        usage->copied_bytes += ended.size_bytes < event->size_bytes ? ended.size_bytes : event->size_bytes;
    }
}

static void count_failure(hak_build *b, const hak_event *event)
{
    uint32_t number;
    hak_profile_context *context = counts(b, event) ? context_of(b, event, &number) : NULL;
    if (context == NULL)
        return;
    b->profile->failed++;
    context->usage.failed++;
}

static void take_event(hak_build *b, const hak_event *event, uint64_t number)
{
    hak_profile *p = b->profile;
    if (HAK_UNLIKELY(number >= b->look_at))
        hak_build_look(b, number);
    if (HAK_UNLIKELY(event->time_ns >= b->next_point_ns))
        hak_build_point(b, event->time_ns);
    if (HAK_LIKELY(event->time_ns >= b->options.from_ns))
        p->op_calls[event->op]++;
    if (HAK_UNLIKELY((event->flags & (HAK_EVENT_FAILED | HAK_EVENT_FOREIGN)) != 0)) {
        p->foreign += (event->flags & HAK_EVENT_FOREIGN) != 0;
        if ((event->flags & HAK_EVENT_FAILED) != 0) {
            count_failure(b, event);
            return;
        }
    }
    switch (hak_op_class_of((hak_op)event->op)) {
    case HAK_CLASS_ALLOC:
        begin_block(b, event, number);
        break;
    case HAK_CLASS_REALLOC:
        realloc_block(b, event, number);
        break;
    case HAK_CLASS_FREE:
        if (event->slot_old != HAK_SLOT_NONE)
            free_block(b, event, number);
        else if ((event->flags & HAK_EVENT_FOREIGN) == 0)
            p->null_frees++;
        break;
    case HAK_CLASS_THREAD:
        break;
    }
}

/* Blocks and contexts are met in no order that a processor would foresee, and each leads to the next: a
 * block to its context, that to its lives. So they are asked for in steps, each when the one before has come.
 * Where contexts are few, they are in the cache anyway. (Inlined always: a compiler takes a function that
 * only prefetches for one without effect and drops its calls.) */
enum { FAR = 24, NEAR = 14, NEXT = 6, CONTEXTS_FEW = 1024 };

HAK_INLINE void foresee_block(const hak_build *b, const hak_event *event)
{
    __builtin_prefetch(&b->blocks[event->slot_old != 0 ? event->slot_old : event->slot], 1);
    __builtin_prefetch(&b->context_of[event->context]);
}

/* The context that the event will change; NULL: none is known yet. */
static hak_profile_context *likely_context(const hak_build *b, const hak_event *event)
{
    uint32_t number =
        event->slot != 0 ? b->context_of[event->context] - 1 : b->blocks[event->slot_old].context;
    return number < b->profile->contexts_count ? hak_profile_at(b->profile, number) : NULL;
}

HAK_INLINE void foresee_context(const hak_build *b, const hak_event *event)
{
    const hak_profile_context *context = likely_context(b, event);
    if (context != NULL) {
        __builtin_prefetch(context, 1);
        __builtin_prefetch((const char *)context + 64, 1);
    }
}

HAK_INLINE void foresee_lives(const hak_build *b, const hak_event *event)
{
    if (event->slot != 0)
        return;
    const hak_profile_context *context = likely_context(b, event);
    if (context != NULL && context->lives.all != NULL) {
        __builtin_prefetch(context->lives.all, 1);
        __builtin_prefetch((const char *)context->lives.all + 64, 1);
    }
}

HAK_INLINE void foresee(const hak_build *b, const hak_event *events, size_t at, size_t count)
{
    if (at + FAR < count)
        foresee_block(b, &events[at + FAR]);
    if (b->profile->contexts_count <= CONTEXTS_FEW)
        return;
    if (at + NEAR < count)
        foresee_context(b, &events[at + NEAR]);
    if (at + NEXT < count)
        foresee_lives(b, &events[at + NEXT]);
}

void hak_build_take(hak_build *b, const hak_event *events, size_t count)
{
    uint64_t first = b->profile->events;
    const hak_profile_options *o = &b->options;
    for (size_t i = 0; i < count; i++) {
        foresee(b, events, i, count);
        if (HAK_UNLIKELY(events[i].time_ns > o->until_ns || first + i > o->until_event)) {
            b->ended = true;
            count = i;
            break;
        }
        take_event(b, &events[i], first + i);
    }
    b->profile->events += count;
    if (count != 0)
        b->last_ns = events[count - 1].time_ns;
}
