/* replay_options.c: see replay_options.h. */
#include "cli/replay_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/replay_verbs.h"
#include "cli/say.h"
#include "cli/text.h"
#include "core/policy_format.h"
#include "import/import.h"
#include "trace/trace_format.h"

#define TOOL        "hakmem-replay"
#define HELP_COLUMN 30 /* where the help of an option begins */

static const struct {
    const char *name;
    int value;
} touches[] = {{"pages", HAK_TOUCH_PAGES},
               {"none", HAK_TOUCH_NONE},
               {"whole", HAK_TOUCH_WHOLE},
               {"use", HAK_TOUCH_USE}},
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
    OPTION_PACE,
    OPTION_THINK,
    OPTION_POLLUTE,
    OPTION_AA,
    OPTION_PLAIN,
    OPTION_JOBS,
    OPTION_SHARD,
    OPTION_CALIBRATE,
    OPTION_CACHE,
    OPTION_HTML,
    OPTION_BASELINE,
    OPTION_FAIL_IF,
    OPTION_PARTIAL,
    OPTION_FORMAT,
    OPTION_JSON,
    OPTION_COLOUR,
    OPTION_EXPORT,
    OPTION_TEXT,
    OPTION_HOLDOUT,
    OPTION_OBJECTIVE,
    OPTION_TIME_LIMIT,
    OPTION_MAX_TIME,
    OPTION_MAX_RSS,
    OPTION_PARETO,
    OPTION_MATCH_LOG,
    OPTION_REPLAY_LOG,
    OPTION_CURVE,
    OPTION_VERSION
} option_id;

/* One row an option: parsing, limits and help come from here; help of any length is wrapped. */
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
     "null, glibc, mimalloc, jemalloc, tcmalloc, hakmem:MODE, hakmem:fast+POLICY, "
     "/path/to/library.so; with settings as NAME:VARIABLE=VALUE"},
    {"touch", "pages|none|whole|use", OPTION_TOUCH, 0, 0,
     "what is written to a new block: a byte per OS page (default), nothing, all; use: all, and "
     "it is read before it is freed"},
    {"rounds", "N", OPTION_ROUNDS, 1, 1000, "interleaved rounds, each in a fresh process (default 10)"},
    {"repeats", "N", OPTION_REPEATS, 1, 10000,
     "passes per process; the first is cold (default: by length, 2 to 20)"},
    {"order", "window|edges|strict", OPTION_ORDER, 0, 0, "how far threads may run apart (default window)"},
    {"seed", "N", OPTION_SEED, 0, 0x7fffffff, "of the order within rounds and of the intervals (default 1)"},
    {"cpu", "N", OPTION_CPU, 0, 1023, "run on that processor only"},
    {"timeout", "SECONDS", OPTION_TIMEOUT, 0, 1000000, "for one run; 0 for none (default 300)"},
    {"pace", "max|recorded", OPTION_PACE, 0, 0,
     "as fast as it goes (default), or each call at its recorded time"},
    {"think", NULL, OPTION_THINK, 0, 0, "spin between calls as long as the program did other things there"},
    {"pollute", "KIB", OPTION_POLLUTE, 1, 1048576,
     "touch so much other memory after every 64 calls of a thread"},
    {"aa", NULL, OPTION_AA, 0, 0, "measure the baseline twice: what differs is noise"},
    {"plain", NULL, OPTION_PLAIN, 0, 0,
     "only the rounds: no observed pass (memory over time) and no timed one (latency)"},
    {"jobs", "N", OPTION_JOBS, 1, 64, "processes measured at once: faster, and noisier (default 1)"},
    {"shard", "I/N", OPTION_SHARD, 0, 0,
     "only every N-th round, from the I-th; join the --json of all with: merge"},
    {"calibrate", NULL, OPTION_CALIBRATE, 0, 0,
     "TRACE -- PROGRAM...: the recorded program under each allocator beside its replay"},
    {"cache", "FOLDER|none", OPTION_CACHE, 0, 0,
     "keep compiled traces there (default: large ones, in ~/.cache/hakmem)"},
    {"html", "FILE", OPTION_HTML, 0, 0, "also write one offline page: memory over time, latency, table"},
    {"baseline", "OLD.json", OPTION_BASELINE, 0, 0, "results of before, to be compared by --fail-if"},
    {"fail-if", "FIGURE>RATIO", OPTION_FAIL_IF, 0, 0,
     "exit with 1 if a target's time, rss or faults is more than that times what --baseline says"},
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
    {"max-time", "PERCENT", OPTION_MAX_TIME, -99, 1000,
     "learning: time the policy may cost at most (default 1; 5 for objective rss)"},
    {"max-rss", "PERCENT", OPTION_MAX_RSS, -99, 1000,
     "learning: memory it may cost at most (default 1; 10 for objective time)"},
    {"replay-log", "FILE", OPTION_REPLAY_LOG, 0, 0,
     "learning: take the runs of a match log, make none: the same policy byte for byte"},
    {"learning-curve", "FILE", OPTION_CURVE, 0, 0,
     "learning: ratings and gains by generation, as CSV, or as HTML where FILE ends so"},
    {"pareto", "FOLDER", OPTION_PARETO, 0, 0,
     "learning: also write the policies of which none is better than another in both, time and memory"},
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
          "       hakmem-replay --calibrate [OPTIONS] TRACE -- PROGRAM [ARGS...]\n"
          "       hakmem-replay merge RESULT.json...         shards joined into one result\n"
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
        put_row(stdout, left, HELP_COLUMN, row->help);
    }
    fputs("\nExit status: 0; 1 when --fail-if holds; 2 when something could not be read or measured;\n"
          "130 when interrupted.\n",
          stdout);
}

static void print_version(void)
{
    printf(TOOL " " HAKMEM_VERSION "\nfeatures: trace format %d, %zu import formats, policies of format %d\n",
           HAK_TRACE_VERSION, hak_import_format_count(), HAK_POLICY_VERSION);
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

static int target_add(replay_settings *s, const char *text)
{
    hak_trace_error error;
    if (s->target_count == REPLAY_MAX_TARGETS)
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
static int targets_add(replay_settings *s, const char *list)
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

static int modes_add(replay_settings *s, const char *list)
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
    size_t count = touch ? HAK_COUNT_OF(touches) : HAK_COUNT_OF(orders);
    for (size_t i = 0; i < count; i++)
        if (strcmp(touch ? touches[i].name : orders[i].name, text) == 0) {
            *value = touch ? touches[i].value : orders[i].value;
            return 0;
        }
    snprintf(problem, sizeof problem, "--%s is one of %s", row->name, row->argument);
    return hak_replay_trouble(text, problem);
}

static int objective_choose(replay_settings *s, const option_row *row, const char *text)
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

static int train_option_apply(replay_settings *s, const option_row *row, const char *text, long number)
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
    case OPTION_MAX_TIME:
        s->train.max_time = (double)number / 100;
        return 0;
    case OPTION_MAX_RSS:
        s->train.max_rss = (double)number / 100;
        return 0;
    case OPTION_PARETO:
        s->train.pareto = text;
        return 0;
    case OPTION_MATCH_LOG:
        s->train.match_log = text;
        return 0;
    case OPTION_REPLAY_LOG:
        s->train.replay_log = text;
        return 0;
    case OPTION_CURVE:
        s->curve = text;
        return 0;
    default:
        s->train.export_text = true;
        return 0;
    }
}

static int shard_parse(replay_settings *s, const char *text)
{
    char *slash, *end;
    unsigned long shard = strtoul(text, &slash, 10),
                  shards = *slash == '/' ? strtoul(slash + 1, &end, 10) : 0;
    if (text[0] < '0' || text[0] > '9' || *slash != '/' || *end != '\0' || shard < 1 || shard > shards ||
        shards > 100000)
        return hak_replay_trouble(text, "--shard is I/N, with I from 1 to N");
    s->shard = (uint32_t)shard - 1;
    s->shards = (uint32_t)shards;
    return 0;
}

static int option_apply(replay_settings *s, const option_row *row, const char *text)
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
    case OPTION_PACE:
        if (strcmp(text, "max") != 0 && strcmp(text, "recorded") != 0)
            return hak_replay_trouble(text, "--pace is one of max|recorded");
        s->workload_flags &= ~(unsigned)HAK_WORKLOAD_PACE;
        s->workload_flags |= text[0] == 'r' ? HAK_WORKLOAD_PACE : 0;
        return 0;
    case OPTION_THINK:
        s->workload_flags |= HAK_WORKLOAD_THINK;
        return 0;
    case OPTION_POLLUTE:
        s->workload_flags |= HAK_WORKLOAD_POLLUTE;
        s->measure.pollute_bytes = (uint32_t)(number * 1024 < UINT32_MAX ? number * 1024 : UINT32_MAX);
        return 0;
    case OPTION_AA:
        s->aa = true;
        return 0;
    case OPTION_PLAIN:
        s->plain = true;
        return 0;
    case OPTION_JOBS:
        s->jobs = (uint32_t)number;
        return 0;
    case OPTION_SHARD:
        return shard_parse(s, text);
    case OPTION_CALIBRATE:
        s->calibrate = true;
        return 0;
    case OPTION_CACHE:
        s->cache = text;
        return 0;
    case OPTION_HTML:
        s->html = text;
        return 0;
    case OPTION_BASELINE:
        s->old_results = text;
        return 0;
    case OPTION_FAIL_IF:
        s->fail_if = text;
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
    case OPTION_MAX_TIME:
    case OPTION_MAX_RSS:
    case OPTION_PARETO:
    case OPTION_MATCH_LOG:
    case OPTION_REPLAY_LOG:
    case OPTION_CURVE:
    case OPTION_TEXT:
        return train_option_apply(s, row, text, number);
    default:
        s->quiet = true;
        return 0;
    }
}

int replay_options_parse(replay_settings *s, int argc, char **argv, int *first)
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
            return say_flushed() ? 0 : EXIT_TROUBLE;
        }
        if (id == OPTION_VERSION) {
            print_version();
            return say_flushed() ? 0 : EXIT_TROUBLE;
        }
        const option_row *row = NULL;
        for (size_t i = 0; i < HAK_COUNT_OF(option_rows); i++)
            if (option_rows[i].id == id)
                row = &option_rows[i];
        if (row == NULL)
            return hak_replay_trouble(say_option(argv),
                                      "unknown option, or one that wants a value; see " TOOL " --help");
        int status = option_apply(s, row, optarg);
        if (status != 0)
            return status;
    }
    if (optind == argc)
        return hak_replay_trouble(NULL, "no trace given; record one with: hakmem-trace PROGRAM");
    if (s->calibrate && argc - optind < 2)
        return hak_replay_trouble(
            NULL, "--calibrate takes one trace and, behind --, the program it was recorded of");
    if ((s->fail_if != NULL) != (s->old_results != NULL))
        return hak_replay_trouble(NULL, "--baseline and --fail-if belong together");
    if ((s->workload_flags & HAK_WORKLOAD_PACE) && (s->workload_flags & HAK_WORKLOAD_THINK))
        return hak_replay_trouble(NULL, "--pace=recorded holds the pauses already; leave --think out");
    if (s->train.match_log != NULL && s->train.replay_log != NULL)
        return hak_replay_trouble(
            NULL, "--match-log is written by a training that makes runs; --replay-log makes none");
    if (s->train_option != NULL && (s->train.export_path == NULL || !s->learning)) {
        char problem[160];
        snprintf(problem, sizeof problem, "--%s is for learning: --mode=learning --export=FILE",
                 s->train_option);
        return hak_replay_trouble(NULL, problem);
    }
    *first = optind;
    return argc - optind > REPLAY_MAX_TRACES && !s->calibrate
               ? hak_replay_trouble(NULL, "more than 256 traces")
               : -1;
}

void replay_targets_complete(replay_settings *s)
{
    if (s->target_count == 0) {
        s->target_count = hak_targets_installed(s->targets, REPLAY_MAX_TARGETS);
    } else if (s->target_count < REPLAY_MAX_TARGETS) {
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
    if (s->aa && s->target_count < REPLAY_MAX_TARGETS) {
        static const char mark[] = " again";
        hak_target *again = &s->targets[s->target_count++];
        *again = s->targets[s->baseline];
        size_t len = strlen(again->name), most = sizeof again->name - sizeof mark;
        memcpy(again->name + (len < most ? len : most), mark, sizeof mark);
    }
}

const char *replay_touch_name(hak_touch touch)
{
    return touches[touch].name;
}

const char *replay_order_name(hak_order order)
{
    return orders[order].name;
}
