/* report_threads.c: who allocates, who frees, and who frees for whom. */
#include "cli/report.h"

#include <inttypes.h>
#include <stdlib.h>

enum { ROWS = 10, PAIRS = 5 };

typedef struct row {
    uint64_t weight;
    uint32_t thread;
} row;

static int by_weight(const void *a, const void *b)
{
    const row *x = a;
    const row *y = b;
    if (x->weight != y->weight)
        return x->weight < y->weight ? 1 : -1;
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

static void print_thread(const report *r, const report_trace *t, uint32_t thread, FILE *out)
{
    const hak_profile_thread *p = &t->profile->threads[thread];
    char n[REPORT_NUMBER], name[200];
    report_cell(out, format_count(n, p->calls), 9);
    report_cell(out, format_bytes(n, p->bytes), 10);
    report_cell(out, format_bytes(n, p->live_bytes), 10);
    report_cell(out, format_count(n, p->frees), 10);
    report_cell(out, format_count(n, p->frees_of_others), 11);
    name_of(t, thread, name, sizeof name);
    fprintf(out, "  ");
    report_last(r, out, name, 52);
}

static int by_frees(const void *a, const void *b)
{
    uint64_t x = ((const hak_remote_pair *)a)->frees;
    uint64_t y = ((const hak_remote_pair *)b)->frees;
    return (x < y) - (x > y);
}

static void print_pairs(const report *r, const report_trace *t, FILE *out)
{
    hak_profile *p = t->profile;
    if (p->pairs_count == 0)
        return;
    qsort(p->pairs, p->pairs_count, sizeof *p->pairs, by_frees);
    fprintf(out, "\n%s    FREES     BYTES  FROM → FREED BY%s\n", report_bold(r), report_plain(r));
    for (uint32_t i = 0; i < p->pairs_count && i < PAIRS; i++) {
        char n[REPORT_NUMBER], from[200], to[200], text[420];
        report_cell(out, format_count(n, p->pairs[i].frees), 9);
        report_cell(out, format_bytes(n, p->pairs[i].bytes), 10);
        name_of(t, p->pairs[i].from, from, sizeof from);
        name_of(t, p->pairs[i].to, to, sizeof to);
        snprintf(text, sizeof text, "%s → %s", from, to);
        fprintf(out, "  ");
        report_last(r, out, text, 21);
    }
}

static void print_trace(const report *r, const report_trace *t, FILE *out)
{
    uint32_t count;
    hak_reader_threads(t->reader, &count);
    count = count < t->profile->threads_count ? count : t->profile->threads_count;
    row *rows = calloc((size_t)count + 1, sizeof *rows);
    if (count < 2 || rows == NULL) {
        free(rows);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (row){t->profile->threads[i].calls + t->profile->threads[i].frees, i};
    qsort(rows, count, sizeof *rows, by_weight);
    fprintf(out, "\n%s    CALLS     BYTES      LEFT     FREES  OF OTHERS  THREAD%s\n", report_bold(r),
            report_plain(r));
    uint32_t shown = r->options->top == 0 || count < ROWS ? count : ROWS;
    for (uint32_t i = 0; i < shown; i++)
        print_thread(r, t, rows[i].thread, out);
    report_more(r, out, count - shown, "threads");
    free(rows);
    print_pairs(r, t, out);
}

void report_threads(const report *r, FILE *out)
{
    for (size_t i = 0; i < r->traces_count; i++)
        print_trace(r, &r->traces[i], out);
}
