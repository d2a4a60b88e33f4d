/* replay_options.h: the command line of hakmem-replay. Parsing, limits and help come from one row an option.
 * One thread. */
#ifndef HAK_CLI_REPLAY_OPTIONS_H
#define HAK_CLI_REPLAY_OPTIONS_H

#include "replay/compare.h"
#include "replay/trainer.h"

#define REPLAY_MAX_TARGETS 64
#define REPLAY_MAX_TRACES  256

typedef struct replay_settings {
    hak_target targets[REPLAY_MAX_TARGETS];
    size_t target_count;
    size_t baseline;
    bool named; /* the targets were asked for: one that fails is trouble */
    hak_order order;
    hak_measure_options measure;
    uint32_t rounds;
    uint64_t seed;
    unsigned reader_flags;
    const char *format; /* of imported recordings; NULL: told from their contents */
    bool json, quiet, aa, plain, calibrate;
    unsigned workload_flags;
    uint32_t jobs, shard, shards;
    const char *cache; /* folder, "none", or NULL: the user's */
    const char *html, *old_results, *fail_if;
    const char *colour;
    hak_train_options train; /* with export_path set: learn instead of compare */
    const char *holdouts[HAK_TRAIN_MAX_TRACES];
    const char *curve;        /* --learning-curve, or NULL */
    const char *train_option; /* the last option given that only learning has, or NULL */
    bool learning;            /* --mode=learning, and no other */
} replay_settings;

/* -1: go on (traces from *first on); else the exit status. */
int replay_options_parse(replay_settings *s, int argc, char **argv, int *first);

/* The null target prices every session; ratios refer to glibc, or else to the first allocator. */
void replay_targets_complete(replay_settings *s);

/* As on the command line. */
const char *replay_touch_name(hak_touch touch);
const char *replay_order_name(hak_order order);

#endif
