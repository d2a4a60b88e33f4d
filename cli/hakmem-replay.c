/* hakmem-replay.c: replays recorded allocations on allocators and compares them. Parses options, calls the
 * library, prints; see hakmem-replay(1). */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/import_view.h"
#include "cli/replay_verbs.h"
#include "cli/replay_view.h"
#include "cli/train_view.h"
#include "core/base/os.h"
#include "replay/compare.h"

#define TOOL             "hakmem-replay"
#define MAX_TARGETS      64
#define MAX_TRACES       256
#define REPEATS_MAX      20u
#define REPEATS_FOR_OPS  500000u /* a short trace is repeated until it makes that many calls a run */
#define EXIT_TROUBLE     2
#define EXIT_INTERRUPTED 130

typedef struct settings {
    hak_target targets[MAX_TARGETS];
    size_t target_count;
    size_t baseline;
    bool named; /* the targets were asked for: one that fails is trouble */
    hak_order order;
    hak_measure_options measure;
    uint32_t rounds;
    uint64_t seed;
    unsigned reader_flags;
    const char *format; /* of imported recordings; NULL: told from their contents */
    bool json, quiet;
    const char *colour;
    hak_train_options train; /* with export_path set: learn instead of compare */
    const char *holdouts[HAK_TRAIN_MAX_TRACES];
    const char *train_option; /* the last option given that only learning has, or NULL */
    bool learning;            /* --mode=learning, and no other */
} settings;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static const struct {
    const char *name;
    int value;
} touches[] = {{"pages", HAK_TOUCH_PAGES}, {"none", HAK_TOUCH_NONE}, {"whole", HAK_TOUCH_WHOLE}},
  orders[] = {{"window", HAK_ORDER_WINDOW}, {"edges", HAK_ORDER_EDGES}, {"strict", HAK_ORDER_STRICT}};

typedef enum option_id {
    OPTION_MODE = 256,
    OPTION_TARGET,
    OPTION_TOUCH,
    OPTION_ROUNDS,
    OPTION_REPEATS,
    OPTION_ORDER,
    OPTION_SEED,
    OPTION_CPU,
    OPTION_TIMEOUT,
    OPTION_PARTIAL,
    OPTION_FORMAT,
    OPTION_JSON,
    OPTION_COLOUR,
    OPTION_EXPORT,
    OPTION_TEXT,
    OPTION_HOLDOUT,
    OPTION_OBJECTIVE,
    OPTION_TIME_LIMIT,
    OPTION_MATCH_LOG,
    OPTION_VERSION
} option_id;

/* One row an option: parsing, limits and help come from here. */
typedef struct option_row {
    const char *name;
    const char *argument; /* NULL: takes none */
    int id;
    long min, max; /* of a number */
    const char *help;
} option_row;

static const option_row option_rows[] = {
    {"mode", "M[,M...]|all", OPTION_MODE, 0, 0,
     "hakmem's mode: minimal, fast, balanced, learning, research; glibc beside it"},
    {"target", "T[,T...]", OPTION_TARGET, 0, 0,
     "null, glibc, mimalloc, jemalloc, tcmalloc, hakmem:MODE, hakmem:fast+POLICY,\n"
     "                           /path/to/library.so; with settings as NAME:VARIABLE=VALUE"},
    {"touch", "pages|none|whole", OPTION_TOUCH, 0, 0,
     "what is written to a new block: a byte per OS page (default), nothing, all"},
    {"rounds", "N", OPTION_ROUNDS, 1, 1000, "interleaved rounds, each in a fresh process (default 10)"},
    {"repeats", "N", OPTION_REPEATS, 1, 10000,
     "passes per process; the first is cold (default: by length, 2 to 20)"},
    {"order", "window|edges|strict", OPTION_ORDER, 0, 0, "how far threads may run apart (default window)"},
    {"seed", "N", OPTION_SEED, 0, 0x7fffffff, "of the order within rounds and of the intervals (default 1)"},
    {"cpu", "N", OPTION_CPU, 0, 1023, "run on that processor only"},
    {"timeout", "SECONDS", OPTION_TIMEOUT, 0, 1000000, "for one run; 0 for none (default 300)"},
    {"partial", NULL, OPTION_PARTIAL, 0, 0, "use what is whole of a trace that was cut off"},
    {"format", "NAME", OPTION_FORMAT, 0, 0,
     "of recordings by other tools (default: told from the contents; see import --help)"},
    {"json", NULL, OPTION_JSON, 0, 0, "print JSON"},
    {"color", "auto|always|never", OPTION_COLOUR, 0, 0,
     "mark significant differences by colour (default auto)"},
    {"export", "FILE", OPTION_EXPORT, 0, 0, "with --mode=learning: fit a policy to the traces and write it"},
    {"holdout", "TRACE", OPTION_HOLDOUT, 0, 0,
     "learning: judge the policy on this trace, not trained on; may be given several times"},
    {"objective", "balanced|time|rss", OPTION_OBJECTIVE, 0, 0,
     "learning: what to make better (default balanced)"},
    {"time-limit", "SECONDS", OPTION_TIME_LIMIT, 1, 1000000, "learning: for the whole (default 60)"},
    {"match-log", "FILE", OPTION_MATCH_LOG, 0, 0, "learning: write every run that a decision rests on"},
    {"text", NULL, OPTION_TEXT, 0, 0, "learning: write the policy as text"},
    {"quiet", NULL, 'q', 0, 0, "no progress"},
    {"help", NULL, 'h', 0, 0, "this text"},
    {"version", NULL, OPTION_VERSION, 0, 0, "version"},
};

static void print_help(void)
{
    fputs("Examples:\n"
          "  hakmem-replay app.trace.gz                      all of hakmem's modes and all installed "
          "allocators\n"
          "  hakmem-replay --mode=fast,balanced app.trace.gz\n"
          "  hakmem-replay --target=jemalloc,jemalloc:MALLOC_CONF=dirty_decay_ms:0 app.trace.gz\n"
          "  hakmem-replay --json app.trace.gz > result.json\n"
          "  hakmem-replay --mode=learning a.trace.gz b.trace.gz --holdout=c.trace.gz --export=app.policy\n"
          "\n"
          "Usage: hakmem-replay [OPTIONS] TRACE...\n"
          "       hakmem-replay import [-o TRACE] FILE      a recording of another tool; see import --help\n"
          "Replays recorded allocations, thread by thread, on allocators and compares time and memory.\n"
          "\n"
          "Options:\n",
          stdout);
    for (size_t i = 0; i < HAK_COUNT_OF(option_rows); i++) {
        const option_row *row = &option_rows[i];
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s%s", row->name, row->argument != NULL ? "=" : "",
                 row->argument != NULL ? row->argument : "",
                 row->id == 'q'   ? ", -q"
                 : row->id == 'h' ? ", -h"
                                  : "");
        printf("  %-24s %s\n", left, row->help);
    }
    fputs("\nExit status: 0; 2 when something could not be read or measured; 130 when interrupted.\n",
          stdout);
}

int hak_replay_trouble(const char *subject, const char *problem)
{
    fputs(TOOL ": ", stderr);
    if (subject != NULL) {
        putc('\'', stderr);
        for (; *subject != '\0'; subject++)
            putc((unsigned char)*subject < ' ' || *subject == 0x7f ? '?' : *subject, stderr);
        fputs("': ", stderr);
    }
    fprintf(stderr, "%s\n", problem);
    return EXIT_TROUBLE;
}

static int parse_number(const option_row *row, const char *text, long *value)
{
    char *end, problem[128];
    errno = 0;
    *value = strtol(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && *value >= row->min && *value <= row->max)
        return 0;
    snprintf(problem, sizeof problem, "--%s takes a number from %ld to %ld", row->name, row->min, row->max);
    return hak_replay_trouble(text, problem);
}

static int target_add(settings *s, const char *text)
{
    hak_trace_error error;
    if (s->target_count == MAX_TARGETS)
        return hak_replay_trouble(NULL, "too many targets");
    if (hak_target_parse(text, &s->targets[s->target_count], &error) != 0)
        return hak_replay_trouble(NULL, error.text);
    for (size_t i = 0; i < s->target_count; i++)
        if (strcmp(s->targets[i].name, s->targets[s->target_count].name) == 0)
            return 0;
    s->target_count++;
    s->named = true;
    return 0;
}

/* "a,b,c"; a comma behind a setting ("NAME:VARIABLE=x,y") is part of the setting. */
static int targets_add(settings *s, const char *list)
{
    char copy[8192];
    if (strlen(list) >= sizeof copy)
        return hak_replay_trouble(NULL, "too long a list of targets");
    snprintf(copy, sizeof copy, "%s", list);
    for (char *at = copy; at != NULL;) {
        char *comma = strchr(at, ',');
        if (comma != NULL && memchr(at, '=', (size_t)(comma - at)) != NULL)
            comma = NULL;
        if (comma != NULL)
            *comma = '\0';
        int status = target_add(s, at);
        if (status != 0)
            return status;
        at = comma != NULL ? comma + 1 : NULL;
    }
    return 0;
}

static int modes_add(settings *s, const char *list)
{
    char copy[256], name[300];
    const char *all = "minimal,fast,balanced,learning,research";
    if (strlen(list) >= sizeof copy)
        return hak_replay_trouble(NULL, "too long a list of modes");
    snprintf(copy, sizeof copy, "%s", strcmp(list, "all") == 0 ? all : list);
    int status = target_add(s, "glibc");
    char *rest = NULL;
    for (char *mode = strtok_r(copy, ",", &rest); mode != NULL && status == 0;
         mode = strtok_r(NULL, ",", &rest)) {
        snprintf(name, sizeof name, "hakmem:%s", mode);
        status = target_add(s, name);
    }
    return status;
}

static int choose(const option_row *row, const char *text, int *value)
{
    char problem[128];
    bool touch = row->id == OPTION_TOUCH;
    for (size_t i = 0; i < HAK_COUNT_OF(touches); i++)
        if (strcmp(touch ? touches[i].name : orders[i].name, text) == 0) {
            *value = touch ? touches[i].value : orders[i].value;
            return 0;
        }
    snprintf(problem, sizeof problem, "--%s is one of %s", row->name, row->argument);
    return hak_replay_trouble(text, problem);
}

static int objective_choose(settings *s, const option_row *row, const char *text)
{
    for (unsigned i = 0; i <= HAK_OBJECTIVE_RSS; i++)
        if (strcmp(hak_objective_text((hak_objective)i), text) == 0) {
            s->train.objective = (hak_objective)i;
            return 0;
        }
    char problem[128];
    snprintf(problem, sizeof problem, "--%s is one of %s", row->name, row->argument);
    return hak_replay_trouble(text, problem);
}

static int train_option_apply(settings *s, const option_row *row, const char *text, long number)
{
    s->train_option = row->name;
    switch (row->id) {
    case OPTION_EXPORT:
        s->train.export_path = text;
        return 0;
    case OPTION_HOLDOUT:
        if (s->train.holdout_count == HAK_TRAIN_MAX_TRACES)
            return hak_replay_trouble(text, "too many traces held out");
        s->holdouts[s->train.holdout_count++] = text;
        return 0;
    case OPTION_OBJECTIVE:
        return objective_choose(s, row, text);
    case OPTION_TIME_LIMIT:
        s->train.time_limit_s = (double)number;
        return 0;
    case OPTION_MATCH_LOG:
        s->train.match_log = text;
        return 0;
    default:
        s->train.export_text = true;
        return 0;
    }
}

static int option_apply(settings *s, const option_row *row, const char *text)
{
    long number = 0;
    int choice = 0, status = 0;
    if (row->max != 0 && (status = parse_number(row, text, &number)) != 0)
        return status;
    switch (row->id) {
    case OPTION_MODE:
        s->learning = strcmp(text, "learning") == 0;
        return modes_add(s, text);
    case OPTION_TARGET:
        return targets_add(s, text);
    case OPTION_TOUCH:
        status = choose(row, text, &choice);
        s->measure.touch = (hak_touch)choice;
        return status;
    case OPTION_ORDER:
        status = choose(row, text, &choice);
        s->order = (hak_order)choice;
        return status;
    case OPTION_ROUNDS:
        s->rounds = (uint32_t)number;
        return 0;
    case OPTION_REPEATS:
        s->measure.repeats = (uint32_t)number;
        return 0;
    case OPTION_SEED:
        s->seed = (uint64_t)number;
        return 0;
    case OPTION_CPU:
        s->measure.cpu = (int)number;
        return 0;
    case OPTION_TIMEOUT:
        s->measure.timeout_s = (uint32_t)number;
        return 0;
    case OPTION_PARTIAL:
        s->reader_flags |= HAK_READER_PARTIAL;
        return 0;
    case OPTION_FORMAT:
        s->format = text;
        return 0;
    case OPTION_JSON:
        s->json = true;
        return 0;
    case OPTION_COLOUR:
        if (strcmp(text, "auto") != 0 && strcmp(text, "always") != 0 && strcmp(text, "never") != 0)
            return hak_replay_trouble(text, "--color is one of auto|always|never");
        s->colour = text;
        return 0;
    case OPTION_EXPORT:
    case OPTION_HOLDOUT:
    case OPTION_OBJECTIVE:
    case OPTION_TIME_LIMIT:
    case OPTION_MATCH_LOG:
    case OPTION_TEXT:
        return train_option_apply(s, row, text, number);
    default:
        s->quiet = true;
        return 0;
    }
}

/* -1: go on; else the exit status. */
static int options_parse(settings *s, int argc, char **argv)
{
    struct option longs[HAK_COUNT_OF(option_rows) + 1];
    memset(longs, 0, sizeof longs);
    for (size_t i = 0; i < HAK_COUNT_OF(option_rows); i++) {
        longs[i].name = option_rows[i].name;
        longs[i].has_arg = option_rows[i].argument != NULL ? required_argument : no_argument;
        longs[i].val = option_rows[i].id;
    }
    opterr = 0;
    for (int id; (id = getopt_long(argc, argv, "qh", longs, NULL)) != -1;) {
        if (id == 'h') {
            print_help();
            return 0;
        }
        if (id == OPTION_VERSION) {
            puts(TOOL " " HAKMEM_VERSION);
            return 0;
        }
        const option_row *row = NULL;
        for (size_t i = 0; i < HAK_COUNT_OF(option_rows); i++)
            if (option_rows[i].id == id)
                row = &option_rows[i];
        if (row == NULL)
            return hak_replay_trouble(argv[optind - 1],
                                      "unknown option, or one that wants a value; see " TOOL " --help");
        int status = option_apply(s, row, optarg);
        if (status != 0)
            return status;
    }
    if (optind == argc)
        return hak_replay_trouble(NULL, "no trace given; record one with: hakmem-trace PROGRAM");
    if (s->train_option != NULL && (s->train.export_path == NULL || !s->learning)) {
        char problem[160];
        snprintf(problem, sizeof problem, "--%s is for learning: --mode=learning --export=FILE",
                 s->train_option);
        return hak_replay_trouble(NULL, problem);
    }
    return argc - optind > MAX_TRACES ? hak_replay_trouble(NULL, "more than 256 traces") : -1;
}

/* The null target prices every session; ratios refer to glibc, or else to the first allocator. */
static void targets_complete(settings *s)
{
    if (s->target_count == 0) {
        s->target_count = hak_targets_installed(s->targets, MAX_TARGETS);
    } else if (s->target_count < MAX_TARGETS) {
        bool has_null = false;
        for (size_t i = 0; i < s->target_count; i++)
            has_null |= s->targets[i].null;
        if (!has_null) {
            hak_trace_error ignored;
            memmove(&s->targets[1], &s->targets[0], s->target_count * sizeof *s->targets);
            hak_target_parse("null", &s->targets[0], &ignored);
            s->target_count++;
        }
    }
    s->baseline = s->target_count;
    for (size_t i = s->target_count; i-- > 0;)
        if (!s->targets[i].null)
            s->baseline = i;
    if (s->baseline == s->target_count)
        s->baseline = 0;
    for (size_t i = 0; i < s->target_count; i++)
        if (strcmp(s->targets[i].name, "glibc") == 0)
            s->baseline = i;
}

typedef struct progress_state {
    const settings *settings;
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

static hak_workload *load(const settings *s, const char *path, char program[256])
{
    hak_trace_error error = {.text = ""};
    unsigned flags = 0;
    for (size_t i = 0; i < s->target_count; i++)
        if (hak_target_policy(&s->targets[i]) != NULL)
            flags |= HAK_WORKLOAD_CONTEXTS;
    hak_import_summary imported;
    hak_reader *reader = hak_import_open(path, s->format, s->reader_flags, &imported, &error);
    if (reader != NULL && imported.format != NULL && !s->quiet) {
        fputs(TOOL ": imported ", stderr);
        hak_import_print(stderr, &imported, "  ");
    }
    hak_workload *workload = reader != NULL ? hak_workload_build(reader, s->order, flags, &error) : NULL;
    if (workload == NULL) {
        hak_replay_trouble(path, error.text);
    } else {
        hak_trace_error why;
        snprintf(program, 256, "%s", hak_reader_head(reader)->program);
        if (hak_reader_partial(reader, &why) && !s->quiet)
            hak_replay_trouble(path, why.text);
    }
    if (reader != NULL)
        hak_reader_close(reader);
    return workload;
}

static int replay(const settings *s, const char *path, hak_replayed *replayed, hak_replay_setup *setup)
{
    static char programs[MAX_TRACES][256];
    static size_t used;
    char *program = programs[used++];
    hak_workload *workload = load(s, path, program);
    if (workload == NULL)
        return EXIT_TROUBLE;
    hak_trace_error error;
    progress_state state = {s, path, 0, isatty(2) != 0, false};
    hak_compare_options options = {
        .measure = s->measure,
        .rounds = s->rounds,
        .seed = s->seed,
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

static bool measured(const settings *s, const hak_replayed *replayed)
{
    bool any = false, failed = false;
    for (size_t i = 0; i < replayed->compare.row_count; i++) {
        const hak_compare_row *row = &replayed->compare.rows[i];
        any |= row->runs != 0 && !row->target.null;
        failed |= row->problem[0] != '\0';
    }
    return any && !(failed && s->named);
}

static bool colour_wanted(const settings *s)
{
    if (strcmp(s->colour, "always") == 0)
        return true;
    const char *no_colour = getenv("NO_COLOR");
    return strcmp(s->colour, "auto") == 0 && isatty(1) && (no_colour == NULL || no_colour[0] == '\0');
}

static int train(settings *s, char **traces, int count)
{
    hak_train_view view = {.quiet = s->quiet};
    s->train.traces = (const char *const *)traces;
    s->train.trace_count = (size_t)count;
    s->train.holdouts = s->holdouts;
    s->train.reader_flags = s->reader_flags;
    s->train.seed = s->seed;
    s->train.order = s->order;
    s->train.measure = s->measure;
    s->train.stop = &interrupted;
    s->train.progress = hak_train_view_progress;
    s->train.progress_arg = &view;
    static hak_train_report report;
    hak_trace_error error;
    const char *failed;
    int status = hak_train(&s->train, &report, &error, &failed);
    if (view.drawn && status != 0)
        fputs("\r\033[K", stderr);
    if (status != 0)
        return hak_replay_trouble(failed, error.text);
    hak_train_view_summary(&view, &s->train, &report, s->json);
    if (fflush(stdout) != 0 || ferror(stdout))
        return hak_replay_trouble(NULL, "cannot write the result");
    return interrupted ? EXIT_INTERRUPTED : 0;
}

int main(int argc, char **argv)
{
    static settings s = {.rounds = 10, .seed = 1, .measure = {.timeout_s = 300, .cpu = -1}, .colour = "auto"};
    static hak_replayed all[MAX_TRACES];
    if (argc > 1 && strcmp(argv[1], "import") == 0)
        return hak_replay_verb_import(argc - 1, argv + 1);
    int status = options_parse(&s, argc, argv);
    if (status >= 0)
        return status;
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    if (s.train.export_path != NULL)
        return train(&s, argv + optind, argc - optind);
    targets_complete(&s);
    hak_replay_setup setup = {.touch = touches[s.measure.touch].name,
                              .order = orders[s.order].name,
                              .rounds = s.rounds,
                              .seed = s.seed,
                              .colour = colour_wanted(&s)};
    size_t count = 0;
    status = 0;
    for (int i = optind; i < argc && !interrupted; i++) {
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
    for (size_t i = 0; i < count; i++)
        hak_compare_clear(&all[i].compare);
    if (fflush(stdout) != 0 || ferror(stdout))
        status = hak_replay_trouble(NULL, "cannot write the result");
    return interrupted ? EXIT_INTERRUPTED : status;
}
