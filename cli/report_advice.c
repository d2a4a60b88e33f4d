/* report_advice.c: what could be changed, why, what it saves, where. */
#include "cli/report.h"
#include "cli/report_json.h"

#include <inttypes.h>
#include <string.h>

#include "replay/advice.h"

enum { SHOWN = 8, PIN_SLACK_PERCENT = 5 };

static const char *const kinds[] = {"reserve", "reuse", "pins", "remote", "huge-pages"};

/* One sentence of evidence and saving. */
static void explain(const report *r, const hak_advice *advice, char *out, size_t room)
{
    const hak_usage *u = r->list[advice->site].usage;
    char a[REPORT_NUMBER], b[REPORT_NUMBER], c[REPORT_NUMBER], d[REPORT_NUMBER];
    switch (advice->kind) {
    case HAK_ADVICE_RESERVE:
        snprintf(out, room,
                 "reserve: it grows to %s by copying; saves %s allocations (%s of all) and %s of copies",
                 format_bytes(a, u->size_max_bytes), format_count(b, advice->calls),
                 format_share(c, advice->calls, r->total.calls), format_bytes(d, advice->bytes));
        break;
    case HAK_ADVICE_REUSE:
        snprintf(
            out, room,
            "reuse a buffer: %s of its blocks, %s at most, are freed before the next allocation; saves %s "
            "allocations (%s of all)",
            format_share(a, u->temporary, u->calls), format_bytes(b, u->size_max_bytes),
            format_count(c, advice->calls), format_share(d, advice->calls, r->total.calls));
        break;
    case HAK_ADVICE_PINS:
        snprintf(out, room,
                 "pins slabs: at most %s live blocks keep %s of free memory from being given back (%s of the "
                 "peak)",
                 format_count(a, advice->calls), format_bytes(b, advice->bytes),
                 format_share(c, advice->bytes, r->peak_bytes));
        break;
    case HAK_ADVICE_REMOTE:
        snprintf(
            out, room,
            "freed by another thread: %s of its blocks; free them where they were allocated, or hand them "
            "over in batches: saves %s remote frees",
            format_share(a, u->freed_remotely, u->freed), format_count(b, advice->calls));
        break;
    case HAK_ADVICE_HUGE:
        snprintf(out, room,
                 "huge pages would serve: %s in blocks up to %s that live on; saves about %s page faults",
                 format_bytes(a, advice->bytes), format_bytes(b, u->size_max_bytes),
                 format_count(c, advice->calls));
        break;
    }
}

/* What only the allocator can do, and how to see whether it pays. */
static void print_policy(const report *r, FILE *out)
{
    hak_lifetime_mix mix = hak_advice_mix(r->list, r->list_count);
    if (mix.short_sites == 0 || mix.long_sites == 0 ||
        r->total.pinned_bytes * 100 < r->peak_bytes * PIN_SLACK_PERCENT)
        return;
    char a[REPORT_NUMBER], b[REPORT_NUMBER], c[REPORT_NUMBER];
    const hak_site *worst = &r->list[0];
    for (size_t i = 1; i < r->list_count; i++) {
        if (r->list[i].usage->pinned_bytes > worst->usage->pinned_bytes)
            worst = &r->list[i];
    }
    fprintf(out,
            "  a policy could keep %" PRIu32 " sites that live on (%s blocks) apart from %" PRIu32
            " that die young (%s); together they\n    leave %s unused. See what it would decide:\n"
            "    hakmem-replay --mode=learning TRACE --export=app.policy",
            mix.long_sites, format_count(a, mix.long_calls), mix.short_sites,
            format_count(b, mix.short_calls), format_bytes(c, r->total.pinned_bytes));
    if (worst->frames_count != 0) {
        char module[256];
        const hak_place *place = hak_places_at(r->places, hak_sites_frames(r->sites, worst)[0]);
        format_safe(module, sizeof module, base_name(place->module), 0);
        if (*module != '\0')
            fprintf(out, "\n    hakmem-policy explain app.policy %s+0x%" PRIx64, module, place->offset);
    }
    fprintf(out, "\n");
}

void report_advice(const report *r, FILE *out)
{
    hak_advice advice[HAK_ADVICE_MAX];
    size_t count = hak_advice_find(r->list, r->list_count, &r->total, r->peak_bytes, advice, HAK_ADVICE_MAX);
    size_t shown = r->options->top != 0 && count > SHOWN ? SHOWN : count;
    if (shown != 0)
        fprintf(out, "\n%sAdvice%s\n", report_bold(r), report_plain(r));
    for (size_t i = 0; i < shown; i++) {
        char text[512], site[REPORT_LINE];
        format_site(site, sizeof site, r, &r->list[advice[i].site]);
        explain(r, &advice[i], text, sizeof text);
        fprintf(out, "  ");
        report_last(r, out, site, 2);
        fprintf(out, "    %s%s%s\n", report_dim(r), text, report_plain(r));
    }
    report_more(r, out, count - shown, "pieces of advice");
    print_policy(r, out);
}

void report_advice_json(const report *r, FILE *out)
{
    hak_advice advice[HAK_ADVICE_MAX];
    size_t count = hak_advice_find(r->list, r->list_count, &r->total, r->peak_bytes, advice, HAK_ADVICE_MAX);
    for (size_t i = 0; i < count; i++) {
        char text[512], site[REPORT_LINE];
        format_site(site, sizeof site, r, &r->list[advice[i].site]);
        explain(r, &advice[i], text, sizeof text);
        fprintf(out, "%s{\"kind\":\"%s\",\"place\":", i == 0 ? "\n" : ",\n", kinds[advice[i].kind]);
        json_string(out, site);
        json_number(out, "site", advice[i].site);
        json_number(out, "saves_calls", advice[i].calls);
        json_number(out, "saves_bytes", advice[i].bytes);
        fputs(",\"text\":", out);
        json_string(out, text);
        fputc('}', out);
    }
}
