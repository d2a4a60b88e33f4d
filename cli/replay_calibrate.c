/* replay_calibrate.c: see replay_calibrate.h. Resident memory is compared as it is; time by what each
 * allocator adds to or takes from the baseline's processor time, since the program's own part is in both.
 *
 * Orders. Two allocators may differ by less than the program's runs differ from one another: then there is no
 * order to foretell. So Kendall's tau is taken over the pairs that the program itself tells apart: the 95%
 * interval of their paired runs does not hold 1, and they differ by at least 1%. What the replay says of a
 * pair is the order of its medians. The tau over all pairs as the medians stand is printed beside it. */
#include "cli/replay_calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/replay_verbs.h"
#include "cli/text.h"
#include "replay/truth.h"

#define RSS_GOOD    0.05 /* of the peak: what a replayed one may be off by to be called good */
#define TAU_RSS     0.9
#define TAU_TIME    0.8
#define LEAST_RATIO 1.01  /* nobody chooses an allocator for less */
#define ROUNDS_MAX  1000u /* of the option */

typedef struct truth_row {
    const hak_compare_row *row;
    double *peak;  /* [rounds] */
    double *cpu;   /* [rounds]: processor time of the program; from row_finish on, less the start's */
    double *start; /* [rounds]: of one that does nothing */
    uint32_t runs; /* a target that fails once is given up */
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
        free(t->rows[i].cpu);
        free(t->rows[i].start);
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
                          .cpu = calloc(rounds, sizeof(double)),
                          .start = calloc(rounds, sizeof(double)),
                          .replayed_ns = row->median.ns_per_op_cold * t->operations,
                          .replayed_bytes =
                              (double)(row->median.peak_rss_bytes + row->median.start_rss_bytes - own_bytes)};
        if (to->peak == NULL || to->cpu == NULL || to->start == NULL)
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
    row->cpu[row->runs] = (double)truth.cpu_ns;
    row->peak[row->runs] = (double)truth.peak_bytes;
    /* Loading the allocator's libraries is no allocation: what a program that does nothing takes is taken
     * off. */
    char *const nothing[] = {(char *)(uintptr_t) "true", NULL};
    row->start[row->runs] =
        hak_truth_run(nothing, &row->row->target, &truth, &error) == 0 ? (double)truth.cpu_ns : 0;
    row->runs++;
}

/* In an order drawn anew: what one leaves behind in caches and clocks must not always fall on the same other.
 */
static void round_run(truth_table *t, char *const *program, uint64_t *random)
{
    truth_row *order[REPLAY_MAX_TARGETS];
    for (size_t i = 0; i < t->count; i++) {
        size_t k = hak_random_below(random, (uint32_t)i + 1);
        order[i] = order[k];
        order[k] = &t->rows[i];
    }
    for (size_t i = 0; i < t->count; i++)
        program_run(order[i], program);
}

static double median_kept(const double *values, uint32_t count)
{
    double sorted[ROUNDS_MAX];
    uint32_t n = count < ROUNDS_MAX ? count : ROUNDS_MAX;
    memcpy(sorted, values, n * sizeof *sorted);
    return hak_stats_median(sorted, n);
}

static void row_finish(truth_row *row)
{
    double start_ns = median_kept(row->start, row->runs);
    for (uint32_t i = 0; i < row->runs; i++)
        row->cpu[i] = row->cpu[i] > start_ns ? row->cpu[i] - start_ns : 0;
    row->cpu_ns = median_kept(row->cpu, row->runs);
    row->peak_bytes = median_kept(row->peak, row->runs);
}

/* Runs of one round are paired: what slows the machine for a while falls on all of them. So a target's time
 * is the baseline's by the ratio of their pairs. */
static void times_pair(truth_table *t)
{
    const truth_row *base = &t->rows[t->baseline];
    for (size_t i = 0; i < t->count; i++) {
        truth_row *row = &t->rows[i];
        uint32_t runs = row->runs < base->runs ? row->runs : base->runs;
        hak_ratio ratio = hak_stats_ratio(row->cpu, base->cpu, runs, 1);
        if (row != base && ratio.ratio > 0)
            row->cpu_ns = base->cpu_ns * ratio.ratio;
    }
}

/* ---- orders ---- */

typedef struct order {
    uint32_t pairs, told_apart; /* by the program's own runs */
    uint32_t same, opposite;    /* of those, as the replay has them */
    double tau;                 /* over those; 0 where there are none */
    double tau_all;             /* tau-b over all pairs as the medians stand */
    /* Of those that the replay has the other way round, the one told apart most clearly; NULL: none. */
    const truth_row *more, *less;
    double ratio; /* of the two in the program */
} order;

static void pair_take(order *o, const truth_row *a, const truth_row *b, bool time)
{
    uint32_t runs = a->runs < b->runs ? a->runs : b->runs;
    hak_ratio real = hak_stats_ratio(time ? a->cpu : a->peak, time ? b->cpu : b->peak, runs, 1);
    double replayed = time ? a->replayed_ns - b->replayed_ns : a->replayed_bytes - b->replayed_bytes;
    o->pairs++;
    bool a_more = real.ratio > 1;
    double ratio = a_more ? real.ratio : 1 / real.ratio;
    if (!hak_ratio_significant(&real) || ratio < LEAST_RATIO)
        return;
    o->told_apart++;
    if (a_more ? replayed > 0 : replayed < 0)
        o->same++;
    if (a_more ? replayed >= 0 : replayed <= 0)
        return;
    o->opposite++;
    if (ratio > o->ratio) {
        o->ratio = ratio;
        o->more = a_more ? a : b;
        o->less = a_more ? b : a;
    }
}

static order order_of(const truth_table *t, bool time)
{
    double values[2][REPLAY_MAX_TARGETS] = {{0}};
    size_t n = 0;
    order o = {.ratio = 1};
    for (size_t i = 0; i < t->count; i++) {
        const truth_row *row = &t->rows[i];
        if (row->runs == 0)
            continue;
        values[0][n] = time ? row->cpu_ns : row->peak_bytes;
        values[1][n++] = time ? row->replayed_ns : row->replayed_bytes;
        for (size_t k = 0; k < i; k++)
            if (t->rows[k].runs != 0)
                pair_take(&o, row, &t->rows[k], time);
    }
    o.tau_all = hak_stats_tau(values[0], values[1], n);
    if (o.told_apart != 0)
        o.tau = ((double)o.same - (double)o.opposite) / o.told_apart;
    return o;
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

static void print_order(FILE *out, const truth_table *t, bool time, double wanted)
{
    order o = order_of(t, time);
    const char *name = time ? "time" : "memory";
    if (o.told_apart == 0)
        fprintf(out,
                "order by %s: the program's own runs tell none of these %u pairs apart, so there is none to "
                "foretell (Kendall tau of the medians %.2f)\n",
                name, o.pairs, o.tau_all);
    else
        fprintf(out,
                "order by %s, Kendall tau %.2f over the %u of %u pairs that the program's own runs tell "
                "apart: %s (%.1f); of all medians %.2f\n",
                name, o.tau, o.told_apart, o.pairs, verdict(o.tau >= wanted), wanted, o.tau_all);
    if (o.more != NULL)
        fprintf(out,
                "  %u pairs are the other way round in the replay; %s, %.1f%% above %s in truth, is the "
                "clearest\n",
                o.opposite, o.more->row->target.name, (o.ratio - 1) * 100, o.less->row->target.name);
}

static void print_table(FILE *out, const truth_table *t, const hak_replayed *replayed, uint32_t rounds)
{
    double worst = 0;
    const truth_row *of = NULL;
    fprintf(out, "%s: real program and replay, %u rounds each\n", replayed->path, rounds);
    fprintf(out, "%-18s %8s %8s %8s   %8s %8s %8s\n", "", "PEAK MiB", "PEAK MiB", "", "CPU ms", "vs base",
            "vs base");
    fprintf(out, "%-18s %8s %8s %8s   %8s %8s %8s\n", "ALLOCATOR", "real", "replayed", "ratio", "real",
            "real", "replayed");
    for (size_t i = 0; i < t->count; i++) {
        const truth_row *row = &t->rows[i];
        print_row(out, t, row);
        double off =
            row->runs != 0 && row->peak_bytes > 0 ? fabs(row->replayed_bytes / row->peak_bytes - 1) : 0;
        if (off > worst) {
            worst = off;
            of = row;
        }
    }
    fprintf(out, "peak memory off by at most %.1f%% (%s): %s (%.0f%%)\n", worst * 100,
            of != NULL ? of->row->target.name : "none", verdict(worst <= RSS_GOOD), RSS_GOOD * 100);
    print_order(out, t, false, TAU_RSS);
    print_order(out, t, true, TAU_TIME);
    fputs("Peaks are of the heap, what the allocator takes at its start included. Real time is the program's "
          "less what a\n"
          "program that does nothing takes; a replay does not see what the placement of blocks costs the "
          "program's own work.\n",
          out);
}

static void print_json(FILE *out, const truth_table *t, uint32_t rounds)
{
    order rss = order_of(t, false), time = order_of(t, true);
    fprintf(out,
            "{\"schema\": 1, \"tool\": \"hakmem-replay --calibrate\", \"rounds\": %u, \"pairs\": %u, "
            "\"tau_rss\": %.4f, \"tau_rss_all\": %.4f, \"rss_told_apart\": %u, "
            "\"tau_time\": %.4f, \"tau_time_all\": %.4f, \"time_told_apart\": %u, \"targets\": [\n",
            rounds, rss.pairs, rss.tau, rss.tau_all, rss.told_apart, time.tau, time.tau_all, time.told_apart);
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
    uint64_t random = s->seed;
    if (table_new(&t, replayed, s->rounds) != 0) {
        table_free(&t);
        return hak_replay_trouble(NULL, "out of memory");
    }
    for (uint32_t round = 0; round < s->rounds; round++)
        round_run(&t, program, &random);
    bool any = false;
    for (size_t i = 0; i < t.count; i++) {
        row_finish(&t.rows[i]);
        any |= t.rows[i].runs != 0;
    }
    times_pair(&t);
    if (s->json)
        print_json(stdout, &t, s->rounds);
    else
        print_table(stdout, &t, replayed, s->rounds);
    int status =
        any ? 0 : hak_replay_trouble(program[0], t.count != 0 ? t.rows[0].problem : "nothing was measured");
    table_free(&t);
    return status;
}
