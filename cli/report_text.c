/* report_text.c: the report for people, when no other view is asked for: summary, sites, growers, sizes. */
#include "cli/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { GROWERS = 5, BAR_STEPS = 8 };

/* ---- one paragraph per trace ---- */

static void summarize(const report *r, const report_trace *t, FILE *out)
{
    const hak_trace_head *head = hak_reader_head(t->reader);
    const hak_trace_tail *tail = hak_reader_tail(t->reader);
    const hak_profile *p = t->profile;
    char name[256], a[REPORT_NUMBER];
    format_safe(name, sizeof name, *head->program != '\0' ? base_name(head->program) : t->path, 60);
    fprintf(out, "%s%s%s", report_bold(r), name, report_plain(r));
    if (head->pid != 0)
        fprintf(out, " (%" PRIu64 ")", head->pid);
    fprintf(out, " %s", format_time(a, p->duration_ns));
    fprintf(out, "  %s%s allocations", head->sample_bytes != 0 ? "about " : "",
            format_count(a, p->allocations));
    fprintf(out, "  %s in all", format_bytes(a, p->allocated_bytes));
    fprintf(out, "  peak heap %s", format_bytes(a, p->peak_bytes));
    if (p->rss_peak_bytes != 0)
        fprintf(out, "  peak RSS %s", format_bytes(a, p->rss_peak_bytes));
    fprintf(out, "\n  never freed %s", format_bytes(a, p->live_bytes));
    fprintf(out, " in %s blocks", format_count(a, p->live_blocks));
    fprintf(out, "  temporary %s", format_share(a, p->temporary, p->allocations));
    fprintf(out, "  peak at %s", format_time(a, p->peak_ns));
    uint32_t threads;
    hak_reader_threads(t->reader, &threads);
    fprintf(out, "  %" PRIu32 " thread%s", threads, threads == 1 ? "" : "s");
    if (p->failed != 0)
        fprintf(out, "  %s failed", format_count(a, p->failed));
    if (p->foreign != 0)
        fprintf(out, "  %s frees of unknown blocks", format_count(a, p->foreign));
    if (tail->events_lost != 0)
        fprintf(out, "  %s%s EVENTS LOST%s", report_bold(r), format_count(a, tail->events_lost),
                report_plain(r));
    if (head->sample_bytes != 0)
        fprintf(out, "  estimated from a sample every %s", format_bytes(a, head->sample_bytes));
    if (tail->end != HAK_END_PROGRAM)
        fprintf(out, "  recording ended %s", hak_trace_end_text(tail->end));
    fprintf(out, "\n");
    if (tail->walks_checked != 0 && tail->walks_wrong != 0)
        fprintf(out,
                "  contexts: %" PRIu64 " of %" PRIu64 " checked stack walks disagreed with the unwinder\n",
                tail->walks_wrong, tail->walks_checked);
}

void report_summary(const report *r, FILE *out)
{
    for (size_t i = 0; i < r->traces_count; i++)
        summarize(r, &r->traces[i], out);
}

void report_remarks(const report *r, FILE *out)
{
    unsigned changed = hak_places_changed_modules(r->places);
    if (changed != 0)
        fprintf(out, "%s%u file%s changed since the recording: shown without names%s\n", report_dim(r),
                changed, changed == 1 ? "" : "s", report_plain(r));
}

/* ---- sites ---- */

static void text_calls(char *out, const hak_site *site)
{
    format_count(out, site->usage->calls);
}

static void text_bytes(char *out, const hak_site *site)
{
    format_bytes(out, site->usage->bytes);
}

static void text_peak(char *out, const hak_site *site)
{
    format_bytes(out, site->usage->at_peak_bytes);
}

static void text_left(char *out, const hak_site *site)
{
    format_bytes(out, site->usage->live_bytes);
}

static void text_temporary(char *out, const hak_site *site)
{
    format_share(out, site->usage->temporary, site->usage->calls);
}

static void text_life(char *out, const hak_site *site)
{
    uint64_t ns = hak_site_life_ns(site, 0.5);
    if (ns == UINT64_MAX)
        snprintf(out, REPORT_NUMBER, "to exit");
    else if (ns <= HAK_LIFE_UNIT_NS)
        snprintf(out, REPORT_NUMBER, "<0.1 µs");
    else
        format_time(out, ns);
}

static void text_events(char *out, const hak_site *site)
{
    uint64_t count = hak_site_life_events(site, 0.5);
    if (count == UINT64_MAX)
        snprintf(out, REPORT_NUMBER, "–");
    else
        format_count(out, count);
}

/* On a narrow terminal the columns with the greatest `from` go first. */
static const struct column {
    const char *title;
    int width;
    unsigned from; /* columns that the terminal must have */
    void (*text)(char *out, const hak_site *site);
} columns[] = {
    {"CALLS", 9, 0, text_calls},    {"BYTES", 10, 72, text_bytes},  {"AT PEAK", 10, 0, text_peak},
    {"LEFT", 10, 84, text_left},    {"TEMP", 6, 0, text_temporary}, {"LIFE p50", 9, 78, text_life},
    {"EVENTS", 8, 96, text_events},
};

static bool has_column(const report *r, const struct column *column)
{
    return r->options->width == 0 || r->options->width >= column->from;
}

static unsigned print_titles(const report *r, FILE *out)
{
    const report_order *order = r->options->order;
    unsigned before = 2;
    fprintf(out, "\n%s", report_bold(r));
    for (size_t i = 0; i < HAK_COUNT_OF(columns); i++) {
        if (!has_column(r, &columns[i]))
            continue;
        report_cell(out, columns[i].title, columns[i].width);
        before += (unsigned)columns[i].width;
    }
    if (order->title != NULL) {
        report_cell(out, order->title, 10);
        before += 10;
    }
    fprintf(out, "  SITE%s\n", report_plain(r));
    return before;
}

static void print_site(const report *r, const hak_site *site, unsigned before, FILE *out)
{
    char text[REPORT_LINE];
    const report_order *order = r->options->order;
    for (size_t i = 0; i < HAK_COUNT_OF(columns); i++) {
        if (!has_column(r, &columns[i]))
            continue;
        columns[i].text(text, site);
        report_cell(out, text, columns[i].width);
    }
    if (order->title != NULL) {
        order->text(text, site);
        report_cell(out, text, 10);
    }
    format_site(text, sizeof text, r, site);
    fprintf(out, "  ");
    report_last(r, out, text, before);
}

void report_sites_table(const report *r, FILE *out)
{
    size_t shown = report_shown(r, r->list_count);
    if (shown == 0)
        return;
    unsigned before = print_titles(r, out);
    for (size_t i = 0; i < shown; i++)
        print_site(r, &r->list[i], before, out);
    if (shown == r->list_count)
        return;
    hak_usage rest = {.calls = 0};
    for (size_t i = shown; i < r->list_count; i++)
        hak_usage_add(&rest, r->list[i].usage);
    char a[REPORT_NUMBER], b[REPORT_NUMBER], c[REPORT_NUMBER];
    fprintf(out, "%s  %zu more sites: %s calls, %s, %s at peak (--top=0 shows all)%s\n", report_dim(r),
            r->list_count - shown, format_count(a, rest.calls), format_bytes(b, rest.bytes),
            format_bytes(c, rest.at_peak_bytes), report_plain(r));
}

/* ---- growers: who pays for growth by copying ---- */

static uint64_t copied(const hak_site *site)
{
    return site->usage->copied_bytes + site->usage->grown_bytes;
}

static int by_copied(const void *a, const void *b)
{
    uint64_t x = copied(*(const hak_site *const *)a);
    uint64_t y = copied(*(const hak_site *const *)b);
    return (x < y) - (x > y);
}

void report_growers(const report *r, FILE *out)
{
    const hak_site **growers = calloc(r->list_count + 1, sizeof *growers);
    size_t count = 0;
    if (growers == NULL)
        return;
    for (size_t i = 0; i < r->list_count; i++) {
        if (copied(&r->list[i]) != 0)
            growers[count++] = &r->list[i];
    }
    if (count != 0) {
        qsort(growers, count, sizeof *growers, by_copied);
        fprintf(out, "\n%s  REGROWN   MOVED    COPIED   LARGEST  GROWS AT%s\n", report_bold(r),
                report_plain(r));
    }
    size_t shown = report_shown(r, count);
    if (r->options->top != 0 && shown > GROWERS)
        shown = GROWERS;
    for (size_t i = 0; i < count && i < shown; i++) {
        const hak_usage *u = growers[i]->usage;
        char n[REPORT_NUMBER], text[REPORT_LINE];
        report_cell(out, format_count(n, u->reallocs + u->grown), 9);
        report_cell(out, format_share(n, u->moved + u->grown, u->reallocs + u->grown), 8);
        report_cell(out, format_bytes(n, copied(growers[i])), 10);
        report_cell(out, format_bytes(n, u->size_max_bytes), 10);
        format_site(text, sizeof text, r, growers[i]);
        fprintf(out, "  ");
        report_last(r, out, text, 39);
    }
    report_more(r, out, count - shown, "that grow");
    free(growers);
}

/* ---- sizes ---- */

/* ≤16, ≤64, ≤256 … as powers of four; the last takes the rest. */
enum { SIZE_COLUMNS = 12 };

void report_sizes(const report *r, FILE *out)
{
    static const char *const bars[BAR_STEPS + 1] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const names[SIZE_COLUMNS] = {"≤16",  "≤64",   "≤256", "≤1K", "≤4K",  "≤16K",
                                                    "≤64K", "≤256K", "≤1M",  "≤4M", "≤16M", ">16M"};
    uint64_t calls[SIZE_COLUMNS] = {0};
    uint64_t most = 0;
    unsigned last = 0;
    for (size_t t = 0; t < r->traces_count; t++) {
        for (unsigned bits = 0; bits < HAK_SIZE_BUCKETS; bits++) {
            unsigned column = bits <= 4 ? 0 : (bits - 3) / 2;
            calls[column < SIZE_COLUMNS ? column : SIZE_COLUMNS - 1] +=
                r->traces[t].profile->size_calls[bits];
        }
    }
    for (unsigned i = 0; i < SIZE_COLUMNS; i++) {
        most = calls[i] > most ? calls[i] : most;
        last = calls[i] != 0 ? i : last;
    }
    if (most == 0)
        return;
    fprintf(out, "\n%sSizes%s", report_bold(r), report_plain(r));
    unsigned used = 5;
    for (unsigned i = 0; i <= last; i++) {
        unsigned step = (unsigned)((calls[i] * BAR_STEPS + most - 1) / most);
        unsigned wide = (unsigned)strlen(names[i]) + 2; /* "≤" is one column of three bytes */
        if (r->options->width != 0 && used + wide > r->options->width) {
            fprintf(out, "\n     ");
            used = 5;
        }
        fprintf(out, "  %s %s", names[i], bars[step]);
        used += wide;
    }
    fprintf(out, "\n");
}
