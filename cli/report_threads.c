/* report_threads.c: who allocates, who frees, and who frees for whom. */
#include "cli/report.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    ROWS = 10,
    PAIRS = 5,
    MIDDLE = 52,
    WIDE = 72
}; /* columns from which FREES, BYTES and LEFT are shown */

typedef struct row {
    uint64_t weight;
    const report_trace *trace;
    uint32_t thread;
} row;

static int by_weight(const void *a, const void *b)
{
    const row *x = a;
    const row *y = b;
    if (x->weight != y->weight)
        return x->weight < y->weight ? 1 : -1;
    if (x->trace != y->trace)
        return x->trace < y->trace ? -1 : 1;
    return (x->thread > y->thread) - (x->thread < y->thread);
}

static void name_of(const report_trace *t, uint32_t thread, char *out, size_t room)
{
    uint32_t count;
    const hak_trace_thread *threads = hak_reader_threads(t->reader, &count);
    char name[160];
    format_safe(name, sizeof name, threads[thread].name, 40);
    snprintf(out, room, "%" PRIu64 " %s", threads[thread].tid, name);
}

static uint32_t threads_of(const report_trace *t)
{
    uint32_t count;
    hak_reader_threads(t->reader, &count);
    return count < t->profile->threads_count ? count : t->profile->threads_count;
}

static void print_thread(const report *r, const row *at, FILE *out)
{
    const hak_profile_thread *p = &at->trace->profile->threads[at->thread];
    char n[REPORT_NUMBER], name[200];
    bool wide = report_fits(r, WIDE);
    report_cell(out, format_count(n, p->calls), 9);
    if (wide)
        report_cell(out, format_bytes(n, p->bytes), 10);
    if (wide)
        report_cell(out, format_bytes(n, p->live_bytes), 10);
    if (report_fits(r, MIDDLE))
        report_cell(out, format_count(n, p->frees), 10);
    report_cell(out, format_count(n, p->frees_of_others), 11);
    name_of(at->trace, at->thread, name, sizeof name);
    fprintf(out, "  ");
    report_last(r, out, name, wide ? 52 : report_fits(r, MIDDLE) ? 32 : 22);
}

/* The caller frees; NULL: no memory. */
static row *collect(const report *r, uint64_t (*weight)(const report_trace *t, uint32_t i),
                    uint32_t (*count_of)(const report_trace *t), size_t *count)
{
    size_t all = 0;
    *count = 0;
    for (size_t i = 0; i < r->traces_count; i++)
        all += count_of(&r->traces[i]);
    row *rows = calloc(all + 1, sizeof *rows);
    for (size_t i = 0; rows != NULL && i < r->traces_count; i++) {
        for (uint32_t k = 0; k < count_of(&r->traces[i]); k++)
            rows[(*count)++] = (row){weight(&r->traces[i], k), &r->traces[i], k};
    }
    if (rows != NULL)
        qsort(rows, *count, sizeof *rows, by_weight);
    return rows;
}

static uint64_t thread_weight(const report_trace *t, uint32_t i)
{
    return t->profile->threads[i].calls + t->profile->threads[i].frees;
}

static uint64_t pair_weight(const report_trace *t, uint32_t i)
{
    return t->profile->pairs[i].frees;
}

static uint32_t pairs_of(const report_trace *t)
{
    return t->profile->pairs_count;
}

static void print_pairs(const report *r, FILE *out)
{
    size_t count;
    row *rows = collect(r, pair_weight, pairs_of, &count);
    size_t shown = r->options->top == 0 || count < PAIRS ? count : PAIRS;
    if (rows != NULL && count != 0)
        fprintf(out, "\n%s    FREES     BYTES  FROM → FREED BY%s\n", report_bold(r), report_plain(r));
    for (size_t i = 0; rows != NULL && i < shown; i++) {
        const hak_remote_pair *pair = &rows[i].trace->profile->pairs[rows[i].thread];
        char n[REPORT_NUMBER], from[200], to[200], text[420];
        report_cell(out, format_count(n, pair->frees), 9);
        report_cell(out, format_bytes(n, pair->bytes), 10);
        name_of(rows[i].trace, pair->from, from, sizeof from);
        name_of(rows[i].trace, pair->to, to, sizeof to);
        snprintf(text, sizeof text, "%s → %s", from, to);
        fprintf(out, "  ");
        report_last(r, out, text, 21);
    }
    if (rows != NULL)
        report_more(r, out, count - shown, "pairs of threads");
    free(rows);
}

void report_threads(const report *r, FILE *out)
{
    size_t count;
    row *rows = collect(r, thread_weight, threads_of, &count);
    bool several = count > r->traces_count; /* some process has more than one */
    if (rows != NULL && (several || !r->options->overview)) {
        size_t shown = r->options->top == 0 || count < ROWS ? count : ROWS;
        fprintf(out, "\n%s    CALLS%s%s  OF OTHERS  THREAD%s\n", report_bold(r),
                report_fits(r, WIDE) ? "     BYTES      LEFT" : "",
                report_fits(r, MIDDLE) ? "     FREES" : "", report_plain(r));
        for (size_t i = 0; i < shown; i++)
            print_thread(r, &rows[i], out);
        report_more(r, out, count - shown, "threads");
        print_pairs(r, out);
    }
    free(rows);
}
