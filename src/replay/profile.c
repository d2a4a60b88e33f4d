/* profile.c: one pass over the events. Never prints. One thread.
 *
 * What each context held when the whole heap was greatest is found without a snapshot: peaks are numbered,
 * and a context saves what it holds before its first change after a peak. */
#include "replay/profile.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "replay/feed.h"
#include "replay/pins.h"
#include "trace/error.h"
#include "trace/grow.h"
#include "trace/weight.h"

/* A block that is live, as far as it counts. */
typedef struct block {
    uint64_t size_bytes;
    uint64_t birth_ns;
    uint64_t birth_event;
    uint32_t context; /* number in the profile; UNCOUNTED */
    uint32_t thread;
    uint32_t slab;       /* see pins.h */
    uint32_t weight;     /* blocks that it stands for; 1 where every call was recorded */
    uint32_t birth_turn; /* its thread's count of allocations, modulo 2^32 */
} block;

#define UNCOUNTED UINT32_MAX /* outside the range or filtered out: only followed */

/* How often what pins memory is looked at: not more often than so many events, than this share of all events
 * so far, and than four times the slots, which a look has to walk. */
enum { LOOK_EVENTS = 1024, LOOK_SHARE = 32, LOOK_SLOTS = 4 };

typedef struct thread_state {
    uint32_t last_slot; /* its last allocation; 0 once that was freed */
    uint32_t turn;      /* allocations so far, modulo 2^32 */
} thread_state;

enum { PAIR_TABLE = 2 * HAK_REMOTE_PAIRS_MAX };

typedef struct build {
    hak_profile *profile;
    hak_reader *reader;
    hak_profile_options options;
    block *blocks; /* by slot */
    size_t blocks_room;
    uint32_t blocks_count;
    uint32_t *context_of; /* by node: number in the profile + 1; 0: none yet */
    size_t context_of_room;
    uint32_t context_of_count;
    size_t chunks_room;
    thread_state *threads;
    size_t threads_room;
    size_t last_room;
    size_t pairs_room;
    uint16_t pair_table[PAIR_TABLE]; /* numbers of pairs + 1, by hash; never full */
    hak_weigher weigher;
    hak_pins pins;
    uint64_t look_at; /* event number of the next look at what is pinned */
    uint64_t looked_at;
    double looked_weight;
    uint64_t live_bytes;
    uint64_t live_blocks;
    uint32_t peak_number;
    uint64_t next_point_ns;
    uint64_t point_max_bytes;
    uint64_t last_ns;
    bool ended; /* past the range */
    bool no_memory;
} build;

/* ---- tables that follow the reader's ---- */

static bool follow_nodes(build *b, uint32_t count)
{
    if (!HAK_GROW(&b->context_of, &b->context_of_room, count))
        return false;
    if (count > b->context_of_count)
        memset(b->context_of + b->context_of_count, 0, (count - b->context_of_count) * sizeof *b->context_of);
    b->context_of_count = count;
    return true;
}

static bool follow_threads(build *b, uint32_t count)
{
    hak_profile *p = b->profile;
    if (!HAK_GROW(&p->threads, &b->threads_room, count) || !HAK_GROW(&b->threads, &b->last_room, count))
        return false;
    for (uint32_t i = p->threads_count; i < count; i++) {
        p->threads[i] = (hak_profile_thread){.calls = 0};
        b->threads[i] = (thread_state){0, 0};
    }
    p->threads_count = count;
    return true;
}

static bool follow_blocks(build *b, uint32_t slots)
{
    uint32_t count = slots + 1;
    if (!HAK_GROW(&b->blocks, &b->blocks_room, count))
        return false;
    for (uint32_t i = b->blocks_count; i < count; i++)
        b->blocks[i] = (block){.context = UNCOUNTED, .slab = HAK_PIN_NONE};
    b->blocks_count = count > b->blocks_count ? count : b->blocks_count;
    return true;
}

static bool follow_tables(build *b, const hak_feed_batch *batch)
{
    return follow_nodes(b, batch->nodes) && follow_threads(b, batch->threads) &&
           follow_blocks(b, batch->slots);
}

/* The context of a node, made when new; NULL: no memory. */
static HAK_NOINLINE hak_profile_context *new_context(build *b, uint32_t node, uint64_t time_ns)
{
    hak_profile *p = b->profile;
    uint32_t number = p->contexts_count;
    if (number % HAK_CONTEXT_CHUNK == 0) {
        hak_profile_context *chunk = calloc(HAK_CONTEXT_CHUNK, sizeof *chunk);
        if (chunk == NULL || !HAK_GROW(&p->chunks, &b->chunks_room, number / HAK_CONTEXT_CHUNK + 1u)) {
            free(chunk);
            b->no_memory = true;
            return NULL;
        }
        p->chunks[number / HAK_CONTEXT_CHUNK] = chunk;
    }
    p->contexts_count++;
    b->context_of[node] = number + 1;
    hak_profile_context *context = hak_profile_at(p, number);
    context->node = node;
    context->first_ns = time_ns;
    return context;
}

static hak_profile_context *context_of(build *b, const hak_event *event, uint32_t *number)
{
    uint32_t known = b->context_of[event->context];
    if (HAK_LIKELY(known != 0)) {
        *number = known - 1;
        return hak_profile_at(b->profile, known - 1);
    }
    *number = b->profile->contexts_count;
    return new_context(b, event->context, event->time_ns);
}

/* ---- heap over time ---- */

/* Too many points: every second one goes, the other takes its maximum. */
static void thin_timeline(build *b)
{
    hak_profile *p = b->profile;
    for (uint32_t i = 0; i < p->timeline_count / 2; i++) {
        hak_profile_point first = p->timeline[2 * i];
        hak_profile_point second = p->timeline[2 * i + 1];
        if (second.live_max_bytes < first.live_max_bytes)
            second.live_max_bytes = first.live_max_bytes;
        p->timeline[i] = second;
    }
    p->timeline_count /= 2;
    p->timeline_step_ns *= 2;
}

static HAK_NOINLINE void put_point(build *b, uint64_t time_ns)
{
    hak_profile *p = b->profile;
    if (p->timeline_count == HAK_TIMELINE_POINTS)
        thin_timeline(b);
    p->timeline[p->timeline_count++] = (hak_profile_point){time_ns, b->point_max_bytes};
    b->point_max_bytes = b->live_bytes;
    b->next_point_ns = time_ns + p->timeline_step_ns;
}

/* ---- what is pinned ---- */

static HAK_NOINLINE void look_at_pins(build *b, uint64_t number)
{
    double weight = (double)(number - b->looked_at);
    for (uint32_t slot = 1; slot < b->blocks_count; slot++) {
        const block *at = &b->blocks[slot];
        if (at->context == UNCOUNTED || at->slab == HAK_PIN_NONE)
            continue;
        hak_profile_at(b->profile, at->context)->usage.pinned_bytes +=
            weight * hak_pins_share(&b->pins, at->slab);
    }
    b->looked_weight += weight;
    b->looked_at = number;
    uint64_t wait = number / LOOK_SHARE;
    wait = wait < LOOK_EVENTS ? LOOK_EVENTS : wait;
    b->look_at =
        number +
        (wait < LOOK_SLOTS * (uint64_t)b->blocks_count ? LOOK_SLOTS * (uint64_t)b->blocks_count : wait);
}

/* ---- blocks ---- */

static void before_change(const build *b, hak_profile_context *context)
{
    if (context->peak_number == b->peak_number)
        return;
    context->peak_number = b->peak_number;
    context->usage.at_peak_bytes = context->usage.live_bytes;
    context->usage.at_peak_blocks = context->usage.live_blocks;
}

static void count_heap(build *b, const hak_event *event, uint64_t weight, uint64_t number)
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
static bool counts(const build *b, const hak_event *event)
{
    const hak_profile_options *o = &b->options;
    return event->time_ns >= o->from_ns &&
           (o->threads_keep == NULL ||
            (event->thread < o->threads_count && o->threads_keep[event->thread] != 0)) &&
           (o->nodes_keep == NULL || (event->context < o->nodes_count && o->nodes_keep[event->context] != 0));
}

static void begin_block(build *b, const hak_event *event, uint64_t number)
{
    block *made = &b->blocks[event->slot];
    thread_state *thread = &b->threads[event->thread];
    uint64_t size = event->size_bytes;
    uint32_t weight = hak_weigh(&b->weigher, size);
    *made = (block){size,   event->time_ns, number, UNCOUNTED, event->thread, hak_pins_add(&b->pins, size),
                    weight, ++thread->turn};
    thread->last_slot = event->slot;
    hak_profile_context *context = counts(b, event) ? context_of(b, event, &made->context) : NULL;
    if (context == NULL) {
        made->context = UNCOUNTED;
        return;
    }
    hak_usage *usage = &context->usage;
    before_change(b, context);
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
static hak_profile_context *end_block(build *b, uint32_t slot, block *ended)
{
    *ended = b->blocks[slot];
    hak_pins_remove(&b->pins, ended->slab);
    b->blocks[slot].slab = HAK_PIN_NONE;
    b->blocks[slot].context = UNCOUNTED;
    if (ended->context == UNCOUNTED)
        return NULL;
    hak_profile_context *context = hak_profile_at(b->profile, ended->context);
    before_change(b, context);
    uint64_t bytes = ended->weight * ended->size_bytes;
    context->usage.live_bytes -= bytes;
    context->usage.live_blocks -= ended->weight;
    b->profile->threads[ended->thread].live_bytes -= bytes;
    b->live_bytes -= bytes;
    b->live_blocks -= ended->weight;
    return context;
}

static void record_life(build *b, hak_profile_context *context, uint64_t life_ns, uint64_t life_events)
{
    context->usage.life_ns += life_ns;
    if (HAK_UNLIKELY(context->life == NULL)) {
        context->life = calloc(1, sizeof *context->life);
        if (context->life == NULL) {
            b->no_memory = true;
            return;
        }
    }
    hak_life_record(context->life, life_ns, life_events);
}

/* A container that grows makes the new block, copies, frees the old one. */
static void see_growth(const build *b, hak_usage *usage, const block *ended, uint32_t thread)
{
    uint32_t last = b->threads[thread].last_slot;
    if (last == 0)
        return;
    const block *made = &b->blocks[last];
    if (made->context == ended->context && made->size_bytes > ended->size_bytes &&
        made->size_bytes <= 3 * ended->size_bytes && made->birth_turn != ended->birth_turn) {
        usage->grown++;
        usage->grown_bytes += ended->size_bytes;
    }
}

/* Number of the pair, made when new; HAK_REMOTE_PAIRS_MAX: no room. */
static uint32_t pair_of(build *b, uint32_t from, uint32_t to)
{
    hak_profile *p = b->profile;
    uint64_t hash = hak_mix64((uint64_t)from << 32 | to);
    size_t at = hash % PAIR_TABLE;
    for (; b->pair_table[at] != 0; at = (at + 1) % PAIR_TABLE) {
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

static void count_pair(build *b, const block *ended, uint32_t thread)
{
    uint32_t at = pair_of(b, ended->thread, thread);
    if (at == HAK_REMOTE_PAIRS_MAX) {
        b->profile->pairs_lost++;
        return;
    }
    b->profile->pairs[at].frees += ended->weight;
    b->profile->pairs[at].bytes += ended->weight * ended->size_bytes;
}

static void free_block(build *b, const hak_event *event, uint64_t number)
{
    hak_profile *p = b->profile;
    block ended;
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
        p->temporary++;
    }
    record_life(b, context, event->time_ns - ended.birth_ns, number - ended.birth_event);
}

static void realloc_block(build *b, const hak_event *event, uint64_t number)
{
    uint32_t old = event->slot_old;
    if (event->slot == HAK_SLOT_NONE) {
        if (old != HAK_SLOT_NONE)
            free_block(b, event, number);
        return;
    }
    block ended = {.size_bytes = 0};
    if (old != HAK_SLOT_NONE) {
        end_block(b, old, &ended);
        if (b->threads[ended.thread].last_slot == old)
            b->threads[ended.thread].last_slot = 0;
    }
    begin_block(b, event, number);
    uint32_t made = b->blocks[event->slot].context;
    if (old == HAK_SLOT_NONE || made == UNCOUNTED)
        return;
    hak_usage *usage = &hak_profile_at(b->profile, made)->usage;
    usage->reallocs++;
    if ((event->flags & HAK_EVENT_MOVED) != 0) {
        usage->moved++;
        usage->copied_bytes += ended.size_bytes < event->size_bytes ? ended.size_bytes : event->size_bytes;
    }
}

static void count_failure(build *b, const hak_event *event)
{
    uint32_t number;
    hak_profile_context *context = counts(b, event) ? context_of(b, event, &number) : NULL;
    if (context == NULL)
        return;
    b->profile->failed++;
    context->usage.failed++;
}

static void take_event(build *b, const hak_event *event, uint64_t number)
{
    hak_profile *p = b->profile;
    if (HAK_UNLIKELY(number >= b->look_at))
        look_at_pins(b, number);
    if (HAK_UNLIKELY(event->time_ns >= b->next_point_ns))
        put_point(b, event->time_ns);
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

/* ---- the pass ---- */

static void finish_contexts(build *b)
{
    hak_profile *p = b->profile;
    double pinned = 0;
    for (uint32_t i = 0; i < p->contexts_count; i++) {
        hak_profile_context *context = hak_profile_at(p, i);
        before_change(b, context);
        if (b->looked_weight > 0) /* until here it was bytes times events */
            context->usage.pinned_bytes /= b->looked_weight;
        pinned += context->usage.pinned_bytes;
    }
    p->pinned_bytes = (uint64_t)pinned;
}

static void finish(build *b)
{
    hak_profile *p = b->profile;
    const hak_trace_tail *tail = hak_reader_tail(b->reader);
    p->duration_ns = tail->ended && tail->duration_ns > b->last_ns ? tail->duration_ns : b->last_ns;
    p->live_bytes = b->live_bytes;
    p->live_blocks = b->live_blocks;
    look_at_pins(b, p->events);
    finish_contexts(b);
    put_point(b, b->last_ns);
    uint32_t samples;
    const hak_trace_rss *rss = hak_reader_rss(b->reader, &samples);
    for (uint32_t i = 0; i < samples; i++) {
        if (rss[i].rss_bytes > p->rss_peak_bytes)
            p->rss_peak_bytes = rss[i].rss_bytes;
    }
}

/* Blocks are met in no order that a processor would foresee. */
static void foresee(const build *b, const hak_event *event)
{
    __builtin_prefetch(&b->blocks[event->slot != 0 ? event->slot : event->slot_old], 1);
}

static void take_events(build *b, const hak_event *events, size_t count)
{
    enum { AHEAD = 8 };
    uint64_t first = b->profile->events;
    const hak_profile_options *o = &b->options;
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            foresee(b, &events[i + AHEAD]);
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

/* Past the range the rest is still read: names of modules and threads and the tail come from there. */
static int read_batches(build *b, hak_feed *feed, hak_trace_error *error)
{
    hak_feed_batch batch;
    int got;
    while ((got = hak_feed_next(feed, &batch, error)) == 1) {
        if (!follow_tables(b, &batch))
            return hak_trace_fail(error, "out of memory");
        if (!b->ended)
            take_events(b, batch.events, batch.count);
    }
    if (got == 0 && (b->no_memory || !follow_tables(b, &batch)))
        return hak_trace_fail(error, "out of memory");
    return got;
}

static int read_events(build *b, hak_trace_error *error)
{
    hak_feed *feed = hak_feed_start(b->reader);
    int result = feed != NULL ? read_batches(b, feed, error) : hak_trace_fail(error, "out of memory");
    hak_feed_end(feed);
    if (result == 0)
        finish(b);
    return result;
}

hak_profile *hak_profile_build(hak_reader *reader, const hak_profile_options *options, hak_trace_error *error)
{
    build b = {.reader = reader,
               .options = *options,
               .profile = calloc(1, sizeof *b.profile),
               .look_at = LOOK_EVENTS,
               .weigher = {.mean_bytes = hak_reader_head(reader)->sample_bytes},
               .peak_number = 1};
    if (b.profile == NULL) {
        hak_trace_fail(error, "out of memory");
        return NULL;
    }
    b.profile->timeline_step_ns = 1000;
    int result = read_events(&b, error);
    free(b.blocks);
    free(b.threads);
    free(b.context_of);
    hak_pins_done(&b.pins);
    if (result == 0)
        return b.profile;
    hak_profile_free(b.profile);
    return NULL;
}

void hak_profile_free(hak_profile *profile)
{
    if (profile == NULL)
        return;
    for (uint32_t i = 0; i < profile->contexts_count; i++)
        free(hak_profile_at(profile, i)->life);
    for (uint32_t i = 0; i < profile->contexts_count; i += HAK_CONTEXT_CHUNK)
        free(profile->chunks[i / HAK_CONTEXT_CHUNK]);
    free(profile->chunks);
    free(profile->threads);
    free(profile->pairs);
    free(profile);
}

void hak_usage_add(hak_usage *a, const hak_usage *b)
{
    a->calls += b->calls;
    a->bytes += b->bytes;
    a->live_bytes += b->live_bytes;
    a->live_blocks += b->live_blocks;
    a->max_bytes += b->max_bytes;
    a->max_blocks += b->max_blocks;
    a->at_peak_bytes += b->at_peak_bytes;
    a->at_peak_blocks += b->at_peak_blocks;
    a->temporary += b->temporary;
    a->freed += b->freed;
    a->freed_remotely += b->freed_remotely;
    a->failed += b->failed;
    a->reallocs += b->reallocs;
    a->moved += b->moved;
    a->copied_bytes += b->copied_bytes;
    a->grown += b->grown;
    a->grown_bytes += b->grown_bytes;
    a->life_ns += b->life_ns;
    a->pinned_bytes += b->pinned_bytes;
    if (b->size_max_bytes > a->size_max_bytes)
        a->size_max_bytes = b->size_max_bytes;
}
