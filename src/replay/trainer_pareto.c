/* trainer_pareto.c: the policies between which only a person can choose: for less memory at more time, or the
 * other way round. Files: one policy each, in the folder that the options name. Never prints. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "replay/trainer_evidence.h"
#include "replay/trainer_parts.h"

#define MIN_PAIRS 2     /* fewer runs are luck */
#define MIN_STEP  0.002 /* log ratio: points that lie closer are one */

typedef struct point {
    uint32_t id;
    double time, rss; /* log ratios to the default, of the whole program */
} point;

static int by_rss(const void *a, const void *b)
{
    const point *x = a, *y = b;
    if (x->rss != y->rss)
        return x->rss < y->rss ? -1 : 1;
    return x->time != y->time ? (x->time < y->time ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

/* What breaks a constraint that the caller has set is no choice; those of the objective do not bind here. */
static bool allowed(const hak_train_options *options, const point *p)
{
    return (isnan(options->max_time) || p->time <= log1p(options->max_time)) &&
           (isnan(options->max_rss) || p->rss <= log1p(options->max_rss));
}

static uint32_t points_of(const hak_training *t, uint32_t first_block, const uint32_t *from,
                          uint32_t from_count, point *points)
{
    const hak_arena *arena = &t->arena;
    uint32_t count = 0;
    for (uint32_t i = 0; i < (from != NULL ? from_count : arena->candidate_count); i++) {
        uint32_t id = from != NULL ? from[i] : i;
        if (arena->failed[id])
            continue;
        hak_estimate time = hak_arena_compare(arena, id, 0, HAK_METRIC_WHOLE_TIME, first_block, UINT32_MAX);
        hak_estimate rss = hak_arena_compare(arena, id, 0, HAK_METRIC_WHOLE_RSS, first_block, UINT32_MAX);
        point p = {id, time.mean, rss.mean};
        if (rss.pairs >= MIN_PAIRS && (id == HAK_ARENA_DEFAULT || allowed(t->options, &p)))
            points[count++] = p;
    }
    return count;
}

/* Every k-th, with the first and the last. */
static uint32_t thin_out(point *points, uint32_t count)
{
    if (count <= HAK_TRAIN_MAX_POINTS)
        return count;
    for (uint32_t i = 0; i < HAK_TRAIN_MAX_POINTS; i++)
        points[i] = points[i * (count - 1) / (HAK_TRAIN_MAX_POINTS - 1)];
    return HAK_TRAIN_MAX_POINTS;
}

uint32_t hak_pareto_front(const hak_training *t, uint32_t first_block, const uint32_t *from,
                          uint32_t from_count, uint32_t *front)
{
    double step = fmax(t->search.noise_bound, MIN_STEP);
    point *points = calloc(t->arena.candidate_count + from_count, sizeof *points);
    if (points == NULL)
        return 0;
    uint32_t seen = points_of(t, first_block, from, from_count, points), count = 0;
    qsort(points, seen, sizeof *points, by_rss);
    for (uint32_t i = 0; i < seen; i++) {
        if (count != 0 && points[i].time > points[count - 1].time - step)
            continue; /* not faster, and not leaner either */
        if (count != 0 && points[i].rss < points[count - 1].rss + MIN_STEP)
            count--; /* as lean, and faster */
        points[count++] = points[i];
    }
    count = thin_out(points, count);
    for (uint32_t i = 0; i < count; i++)
        front[i] = points[i].id;
    free(points);
    return count;
}

static int export_point(hak_training *t, uint32_t id, hak_train_point *to)
{
    hak_policy policy;
    hak_policy_error why;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", t->options->pareto, to->file);
    if (hak_training_policy(t, &t->arena.candidates[id], &policy) != 0)
        return hak_training_fail_memory(t);
    hak_train_report one = *t->report;
    one.frozen = true;
    one.validation_count = 0;
    snprintf(one.reason, sizeof one.reason, "one of several: program time %+.1f%%, peak RSS %+.1f%%",
             100 * to->time.mean, 100 * to->rss.mean);
    for (size_t i = t->held_first; i < t->material_count; i++)
        hak_training_report_trace(t, &one, id, i, t->held_block);
    policy.created_unix_s = t->created_unix_s;
    if (one.program[0] != 0)
        policy.program = strdup(one.program);
    int result = -1;
    if (!hak_train_evidence(t->options, &one, &policy)) {
        hak_training_fail_memory(t);
    } else if (hak_policy_write(&policy, path, t->options->export_text, &why) != 0) {
        t->failed = t->options->pareto;
        snprintf(t->error->text, sizeof t->error->text, "%s: %.200s", to->file, why.text);
    } else {
        result = 0;
    }
    hak_policy_clear(&policy);
    return result;
}

int hak_training_export_front(hak_training *t)
{
    if (mkdir(t->options->pareto, 0777) != 0 && errno != EEXIST) {
        t->failed = t->options->pareto;
        snprintf(t->error->text, sizeof t->error->text, "%s", strerror(errno));
        return -1;
    }
    for (uint32_t i = 0; i < t->front_count; i++) {
        hak_train_point *to = &t->report->points[t->report->point_count++];
        uint32_t id = t->front[i];
        hak_estimate time =
            hak_arena_compare(&t->arena, id, 0, HAK_METRIC_WHOLE_TIME, t->held_block, UINT32_MAX);
        hak_estimate rss =
            hak_arena_compare(&t->arena, id, 0, HAK_METRIC_WHOLE_RSS, t->held_block, UINT32_MAX);
        *to = (hak_train_point){.time = hak_train_change_of(&time), .rss = hak_train_change_of(&rss)};
        if (id == HAK_ARENA_DEFAULT)
            continue;
        snprintf(to->file, sizeof to->file, "%u.policy", i + 1);
        if (export_point(t, id, to) != 0)
            return -1;
    }
    return 0;
}
