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

#define DEFAULT_LIMIT_S 60
#define NOISE_UNTIL     0.12 /* shares of the time that reading has left, by phase */
#define SEARCH_UNTIL    0.50
#define PRUNE_UNTIL     0.80
#define DEFAULT_TARGET  "hakmem:balanced"
#define RECORDING_NS    60   /* that recording an event took of the program's time, about */
#define REST_MIN_SHARE  0.25 /* of the recorded time is the program's, whatever recording took */

/* ---- time and progress ---- */

double hak_training_elapsed_s(const hak_training *t)
{
    return (double)(hak_os_monotonic_ns() - t->start_ns) / 1e9;
}

bool hak_training_stopped(const hak_training *t)
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
    return !hak_journal_stops(&t->journal, hak_training_stopped(t) || hak_training_elapsed_s(t) >= end_s);
}

void hak_training_tell(void *arg, hak_train_phase phase)
{
    hak_training *t = arg;
    if (t->options->progress == NULL)
        return;
    hak_train_progress p = {.phase = phase,
                            .generation = t->search.generation,
                            .done = fmin(1, hak_training_elapsed_s(t) / t->limit_s),
                            .eta_s = fmax(0, t->limit_s - hak_training_elapsed_s(t)),
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

/* ---- before the first run ---- */

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
    return 0;
}

/* ---- the whole ---- */

static int search_best(hak_training *t)
{
    t->begun_s = hak_training_elapsed_s(t);
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
    if (!hak_arena_init(&t->arena, hak_training_trials, t, t->options->objective, t->options->seed))
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
    r->stopped = hak_training_stopped(t);
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
    if (hak_training_policy(t, chosen, &policy) != 0)
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
    if ((t->search.best != HAK_ARENA_DEFAULT || t->options->pareto != NULL) && hak_training_validate(t) != 0)
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
    return t->options->pareto != NULL && hak_training_export_front(t) != 0 ? -1 : export_policy(t);
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
