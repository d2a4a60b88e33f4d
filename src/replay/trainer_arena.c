/* trainer_arena.c: blocks of runs, paired estimates, ratings. Never prints; the only effects are those of the
 * run function. */
#include "replay/trainer_arena.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/print.h"

#define ELO_PER_NAT     (400.0 / 2.302585092994046) /* Elo's scale: 400 points are ten to one */
#define PRIOR_PRECISION 0.05                        /* a twentieth of a drawn match against the default */
#define MAX_MARGIN      8.0 /* of one match, in noise: beyond, more is not more certain */
#define MIN_NOISE       0.01 /* of the scale: a quiet machine would show any difference as thousands of points */
#define RATE_SWEEPS     200
#define MIN_RSS_BYTES   4096.0
#define MIN_NS          0.01
#define MAX_PAIRS       512
#define TIME_EFFECT     0.03 /* log ratio: how far policies typically lie apart in time */
#define TRUST_RUNS      8    /* that a candidate which matters gets before it is judged */

bool hak_arena_init(hak_arena *arena, hak_trials_run *run, void *arg, hak_objective objective, uint64_t seed)
{
    *arena = (hak_arena){.run = run, .run_arg = arg, .objective = objective, .time_trust = 1, .random = seed};
    arena->candidates = calloc(HAK_ARENA_MAX_CANDIDATES, sizeof *arena->candidates);
    arena->failed = calloc(HAK_ARENA_MAX_CANDIDATES, sizeof *arena->failed);
    arena->acted = calloc(HAK_ARENA_MAX_CANDIDATES, sizeof *arena->acted);
    arena->rating = calloc(HAK_ARENA_MAX_CANDIDATES, sizeof *arena->rating);
    arena->deviation = calloc(HAK_ARENA_MAX_CANDIDATES, sizeof *arena->deviation);
    arena->candidate_count = 1; /* the default: nothing set */
    if (arena->candidates != NULL && arena->failed != NULL && arena->acted != NULL && arena->rating != NULL &&
        arena->deviation != NULL)
        return true;
    hak_arena_clear(arena);
    return false;
}

void hak_arena_clear(hak_arena *arena)
{
    free(arena->candidates);
    free(arena->failed);
    free(arena->acted);
    free(arena->rating);
    free(arena->deviation);
    free(arena->runs);
    *arena = (hak_arena){0};
}

uint64_t hak_arena_random(hak_arena *arena)
{
    arena->random += UINT64_C(0x9e3779b97f4a7c15);
    return hak_mix64(arena->random);
}

static bool same(const hak_candidate *a, const hak_candidate *b)
{
    for (unsigned i = 0; i < HAK_TRAIN_KNOBS; i++)
        if (a->families[i] != b->families[i])
            return false;
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++)
        if (a->knob_set[i] != b->knob_set[i] || (a->knob_set[i] && a->knobs[i] != b->knobs[i]))
            return false;
    return true;
}

uint32_t hak_arena_add(hak_arena *arena, const hak_candidate *candidate)
{
    for (uint32_t i = 0; i < arena->candidate_count; i++)
        if (same(&arena->candidates[i], candidate))
            return i;
    if (arena->candidate_count == HAK_ARENA_MAX_CANDIDATES)
        return UINT32_MAX;
    arena->candidates[arena->candidate_count] = *candidate;
    return arena->candidate_count++;
}

static double objective_of(const hak_arena *arena, const hak_arena_run *run)
{
    return arena->objective == HAK_OBJECTIVE_TIME ? run->log_whole_time
           : arena->objective == HAK_OBJECTIVE_RSS
               ? run->log_whole_rss
               : 0.5 * (arena->time_trust * run->log_whole_time + run->log_whole_rss);
}

void hak_arena_trust_time(hak_arena *arena, double noise)
{
    double effect = TIME_EFFECT * TIME_EFFECT;
    arena->time_trust = effect / (effect + noise * noise / TRUST_RUNS);
    for (size_t i = 0; i < arena->run_count; i++)
        arena->runs[i].log_objective = objective_of(arena, &arena->runs[i]);
}

static bool log_run(hak_arena *arena, uint32_t trace, const hak_trial *trial)
{
    if (arena->run_count == arena->run_room) {
        size_t room = arena->run_room == 0 ? 1024 : 2 * arena->run_room;
        hak_arena_run *runs = realloc(arena->runs, room * sizeof *runs);
        if (runs == NULL)
            return false;
        arena->runs = runs;
        arena->run_room = room;
    }
    hak_arena_run run = {.block = arena->block_count, .candidate = trial->id, .trace = trace};
    run.log_time = log(fmax(trial->ns_per_op, MIN_NS));
    run.log_rss = log(fmax(trial->rss_bytes, MIN_RSS_BYTES));
    hak_arena_rest rest = arena->rests != NULL ? arena->rests[trace] : (hak_arena_rest){0, 0};
    run.log_whole_time = log(fmax(trial->ns_per_op, MIN_NS) + rest.ns_per_op);
    run.log_whole_rss = log(fmax(trial->rss_bytes, MIN_RSS_BYTES) + rest.rss_bytes);
    run.log_objective = objective_of(arena, &run);
    arena->runs[arena->run_count++] = run;
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES; f++)
        if (trial->acted[f] > arena->acted[trial->id][f])
            arena->acted[trial->id][f] = trial->acted[f];
    return true;
}

static void shuffle(hak_arena *arena, hak_trial *trials, uint32_t count)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t k = (uint32_t)(hak_arena_random(arena) % i);
        hak_trial kept = trials[i - 1];
        trials[i - 1] = trials[k];
        trials[k] = kept;
    }
}

bool hak_arena_block(hak_arena *arena, uint32_t trace, const uint32_t *ids, uint32_t count,
                     bool *default_failed)
{
    hak_trial trials[HAK_ARENA_MAX_BLOCK] = {0};
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!arena->failed[ids[i]]) {
            hak_assert(wanted < HAK_ARENA_MAX_BLOCK);
            trials[wanted++].id = ids[i];
        }
    shuffle(arena, trials, wanted);
    arena->run(arena->run_arg, trace, trials, wanted);
    for (uint32_t i = 0; i < wanted && trials[i].status <= 0; i++) {
        arena->runs_made++;
        if (trials[i].status != 0 && trials[i].id == HAK_ARENA_DEFAULT)
            *default_failed = true;
        else if (trials[i].status != 0)
            arena->failed[trials[i].id] = true;
        else if (!log_run(arena, trace, &trials[i]))
            return false;
    }
    arena->block_count++;
    return true;
}

/* ---- estimates ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double middle(const double *sorted, size_t count)
{
    return count % 2 != 0 ? sorted[count / 2] : 0.5 * (sorted[count / 2 - 1] + sorted[count / 2]);
}

hak_estimate hak_estimate_of(double *values, uint32_t count)
{
    hak_estimate e = {.low = -INFINITY, .high = INFINITY, .pairs = count};
    qsort(values, count, sizeof *values, by_value);
    e.mean = middle(values, count); /* where memory is short, the plain median serves */
    size_t mean_count = (size_t)count * (count + 1) / 2;
    double *means = malloc(mean_count * sizeof *means);
    if (means == NULL)
        return e;
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = i; k < count; k++)
            means[n++] = 0.5 * (values[i] + values[k]);
    qsort(means, mean_count, sizeof *means, by_value);
    e.mean = middle(means, mean_count);
    double c = count;
    double rank = c * (c + 1) / 4 - 1.96 * sqrt(c * (c + 1) * (2 * c + 1) / 24);
    if (count >= 6 && rank >= 1) {
        size_t k = (size_t)rank;
        e.low = means[k - 1];
        e.high = means[mean_count - k];
    }
    free(means);
    return e;
}

static double metric_of(const hak_arena_run *run, hak_metric metric)
{
    switch (metric) {
    case HAK_METRIC_TIME:
        return run->log_time;
    case HAK_METRIC_RSS:
        return run->log_rss;
    case HAK_METRIC_WHOLE_TIME:
        return run->log_whole_time;
    case HAK_METRIC_WHOLE_RSS:
        return run->log_whole_rss;
    case HAK_METRIC_OBJECTIVE:
        break;
    }
    return run->log_objective;
}

hak_estimate hak_arena_compare(const hak_arena *arena, uint32_t a, uint32_t b, hak_metric metric,
                               uint32_t first_block, uint32_t trace)
{
    double differences[MAX_PAIRS];
    uint32_t count = 0;
    for (size_t i = 0; i < arena->run_count;) {
        /* Runs of one block stand together in the log. */
        uint32_t block = arena->runs[i].block;
        const hak_arena_run *run_a = NULL, *run_b = NULL;
        for (; i < arena->run_count && arena->runs[i].block == block; i++) {
            if (arena->runs[i].candidate == a)
                run_a = &arena->runs[i];
            if (arena->runs[i].candidate == b)
                run_b = &arena->runs[i];
        }
        if (run_a != NULL && run_b != NULL && block >= first_block && count < MAX_PAIRS &&
            (trace == UINT32_MAX || run_a->trace == trace))
            differences[count++] = metric_of(run_a, metric) - metric_of(run_b, metric);
    }
    if (count == 0)
        return (hak_estimate){0, -INFINITY, INFINITY, 0};
    return hak_estimate_of(differences, count);
}

/* ---- ratings ---- */

/* Gradient and curvature by strength, in nats; the default's strength stays 0. A run's own error is shared by
 * all its matches in a block of n, so a match weighs 2/n. */
static void add_match(const hak_arena_run *x, const hak_arena_run *y, double noise, double weight,
                      const double *strength, double *gradient, double *curvature)
{
    double margin = (y->log_objective - x->log_objective) / noise; /* lower is better */
    margin = fmax(-MAX_MARGIN, fmin(MAX_MARGIN, margin));
    double surprise = weight * (margin - (strength[x->candidate] - strength[y->candidate]));
    gradient[x->candidate] += surprise;
    gradient[y->candidate] -= surprise;
    curvature[x->candidate] += weight;
    curvature[y->candidate] += weight;
}

static void sum_matches(const hak_arena *arena, double noise, const double *strength, double *gradient,
                        double *curvature)
{
    for (size_t start = 0; start < arena->run_count;) {
        size_t end = start;
        while (end < arena->run_count && arena->runs[end].block == arena->runs[start].block)
            end++;
        double weight = 2.0 / (double)(end - start);
        for (size_t i = start; i < end; i++)
            for (size_t k = i + 1; k < end; k++)
                if (arena->runs[i].candidate != arena->runs[k].candidate)
                    add_match(&arena->runs[i], &arena->runs[k], noise, weight, strength, gradient, curvature);
        start = end;
    }
}

void hak_arena_rate(hak_arena *arena, double noise)
{
    uint32_t count = arena->candidate_count;
    double *strength = calloc(count, sizeof *strength);
    double *gradient = calloc(count, sizeof *gradient);
    double *curvature = calloc(count, sizeof *curvature);
    for (unsigned sweep = 0; strength != NULL && gradient != NULL && curvature != NULL && sweep < RATE_SWEEPS;
         sweep++) {
        double moved = 0;
        for (uint32_t i = 0; i < count; i++) {
            gradient[i] = -PRIOR_PRECISION * strength[i];
            curvature[i] = PRIOR_PRECISION;
        }
        sum_matches(arena, fmax(noise, MIN_NOISE), strength, gradient, curvature);
        for (uint32_t i = 1; i < count; i++) {
            double step = fmax(-1, fmin(1, 0.5 * gradient[i] / curvature[i]));
            strength[i] += step;
            moved = fmax(moved, fabs(step));
        }
        if (moved < 1e-6)
            break;
    }
    for (uint32_t i = 0; strength != NULL && gradient != NULL && curvature != NULL && i < count; i++) {
        arena->rating[i] = 1500 + ELO_PER_NAT * strength[i];
        arena->deviation[i] = i == HAK_ARENA_DEFAULT ? 0 : ELO_PER_NAT / sqrt(fmax(curvature[i], 1e-9));
    }
    free(strength);
    free(gradient);
    free(curvature);
}
