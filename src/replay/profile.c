/* profile.c: one pass over the events. Never prints. One thread.
 *
 * What each context held when the whole heap was greatest is found without a snapshot: peaks are numbered,
 * and a context saves what it holds before its first change after a peak. */
#include "replay/profile.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "trace/error.h"
#include "trace/grow.h"

/* A live block. */
typedef struct block {
    uint64_t size_bytes;
    uint64_t birth_ns;
    uint64_t birth_event;
    uint32_t context;
    uint32_t thread;
} block;

typedef struct build {
    hak_profile *profile;
    hak_reader *reader;
    block *blocks; /* by slot */
    size_t blocks_room;
    size_t contexts_room;
    uint32_t *last_slots; /* by thread: its last allocation; 0 once that was freed */
    size_t threads_room;
    size_t last_room;
    uint64_t live_bytes;
    uint64_t live_blocks;
    uint64_t peak_number;
    uint64_t next_point_ns;
    uint64_t point_max_bytes;
    bool no_memory;
} build;

/* ---- tables that follow the reader's ---- */

static bool follow_contexts(build *b)
{
    uint32_t count;
    hak_reader_nodes(b->reader, &count);
    hak_profile *p = b->profile;
    if (!HAK_GROW(&p->contexts, &b->contexts_room, count))
        return false;
    for (uint32_t i = p->contexts_count; i < count; i++)
        p->contexts[i] = (hak_profile_context){.first_ns = UINT64_MAX};
    p->contexts_count = count;
    return true;
}

static bool follow_threads(build *b)
{
    uint32_t count;
    hak_reader_threads(b->reader, &count);
    hak_profile *p = b->profile;
    if (!HAK_GROW(&p->threads, &b->threads_room, count) || !HAK_GROW(&b->last_slots, &b->last_room, count))
        return false;
    for (uint32_t i = p->threads_count; i < count; i++) {
        p->threads[i] = (hak_profile_thread){.calls = 0};
        b->last_slots[i] = 0;
    }
    p->threads_count = count;
    return true;
}

static bool follow_tables(build *b)
{
    return follow_contexts(b) && follow_threads(b) &&
           HAK_GROW(&b->blocks, &b->blocks_room, (size_t)hak_reader_slots(b->reader) + 1);
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

/* ---- blocks ---- */

static void before_change(const build *b, hak_profile_context *context)
{
    if (context->peak_number == b->peak_number)
        return;
    context->peak_number = b->peak_number;
    context->usage.at_peak_bytes = context->usage.live_bytes;
    context->usage.at_peak_blocks = context->usage.live_blocks;
}

static void begin_block(build *b, const hak_event *event, uint64_t number)
{
    hak_profile *p = b->profile;
    hak_profile_context *context = &p->contexts[event->context];
    hak_usage *usage = &context->usage;
    uint64_t size = event->size_bytes;
    before_change(b, context);
    if (context->first_ns == UINT64_MAX)
        context->first_ns = event->time_ns;
    b->blocks[event->slot] = (block){size, event->time_ns, number, event->context, event->thread};
    b->last_slots[event->thread] = event->slot;
    usage->calls++;
    usage->bytes += size;
    usage->live_blocks++;
    usage->live_bytes += size;
    if (usage->live_bytes > usage->max_bytes)
        usage->max_bytes = usage->live_bytes;
    if (size > usage->size_max_bytes)
        usage->size_max_bytes = size;
    unsigned bucket = hak_log2_ceil(size);
    p->size_calls[bucket]++;
    p->size_bytes[bucket] += size;
    p->allocations++;
    p->allocated_bytes += size;
    p->threads[event->thread].calls++;
    p->threads[event->thread].bytes += size;
    p->threads[event->thread].live_bytes += size;
    b->live_bytes += size;
    b->live_blocks++;
    if (b->live_bytes > b->point_max_bytes)
        b->point_max_bytes = b->live_bytes;
    if (b->live_bytes > p->peak_bytes) {
        p->peak_bytes = b->live_bytes;
        p->peak_blocks = b->live_blocks;
        p->peak_ns = event->time_ns;
        b->peak_number++;
    }
}

static block end_block(build *b, uint32_t slot)
{
    block ended = b->blocks[slot];
    hak_profile_context *context = &b->profile->contexts[ended.context];
    before_change(b, context);
    context->usage.live_bytes -= ended.size_bytes;
    context->usage.live_blocks--;
    b->profile->threads[ended.thread].live_bytes -= ended.size_bytes;
    b->live_bytes -= ended.size_bytes;
    b->live_blocks--;
    return ended;
}

static unsigned bucket_of(uint64_t value, unsigned buckets)
{
    unsigned bucket = value == 0 ? 0 : hak_log2_floor(value);
    return bucket < buckets ? bucket : buckets - 1;
}

static void record_life(build *b, hak_profile_context *context, uint64_t life_ns, uint64_t life_events)
{
    if (HAK_UNLIKELY(context->life == NULL)) {
        context->life = calloc(1, sizeof *context->life);
        if (context->life == NULL) {
            b->no_memory = true;
            return;
        }
    }
    context->life->time[bucket_of(life_ns / HAK_LIFE_UNIT_NS, HAK_LIFE_BUCKETS)]++;
    context->life->events[bucket_of(life_events, HAK_LIFE_EVENT_BUCKETS)]++;
}

static void free_block(build *b, const hak_event *event, uint64_t number)
{
    hak_profile *p = b->profile;
    block ended = end_block(b, event->slot_old);
    hak_profile_context *context = &p->contexts[ended.context];
    context->usage.freed++;
    p->frees++;
    p->threads[event->thread].frees++;
    if (ended.thread != event->thread) {
        context->usage.freed_remotely++;
        p->threads[event->thread].frees_of_others++;
    }
    if (b->last_slots[ended.thread] == event->slot_old) {
        b->last_slots[ended.thread] = 0;
        context->usage.temporary++;
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
    uint64_t old_bytes = 0;
    if (old != HAK_SLOT_NONE) {
        block ended = end_block(b, old);
        old_bytes = ended.size_bytes;
        if (b->last_slots[ended.thread] == old)
            b->last_slots[ended.thread] = 0;
        hak_usage *usage = &b->profile->contexts[event->context].usage;
        usage->reallocs++;
        if ((event->flags & HAK_EVENT_MOVED) != 0) {
            usage->moved++;
            usage->copied_bytes += old_bytes < event->size_bytes ? old_bytes : event->size_bytes;
        }
    }
    begin_block(b, event, number);
}

static void take_event(build *b, const hak_event *event, uint64_t number)
{
    hak_profile *p = b->profile;
    p->op_calls[event->op]++;
    if (HAK_UNLIKELY(event->time_ns >= b->next_point_ns))
        put_point(b, event->time_ns);
    if (HAK_UNLIKELY((event->flags & (HAK_EVENT_FAILED | HAK_EVENT_FOREIGN)) != 0)) {
        p->foreign += (event->flags & HAK_EVENT_FOREIGN) != 0;
        if ((event->flags & HAK_EVENT_FAILED) != 0) {
            p->failed++;
            p->contexts[event->context].usage.failed++;
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

static void finish(build *b, uint64_t last_ns)
{
    hak_profile *p = b->profile;
    const hak_trace_tail *tail = hak_reader_tail(b->reader);
    p->duration_ns = tail->ended && tail->duration_ns > last_ns ? tail->duration_ns : last_ns;
    p->live_bytes = b->live_bytes;
    p->live_blocks = b->live_blocks;
    for (uint32_t i = 0; i < p->contexts_count; i++)
        before_change(b, &p->contexts[i]);
    put_point(b, last_ns);
    uint32_t samples;
    const hak_trace_rss *rss = hak_reader_rss(b->reader, &samples);
    for (uint32_t i = 0; i < samples; i++) {
        if (rss[i].rss_bytes > p->rss_peak_bytes)
            p->rss_peak_bytes = rss[i].rss_bytes;
    }
}

static int read_events(build *b, hak_trace_error *error)
{
    const hak_event *events;
    size_t count;
    uint64_t last_ns = 0;
    int got;
    while ((got = hak_reader_next(b->reader, &events, &count, error)) == 1) {
        if (!follow_tables(b))
            return hak_trace_fail(error, "out of memory");
        for (size_t i = 0; i < count; i++)
            take_event(b, &events[i], b->profile->events + i);
        b->profile->events += count;
        if (count != 0)
            last_ns = events[count - 1].time_ns;
    }
    if (got != 0)
        return -1;
    if (b->no_memory || !follow_tables(b))
        return hak_trace_fail(error, "out of memory");
    finish(b, last_ns);
    return 0;
}

hak_profile *hak_profile_build(hak_reader *reader, hak_trace_error *error)
{
    build b = {.reader = reader, .profile = calloc(1, sizeof *b.profile), .peak_number = 1};
    if (b.profile == NULL) {
        hak_trace_fail(error, "out of memory");
        return NULL;
    }
    b.profile->timeline_step_ns = 1000;
    int result = read_events(&b, error);
    free(b.blocks);
    free(b.last_slots);
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
        free(profile->contexts[i].life);
    free(profile->contexts);
    free(profile->threads);
    free(profile);
}

/* ---- sums and quantiles ---- */

void hak_usage_add(hak_usage *a, const hak_usage *b)
{
    a->calls += b->calls;
    a->bytes += b->bytes;
    a->live_bytes += b->live_bytes;
    a->live_blocks += b->live_blocks;
    a->max_bytes += b->max_bytes;
    a->at_peak_bytes += b->at_peak_bytes;
    a->at_peak_blocks += b->at_peak_blocks;
    a->temporary += b->temporary;
    a->freed += b->freed;
    a->freed_remotely += b->freed_remotely;
    a->failed += b->failed;
    a->reallocs += b->reallocs;
    a->moved += b->moved;
    a->copied_bytes += b->copied_bytes;
    if (b->size_max_bytes > a->size_max_bytes)
        a->size_max_bytes = b->size_max_bytes;
}

static uint32_t add_saturating(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

void hak_life_add(hak_life *a, const hak_life *b)
{
    for (unsigned i = 0; i < HAK_LIFE_BUCKETS; i++)
        a->time[i] = add_saturating(a->time[i], b->time[i]);
    for (unsigned i = 0; i < HAK_LIFE_EVENT_BUCKETS; i++)
        a->events[i] = add_saturating(a->events[i], b->events[i]);
}

static uint64_t quantile_of(const uint32_t *buckets, unsigned count, uint64_t live, double quantile,
                            uint64_t unit)
{
    uint64_t all = live;
    for (unsigned i = 0; i < count; i++)
        all += buckets[i];
    if (all == 0)
        return 0;
    uint64_t rank = (uint64_t)(quantile * (double)(all - 1));
    for (unsigned i = 0; i < count; i++) {
        if (rank < buckets[i]) {
            uint64_t low = UINT64_C(1) << i;
            return i == 0 ? unit : (low + low / 2) * unit; /* middle of [low, 2 low) */
        }
        rank -= buckets[i];
    }
    return UINT64_MAX;
}

uint64_t hak_life_time_ns(const hak_life *life, uint64_t live, double quantile)
{
    static const hak_life none;
    life = life != NULL ? life : &none;
    return quantile_of(life->time, HAK_LIFE_BUCKETS, live, quantile, HAK_LIFE_UNIT_NS);
}

uint64_t hak_life_events(const hak_life *life, uint64_t live, double quantile)
{
    static const hak_life none;
    life = life != NULL ? life : &none;
    return quantile_of(life->events, HAK_LIFE_EVENT_BUCKETS, live, quantile, 1);
}
