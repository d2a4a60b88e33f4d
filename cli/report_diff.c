/* report_diff.c: two sets of traces, what changed. Sites are told apart by function, not by line: lines move
 * between builds. */
#include <stdlib.h>
#include <string.h>

#include "cli/export.h"
#include "cli/report.h"
#include "cli/report_json.h"

enum { NARROW = 52 }; /* columns from which both sides of a site are shown */

/* A site on both sides; the one it does not have is NULL. */
typedef struct pair {
    const hak_site *base;
    const hak_site *new;
    int64_t change; /* of the order's key */
} pair;

static const hak_sites *sorting;

static int by_frames(const void *a, const void *b)
{
    const hak_site *x = *(const hak_site *const *)a;
    const hak_site *y = *(const hak_site *const *)b;
    if (x->frames_count != y->frames_count)
        return x->frames_count < y->frames_count ? -1 : 1;
    if (x->frames_count == 0)
        return 0;
    return memcmp(hak_sites_frames(sorting, x), hak_sites_frames(sorting, y),
                  x->frames_count * sizeof(uint32_t));
}

static const hak_site **sorted(const report *r)
{
    const hak_site **list = calloc(r->list_count + 1, sizeof *list);
    for (size_t i = 0; list != NULL && i < r->list_count; i++)
        list[i] = &r->list[i];
    sorting = r->sites;
    if (list != NULL)
        qsort(list, r->list_count, sizeof *list, by_frames);
    return list;
}

static int compare(const report *base, const report *new, const hak_site *x, const hak_site *y)
{
    if (x->frames_count != y->frames_count)
        return x->frames_count < y->frames_count ? -1 : 1;
    return x->frames_count == 0 ? 0
                                : memcmp(hak_sites_frames(base->sites, x), hak_sites_frames(new->sites, y),
                                         x->frames_count * sizeof(uint32_t));
}

static uint64_t size_of(int64_t change)
{
    return change < 0 ? -(uint64_t)change : (uint64_t)change;
}

static int by_change(const void *a, const void *b)
{
    const pair *x = a;
    const pair *y = b;
    if (size_of(x->change) != size_of(y->change))
        return size_of(x->change) < size_of(y->change) ? 1 : -1;
    return 0;
}

static int64_t change_of(const report *r, const pair *p)
{
    uint64_t before = p->base != NULL ? r->options->order->key(p->base) : 0;
    uint64_t after = p->new != NULL ? r->options->order->key(p->new) : 0;
    return (int64_t)(after - before);
}

/* The caller frees; NULL: no memory. */
static pair *join(const report *base, const report *new, size_t *count)
{
    const hak_site **x = sorted(base);
    const hak_site **y = sorted(new);
    pair *pairs = calloc(base->list_count + new->list_count + 1, sizeof *pairs);
    size_t i = 0, k = 0;
    *count = 0;
    while (x != NULL && y != NULL && pairs != NULL && (i < base->list_count || k < new->list_count)) {
        int order = i == base->list_count ? 1 : k == new->list_count ? -1 : compare(base, new, x[i], y[k]);
        pair *p = &pairs[(*count)++];
        p->base = order <= 0 ? x[i++] : NULL;
        p->new = order >= 0 ? y[k++] : NULL;
        p->change = change_of(new, p);
    }
    if (pairs != NULL)
        qsort(pairs, *count, sizeof *pairs, by_change);
    free(x);
    free(y);
    return pairs;
}

/* ---- totals ---- */

typedef struct figure {
    const char *name;
    uint64_t base;
    uint64_t new;
    const char *(*format)(char *out, uint64_t value);
} figure;

static uint64_t duration(const report *r)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < r->traces_count; i++)
        longest = r->traces[i].profile->duration_ns > longest ? r->traces[i].profile->duration_ns : longest;
    return longest;
}

enum { FIGURES = 8 };

static void figures_of(const report *b, const report *n, figure *out)
{
    const figure figures[FIGURES] = {
        {"allocations", b->total.calls, n->total.calls, format_count},
        {"allocated", b->total.bytes, n->total.bytes, format_bytes},
        {"peak heap", b->peak_bytes, n->peak_bytes, format_bytes},
        {"never freed", b->total.live_bytes, n->total.live_bytes, format_bytes},
        {"temporary", b->total.temporary, n->total.temporary, format_count},
        {"copied", b->total.copied_bytes + b->total.grown_bytes, n->total.copied_bytes + n->total.grown_bytes,
         format_bytes},
        {"pinned", b->total.pinned_bytes, n->total.pinned_bytes, format_bytes},
        {"duration", duration(b), duration(n), format_time},
    };
    memcpy(out, figures, sizeof figures);
}

static void format_change(char *out, uint64_t base, uint64_t new)
{
    if (base == new)
        snprintf(out, REPORT_NUMBER, "=");
    else if (base == 0)
        snprintf(out, REPORT_NUMBER, "new");
    else if (new / base >= 10)
        snprintf(out, REPORT_NUMBER, "×%.0f", (double)new / (double)base);
    else
        snprintf(out, REPORT_NUMBER, "%+.1f%%", ((double)new / (double)base - 1) * 100);
}

static const char *change_color(const report *r, uint64_t base, uint64_t new)
{
    return !r->options->color || base == new ? "" : new > base ? "\033[31m" : "\033[32m";
}

static void print_totals(const report *base, const report *new, FILE *out)
{
    figure figures[FIGURES];
    figures_of(base, new, figures);
    int wide = report_fits(new, NARROW) ? 11 : 9;
    fprintf(out, "%s%*s%*s%*s%*s%s\n", report_bold(new), wide + 2, "", wide, "BASE", wide, "NEW", wide,
            "CHANGE", report_plain(new));
    for (size_t i = 0; i < FIGURES; i++) {
        const figure *f = &figures[i];
        char n[REPORT_NUMBER];
        fprintf(out, "%-*s", wide + 2, f->name);
        report_cell(out, f->format(n, f->base), wide);
        report_cell(out, f->format(n, f->new), wide);
        format_change(n, f->base, f->new);
        fputs(change_color(new, f->base, f->new), out);
        report_cell(out, n, wide);
        fprintf(out, "%s\n", report_plain(new));
    }
}

static void print_names(const report *base, const report *new, FILE *out)
{
    const report *const sides[] = {base, new};
    for (size_t i = 0; i < HAK_COUNT_OF(sides); i++) {
        char text[REPORT_LINE], command[REPORT_LINE / 2], path[1024];
        export_command(command, sizeof command, &sides[i]->traces[0]);
        format_safe(path, sizeof path, sides[i]->traces[0].path, 0);
        snprintf(text, sizeof text, "%s  %s", path, command);
        fputs(i == 0 ? "BASE  " : "NEW   ", out);
        report_last(new, out, text, 6);
    }
    fputc('\n', out);
}

static const char *format_key(char *out, const report *r, uint64_t value)
{
    const char *name = r->options->order->name;
    if (strcmp(name, "calls") == 0 || strcmp(name, "temporary") == 0 || strcmp(name, "cross-thread") == 0)
        return format_count(out, value);
    if (strcmp(name, "lifetime") != 0)
        return format_bytes(out, value);
    return value == UINT64_MAX ? "to exit" : format_time(out, value);
}

static void print_pair(const report *base, const report *new, const pair *p, FILE *out)
{
    char n[REPORT_NUMBER];
    uint64_t before = p->base != NULL ? new->options->order->key(p->base) : 0;
    uint64_t after = p->new != NULL ? new->options->order->key(p->new) : 0;
    bool wide = report_fits(new, NARROW);
    if (wide)
        report_cell(out, p->base != NULL ? format_key(n, new, before) : "–", 11);
    report_cell(out, p->new != NULL ? format_key(n, new, after) : "–", 11);
    format_change(n, before, after);
    fputs(change_color(new, before, after), out);
    report_cell(out, p->new == NULL ? "gone" : n, 9);
    fputs(report_plain(new), out);
    fprintf(out, "  ");
    report_last_site(p->new != NULL ? new : base, out, p->new != NULL ? p->new : p->base, wide ? 33 : 22);
}

void report_diff(const report *base, const report *new, FILE *out)
{
    size_t count;
    pair *pairs = join(base, new, &count);
    print_names(base, new, out);
    print_totals(base, new, out);
    size_t changed = 0;
    while (pairs != NULL && changed < count && pairs[changed].change != 0)
        changed++;
    if (changed != 0)
        fprintf(out, "\n%s%s        NEW   CHANGE  SITE, by change of %s%s\n", report_bold(new),
                report_fits(new, NARROW) ? "       BASE" : "", new->options->order->name, report_plain(new));
    else
        fprintf(out, "\n  no site differs in %s\n", new->options->order->name);
    size_t shown = pairs != NULL ? report_shown(new, changed) : 0;
    for (size_t i = 0; i < shown; i++)
        print_pair(base, new, &pairs[i], out);
    report_more(new, out, changed - shown, "sites that changed");
    fprintf(out, "%s  %zu site%s unchanged%s\n", report_dim(new), count - changed, report_s(count - changed),
            report_plain(new));
    free(pairs);
}

void report_diff_json(const report *base, const report *new, FILE *out)
{
    size_t count;
    pair *pairs = join(base, new, &count);
    figure figures[FIGURES];
    figures_of(base, new, figures);
    fprintf(out, "{\"schema\":%d,\"tool\":\"hakmem-report %s\",\"sort\":\"%s\",\"totals\":{", REPORT_SCHEMA,
            HAKMEM_VERSION, new->options->order->name);
    for (size_t i = 0; i < FIGURES; i++) {
        json_string(out, figures[i].name);
        fprintf(out, ":[%llu,%llu]%s", (unsigned long long)figures[i].base,
                (unsigned long long)figures[i].new, i + 1 < FIGURES ? "," : "");
    }
    fputs("},\n\"sites\":[", out);
    size_t shown = pairs != NULL ? report_shown(new, count) : 0;
    for (size_t i = 0; i < shown; i++) {
        fputs(i == 0 ? "\n{\"base\":" : ",\n{\"base\":", out);
        json_usage(out, pairs[i].base != NULL ? pairs[i].base->usage : NULL);
        fputs(",\"new\":", out);
        json_usage(out, pairs[i].new != NULL ? pairs[i].new->usage : NULL);
        json_frames(out, pairs[i].new != NULL ? new : base,
                    pairs[i].new != NULL ? pairs[i].new : pairs[i].base);
        fputc('}', out);
    }
    fputs("]}\n", out);
    free(pairs);
}
