/* sampler.h: looks at a worker's resident memory from outside while it replays. The process that measures
 * samples, so that the replayed one is not disturbed. One thread. */
#ifndef HAK_REPLAY_SAMPLER_H
#define HAK_REPLAY_SAMPLER_H

#include <sys/types.h>

#include "replay/plan.h"

typedef struct hak_sampler {
    int fd; /* /proc/PID/statm; -1: no samples */
    uint64_t step_ns, next_ns;
    hak_detail *detail;
} hak_sampler;

void hak_sampler_open(hak_sampler *sampler, pid_t pid, hak_detail *detail);

/* Takes a sample if it is time and the pass runs. Nanoseconds until the next. */
uint64_t hak_sampler_take(hak_sampler *sampler, hak_plan *plan, uint64_t now_ns);

/* Works out the means. */
void hak_sampler_close(hak_sampler *sampler);

#endif
