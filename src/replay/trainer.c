/* trainer.c: one training from traces to a validated policy. Files it makes: candidates in a folder of its
 * own under $TMPDIR, removed at the end, the match log and the export. Never prints. */
#include "replay/trainer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/os.h"
#include "replay/trainer_evidence.h"
#include "replay/trainer_parts.h"
#include "replay/trainer_sites.h"

#define DEFAULT_LIMIT_S     60
#define NOISE_UNTIL         0.12 /* shares of the time that reading has left, by phase */
#define SEARCH_UNTIL        0.50
#define PRUNE_UNTIL         0.80
#define VALIDATE_ROUNDS     12
#define VALIDATE_MIN_ROUNDS 6 /* always made, beyond the limit if need be: fewer say nothing */
#define DEFAULT_TARGET      "hakmem:balanced"
#define RECORDING_NS        60   /* that recording an event took of the program's time, about */
#define REST_MIN_SHARE      0.25 /* of the recorded time is the program's, whatever recording took */

/* ---- time and progress ---- */

static double elapsed_s(const hak_training *t)
{
    return (double)(hak_os_monotonic_ns() - t->start_ns) / 1e9;
}

static bool stopped(const hak_training *t)
{
    return t->options->stop != NULL && *t->options->stop != 0;
}

static bool may_go_on(void *arg, hak_train_phase phase)
{
    hak_training *t = arg;
    double until = phase == HAK_TRAIN_NOISE       ? NOISE_UNTIL
                   : phase == HAK_TRAIN_SEARCHING ? SEARCH_UNTIL
                   : phase == HAK_TRAIN_PRUNING   ? PRUNE_UNTIL
                                                  : 1;
    double end_s = t->begun_s + until * fmax(t->limit_s - t->begun_s, 0);
    return !hak_journal_stops(&t->journal, stopped(t) || elapsed_s(t) >= end_s);
}

void hak_training_tell(void *arg, hak_train_phase phase)
{
    hak_training *t = arg;
    if (t->options->progress == NULL)
        return;
    hak_train_progress p = {.phase = phase,
                            .generation = t->search.generation,
                            .done = fmin(1, elapsed_s(t) / t->limit_s),
                            .eta_s = fmax(0, t->limit_s - elapsed_s(t)),
                            .elo = 1500,
                            .runs = t->arena.runs_made};
    uint32_t best = t->search.best;
    if (best != HAK_ARENA_DEFAULT) {
        p.best_time =
            expm1(hak_arena_compare(&t->arena, best, HAK_ARENA_DEFAULT, HAK_METRIC_TIME, 0, UINT32_MAX).mean);
        p.best_rss =
            expm1(hak_arena_compare(&t->arena, best, HAK_ARENA_DEFAULT, HAK_METRIC_RSS, 0, UINT32_MAX).mean);
        p.elo = t->arena.rating[best];
        p.elo_deviation = t->arena.deviation[best];
    }
    t->options->progress(&p, t->options->progress_arg);
}

int hak_training_fail_memory(hak_training *t)
{
    snprintf(t->error->text, sizeof t->error->text, "out of memory");
    return -1;
}

/* ---- candidates ---- */

/* The policy a candidate stands for. 0 or -1 (out of memory). */
static int make_policy(hak_training *t, const hak_candidate *candidate, hak_policy *policy)
{
    size_t len_bytes;
    hak_policy_error error;
    void *bytes = hak_policy_encode(&t->closed_form, &len_bytes, &error);
    if (bytes == NULL)
        return -1;
    int result = hak_policy_decode(bytes, len_bytes, policy, &error);
    free(bytes);
    if (result != 0)
        return -1;
    if (!candidate->families[HAK_TRAIN_CLASSES])
        policy->class_count = 0;
    if (!candidate->families[HAK_TRAIN_CACHES])
        policy->cache_count = 0;
    for (unsigned f = HAK_TRAIN_LIFETIME; f < HAK_TRAIN_KNOBS; f++)
        if (!candidate->families[f] && t->closed_candidate.families[f] &&
            !hak_sites_drop(policy, (hak_train_family)f)) {
            hak_policy_clear(policy);
            return -1;
        }
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++) {
        if (hak_knob_infos[i].family == HAK_FAMILY_GUARD && candidate->families[HAK_TRAIN_LIFETIME])
            continue; /* the closed form's */
        policy->knob_set[i] = candidate->knob_set[i];
        policy->knobs[i] = candidate->knobs[i];
    }
    policy->state = HAK_STATE_FROZEN;
    return 0;
}

static int target_of(hak_training *t, const hak_candidate *candidate, hak_target *target)
{
    hak_policy policy;
    hak_policy_error error;
    if (make_policy(t, candidate, &policy) != 0)
        return -1;
    int result = hak_policy_write(&policy, t->candidate_path, false, &error);
    hak_policy_clear(&policy);
    if (result != 0) {
        snprintf(t->error->text, sizeof t->error->text, "candidate policy: %.200s", error.text);
        return -1;
    }
    char name[400];
    snprintf(name, sizeof name, "hakmem:fast+%s", t->candidate_path);
    return hak_target_parse(name, target, t->error);
}

static int measure_trial(hak_training *t, uint32_t trace, const hak_candidate *candidate, hak_trial *trial)
{
    hak_target target = t->default_target;
    if (candidate != NULL && target_of(t, candidate, &target) != 0)
        return -1;
    /* One pass, unless the caller wants more: a program runs once, and pays for each OS page then. */
    hak_measure_options options = t->options->measure;
    hak_measure measure;
    memset(&measure, 0, sizeof measure);
    if (hak_measure_run(t->materials[trace].workload, &target, &options, &measure, t->error) != 0)
        return stopped(t) ? 1 : -1; /* a key that stops us stops the worker, too */
    trial->ns_per_op = measure.ns_per_op;
    if (t->materials[trace].single && measure.cpu_ns != 0 && measure.operations != 0)
        trial->ns_per_op = (double)measure.cpu_ns / (double)measure.operations;
    trial->rss_bytes = (double)measure.peak_rss_bytes;
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES; f++)
        trial->acted[f] = candidate != NULL && hak_candidate_has(candidate, (hak_train_family)f)
                              ? hak_train_acted(&measure, f)
                              : 0;
    return 0;
}

static int run_trial(void *arg, uint32_t trace, uint32_t id, hak_trial *trial)
{
    hak_training *t = arg;
    const hak_candidate *candidate = id == HAK_ARENA_DEFAULT ? NULL : &t->arena.candidates[id];
    int status = t->journal.reading ? 0 : measure_trial(t, trace, candidate, trial);
    hak_journal_run(&t->journal, t->arena.block_count, trace, id, trial, &status);
    return status;
}

/* What the program did and held beside its heap: a replay knows nothing of it, and yet a policy is worth what
 * it changes of the whole. */
static hak_arena_rest rest_of(const hak_material *m, const hak_measure *measure)
{
    hak_arena_rest rest = {0, 0};
    double operations = (double)measure->operations;
    if (m->program_ns != 0 && operations > 0) {
        double program_ns = (double)m->program_ns;
        double own_ns = fmax(program_ns - RECORDING_NS * operations, REST_MIN_SHARE * program_ns);
        rest.ns_per_op = fmax(own_ns / operations - measure->ns_per_op, 0);
    }
    if (m->program_rss_bytes > measure->peak_rss_bytes)
        rest.rss_bytes = (double)(m->program_rss_bytes - measure->peak_rss_bytes);
    return rest;
}

/* As the log has it, where one is read. */
static void take_rests(hak_training *t)
{
    for (size_t i = 0; i < t->material_count; i++) {
        char text[96];
        snprintf(text, sizeof text, "%a %a", t->rests[i].ns_per_op, t->rests[i].rss_bytes);
        hak_journal_fact(&t->journal, "rest", text, sizeof text);
        if (sscanf(text, "%la %la", &t->rests[i].ns_per_op, &t->rests[i].rss_bytes) != 2 ||
            !(t->rests[i].ns_per_op >= 0) || !(t->rests[i].rss_bytes >= 0))
            t->rests[i] = (hak_arena_rest){0, 0};
    }
    t->arena.rests = t->rests;
}

/* One run of the default on each trace: what the heap's share is. */
static int calibrate(hak_training *t)
{
    if (hak_target_parse(DEFAULT_TARGET, &t->default_target, t->error) != 0)
        return -1;
    for (size_t i = 0; i < t->material_count; i++) {
        hak_measure measure;
        hak_measure_options options = t->options->measure;
        options.repeats = 1;
        t->failed = t->materials[i].path;
        if (hak_measure_run(t->materials[i].workload, &t->default_target, &options, &measure, t->error) != 0)
            return -1;
        t->rests[i] = rest_of(&t->materials[i], &measure);
    }
    t->failed = NULL;
    return 0;
}

static int make_folder(hak_training *t)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(t->folder, sizeof t->folder, "%s/hakmem-train-XXXXXX", tmp != NULL && *tmp != 0 ? tmp : "/tmp");
    if (mkdtemp(t->folder) == NULL) {
        snprintf(t->error->text, sizeof t->error->text, "no folder for candidates in '%s': %s",
                 tmp != NULL ? tmp : "/tmp", strerror(errno));
        t->folder[0] = 0;
        return -1;
    }
    snprintf(t->candidate_path, sizeof t->candidate_path, "%s/candidate.policy", t->folder);
    return 0;
}

/* ---- validation ---- */

static bool enough(hak_training *t, uint32_t round)
{
    if (round < VALIDATE_MIN_ROUNDS)
        return t->journal.broken;
    return round >= VALIDATE_ROUNDS ||
           hak_journal_stops(&t->journal, stopped(t) || elapsed_s(t) >= t->limit_s);
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

static void report_trace(hak_training *t, size_t index, uint32_t first_block)
{
    hak_train_validation *v = &t->report->validations[t->report->validation_count++];
    const hak_arena *arena = &t->arena;
    uint32_t best = t->search.best, trace = (uint32_t)index;
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
    uint32_t ids[4]; /* the default, the best, and what is tried where that is refused */
    uint32_t count;
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

static finalists finalists_of(hak_training *t)
{
    finalists f = {.ids = {HAK_ARENA_DEFAULT}, .count = 1};
    add_finalist(&f, t->search.best);
    add_finalist(&f, without_unweighed(t));
    hak_arena_rate(&t->arena, t->search.noise);
    add_finalist(&f, frugal_best(&t->arena));
    return f;
}

static void choose_valid(hak_training *t, const finalists *f, uint32_t first_block)
{
    uint32_t whole = t->search.best;
    char reason[sizeof t->report->reason] = "";
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

static int validate(hak_training *t)
{
    size_t first = t->options->holdout_count != 0 ? t->options->trace_count : 0;
    size_t end = t->material_count;
    t->report->held_out = first != 0;
    uint32_t first_block = t->arena.block_count;
    const finalists chosen = finalists_of(t);
    for (uint32_t round = 0; !enough(t, round); round++)
        for (size_t i = first; i < end; i++) {
            bool default_failed = false;
            if (!hak_arena_block(&t->arena, (uint32_t)i, chosen.ids, chosen.count, &default_failed))
                return hak_training_fail_memory(t);
            if (default_failed) {
                t->failed = t->materials[i].path;
                return -1;
            }
            hak_training_tell(t, HAK_TRAIN_VALIDATING);
        }
    choose_valid(t, &chosen, first_block);
    for (size_t i = first; i < end; i++)
        report_trace(t, i, first_block);
    return 0;
}

/* ---- the whole ---- */

static int search_best(hak_training *t)
{
    t->begun_s = elapsed_s(t);
    t->search = (hak_search){
        .arena = &t->arena,
        .closed_form = &t->closed_candidate,
        .trace_count = (uint32_t)t->options->trace_count,
        .max_log_time = log1p(isnan(t->options->max_time) ? hak_objective_max_time(t->options->objective)
                                                          : t->options->max_time),
        .max_log_rss = log1p(isnan(t->options->max_rss) ? hak_objective_max_rss(t->options->objective)
                                                        : t->options->max_rss),
        .may_go_on = may_go_on,
        .tell = hak_training_tell,
        .arg = t};
    if (!hak_arena_init(&t->arena, run_trial, t, t->options->objective, t->options->seed))
        return hak_training_fail_memory(t);
    take_rests(t);
    if (!hak_search_noise(&t->search) || !hak_search_run(&t->search) ||
        (t->search.best != HAK_ARENA_DEFAULT && !hak_search_prune(&t->search, t->report->families)))
        return t->search.default_failed ? -1 : hak_training_fail_memory(t);
    t->report->noise = t->search.noise_bound;
    for (uint32_t i = 1; i < t->arena.candidate_count; i++)
        if (!t->arena.failed[i])
            return 0;
    /* Not one policy could be run: that is no verdict on policies. The error is the last run's. */
    return t->arena.candidate_count > 1 ? -1 : 0;
}

static void fill_report(hak_training *t)
{
    hak_train_report *r = t->report;
    hak_arena_rate(&t->arena, t->search.noise);
    r->stopped = stopped(t);
    r->generations = t->search.generation;
    r->candidates = t->arena.candidate_count;
    r->runs = t->arena.runs_made;
    r->elo = t->arena.rating[t->search.best];
    r->elo_deviation = t->arena.deviation[t->search.best];
}

static int export_policy(hak_training *t)
{
    hak_policy policy;
    hak_policy_error error;
    static const hak_candidate none;
    const hak_candidate *chosen = t->report->frozen ? &t->arena.candidates[t->search.best] : &none;
    if (make_policy(t, chosen, &policy) != 0)
        return hak_training_fail_memory(t);
    int result = -1;
    t->report->sites = policy.node_count;
    policy.created_unix_s = t->created_unix_s;
    if (t->report->program[0] != 0)
        policy.program = strdup(t->report->program);
    if (!hak_train_evidence(t->options, t->report, &policy)) {
        hak_training_fail_memory(t);
    } else if (t->options->export_path == NULL) {
        result = 0;
    } else {
        t->failed = t->options->export_path;
        result = hak_policy_write(&policy, t->options->export_path, t->options->export_text, &error);
        if (result != 0)
            snprintf(t->error->text, sizeof t->error->text, "%s", error.text);
        struct stat info;
        if (result == 0 && stat(t->options->export_path, &info) == 0)
            t->report->policy_bytes = (uint64_t)info.st_size;
    }
    hak_policy_clear(&policy);
    return result;
}

/* What a log that is read back has to say before its runs, or this machine. */
static int open_journal(hak_training *t)
{
    const char *path = t->options->replay_log != NULL ? t->options->replay_log : t->options->match_log;
    char created[32];
    snprintf(created, sizeof created, "%lld", (long long)time(NULL));
    hak_train_machine(t->report->machine, sizeof t->report->machine);
    if (path != NULL) {
        t->failed = path;
        if (hak_journal_open(&t->journal, path, t->options->replay_log != NULL, t->error) != 0)
            return -1;
        t->failed = NULL;
    }
    hak_journal_fact(&t->journal, "created", created, sizeof created);
    hak_journal_fact(&t->journal, "machine", t->report->machine, sizeof t->report->machine);
    t->created_unix_s = (uint64_t)strtoull(created, NULL, 10);
    return 0;
}

static int judge(hak_training *t)
{
    if (t->search.best == HAK_ARENA_DEFAULT)
        snprintf(t->report->reason, sizeof t->report->reason, "no candidate was better than the default");
    else if (validate(t) != 0)
        return -1;
    fill_report(t);
    return 0;
}

static int train(hak_training *t)
{
    if (open_journal(t) != 0 || make_folder(t) != 0 || hak_training_read(t) != 0 || hak_training_fit(t) != 0)
        return -1;
    hak_training_close_readers(t);
    if ((!t->journal.reading && calibrate(t) != 0) || search_best(t) != 0 || judge(t) != 0 ||
        t->journal.broken) {
        if (t->journal.broken)
            t->failed = t->options->replay_log;
        return -1;
    }
    char ended[8];
    snprintf(ended, sizeof ended, "%d", t->report->stopped);
    hak_journal_fact(&t->journal, "ended_early", ended, sizeof ended);
    t->report->stopped = ended[0] == '1';
    return export_policy(t);
}

static void clean_up(hak_training *t)
{
    hak_training_close_readers(t);
    for (size_t i = 0; i < t->material_count; i++)
        if (t->materials[i].workload != NULL)
            hak_workload_free(t->materials[i].workload);
    free(t->materials);
    hak_policy_clear(&t->closed_form);
    hak_arena_clear(&t->arena);
    if (t->folder[0] != 0) {
        unlink(t->candidate_path);
        rmdir(t->folder);
    }
}

int hak_train(const hak_train_options *options, hak_train_report *report, hak_trace_error *error,
              const char **failed)
{
    hak_training *t = calloc(1, sizeof *t);
    memset(report, 0, sizeof *report);
    memset(error, 0, sizeof *error);
    *failed = NULL;
    if (t == NULL || options->trace_count == 0 ||
        options->trace_count + options->holdout_count > HAK_TRAIN_MAX_TRACES) {
        snprintf(error->text, sizeof error->text, "between 1 and %d traces can be trained on",
                 HAK_TRAIN_MAX_TRACES);
        free(t);
        return -1;
    }
    t->options = options;
    t->report = report;
    t->error = error;
    t->start_ns = hak_os_monotonic_ns();
    t->limit_s = options->time_limit_s > 0 ? options->time_limit_s : DEFAULT_LIMIT_S;
    hak_policy_init(&t->closed_form);
    int result = train(t);
    if (hak_journal_close(&t->journal, &t->arena) != 0 && result == 0) {
        t->failed = options->match_log;
        result = -1;
    }
    *failed = t->failed;
    clean_up(t);
    free(t);
    return result;
}
