/* trainer_search.c: breeding, halving, pruning. All chance comes from the arena's generator. */
#include "replay/trainer_search.h"
#include "core/base/print.h"

#include <math.h>
#include <string.h>

#define POPULATION   12 /* new candidates a generation, with the survivors */
#define SURVIVORS    3
#define MAX_IDS      (POPULATION + SURVIVORS + 24)
#define NOISE_BLOCKS 8
#define RUNGS        3 /* blocks at rung r: 1, 2, 4; half of the candidates go on */
#define PRUNE_BLOCKS 8
#define MIN_PAIRS    6     /* fewer cannot show anything at 95% */
#define PRUNE_ROUNDS 5     /* so many times as many blocks where the first ones do not decide */
#define MIN_GAIN     0.002 /* log ratio; below, a family is not worth its complexity */
#define MAX_GAIN     100   /* log ratio; no candidate is better by so much */
#define MAX_STALE    6     /* generations without a better one: the search has converged */

bool hak_candidate_has(const hak_candidate *candidate, hak_train_family family)
{
    if (family < HAK_TRAIN_KNOBS)
        return candidate->families[family];
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++)
        if (candidate->knob_set[i] && hak_knob_infos[i].family == family - HAK_TRAIN_KNOBS)
            return true;
    return false;
}

void hak_candidate_drop(hak_candidate *candidate, hak_train_family family)
{
    if (family < HAK_TRAIN_KNOBS)
        candidate->families[family] = false;
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++)
        if (family >= HAK_TRAIN_KNOBS && hak_knob_infos[i].family == family - HAK_TRAIN_KNOBS) {
            candidate->knob_set[i] = false;
            candidate->knobs[i] = 0;
        }
}

static void copy_family(hak_candidate *to, const hak_candidate *from, hak_train_family family)
{
    if (family < HAK_TRAIN_KNOBS)
        to->families[family] = from->families[family];
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++)
        if (family >= HAK_TRAIN_KNOBS && hak_knob_infos[i].family == family - HAK_TRAIN_KNOBS) {
            to->knob_set[i] = from->knob_set[i];
            to->knobs[i] = from->knobs[i];
        }
}

/* ---- breeding ---- */

static int64_t clamp(int64_t value, const hak_knob_info *info)
{
    return value < info->min ? info->min : value > info->max ? info->max : value;
}

static void set_knob(hak_candidate *candidate, unsigned knob, int64_t value)
{
    const hak_knob_info *info = &hak_knob_infos[knob];
    value = clamp(value, info);
    candidate->knob_set[knob] = value != info->def;
    candidate->knobs[knob] = value != info->def ? value : 0;
}

static int64_t knob_of(const hak_candidate *candidate, unsigned knob)
{
    return candidate->knob_set[knob] ? candidate->knobs[knob] : hak_knob_infos[knob].def;
}

static int64_t step_log(int64_t value, const hak_knob_info *info, uint64_t random)
{
    unsigned factor = 1u << (1 + (random >> 1) % 3);
    if (random >> 8 & 1 && (random >> 9) % 8 == 0 && info->min == 0)
        return 0; /* off altogether */
    if (value == 0)
        return info->def != 0 ? info->def : 1;
    if (random & 1)
        return value > INT64_MAX / 8 ? value : value * factor;
    return value / factor;
}

static int64_t step(int64_t value, const hak_knob_info *info, uint64_t random)
{
    int64_t range = info->max - info->min;
    if (info->scale == HAK_SCALE_LOG)
        return step_log(value, info, random);
    if (info->scale == HAK_SCALE_ENUM)
        return info->min + (int64_t)(random % (uint64_t)(range + 1));
    int64_t width = 1 + range * (int64_t)(1 + (random >> 1) % 5) / 20;
    return random & 1 ? value + width : value - width;
}

static void mutate_family(hak_arena *arena, hak_candidate *child, hak_knob_family family)
{
    unsigned members[HAK_KNOB_COUNT], count = 0;
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++)
        if (hak_knob_infos[i].family == family)
            members[count++] = i;
    if (count == 0)
        return;
    for (unsigned n = 1 + hak_arena_random(arena) % 2; n > 0; n--) {
        unsigned knob = members[hak_arena_random(arena) % count];
        set_knob(child, knob, step(knob_of(child, knob), &hak_knob_infos[knob], hak_arena_random(arena)));
    }
}

/* More huge pages than every input fills cost the last of them in part: a little on average, much for an
 * input that happens to end early. */
static void keep_known(const hak_search *search, hak_candidate *child)
{
    int64_t most = knob_of(search->closed_form, HAK_KNOB_THP_KNOWN_BYTES);
    if (knob_of(child, HAK_KNOB_THP_KNOWN_BYTES) > most)
        set_knob(child, HAK_KNOB_THP_KNOWN_BYTES, most);
}

static hak_candidate mutate(hak_search *search, const hak_candidate *parent)
{
    hak_candidate child = *parent;
    hak_arena *arena = search->arena;
    if (hak_arena_random(arena) % 5 == 0) { /* a closed-form family on or off */
        unsigned family = hak_arena_random(arena) % HAK_TRAIN_KNOBS;
        child.families[family] = !child.families[family] && search->closed_form->families[family];
    }
    for (unsigned n = 1 + hak_arena_random(arena) % 2; n > 0; n--)
        mutate_family(arena, &child, (hak_knob_family)(hak_arena_random(arena) % HAK_FAMILY_COUNT));
    keep_known(search, &child);
    return child;
}

static hak_candidate cross(hak_search *search, const hak_candidate *a, const hak_candidate *b)
{
    hak_candidate child = *a;
    for (unsigned family = 0; family < HAK_TRAIN_FAMILIES; family++)
        if (hak_arena_random(search->arena) & 1)
            copy_family(&child, b, (hak_train_family)family);
    return child;
}

/* What such a setting says is how much is kept. */
static bool is_amount(unsigned knob)
{
    const hak_knob_info *info = &hak_knob_infos[knob];
    bool keeps = info->family == HAK_FAMILY_PURGE || info->family == HAK_FAMILY_MID ||
                 info->family == HAK_FAMILY_TINY ||
                 (info->family == HAK_FAMILY_LARGE && knob != HAK_KNOB_LARGE_MIN_BYTES &&
                  knob != HAK_KNOB_MMAP_MIN_BYTES);
    return keeps && info->scale != HAK_SCALE_ENUM;
}

/* Settings that differ from the default all in one direction: what a person would try first. Of one family,
 * or of all (HAK_FAMILY_COUNT). */
static hak_candidate lean_or_rich(const hak_candidate *base, bool lean, unsigned family)
{
    hak_candidate c = *base;
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++) {
        const hak_knob_info *info = &hak_knob_infos[i];
        if (is_amount(i) && (family == HAK_FAMILY_COUNT || info->family == family))
            set_knob(&c, i, lean ? info->def / 8 : info->def * 8);
    }
    return c;
}

static uint32_t first_generation(hak_search *search, uint32_t *ids)
{
    static const hak_knob_family amounts[] = {HAK_FAMILY_TINY, HAK_FAMILY_MID, HAK_FAMILY_LARGE,
                                              HAK_FAMILY_PURGE};
    hak_candidate none = {0};
    hak_candidate starts[] = {*search->closed_form, lean_or_rich(&none, true, HAK_FAMILY_COUNT),
                              lean_or_rich(&none, false, HAK_FAMILY_COUNT),
                              lean_or_rich(search->closed_form, true, HAK_FAMILY_COUNT)};
    uint32_t count = 0;
    for (unsigned i = 0; i < HAK_COUNT_OF(starts); i++)
        ids[count++] = hak_arena_add(search->arena, &starts[i]);
    for (unsigned thp = 0; thp <= 2; thp += 2) {
        hak_candidate c = none;
        set_knob(&c, HAK_KNOB_THP, thp);
        ids[count++] = hak_arena_add(search->arena, &c);
    }
    /* Each closed-form family alone, and each direction of a family of settings. */
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES; f++) {
        hak_candidate c = none;
        copy_family(&c, search->closed_form, (hak_train_family)f);
        if (hak_candidate_has(&c, (hak_train_family)f))
            ids[count++] = hak_arena_add(search->arena, &c);
    }
    for (unsigned i = 0; i < 2 * HAK_COUNT_OF(amounts); i++) {
        hak_candidate c = lean_or_rich(&none, i % 2 == 0, amounts[i / 2]);
        ids[count++] = hak_arena_add(search->arena, &c);
    }
    return count;
}

static uint32_t next_generation(hak_search *search, const uint32_t *survivors, uint32_t survivor_count,
                                uint32_t *ids)
{
    hak_arena *arena = search->arena;
    uint32_t count = 0;
    hak_assert(survivor_count > 0);
    for (; count < survivor_count; count++)
        ids[count] = survivors[count];
    for (unsigned attempt = 0; count < POPULATION && attempt < 10 * POPULATION; attempt++) {
        const hak_candidate *a = &arena->candidates[survivors[hak_arena_random(arena) % survivor_count]];
        const hak_candidate *b = &arena->candidates[survivors[hak_arena_random(arena) % survivor_count]];
        hak_candidate child = attempt % 3 == 2 ? cross(search, a, b) : mutate(search, a);
        uint32_t before = arena->candidate_count;
        uint32_t id = hak_arena_add(arena, &child);
        if (id != UINT32_MAX && id == before)
            ids[count++] = id;
    }
    return count;
}

/* ---- halving ---- */

/* Removes duplicates, the default (it runs in every block anyway), the failed and the impossible. */
static uint32_t clean(const hak_arena *arena, uint32_t *ids, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool known = ids[i] == UINT32_MAX || ids[i] == HAK_ARENA_DEFAULT || arena->failed[ids[i]];
        for (uint32_t k = 0; k < kept && !known; k++)
            known = ids[k] == ids[i];
        if (!known)
            ids[kept++] = ids[i];
    }
    return kept;
}

static bool run_block(hak_search *search, const uint32_t *ids, uint32_t count, hak_train_phase phase)
{
    uint32_t trace = search->arena->block_count % search->trace_count;
    bool default_failed = false;
    if (!hak_arena_block(search->arena, trace, ids, count, &default_failed))
        return false;
    search->default_failed |= default_failed;
    search->tell(search->arg, phase);
    return !default_failed;
}

/* By how much a candidate breaks the constraints beyond noise; 0: it does not. */
static double excess(const hak_search *search, uint32_t id)
{
    hak_estimate time =
        hak_arena_compare(search->arena, id, HAK_ARENA_DEFAULT, HAK_METRIC_WHOLE_TIME, 0, UINT32_MAX);
    hak_estimate rss =
        hak_arena_compare(search->arena, id, HAK_ARENA_DEFAULT, HAK_METRIC_WHOLE_RSS, 0, UINT32_MAX);
    double over = fmax(time.mean - search->max_log_time, 0) + fmax(rss.mean - search->max_log_rss, 0);
    return over > search->noise_bound ? over : 0;
}

/* Best first, by what the log says against the default; what breaks a constraint comes after all that does
 * not. */
static void sort_by_gain(const hak_search *search, uint32_t *ids, uint32_t count)
{
    const hak_arena *arena = search->arena;
    double gain[MAX_IDS];
    for (uint32_t i = 0; i < count; i++) {
        double over = excess(search, ids[i]);
        hak_estimate e =
            hak_arena_compare(arena, ids[i], HAK_ARENA_DEFAULT, HAK_METRIC_OBJECTIVE, 0, UINT32_MAX);
        gain[i] = arena->failed[ids[i]] ? INFINITY : e.mean + (over > 0 ? MAX_GAIN + over : 0);
    }
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t k = i; k > 0 && gain[k] < gain[k - 1]; k--) {
            double g = gain[k];
            gain[k] = gain[k - 1];
            gain[k - 1] = g;
            uint32_t id = ids[k];
            ids[k] = ids[k - 1];
            ids[k - 1] = id;
        }
}

/* The best-rated one of those, cautiously: a rating counts less its deviation, so that luck in one block is
 * no merit. */
static void choose_best(hak_search *search)
{
    hak_arena *arena = search->arena;
    hak_arena_rate(arena, search->noise);
    uint32_t best = HAK_ARENA_DEFAULT;
    for (uint32_t i = 1; i < arena->candidate_count; i++)
        if (!arena->failed[i] &&
            arena->rating[i] - arena->deviation[i] > arena->rating[best] - arena->deviation[best] &&
            excess(search, i) == 0)
            best = i;
    search->best = best;
}

static bool halve(hak_search *search, uint32_t *ids, uint32_t *count)
{
    for (unsigned rung = 0; rung < RUNGS; rung++) {
        for (unsigned block = 0; block < 1u << rung; block++) {
            if (!search->may_go_on(search->arg, HAK_TRAIN_SEARCHING))
                return true;
            *count = clean(search->arena, ids, *count);
            ids[*count] = HAK_ARENA_DEFAULT; /* the anchor of every block; room for it is left */
            if (!run_block(search, ids, *count + 1, HAK_TRAIN_SEARCHING))
                return false;
        }
        sort_by_gain(search, ids, *count);
        *count = clean(search->arena, ids, *count);
        if (*count > SURVIVORS)
            *count = *count / 2 > SURVIVORS ? *count / 2 : SURVIVORS;
    }
    return true;
}

/* Standard deviation of what a metric differs by in the A/A blocks, from the median of the absolute
 * differences: one disturbed run does not count. */
static double deviation_of(const hak_arena *arena, hak_metric metric)
{
    double differences[NOISE_BLOCKS];
    uint32_t count = 0;
    for (size_t i = 1; i < arena->run_count && count < NOISE_BLOCKS; i += 2) {
        const hak_arena_run *a = &arena->runs[i - 1], *b = &arena->runs[i];
        differences[count++] = fabs(metric == HAK_METRIC_WHOLE_TIME ? b->log_whole_time - a->log_whole_time
                                                                    : b->log_objective - a->log_objective);
    }
    return count > 0 ? hak_estimate_of(differences, count).mean / 0.6745 : 0.05 / 0.6745;
}

bool hak_search_noise(hak_search *search)
{
    hak_arena *arena = search->arena;
    uint32_t count = 0;
    const uint32_t twice[] = {HAK_ARENA_DEFAULT, HAK_ARENA_DEFAULT};
    for (; count < NOISE_BLOCKS && search->may_go_on(search->arg, HAK_TRAIN_NOISE); count++) {
        bool default_failed = false;
        if (!hak_arena_block(arena, arena->block_count % search->trace_count, twice, 2, &default_failed))
            return false;
        if (default_failed) {
            search->default_failed = true;
            return false;
        }
        search->tell(search->arg, HAK_TRAIN_NOISE);
    }
    hak_arena_trust_time(arena, deviation_of(arena, HAK_METRIC_WHOLE_TIME));
    search->noise = fmax(deviation_of(arena, HAK_METRIC_OBJECTIVE), 1e-4);
    search->noise_bound = count > 0 ? 1.96 * search->noise / sqrt(count) : 0.05;
    return true;
}

bool hak_search_run(hak_search *search)
{
    uint32_t ids[MAX_IDS];
    uint32_t count = clean(search->arena, ids, first_generation(search, ids));
    uint32_t stale = 0;
    while (count > 0 && stale < MAX_STALE && search->may_go_on(search->arg, HAK_TRAIN_SEARCHING)) {
        search->generation++;
        uint32_t previous = search->best;
        if (!halve(search, ids, &count))
            return false;
        choose_best(search);
        stale = search->best == previous ? stale + 1 : 0;
        uint32_t survivors[SURVIVORS + 1];
        uint32_t survivor_count = count < SURVIVORS ? count : SURVIVORS;
        memcpy(survivors, ids, survivor_count * sizeof *ids);
        if (search->best != HAK_ARENA_DEFAULT)
            survivors[survivor_count++] = search->best;
        count = survivor_count > 0 ? next_generation(search, survivors, survivor_count, ids) : 0;
        count = clean(search->arena, ids, count);
    }
    return true;
}

/* ---- pruning ---- */

/* Log ratio of the best with the family over the best without it. */
static bool weigh_family(hak_search *search, uint32_t without, hak_estimate *gain)
{
    uint32_t first_block = search->arena->block_count;
    const uint32_t ids[2] = {search->best, without};
    for (unsigned block = 0; block < PRUNE_BLOCKS * PRUNE_ROUNDS; block++) {
        if (block >= PRUNE_BLOCKS && (gain->high < 0 || gain->low > 0))
            break;
        /* The first pairs may take of validation's time: what was never weighed alone may well be harmful on
         * inputs that the training traces do not resemble. */
        if (!search->may_go_on(search->arg, block < MIN_PAIRS ? HAK_TRAIN_VALIDATING : HAK_TRAIN_PRUNING))
            break;
        if (!run_block(search, ids, 2, HAK_TRAIN_PRUNING))
            return false;
        *gain = hak_arena_compare(search->arena, search->best, without, HAK_METRIC_OBJECTIVE, first_block,
                                  UINT32_MAX);
    }
    return true;
}

static hak_train_verdict judge(const hak_search *search, hak_train_family family, const hak_estimate *gain)
{
    if (search->arena->acted[search->best][family] == 0)
        return HAK_TRAIN_DID_NOT_ACT;
    if (gain->pairs < MIN_PAIRS)
        return HAK_TRAIN_UNWEIGHED;
    if (gain->high < 0 && gain->mean < -fmax(MIN_GAIN, search->noise_bound))
        return HAK_TRAIN_KEPT;
    return HAK_TRAIN_DID_NOT_PAY;
}

/* What the closed form has and the best has not: the search may have lost it to a neighbour in one noisy
 * block, so it is weighed once more, alone, before it is said not to pay. False when out of memory or the
 * default fails. */
static bool graft(hak_search *search, hak_train_family family, hak_train_family_report *report)
{
    hak_arena *arena = search->arena;
    uint32_t without = search->best;
    hak_candidate with = arena->candidates[without];
    copy_family(&with, search->closed_form, family);
    uint32_t id = hak_arena_add(arena, &with);
    report->verdict = HAK_TRAIN_DID_NOT_PAY;
    if (id == UINT32_MAX || arena->failed[id])
        return true;
    hak_estimate gain = {0, -INFINITY, INFINITY, 0};
    search->best = id;
    bool done = weigh_family(search, without, &gain);
    report->gain = gain.mean;
    report->gain_low = gain.low;
    report->gain_high = gain.high;
    if (done && judge(search, family, &gain) == HAK_TRAIN_KEPT && excess(search, id) == 0 &&
        !arena->failed[id])
        report->verdict = HAK_TRAIN_KEPT;
    else
        search->best = without;
    return done;
}

bool hak_search_prune(hak_search *search, hak_train_family_report *families)
{
    hak_arena *arena = search->arena;
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES; f++) {
        hak_train_family family = (hak_train_family)f;
        if (!hak_candidate_has(&arena->candidates[search->best], family)) {
            if (hak_candidate_has(search->closed_form, family) && !graft(search, family, &families[f]))
                return false;
            continue;
        }
        hak_candidate without = arena->candidates[search->best];
        hak_candidate_drop(&without, family);
        uint32_t id = hak_arena_add(arena, &without);
        if (id == UINT32_MAX)
            return true;
        hak_estimate gain = {0, -INFINITY, INFINITY, 0};
        if (!weigh_family(search, id, &gain))
            return false;
        families[f].gain = gain.mean;
        families[f].gain_low = gain.low;
        families[f].gain_high = gain.high;
        families[f].verdict = judge(search, family, &gain);
        if (families[f].verdict != HAK_TRAIN_KEPT && families[f].verdict != HAK_TRAIN_UNWEIGHED &&
            !arena->failed[id])
            search->best = id;
    }
    return true;
}
