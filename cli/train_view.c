/* train_view.c: see train_view.h. Progress goes to stderr, JSON to stdout. */
#include "cli/train_view.h"

#include "cli/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/os.h"

#define TOOL          "hakmem-replay"
#define BAR_CELLS     10
#define LINE_EVERY_NS UINT64_C(30000000000)

static const char *phase_text(hak_train_phase phase)
{
    static const char *const texts[] = {"reading", "noise", "generation", "pruning", "validating"};
    return phase < HAK_COUNT_OF(texts) ? texts[phase] : "?";
}

static void put_bar(double done)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int filled = (int)(done * BAR_CELLS * 8 + 0.5);
    fputs("▕", stderr);
    for (int i = 0; i < BAR_CELLS; i++, filled -= 8)
        fputs(filled >= 8 ? "█" : filled > 0 ? eighths[filled] : " ", stderr);
    /* a partial cell leaves its own width, an empty one a blank: both one column */
    fputs("▏", stderr);
}

static void put_state(const hak_train_progress *p)
{
    if (p->elo > 1500)
        fprintf(stderr, " best time %+.1f%% RSS %+.1f%%   elo %.0f±%.0f", 100 * p->best_time,
                100 * p->best_rss, p->elo, p->elo_deviation);
    else
        fputs(" best so far: the default", stderr);
    fprintf(stderr, "   eta %d:%02d", (int)p->eta_s / 60, (int)p->eta_s % 60);
}

void hak_train_view_progress(const hak_train_progress *progress, void *arg)
{
    hak_train_view *view = arg;
    if (view->quiet)
        return;
    bool terminal = isatty(STDERR_FILENO) != 0;
    uint64_t now_ns = hak_os_monotonic_ns();
    if (!terminal && now_ns - view->last_ns < LINE_EVERY_NS)
        return;
    bool first = view->last_ns == 0;
    view->last_ns = now_ns;
    if (!terminal && first)
        return; /* short trainings say nothing but their result */
    fprintf(stderr, "%s%s", terminal ? "\r\033[K" : TOOL ": ", phase_text(progress->phase));
    if (progress->phase == HAK_TRAIN_SEARCHING)
        fprintf(stderr, " %" PRIu32, progress->generation);
    putc(' ', stderr);
    if (terminal)
        put_bar(progress->done);
    put_state(progress);
    if (!terminal)
        putc('\n', stderr);
    view->drawn = terminal;
    fflush(stderr);
}

static void put_change(const char *what, const hak_train_change *c)
{
    fprintf(stderr, " %s %+.1f%%", what, 100 * c->mean);
    if (isfinite(c->low) && isfinite(c->high))
        fprintf(stderr, " [%+.1f, %+.1f]%s", 100 * c->low, 100 * c->high, c->significant ? " *" : "");
}

static void put_validations(const hak_train_report *r)
{
    for (uint32_t i = 0; i < r->validation_count; i++) {
        const hak_train_validation *v = &r->validations[i];
        fputs(r->held_out ? "held out " : "trained on ", stderr);
        put_safe(stderr, base_name(v->trace));
        putc(':', stderr);
        put_change("time", &v->time);
        put_change(" RSS", &v->rss);
        fprintf(stderr, "   %" PRIu64 " decisions; of the whole program:", v->decisions);
        put_change("time", &v->whole_time);
        put_change(" RSS", &v->whole_rss);
        putc('\n', stderr);
    }
    if (r->validation_count != 0)
        fputs("* significant at 95%; against hakmem:balanced\n", stderr);
}

static void put_points(const hak_train_options *options, const hak_train_report *r)
{
    if (r->point_count != 0)
        fputs("to choose from, the leanest first (of the whole program):\n", stderr);
    for (uint32_t i = 0; i < r->point_count; i++) {
        const hak_train_point *point = &r->points[i];
        fputs("  ", stderr);
        if (point->file[0] == '\0') {
            fputs("no policy\n", stderr);
            continue;
        }
        put_safe(stderr, options->pareto);
        fprintf(stderr, "/%s:", point->file);
        put_change("time", &point->time);
        put_change(" RSS", &point->rss);
        putc('\n', stderr);
    }
}

static void put_families(const hak_train_report *r)
{
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES; f++) {
        const hak_train_family_report *family = &r->families[f];
        if (family->verdict == HAK_TRAIN_NOTHING_LEARNED)
            continue;
        fprintf(stderr, "  %-22s %s", hak_train_family_text((hak_train_family)f),
                hak_train_verdict_text(family->verdict));
        if (isfinite(family->gain_low) && isfinite(family->gain_high) && family->gain_low < family->gain_high)
            fprintf(stderr, " (%+.1f%% [%+.1f, %+.1f])", 100 * expm1(family->gain),
                    100 * expm1(family->gain_low), 100 * expm1(family->gain_high));
        putc('\n', stderr);
    }
}

static void put_written(const hak_train_options *options, const hak_train_report *r)
{
    fputs("wrote ", stderr);
    put_safe(stderr, options->export_path);
    if (r->frozen) {
        fprintf(stderr, ": FROZEN, %" PRIu32 " sites, %.1f KiB", r->sites, (double)r->policy_bytes / 1024);
        if (r->program[0] != 0) {
            fputs(", for ", stderr);
            put_safe(stderr, r->program);
        }
        if (r->build_id[0] != 0)
            fprintf(stderr, " (build-id %.8s)", r->build_id);
        fputs("\n  use: hakmem-run --mode=fast --policy=", stderr);
        put_safe(stderr, options->export_path);
        fprintf(stderr, " ./%s\n", r->program[0] != 0 ? r->program : "app");
    } else {
        fputs(": FROZEN, sets nothing, so that it may be deployed all the same\n", stderr);
    }
}

/* An interval that is not known is null in JSON. */
static void json_number(const char *name, double value)
{
    if (isfinite(value))
        printf("\"%s\":%.6g", name, value);
    else
        printf("\"%s\":null", name);
}

static void json_change(const char *name, const hak_train_change *c)
{
    printf("\"%s\":{", name);
    json_number("mean", c->mean);
    putchar(',');
    json_number("low", c->low);
    putchar(',');
    json_number("high", c->high);
    printf(",\"significant\":%s}", c->significant ? "true" : "false");
}

static void print_json(const hak_train_report *r)
{
    printf("{\"schema\":1,\"frozen\":%s,\"reason\":", r->frozen ? "true" : "false");
    json_string(stdout, r->reason);
    printf(",\"held_out\":%s,\"sites\":%" PRIu32 ",\"generations\":%" PRIu32 ",\"candidates\":%" PRIu32
           ",\"runs\":%" PRIu64 ",",
           r->held_out ? "true" : "false", r->sites, r->generations, r->candidates, r->runs);
    json_number("noise", r->noise);
    putchar(',');
    json_number("elo", r->elo);
    putchar(',');
    json_number("elo_deviation", r->elo_deviation);
    fputs(",\"validations\":[", stdout);
    for (uint32_t i = 0; i < r->validation_count; i++) {
        const hak_train_validation *v = &r->validations[i];
        printf("%s{\"trace\":", i != 0 ? "," : "");
        json_string(stdout, v->trace);
        putchar(',');
        json_change("time", &v->time);
        putchar(',');
        json_change("rss", &v->rss);
        putchar(',');
        json_change("whole_time", &v->whole_time);
        putchar(',');
        json_change("whole_rss", &v->whole_rss);
        putchar(',');
        json_change("objective", &v->objective);
        printf(",\"rounds\":%" PRIu32 ",\"decisions\":%" PRIu64 "}", v->rounds, v->decisions);
    }
    fputs("],\"points\":[", stdout);
    for (uint32_t i = 0; i < r->point_count; i++) {
        printf("%s{\"file\":", i != 0 ? "," : "");
        json_string(stdout, r->points[i].file);
        putchar(',');
        json_change("whole_time", &r->points[i].time);
        putchar(',');
        json_change("whole_rss", &r->points[i].rss);
        putchar('}');
    }
    fputs("],\"families\":[", stdout);
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES; f++) {
        const hak_train_family_report *family = &r->families[f];
        printf("%s{\"family\":\"%s\",\"verdict\":\"%s\",\"decisions\":%" PRIu32 ",", f != 0 ? "," : "",
               hak_train_family_text((hak_train_family)f), hak_train_verdict_text(family->verdict),
               family->decisions);
        json_number("gain", family->gain);
        putchar('}');
    }
    puts("]}");
}

void hak_train_view_summary(hak_train_view *view, const hak_train_options *options,
                            const hak_train_report *report, bool json)
{
    if (view->drawn)
        fputs("\r\033[K", stderr);
    if (json)
        print_json(report);
    if (view->quiet)
        return;
    fprintf(stderr,
            "%" PRIu32 " generations, %" PRIu32 " candidates, %" PRIu64
            " runs, noise ±%.1f%%, best elo %.0f±%.0f%s\n",
            report->generations, report->candidates, report->runs, 100 * report->noise, report->elo,
            report->elo_deviation, report->stopped ? ", ended early" : "");
    put_families(report);
    put_validations(report);
    if (!report->held_out && report->validation_count != 0)
        fputs("no trace was held out: give one of another input with --holdout\n", stderr);
    put_points(options, report);
    fprintf(stderr, report->frozen ? "better than the default: %s\n" : "the default is as good: %s\n",
            report->reason);
    if (options->export_path != NULL)
        put_written(options, report);
}
