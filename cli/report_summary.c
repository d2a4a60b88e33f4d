/* report_summary.c: what the report begins with: a paragraph for a process, a table for several. */
#include "cli/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- one process: a paragraph ---- */

/* Figures behind one another, as many on a line as the terminal has room for. */
typedef struct facts {
    const report *r;
    FILE *out;
    size_t used; /* columns of this line */
} facts;

static void fact_line(facts *f)
{
    fputs("\n  ", f->out);
    f->used = 2;
}

__attribute__((format(printf, 2, 3))) static void fact(facts *f, const char *format, ...)
{
    enum { GAP = 2 };
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t seen = format_columns(text);
    if (f->r->options->width != 0 && f->used + GAP + seen > f->r->options->width)
        fact_line(f);
    else if (f->used > GAP)
        f->used += (size_t)fprintf(f->out, "%*s", GAP, "");
    fputs(text, f->out);
    f->used += seen;
}

static void tell_program(facts *f, const report_trace *t)
{
    const hak_trace_head *head = hak_reader_head(t->reader);
    char name[256], pid[32] = "", a[REPORT_NUMBER];
    format_safe(name, sizeof name, *head->program != '\0' ? base_name(head->program) : t->path, 60);
    if (head->pid != 0)
        snprintf(pid, sizeof pid, " (%" PRIu64 ")", head->pid);
    fprintf(f->out, "%s%s%s%s %s", report_bold(f->r), name, report_plain(f->r), pid,
            format_time(a, t->profile->duration_ns));
    f->used = format_columns(name) + strlen(pid) + 1 + format_columns(a);
}

/* What makes the figures less than the whole truth. */
static void tell_faults(facts *f, const report_trace *t)
{
    const hak_trace_head *head = hak_reader_head(t->reader);
    const hak_trace_tail *tail = hak_reader_tail(t->reader);
    const hak_profile *p = t->profile;
    char a[REPORT_NUMBER];
    if (p->failed != 0)
        fact(f, "%s failed", format_count(a, p->failed));
    if (p->foreign != 0)
        fact(f, "%s frees of unknown blocks", format_count(a, p->foreign));
    if (tail->events_lost != 0)
        fact(f, "%s EVENTS LOST", format_count(a, tail->events_lost));
    if (head->sample_bytes != 0)
        fact(f, "estimated from a sample every %s", format_bytes(a, head->sample_bytes));
    if (tail->end != HAK_END_PROGRAM)
        fact(f, "recording ended %s", hak_trace_end_text(tail->end));
    if (tail->walks_wrong == 0)
        return;
    fact_line(f);
    fact(f, "contexts: %" PRIu64 " of %" PRIu64 " checked stack walks disagreed with the unwinder",
         tail->walks_wrong, tail->walks_checked);
}

static void summarize(const report *r, const report_trace *t, FILE *out)
{
    const hak_profile *p = t->profile;
    facts f = {r, out, 0};
    char a[REPORT_NUMBER], b[REPORT_NUMBER];
    tell_program(&f, t);
    fact(&f, "%s%s allocation%s", hak_reader_head(t->reader)->sample_bytes != 0 ? "about " : "",
         format_count(a, p->allocations), report_s(p->allocations));
    fact(&f, "%s in all", format_bytes(a, p->allocated_bytes));
    fact(&f, "peak heap %s", format_bytes(a, p->peak_bytes));
    if (p->rss_peak_bytes != 0)
        fact(&f, "peak RSS %s", format_bytes(a, p->rss_peak_bytes));
    fact_line(&f);
    fact(&f, "%s %s in %s block%s", report_left(r), format_bytes(a, p->live_bytes),
         format_count(b, p->live_blocks), report_s(p->live_blocks));
    fact(&f, "temporary %s", format_share(a, p->temporary, p->allocations));
    fact(&f, "peak at %s", format_time(a, p->peak_ns));
    uint32_t threads;
    hak_reader_threads(t->reader, &threads);
    fact(&f, "%" PRIu32 " thread%s", threads, report_s(threads));
    tell_faults(&f, t);
    fputc('\n', out);
}

enum { WIDE = 60 }; /* columns from which all of the table is shown */

/* ---- several: a table, children below their parents ---- */

typedef struct process {
    const report_trace *t;
    uint32_t parent; /* number + 1; 0: not among these */
    bool shown;
} process;

static const hak_trace_head *head_of(const process *p)
{
    return hak_reader_head(p->t->reader);
}

static int by_start(const void *a, const void *b)
{
    uint64_t x = head_of(a)->start_unix_ns;
    uint64_t y = head_of(b)->start_unix_ns;
    return (x > y) - (x < y);
}

static int by_peak(const void *a, const void *b)
{
    uint64_t x = (*(process *const *)a)->t->profile->peak_bytes;
    uint64_t y = (*(process *const *)b)->t->profile->peak_bytes;
    return (x < y) - (x > y);
}

/* Parents are known by process number and by when their recording began. */
static void find_parents(process *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const hak_trace_head *child = head_of(&list[i]);
        for (size_t k = 0; k < i && child->parent_start_ns != 0; k++) {
            const hak_trace_head *parent = head_of(&list[k]);
            if (parent->start_unix_ns == child->parent_start_ns &&
                (parent->pid == child->parent_pid || parent->pid == child->pid))
                list[i].parent = (uint32_t)k + 1;
        }
    }
}

/* With --top, those with the greatest heaps. False: no memory. */
static bool choose(const report *r, process *list, size_t count)
{
    process **order = calloc(count + 1, sizeof *order);
    for (size_t i = 0; order != NULL && i < count; i++)
        order[i] = &list[i];
    if (order != NULL)
        qsort(order, count, sizeof *order, by_peak);
    for (size_t i = 0; order != NULL && i < report_shown(r, count); i++)
        order[i]->shown = true;
    free(order);
    return order != NULL;
}

static void print_process(const report *r, const process *list, const process *p, unsigned depth, FILE *out)
{
    enum { DEEPEST = 16 };
    bool wide = report_fits(r, WIDE);
    const hak_profile *profile = p->t->profile;
    char n[REPORT_NUMBER], text[512], name[256];
    const hak_trace_head *head = head_of(p);
    report_cell(out, format_count(n, profile->allocations), 9);
    report_cell(out, format_bytes(n, profile->peak_bytes), 10);
    if (wide)
        report_cell(out, format_bytes(n, profile->live_bytes), 10);
    if (wide)
        report_cell(out, format_time(n, profile->duration_ns), 10);
    format_safe(name, sizeof name, *head->program != '\0' ? base_name(head->program) : p->t->path, 60);
    bool became = p->parent != 0 && head_of(&list[p->parent - 1])->pid == head->pid;
    uint64_t lost = hak_reader_tail(p->t->reader)->events_lost;
    snprintf(text, sizeof text, "  %*s%s (%" PRIu64 ")%s%s%s", (int)(2 * (depth < DEEPEST ? depth : DEEPEST)),
             "", name, head->pid, became ? ", by exec" : "", lost != 0 ? "  EVENTS LOST: " : "",
             lost != 0 ? format_count(n, lost) : "");
    report_last(r, out, text, wide ? 9 + 10 + 10 + 10 : 9 + 10);
}

static void print_below(const report *r, const process *list, size_t count, uint32_t parent, unsigned depth,
                        FILE *out)
{
    enum { DEEPEST = 1000 };
    for (size_t i = 0; i < count && depth < DEEPEST; i++) {
        if (list[i].parent != parent)
            continue;
        if (list[i].shown)
            print_process(r, list, &list[i], depth, out);
        print_below(r, list, count, (uint32_t)i + 1, depth + list[i].shown, out);
    }
}

static void tell_processes(const report *r, FILE *out)
{
    facts f = {r, out, 0};
    char a[REPORT_NUMBER], b[REPORT_NUMBER];
    fprintf(out, "%s%zu processes%s", report_bold(r), r->traces_count, report_plain(r));
    f.used = 12;
    fact(&f, "%s allocation%s", format_count(a, r->total.calls), report_s(r->total.calls));
    fact(&f, "%s in all", format_bytes(a, r->total.bytes));
    fact(&f, "sum of their peak heaps %s", format_bytes(a, r->peak_bytes));
    fact_line(&f);
    fact(&f, "%s %s in %s block%s", report_left(r), format_bytes(a, r->total.live_bytes),
         format_count(b, r->total.live_blocks), report_s(r->total.live_blocks));
    fact(&f, "temporary %s", format_share(a, r->total.temporary, r->total.calls));
    fputc('\n', out);
}

static void print_processes(const report *r, FILE *out)
{
    process *list = calloc(r->traces_count, sizeof *list);
    for (size_t i = 0; list != NULL && i < r->traces_count; i++)
        list[i].t = &r->traces[i];
    tell_processes(r, out);
    if (list != NULL) {
        qsort(list, r->traces_count, sizeof *list, by_start);
        find_parents(list, r->traces_count);
    }
    if (list != NULL && choose(r, list, r->traces_count)) {
        fprintf(out, "\n%s    CALLS PEAK HEAP%s  PROCESS%s\n", report_bold(r),
                report_fits(r, WIDE) ? "      LEFT      TIME" : "", report_plain(r));
        print_below(r, list, r->traces_count, 0, 0, out);
        report_more(r, out, r->traces_count - report_shown(r, r->traces_count), "with smaller heaps");
    }
    free(list);
}

void report_summary(const report *r, FILE *out)
{
    if (r->traces_count == 1)
        summarize(r, &r->traces[0], out);
    else
        print_processes(r, out);
}

void report_remarks(const report *r, FILE *out)
{
    unsigned changed = hak_places_changed_modules(r->places);
    if (changed != 0)
        fprintf(out, "%s%u file%s changed since the recording: shown without names%s\n", report_dim(r),
                changed, changed == 1 ? "" : "s", report_plain(r));
}
