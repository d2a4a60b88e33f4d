/* profile.c: one pass over the events: the tables that grow with the reader's, the timeline, what is pinned,
 * results. Never prints. One thread.
 *
 * What each context held when the whole heap was greatest is found without a snapshot: peaks are numbered,
 * and a context saves what it holds before its first change after a peak. */
#include "replay/profile.h"

#include <stdlib.h>
#include <string.h>

#include "replay/feed.h"
#include "replay/profile_parts.h"
#include "trace/error.h"
#include "trace/grow.h"

/* How often what pins memory is looked at: not more often than so many events, than this share of all events
 * so far, and than four times the slots, which a look has to walk. */
enum { LOOK_EVENTS = 1024, LOOK_SHARE = 32, LOOK_SLOTS = 4 };

/* ---- tables that follow the reader's ---- */

static bool follow_nodes(hak_build *b, uint32_t count)
{
    if (!HAK_GROW(&b->context_of, &b->context_of_room, count))
        return false;
    if (count > b->context_of_count)
        memset(b->context_of + b->context_of_count, 0, (count - b->context_of_count) * sizeof *b->context_of);
    b->context_of_count = count;
    return true;
}

static bool follow_threads(hak_build *b, uint32_t count)
{
    hak_profile *p = b->profile;
    if (!HAK_GROW(&p->threads, &b->threads_room, count) || !HAK_GROW(&b->threads, &b->last_room, count))
        return false;
    for (uint32_t i = p->threads_count; i < count; i++) {
        p->threads[i] = (hak_profile_thread){.calls = 0};
        b->threads[i] = (hak_build_thread){0, 0};
    }
    p->threads_count = count;
    return true;
}

static bool follow_blocks(hak_build *b, uint32_t slots)
{
    uint32_t count = slots + 1;
    if (!HAK_GROW(&b->blocks, &b->blocks_room, count))
        return false;
    for (uint32_t i = b->blocks_count; i < count; i++)
        b->blocks[i] = (hak_build_block){.context = HAK_UNCOUNTED, .slab = HAK_PIN_NONE};
    b->blocks_count = count > b->blocks_count ? count : b->blocks_count;
    return true;
}

static bool follow_tables(hak_build *b, const hak_feed_batch *batch)
{
    return follow_nodes(b, batch->nodes) && follow_threads(b, batch->threads) &&
           follow_blocks(b, batch->slots);
}

/* ---- heap over time ---- */

/* Too many points: every second one goes, the other takes its maximum. */
static void thin_timeline(hak_build *b)
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

void hak_build_point(hak_build *b, uint64_t time_ns)
{
    hak_profile *p = b->profile;
    if (p->timeline_count == HAK_TIMELINE_POINTS)
        thin_timeline(b);
    p->timeline[p->timeline_count++] = (hak_profile_point){time_ns, b->point_max_bytes};
    b->point_max_bytes = b->live_bytes;
    b->next_point_ns = time_ns + p->timeline_step_ns;
}

/* ---- what is pinned ---- */

void hak_build_look(hak_build *b, uint64_t number)
{
    double weight = (double)(number - b->looked_at);
    for (uint32_t slot = 1; slot < b->blocks_count; slot++) {
        const hak_build_block *at = &b->blocks[slot];
        if (at->context == HAK_UNCOUNTED || at->slab == HAK_PIN_NONE)
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

/* ---- the pass ---- */

static void finish_contexts(hak_build *b)
{
    hak_profile *p = b->profile;
    double pinned = 0;
    for (uint32_t i = 0; i < p->contexts_count; i++) {
        hak_profile_context *context = hak_profile_at(p, i);
        hak_build_save(b, context);
        if (b->looked_weight > 0) /* until here it was bytes times events */
            context->usage.pinned_bytes /= b->looked_weight;
        pinned += context->usage.pinned_bytes;
    }
    p->pinned_bytes = (uint64_t)pinned;
}

static void finish(hak_build *b)
{
    hak_profile *p = b->profile;
    const hak_trace_tail *tail = hak_reader_tail(b->reader);
    p->duration_ns = tail->ended && tail->duration_ns > b->last_ns ? tail->duration_ns : b->last_ns;
    p->live_bytes = b->live_bytes;
    p->live_blocks = b->live_blocks;
    hak_build_look(b, p->events);
    finish_contexts(b);
    hak_build_point(b, b->last_ns);
    uint32_t samples;
    const hak_trace_rss *rss = hak_reader_rss(b->reader, &samples);
    for (uint32_t i = 0; i < samples; i++) {
        if (rss[i].rss_bytes > p->rss_peak_bytes)
            p->rss_peak_bytes = rss[i].rss_bytes;
    }
}

/* Past the range the rest is still read: names of modules and threads and the tail come from there. */
static int read_batches(hak_build *b, hak_feed *feed, hak_trace_error *error)
{
    hak_feed_batch batch;
    int got;
    while ((got = hak_feed_next(feed, &batch, error)) == 1) {
        if (!follow_tables(b, &batch))
            return hak_trace_fail(error, "out of memory");
        if (!b->ended)
            hak_build_take(b, batch.events, batch.count);
    }
    if (got == 0 && (b->no_memory || !follow_tables(b, &batch)))
        return hak_trace_fail(error, "out of memory");
    return got;
}

static int read_events(hak_build *b, hak_trace_error *error)
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
    hak_build b = {.reader = reader,
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
    hak_pieces_done(&profile->pieces);
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
    a->temporary_deleted += b->temporary_deleted;
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
