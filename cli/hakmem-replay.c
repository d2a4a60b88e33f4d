/* hakmem-replay.c: replays recorded allocations on allocators and compares them. Parses options, calls the
 * library, prints; see hakmem-replay(1). */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cache.h"
#include "cli/import_view.h"
#include "cli/replay_calibrate.h"
#include "cli/replay_html.h"
#include "cli/replay_options.h"
#include "cli/replay_results.h"
#include "cli/replay_verbs.h"
#include "cli/replay_view.h"
#include "cli/say.h"
#include "cli/train_curve.h"
#include "cli/train_view.h"
#include "core/base/os.h"

#define TOOL             "hakmem-replay"
#define REPEATS_MAX      20u
#define REPEATS_FOR_OPS  500000u        /* a short trace is repeated until it makes that many calls a run */
#define CACHE_FROM_BYTES (32 * HAK_MIB) /* smaller ones are compiled in no time */
#define EXIT_INTERRUPTED 130

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

int hak_replay_trouble(const char *subject, const char *problem)
{
    say_about(subject, problem);
    return EXIT_TROUBLE;
}

typedef struct progress_state {
    const replay_settings *settings;
    const char *path;
    uint64_t shown_ns;
    bool terminal, drawn;
} progress_state;

static void show_progress(void *context, uint32_t done, uint32_t total, const hak_target *running)
{
    progress_state *state = context;
    uint64_t now_ns = hak_os_monotonic_ns();
    if (state->settings->quiet)
        return;
    if (state->terminal) {
        fprintf(stderr, "\r\033[K%s: run %u of %u: %s", TOOL, done + 1, total, running->name);
        state->drawn = true;
    } else if (now_ns - state->shown_ns > UINT64_C(30000000000)) {
        if (state->shown_ns != 0)
            fprintf(stderr, TOOL ": run %u of %u\n", done + 1, total);
        state->shown_ns = now_ns;
    }
    fflush(stderr);
}

static hak_workload *compile(const replay_settings *s, const char *path, unsigned flags, const char *folder)
{
    hak_trace_error error = {.text = ""}, why;
    hak_import_summary imported;
    hak_reader *reader = hak_import_open(path, s->format, s->reader_flags, &imported, &error);
    if (reader != NULL && imported.format != NULL && !s->quiet) {
        fputs(TOOL ": imported ", stderr);
        hak_import_print(stderr, &imported, "  ");
    }
    hak_workload *workload = reader != NULL ? hak_workload_build_in(reader, s->order, flags,
                                                                    folder[0] != '\0' ? folder : "/var/tmp",
                                                                    HAK_WORKLOAD_SPILL_BYTES, &error)
                                            : NULL;
    if (workload == NULL)
        hak_replay_trouble(path, error.text);
    else if (hak_reader_partial(reader, &why) && !s->quiet)
        hak_replay_trouble(path, why.text);
    if (reader != NULL)
        hak_reader_close(reader);
    return workload;
}

static hak_workload *load(const replay_settings *s, const char *path)
{
    unsigned flags = s->workload_flags;
    char folder[4096];
    hak_workload_key key;
    for (size_t i = 0; i < s->target_count; i++)
        if (hak_target_policy(&s->targets[i]) != NULL)
            flags |= HAK_WORKLOAD_CONTEXTS;
    folder[0] = '\0'; /* where large workloads are kept: as asked for, or the user's cache folder */
    if (s->cache == NULL)
        cache_folder(folder, sizeof folder);
    else if (strcmp(s->cache, "none") != 0)
        snprintf(folder, sizeof folder, "%s", s->cache);
    bool kept = folder[0] != '\0' && !(s->reader_flags & HAK_READER_PARTIAL) &&
                hak_workload_key_of(path, s->format, s->order, flags, &key) == 0;
    hak_workload *workload = kept ? hak_workload_open(folder, &key) : NULL;
    if (workload != NULL)
        return workload;
    workload = compile(s, path, flags, folder);
    if (workload != NULL && kept && (s->cache != NULL || hak_workload_bytes(workload) >= CACHE_FROM_BYTES) &&
        hak_workload_save(workload, folder, &key) != 0 && s->cache != NULL && !s->quiet)
        hak_replay_trouble(folder, "the compiled trace cannot be kept there; it is replayed all the same");
    return workload;
}

static int replay(const replay_settings *s, const char *path, hak_replayed *replayed, hak_replay_setup *setup)
{
    static char programs[REPLAY_MAX_TRACES][256];
    static size_t used;
    char *program = programs[used++];
    hak_workload *workload = load(s, path);
    if (workload == NULL)
        return EXIT_TROUBLE;
    snprintf(program, sizeof programs[0], "%s", hak_workload_program(workload));
    hak_trace_error error;
    progress_state state = {s, path, 0, isatty(2) != 0, false};
    hak_compare_options options = {
        .measure = s->measure,
        .rounds = s->rounds,
        .seed = s->seed,
        .shard = s->shard,
        .shards = s->shards,
        .jobs = s->jobs,
        .detail = !s->plain,
        .baseline = s->baseline,
        .stop = &interrupted,
        .progress = show_progress,
        .context = &state,
    };
    *replayed = (hak_replayed){.path = path, .program = program, .baseline = s->baseline};
    hak_workload_info_get(workload, &replayed->info);
    if (replayed->info.operations == 0) {
        hak_workload_free(workload);
        return hak_replay_trouble(path, "holds no operations to replay");
    }
    if (options.measure.repeats == 0) {
        uint64_t wanted = REPEATS_FOR_OPS / replayed->info.operations + 1;
        options.measure.repeats = wanted < 2 ? 2 : wanted > REPEATS_MAX ? REPEATS_MAX : (uint32_t)wanted;
    }
    setup->repeats = options.measure.repeats;
    int status = hak_compare_run(workload, s->targets, s->target_count, &options, &replayed->compare, &error);
    if (state.drawn)
        fputs("\r\033[K", stderr);
    hak_workload_free(workload);
    return status == 0 ? 0 : hak_replay_trouble(path, error.text);
}

static bool measured(const replay_settings *s, const hak_replayed *replayed)
{
    bool any = false, failed = false;
    for (size_t i = 0; i < replayed->compare.row_count; i++) {
        const hak_compare_row *row = &replayed->compare.rows[i];
        any |= row->runs != 0 && (s->named || !row->target.null);
        failed |= row->problem[0] != '\0';
    }
    return any && !(failed && s->named);
}

static bool colour_wanted(const replay_settings *s)
{
    if (strcmp(s->colour, "always") == 0)
        return true;
    const char *no_colour = getenv("NO_COLOR");
    return strcmp(s->colour, "auto") == 0 && isatty(1) && (no_colour == NULL || no_colour[0] == '\0');
}

typedef struct train_watch {
    hak_train_view view;
    hak_train_curve curve;
} train_watch;

static void watch_training(const hak_train_progress *progress, void *arg)
{
    train_watch *watch = arg;
    hak_train_view_progress(progress, &watch->view);
    hak_train_curve_add(&watch->curve, progress);
}

static int train(replay_settings *s, char **traces, int count)
{
    static train_watch watch;
    watch.view.quiet = s->quiet;
    s->train.traces = (const char *const *)traces;
    s->train.trace_count = (size_t)count;
    s->train.holdouts = s->holdouts;
    s->train.reader_flags = s->reader_flags;
    s->train.seed = s->seed;
    s->train.order = s->order;
    s->train.measure = s->measure;
    s->train.jobs = s->jobs;
    s->train.stop = &interrupted;
    s->train.progress = watch_training;
    s->train.progress_arg = &watch;
    static hak_train_report report;
    hak_trace_error error;
    const char *failed;
    int status = hak_train(&s->train, &report, &error, &failed);
    if (watch.view.drawn && status != 0)
        fputs("\r\033[K", stderr);
    if (status != 0)
        return hak_replay_trouble(failed, error.text);
    hak_train_view_summary(&watch.view, &s->train, &report, s->json);
    int wrong = s->curve != NULL ? hak_train_curve_write(&watch.curve, &report, s->curve) : 0;
    if (wrong != 0)
        return hak_replay_trouble(s->curve, strerror(wrong));
    if (!say_flushed())
        return EXIT_TROUBLE;
    return interrupted ? EXIT_INTERRUPTED : 0;
}

int main(int argc, char **argv)
{
    static replay_settings s = {.rounds = 10,
                                .seed = 1,
                                .measure = {.timeout_s = 300, .cpu = -1},
                                .colour = "auto",
                                .train = {.max_time = NAN, .max_rss = NAN}};
    static hak_replayed all[REPLAY_MAX_TRACES];
    int first = 0;
    say_as(TOOL);
    if (argc > 1 && strcmp(argv[1], "import") == 0)
        return hak_replay_verb_import(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "merge") == 0)
        return hak_replay_verb_merge(argc - 1, argv + 1);
    int status = replay_options_parse(&s, argc, argv, &first);
    if (status >= 0)
        return status;
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    if (s.fail_if != NULL && replay_results_check(s.old_results, s.fail_if) != 0)
        return EXIT_TROUBLE;
    if (s.train.export_path != NULL)
        return train(&s, argv + first, argc - first);
    replay_targets_complete(&s);
    hak_replay_setup setup = {.touch = replay_touch_name(s.measure.touch),
                              .order = replay_order_name(s.order),
                              .rounds = s.rounds,
                              .seed = s.seed,
                              .colour = colour_wanted(&s)};
    size_t count = 0;
    status = 0;
    if (s.calibrate) {
        s.plain = true;
        status = replay(&s, argv[first], &all[0], &setup);
        if (status == 0)
            status = replay_calibrate(&s, &all[0], argv + first + 1);
        hak_compare_clear(&all[0].compare);
        return say_flushed() ? status : EXIT_TROUBLE;
    }
    for (int i = first; i < argc && !interrupted; i++) {
        if (replay(&s, argv[i], &all[count], &setup) != 0) {
            status = EXIT_TROUBLE;
            continue;
        }
        if (!measured(&s, &all[count]))
            status = EXIT_TROUBLE;
        if (!s.json) {
            hak_replay_print_table(stdout, &all[count], &setup);
            fflush(stdout);
        }
        count++;
    }
    if (s.json && count != 0)
        hak_replay_print_json(stdout, all, count, &setup);
    else if (count > 1)
        hak_replay_print_summary(stdout, all, count, &setup);
    if (s.html != NULL && count != 0 && hak_replay_write_html(s.html, all, count, &setup) != 0)
        status = hak_replay_trouble(s.html, "cannot write the page");
    if (s.fail_if != NULL && status == 0 && !interrupted)
        status = replay_results_fail(s.old_results, s.fail_if, all, count);
    for (size_t i = 0; i < count; i++)
        hak_compare_clear(&all[i].compare);
    if (!say_flushed())
        status = EXIT_TROUBLE;
    return interrupted ? EXIT_INTERRUPTED : status;
}
