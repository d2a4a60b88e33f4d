/* train_curve.c: see train_curve.h. Writes only the file it is asked for. */
#include "cli/train_curve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"

#define WIDTH  720
#define HEIGHT 260
#define MARGIN 40

void hak_train_curve_add(hak_train_curve *curve, const hak_train_progress *p)
{
    if (p->phase < HAK_TRAIN_SEARCHING || (p->phase == HAK_TRAIN_SEARCHING && p->generation == 0))
        return;
    bool same = curve->count > 0 && curve->points[curve->count - 1].generation == p->generation &&
                curve->points[curve->count - 1].phase == p->phase;
    if (!same && curve->count == HAK_CURVE_MAX_POINTS)
        return;
    curve->points[same ? curve->count - 1 : curve->count++] = *p;
}

static const char *phase_of(const hak_train_progress *p)
{
    return p->phase == HAK_TRAIN_SEARCHING ? "search" : p->phase == HAK_TRAIN_PRUNING ? "prune" : "validate";
}

static void put_csv(FILE *out, const hak_train_curve *curve, const hak_train_report *report)
{
    fputs("phase,generation,runs,elo,elo_deviation,time,rss\n", out);
    for (unsigned i = 0; i < curve->count; i++) {
        const hak_train_progress *p = &curve->points[i];
        fprintf(out, "%s,%" PRIu32 ",%" PRIu64 ",%.1f,%.1f,%.6f,%.6f\n", phase_of(p), p->generation, p->runs,
                p->elo, p->elo_deviation, p->best_time, p->best_rss);
    }
    for (uint32_t i = 0; i < report->validation_count; i++)
        fprintf(out, "%s,%" PRIu32 ",%" PRIu64 ",%.1f,%.1f,%.6f,%.6f\n",
                report->held_out ? "held_out" : "trained_on", report->generations, report->runs, report->elo,
                report->elo_deviation, report->validations[i].time.mean, report->validations[i].rss.mean);
}

/* One figure over the runs, in its own scale. */
static void put_line(FILE *out, const hak_train_curve *curve, const char *colour,
                     double (*of)(const hak_train_progress *))
{
    double low = 0, high = 0;
    uint64_t runs = 1;
    for (unsigned i = 0; i < curve->count; i++) {
        double y = of(&curve->points[i]);
        low = y < low ? y : low;
        high = y > high ? y : high;
        runs = curve->points[i].runs;
    }
    double scale = high - low > 1e-9 ? (HEIGHT - 2 * MARGIN) / (high - low) : 0;
    fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour);
    for (unsigned i = 0; i < curve->count; i++)
        fprintf(out, "%.1f,%.1f ",
                MARGIN + (double)curve->points[i].runs / (double)runs * (WIDTH - 2 * MARGIN),
                HEIGHT - MARGIN - (of(&curve->points[i]) - low) * scale);
    fputs("\"/>\n", out);
}

static double elo_of(const hak_train_progress *p)
{
    return p->elo - 1500;
}

static double time_of(const hak_train_progress *p)
{
    return p->best_time;
}

static double rss_of(const hak_train_progress *p)
{
    return p->best_rss;
}

static void put_html(FILE *out, const hak_train_curve *curve, const hak_train_report *report)
{
    fprintf(
        out,
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>learning curve</title>\n"
        "<body style=\"font-family:sans-serif\"><h1>Learning curve</h1>\n"
        "<p>Best so far over the runs made, each line in its own scale: <b style=\"color:#1f6feb\">Elo</b>, "
        "<b style=\"color:#d1242f\">time</b>, <b style=\"color:#1a7f37\">resident memory</b>.</p>\n"
        "<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#f6f8fa\"/>\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_line(out, curve, "#1f6feb", elo_of);
    put_line(out, curve, "#d1242f", time_of);
    put_line(out, curve, "#1a7f37", rss_of);
    fputs("</svg>\n<pre>\n", out);
    put_csv(out, curve, report);
    fputs("</pre></body></html>\n", out);
}

int hak_train_curve_write(const hak_train_curve *curve, const hak_train_report *report, const char *path)
{
    size_t len_bytes = strlen(path);
    output_file file;
    int fd = output_begin(&file, path);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (out == NULL)
        return errno;
    if (len_bytes > 5 && strcmp(path + len_bytes - 5, ".html") == 0)
        put_html(out, curve, report);
    else
        put_csv(out, curve, report);
    bool whole = !ferror(out);
    whole = fclose(out) == 0 && whole;
    if (output_end(&file, whole) != 0)
        return errno;
    return whole ? 0 : EIO;
}
