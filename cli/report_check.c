/* report_check.c: see report_check.h. */
#include "cli/report_check.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "replay/names.h"

enum { OP_LESS, OP_AT_MOST, OP_MORE, OP_AT_LEAST, OP_EQUAL, OP_DIFFERENT };

typedef enum metric_unit { UNIT_BYTES, UNIT_COUNT, UNIT_TIME } metric_unit;

typedef struct check_metric {
    const char *name;
    metric_unit unit;
    int weight;                               /* hak_weight; -1: only of the whole program */
    uint64_t (*whole)(const report *r);       /* of the whole program */
    uint64_t (*part)(const hak_usage *usage); /* a site's; NULL: of no site */
} check_metric;

static uint64_t peak(const report *r)
{
    uint64_t most = 0;
    for (size_t i = 0; i < r->traces_count; i++)
        most = r->traces[i].profile->peak_bytes > most ? r->traces[i].profile->peak_bytes : most;
    return most;
}

static uint64_t rss(const report *r)
{
    uint64_t most = 0;
    for (size_t i = 0; i < r->traces_count; i++)
        most = r->traces[i].profile->rss_peak_bytes > most ? r->traces[i].profile->rss_peak_bytes : most;
    return most;
}

static uint64_t leaked(const report *r)
{
    uint64_t bytes, blocks;
    uint32_t worst;
    return report_leaked(r, &bytes, &blocks, &worst) ? bytes : UINT64_MAX;
}

static uint64_t leaked_blocks(const report *r)
{
    uint64_t bytes, blocks;
    uint32_t worst;
    return report_leaked(r, &bytes, &blocks, &worst) ? blocks : UINT64_MAX;
}

static uint64_t threads(const report *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->traces_count; i++)
        sum += r->traces[i].profile->threads_count;
    return sum;
}

static uint64_t duration(const report *r)
{
    uint64_t most = 0;
    for (size_t i = 0; i < r->traces_count; i++)
        most = r->traces[i].profile->duration_ns > most ? r->traces[i].profile->duration_ns : most;
    return most;
}

#define WHOLE(name, field)                                                                                   \
    static uint64_t name(const report *r)                                                                    \
    {                                                                                                        \
        return r->total.field;                                                                               \
    }
#define PART(name, field)                                                                                    \
    static uint64_t name(const hak_usage *u)                                                                 \
    {                                                                                                        \
        return u->field;                                                                                     \
    }
WHOLE(calls, calls)
WHOLE(bytes, bytes)
WHOLE(temporary, temporary)
WHOLE(failed, failed)
WHOLE(pinned, pinned_bytes)
WHOLE(remote, freed_remotely)
PART(part_calls, calls)
PART(part_bytes, bytes)
PART(part_temporary, temporary)
PART(part_failed, failed)
PART(part_pinned, pinned_bytes)
PART(part_remote, freed_remotely)
PART(part_peak, at_peak_bytes)
PART(part_live, live_bytes)
PART(part_blocks, live_blocks)

static uint64_t copied(const report *r)
{
    return r->total.copied_bytes + r->total.grown_bytes;
}

static uint64_t part_copied(const hak_usage *u)
{
    return u->copied_bytes + u->grown_bytes;
}

static const check_metric metrics[] = {
    {"peak", UNIT_BYTES, HAK_WEIGHT_PEAK, peak, part_peak},
    {"leaked", UNIT_BYTES, HAK_WEIGHT_LIVE, leaked, part_live},
    {"leaked_blocks", UNIT_COUNT, -1, leaked_blocks, part_blocks},
    {"calls", UNIT_COUNT, HAK_WEIGHT_CALLS, calls, part_calls},
    {"bytes", UNIT_BYTES, HAK_WEIGHT_BYTES, bytes, part_bytes},
    {"temporary", UNIT_COUNT, HAK_WEIGHT_TEMPORARY, temporary, part_temporary},
    {"copied", UNIT_BYTES, -1, copied, part_copied},
    {"pinned", UNIT_BYTES, -1, pinned, part_pinned},
    {"remote", UNIT_COUNT, -1, remote, part_remote},
    {"failed", UNIT_COUNT, -1, failed, part_failed},
    {"rss", UNIT_BYTES, -1, rss, NULL},
    {"threads", UNIT_COUNT, -1, threads, NULL},
    {"duration", UNIT_TIME, -1, duration, NULL},
};

/* ---- parsing ---- */

static const char *parse_metric(const char **at, report_check *out)
{
    size_t n = strcspn(*at, "(<>=! \t");
    for (size_t i = 0; i < HAK_COUNT_OF(metrics); i++) {
        if (strlen(metrics[i].name) == n && strncmp(metrics[i].name, *at, n) == 0)
            out->metric = &metrics[i];
    }
    if (out->metric == NULL)
        return "--check knows peak, rss, leaked, leaked_blocks, calls, bytes, temporary, copied, pinned, "
               "remote, "
               "failed, threads, duration";
    *at += n;
    if (**at != '(')
        return NULL;
    /* To the last bracket before the comparison: a function may have brackets of its own. */
    const char *end = strrchr(*at, ')');
    size_t name = end != NULL ? (size_t)(end - *at) - 1 : 0;
    if (end == NULL || name == 0 || name >= sizeof out->function)
        return "--check: the function's name is missing, or its ')'";
    if (out->metric->weight < 0)
        return "--check: that figure is known of the whole program only";
    memcpy(out->function, *at + 1, name);
    out->function[name] = '\0';
    *at = end + 1;
    return NULL;
}

static const char *parse_op(const char **at, report_check *out)
{
    static const struct {
        const char *text;
        int op;
    } ops[] = {{"<=", OP_AT_MOST}, {">=", OP_AT_LEAST}, {"==", OP_EQUAL}, {"!=", OP_DIFFERENT},
               {"<", OP_LESS},     {">", OP_MORE},      {"=", OP_EQUAL}};
    for (size_t i = 0; i < HAK_COUNT_OF(ops); i++) {
        size_t n = strlen(ops[i].text);
        if (strncmp(*at, ops[i].text, n) == 0) {
            out->op = ops[i].op;
            *at += n;
            return NULL;
        }
    }
    return "--check wants a comparison: <, <=, >, >=, = or !=";
}

static bool unit_factor(const char *unit, metric_unit of, double *factor)
{
    static const struct {
        const char *text;
        metric_unit of;
        double factor;
    } units[] = {{"B", UNIT_BYTES, 1},
                 {"K", UNIT_BYTES, 1024},
                 {"M", UNIT_BYTES, 1048576},
                 {"G", UNIT_BYTES, 1073741824.},
                 {"T", UNIT_BYTES, 1099511627776.},
                 {"KiB", UNIT_BYTES, 1024},
                 {"MiB", UNIT_BYTES, 1048576},
                 {"GiB", UNIT_BYTES, 1073741824.},
                 {"TiB", UNIT_BYTES, 1099511627776.},
                 {"kB", UNIT_BYTES, 1e3},
                 {"MB", UNIT_BYTES, 1e6},
                 {"GB", UNIT_BYTES, 1e9},
                 {"K", UNIT_COUNT, 1e3},
                 {"k", UNIT_COUNT, 1e3},
                 {"M", UNIT_COUNT, 1e6},
                 {"G", UNIT_COUNT, 1e9},
                 {"s", UNIT_TIME, 1e9},
                 {"ms", UNIT_TIME, 1e6},
                 {"us", UNIT_TIME, 1e3},
                 {"ns", UNIT_TIME, 1}};
    *factor = of == UNIT_TIME ? 1e9 : 1;
    for (size_t i = 0; i < HAK_COUNT_OF(units) && *unit != '\0'; i++) {
        if (units[i].of == of && strcmp(units[i].text, unit) == 0) {
            *factor = units[i].factor;
            return true;
        }
    }
    return *unit == '\0';
}

const char *report_check_parse(const char *text, report_check *out)
{
    char packed[512];
    size_t n = 0;
    double factor;
    *out = (report_check){.text = text};
    for (const char *at = text; *at != '\0'; at++) { /* blanks matter in names only */
        if (n + 1 == sizeof packed)
            return "--check: too long";
        if (!isspace((unsigned char)*at) || (n != 0 && strchr(text, '(') != NULL && strchr(at, ')') != NULL))
            packed[n++] = *at;
    }
    packed[n] = '\0';
    const char *at = packed;
    const char *fault = parse_metric(&at, out);
    if (fault == NULL)
        fault = parse_op(&at, out);
    if (fault != NULL)
        return fault;
    char *end;
    out->limit = strtod(at, &end);
    if (end == at || (!isdigit((unsigned char)*at) && *at != '.') || !(out->limit < 1e19))
        return "--check wants a number behind the comparison";
    out->percent = strcmp(end, "%") == 0;
    if (out->percent)
        return out->metric->weight >= 0 ? NULL : "--check: no share of that figure";
    if (!unit_factor(end, out->metric->unit, &factor))
        return "--check: unknown unit";
    out->limit *= factor;
    return NULL;
}

/* ---- judging ---- */

typedef struct finding {
    uint64_t value;
    uint64_t whole; /* for shares */
    uint64_t most;  /* of one place */
    uint32_t place;
    bool has_place;
} finding;

static void see_place(finding *f, uint64_t value, uint32_t place)
{
    if (value <= f->most)
        return;
    f->most = value;
    f->place = place;
    f->has_place = true;
}

/* In and below the function; a recursion counts once. False: no memory. */
static bool look_below(const report *r, const report_check *check, finding *f)
{
    const hak_tree *tree = r->tree;
    uint8_t *inside = calloc(tree->count, 1);
    if (inside == NULL)
        return false;
    for (uint32_t i = 1; i < tree->count; i++) {
        const hak_tree_node *node = &tree->nodes[i];
        const char *name = hak_places_at(r->places, node->place)->function;
        inside[i] = inside[node->parent];
        if (inside[i] == 0 && name != NULL && hak_name_matches(check->function, name)) {
            inside[i] = 1;
            f->value += tree->sums[i].of[check->metric->weight];
        }
        if (inside[i] != 0 && node->usage != HAK_TREE_NO_USAGE)
            see_place(f, check->metric->part(tree->usages[node->usage]), node->place);
    }
    free(inside);
    return true;
}

static void look_at_whole(const report *r, const report_check *check, finding *f)
{
    uint64_t bytes, blocks;
    uint32_t worst;
    f->value = check->metric->whole(r);
    if (check->metric->whole == leaked && report_leaked(r, &bytes, &blocks, &worst) && worst != 0) {
        see_place(f, r->tree->usages[r->tree->nodes[worst].usage]->live_bytes, r->tree->nodes[worst].place);
        return;
    }
    for (size_t i = 0; check->metric->part != NULL && i < r->list_count; i++) {
        if (r->list[i].frames_count != 0)
            see_place(f, check->metric->part(r->list[i].usage), hak_sites_frames(r->sites, &r->list[i])[0]);
    }
}

static bool compare(double value, int op, double limit)
{
    switch (op) {
    case OP_LESS:
        return value < limit;
    case OP_AT_MOST:
        return value <= limit;
    case OP_MORE:
        return value > limit;
    case OP_AT_LEAST:
        return value >= limit;
    case OP_EQUAL:
        return value == limit;
    default:
        return value != limit;
    }
}

static const char *format_value(char *out, metric_unit unit, double value)
{
    uint64_t whole = value < 0 ? 0 : value < 1.8e19 ? (uint64_t)value : UINT64_MAX;
    return unit == UNIT_BYTES  ? format_bytes(out, whole)
           : unit == UNIT_TIME ? format_time(out, whole)
                               : format_count(out, whole);
}

static void tell(const report *r, const report_check *check, const finding *f, double value)
{
    char a[REPORT_NUMBER], b[REPORT_NUMBER], text[512], place[2048];
    double over = value - check->limit;
    metric_unit unit = check->metric->unit;
    format_safe(text, sizeof text, check->text, 0);
    fprintf(stderr, "hakmem-report: check failed: %s: ", text);
    if (check->percent)
        fprintf(stderr, "is %.1f%%, %.1f points %s", value, over < 0 ? -over : over,
                over < 0 ? "below" : "over");
    else
        fprintf(stderr, "is %s, %s %s", format_value(a, unit, value),
                format_value(b, unit, over < 0 ? -over : over), over < 0 ? "below" : "over");
    if (!check->percent && check->limit > 0 && over != 0)
        fprintf(stderr, " (%+.1f%%)", over / check->limit * 100);
    if (f->has_place) {
        format_place(place, sizeof place, hak_places_at(r->places, f->place), true);
        fprintf(stderr, "; most in %s (%s)", place, format_value(a, unit, (double)f->most));
    }
    fputc('\n', stderr);
}

bool report_check_holds(const report *r, const report_check *check)
{
    finding f = {.value = 0};
    if (check->metric->weight >= 0)
        f.whole = r->tree->sums[0].of[check->metric->weight];
    if (check->percent) /* a function's share of the program; of the program itself, of its calls or bytes */
        f.whole = check->function[0] != '\0'          ? f.whole
                  : check->metric->unit == UNIT_COUNT ? r->total.calls
                                                      : r->total.bytes;
    if (check->function[0] == '\0')
        look_at_whole(r, check, &f);
    else if (!look_below(r, check, &f))
        return report_trouble(r->traces[0].path, "out of memory") == REPORT_FINE;
    double value = (double)f.value;
    if (check->percent)
        value = f.whole == 0 ? 0 : 100 * (double)f.value / (double)f.whole;
    if (compare(value, check->op, check->limit))
        return true;
    tell(r, check, &f, value);
    return false;
}
