/* trainer_validate.c: what the search found, judged on traces that it has not seen. Never prints. */
#include <math.h>
#include <string.h>

#include "replay/trainer_evidence.h"
#include "replay/trainer_parts.h"

#define VALIDATE_ROUNDS     24
#define VALIDATE_MIN_ROUNDS 6 /* always made, beyond the limit if need be: fewer say nothing */

static bool enough(hak_training *t, uint32_t round)
{
    if (round < VALIDATE_MIN_ROUNDS)
        return t->journal.broken;
    return round >= VALIDATE_ROUNDS ||
           hak_journal_stops(&t->journal, hak_training_stopped(t) || hak_training_elapsed_s(t) >= t->limit_s);
}

static uint64_t decisions_of(const hak_arena *arena, uint32_t candidate)
{
    uint64_t sum = 0;
    for (unsigned f = 0; f < HAK_TRAIN_KNOBS; f++)
        sum += arena->acted[candidate][f];
    /* every knob family has the same counter */
    uint64_t settings = 0;
    for (unsigned f = HAK_TRAIN_KNOBS; f < HAK_TRAIN_FAMILIES; f++)
        if (arena->acted[candidate][f] > settings)
            settings = arena->acted[candidate][f];
    return sum + settings;
}

void hak_training_report_trace(const hak_training *t, hak_train_report *report, uint32_t best, size_t index,
                               uint32_t first_block)
{
    hak_train_validation *v = &report->validations[report->validation_count++];
    const hak_arena *arena = &t->arena;
    uint32_t trace = (uint32_t)index;
    hak_estimate time = hak_arena_compare(arena, best, 0, HAK_METRIC_TIME, first_block, trace);
    hak_estimate rss = hak_arena_compare(arena, best, 0, HAK_METRIC_RSS, first_block, trace);
    hak_estimate objective = hak_arena_compare(arena, best, 0, HAK_METRIC_OBJECTIVE, first_block, trace);
    v->trace = t->materials[index].path;
    v->time = hak_train_change_of(&time);
    v->rss = hak_train_change_of(&rss);
    hak_estimate whole_time = hak_arena_compare(arena, best, 0, HAK_METRIC_WHOLE_TIME, first_block, trace);
    hak_estimate whole_rss = hak_arena_compare(arena, best, 0, HAK_METRIC_WHOLE_RSS, first_block, trace);
    v->whole_time = hak_train_change_of(&whole_time);
    v->whole_rss = hak_train_change_of(&whole_rss);
    v->objective = hak_train_change_of(&objective);
    v->rounds = objective.pairs;
    v->decisions = decisions_of(arena, best);
}

/* Whether the changes are a gain that nothing else has paid for. */
static void conclude(hak_training *t, uint32_t first_block)
{
    hak_train_report *r = t->report;
    uint32_t best = t->search.best;
    hak_estimate objective =
        hak_arena_compare(&t->arena, best, 0, HAK_METRIC_OBJECTIVE, first_block, UINT32_MAX);
    hak_estimate time = hak_arena_compare(&t->arena, best, 0, HAK_METRIC_WHOLE_TIME, first_block, UINT32_MAX);
    hak_estimate rss = hak_arena_compare(&t->arena, best, 0, HAK_METRIC_WHOLE_RSS, first_block, UINT32_MAX);
    const char *what = r->held_out ? "held-out traces" : "training traces";
    if (decisions_of(&t->arena, t->search.best) == 0)
        snprintf(r->reason, sizeof r->reason, "the allocator's counters show no decision of the policy");
    else if (objective.high >= 0)
        snprintf(r->reason, sizeof r->reason, "no gain beyond noise on the %s (%+.1f%% [%+.1f, %+.1f])", what,
                 100 * expm1(objective.mean), 100 * expm1(objective.low), 100 * expm1(objective.high));
    else if (time.low > 0 && time.mean > t->search.max_log_time)
        snprintf(r->reason, sizeof r->reason, "it would cost time on the %s (%+.1f%%)", what,
                 100 * expm1(time.mean));
    else if (rss.low > 0 && rss.mean > t->search.max_log_rss)
        snprintf(r->reason, sizeof r->reason, "it would cost memory on the %s (%+.1f%%)", what,
                 100 * expm1(rss.mean));
    else {
        r->frozen = true;
        snprintf(r->reason, sizeof r->reason, "%s objective %+.1f%% [%+.1f, %+.1f] on the %s",
                 hak_objective_text(t->options->objective), 100 * expm1(objective.mean),
                 100 * expm1(objective.low), 100 * expm1(objective.high), what);
    }
}

/* The best without the settings that nothing but a lucky run may have brought in: when the whole costs too
 * much on other inputs, it is what is left to believe. The best itself when there are none. */
static uint32_t without_unweighed(hak_training *t)
{
    hak_candidate plain = t->arena.candidates[t->search.best];
    for (unsigned f = HAK_TRAIN_KNOBS; f < HAK_TRAIN_FAMILIES; f++)
        if (t->report->families[f].verdict == HAK_TRAIN_UNWEIGHED)
            hak_candidate_drop(&plain, (hak_train_family)f);
    uint32_t id = hak_arena_add(&t->arena, &plain);
    return id == UINT32_MAX || id == HAK_ARENA_DEFAULT ? t->search.best : id;
}

/* What is weighed on the held-out traces, in the order in which it is taken: two or three looks at 95% each,
 * of which the first that holds is believed. */
typedef struct finalists {
    uint32_t
        ids[5 + HAK_TRAIN_MAX_POINTS]; /* the default, the best, and what is tried where that is refused */
    uint32_t count;                    /* of these; */
    uint32_t all;                      /* with what is only to be weighed, behind them */
} finalists;

static void add_finalist(finalists *f, uint32_t id)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (f->ids[i] == id)
            return;
    f->ids[f->count++] = id;
}

/* The best of those that cost nothing on the training traces, neither time nor memory: a constraint that the
 * best of all holds there by little it may well break elsewhere. */
static uint32_t frugal_best(const hak_arena *arena)
{
    uint32_t found = HAK_ARENA_DEFAULT;
    for (uint32_t i = 1; i < arena->candidate_count; i++) {
        if (arena->failed[i] ||
            arena->rating[i] - arena->deviation[i] <= arena->rating[found] - arena->deviation[found])
            continue;
        hak_estimate time = hak_arena_compare(arena, i, 0, HAK_METRIC_WHOLE_TIME, 0, UINT32_MAX);
        hak_estimate rss = hak_arena_compare(arena, i, 0, HAK_METRIC_WHOLE_RSS, 0, UINT32_MAX);
        if (time.mean <= 0 && rss.mean <= 0)
            found = i;
    }
    return found;
}

/* The best with huge pages for no more than every training input filled: where more paid on average, an input
 * that fills less may still lose. The best itself when the closed form knows nothing. */
static uint32_t modest_best(hak_training *t)
{
    const hak_train_family thp = HAK_TRAIN_KNOBS + HAK_FAMILY_THP;
    if (!hak_candidate_has(&t->closed_candidate, thp))
        return t->search.best;
    hak_candidate modest = t->arena.candidates[t->search.best];
    hak_candidate_drop(&modest, thp);
    modest.knob_set[HAK_KNOB_THP_KNOWN_BYTES] = true;
    modest.knobs[HAK_KNOB_THP_KNOWN_BYTES] = t->closed_candidate.knobs[HAK_KNOB_THP_KNOWN_BYTES];
    uint32_t id = hak_arena_add(&t->arena, &modest);
    return id == UINT32_MAX ? t->search.best : id;
}

static finalists finalists_of(hak_training *t)
{
    finalists f = {.ids = {HAK_ARENA_DEFAULT}, .count = 1};
    add_finalist(&f, t->search.best);
    add_finalist(&f, modest_best(t));
    add_finalist(&f, without_unweighed(t));
    hak_arena_rate(&t->arena, t->search.noise);
    add_finalist(&f, frugal_best(&t->arena));
    uint32_t choices = f.count;
    if (t->options->pareto != NULL) {
        t->front_count = hak_pareto_front(t, 0, NULL, 0, t->front);
        for (uint32_t i = 0; i < t->front_count; i++)
            add_finalist(&f, t->front[i]);
    }
    f.all = f.count;
    f.count = choices;
    return f;
}

static void choose_valid(hak_training *t, const finalists *f, uint32_t first_block)
{
    uint32_t whole = t->search.best;
    char reason[sizeof t->report->reason];
    memcpy(reason, t->report->reason, sizeof reason);
    for (uint32_t i = 1; i < f->count && !t->report->frozen; i++) {
        t->search.best = f->ids[i];
        if (t->arena.failed[f->ids[i]])
            snprintf(t->report->reason, sizeof t->report->reason, "the policy made a held-out replay fail");
        else
            conclude(t, first_block);
        if (i == 1)
            memcpy(reason, t->report->reason, sizeof reason);
    }
    if (!t->report->frozen) {
        t->search.best = whole;
        memcpy(t->report->reason, reason, sizeof reason);
        return;
    }
    if (t->search.best == whole)
        return;
    const hak_candidate *chosen = &t->arena.candidates[t->search.best];
    for (unsigned i = 0; i < HAK_TRAIN_FAMILIES; i++) {
        hak_train_family_report *family = &t->report->families[i];
        bool held = hak_candidate_has(chosen, (hak_train_family)i);
        if (!held && (family->verdict == HAK_TRAIN_UNWEIGHED || family->verdict == HAK_TRAIN_KEPT))
            family->verdict = HAK_TRAIN_DID_NOT_PAY;
        else if (held && family->verdict != HAK_TRAIN_KEPT)
            family->verdict = HAK_TRAIN_UNWEIGHED;
    }
}

int hak_training_validate(hak_training *t)
{
    t->held_first = t->options->holdout_count != 0 ? t->options->trace_count : 0;
    t->held_block = t->arena.block_count;
    t->report->held_out = t->held_first != 0;
    const finalists chosen = finalists_of(t);
    for (uint32_t round = 0; !enough(t, round); round++)
        for (size_t i = t->held_first; i < t->material_count; i++) {
            bool default_failed = false;
            if (!hak_arena_block(&t->arena, (uint32_t)i, chosen.ids, chosen.all, &default_failed))
                return hak_training_fail_memory(t);
            if (default_failed) {
                t->failed = t->materials[i].path;
                return -1;
            }
            hak_training_tell(t, HAK_TRAIN_VALIDATING);
        }
    choose_valid(t, &chosen, t->held_block);
    if (t->options->pareto != NULL)
        t->front_count = hak_pareto_front(t, t->held_block, chosen.ids, chosen.all, t->front);
    for (size_t i = t->held_first; i < t->material_count && t->search.best != HAK_ARENA_DEFAULT; i++)
        hak_training_report_trace(t, t->report, t->search.best, i, t->held_block);
    return 0;
}
