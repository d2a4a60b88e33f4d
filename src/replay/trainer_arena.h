/* trainer_arena.h: candidates, the runs they made, and what these runs say. Every comparison is between runs
 * of one block: same trace, one after the other in random order, so that what the machine does meanwhile hits
 * all alike. All conclusions follow from the log of runs and the seed. One thread. */
#ifndef HAK_REPLAY_TRAINER_ARENA_H
#define HAK_REPLAY_TRAINER_ARENA_H

#include "replay/trainer.h"

#define HAK_ARENA_MAX_CANDIDATES 1024
#define HAK_ARENA_MAX_BLOCK      64 /* candidates that run in one */
#define HAK_ARENA_DEFAULT        0  /* candidate 0: no policy at all */

/* What a policy would hold; the closed-form parts are switched, the settings are values. */
typedef struct hak_candidate {
    bool families[HAK_TRAIN_KNOBS];
    bool knob_set[HAK_KNOB_COUNT];
    int64_t knobs[HAK_KNOB_COUNT];
} hak_candidate;

/* What a trace's program does and holds besides its heap, in units of a trial: a policy is worth what it
 * changes of the whole. Zero where the recording does not tell: then the heap is the whole. */
typedef struct hak_arena_rest {
    double ns_per_op;
    double rss_bytes;
} hak_arena_rest;

/* One process to be measured, and what it showed. */
typedef struct hak_trial {
    uint32_t id; /* the candidate */
    int status; /* 0; -1 when it failed (it crashed, say); 1 when the training was asked to end before it ran,
                   which says nothing of the candidate */
    double ns_per_op;
    double rss_bytes;
    uint64_t acted[HAK_TRAIN_FAMILIES]; /* decisions taken, by the allocator's counters */
} hak_trial;

typedef struct hak_arena_run {
    uint32_t block;
    uint32_t candidate;
    uint32_t trace;
    double log_time; /* of the replay: of the heap alone */
    double log_rss;
    double log_whole_time; /* with the rest of the program */
    double log_whole_rss;
    double log_objective; /* of the whole */
} hak_arena_run;

/* Robust paired estimate of a log ratio: median of the pairwise means with the interval of the signed-rank
 * test (Hodges and Lehmann, 1963). low and high are infinite below six pairs. */
typedef struct hak_estimate {
    double mean, low, high;
    uint32_t pairs;
} hak_estimate;

typedef enum hak_metric {
    HAK_METRIC_OBJECTIVE,
    HAK_METRIC_TIME,
    HAK_METRIC_RSS,
    HAK_METRIC_WHOLE_TIME,
    HAK_METRIC_WHOLE_RSS,
} hak_metric;

/* Measures candidates of the arena, given by their ids, on a trace, and fills in the rest; in this order or
 * at once. */
typedef void hak_trials_run(void *arg, uint32_t trace, hak_trial *trials, uint32_t count);

typedef struct hak_arena {
    hak_trials_run *run;
    void *run_arg;
    hak_objective objective;
    const hak_arena_rest *rests; /* by trace; NULL: none */
    double time_trust; /* balanced objective: what time counts of its half, see hak_arena_trust_time */
    uint64_t random;   /* state; set it to the seed */
    uint64_t runs_made;
    uint32_t block_count;
    uint32_t candidate_count;
    hak_candidate *candidates;
    bool *failed;                          /* by candidate: disqualified */
    uint64_t (*acted)[HAK_TRAIN_FAMILIES]; /* by candidate: most decisions seen in one run */
    double *rating;                        /* Elo, by candidate; 1500 is the default */
    double *deviation;
    hak_arena_run *runs;
    size_t run_count;
    size_t run_room;
} hak_arena;

bool hak_arena_init(hak_arena *arena, hak_trials_run *run, void *arg, hak_objective objective, uint64_t seed);
void hak_arena_clear(hak_arena *arena);

/* The number of this candidate, of an equal one when there is one; UINT32_MAX when the arena is full. */
uint32_t hak_arena_add(hak_arena *arena, const hak_candidate *candidate);

/* Runs each of `ids`, at most HAK_ARENA_MAX_BLOCK, once on `trace`, in random order. False when out of
 * memory. A failing candidate is disqualified; when the default fails, so is the block: *default_failed is
 * set. */
bool hak_arena_block(hak_arena *arena, uint32_t trace, const uint32_t *ids, uint32_t count,
                     bool *default_failed);

/* Log ratio of a over b over the blocks >= first_block in which both ran; trace UINT32_MAX: on all traces. */
hak_estimate hak_arena_compare(const hak_arena *arena, uint32_t a, uint32_t b, hak_metric metric,
                               uint32_t first_block, uint32_t trace);

/* Tells the balanced objective how far single times can be believed, from the standard deviation of an A/A
 * log ratio: beside memory, which repeats to the page, noise of several percent would decide alone. Times are
 * shrunk towards no difference as an empirical Bayes estimate would (Efron and Morris 1975), also in the runs
 * made before. */
void hak_arena_trust_time(hak_arena *arena, double noise);

/* Fits ratings and deviations to the whole log: a Bradley-Terry model (Biometrika 1952), in which the log
 * odds of a match are its log ratio in units of `noise` (at least 1%), with a weak prior towards the default.
 * Deterministic, independent of the order of runs. */
void hak_arena_rate(hak_arena *arena, double noise);

uint64_t hak_arena_random(hak_arena *arena);

/* Values in place; n > 0. */
hak_estimate hak_estimate_of(double *values, uint32_t count);

#endif
