/* trainer.h: traces in, a policy out, and the evidence for it.
 *
 * In this order: closed form (size classes, sites), search over the settings of knobs.h, pruning by family,
 * validation on held-out traces. Every claim rests on paired runs in fresh processes (measure.h). Blocking,
 * one training per process at a time; temporary files in $TMPDIR, removed at the end. Never prints. */
#ifndef HAK_REPLAY_TRAINER_H
#define HAK_REPLAY_TRAINER_H

#include <signal.h>

#include "replay/measure.h"
#include "replay/policy_text.h"

#define HAK_TRAIN_MAX_TRACES 64
#define HAK_TRAIN_MAX_POINTS 8
#define HAK_TRAIN_MAX_JOBS   64

typedef enum hak_objective { HAK_OBJECTIVE_BALANCED, HAK_OBJECTIVE_TIME, HAK_OBJECTIVE_RSS } hak_objective;

typedef enum hak_train_phase {
    HAK_TRAIN_READING,    /* traces */
    HAK_TRAIN_NOISE,      /* A/A runs */
    HAK_TRAIN_SEARCHING,  /* generations */
    HAK_TRAIN_PRUNING,    /* family by family */
    HAK_TRAIN_VALIDATING, /* on held-out traces */
} hak_train_phase;

/* How a candidate compares: ratios minus one, so -0.05 is 5% better. */
typedef struct hak_train_progress {
    hak_train_phase phase;
    uint32_t generation; /* 1-based while searching */
    double done;         /* share of the time limit, 0…1 */
    double eta_s;
    double best_time; /* of the best so far against the default, on the training traces */
    double best_rss;
    double elo; /* rating of the best and its deviation; 1500 is the default policy */
    double elo_deviation;
    uint64_t runs; /* processes measured so far */
} hak_train_progress;

typedef struct hak_train_options {
    const char *const *traces; /* at least one */
    size_t trace_count;
    const char *const *holdouts; /* none: validated on the training traces, and the report says so */
    size_t holdout_count;
    unsigned reader_flags; /* HAK_READER_* */
    hak_objective objective;
    double max_time; /* what the policy may cost at most, ratio minus one; NAN: by objective */
    double max_rss;
    double time_limit_s; /* 0: 60 */
    uint64_t seed;
    hak_order order;
    hak_measure_options measure;
    const char *export_path; /* NULL: nothing is written. Replaced when it exists */
    bool export_text;        /* canonical text instead of the compiled form */
    const char *pareto;      /* NULL, or a folder, made when missing: policies of which none is better than
                                another in both, time and memory, as 1.policy, 2.policy, … */
    uint32_t jobs;           /* runs at once: faster, and times are noisier; 0 is 1 */
    const char *match_log;   /* NULL, or a file: every run that a decision rested on, one line each */
    const char *replay_log;  /* NULL, or a match log: its runs are taken instead of new ones; same traces and
                                options */
    const volatile sig_atomic_t *stop; /* NULL, or set it to end early with the best so far */
    void (*progress)(const hak_train_progress *progress, void *arg); /* may be NULL */
    void *progress_arg;
} hak_train_options;

/* What a policy may decide, each switched on and off as a whole. */
typedef enum hak_train_family {
    HAK_TRAIN_CLASSES,   /* fitted size classes */
    HAK_TRAIN_CACHES,    /* lists and refills by class */
    HAK_TRAIN_LIFETIME,  /* segregation by lifetime; first of those by site */
    HAK_TRAIN_REMOTE,    /* contexts whose blocks other threads free */
    HAK_TRAIN_RETENTION, /* what the BigCache does with large blocks, by site */
    HAK_TRAIN_SITE_THP,  /* huge pages by site */
    HAK_TRAIN_SLACK,     /* room for growing reallocs by site */
    HAK_TRAIN_KNOBS,     /* first of the knob families; HAK_TRAIN_KNOBS + hak_knob_family */
    HAK_TRAIN_FAMILIES = HAK_TRAIN_KNOBS + HAK_FAMILY_COUNT
} hak_train_family;

const char *hak_train_family_text(hak_train_family family);
/* What a policy may cost where the options do not say: 1% of what the objective also counts, more of what it
 * does not. */
double hak_objective_max_time(hak_objective objective);
double hak_objective_max_rss(hak_objective objective);
const char *hak_objective_text(hak_objective objective);

typedef enum hak_train_verdict {
    HAK_TRAIN_NOTHING_LEARNED, /* the traces give it nothing to decide, or the search found nothing better */
    HAK_TRAIN_KEPT,            /* pays outside its noise */
    HAK_TRAIN_UNWEIGHED,       /* kept, but time ran out before it was weighed alone */
    HAK_TRAIN_NO_ROOM,         /* foretold well, but a model of the slabs holds no less memory for it */
    HAK_TRAIN_UNSTABLE,        /* contexts do not foretell it (an interpreter, say): switched off */
    HAK_TRAIN_DID_NOT_PAY,     /* measured, and within its noise or worse */
    HAK_TRAIN_DID_NOT_ACT,     /* the allocator's counters show no decision of it */
} hak_train_verdict;

const char *hak_train_verdict_text(hak_train_verdict verdict);

typedef struct hak_train_family_report {
    hak_train_verdict verdict;
    uint32_t decisions; /* settings, classes or sites */
    double modelled;    /* share of the memory saved, by the closed form's own model; lifetimes only */
    double gain;        /* log ratio of the objective with against without; negative is better */
    double gain_low, gain_high;
} hak_train_family_report;

/* ratio - 1 with its 95% interval, from paired runs. */
typedef struct hak_train_change {
    double mean, low, high;
    bool significant;
} hak_train_change;

typedef struct hak_train_validation {
    const char *trace;                      /* one of the options' */
    hak_train_change time, rss;             /* of the replay: of the heap alone */
    hak_train_change whole_time, whole_rss; /* what that makes of the program, as it was recorded */
    hak_train_change objective;             /* of the whole */
    uint64_t decisions;                     /* taken in one run, by the allocator's own counters */
    uint32_t rounds;
} hak_train_validation;

/* One of the policies between which only a person can choose. */
typedef struct hak_train_point {
    char file[24];              /* in the options' folder; "": the default, no policy */
    hak_train_change time, rss; /* of the whole program, on the held-out traces */
} hak_train_point;

typedef struct hak_train_report {
    bool frozen; /* false: the default is as good; an exported policy then sets nothing */
    char reason[160];
    bool held_out;  /* validated on traces it was not trained on */
    bool stopped;   /* ended early on request */
    double noise;   /* half width of the A/A interval, log ratio of the objective */
    uint32_t sites; /* decisions by context */
    uint32_t generations;
    uint32_t candidates;
    uint64_t runs;
    double elo, elo_deviation;
    uint64_t policy_bytes;
    char machine[192];
    char program[256];
    char build_id[41]; /* hexadecimal, of the program, "" if unknown */
    hak_train_family_report families[HAK_TRAIN_FAMILIES];
    uint32_t validation_count;
    hak_train_validation validations[HAK_TRAIN_MAX_TRACES];
    uint32_t point_count;
    hak_train_point points[HAK_TRAIN_MAX_POINTS]; /* the leanest first, each next one faster */
} hak_train_report;

/* 0, or -1 with *error filled and *failed naming the file it is about (or NULL). */
int hak_train(const hak_train_options *options, hak_train_report *report, hak_trace_error *error,
              const char **failed);

#endif
