/* report_lives.c: what lives briefly and how long: temporary allocations, and a histogram of lifetimes per
 * site. */
#include "cli/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int by_temporary(const void *a, const void *b)
{
    const hak_usage *x = (*(const hak_site *const *)a)->usage;
    const hak_usage *y = (*(const hak_site *const *)b)->usage;
    if (x->temporary != y->temporary)
        return x->temporary < y->temporary ? 1 : -1;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

void report_temporary(const report *r, FILE *out)
{
    char n[REPORT_NUMBER], m[REPORT_NUMBER];
    char text[256];
    snprintf(text, sizeof text, "%s of %s allocations (", format_count(n, r->total.temporary),
             format_count(m, r->total.calls));
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s) were freed before their thread had allocated ",
             format_share(n, r->total.temporary, r->total.calls));
    used = strlen(text);
    if (r->options->temporary == 0)
        snprintf(text + used, sizeof text - used, "again.");
    else
        snprintf(text + used, sizeof text - used, "more than %" PRIu64 " time%s again.",
                 r->options->temporary, report_s(r->options->temporary));
    fputc('\n', out);
    report_words(r, out, text, 0);
    const hak_site **list = r->total.temporary != 0 ? calloc(r->list_count, sizeof *list) : NULL;
    size_t count = 0;
    for (size_t i = 0; list != NULL && i < r->list_count; i++) {
        if (r->list[i].usage->temporary != 0)
            list[count++] = &r->list[i];
    }
    if (list == NULL)
        return;
    qsort(list, count, sizeof *list, by_temporary);
    bool wide = report_fits(r, 56);
    fprintf(out, "\n%sTEMPORARY  OF CALLS%s  SITE%s\n", report_bold(r), wide ? "  MEAN SIZE" : "",
            report_plain(r));
    size_t shown = report_shown(r, count);
    for (size_t i = 0; i < shown; i++) {
        const hak_usage *u = list[i]->usage;
        report_cell(out, format_count(n, u->temporary), 9);
        report_cell(out, format_share(n, u->temporary, u->calls), 10);
        if (wide)
            report_cell(out, format_bytes(n, u->calls == 0 ? 0 : u->bytes / u->calls), 11);
        fprintf(out, "  ");
        report_last_site(r, out, list[i], wide ? 32 : 21);
    }
    report_more(r, out, count - shown, "sites");
    free(list);
}

/* ---- lifetimes ---- */

/* Powers of ten of time, as people say them; the last is "to exit". */
enum { STEPS = 8, BAR_STEPS = 8 };

static unsigned step_of(unsigned bucket)
{
    uint64_t ns = (UINT64_C(1) << bucket) * HAK_LIFE_UNIT_NS;
    unsigned step = 0;
    for (uint64_t limit = 1000; step + 2 < STEPS && ns >= limit; limit *= 10)
        step++;
    return step;
}

static void print_histogram(const hak_site *site, bool wide, FILE *out)
{
    static const char *const bars[BAR_STEPS + 1] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    uint64_t counts[STEPS] = {0};
    uint64_t most = site->usage->live_blocks;
    counts[STEPS - 1] = site->usage->live_blocks;
    hak_life room;
    const hak_life *life = hak_site_life(site, &room);
    for (unsigned i = 0; life != NULL && i < HAK_LIFE_BUCKETS; i++)
        counts[step_of(i)] += hak_life_time_count(life, i);
    for (unsigned i = 0; i < STEPS; i++)
        most = counts[i] > most ? counts[i] : most;
    for (unsigned i = 0; i < STEPS; i++)
        fprintf(out, "%s%s", wide ? "    " : "",
                bars[most == 0 ? 0 : (counts[i] * BAR_STEPS + most - 1) / most]);
}

static const char *format_life(char *out, uint64_t ns)
{
    if (ns != UINT64_MAX)
        return format_time(out, ns);
    snprintf(out, REPORT_NUMBER, "to exit");
    return out;
}

void report_lifetimes(const report *r, FILE *out)
{
    if (r->list_count == 0) {
        report_nothing(r, out, "nothing was allocated");
        return;
    }
    fputc('\n', out);
    bool wide = report_fits(r, 110);
    bool last = report_fits(r, 64);
    bool calls = report_fits(r, 52);
    unsigned before =
        wide ? 9 + 5 * STEPS + 10 + 10 + 2 : (calls ? 9 : 0) + 2 + STEPS + 10 + 2 + (last ? 10 : 0);
    if (!wide)
        report_words(r, out, "Bars: less than 1 µs, 10 µs, .1 ms, 1 ms, 10 ms, .1 s, more, never freed.", 0);
    fprintf(out, "%s%s  %s       p50%s  SITE%s\n", report_bold(r), calls ? "    CALLS" : "",
            wide ? " <1µ <10µ <.1m <1m <10m <.1s >.1s exit" : "LIVES   ", last ? "       p99" : "",
            report_plain(r));
    size_t shown = report_shown(r, r->list_count);
    for (size_t i = 0; i < shown; i++) {
        const hak_site *site = &r->list[i];
        char n[REPORT_NUMBER];
        if (calls)
            report_cell(out, format_count(n, site->usage->calls), 9);
        if (!wide)
            fprintf(out, "  ");
        print_histogram(site, wide, out);
        report_cell(out, format_life(n, hak_site_life_ns(site, 0.5)), 10);
        if (last)
            report_cell(out, format_life(n, hak_site_life_ns(site, 0.99)), 10);
        fprintf(out, "  ");
        report_last_site(r, out, site, before);
    }
    report_more(r, out, r->list_count - shown, "sites");
}
