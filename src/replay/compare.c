/* compare.c: see compare.h. */
#include "replay/compare.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS_MAX 64u

static void shuffle(size_t *order, size_t count, uint64_t *random)
{
    for (size_t i = count; i > 1; i--) {
        size_t k = hak_random_below(random, (uint32_t)i);
        size_t swap = order[i - 1];
        order[i - 1] = order[k];
        order[k] = swap;
    }
}

static double median_of(const hak_compare_row *row, size_t offset, bool is_double, double *scratch)
{
    for (uint32_t i = 0; i < row->runs; i++) {
        const char *at = (const char *)&row->runs_data[i] + offset;
        scratch[i] = is_double ? *(const double *)at : (double)*(const uint64_t *)at;
    }
    return hak_stats_median(scratch, row->runs);
}

#define MEDIAN_DOUBLE(field) row->median.field = median_of(row, offsetof(hak_measure, field), true, scratch)
#define MEDIAN_COUNT(field)                                                                                  \
    row->median.field = (uint64_t)median_of(row, offsetof(hak_measure, field), false, scratch)

static void row_medians(hak_compare_row *row, double *scratch)
{
    if (row->runs == 0)
        return;
    row->median = row->runs_data[row->runs - 1];
    MEDIAN_DOUBLE(ns_per_op);
    MEDIAN_DOUBLE(ns_per_op_cold);
    MEDIAN_DOUBLE(ns_per_op_warm);
    MEDIAN_COUNT(wall_ns);
    MEDIAN_COUNT(cpu_ns);
    MEDIAN_COUNT(peak_rss_bytes);
    MEDIAN_COUNT(start_rss_bytes);
    MEDIAN_COUNT(end_rss_bytes);
    MEDIAN_COUNT(minor_faults);
    MEDIAN_COUNT(major_faults);
    MEDIAN_COUNT(context_switches);
    MEDIAN_COUNT(failed_allocations);
}

static double time_of(const hak_measure *m, double unused)
{
    (void)unused;
    return m->ns_per_op;
}

static double first_of(const hak_measure *m, double unused)
{
    (void)unused;
    return m->ns_per_op_cold;
}

static double rss_of(const hak_measure *m, double unused)
{
    (void)unused;
    return (double)m->peak_rss_bytes;
}

hak_ratio hak_compare_ratio(const hak_compare_row *row, const hak_compare_row *base, hak_figure figure,
                            double parameter, uint64_t seed, double *scratch)
{
    size_t n = 0;
    double *values = scratch, *bases = scratch + row->runs;
    for (uint32_t i = 0, k = 0; i < row->runs && k < base->runs;) {
        if (row->runs_round[i] < base->runs_round[k]) {
            i++;
        } else if (row->runs_round[i] > base->runs_round[k]) {
            k++;
        } else {
            values[n] = figure(&row->runs_data[i++], parameter);
            bases[n++] = figure(&base->runs_data[k++], parameter);
        }
    }
    return hak_stats_ratio(values, bases, n, seed);
}

int hak_compare_evaluate(hak_compare *compare, size_t baseline, uint64_t seed)
{
    uint32_t rounds = 1;
    for (size_t i = 0; i < compare->row_count; i++)
        if (compare->rows[i].runs > rounds)
            rounds = compare->rows[i].runs;
    double *scratch = calloc(2 * (size_t)rounds, sizeof *scratch);
    if (scratch == NULL)
        return -1;
    for (size_t i = 0; i < compare->row_count; i++) {
        row_medians(&compare->rows[i], scratch);
        if (compare->rows[i].target.null)
            compare->null_ns_per_op = compare->rows[i].median.ns_per_op;
    }
    const hak_compare_row *base = &compare->rows[baseline];
    for (size_t i = 0; i < compare->row_count; i++) {
        hak_compare_row *row = &compare->rows[i];
        row->net_ns_per_op = row->median.ns_per_op - compare->null_ns_per_op;
        row->time = hak_compare_ratio(row, base, time_of, 0, seed, scratch);
        row->first = hak_compare_ratio(row, base, first_of, 0, seed, scratch);
        row->rss = hak_compare_ratio(row, base, rss_of, 0, seed, scratch);
    }
    free(scratch);
    return 0;
}

static int rows_new(hak_compare *compare, const hak_target *targets, size_t count, uint32_t rounds)
{
    compare->rows = calloc(count, sizeof *compare->rows);
    if (compare->rows == NULL)
        return -1;
    compare->row_count = count;
    for (size_t i = 0; i < count; i++) {
        hak_compare_row *row = &compare->rows[i];
        row->target = targets[i];
        row->runs_data = calloc(rounds, sizeof *row->runs_data);
        row->runs_round = calloc(rounds, sizeof *row->runs_round);
        if (row->runs_data == NULL || row->runs_round == NULL)
            return -1;
    }
    return 0;
}

static bool stopped(const hak_compare_options *options)
{
    return options->stop != NULL && *options->stop != 0;
}

/* What the threads of one round share. */
typedef struct round_state {
    const hak_workload *workload;
    const hak_compare_options *options;
    hak_compare *compare;
    const size_t *order;
    uint32_t round;
    _Atomic size_t next;
    pthread_mutex_t progress;
} round_state;

static void row_run(round_state *r, size_t i)
{
    const hak_compare_options *options = r->options;
    hak_compare_row *row = &r->compare->rows[r->order[i]];
    hak_trace_error error;
    if (row->problem[0] != '\0')
        return;
    if (options->progress != NULL) {
        pthread_mutex_lock(&r->progress);
        options->progress(options->context, r->round * (uint32_t)r->compare->row_count + (uint32_t)i,
                          options->rounds * (uint32_t)r->compare->row_count, &row->target);
        pthread_mutex_unlock(&r->progress);
    }
    row->runs_round[row->runs] = r->round;
    if (hak_measure_run(r->workload, &row->target, &options->measure, &row->runs_data[row->runs], &error) ==
        0)
        row->runs++;
    else if (!stopped(options)) /* an interrupt from the terminal ends the worker too */
        snprintf(row->problem, sizeof row->problem, "%s", error.text);
}

static void *round_work(void *argument)
{
    round_state *r = argument;
    for (size_t i; (i = atomic_fetch_add(&r->next, 1)) < r->compare->row_count && !stopped(r->options);)
        row_run(r, i);
    return NULL;
}

static void round_run(const hak_workload *workload, const hak_compare_options *options, hak_compare *compare,
                      const size_t *order, uint32_t round)
{
    round_state r = {.workload = workload,
                     .options = options,
                     .compare = compare,
                     .order = order,
                     .round = round,
                     .progress = PTHREAD_MUTEX_INITIALIZER};
    pthread_t helpers[JOBS_MAX];
    uint32_t started = 0;
    while (started + 1 < options->jobs && started < JOBS_MAX &&
           pthread_create(&helpers[started], NULL, round_work, &r) == 0)
        started++;
    round_work(&r);
    while (started != 0)
        pthread_join(helpers[--started], NULL);
}

/* A target whose passes fail here has been measured all the same: it only lacks the detail. */
static void details_run(const hak_workload *workload, const hak_compare_options *options,
                        hak_compare *compare)
{
    for (size_t i = 0; i < compare->row_count && !stopped(options); i++) {
        hak_compare_row *row = &compare->rows[i];
        hak_trace_error ignored;
        if (row->target.null || row->runs == 0 || (row->detail = malloc(sizeof *row->detail)) == NULL)
            continue;
        if (hak_measure_detail(workload, &row->target, &options->measure, row->detail, &ignored) != 0) {
            free(row->detail);
            row->detail = NULL;
        }
    }
}

int hak_compare_run(const hak_workload *workload, const hak_target *targets, size_t target_count,
                    const hak_compare_options *options, hak_compare *compare, hak_trace_error *error)
{
    uint64_t random = options->seed;
    memset(compare, 0, sizeof *compare);
    size_t *order = calloc(target_count, sizeof *order);
    if (order == NULL || rows_new(compare, targets, target_count, options->rounds) != 0) {
        snprintf(error->text, sizeof error->text, "%s", strerror(ENOMEM));
        free(order);
        hak_compare_clear(compare);
        return -1;
    }
    for (size_t i = 0; i < target_count; i++)
        order[i] = i;
    for (uint32_t round = 0; round < options->rounds && !stopped(options); round++) {
        shuffle(order, target_count, &random); /* the same in every shard */
        if (options->shards != 0 && round % options->shards != options->shard)
            continue;
        round_run(workload, options, compare, order, round);
        compare->rounds++;
    }
    free(order);
    if (options->detail)
        details_run(workload, options, compare);
    if (hak_compare_evaluate(compare, options->baseline, options->seed) == 0)
        return 0;
    snprintf(error->text, sizeof error->text, "%s", strerror(ENOMEM));
    hak_compare_clear(compare);
    return -1;
}

void hak_compare_clear(hak_compare *compare)
{
    for (size_t i = 0; i < compare->row_count; i++) {
        free(compare->rows[i].runs_data);
        free(compare->rows[i].runs_round);
        free(compare->rows[i].detail);
    }
    free(compare->rows);
    memset(compare, 0, sizeof *compare);
}
