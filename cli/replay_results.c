/* replay_results.c: see replay_results.h; and the verb merge. Numbers of a file are used as numbers only:
 * nothing is allocated by a count that a file states. */
#include "cli/replay_results.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/replay_options.h"
#include "cli/replay_verbs.h"
#include "cli/say.h"
#include "cli/text.h"

/* ---- reading ---- */

static char *file_read(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rbe");
    char *text = NULL;
    size_t room = 0;
    *len = 0;
    if (file == NULL)
        return NULL;
    for (size_t got = 1; got != 0 && *len <= HAK_JSON_MAX_BYTES; *len += got) {
        if (room - *len < 65536) {
            room = room == 0 ? 131072 : room * 2;
            char *wide = realloc(text, room);
            if (wide == NULL)
                break;
            text = wide;
        }
        got = fread(text + *len, 1, room - *len - 1, file);
    }
    bool whole = feof(file) && !ferror(file);
    fclose(file);
    if (whole)
        return text;
    errno = errno != 0 ? errno : EFBIG;
    free(text);
    return NULL;
}

int replay_results_open(replay_results *results, const char *path)
{
    size_t len, fault_at;
    char problem[100];
    errno = 0;
    *results = (replay_results){.text = file_read(path, &len)};
    if (results->text == NULL)
        return hak_replay_trouble(path, strerror(errno));
    results->root = hak_json_parse(results->text, len, &fault_at);
    if (results->root != NULL && strcmp(hak_json_text(results->root, "tool"), "hakmem-replay") == 0 &&
        hak_json_number(results->root, "schema") == HAK_REPLAY_SCHEMA)
        return 0;
    if (results->root == NULL)
        snprintf(problem, sizeof problem, "is no JSON (at byte %zu)", fault_at);
    else
        snprintf(problem, sizeof problem, "is no result of hakmem-replay --json, schema %d",
                 HAK_REPLAY_SCHEMA);
    replay_results_close(results);
    return hak_replay_trouble(path, problem);
}

void replay_results_close(replay_results *results)
{
    hak_json_free(results->root);
    free(results->text);
    *results = (replay_results){.text = NULL};
}

/* 0 where it is missing or no such number. */
static uint64_t whole_number(const hak_json *object, const char *key)
{
    double number = hak_json_number(object, key);
    return number >= 1 && number < 0x1p64 ? (uint64_t)number : 0;
}

static const hak_json *first_of(const hak_json *object, const char *list)
{
    const hak_json *found = hak_json_member(object, list);
    return found != NULL ? found->first : NULL;
}

/* ---- against a baseline ---- */

static const struct {
    const char *name, *key, *text;
    size_t offset;
    bool is_double;
} figures[] = {
    {"time", "ns_per_op", "time per operation", offsetof(hak_measure, ns_per_op), true},
    {"first", "ns_per_op_first", "time per operation of the first pass",
     offsetof(hak_measure, ns_per_op_cold), true},
    {"rss", "peak_rss_bytes", "peak RSS", offsetof(hak_measure, peak_rss_bytes), false},
    {"faults", "minor_faults", "number of page faults", offsetof(hak_measure, minor_faults), false},
};

static double figure_of(const hak_measure *m, size_t figure)
{
    const void *at = (const char *)m + figures[figure].offset;
    return figures[figure].is_double ? *(const double *)at : (double)*(const uint64_t *)at;
}

/* The same trace's entry: by name, or the only one of both. */
static const hak_json *trace_find(const hak_json *root, const char *path, size_t count)
{
    const hak_json *first = first_of(root, "traces");
    if (count == 1 && first != NULL && first->next == NULL)
        return first;
    for (const hak_json *at = first; at != NULL; at = at->next)
        if (strcmp(base_name(hak_json_text(at, "trace")), base_name(path)) == 0)
            return at;
    return NULL;
}

typedef struct condition {
    size_t figure;
    double limit; /* now / before */
} condition;

/* One condition of a list, "rss>1.05,time>1.1"; what is behind it goes to *rest, NULL after the last. 0 or
 * EXIT_TROUBLE, told. */
static int condition_parse(const char *text, condition *out, const char **rest)
{
    size_t figure = 0, len = strcspn(text, ">");
    while (figure < HAK_COUNT_OF(figures) &&
           (strlen(figures[figure].name) != len || memcmp(figures[figure].name, text, len) != 0))
        figure++;
    char *end = NULL;
    double limit = text[len] == '>' ? strtod(text + len + 1, &end) : 0;
    if (figure == HAK_COUNT_OF(figures) || end == NULL || (*end != '\0' && *end != ',') || !(limit > 0))
        return hak_replay_trouble(text,
                                  "--fail-if is time, first, rss or faults, '>' and a ratio, as rss>1.05");
    *out = (condition){figure, limit};
    *rest = *end == ',' ? end + 1 : NULL;
    return 0;
}

/* True with its line on stderr; *compared counts. */
static bool row_fails(const hak_json *old_trace, const hak_replayed *replayed, const hak_compare_row *row,
                      condition c, size_t *compared)
{
    for (const hak_json *old = first_of(old_trace, "targets"); old != NULL; old = old->next) {
        double before = hak_json_number(old, figures[c.figure].key), now = figure_of(&row->median, c.figure);
        if (strcmp(hak_json_text(old, "name"), row->target.name) != 0 || !(before > 0) || row->runs == 0)
            continue;
        ++*compared;
        if (now / before <= c.limit)
            return false;
        fprintf(stderr, "hakmem-replay: '%s': %s: its %s is %.3f times the baseline's (limit %g)\n",
                base_name(replayed->path), row->target.name, figures[c.figure].text, now / before, c.limit);
        return true;
    }
    return false;
}

/* Whether one target of one trace is beyond the limit; each that is gets its line. */
static bool beyond(const hak_json *root, condition c, const hak_replayed *all, size_t count, size_t *compared)
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const hak_json *old_trace = trace_find(root, all[i].path, count);
        for (size_t k = 0; k < all[i].compare.row_count; k++) {
            const hak_compare_row *row = &all[i].compare.rows[k];
            any |= !row->target.null && row_fails(old_trace, &all[i], row, c, compared);
        }
    }
    return any;
}

int replay_results_check(const char *old_path, const char *conditions)
{
    replay_results old;
    condition c = {.figure = 0};
    for (const char *at = conditions; at != NULL;)
        if (condition_parse(at, &c, &at) != 0)
            return EXIT_TROUBLE;
    int status = replay_results_open(&old, old_path);
    if (status == 0)
        replay_results_close(&old);
    return status;
}

int replay_results_fail(const char *old_path, const char *conditions, const hak_replayed *all, size_t count)
{
    replay_results old;
    condition c = {.figure = 0};
    size_t compared = 0;
    int status = replay_results_open(&old, old_path);
    if (status != 0)
        return status;
    for (const char *at = conditions; at != NULL && status != EXIT_TROUBLE;)
        if (condition_parse(at, &c, &at) != 0)
            status = EXIT_TROUBLE;
        else if (beyond(old.root, c, all, count, &compared))
            status = EXIT_REGRESSION;
    if (status == 0 && compared == 0)
        status = hak_replay_trouble(old_path, "holds none of these targets on these traces");
    replay_results_close(&old);
    return status;
}

/* ---- merging ---- */

typedef struct merged {
    hak_replayed traces[REPLAY_MAX_TRACES];
    size_t count;
    hak_replay_setup setup;
} merged;

/* Adds one run to a row's. 0 or -1. */
static int run_add(hak_compare_row *row, const hak_json *run)
{
    hak_measure *runs = realloc(row->runs_data, (row->runs + 1) * sizeof *runs);
    if (runs == NULL)
        return -1;
    row->runs_data = runs;
    uint32_t *rounds = realloc(row->runs_round, (row->runs + 1) * sizeof *rounds);
    if (rounds == NULL)
        return -1;
    row->runs_round = rounds;
    /* Runs stay in order of their rounds: ratios are made of pairs. */
    uint32_t round = (uint32_t)whole_number(run, "round"), at = row->runs;
    while (at > 0 && rounds[at - 1] > round)
        at--;
    if (at > 0 && rounds[at - 1] == round)
        return 0; /* the same shard twice */
    memmove(&runs[at + 1], &runs[at], (row->runs - at) * sizeof *runs);
    memmove(&rounds[at + 1], &rounds[at], (row->runs - at) * sizeof *rounds);
    rounds[at] = round;
    memset(&runs[at], 0, sizeof runs[at]);
    runs[at].ns_per_op = hak_json_number(run, "ns_per_op");
    runs[at].ns_per_op_cold = hak_json_number(run, "ns_per_op_first");
    runs[at].ns_per_op_warm = hak_json_number(run, "ns_per_op_warm");
    runs[at].peak_rss_bytes = whole_number(run, "peak_rss_bytes");
    runs[at].minor_faults = whole_number(run, "minor_faults");
    row->runs++;
    return 0;
}

static int target_add(hak_replayed *to, const hak_json *target)
{
    const char *name = hak_json_text(target, "name");
    hak_compare *compare = &to->compare;
    size_t at = 0;
    while (at < compare->row_count && strcmp(compare->rows[at].target.name, name) != 0)
        at++;
    if (at == compare->row_count) {
        hak_compare_row *rows = realloc(compare->rows, (at + 1) * sizeof *rows);
        if (rows == NULL)
            return -1;
        compare->rows = rows;
        memset(&rows[at], 0, sizeof rows[at]);
        snprintf(rows[at].target.name, sizeof rows[at].target.name, "%s", name);
        rows[at].target.null = hak_json_true(target, "null");
        compare->row_count++;
        if (hak_json_true(target, "baseline"))
            to->baseline = at;
    }
    hak_compare_row *row = &compare->rows[at];
    if (hak_json_text(target, "problem")[0] != '\0')
        snprintf(row->problem, sizeof row->problem, "%s", hak_json_text(target, "problem"));
    for (const hak_json *run = first_of(target, "runs"); run != NULL; run = run->next)
        if (run_add(row, run) != 0)
            return -1;
    for (uint32_t i = 0; i < row->runs; i++)
        snprintf(row->runs_data[i].version, sizeof row->runs_data[i].version, "%s",
                 hak_json_text(target, "version"));
    return 0;
}

static int trace_add(merged *m, const hak_json *trace)
{
    size_t at = 0;
    const char *path = hak_json_text(trace, "trace");
    while (at < m->count && strcmp(m->traces[at].path, path) != 0)
        at++;
    hak_replayed *to = &m->traces[at];
    if (at == REPLAY_MAX_TRACES)
        return hak_replay_trouble(NULL, "more than 256 traces");
    if (at == m->count) {
        m->count++;
        *to = (hak_replayed){.path = path, .program = hak_json_text(trace, "program")};
        to->info.operations = whole_number(trace, "operations");
        to->info.allocations = whole_number(trace, "allocations");
        to->info.threads = (uint32_t)whole_number(trace, "threads");
        to->info.threads_max = (uint32_t)whole_number(trace, "threads_max");
        to->info.live_max_bytes = whole_number(trace, "live_max_bytes");
        to->info.live_max_blocks = whole_number(trace, "live_max_blocks");
        to->info.cross_thread_frees = whole_number(trace, "cross_thread_frees");
    }
    for (const hak_json *target = first_of(trace, "targets"); target != NULL; target = target->next)
        if (target_add(to, target) != 0)
            return hak_replay_trouble(NULL, "out of memory");
    return 0;
}

/* What was measured differently is not one measurement. */
static int setup_take(merged *m, const char *path, const hak_json *root)
{
    hak_replay_setup now = {.touch = hak_json_text(root, "touch"),
                            .order = hak_json_text(root, "order"),
                            .rounds = (uint32_t)whole_number(root, "rounds"),
                            .repeats = (uint32_t)whole_number(root, "repeats"),
                            .seed = whole_number(root, "seed")};
    if (m->setup.touch == NULL)
        m->setup = now;
    if (strcmp(now.touch, m->setup.touch) != 0 || strcmp(now.order, m->setup.order) != 0 ||
        now.repeats != m->setup.repeats || now.rounds != m->setup.rounds)
        return hak_replay_trouble(path, "was measured with other options than the first; nothing is merged");
    return 0;
}

static int merge_print(merged *m, bool json)
{
    for (size_t i = 0; i < m->count; i++) {
        hak_compare *compare = &m->traces[i].compare;
        if (compare->row_count == 0)
            return hak_replay_trouble(m->traces[i].path, "has no targets");
        for (size_t k = 0; k < compare->row_count; k++)
            if (compare->rows[k].runs > compare->rounds)
                compare->rounds = compare->rows[k].runs;
        if (hak_compare_evaluate(compare, m->traces[i].baseline, m->setup.seed) != 0)
            return hak_replay_trouble(NULL, "out of memory");
        if (!json)
            hak_replay_print_table(stdout, &m->traces[i], &m->setup);
    }
    if (json)
        hak_replay_print_json(stdout, m->traces, m->count, &m->setup);
    else if (m->count > 1)
        hak_replay_print_summary(stdout, m->traces, m->count, &m->setup);
    return say_flushed() ? 0 : EXIT_TROUBLE;
}

int hak_replay_verb_merge(int argc, char **argv)
{
    static merged m;
    static replay_results files[REPLAY_MAX_TRACES];
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    int first = json ? 2 : 1, status = 0;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        puts("Examples:\n  hakmem-replay merge shard-*.json\n  hakmem-replay merge --json shard-*.json > "
             "all.json\n\n"
             "Usage: hakmem-replay merge [--json] RESULT.json...\n"
             "Joins what hakmem-replay --shard=I/N --json printed into the result of all rounds.");
        return say_flushed() ? 0 : EXIT_TROUBLE;
    }
    if (first >= argc || argv[first][0] == '-')
        return hak_replay_trouble(
            argc > first ? argv[first] : NULL,
            "merge takes results (--json before them for JSON); see hakmem-replay merge --help");
    if (argc - first > REPLAY_MAX_TRACES)
        return hak_replay_trouble(NULL, "more than 256 results");
    for (int i = first; i < argc && status == 0; i++) {
        replay_results *file = &files[i - first];
        status = replay_results_open(file, argv[i]);
        if (status == 0)
            status = setup_take(&m, argv[i], file->root);
        for (const hak_json *t = status == 0 ? first_of(file->root, "traces") : NULL;
             t != NULL && status == 0; t = t->next)
            status = trace_add(&m, t);
    }
    if (status == 0)
        status = merge_print(&m, json);
    for (size_t i = 0; i < m.count; i++)
        hak_compare_clear(&m.traces[i].compare);
    for (size_t i = 0; i < REPLAY_MAX_TRACES; i++)
        replay_results_close(&files[i]);
    return status;
}
