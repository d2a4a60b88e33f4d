/* report_json.c: the report for programs: JSON (schema 1; fields are only ever added) and CSV. */
#include "cli/report_json.h"

#include <inttypes.h>
#include <string.h>

enum { TEXT = 8192 };

/* ---- JSON ---- */

void json_number(FILE *out, const char *name, uint64_t value)
{
    fprintf(out, ",\"%s\":%" PRIu64, name, value);
}

static void put_optional(FILE *out, const char *name, uint64_t value)
{
    if (value == UINT64_MAX)
        fprintf(out, ",\"%s\":null", name);
    else
        json_number(out, name, value);
}

static void put_trace_threads(const report_trace *t, FILE *out)
{
    uint32_t count;
    const hak_trace_thread *threads = hak_reader_threads(t->reader, &count);
    fputs(",\"threads\":[", out);
    for (uint32_t i = 0; i < count; i++) {
        const hak_profile_thread *p = &t->profile->threads[i];
        fprintf(out, "%s{\"tid\":%" PRIu64 ",\"name\":", i == 0 ? "" : ",", threads[i].tid);
        json_string(out, threads[i].name);
        json_number(out, "calls", p->calls);
        json_number(out, "bytes", p->bytes);
        json_number(out, "live_bytes", p->live_bytes);
        json_number(out, "frees", p->frees);
        json_number(out, "frees_of_others", p->frees_of_others);
        fputc('}', out);
    }
    fputs("],\"remote_frees\":[", out);
    for (uint32_t i = 0; i < t->profile->pairs_count; i++) {
        const hak_remote_pair *pair = &t->profile->pairs[i];
        fprintf(out, "%s{\"from\":%" PRIu32 ",\"to\":%" PRIu32, i == 0 ? "" : ",", pair->from, pair->to);
        json_number(out, "frees", pair->frees);
        json_number(out, "bytes", pair->bytes);
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
    json_string(out, t->path);
    fputs(",\"program\":", out);
    json_string(out, head->program);
    fputs(",\"recorder\":", out);
    json_string(out, head->recorder);
    json_number(out, "pid", head->pid);
    json_number(out, "parent_pid", head->parent_pid);
    json_number(out, "start_unix_ns", head->start_unix_ns);
    json_number(out, "duration_ns", p->duration_ns);
    json_number(out, "sample_bytes", head->sample_bytes);
    json_number(out, "events", p->events);
    json_number(out, "events_lost", tail->events_lost);
    fputs(",\"ended\":", out);
    json_string(out, hak_trace_end_text(tail->end));
    fprintf(out, ",\"partial\":%s", hak_reader_partial(t->reader, NULL) ? "true" : "false");
    json_number(out, "allocations", p->allocations);
    json_number(out, "allocated_bytes", p->allocated_bytes);
    json_number(out, "frees", p->frees);
    json_number(out, "null_frees", p->null_frees);
    json_number(out, "foreign_frees", p->foreign);
    json_number(out, "failed", p->failed);
    json_number(out, "temporary", p->temporary);
    json_number(out, "peak_bytes", p->peak_bytes);
    json_number(out, "peak_blocks", p->peak_blocks);
    json_number(out, "peak_ns", p->peak_ns);
    json_number(out, "live_bytes", p->live_bytes);
    json_number(out, "live_blocks", p->live_blocks);
    json_number(out, "pinned_bytes", p->pinned_bytes);
    json_number(out, "peak_rss_bytes", p->rss_peak_bytes);
    json_number(out, "walks", tail->walks);
    json_number(out, "walks_checked", tail->walks_checked);
    json_number(out, "walks_wrong", tail->walks_wrong);
    json_number(out, "walks_dynamic", tail->walks_dynamic);
    put_trace_tables(t, out);
    put_trace_threads(t, out);
    fputc('}', out);
}

static void put_usage(FILE *out, const hak_usage *u)
{
    json_number(out, "calls", u->calls);
    json_number(out, "bytes", u->bytes);
    json_number(out, "at_peak_bytes", u->at_peak_bytes);
    json_number(out, "at_peak_blocks", u->at_peak_blocks);
    json_number(out, "live_bytes", u->live_bytes);
    json_number(out, "live_blocks", u->live_blocks);
    json_number(out, "temporary", u->temporary);
    json_number(out, "freed", u->freed);
    json_number(out, "freed_remotely", u->freed_remotely);
    json_number(out, "failed", u->failed);
    json_number(out, "reallocs", u->reallocs);
    json_number(out, "moved", u->moved);
    json_number(out, "copied_bytes", u->copied_bytes);
    json_number(out, "regrown", u->grown);
    json_number(out, "regrown_bytes", u->grown_bytes);
    json_number(out, "size_max_bytes", u->size_max_bytes);
    json_number(out, "pinned_bytes", u->pinned_bytes);
}

void json_usage(FILE *out, const hak_usage *usage)
{
    if (usage == NULL) {
        fputs("null", out);
        return;
    }
    fputs("{\"max_bytes\":", out);
    fprintf(out, "%" PRIu64, usage->max_bytes);
    put_usage(out, usage);
    fputc('}', out);
}

void json_place(FILE *out, const hak_place *place)
{
    fputs("\"function\":", out);
    json_string(out, place->function);
    fputs(",\"file\":", out);
    json_string(out, place->file);
    json_number(out, "line", place->line);
    fputs(",\"module\":", out);
    json_string(out, place->module);
    json_number(out, "offset", place->offset);
    fprintf(out, ",\"inlined\":%s", place->inlined ? "true" : "false");
}

void json_frames(FILE *out, const report *r, const hak_site *site)
{
    const uint32_t *frames = hak_sites_frames(r->sites, site);
    fputs(",\"frames\":[", out);
    for (uint32_t i = 0; i < site->frames_count; i++) {
        fputs(i == 0 ? "{" : ",{", out);
        json_place(out, hak_places_at(r->places, frames[i]));
        fputc('}', out);
    }
    fputc(']', out);
}

static void put_site(const report *r, const hak_site *site, FILE *out)
{
    const hak_usage *u = site->usage;
    fprintf(out, "{\"contexts\":%" PRIu32, site->contexts);
    put_usage(out, u);
    put_optional(out, "life_p50_ns", hak_site_life_ns(site, 0.5));
    put_optional(out, "life_p50_events", hak_site_life_events(site, 0.5));
    put_optional(out, "life_p99_ns", hak_site_life_ns(site, 0.99));
    json_frames(out, r, site);
    fputc('}', out);
}

void report_json(const report *r, unsigned views, FILE *out)
{
    fprintf(out, "{\"schema\":%d,\"tool\":\"hakmem-report %s\",\"sort\":\"%s\",\"traces\":[", REPORT_SCHEMA,
            HAKMEM_VERSION, r->options->order->name);
    for (size_t i = 0; i < r->traces_count; i++) {
        fputs(i == 0 ? "\n" : ",\n", out);
        put_trace(&r->traces[i], out);
    }
    fputs("],\n\"advice\":[", out);
    report_advice_json(r, out);
    fprintf(out, "],\n\"sites_total\":%zu,\"sites\":[", r->list_count);
    for (size_t i = 0; i < report_shown(r, r->list_count); i++) {
        fputs(i == 0 ? "\n" : ",\n", out);
        put_site(r, &r->list[i], out);
    }
    fputc(']', out);
    if ((views & REPORT_JSON_TREE) != 0)
        report_tree_json(r, r->tree, "tree", out);
    if ((views & REPORT_JSON_INVERTED) != 0)
        report_tree_json(r, r->inverted, "inverted", out);
    if ((views & REPORT_JSON_LEAKS) != 0)
        report_leaks_json(r, out);
    fputs("}\n", out);
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
          "copied_bytes,life_p50_ns,life_p50_events,site,callers,pinned_bytes,regrown_bytes\r\n",
          out);
    for (size_t i = 0; i < report_shown(r, r->list_count); i++) {
        const hak_site *site = &r->list[i];
        const hak_usage *u = site->usage;
        fprintf(out,
                "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                ",%" PRIu64 ",%" PRIu64 ",%" PRIu64,
                u->calls, u->bytes, u->at_peak_bytes, u->live_bytes, (uint64_t)u->live_blocks, u->temporary,
                u->freed, u->freed_remotely, u->reallocs, u->moved, u->copied_bytes);
        put_csv_optional(out, hak_site_life_ns(site, 0.5));
        put_csv_optional(out, hak_site_life_events(site, 0.5));
        char text[TEXT] = "";
        size_t used = 0;
        for (uint32_t k = 0; k < site->frames_count; k++) {
            char place[2048];
            format_place(place, sizeof place, hak_places_at(r->places, hak_sites_frames(r->sites, site)[k]),
                         true);
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
        fprintf(out, ",%" PRIu64 ",%" PRIu64 "\r\n", (uint64_t)u->pinned_bytes, u->grown_bytes);
    }
}
