/* life.h: how long blocks lived, as two histograms of powers of two: in time and in events. Counts are kept
 * in 16 bits; a histogram that would overflow is halved, so shares stay right. Pure; a life belongs to one
 * thread. */
#ifndef HAK_REPLAY_LIFE_H
#define HAK_REPLAY_LIFE_H

#include "replay/pieces.h"

/* Bucket i holds [2^i, 2^(i+1)) units, 0 also what is less, the last also what is more. The unit of time is
 * 64 ns, that of events 1. */
#define HAK_LIFE_BUCKETS       33
#define HAK_LIFE_UNIT_NS       64
#define HAK_LIFE_EVENT_BUCKETS 24

typedef struct hak_life {
    uint16_t time[HAK_LIFE_BUCKETS];
    uint16_t events[HAK_LIFE_EVENT_BUCKETS];
    uint8_t time_shift; /* a count stands for 2^shift blocks */
    uint8_t events_shift;
    uint16_t time_rest; /* blocks seen since the last one that counted, below 2^shift */
    uint16_t events_rest;
} hak_life;

void hak_life_record(hak_life *life, uint64_t life_ns, uint64_t life_events);
void hak_life_add(hak_life *a, const hak_life *b); /* adds b to a */

/* The same for a few lives at a fifth of the memory: of a million contexts most have no more. All zero: none.
 */
#define HAK_LIVES_FEW 7

typedef struct hak_lives {
    hak_life *all;               /* of the pieces that it was recorded with; NULL: there are few */
    uint8_t count;               /* of few */
    uint8_t time[HAK_LIVES_FEW]; /* buckets */
    uint8_t events[HAK_LIVES_FEW];
} hak_lives;

/* False: no memory. */
bool hak_lives_record(hak_lives *lives, hak_pieces *pieces, uint64_t life_ns, uint64_t life_events);
void hak_lives_add(hak_life *a, const hak_lives *b); /* adds b to a */

/* The histogram: its own, or *room filled; NULL: of no life. */
const hak_life *hak_lives_all(const hak_lives *lives, hak_life *room);

/* Blocks in a bucket of time, as far as halving left them exact. */
uint64_t hak_life_time_count(const hak_life *life, unsigned bucket);

/* The quantile (0..1) of the lifetimes: middle of its bucket. "To exit" (UINT64_MAX) where it falls among the
 * `live` blocks that were never freed. 0 of 0 blocks is 0. life may be NULL. */
uint64_t hak_life_time_ns(const hak_life *life, uint64_t live, double quantile);
uint64_t hak_life_events(const hak_life *life, uint64_t live, double quantile);

#endif
