/* truth.h: the real program under an allocator, measured from outside, for comparing with what a replay says.
 * Blocking; one thread. */
#ifndef HAK_REPLAY_TRUTH_H
#define HAK_REPLAY_TRUTH_H

#include "replay/measure.h"

typedef struct hak_truth {
    uint64_t cpu_ns; /* user and system time of the program and the children it waited for */
    uint64_t wall_ns;
    uint64_t peak_bytes; /* of private memory: the peak of resident memory, less what of it was mapped from
                            files, less what was private when the program began */
} hak_truth;

/* Runs argv[0] (found by PATH) with the target preloaded and its settings set, input from and output to
 * /dev/null. 0, or -1 with *error filled (it cannot be started, or fails). */
int hak_truth_run(char *const *argv, const hak_target *target, hak_truth *truth, hak_trace_error *error);

#endif
