/* replay_html.c: see replay_html.h. All text from traces, targets and files is escaped. A target's name in
 * the legend shows and hides its curves. */
#include "cli/replay_html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"

enum { WIDTH = 860, HEIGHT = 320, LEFT = 70, RIGHT = 10, TOP = 10, BOTTOM = 40, TICKS = 5 };

static const char *const colours[] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf",
                                      "#8c564b", "#e377c2", "#bcbd22", "#393b79", "#637939", "#843c39"};

static const char style[] =
    "body{font:14px system-ui,sans-serif;margin:2em auto;max-width:76em;color:#222;background:#fff}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;text-align:right;border-bottom:1px "
    "solid #ddd;white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left}svg{background:#fafafa;border:1px solid #ddd}"
    "svg text{font:11px system-ui,sans-serif;fill:#444}.better{color:#187818}.worse{color:#a01818}"
    ".legend label{margin-right:1.2em;cursor:pointer;white-space:nowrap}.note{color:#666}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}svg{background:#202020;border-"
    "color:#444}"
    "svg text{fill:#bbb}td,th{border-color:#444}.better{color:#6c6}.worse{color:#f77}}";

/* Hides the curves of a target in the same section. */
static const char script[] = "document.addEventListener('change',e=>{const b=e.target;if(!b.dataset.t)return;"
                             "b.closest('section').querySelectorAll('.c'+b.dataset.t).forEach(p=>p.style."
                             "display=b.checked?'':'none')})";

static void put_text(FILE *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '<' || *at == '>' || *at == '&' || *at == '"' || *at == '\'')
            fprintf(out, "&#%u;", *at);
        else
            putc(*at < ' ' || *at == 0x7f ? '?' : *at, out);
    }
}

static const char *colour_of(size_t row)
{
    return colours[row % HAK_COUNT_OF(colours)];
}

/* ---- a chart's frame ---- */

typedef struct chart {
    FILE *out;
    double x_max, y_max;  /* of a linear axis */
    double y_low, y_high; /* of a logarithmic one: decades */
    bool log_y;
} chart;

static double x_at(double share)
{
    return LEFT + share * (WIDTH - LEFT - RIGHT);
}

static double y_at(double share)
{
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static void chart_begin(const chart *c, const char *title, const char *x_title)
{
    fprintf(c->out, "<h3>%s</h3><svg width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">", title,
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    fprintf(c->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", WIDTH - RIGHT, HEIGHT - 6,
            x_title);
}

static void y_label(const chart *c, double share, const char *text)
{
    fprintf(c->out,
            "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#8884\"/><text x=\"%d\" y=\"%.1f\" "
            "text-anchor=\"end\">%s</text>\n",
            LEFT, WIDTH - RIGHT, y_at(share), y_at(share), LEFT - 6, y_at(share) + 4, text);
}

static void x_label(const chart *c, double share, const char *text)
{
    fprintf(c->out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x_at(share),
            HEIGHT - BOTTOM + 16, text);
}

/* ---- memory over time ---- */

static void memory_curve(const chart *c, const hak_detail *d, size_t row, bool live)
{
    if (live)
        fprintf(c->out, "<polyline fill=\"none\" stroke=\"#888\" stroke-dasharray=\"4 3\" points=\"");
    else
        fprintf(c->out, "<polyline class=\"c%zu\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"",
                row, colour_of(row));
    double span = d->sample_count != 0 ? (double)d->samples[d->sample_count - 1].time_ns : 1;
    uint32_t step = d->sample_count / 800 + 1;
    for (uint32_t i = 0; i < d->sample_count; i += step) {
        const hak_sample *s = &d->samples[i];
        double bytes = live ? (double)s->live_bytes : (double)s->rss_bytes;
        fprintf(c->out, "%.1f,%.1f ", x_at((double)s->time_ns / span), y_at(bytes / c->y_max));
    }
    fputs("\"/>\n", c->out);
}

static void memory_chart(FILE *out, const hak_replayed *replayed)
{
    chart c = {.out = out, .y_max = 1};
    const hak_compare *compare = &replayed->compare;
    const hak_detail *most = NULL; /* samples: its live bytes are shown */
    for (size_t i = 0; i < compare->row_count; i++) {
        const hak_detail *d = compare->rows[i].detail;
        for (uint32_t k = 0; d != NULL && k < d->sample_count; k++) {
            const hak_sample *s = &d->samples[k];
            c.y_max = fmax(c.y_max, (double)(s->rss_bytes > s->live_bytes ? s->rss_bytes : s->live_bytes));
        }
        if (d != NULL && d->sample_count > (most != NULL ? most->sample_count : 0))
            most = d;
    }
    if (most == NULL)
        return;
    chart_begin(&c, "Resident memory over time (dashed: live bytes)", "share of the pass");
    for (int i = 0; i <= TICKS; i++) {
        char text[32];
        snprintf(text, sizeof text, "%.1f MiB", c.y_max * i / TICKS / (1 << 20));
        y_label(&c, (double)i / TICKS, text);
        snprintf(text, sizeof text, "%d%%", 100 * i / TICKS);
        x_label(&c, (double)i / TICKS, text);
    }
    memory_curve(&c, most, 0, true);
    for (size_t i = 0; i < compare->row_count; i++)
        if (compare->rows[i].detail != NULL)
            memory_curve(&c, compare->rows[i].detail, i, false);
    fputs("</svg>\n", out);
}

/* ---- latency ---- */

/* The horizontal axis is the number of nines: 50%, 90%, 99%, 99.9% … are equally far apart beyond 90%. */
#define NINES_MAX   5.0
#define NINES_STEPS 100

static double nines_of(double share)
{
    return -log10(1 - share);
}

static void latency_curve(const chart *c, const hak_detail *d, hak_latency_point point, size_t row)
{
    fprintf(c->out, "<polyline class=\"c%zu\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"",
            row, colour_of(row));
    for (unsigned step = 1; step <= NINES_STEPS; step++) {
        double nines = NINES_MAX * step / NINES_STEPS;
        double ns = hak_latency_quantile(&d->latency[point], 1 - pow(10, -nines)) * d->ns_per_tick;
        double share = (log10(fmax(ns, 1)) - c->y_low) / (c->y_high - c->y_low);
        fprintf(c->out, "%.1f,%.1f ", x_at(nines / NINES_MAX), y_at(fmin(fmax(share, 0), 1)));
    }
    fputs("\"/>\n", c->out);
}

static void latency_chart(FILE *out, const hak_compare *compare, hak_latency_point point, const char *name)
{
    chart c = {.out = out, .log_y = true, .y_low = 0, .y_high = 1};
    bool any = false;
    for (size_t i = 0; i < compare->row_count; i++) {
        const hak_detail *d = compare->rows[i].detail;
        if (d == NULL || hak_latency_count(&d->latency[point]) == 0)
            continue;
        any = true;
        double top = hak_latency_quantile(&d->latency[point], 1 - pow(10, -NINES_MAX)) * d->ns_per_tick;
        c.y_high = fmax(c.y_high, ceil(log10(fmax(top, 10))));
    }
    if (!any)
        return;
    char title[96];
    snprintf(title, sizeof title, "Latency of %s", name);
    chart_begin(&c, title, "share of the calls");
    for (int decade = 0; decade <= (int)c.y_high; decade++) {
        static const char *const units[] = {"1 ns", "10 ns", "100 ns", "1 us", "10 us", "100 us",
                                            "1 ms", "10 ms", "100 ms", "1 s",  "10 s"};
        y_label(&c, decade / c.y_high, decade < (int)HAK_COUNT_OF(units) ? units[decade] : "");
    }
    static const double shares[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
    for (size_t i = 0; i < HAK_COUNT_OF(shares); i++) {
        char text[32];
        snprintf(text, sizeof text, "%g%%", shares[i] * 100);
        x_label(&c, nines_of(shares[i]) / NINES_MAX, text);
    }
    for (size_t i = 0; i < compare->row_count; i++)
        if (compare->rows[i].detail != NULL &&
            hak_latency_count(&compare->rows[i].detail->latency[point]) != 0)
            latency_curve(&c, compare->rows[i].detail, point, i);
    fputs("</svg>\n", out);
}

/* ---- the page ---- */

static void ratio_cell(FILE *out, const hak_ratio *ratio)
{
    if (!(ratio->ratio > 0)) {
        fputs("<td>-</td>", out);
        return;
    }
    bool significant = hak_ratio_significant(ratio);
    fprintf(out, "<td class=\"%s\">%.2f",
            !significant       ? ""
            : ratio->ratio < 1 ? "better"
                               : "worse",
            ratio->ratio);
    if (ratio->known)
        fprintf(out, " [%.2f, %.2f]%s", ratio->low, ratio->high, significant ? " *" : "");
    fputs("</td>", out);
}

/* The baseline is 1 by definition; what the null target does is no allocator's figure. */
static void ratio_of_row(FILE *out, const hak_compare_row *row, const hak_ratio *ratio, bool baseline)
{
    if (row->target.null)
        fputs("<td></td>", out);
    else if (baseline)
        fputs("<td>1.00</td>", out);
    else
        ratio_cell(out, ratio);
}

static void table_row(FILE *out, const hak_compare_row *row, bool baseline)
{
    const hak_measure *m = &row->median;
    fputs("<tr><td>", out);
    put_text(out, row->target.name);
    putc(' ', out);
    put_text(out, m->version);
    if (row->runs == 0) {
        fputs("</td><td colspan=\"7\">", out);
        put_text(out, row->problem);
        fputs("</td></tr>\n", out);
        return;
    }
    fprintf(out, "</td><td>%.1f ns</td><td>%.1f ns</td>", m->ns_per_op, row->net_ns_per_op);
    ratio_of_row(out, row, &row->time, baseline);
    if (row->target.null)
        fputs("<td></td>", out);
    else
        fprintf(out, "<td>%.1f MiB</td>", (double)m->peak_rss_bytes / (1 << 20));
    ratio_of_row(out, row, &row->rss, baseline);
    if (row->detail != NULL && row->detail->sample_count != 0)
        fprintf(out, "<td>%.1f MiB</td><td>%.1f MiB</td>", row->detail->rss_mean_bytes / (1 << 20),
                row->detail->waste_mean_bytes / (1 << 20));
    else
        fputs("<td>-</td><td>-</td>", out);
    fprintf(out, "<td>%llu</td></tr>\n", (unsigned long long)m->minor_faults);
}

/* As the terminal shows it. */
static void best_lines(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup)
{
    char *text = NULL;
    size_t len = 0;
    FILE *lines = open_memstream(&text, &len);
    if (lines == NULL)
        return;
    hak_replay_print_best(lines, replayed, setup);
    if (fclose(lines) == 0 && len != 0) {
        fputs("<pre class=\"best\">", out);
        for (char *rest = text + 1, *line;
             (line = strsep(&rest, "\n")) != NULL;) { /* a blank line comes first */
            put_text(out, line);
            putc('\n', out);
        }
        fputs("</pre>\n", out);
    }
    free(text);
}

static void section(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup)
{
    static const char *const points[] = {
#define X(name, text) text,
        HAK_LATENCY_POINTS(X)
#undef X
    };
    const hak_compare *compare = &replayed->compare;
    fputs("<section><h2>", out);
    put_text(out, replayed->path);
    fprintf(out,
            "</h2><p>%llu operations, %u thread%s, at most %.1f MiB "
            "live</p>\n<table><tr><th>allocator</th><th>time/op</th>",
            (unsigned long long)replayed->info.operations, replayed->info.threads,
            replayed->info.threads == 1 ? "" : "s", (double)replayed->info.live_max_bytes / (1 << 20));
    fputs("<th>net</th><th>vs ", out);
    put_text(out, compare->rows[replayed->baseline].target.name);
    fputs("</th><th>peak RSS</th><th>vs</th><th>mean RSS</th><th>mean RSS &#8722; "
          "live</th><th>faults</th></tr>\n",
          out);
    for (size_t i = 0; i < compare->row_count; i++)
        table_row(out, &compare->rows[i], i == replayed->baseline);
    fputs("</table>\n", out);
    best_lines(out, replayed, setup);
    fputs("<p class=\"legend\">", out);
    for (size_t i = 0; i < compare->row_count; i++) {
        if (compare->rows[i].detail == NULL)
            continue;
        fprintf(out, "<label style=\"color:%s\"><input type=\"checkbox\" checked data-t=\"%zu\">",
                colour_of(i), i);
        put_text(out, compare->rows[i].target.name);
        fputs("</label>", out);
    }
    fputs("</p>\n", out);
    memory_chart(out, replayed);
    for (int point = 0; point < HAK_LATENCY_POINT_COUNT; point++)
        latency_chart(out, compare, (hak_latency_point)point, points[point]);
    fputs("</section>\n", out);
}

static void page(FILE *out, const hak_replayed *all, size_t count, const hak_replay_setup *setup)
{
    fprintf(out,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>hakmem-replay</title>"
            "<style>%s</style></head><body>\n<h1>hakmem-replay</h1>\n"
            "<p>%u interleaved rounds of %u passes; touch: %s; order: %s. * significant (95%%).</p>\n",
            style, setup->rounds, setup->repeats, setup->touch, setup->order);
    for (size_t i = 0; i < count; i++)
        section(out, &all[i], setup);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < all[i].compare.row_count; k++)
            if (all[i].compare.rows[k].detail != NULL) {
                fprintf(out,
                        "<p class=\"note\">Curves come from passes of their own. The clock steps by %.1f ns "
                        "and an empty "
                        "measurement shows %.1f ns, which is in every value.</p>\n",
                        all[i].compare.rows[k].detail->quantum_ns, all[i].compare.rows[k].detail->timer_ns);
                i = count - 1;
                break;
            }
    fprintf(out, "<script>%s</script></body></html>\n", script);
}

int hak_replay_write_html(const char *path, const hak_replayed *all, size_t count,
                          const hak_replay_setup *setup)
{
    output_file file;
    int fd = output_begin(&file, path);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (out == NULL)
        return -1;
    page(out, all, count, setup);
    bool whole = !ferror(out);
    whole = fclose(out) == 0 && whole;
    return output_end(&file, whole) == 0 && whole ? 0 : -1;
}
