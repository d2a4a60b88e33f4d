/* trainer_slabs.h: what separating blocks by lifetime would save. Replays a trace's small blocks into two
 * models of the allocator's slabs, one that mixes lives and one that separates them where a policy's sites
 * decide. One thread. */
#ifndef HAK_REPLAY_TRAINER_SLABS_H
#define HAK_REPLAY_TRAINER_SLABS_H

#include "core/policy_format.h"
#include "replay/trainer_trace.h"
#include "trace/reader.h"

/* By cell (trainer_trace.h) of the class that serves it: what the class holds in slabs, in bytes. `peak`:
 * when all classes together hold most in the model that mixes; `mean`: over the allocated bytes. */
typedef struct hak_slab_use {
    double mixed_peak[HAK_CELLS], apart_peak[HAK_CELLS];
    double mixed_mean[HAK_CELLS], apart_mean[HAK_CELLS];
    double all_peak, all_mean; /* mixed, with all that is not small at its size */
} hak_slab_use;

/* `lifetimes`: by context of the trace, what the policy says (hak_site_lifetime). Reads the whole trace once.
 * 0, or -1 with *error filled. */
int hak_slabs_simulate(hak_reader *reader, const uint8_t *lifetimes, uint32_t context_count,
                       hak_slab_use *use, hak_trace_error *error);

#endif
