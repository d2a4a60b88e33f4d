/* report_text.c: tables of the report for people: sites, growers, sizes. */
#include "cli/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { GROWERS = 5, BAR_STEPS = 8, ORDER_WIDTH = 10 };

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
    {"CALLS", 9, 36, text_calls},   {"BYTES", 10, 72, text_bytes},   {"AT PEAK", 10, 0, text_peak},
    {"LEFT", 10, 84, text_left},    {"TEMP", 6, 56, text_temporary}, {"LIFE p50", 9, 78, text_life},
    {"EVENTS", 8, 96, text_events},
};

static bool is_shown(const report *r, const struct column *column)
{
    unsigned more = r->options->order->title != NULL && column->from != 0 ? ORDER_WIDTH : 0;
    return report_fits(r, column->from + more);
}

static unsigned print_titles(const report *r, FILE *out)
{
    const report_order *order = r->options->order;
    unsigned before = 2;
    fprintf(out, "\n%s", report_bold(r));
    for (size_t i = 0; i < HAK_COUNT_OF(columns); i++) {
        if (!is_shown(r, &columns[i]))
            continue;
        report_cell(out, columns[i].title, columns[i].width);
        before += (unsigned)columns[i].width;
    }
    if (order->title != NULL) {
        report_cell(out, order->title, ORDER_WIDTH);
        before += ORDER_WIDTH;
    }
    fprintf(out, "  SITE%s\n", report_plain(r));
    return before;
}

static void print_site(const report *r, const hak_site *site, unsigned before, FILE *out)
{
    char text[REPORT_LINE];
    const report_order *order = r->options->order;
    for (size_t i = 0; i < HAK_COUNT_OF(columns); i++) {
        if (!is_shown(r, &columns[i]))
            continue;
        columns[i].text(text, site);
        report_cell(out, text, columns[i].width);
    }
    if (order->title != NULL) {
        order->text(text, site);
        report_cell(out, text, ORDER_WIDTH);
    }
    fprintf(out, "  ");
    report_last_site(r, out, site, before);
}

void report_sites_table(const report *r, FILE *out)
{
    size_t shown = report_shown(r, r->list_count);
    if (shown == 0) {
        report_nothing(r, out, "nothing was allocated");
        return;
    }
    unsigned before = print_titles(r, out);
    for (size_t i = 0; i < shown; i++)
        print_site(r, &r->list[i], before, out);
    if (shown == r->list_count)
        return;
    hak_usage rest = {.calls = 0};
    for (size_t i = shown; i < r->list_count; i++)
        hak_usage_add(&rest, r->list[i].usage);
    char a[REPORT_NUMBER], b[REPORT_NUMBER], c[REPORT_NUMBER], text[256];
    size_t more = r->list_count - shown;
    snprintf(text, sizeof text, "%zu more site%s: %s calls, %s, %s at peak (--top=0 shows all)", more,
             report_s(more), format_count(a, rest.calls), format_bytes(b, rest.bytes),
             format_bytes(c, rest.at_peak_bytes));
    fputs(report_dim(r), out);
    report_words(r, out, text, 2);
    fputs(report_plain(r), out);
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
    bool wide = report_fits(r, 64);
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
        fprintf(out, "\n%s  REGROWN%s    COPIED%s  GROWS AT%s\n", report_bold(r), wide ? "   MOVED" : "",
                wide ? "   LARGEST" : "", report_plain(r));
    }
    size_t shown = report_shown(r, count);
    if (r->options->top != 0 && shown > GROWERS)
        shown = GROWERS;
    for (size_t i = 0; i < count && i < shown; i++) {
        const hak_usage *u = growers[i]->usage;
        char n[REPORT_NUMBER];
        report_cell(out, format_count(n, u->reallocs + u->grown), 9);
        if (wide)
            report_cell(out, format_share(n, u->moved + u->grown, u->reallocs + u->grown), 8);
        report_cell(out, format_bytes(n, copied(growers[i])), 10);
        if (wide)
            report_cell(out, format_bytes(n, u->size_max_bytes), 10);
        fprintf(out, "  ");
        report_last_site(r, out, growers[i], wide ? 39 : 21);
    }
    report_more(r, out, count - shown, "that grow");
    if (count == 0 && !r->options->overview)
        report_nothing(r, out, "nothing grew by copying");
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
    if (most == 0) {
        if (!r->options->overview)
            report_nothing(r, out, "nothing was allocated");
        return;
    }
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
