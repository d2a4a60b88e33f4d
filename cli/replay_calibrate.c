/* replay_calibrate.c: see replay_calibrate.h. Resident memory is compared as it is; time by what each
 * allocator adds to or takes from the baseline's processor time, since the program's own part is in both. */
#include "cli/replay_calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/replay_verbs.h"
#include "cli/text.h"
#include "replay/truth.h"

#define RSS_GOOD 0.05 /* of the peak: what a replayed one may be off by to be called good */
#define TAU_RSS  0.9
#define TAU_TIME 0.8

typedef struct truth_row {
    const hak_compare_row *row;
    double *peak; /* [rounds] */
    uint32_t runs;
    double least_ns,
        start_ns; /* processor time of the program, of one that does nothing; the least of the rounds */
    double cpu_ns, peak_bytes; /* medians */
    double replayed_ns, replayed_bytes;
    char problem[256];
} truth_row;

typedef struct truth_table {
    truth_row *rows;
    size_t count;
    size_t baseline;
    double operations;
} truth_table;

static void table_free(truth_table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->rows[i].peak);
    }
    free(t->rows);
}

static int table_new(truth_table *t, const hak_replayed *replayed, uint32_t rounds)
{
    t->rows = calloc(replayed->compare.row_count, sizeof *t->rows);
    t->operations = (double)replayed->info.operations;
    uint64_t own_bytes = UINT64_MAX; /* of the worker itself: what the cheapest start shows */
    for (size_t i = 0; i < replayed->compare.row_count; i++)
        if (replayed->compare.rows[i].runs != 0 &&
            replayed->compare.rows[i].median.start_rss_bytes < own_bytes)
            own_bytes = replayed->compare.rows[i].median.start_rss_bytes;
    for (size_t i = 0; t->rows != NULL && i < replayed->compare.row_count; i++) {
        const hak_compare_row *row = &replayed->compare.rows[i];
        if (row->target.null || row->runs == 0)
            continue;
        truth_row *to = &t->rows[t->count++];
        *to = (truth_row){.row = row,
                          .peak = calloc(rounds, sizeof(double)),
                          .replayed_ns = row->median.ns_per_op_cold * t->operations,
                          .replayed_bytes =
                              (double)(row->median.peak_rss_bytes + row->median.start_rss_bytes - own_bytes)};
        if (to->peak == NULL)
            return -1;
        if (i == replayed->baseline)
            t->baseline = t->count - 1;
    }
    return t->rows != NULL ? 0 : -1;
}

static void program_run(truth_row *row, char *const *program)
{
    hak_truth truth;
    hak_trace_error error;
    if (row->problem[0] != '\0')
        return;
    if (hak_truth_run(program, &row->row->target, &truth, &error) != 0) {
        snprintf(row->problem, sizeof row->problem, "%s", error.text);
        return;
    }
    row->least_ns = row->runs == 0 ? (double)truth.cpu_ns : fmin(row->least_ns, (double)truth.cpu_ns);
    row->peak[row->runs] = (double)truth.peak_bytes;
    /* Loading the allocator's libraries is no allocation: what a program that does nothing takes is taken
     * off. */
    char *const nothing[] = {(char *)(uintptr_t) "true", NULL};
    if (hak_truth_run(nothing, &row->row->target, &truth, &error) == 0)
        row->start_ns = row->runs == 0 ? (double)truth.cpu_ns : fmin(row->start_ns, (double)truth.cpu_ns);
    row->runs++;
}

/* Kendall's tau-b of two columns over the rows that were measured. */
typedef double (*column)(const truth_table *, const truth_row *);

static double real_time(const truth_table *t, const truth_row *row)
{
    (void)t;
    return row->cpu_ns;
}

static double replayed_time(const truth_table *t, const truth_row *row)
{
    (void)t;
    return row->replayed_ns;
}

static double real_rss(const truth_table *t, const truth_row *row)
{
    (void)t;
    return row->peak_bytes;
}

static double replayed_rss(const truth_table *t, const truth_row *row)
{
    (void)t;
    return row->replayed_bytes;
}

static double tau(const truth_table *t, column a, column b)
{
    double values[2][REPLAY_MAX_TARGETS];
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++)
        if (t->rows[i].runs != 0) {
            values[0][n] = a(t, &t->rows[i]);
            values[1][n++] = b(t, &t->rows[i]);
        }
    return hak_stats_tau(values[0], values[1], n);
}

static double mib(double bytes)
{
    return bytes / (1 << 20);
}

static void print_row(FILE *out, const truth_table *t, const truth_row *row)
{
    const truth_row *base = &t->rows[t->baseline];
    if (row->runs == 0) {
        fprintf(out, "%-18s  %s\n", row->row->target.name, row->problem);
        return;
    }
    fprintf(out, "%-18s %8.1f %8.1f %8.2f   %8.0f %+8.1f %+8.1f\n", row->row->target.name,
            mib(row->peak_bytes), mib(row->replayed_bytes),
            row->peak_bytes > 0 ? row->replayed_bytes / row->peak_bytes : 0, row->cpu_ns / 1e6,
            (row->cpu_ns - base->cpu_ns) / 1e6, (row->replayed_ns - base->replayed_ns) / 1e6);
}

static const char *verdict(bool good)
{
    return good ? "as good as wanted" : "not as good as wanted";
}

static void print_table(FILE *out, const truth_table *t, const hak_replayed *replayed, uint32_t rounds)
{
    double worst = 0;
    fprintf(out, "%s: real program and replay, %u rounds each\n", replayed->path, rounds);
    fprintf(out, "%-18s %8s %8s %8s   %8s %8s %8s\n", "", "PEAK MiB", "PEAK MiB", "", "CPU ms", "vs base",
            "vs base");
    fprintf(out, "%-18s %8s %8s %8s   %8s %8s %8s\n", "ALLOCATOR", "real", "replayed", "ratio", "real",
            "real", "replayed");
    for (size_t i = 0; i < t->count; i++) {
        const truth_row *row = &t->rows[i];
        print_row(out, t, row);
        if (row->runs != 0 && row->peak_bytes > 0)
            worst = fmax(worst, fabs(row->replayed_bytes / row->peak_bytes - 1));
    }
    double tau_rss = tau(t, real_rss, replayed_rss), tau_time = tau(t, real_time, replayed_time);
    fprintf(out, "peak memory off by at most %.0f%%: %s (%.0f%%)\n", worst * 100, verdict(worst <= RSS_GOOD),
            RSS_GOOD * 100);
    fprintf(out, "order by memory, Kendall tau %.2f: %s (%.1f)\n", tau_rss, verdict(tau_rss >= TAU_RSS),
            TAU_RSS);
    fprintf(out, "order by time, Kendall tau %.2f: %s (%.1f)\n", tau_time, verdict(tau_time >= TAU_TIME),
            TAU_TIME);
    fputs("Peaks are of the heap, what the allocator takes at its start included. Real time is the program's "
          "least, less\n"
          "what a program that does nothing takes.\n",
          out);
}

static void print_json(FILE *out, const truth_table *t, uint32_t rounds)
{
    fprintf(out,
            "{\"schema\": 1, \"tool\": \"hakmem-replay --calibrate\", \"rounds\": %u, \"tau_rss\": %.4f, "
            "\"tau_time\": %.4f, "
            "\"targets\": [\n",
            rounds, tau(t, real_rss, replayed_rss), tau(t, real_time, replayed_time));
    for (size_t i = 0; i < t->count; i++) {
        const truth_row *row = &t->rows[i];
        fputs("  {\"name\": ", out);
        json_string(out, row->row->target.name);
        fprintf(out,
                ", \"runs\": %u, \"real_peak_bytes\": %.0f, \"replayed_peak_bytes\": %.0f, "
                "\"real_cpu_ns\": %.0f, "
                "\"replayed_ns\": %.0f}%s\n",
                row->runs, row->peak_bytes, row->replayed_bytes, row->cpu_ns, row->replayed_ns,
                i + 1 < t->count ? "," : "");
    }
    fputs("]}\n", out);
}

int replay_calibrate(const replay_settings *s, const hak_replayed *replayed, char *const *program)
{
    truth_table t = {.rows = NULL};
    if (table_new(&t, replayed, s->rounds) != 0) {
        table_free(&t);
        return hak_replay_trouble(NULL, "out of memory");
    }
    for (uint32_t round = 0; round < s->rounds; round++)
        for (size_t i = 0; i < t.count; i++)
            program_run(&t.rows[(i + round) % t.count], program);
    bool any = false;
    for (size_t i = 0; i < t.count; i++) {
        t.rows[i].cpu_ns = t.rows[i].least_ns - t.rows[i].start_ns;
        t.rows[i].peak_bytes = hak_stats_median(t.rows[i].peak, t.rows[i].runs);
        any |= t.rows[i].runs != 0;
    }
    if (s->json)
        print_json(stdout, &t, s->rounds);
    else
        print_table(stdout, &t, replayed, s->rounds);
    int status =
        any ? 0 : hak_replay_trouble(program[0], t.count != 0 ? t.rows[0].problem : "nothing was measured");
    table_free(&t);
    return status;
}
