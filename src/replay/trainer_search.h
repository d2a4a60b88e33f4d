/* trainer_search.h: from the default and the closed-form policy to the best candidate of an arena, and from
 * that to the smallest one that still pays. One thread; blocking. */
#ifndef HAK_REPLAY_TRAINER_SEARCH_H
#define HAK_REPLAY_TRAINER_SEARCH_H

#include "replay/trainer_arena.h"

typedef struct hak_search {
    hak_arena *arena;
    const hak_candidate *closed_form; /* families that have something to decide are on */
    uint32_t trace_count;
    double max_log_time; /* what the best may cost against the default, log ratios; INFINITY: anything */
    double max_log_rss;
    double noise;       /* set by hak_search_noise: standard deviation of an A/A log ratio of the objective */
    double noise_bound; /* half width of its interval */
    uint32_t best;      /* so far */
    uint32_t generation;
    bool default_failed;
    bool (*may_go_on)(void *arg, hak_train_phase phase); /* false: out of time, or asked to stop */
    void (*tell)(void *arg, hak_train_phase phase);      /* after every block */
    void *arg;
} hak_search;

/* What an A/A comparison of the default shows. */
bool hak_search_noise(hak_search *search);

/* Generations of blocked successive halving, until out of time. False when out of memory or when the default
 * fails to run. */
bool hak_search_run(hak_search *search);

/* Drops from the best what does not pay outside its noise; fills the verdicts of the report. */
bool hak_search_prune(hak_search *search, hak_train_family_report *families);

/* Whether a candidate holds anything of the family. */
bool hak_candidate_has(const hak_candidate *candidate, hak_train_family family);
void hak_candidate_drop(hak_candidate *candidate, hak_train_family family);

#endif
