/* replay_view.c: see replay_view.h. Text from traces and targets is cleaned before it is shown. */
#include "cli/replay_view.h"

#include <math.h>
#include <string.h>

#include "cli/text.h"

static void ns_text(char *text, size_t text_bytes, double ns)
{
    snprintf(text, text_bytes, ns < 999.5 ? "%.1f ns" : "%.0f ns", ns);
}

/* "0.84 [0.82, 0.86] *" */
static void ratio_text(char *text, size_t text_bytes, const hak_ratio *ratio, bool with_interval)
{
    if (!(ratio->ratio > 0))
        snprintf(text, text_bytes, "-");
    else if (!ratio->known || !with_interval)
        snprintf(text, text_bytes, "%.2f%s", ratio->ratio, hak_ratio_significant(ratio) ? " *" : "");
    else
        snprintf(text, text_bytes, "%.2f [%.2f, %.2f]%s", ratio->ratio, ratio->low, ratio->high,
                 hak_ratio_significant(ratio) ? " *" : "");
}

static void name_text(char *text, size_t text_bytes, const hak_compare_row *row)
{
    const char *name = row->target.name;
    const char *slash = strrchr(name, '/');
    if (row->target.null || strchr(name, ':') != NULL || row->median.version[0] == '\0')
        snprintf(text, text_bytes, "%s", name);
    else
        snprintf(text, text_bytes, "%s %s", slash != NULL ? slash + 1 : name, row->median.version);
}

static const char *tint(const hak_ratio *ratio, const hak_replay_setup *setup)
{
    if (!setup->colour || !hak_ratio_significant(ratio))
        return "";
    return ratio->ratio < 1 ? "\033[32m" : "\033[31m";
}

static void print_row(FILE *out, const hak_replayed *replayed, size_t index, const hak_replay_setup *setup,
                      int width)
{
    const hak_compare_row *row = &replayed->compare.rows[index];
    const hak_measure *m = &row->median;
    bool touched = strcmp(setup->touch, "none") != 0;
    char name[96], raw[TEXT_NUMBER], net[TEXT_NUMBER], first[TEXT_NUMBER], rss[TEXT_NUMBER];
    char time[48], rss_ratio[48], faults[TEXT_NUMBER];
    name_text(name, sizeof name, row);
    if (row->runs == 0) {
        fprintf(out, "%-*s  -  ", width, name);
        put_safe(out, row->problem[0] != '\0' ? row->problem : "not measured");
        putc('\n', out);
        return;
    }
    ns_text(raw, sizeof raw, m->ns_per_op);
    ns_text(net, sizeof net, row->net_ns_per_op);
    ns_text(first, sizeof first, m->ns_per_op_cold);
    ratio_text(time, sizeof time, &row->time, index != replayed->baseline);
    ratio_text(rss_ratio, sizeof rss_ratio, &row->rss, false);
    format_bytes(rss, m->peak_rss_bytes);
    format_count(faults, m->minor_faults);
    bool real = touched && !row->target.null;
    const char *time_tint = row->target.null ? "" : tint(&row->time, setup);
    const char *rss_tint = real ? tint(&row->rss, setup) : "";
    fprintf(out, "%-*s %10s %10s  %s%-20s%s %10s %10s  %s%-6s%s %8s\n", width, name, raw,
            row->target.null ? "" : net, time_tint, row->target.null ? "" : time,
            *time_tint != '\0' ? "\033[0m" : "", first, real ? rss : "-", rss_tint, real ? rss_ratio : "-",
            *rss_tint != '\0' ? "\033[0m" : "", faults);
    if (row->problem[0] != '\0') {
        fprintf(out, "%-*s  given up after %u rounds: ", width, "", row->runs);
        put_safe(out, row->problem);
        putc('\n', out);
    }
    if (m->failed_allocations != 0)
        fprintf(out, "%-*s  %llu allocations failed that had not failed in the recording\n", width, "",
                (unsigned long long)m->failed_allocations);
}

static int name_width(const hak_compare *compare)
{
    int width = 16;
    for (size_t i = 0; i < compare->row_count; i++) {
        char name[96];
        name_text(name, sizeof name, &compare->rows[i]);
        if ((int)strlen(name) > width)
            width = (int)strlen(name);
    }
    return width;
}

static void print_heading(FILE *out, const hak_replayed *replayed)
{
    char operations[TEXT_NUMBER], live[TEXT_NUMBER];
    format_count(operations, replayed->info.operations);
    format_bytes(live, replayed->info.live_max_bytes);
    put_safe(out, replayed->path);
    fprintf(out, ": %s operations, %u thread%s, at most %s live", operations, replayed->info.threads,
            replayed->info.threads == 1 ? "" : "s", live);
    if (replayed->info.cross_thread_frees != 0) {
        char cross[TEXT_NUMBER];
        format_count(cross, replayed->info.cross_thread_frees);
        fprintf(out, ", %s freed by another thread", cross);
    }
    putc('\n', out);
}

/* "1.2" below 10, else whole. */
static void short_ns(char *text, size_t text_bytes, double ns)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    size_t unit = 0;
    for (; ns >= 9999.5 && unit + 1 < HAK_COUNT_OF(units); unit++)
        ns /= 1000;
    snprintf(text, text_bytes, "%.0f %s", ns, units[unit]);
}

static void print_latency(FILE *out, const hak_compare_row *row, const char *name, int width)
{
    static const char *const points[] = {
#define X(name, text) text,
        HAK_LATENCY_POINTS(X)
#undef X
    };
    static const double shares[] = {0.5, 0.99, 0.999};
    const hak_detail *d = row->detail;
    bool first = true;
    for (size_t i = 0; i < HAK_LATENCY_POINT_COUNT; i++) {
        char text[4][TEXT_NUMBER];
        if (hak_latency_count(&d->latency[i]) == 0)
            continue;
        for (size_t k = 0; k < HAK_COUNT_OF(shares); k++)
            short_ns(text[k], sizeof text[k],
                     hak_latency_quantile(&d->latency[i], shares[k]) * d->ns_per_tick);
        short_ns(text[3], sizeof text[3], (double)atomic_load(&d->latency[i].max) * d->ns_per_tick);
        fprintf(out, "%-*s %8s %9s %9s %9s %9s\n", width, first ? name : "", points[i], text[0], text[1],
                text[2], text[3]);
        first = false;
    }
}

static void print_calls(FILE *out, const hak_detail *d)
{
    static const char *const names[] = {
#define X(name) #name,
        HAK_SYSTEM_CALLS(X)
#undef X
    };
    bool any = false;
    for (size_t i = 0; i < HAK_SYSTEM_CALL_COUNT && d->system_calls_known; i++) {
        uint64_t count = atomic_load(&d->system_calls[i]);
        if (count != 0)
            fprintf(out, "%s%s %llu", any ? ", " : "", names[i], (unsigned long long)count);
        any |= count != 0;
    }
    if (!d->system_calls_known)
        fputs("not countable here", out);
    else if (!any)
        fputs("none", out);
}

/* What the observed and the timed pass found. */
static void print_detail(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup, int width)
{
    const hak_compare *compare = &replayed->compare;
    const hak_detail *any = NULL;
    char name[96], rss[TEXT_NUMBER], waste[TEXT_NUMBER], most[TEXT_NUMBER];
    bool touched = strcmp(setup->touch, "none") != 0;
    for (size_t i = 0; i < compare->row_count; i++) {
        const hak_detail *d = compare->rows[i].detail;
        if (d == NULL)
            continue;
        if (any == NULL)
            fprintf(out, "\n%-*s %10s %10s %10s  %s\n", width, "MEMORY OVER TIME", "MEAN RSS", "RSS-LIVE",
                    "AT MOST", "SYSTEM CALLS");
        any = d;
        name_text(name, sizeof name, &compare->rows[i]);
        format_bytes(rss, (uint64_t)d->rss_mean_bytes);
        format_bytes(waste, (uint64_t)d->waste_mean_bytes);
        format_bytes(most, d->waste_max_bytes);
        bool sampled = touched && d->sample_count != 0;
        fprintf(out, "%-*s %10s %10s %10s  ", width, name, sampled ? rss : "-", sampled ? waste : "-",
                sampled ? most : "-");
        print_calls(out, d);
        putc('\n', out);
    }
    if (any == NULL)
        return;
    fprintf(out, "\n%-*s %8s %9s %9s %9s %9s\n", width, "LATENCY", "CALL", "p50", "p99", "p99.9", "MAX");
    for (size_t i = 0; i < compare->row_count; i++)
        if (compare->rows[i].detail != NULL) {
            name_text(name, sizeof name, &compare->rows[i]);
            print_latency(out, &compare->rows[i], name, width);
        }
    fprintf(out,
            "From passes of their own. The clock steps by %.0f ns; an empty measurement shows %.0f ns, in "
            "every value.\n",
            any->quantum_ns, any->timer_ns);
}

void hak_replay_print_table(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup)
{
    const hak_compare *compare = &replayed->compare;
    int width = name_width(compare);
    const char *base = compare->rows[replayed->baseline].target.name;
    char against[40];
    snprintf(against, sizeof against, "vs %.14s [95%% CI]", base);
    print_heading(out, replayed);
    fprintf(out, "%s%-*s %10s %10s  %-20s %10s %10s  %-6s %8s%s\n", setup->colour ? "\033[1m" : "", width,
            "ALLOCATOR", "TIME/op", "NET", against, "FIRST", "PEAK RSS", "vs", "FAULTS",
            setup->colour ? "\033[0m" : "");
    for (size_t i = 0; i < compare->row_count; i++)
        print_row(out, replayed, i, setup, width);
    fprintf(out,
            "%u interleaved round%s of %u pass%s; touch: %s; order: %s; * significant. NET: less the "
            "replayer's own "
            "%.1f ns (null).\n",
            compare->rounds, compare->rounds == 1 ? "" : "s", setup->repeats, setup->repeats == 1 ? "" : "es",
            setup->touch, setup->order, compare->null_ns_per_op);
    if (strcmp(setup->touch, "none") == 0)
        fputs("Blocks were not touched, so resident memory says nothing and is not shown.\n", out);
    print_detail(out, replayed, setup, width);
    hak_replay_print_best(out, replayed, setup);
}

/* Geometric mean over the traces in which the target and its ratio exist; 0 if none. */
static double mean_ratio(const hak_replayed *all, size_t count, size_t row, bool rss)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const hak_compare_row *r = &all[i].compare.rows[row];
        const hak_ratio *ratio = rss ? &r->rss : &r->time;
        if (r->runs != 0 && ratio->ratio > 0) {
            sum += log(ratio->ratio);
            n++;
        }
    }
    return n != 0 ? exp(sum / (double)n) : 0;
}

void hak_replay_print_summary(FILE *out, const hak_replayed *all, size_t count, const hak_replay_setup *setup)
{
    int width = name_width(&all[0].compare);
    fprintf(out, "all %zu traces, geometric means against %s\n", count,
            all[0].compare.rows[all[0].baseline].target.name);
    fprintf(out, "%-*s %10s %10s\n", width, "ALLOCATOR", "TIME/op", "PEAK RSS");
    for (size_t i = 0; i < all[0].compare.row_count; i++) {
        char name[96];
        const hak_compare_row *row = &all[0].compare.rows[i];
        if (row->target.null)
            continue;
        name_text(name, sizeof name, row);
        double time = mean_ratio(all, count, i, false), rss = mean_ratio(all, count, i, true);
        char time_text[16] = "-", rss_text[16] = "-";
        if (time > 0)
            snprintf(time_text, sizeof time_text, "%.2f", time);
        if (rss > 0 && strcmp(setup->touch, "none") != 0)
            snprintf(rss_text, sizeof rss_text, "%.2f", rss);
        fprintf(out, "%-*s %10s %10s\n", width, name, time_text, rss_text);
    }
}
