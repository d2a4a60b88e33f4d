/* report_lives.c: what lives briefly and how long: temporary allocations, and a histogram of lifetimes per
 * site. */
#include "cli/report.h"

#include <inttypes.h>
#include <string.h>

void report_temporary(const report *r, FILE *out)
{
    char n[REPORT_NUMBER], m[REPORT_NUMBER], text[REPORT_LINE];
    fprintf(out, "\n%s of %s allocations (", format_count(n, r->total.temporary),
            format_count(m, r->total.calls));
    fprintf(out, "%s) were freed before their thread had allocated ",
            format_share(n, r->total.temporary, r->total.calls));
    if (r->options->temporary == 0)
        fprintf(out, "again.\n");
    else
        fprintf(out, "more than %" PRIu64 " times again.\n", r->options->temporary);
    fprintf(out, "\n%sTEMPORARY  OF CALLS  MEAN SIZE  SITE%s\n", report_bold(r), report_plain(r));
    size_t shown = report_shown(r, r->list_count);
    size_t more = 0;
    for (size_t i = 0; i < r->list_count; i++) {
        const hak_usage *u = r->list[i].usage;
        if (u->temporary == 0)
            continue;
        if (shown == 0) {
            more++;
            continue;
        }
        shown--;
        report_cell(out, format_count(n, u->temporary), 9);
        report_cell(out, format_share(n, u->temporary, u->calls), 10);
        report_cell(out, format_bytes(n, u->calls == 0 ? 0 : u->bytes / u->calls), 11);
        format_site(text, sizeof text, r, &r->list[i]);
        fprintf(out, "  ");
        report_last(r, out, text, 32);
    }
    report_more(r, out, more, "sites");
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

static void print_histogram(const hak_site *site, FILE *out)
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
        fprintf(out, "    %s", bars[most == 0 ? 0 : (counts[i] * BAR_STEPS + most - 1) / most]);
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
    fprintf(out, "\n%s    CALLS  <1µ <10µ <.1m <1m <10m <.1s >.1s exit         p50       p99  SITE%s\n",
            report_bold(r), report_plain(r));
    size_t shown = report_shown(r, r->list_count);
    for (size_t i = 0; i < shown; i++) {
        const hak_site *site = &r->list[i];
        char n[REPORT_NUMBER], text[REPORT_LINE];
        report_cell(out, format_count(n, site->usage->calls), 9);
        print_histogram(site, out);
        report_cell(out, format_life(n, hak_site_life_ns(site, 0.5)), 13);
        report_cell(out, format_life(n, hak_site_life_ns(site, 0.99)), 10);
        format_site(text, sizeof text, r, site);
        fprintf(out, "  ");
        report_last(r, out, text, 9 + 5 * STEPS + 13 + 10 + 2);
    }
    report_more(r, out, r->list_count - shown, "sites");
}
