/* profile_parts.h: what profile.c (the pass: tables, timeline, results) and profile_blocks.c (what each event
 * does) share. One thread. */
#ifndef HAK_REPLAY_PROFILE_PARTS_H
#define HAK_REPLAY_PROFILE_PARTS_H

#include "replay/pins.h"
#include "replay/profile.h"
#include "trace/weight.h"

/* A block that is live, as far as it counts. */
typedef struct hak_build_block {
    uint64_t size_bytes;
    uint64_t birth_ns;
    uint64_t birth_event;
    uint32_t context; /* number in the profile; HAK_UNCOUNTED */
    uint32_t thread;
    uint32_t slab;       /* see pins.h */
    uint32_t weight;     /* blocks that it stands for; 1 where every call was recorded */
    uint32_t birth_turn; /* its thread's count of allocations, modulo 2^32 */
} hak_build_block;

#define HAK_UNCOUNTED UINT32_MAX /* outside the range or filtered out: only followed */

typedef struct hak_build_thread {
    uint32_t last_slot; /* its last allocation; 0 once that, or a block that it may replace, was freed */
    uint32_t turn;      /* allocations so far, modulo 2^32 */
} hak_build_thread;

enum { HAK_PAIR_TABLE = 2 * HAK_REMOTE_PAIRS_MAX };

typedef struct hak_build {
    hak_profile *profile;
    hak_reader *reader;
    hak_profile_options options;
    hak_build_block *blocks; /* by slot */
    size_t blocks_room;
    uint32_t blocks_count;
    uint32_t *context_of; /* by node: number in the profile + 1; 0: none yet */
    size_t context_of_room;
    uint32_t context_of_count;
    hak_build_thread *threads;
    size_t threads_room;
    size_t last_room;
    size_t pairs_room;
    uint16_t pair_table[HAK_PAIR_TABLE]; /* numbers of pairs + 1, by hash; never full */
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
} hak_build;

/* profile.c: what is due at an event number or a time. */
void hak_build_look(hak_build *build, uint64_t number);
void hak_build_point(hak_build *build, uint64_t time_ns);

/* profile_blocks.c: the events of a batch, whose tables are there; sets `ended` past the range, `no_memory`.
 */
void hak_build_take(hak_build *build, const hak_event *events, size_t count);

/* Before a context changes: what it held at a peak that has passed since. */
HAK_INLINE void hak_build_save(const hak_build *build, hak_profile_context *context)
{
    if (context->peak_number == build->peak_number)
        return;
    context->peak_number = build->peak_number;
    context->usage.at_peak_bytes = context->usage.live_bytes;
    context->usage.at_peak_blocks = context->usage.live_blocks;
}

#endif
