/* report_leaks.c: what was never freed, by whole stack, less what is suppressed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"
#include "cli/report_json.h"
#include "cli/report_suppress.h"

enum { FRAMES_SHOWN = 8 };

typedef struct leak {
    uint64_t bytes;
    uint64_t blocks;
    uint32_t node;
} leak;

typedef struct used {
    uint64_t blocks;
    uint64_t bytes;
} used;

/* The template that lets a node's stack leak; false: none. A node inherits from its parent. */
static bool suppressed(const report *r, uint32_t node, size_t *which)
{
    const report_suppressions *s = r->options->suppressions;
    for (; s != NULL && node != 0; node = r->tree->nodes[node].parent) {
        if (report_suppressions_match(s, hak_places_at(r->places, r->tree->nodes[node].place), which))
            return true;
    }
    return false;
}

static int by_bytes(const void *a, const void *b)
{
    const leak *x = a;
    const leak *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return (x->node > y->node) - (x->node < y->node);
}

/* The caller frees; NULL: no memory. `of` counts by template and may be NULL. */
static leak *find_leaks(const report *r, size_t *count, used *of)
{
    leak *list = calloc((size_t)r->tree->usages_count + 1, sizeof *list);
    *count = 0;
    for (uint32_t i = 0; list != NULL && i < r->tree->count; i++) {
        uint32_t number = r->tree->nodes[i].usage;
        const hak_usage *u = number != HAK_TREE_NO_USAGE ? r->tree->usages[number] : NULL;
        size_t which = 0;
        if (u == NULL || u->live_blocks == 0)
            continue;
        if (!suppressed(r, i, &which)) {
            list[(*count)++] = (leak){u->live_bytes, u->live_blocks, i};
        } else if (of != NULL) {
            of[which].blocks += u->live_blocks;
            of[which].bytes += u->live_bytes;
        }
    }
    if (list != NULL)
        qsort(list, *count, sizeof *list, by_bytes);
    return list;
}

bool report_leaked(const report *r, uint64_t *bytes, uint64_t *blocks, uint32_t *worst)
{
    size_t count;
    leak *list = find_leaks(r, &count, NULL);
    *bytes = *blocks = *worst = 0;
    for (size_t i = 0; list != NULL && i < count; i++) {
        *bytes += list[i].bytes;
        *blocks += list[i].blocks;
    }
    if (list != NULL && count != 0)
        *worst = list[0].node;
    free(list);
    return list != NULL;
}

static void print_leak(const report *r, const leak *at, FILE *out)
{
    char a[REPORT_NUMBER], b[REPORT_NUMBER], text[REPORT_LINE];
    fprintf(out, "\n%s%s in %s block%s%s %s%s\n", report_bold(r), format_bytes(a, at->bytes),
            format_count(b, at->blocks), report_s(at->blocks), report_plain(r), report_left(r),
            report_fits(r, 48) ? ", allocated in" : "");
    unsigned shown = 0;
    uint32_t node = at->node;
    if (node == 0)
        fprintf(out, "    (no call context)\n");
    for (; node != 0 && shown < FRAMES_SHOWN; node = r->tree->nodes[node].parent, shown++) {
        format_wide_place(text, sizeof text, r, hak_places_at(r->places, r->tree->nodes[node].place), 4);
        fprintf(out, "    ");
        report_last(r, out, text, 4);
    }
    if (node != 0)
        fprintf(out, "    …\n");
}

static void print_used(const report *r, const used *of, FILE *out)
{
    size_t templates = report_suppressions_count(r->options->suppressions);
    fprintf(out, "\nSuppressions used:\n  count      bytes template\n");
    for (size_t i = 0; i < templates; i++) {
        char text[512];
        if (of[i].blocks == 0)
            continue;
        format_safe(text, sizeof text, report_suppressions_text(r->options->suppressions, i), 0);
        fprintf(out, "%7llu %10llu %s\n", (unsigned long long)of[i].blocks, (unsigned long long)of[i].bytes,
                text);
    }
}

void report_leaks_json(const report *r, FILE *out)
{
    size_t count = 0;
    leak *list = find_leaks(r, &count, NULL);
    fprintf(out, ",\n\"leaks_total\":%zu,\"leaks\":[", count);
    for (size_t i = 0; list != NULL && i < report_shown(r, count); i++) {
        fprintf(out, "%s{\"bytes\":%" PRIu64, i == 0 ? "\n" : ",\n", list[i].bytes);
        json_number(out, "blocks", list[i].blocks);
        fputs(",\"frames\":[", out);
        for (uint32_t node = list[i].node; node != 0; node = r->tree->nodes[node].parent) {
            fputs(node == list[i].node ? "{" : ",{", out);
            json_place(out, hak_places_at(r->places, r->tree->nodes[node].place));
            fputc('}', out);
        }
        fputs("]}", out);
    }
    fputc(']', out);
    free(list);
}

void report_leaks(const report *r, FILE *out)
{
    size_t templates =
        r->options->suppressions != NULL ? report_suppressions_count(r->options->suppressions) : 0;
    used *of = calloc(templates + 1, sizeof *of);
    size_t count = 0;
    leak *list = of != NULL ? find_leaks(r, &count, of) : NULL;
    size_t shown = report_shown(r, count);
    uint64_t bytes = 0;
    uint64_t blocks = 0;
    for (size_t i = 0; list != NULL && i < count; i++) {
        bytes += list[i].bytes;
        blocks += list[i].blocks;
        if (i < shown)
            print_leak(r, &list[i], out);
    }
    report_more(r, out, count - shown, "stacks");
    char a[REPORT_NUMBER], b[REPORT_NUMBER], text[256];
    if (count == 0)
        snprintf(text, sizeof text, "Everything was freed%s.",
                 templates != 0 ? ", or its leak is known" : "");
    else
        snprintf(text, sizeof text, "%s in %s block%s %s, from %zu stack%s.", format_bytes(a, bytes),
                 format_count(b, blocks), report_s(blocks), report_left(r), count, report_s(count));
    fputc('\n', out);
    report_words(r, out, text, 0);
    if (of != NULL && templates != 0)
        print_used(r, of, out);
    free(list);
    free(of);
}
