/* compare.h: several targets on one workload, in interleaved rounds: each round measures every target once,
 * in an order drawn anew, so that ratios are paired and drift of the machine falls on all. Blocking; called
 * by one thread. */
#ifndef HAK_REPLAY_COMPARE_H
#define HAK_REPLAY_COMPARE_H

#include <signal.h>

#include "replay/measure.h"
#include "replay/stats.h"

typedef struct hak_compare_options {
    hak_measure_options measure;
    uint32_t rounds; /* at least 1 */
    uint64_t seed;
    uint32_t shard, shards;            /* only rounds with round % shards == shard; shards 0: all */
    uint32_t jobs;                     /* targets measured at once; 0 is 1 */
    bool detail;                       /* an observed and a timed pass of each target, after the rounds */
    size_t baseline;                   /* index of the target that ratios refer to */
    const volatile sig_atomic_t *stop; /* ends after the present run when it becomes non-zero; NULL: never */
    void (*progress)(void *context, uint32_t done, uint32_t total, const hak_target *running);
    void *context;
} hak_compare_options;

/* One target. Figures are medians over the rounds. */
typedef struct hak_compare_row {
    hak_target target;
    uint32_t runs;              /* that succeeded */
    char problem[256];          /* why it was given up, "" if it was not */
    hak_measure median;         /* each figure's own; counters and version of the last run */
    double net_ns_per_op;       /* minus the null target's median; raw without one */
    hak_ratio time, first, rss; /* against the baseline: ns_per_op, ns_per_op_cold, peak_rss_bytes */
    hak_measure *runs_data;     /* [runs], in order of the rounds */
    uint32_t *runs_round;       /* [runs]: which round */
    hak_detail *detail;         /* NULL: not asked for, or it failed */
} hak_compare_row;

typedef struct hak_compare {
    hak_compare_row *rows; /* in order of the targets given */
    size_t row_count;
    double null_ns_per_op; /* 0 without a null target */
    uint32_t rounds;       /* completed or begun */
} hak_compare;

/* 0, or -1 with *error filled (no memory). A target's failure is told in its row. Free with
 * hak_compare_clear. */
int hak_compare_run(const hak_workload *workload, const hak_target *targets, size_t target_count,
                    const hak_compare_options *options, hak_compare *compare, hak_trace_error *error);
/* Medians, net times and ratios anew from runs_data (of merged results, say). 0, or -1 without memory. */
int hak_compare_evaluate(hak_compare *compare, size_t baseline, uint64_t seed);

/* How one row's figure compares with another's, over the rounds in which both succeeded. `scratch` holds
 * twice as many doubles as there are rounds; `parameter` is the figure's own. */
typedef double (*hak_figure)(const hak_measure *measure, double parameter);
hak_ratio hak_compare_ratio(const hak_compare_row *row, const hak_compare_row *base, hak_figure figure,
                            double parameter, uint64_t seed, double *scratch);

void hak_compare_clear(hak_compare *compare);

#endif
