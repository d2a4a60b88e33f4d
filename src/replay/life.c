/* life.c: see life.h. Never prints. */
#include "replay/life.h"

#include "core/base/bits.h"

enum { COUNT_MAX = UINT16_MAX, SHIFT_MAX = 15 };

static unsigned bucket_of(uint64_t value, unsigned buckets)
{
    unsigned bucket = value == 0 ? 0 : hak_log2_floor(value);
    return bucket < buckets ? bucket : buckets - 1;
}

static void halve(uint16_t *counts, unsigned buckets)
{
    for (unsigned i = 0; i < buckets; i++)
        counts[i] = (uint16_t)((counts[i] + 1u) / 2);
}

/* One more block. Once halved, only every 2^shift-th counts, in the bucket it happens to have. */
static void record(uint16_t *counts, unsigned buckets, uint8_t *shift, uint16_t *rest, unsigned bucket)
{
    if (HAK_UNLIKELY(*shift != 0) && ++*rest < 1u << *shift)
        return;
    *rest = 0;
    if (HAK_UNLIKELY(counts[bucket] == COUNT_MAX)) {
        if (*shift == SHIFT_MAX)
            return;
        halve(counts, buckets);
        (*shift)++;
    }
    counts[bucket]++;
}

static void record_buckets(hak_life *life, unsigned time, unsigned events)
{
    record(life->time, HAK_LIFE_BUCKETS, &life->time_shift, &life->time_rest, time);
    record(life->events, HAK_LIFE_EVENT_BUCKETS, &life->events_shift, &life->events_rest, events);
}

bool hak_lives_record(hak_lives *lives, hak_pieces *pieces, uint64_t life_ns, uint64_t life_events)
{
    unsigned time = bucket_of(life_ns / HAK_LIFE_UNIT_NS, HAK_LIFE_BUCKETS);
    unsigned events = bucket_of(life_events, HAK_LIFE_EVENT_BUCKETS);
    if (HAK_LIKELY(lives->all != NULL)) {
        record_buckets(lives->all, time, events);
        return true;
    }
    if (lives->count < HAK_LIVES_FEW) {
        lives->time[lives->count] = (uint8_t)time;
        lives->events[lives->count++] = (uint8_t)events;
        return true;
    }
    hak_life *all = hak_pieces_take(pieces, sizeof *all);
    if (all == NULL)
        return false;
    hak_lives_add(all, lives);
    record_buckets(all, time, events);
    lives->all = all;
    return true;
}

void hak_lives_add(hak_life *a, const hak_lives *b)
{
    if (b->all != NULL) {
        hak_life_add(a, b->all);
        return;
    }
    for (unsigned i = 0; i < b->count; i++)
        record_buckets(a, b->time[i], b->events[i]);
}

const hak_life *hak_lives_all(const hak_lives *lives, hak_life *room)
{
    if (lives->all != NULL || lives->count == 0)
        return lives->all;
    *room = (hak_life){.time_shift = 0};
    hak_lives_add(room, lives);
    return room;
}

void hak_life_record(hak_life *life, uint64_t life_ns, uint64_t life_events)
{
    record_buckets(life, bucket_of(life_ns / HAK_LIFE_UNIT_NS, HAK_LIFE_BUCKETS),
                   bucket_of(life_events, HAK_LIFE_EVENT_BUCKETS));
}

static void add(uint16_t *a, uint8_t *a_shift, const uint16_t *b, uint8_t b_shift, unsigned buckets)
{
    uint64_t most = 0;
    uint64_t sums[HAK_LIFE_BUCKETS];
    for (unsigned i = 0; i < buckets; i++) {
        sums[i] = ((uint64_t)a[i] << *a_shift) + ((uint64_t)b[i] << b_shift);
        most = sums[i] > most ? sums[i] : most;
    }
    unsigned shift = *a_shift > b_shift ? *a_shift : b_shift;
    while (shift < SHIFT_MAX && (most >> shift) >= COUNT_MAX)
        shift++;
    for (unsigned i = 0; i < buckets; i++) {
        uint64_t count = (sums[i] + (UINT64_C(1) << shift) - 1) >> shift; /* what was seen stays seen */
        a[i] = (uint16_t)(count < COUNT_MAX ? count : COUNT_MAX);
    }
    *a_shift = (uint8_t)shift;
}

void hak_life_add(hak_life *a, const hak_life *b)
{
    add(a->time, &a->time_shift, b->time, b->time_shift, HAK_LIFE_BUCKETS);
    add(a->events, &a->events_shift, b->events, b->events_shift, HAK_LIFE_EVENT_BUCKETS);
}

uint64_t hak_life_time_count(const hak_life *life, unsigned bucket)
{
    return (uint64_t)life->time[bucket] << life->time_shift;
}

static uint64_t quantile_of(const uint16_t *counts, unsigned shift, unsigned buckets, uint64_t live,
                            double quantile, uint64_t unit)
{
    uint64_t all = live;
    for (unsigned i = 0; i < buckets; i++)
        all += (uint64_t)counts[i] << shift;
    if (all == 0)
        return 0;
    uint64_t rank = (uint64_t)(quantile * (double)(all - 1));
    for (unsigned i = 0; i < buckets; i++) {
        uint64_t here = (uint64_t)counts[i] << shift;
        if (rank < here) {
            uint64_t low = UINT64_C(1) << i;
            return i == 0 ? unit : (low + low / 2) * unit; /* middle of [low, 2 low) */
        }
        rank -= here;
    }
    return UINT64_MAX;
}

static const hak_life none;

uint64_t hak_life_time_ns(const hak_life *life, uint64_t live, double quantile)
{
    life = life != NULL ? life : &none;
    return quantile_of(life->time, life->time_shift, HAK_LIFE_BUCKETS, live, quantile, HAK_LIFE_UNIT_NS);
}

uint64_t hak_life_events(const hak_life *life, uint64_t live, double quantile)
{
    life = life != NULL ? life : &none;
    return quantile_of(life->events, life->events_shift, HAK_LIFE_EVENT_BUCKETS, live, quantile, 1);
}
