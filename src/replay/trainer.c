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
#include "replay/trainer_classes.h"
#include "replay/trainer_evidence.h"
#include "replay/trainer_search.h"
#include "replay/trainer_sites.h"

#define DEFAULT_LIMIT_S     60
#define NOISE_UNTIL         0.12 /* shares of the time limit, by phase */
#define SEARCH_UNTIL        0.60
#define PRUNE_UNTIL         0.80
#define VALIDATE_ROUNDS     12
#define VALIDATE_MIN_ROUNDS 6        /* always made, beyond the limit if need be: fewer say nothing */
#define RUN_MIN_NS          30000000 /* shorter replays are repeated within a run */
#define RUN_MAX_REPEATS     64
#define CLASSES_MIN_GAIN    0.005 /* of requested bytes */
#define STABLE_MIN_COVERED  0.05  /* foretelling a trace by the others: share of blocks decided */
#define STABLE_MAX_WRONG    0.02
#define GATED_SHARE         0.3 /* of the small allocations; all where only memory counts */
#define DEFAULT_TARGET      "hakmem:balanced"

/* A trace while it is used: the first trace_count are trained on, the others held out. */
typedef struct material {
    const char *path;
    hak_reader *reader; /* closed once the closed form is done */
    hak_train_trace digest;
    hak_workload *workload;
    uint32_t repeats;
    bool single; /* one thread at a time: processor time is the same as time, less what others took */
} material;

typedef struct training {
    const hak_train_options *options;
    hak_train_report *report;
    hak_trace_error *error;
    const char *failed;
    uint64_t start_ns;
    double limit_s;
    material *materials;
    size_t material_count;
    hak_policy closed_form; /* all that the closed form decides */
    hak_candidate closed_candidate;
    hak_arena arena;
    hak_search search;
    char folder[256];
    char candidate_path[300];
    hak_target default_target;
} training;

/* ---- time and progress ---- */

static double elapsed_s(const training *t)
{
    return (double)(hak_os_monotonic_ns() - t->start_ns) / 1e9;
}

static bool stopped(const training *t)
{
    return t->options->stop != NULL && *t->options->stop != 0;
}

static bool may_go_on(void *arg, hak_train_phase phase)
{
    const training *t = arg;
    double until = phase == HAK_TRAIN_NOISE       ? NOISE_UNTIL
                   : phase == HAK_TRAIN_SEARCHING ? SEARCH_UNTIL
                   : phase == HAK_TRAIN_PRUNING   ? PRUNE_UNTIL
                                                  : 1;
    return !stopped(t) && elapsed_s(t) < until * t->limit_s;
}

static void tell(void *arg, hak_train_phase phase)
{
    training *t = arg;
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

/* ---- reading ---- */

static int fail_memory(training *t)
{
    snprintf(t->error->text, sizeof t->error->text, "out of memory");
    return -1;
}

static int read_material(training *t, material *m, bool closed_form)
{
    t->failed = m->path;
    m->reader = hak_reader_open(m->path, t->options->reader_flags, t->error);
    if (m->reader == NULL)
        return -1;
    if (closed_form && hak_train_trace_read(m->reader, &m->digest, t->error) != 0)
        return -1;
    if (hak_reader_rewind(m->reader, t->error) != 0)
        return -1;
    m->workload = hak_workload_build(m->reader, t->options->order, HAK_WORKLOAD_CONTEXTS, t->error);
    if (m->workload == NULL)
        return -1;
    hak_workload_info info;
    hak_workload_info_get(m->workload, &info);
    if (info.allocations == 0) {
        snprintf(t->error->text, sizeof t->error->text, "holds no allocation to learn from");
        return -1;
    }
    m->single = info.threads_max <= 1;
    t->failed = NULL;
    return 0;
}

static int read_all(training *t)
{
    const hak_train_options *o = t->options;
    t->material_count = o->trace_count + o->holdout_count;
    t->materials = calloc(t->material_count, sizeof *t->materials);
    if (t->materials == NULL)
        return fail_memory(t);
    for (size_t i = 0; i < t->material_count; i++) {
        bool training_trace = i < o->trace_count;
        t->materials[i].path = training_trace ? o->traces[i] : o->holdouts[i - o->trace_count];
        tell(t, HAK_TRAIN_READING);
        if (read_material(t, &t->materials[i], training_trace) != 0)
            return -1;
    }
    return 0;
}

/* Program and its build, from the first trace. */
static void name_program(training *t)
{
    const hak_reader *reader = t->materials[0].reader;
    const hak_trace_head *head = hak_reader_head(reader);
    const char *slash = strrchr(head->program, '/');
    snprintf(t->report->program, sizeof t->report->program, "%s", slash != NULL ? slash + 1 : head->program);
    uint32_t count;
    const hak_trace_module *modules = hak_reader_modules(reader, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(modules[i].path, head->program) != 0)
            continue;
        for (unsigned k = 0; k < modules[i].build_id_bytes && k < 20; k++)
            snprintf(t->report->build_id + 2 * k, 3, "%02x", modules[i].build_id[k]);
        return;
    }
}

/* ---- closed form ---- */

static hak_site_source source_of(const material *m)
{
    hak_site_source s = {.digest = &m->digest, .reader = m->reader};
    s.nodes = hak_reader_nodes(m->reader, &s.node_count);
    s.rows = hak_reader_rows(m->reader, &s.row_count);
    s.modules = hak_reader_modules(m->reader, &s.module_count);
    return s;
}

/* Builds on all traces but one and asks about that one, for each: contexts that mean something in one run
 * only (an interpreter's) decide little there, or wrongly. */
static bool lifetimes_are_stable(const hak_site_source *sources, size_t count,
                                 const hak_site_options *options)
{
    if (count < 2)
        return true;
    double covered_sum = 0, wrong_max = 0;
    hak_site_source *others = calloc(count, sizeof *others);
    bool done = others != NULL;
    for (size_t out = 0; out < count && done; out++) {
        size_t kept = 0;
        for (size_t i = 0; i < count; i++)
            if (i != out)
                others[kept++] = sources[i];
        hak_policy policy;
        hak_site_result result;
        double covered, wrong;
        hak_policy_init(&policy);
        done = hak_sites_build(others, kept, options, &policy, &result);
        if (done) {
            hak_sites_foretell(&policy, &sources[out], &covered, &wrong);
            covered_sum += covered;
            wrong_max = fmax(wrong_max, wrong);
        }
        hak_policy_clear(&policy);
    }
    free(others);
    return done && covered_sum / (double)count >= STABLE_MIN_COVERED && wrong_max <= STABLE_MAX_WRONG;
}

static int fit_sites(training *t, const hak_site_source *sources)
{
    size_t count = t->options->trace_count;
    hak_site_options options = {.families = {[HAK_TRAIN_LIFETIME] = true}};
    hak_train_family_report *families = t->report->families;
    bool stable = lifetimes_are_stable(sources, count, &options);
    options = (hak_site_options){.families = {[HAK_TRAIN_LIFETIME] = stable,
                                              [HAK_TRAIN_RETENTION] = true,
                                              [HAK_TRAIN_SITE_THP] = true,
                                              [HAK_TRAIN_SLACK] = stable},
                                 .gated_share = t->options->objective == HAK_OBJECTIVE_RSS ? 1 : GATED_SHARE};
    if (!stable) {
        families[HAK_TRAIN_LIFETIME].verdict = HAK_TRAIN_UNSTABLE;
        families[HAK_TRAIN_SLACK].verdict = HAK_TRAIN_UNSTABLE;
    }
    hak_site_result result = {0};
    if (!hak_sites_build(sources, count, &options, &t->closed_form, &result))
        return fail_memory(t);
    for (unsigned f = HAK_TRAIN_LIFETIME; f < HAK_TRAIN_KNOBS; f++) {
        families[f].decisions = result.decided[f];
        t->closed_candidate.families[f] = result.decided[f] != 0;
    }
    return 0;
}

static int fit_closed_form(training *t)
{
    size_t count = t->options->trace_count;
    hak_site_source sources[HAK_TRAIN_MAX_TRACES];
    const hak_train_trace *digests[HAK_TRAIN_MAX_TRACES];
    for (size_t i = 0; i < count; i++) {
        sources[i] = source_of(&t->materials[i]);
        digests[i] = &t->materials[i].digest;
    }
    double gain;
    uint32_t classes = hak_fit_classes(digests, count, t->closed_form.classes, &gain);
    if (gain >= CLASSES_MIN_GAIN) {
        t->closed_form.class_count = classes;
        t->closed_candidate.families[HAK_TRAIN_CLASSES] = true;
        t->report->families[HAK_TRAIN_CLASSES].decisions = classes;
    }
    return fit_sites(t, sources);
}

static void close_readers(training *t)
{
    for (size_t i = 0; i < t->material_count; i++) {
        hak_train_trace_clear(&t->materials[i].digest);
        if (t->materials[i].reader != NULL)
            hak_reader_close(t->materials[i].reader);
        t->materials[i].reader = NULL;
    }
}

/* ---- candidates ---- */

/* The policy a candidate stands for. 0 or -1 (out of memory). */
static int make_policy(training *t, const hak_candidate *candidate, hak_policy *policy)
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
    for (unsigned f = HAK_TRAIN_LIFETIME; f < HAK_TRAIN_KNOBS; f++)
        if (!candidate->families[f] && t->closed_candidate.families[f] &&
            !hak_sites_drop(policy, (hak_train_family)f)) {
            hak_policy_clear(policy);
            return -1;
        }
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++) {
        policy->knob_set[i] = candidate->knob_set[i];
        policy->knobs[i] = candidate->knobs[i];
    }
    policy->state = HAK_STATE_FROZEN;
    return 0;
}

static int target_of(training *t, const hak_candidate *candidate, hak_target *target)
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

static int run_trial(void *arg, uint32_t trace, const hak_candidate *candidate, hak_trial *trial)
{
    training *t = arg;
    hak_target target = t->default_target;
    if (candidate != NULL && target_of(t, candidate, &target) != 0)
        return -1;
    hak_measure_options options = t->options->measure;
    if (options.repeats == 0)
        options.repeats = t->materials[trace].repeats;
    hak_measure measure;
    memset(&measure, 0, sizeof measure);
    if (hak_measure_run(t->materials[trace].workload, &target, &options, &measure, t->error) != 0)
        return -1;
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

/* Short replays are repeated within a run, so that process start and timer do not count. */
static int calibrate(training *t)
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
        uint64_t repeats = measure.wall_ns == 0 ? RUN_MAX_REPEATS : 1 + RUN_MIN_NS / measure.wall_ns;
        t->materials[i].repeats = repeats < RUN_MAX_REPEATS ? (uint32_t)repeats : RUN_MAX_REPEATS;
    }
    t->failed = NULL;
    return 0;
}

static int make_folder(training *t)
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

static bool enough(const training *t, uint32_t round)
{
    if (round < VALIDATE_MIN_ROUNDS)
        return false;
    return round >= VALIDATE_ROUNDS || stopped(t) || elapsed_s(t) >= t->limit_s;
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

static void report_trace(training *t, size_t index, uint32_t first_block)
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
    v->objective = hak_train_change_of(&objective);
    v->rounds = objective.pairs;
    v->decisions = decisions_of(arena, best);
}

/* Whether the changes are a gain that nothing else has paid for. */
static void conclude(training *t, uint32_t first_block)
{
    hak_train_report *r = t->report;
    hak_estimate e[3];
    for (unsigned m = 0; m < 3; m++)
        e[m] = hak_arena_compare(&t->arena, t->search.best, 0, (hak_metric)m, first_block, UINT32_MAX);
    const char *what = r->held_out ? "held-out traces" : "training traces";
    double worst_time = t->options->objective == HAK_OBJECTIVE_RSS ? 0.05 : 0.01;
    double worst_rss = t->options->objective == HAK_OBJECTIVE_TIME ? 0.10 : 0.01;
    if (decisions_of(&t->arena, t->search.best) == 0)
        snprintf(r->reason, sizeof r->reason, "the allocator's counters show no decision of the policy");
    else if (e[HAK_METRIC_OBJECTIVE].high >= 0)
        snprintf(r->reason, sizeof r->reason, "no gain beyond noise on the %s (%+.1f%% [%+.1f, %+.1f])", what,
                 100 * expm1(e[0].mean), 100 * expm1(e[0].low), 100 * expm1(e[0].high));
    else if (e[HAK_METRIC_TIME].low > 0 && e[HAK_METRIC_TIME].mean > worst_time)
        snprintf(r->reason, sizeof r->reason, "it would cost time on the %s (%+.1f%%)", what,
                 100 * expm1(e[HAK_METRIC_TIME].mean));
    else if (e[HAK_METRIC_RSS].low > 0 && e[HAK_METRIC_RSS].mean > worst_rss)
        snprintf(r->reason, sizeof r->reason, "it would cost memory on the %s (%+.1f%%)", what,
                 100 * expm1(e[HAK_METRIC_RSS].mean));
    else {
        r->frozen = true;
        snprintf(r->reason, sizeof r->reason, "%s objective %+.1f%% [%+.1f, %+.1f] on the %s",
                 hak_objective_text(t->options->objective), 100 * expm1(e[0].mean), 100 * expm1(e[0].low),
                 100 * expm1(e[0].high), what);
    }
}

static int validate(training *t)
{
    size_t first = t->options->holdout_count != 0 ? t->options->trace_count : 0;
    size_t end = t->material_count;
    t->report->held_out = first != 0;
    uint32_t first_block = t->arena.block_count;
    const uint32_t ids[] = {HAK_ARENA_DEFAULT, t->search.best};
    for (uint32_t round = 0; !enough(t, round); round++)
        for (size_t i = first; i < end; i++) {
            bool default_failed = false;
            if (!hak_arena_block(&t->arena, (uint32_t)i, ids, 2, &default_failed))
                return fail_memory(t);
            if (default_failed) {
                t->failed = t->materials[i].path;
                return -1;
            }
            tell(t, HAK_TRAIN_VALIDATING);
        }
    for (size_t i = first; i < end; i++)
        report_trace(t, i, first_block);
    if (t->arena.failed[t->search.best])
        snprintf(t->report->reason, sizeof t->report->reason, "the policy made a held-out replay fail");
    else
        conclude(t, first_block);
    return 0;
}

/* ---- the whole ---- */

static int search_best(training *t)
{
    t->search = (hak_search){.arena = &t->arena,
                             .closed_form = &t->closed_candidate,
                             .trace_count = (uint32_t)t->options->trace_count,
                             .may_go_on = may_go_on,
                             .tell = tell,
                             .arg = t};
    if (!hak_arena_init(&t->arena, run_trial, t, t->options->objective, t->options->seed))
        return fail_memory(t);
    if (!hak_search_noise(&t->search) || !hak_search_run(&t->search) ||
        (t->search.best != HAK_ARENA_DEFAULT && !hak_search_prune(&t->search, t->report->families)))
        return t->search.default_failed ? -1 : fail_memory(t);
    t->report->noise = t->search.noise_bound;
    for (uint32_t i = 1; i < t->arena.candidate_count; i++)
        if (!t->arena.failed[i])
            return 0;
    /* Not one policy could be run: that is no verdict on policies. The error is the last run's. */
    return t->arena.candidate_count > 1 ? -1 : 0;
}

static void fill_report(training *t)
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

static int export_policy(training *t)
{
    hak_policy policy;
    hak_policy_error error;
    static const hak_candidate none;
    const hak_candidate *chosen = t->report->frozen ? &t->arena.candidates[t->search.best] : &none;
    if (make_policy(t, chosen, &policy) != 0)
        return fail_memory(t);
    int result = -1;
    t->report->sites = policy.node_count;
    policy.created_unix_s = (uint64_t)time(NULL);
    if (t->report->program[0] != 0)
        policy.program = strdup(t->report->program);
    if (!hak_train_evidence(t->options, t->report, &policy)) {
        fail_memory(t);
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

static int train(training *t)
{
    if (make_folder(t) != 0 || read_all(t) != 0)
        return -1;
    name_program(t);
    if (fit_closed_form(t) != 0)
        return -1;
    close_readers(t);
    if (calibrate(t) != 0 || search_best(t) != 0)
        return -1;
    if (t->search.best == HAK_ARENA_DEFAULT)
        snprintf(t->report->reason, sizeof t->report->reason, "no candidate was better than the default");
    else if (validate(t) != 0)
        return -1;
    fill_report(t);
    if (t->options->match_log != NULL) {
        t->failed = t->options->match_log;
        if (hak_train_write_log(t->options->match_log, &t->arena, t->error) != 0)
            return -1;
    }
    return export_policy(t);
}

static void clean_up(training *t)
{
    close_readers(t);
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
    training *t = calloc(1, sizeof *t);
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
    *failed = t->failed;
    clean_up(t);
    free(t);
    return result;
}
