/* report_text.c: the report for people. */
#include "cli/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 8192, MAX_ROWS = 10, BAR_STEPS = 8 };

static const char *bold(const report *r)
{
    return r->options.color ? "\033[1m" : "";
}

static const char *dim(const report *r)
{
    return r->options.color ? "\033[2m" : "";
}

static const char *plain(const report *r)
{
    return r->options.color ? "\033[0m" : "";
}

/* Right-aligned by what is seen: µ and … are two and three bytes of one column. */
static void cell(FILE *out, const char *text, int width)
{
    int seen = 0;
    for (const char *at = text; *at != '\0'; at++)
        seen += ((unsigned char)*at & 0xc0) != 0x80;
    fprintf(out, "%*s%s", width > seen ? width - seen : 0, "", text);
}

/* ---- one line per trace ---- */

static void print_summary(const report *r, const report_trace *t, FILE *out)
{
    const hak_trace_head *head = hak_reader_head(t->reader);
    const hak_trace_tail *tail = hak_reader_tail(t->reader);
    const hak_profile *p = t->profile;
    const char *slash = strrchr(head->program, '/');
    char name[256], a[REPORT_NUMBER];
    format_safe(name, sizeof name,
                slash != NULL            ? slash + 1
                : *head->program != '\0' ? head->program
                                         : t->path,
                60);
    fprintf(out, "%s%s%s", bold(r), name, plain(r));
    if (head->pid != 0)
        fprintf(out, " (%" PRIu64 ")", head->pid);
    fprintf(out, " %s", format_time(a, p->duration_ns));
    fprintf(out, "  %s allocations", format_count(a, p->allocations));
    fprintf(out, "  %s in all", format_bytes(a, p->allocated_bytes));
    fprintf(out, "  peak heap %s", format_bytes(a, p->peak_bytes));
    if (p->rss_peak_bytes != 0)
        fprintf(out, "  peak RSS %s", format_bytes(a, p->rss_peak_bytes));
    fprintf(out, "\n  never freed %s", format_bytes(a, p->live_bytes));
    fprintf(out, " in %s blocks", format_count(a, p->live_blocks));
    fprintf(out, "  temporary %s", format_share(a, p->temporary, p->allocations));
    fprintf(out, "  peak at %s", format_time(a, p->peak_ns));
    uint32_t threads;
    hak_reader_threads(t->reader, &threads);
    fprintf(out, "  %" PRIu32 " thread%s", threads, threads == 1 ? "" : "s");
    if (p->failed != 0)
        fprintf(out, "  %s failed", format_count(a, p->failed));
    if (p->foreign != 0)
        fprintf(out, "  %s frees of unknown blocks", format_count(a, p->foreign));
    if (tail->events_lost != 0)
        fprintf(out, "  %s%s EVENTS LOST%s", bold(r), format_count(a, tail->events_lost), plain(r));
    fprintf(out, "\n");
    if (tail->walks_checked != 0 && tail->walks_wrong != 0)
        fprintf(out,
                "  contexts: %" PRIu64 " of %" PRIu64 " checked stack walks disagreed with the unwinder\n",
                tail->walks_wrong, tail->walks_checked);
}

/* ---- sites ---- */

static void life_text(char *time, char *events, const hak_site *site)
{
    uint64_t ns = hak_life_time_ns(&site->life, site->usage.live_blocks, 0.5);
    uint64_t count = hak_life_events(&site->life, site->usage.live_blocks, 0.5);
    if (ns == UINT64_MAX) {
        snprintf(time, REPORT_NUMBER, "to exit");
        snprintf(events, REPORT_NUMBER, "–");
        return;
    }
    if (ns <= HAK_LIFE_UNIT_NS)
        snprintf(time, REPORT_NUMBER, "<0.1 µs");
    else
        format_time(time, ns);
    format_count(events, count);
}

static void site_text(const report *r, const hak_site *site, char *text, size_t room)
{
    size_t used = 0;
    text[0] = '\0';
    if (site->frames_count == 0)
        snprintf(text, room, "(no call context)");
    for (uint32_t i = 0; i < site->frames_count && used + 8 < room; i++) {
        char place[2048];
        format_place(place, sizeof place, hak_sites_place(r->sites, site->frames[i]), i == 0);
        int n = snprintf(text + used, room - used, "%s%s", i == 0 ? "" : " ← ", place);
        used += (size_t)n < room - used ? (size_t)n : room - used - 1;
    }
}

static void print_site(const report *r, const hak_site *site, FILE *out)
{
    const hak_usage *u = &site->usage;
    char n[REPORT_NUMBER], life[REPORT_NUMBER], events[REPORT_NUMBER];
    char raw[LINE], text[LINE];
    life_text(life, events, site);
    cell(out, format_count(n, u->calls), 9);
    cell(out, format_bytes(n, u->bytes), 10);
    cell(out, format_bytes(n, u->at_peak_bytes), 10);
    cell(out, format_bytes(n, u->live_bytes), 10);
    cell(out, format_share(n, u->temporary, u->calls), 6);
    cell(out, life, 9);
    cell(out, events, 8);
    site_text(r, site, raw, sizeof raw);
    const unsigned before = 9 + 3 * 10 + 6 + 9 + 8 + 2;
    unsigned width = r->options.width;
    format_safe(text, sizeof text, raw, width > before + 20 ? width - before : width != 0 ? 20 : 0);
    fprintf(out, "  %s\n", text);
}

static void print_sites(const report *r, FILE *out)
{
    size_t shown = r->options.top != 0 && r->options.top < r->list_count ? r->options.top : r->list_count;
    if (shown == 0)
        return;
    fprintf(out, "\n%s    CALLS     BYTES   AT PEAK      LEFT  TEMP LIFE p50  EVENTS  SITE%s\n", bold(r),
            plain(r));
    for (size_t i = 0; i < shown; i++)
        print_site(r, &r->list[i], out);
    if (shown < r->list_count) {
        hak_usage rest = {.calls = 0};
        for (size_t i = shown; i < r->list_count; i++)
            hak_usage_add(&rest, &r->list[i].usage);
        char a[REPORT_NUMBER], b[REPORT_NUMBER], c[REPORT_NUMBER];
        fprintf(out, "%s  %zu more sites: %s calls, %s, %s at peak (--top=0 shows all)%s\n", dim(r),
                r->list_count - shown, format_count(a, rest.calls), format_bytes(b, rest.bytes),
                format_bytes(c, rest.at_peak_bytes), plain(r));
    }
}

/* ---- growers: who pays for realloc by copying ---- */

static int by_copied(const void *a, const void *b)
{
    uint64_t x = (*(const hak_site *const *)a)->usage.copied_bytes;
    uint64_t y = (*(const hak_site *const *)b)->usage.copied_bytes;
    return (x < y) - (x > y);
}

static void print_growers(const report *r, FILE *out)
{
    const hak_site **growers = calloc(r->list_count + 1, sizeof *growers);
    size_t count = 0;
    for (size_t i = 0; growers != NULL && i < r->list_count; i++) {
        if (r->list[i].usage.copied_bytes != 0)
            growers[count++] = &r->list[i];
    }
    if (count != 0) {
        qsort(growers, count, sizeof *growers, by_copied);
        fprintf(out, "\n%s REALLOCS   MOVED    COPIED   LARGEST  GROWS AT%s\n", bold(r), plain(r));
    }
    for (size_t i = 0; i < count && i < MAX_ROWS / 2; i++) {
        const hak_usage *u = &growers[i]->usage;
        char n[REPORT_NUMBER], raw[LINE], text[LINE];
        cell(out, format_count(n, u->reallocs), 9);
        cell(out, format_share(n, u->moved, u->reallocs), 8);
        cell(out, format_bytes(n, u->copied_bytes), 10);
        cell(out, format_bytes(n, u->size_max_bytes), 10);
        site_text(r, growers[i], raw, sizeof raw);
        format_safe(text, sizeof text, raw, r->options.width > 60 ? r->options.width - 39 : 0);
        fprintf(out, "  %s\n", text);
    }
    free(growers);
}

/* ---- sizes ---- */

/* ≤16, ≤64, ≤256 … as powers of four; the last takes the rest. */
enum { SIZE_COLUMNS = 12 };

static void print_sizes(const report *r, FILE *out)
{
    static const char *const bars[BAR_STEPS + 1] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const names[SIZE_COLUMNS] = {"≤16",  "≤64",   "≤256", "≤1K", "≤4K",  "≤16K",
                                                    "≤64K", "≤256K", "≤1M",  "≤4M", "≤16M", ">16M"};
    uint64_t calls[SIZE_COLUMNS] = {0};
    uint64_t most = 0;
    unsigned last = 0;
    for (size_t t = 0; t < r->traces_count; t++) {
        for (unsigned bits = 0; bits < HAK_SIZE_BUCKETS; bits++) {
            unsigned column = bits <= 4 ? 0 : (bits - 3) / 2;
            calls[column < SIZE_COLUMNS ? column : SIZE_COLUMNS - 1] +=
                r->traces[t].profile->size_calls[bits];
        }
    }
    for (unsigned i = 0; i < SIZE_COLUMNS; i++) {
        most = calls[i] > most ? calls[i] : most;
        last = calls[i] != 0 ? i : last;
    }
    if (most == 0)
        return;
    fprintf(out, "\n%sSizes%s", bold(r), plain(r));
    for (unsigned i = 0; i <= last; i++) {
        unsigned step = (unsigned)((calls[i] * BAR_STEPS + most - 1) / most);
        fprintf(out, "  %s %s", names[i], bars[step]);
    }
    fprintf(out, "\n");
}

/* ---- threads ---- */

static void print_threads(const report *r, const report_trace *t, FILE *out)
{
    uint32_t count;
    const hak_trace_thread *threads = hak_reader_threads(t->reader, &count);
    if (count < 2)
        return;
    fprintf(out, "\n%s    CALLS     BYTES      LEFT     FREES  OF OTHERS  THREAD%s\n", bold(r), plain(r));
    bool *shown = calloc(count, sizeof *shown);
    uint32_t rows = count < MAX_ROWS ? count : MAX_ROWS;
    for (uint32_t row = 0; shown != NULL && row < rows; row++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < count; i++) {
            if (!shown[i] &&
                (best == UINT32_MAX || t->profile->threads[i].calls > t->profile->threads[best].calls))
                best = i;
        }
        shown[best] = true;
        const hak_profile_thread *p = &t->profile->threads[best];
        char n[REPORT_NUMBER], name[128];
        cell(out, format_count(n, p->calls), 9);
        cell(out, format_bytes(n, p->bytes), 10);
        cell(out, format_bytes(n, p->live_bytes), 10);
        cell(out, format_count(n, p->frees), 10);
        cell(out, format_count(n, p->frees_of_others), 11);
        format_safe(name, sizeof name, threads[best].name, 40);
        fprintf(out, "  %" PRIu64 " %s\n", threads[best].tid, name);
    }
    free(shown);
    if (rows < count)
        fprintf(out, "%s  %" PRIu32 " more threads%s\n", dim(r), count - rows, plain(r));
}

void report_text(const report *r, FILE *out)
{
    for (size_t i = 0; i < r->traces_count; i++)
        print_summary(r, &r->traces[i], out);
    print_sites(r, out);
    print_growers(r, out);
    print_sizes(r, out);
    for (size_t i = 0; i < r->traces_count; i++)
        print_threads(r, &r->traces[i], out);
    unsigned changed = hak_sites_changed_modules(r->sites);
    if (changed != 0)
        fprintf(out, "%s%u file%s changed since the recording: shown without names%s\n", dim(r), changed,
                changed == 1 ? "" : "s", plain(r));
}
