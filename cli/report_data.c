/* report_data.c: the report for programs: JSON (schema 1; fields are only ever added) and CSV. */
#include "cli/report.h"

#include <inttypes.h>
#include <string.h>

enum { SCHEMA = 1, TEXT = 8192 };

/* ---- JSON ---- */

/* Length of valid UTF-8 at text, 0 when it is not. */
static size_t utf8_length(const unsigned char *text)
{
    unsigned char c = text[0];
    size_t n = c < 0x80                 ? 1
               : c >= 0xc2 && c <= 0xdf ? 2
               : (c & 0xf0) == 0xe0     ? 3
               : c >= 0xf0 && c <= 0xf4 ? 4
                                        : 0;
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((n == 3 && ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f))) ||
        (n == 4 && ((c == 0xf0 && text[1] < 0x90) || (c == 0xf4 && text[1] > 0x8f))))
        return 0;
    return n;
}

/* A string or null. Bytes that are not UTF-8 become U+FFFD. */
static void put_string(FILE *out, const char *text)
{
    if (text == NULL) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        size_t n = utf8_length(at);
        if (n == 0)
            fputs("\\ufffd", out);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(out, "\\u%04x", *at);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else
            fwrite(at, 1, n, out);
        at += n == 0 ? 1 : n;
    }
    fputc('"', out);
}

static void put_number(FILE *out, const char *name, uint64_t value)
{
    fprintf(out, ",\"%s\":%" PRIu64, name, value);
}

static void put_optional(FILE *out, const char *name, uint64_t value)
{
    if (value == UINT64_MAX)
        fprintf(out, ",\"%s\":null", name);
    else
        put_number(out, name, value);
}

static void put_trace_threads(const report_trace *t, FILE *out)
{
    uint32_t count;
    const hak_trace_thread *threads = hak_reader_threads(t->reader, &count);
    fputs(",\"threads\":[", out);
    for (uint32_t i = 0; i < count; i++) {
        const hak_profile_thread *p = &t->profile->threads[i];
        fprintf(out, "%s{\"tid\":%" PRIu64 ",\"name\":", i == 0 ? "" : ",", threads[i].tid);
        put_string(out, threads[i].name);
        put_number(out, "calls", p->calls);
        put_number(out, "bytes", p->bytes);
        put_number(out, "live_bytes", p->live_bytes);
        put_number(out, "frees", p->frees);
        put_number(out, "frees_of_others", p->frees_of_others);
        fputc('}', out);
    }
    fputc(']', out);
}

static void put_trace_tables(const report_trace *t, FILE *out)
{
    const hak_profile *p = t->profile;
    bool first = true;
    fputs(",\"sizes\":[", out);
    for (unsigned i = 0; i < HAK_SIZE_BUCKETS; i++) {
        if (p->size_calls[i] == 0)
            continue;
        uint64_t most = i < 64 ? UINT64_C(1) << i : UINT64_MAX;
        fprintf(out, "%s{\"up_to\":%" PRIu64 ",\"calls\":%" PRIu64 ",\"bytes\":%" PRIu64 "}",
                first ? "" : ",", most, p->size_calls[i], p->size_bytes[i]);
        first = false;
    }
    fputs("],\"operations\":{", out);
    first = true;
    for (unsigned i = 0; i < HAK_OP_COUNT; i++) {
        if (p->op_calls[i] == 0)
            continue;
        fprintf(out, "%s\"%s\":%" PRIu64, first ? "" : ",", hak_op_text((hak_op)i), p->op_calls[i]);
        first = false;
    }
    fputs("},\"heap\":[", out);
    for (uint32_t i = 0; i < p->timeline_count; i++)
        fprintf(out, "%s[%" PRIu64 ",%" PRIu64 "]", i == 0 ? "" : ",", p->timeline[i].time_ns,
                p->timeline[i].live_max_bytes);
    fputs("],\"rss\":[", out);
    uint32_t samples;
    const hak_trace_rss *rss = hak_reader_rss(t->reader, &samples);
    for (uint32_t i = 0; i < samples; i++)
        fprintf(out, "%s[%" PRIu64 ",%" PRIu64 "]", i == 0 ? "" : ",", rss[i].time_ns, rss[i].rss_bytes);
    fputc(']', out);
}

static void put_trace(const report_trace *t, FILE *out)
{
    const hak_trace_head *head = hak_reader_head(t->reader);
    const hak_trace_tail *tail = hak_reader_tail(t->reader);
    const hak_profile *p = t->profile;
    fputs("{\"file\":", out);
    put_string(out, t->path);
    fputs(",\"program\":", out);
    put_string(out, head->program);
    fputs(",\"recorder\":", out);
    put_string(out, head->recorder);
    put_number(out, "pid", head->pid);
    put_number(out, "parent_pid", head->parent_pid);
    put_number(out, "start_unix_ns", head->start_unix_ns);
    put_number(out, "duration_ns", p->duration_ns);
    put_number(out, "events", p->events);
    put_number(out, "events_lost", tail->events_lost);
    fprintf(out, ",\"partial\":%s", hak_reader_partial(t->reader, NULL) ? "true" : "false");
    put_number(out, "allocations", p->allocations);
    put_number(out, "allocated_bytes", p->allocated_bytes);
    put_number(out, "frees", p->frees);
    put_number(out, "null_frees", p->null_frees);
    put_number(out, "foreign_frees", p->foreign);
    put_number(out, "failed", p->failed);
    put_number(out, "temporary", p->temporary);
    put_number(out, "peak_bytes", p->peak_bytes);
    put_number(out, "peak_blocks", p->peak_blocks);
    put_number(out, "peak_ns", p->peak_ns);
    put_number(out, "live_bytes", p->live_bytes);
    put_number(out, "live_blocks", p->live_blocks);
    put_number(out, "peak_rss_bytes", p->rss_peak_bytes);
    put_number(out, "walks", tail->walks);
    put_number(out, "walks_checked", tail->walks_checked);
    put_number(out, "walks_wrong", tail->walks_wrong);
    put_number(out, "walks_dynamic", tail->walks_dynamic);
    put_trace_tables(t, out);
    put_trace_threads(t, out);
    fputc('}', out);
}

static void put_site(const report *r, const hak_site *site, FILE *out)
{
    const hak_usage *u = &site->usage;
    fprintf(out, "{\"contexts\":%" PRIu32, site->contexts);
    put_number(out, "calls", u->calls);
    put_number(out, "bytes", u->bytes);
    put_number(out, "at_peak_bytes", u->at_peak_bytes);
    put_number(out, "at_peak_blocks", u->at_peak_blocks);
    put_number(out, "live_bytes", u->live_bytes);
    put_number(out, "live_blocks", u->live_blocks);
    put_number(out, "temporary", u->temporary);
    put_number(out, "freed", u->freed);
    put_number(out, "freed_remotely", u->freed_remotely);
    put_number(out, "failed", u->failed);
    put_number(out, "reallocs", u->reallocs);
    put_number(out, "moved", u->moved);
    put_number(out, "copied_bytes", u->copied_bytes);
    put_number(out, "size_max_bytes", u->size_max_bytes);
    put_optional(out, "life_p50_ns", hak_life_time_ns(&site->life, u->live_blocks, 0.5));
    put_optional(out, "life_p50_events", hak_life_events(&site->life, u->live_blocks, 0.5));
    put_optional(out, "life_p99_ns", hak_life_time_ns(&site->life, u->live_blocks, 0.99));
    fputs(",\"frames\":[", out);
    for (uint32_t i = 0; i < site->frames_count; i++) {
        const hak_place *place = hak_sites_place(r->sites, site->frames[i]);
        fputs(i == 0 ? "{\"function\":" : ",{\"function\":", out);
        put_string(out, place->function);
        fputs(",\"file\":", out);
        put_string(out, place->file);
        put_number(out, "line", place->line);
        fputs(",\"module\":", out);
        put_string(out, place->module);
        put_number(out, "offset", place->offset);
        fputc('}', out);
    }
    fputs("]}", out);
}

static size_t shown_sites(const report *r)
{
    return r->options.top != 0 && r->options.top < r->list_count ? r->options.top : r->list_count;
}

void report_json(const report *r, FILE *out)
{
    fprintf(out, "{\"schema\":%d,\"tool\":\"hakmem-report %s\",\"sort\":\"%s\",\"traces\":[", SCHEMA,
            HAKMEM_VERSION, r->options.sort_name);
    for (size_t i = 0; i < r->traces_count; i++) {
        fputs(i == 0 ? "\n" : ",\n", out);
        put_trace(&r->traces[i], out);
    }
    fprintf(out, "],\n\"sites_total\":%zu,\"sites\":[", r->list_count);
    for (size_t i = 0; i < shown_sites(r); i++) {
        fputs(i == 0 ? "\n" : ",\n", out);
        put_site(r, &r->list[i], out);
    }
    fputs("]}\n", out);
}

/* ---- CSV (RFC 4180) ---- */

static void put_field(FILE *out, const char *text)
{
    fputs(",\"", out);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void put_csv_optional(FILE *out, uint64_t value)
{
    fputc(',', out);
    if (value != UINT64_MAX)
        fprintf(out, "%" PRIu64, value);
}

void report_csv(const report *r, FILE *out)
{
    fputs("calls,bytes,at_peak_bytes,live_bytes,live_blocks,temporary,freed,freed_remotely,reallocs,moved,"
          "copied_bytes,life_p50_ns,life_p50_events,site,callers\r\n",
          out);
    for (size_t i = 0; i < shown_sites(r); i++) {
        const hak_site *site = &r->list[i];
        const hak_usage *u = &site->usage;
        fprintf(out,
                "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                ",%" PRIu64 ",%" PRIu64 ",%" PRIu64,
                u->calls, u->bytes, u->at_peak_bytes, u->live_bytes, u->live_blocks, u->temporary, u->freed,
                u->freed_remotely, u->reallocs, u->moved, u->copied_bytes);
        put_csv_optional(out, hak_life_time_ns(&site->life, u->live_blocks, 0.5));
        put_csv_optional(out, hak_life_events(&site->life, u->live_blocks, 0.5));
        char text[TEXT] = "";
        size_t used = 0;
        for (uint32_t k = 0; k < site->frames_count; k++) {
            char place[2048];
            format_place(place, sizeof place, hak_sites_place(r->sites, site->frames[k]), true);
            if (k == 0) {
                put_field(out, place);
            } else if (used < sizeof text) {
                int n = snprintf(text + used, sizeof text - used, "%s%s", used == 0 ? "" : " < ", place);
                used += (size_t)n;
            }
        }
        if (site->frames_count == 0)
            put_field(out, "");
        put_field(out, text);
        fputs("\r\n", out);
    }
}
