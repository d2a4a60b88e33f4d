/* report_advice.c: what could be changed, why, what it saves, where. */
#include "cli/report.h"
#include "cli/report_json.h"

#include <inttypes.h>
#include <string.h>

#include "replay/advice.h"
#include "replay/names.h"

enum { SHOWN = 8, PIN_SLACK_PERCENT = 5, ADVICE_ROOM = 2048 };

static const char *const kinds[] = {"reserve", "reuse", "pins", "remote", "huge-pages"};

/* ---- who made a block ---- */

static bool holds(const hak_profile *profile, const hak_profile_context *context)
{
    for (uint32_t i = 0; i < profile->contexts_count; i += HAK_CONTEXT_CHUNK) {
        const hak_profile_context *chunk = hak_profile_at(profile, i);
        if ((uintptr_t)context >= (uintptr_t)chunk &&
            (uintptr_t)context < (uintptr_t)(chunk + HAK_CONTEXT_CHUNK))
            return true;
    }
    return false;
}

/* The whole stack of the site's typical context, wrappers and all; 0: it has none. */
static uint32_t whole_stack(const report *r, const hak_site *site, uint32_t *frames, uint32_t max)
{
    size_t trace = 0;
    while (trace < r->traces_count && !holds(r->traces[trace].profile, site->typical))
        trace++;
    int count = trace < r->traces_count && site->frames_count != 0
                    ? hak_stacks_get(r->traces[trace].stacks, site->typical->node, site->typical->first_ns,
                                     HAK_STACK_WRAPPERS, frames, max)
                    : 0;
    return count < 0 ? 0 : (uint32_t)count;
}

/* "vector": the class of the C++ library whose code asked for the site's blocks; "" when none did. Its own
 * insides begin with an underscore. */
static void container_of(const report *r, const hak_site *site, char *out, size_t room)
{
    enum { DEEPEST = 64 };
    uint32_t frames[DEEPEST];
    uint32_t count = whole_stack(r, site, frames, DEEPEST);
    out[0] = '\0';
    for (uint32_t i = 0; i < count && hak_places_at(r->places, frames[i])->wrapper; i++) {
        char owner[64];
        const char *end;
        const char *function = hak_places_at(r->places, frames[i])->function;
        if (strncmp(hak_name_bare(function, &end), "std::", 5) != 0)
            continue;
        hak_name_owner(function, owner, sizeof owner);
        if (owner[0] != '\0' && owner[0] != '_' && strcmp(owner, "std") != 0 &&
            strstr(owner, "allocator") == NULL)
            snprintf(out, room, "%s", strcmp(owner, "basic_string") == 0 ? "string" : owner);
    }
}

/* ---- sentences ---- */

static void explain_reserve(const report *r, const hak_advice *advice, char *out, size_t room)
{
    const hak_usage *u = r->list[advice->site].usage;
    char a[REPORT_NUMBER], b[REPORT_NUMBER], c[REPORT_NUMBER], d[REPORT_NUMBER];
    char name[64], what[80] = "it";
    container_of(r, &r->list[advice->site], name, sizeof name);
    if (name[0] != '\0')
        snprintf(what, sizeof what, "a std::%s", name);
    snprintf(out, room,
             "reserve: %s grows to %s by copying; saves %s allocations (%s of all) and %s of copies", what,
             format_bytes(a, u->size_max_bytes), format_count(b, advice->calls),
             format_share(c, advice->calls, r->total.calls), format_bytes(d, advice->bytes));
}

/* Who frees the blocks, as far as the trace tells: the call, and for a class of the library its destructor.
 */
static void freed_by(const hak_usage *u, const char *container, char *out, size_t room)
{
    bool deleted = u->temporary_deleted * 2 >= u->temporary;
    if (deleted && container[0] != '\0')
        snprintf(out, room, "~%s()", container);
    else
        snprintf(out, room, "%s", deleted ? "delete" : "free()");
}

/* "f (file:line)": where else than at the site itself a buffer could be kept; "" when unknown. */
static void caller_of(const report *r, const hak_site *site, char *out, size_t room)
{
    char name[512];
    const uint32_t *frames = hak_sites_frames(r->sites, site);
    out[0] = '\0';
    if (site->frames_count < 2 || report_is_outermost(hak_places_at(r->places, frames[0])))
        return;
    const hak_place *place = hak_places_at(r->places, frames[1]);
    if (place->function == NULL || strcmp(place->function, "start_thread") == 0)
        return;
    format_place(name, sizeof name, place, false);
    if (place->file != NULL && place->line != 0)
        snprintf(out, room, "%s (%s:%u)", name, base_name(place->file), place->line);
    else
        snprintf(out, room, "%s", name);
}

static void explain_reuse(const report *r, const hak_advice *advice, char *out, size_t room)
{
    const hak_site *site = &r->list[advice->site];
    const hak_usage *u = site->usage;
    char a[REPORT_NUMBER], b[REPORT_NUMBER], c[REPORT_NUMBER];
    char d[REPORT_NUMBER], e[REPORT_NUMBER], f[REPORT_NUMBER];
    char name[64], by[80], caller[640], where[760] = "";
    container_of(r, site, name, sizeof name);
    freed_by(u, name, by, sizeof by);
    caller_of(r, site, caller, sizeof caller);
    if (caller[0] != '\0')
        snprintf(where, sizeof where, "; keep %s%s here or in %s", name[0] != '\0' ? "one std::" : "one",
                 name, caller);
    snprintf(
        out, room,
        "reuse a buffer: %s of its blocks, %s at most, are freed by %s before the next allocation%s; saves "
        "%s allocations (%s of all), about %s (%s)",
        format_share(a, u->temporary, u->calls), format_bytes(b, u->size_max_bytes), by, where,
        format_count(c, advice->calls), format_share(d, advice->calls, r->total.calls),
        format_bytes(e, advice->bytes), format_share(f, advice->bytes, r->total.bytes));
}

/* One sentence of evidence and saving. */
static void explain(const report *r, const hak_advice *advice, char *out, size_t room)
{
    const hak_usage *u = r->list[advice->site].usage;
    char a[REPORT_NUMBER], b[REPORT_NUMBER], c[REPORT_NUMBER];
    switch (advice->kind) {
    case HAK_ADVICE_RESERVE:
        explain_reserve(r, advice, out, room);
        break;
    case HAK_ADVICE_REUSE:
        explain_reuse(r, advice, out, room);
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

/* ---- what a policy would do ---- */

static void tell_mix(const report *r, FILE *out)
{
    hak_lifetime_mix mix = hak_advice_mix(r->list, r->list_count);
    if (mix.short_sites == 0 || mix.long_sites == 0 ||
        r->total.pinned_bytes * 100 < r->peak_bytes * PIN_SLACK_PERCENT)
        return;
    char text[512], a[REPORT_NUMBER], b[REPORT_NUMBER], c[REPORT_NUMBER];
    snprintf(text, sizeof text,
             "a policy could keep %" PRIu32 " site%s whose blocks live on (%s blocks) apart from %" PRIu32
             " where they die young (%s); together they leave %s unused",
             mix.long_sites, report_s(mix.long_sites), format_count(a, mix.long_calls), mix.short_sites,
             format_count(b, mix.short_calls), format_bytes(c, r->total.pinned_bytes));
    report_words(r, out, text, 2);
}

/* The innermost address of the site's typical context: a policy tells sites by it. */
static const hak_place *innermost(const report *r, const hak_site *site)
{
    uint32_t frames[HAK_SYMBOL_MAX_FRAMES];
    uint32_t count = whole_stack(r, site, frames, HAK_SYMBOL_MAX_FRAMES);
    return count != 0 ? hak_places_at(r->places, frames[0]) : NULL;
}

/* The commands that show what a policy would do where most is to be gained, and whether it pays. */
static void print_policy(const report *r, const hak_site *site, FILE *out)
{
    char path[512], module[256];
    const hak_place *place = innermost(r, site);
    tell_mix(r, out);
    format_safe(path, sizeof path, r->traces_count == 1 ? r->traces[0].path : "TRACE…", 0);
    report_words(r, out, "What a policy would do, and whether it pays:", 2);
    fprintf(out, "    hakmem-replay --mode=learning %s --export=app.policy\n",
            path); /* to be copied: one line */
    if (place == NULL || *place->module == '\0')
        return;
    format_safe(module, sizeof module, base_name(place->module), 0);
    fprintf(out, "    hakmem-policy explain app.policy %s+0x%" PRIx64 "\n", module, place->offset);
}

/* The site with most to gain: of the first piece of advice, else the one that pins most. NULL: nothing to
 * gain. */
static const hak_site *worst_site(const report *r, const hak_advice *advice, size_t count)
{
    const hak_site *worst = count != 0 ? &r->list[advice[0].site] : NULL;
    if (worst != NULL || r->total.pinned_bytes * 100 < r->peak_bytes * PIN_SLACK_PERCENT)
        return worst;
    for (size_t i = 0; i < r->list_count; i++) {
        if (worst == NULL || r->list[i].usage->pinned_bytes > worst->usage->pinned_bytes)
            worst = &r->list[i];
    }
    return worst;
}

void report_advice(const report *r, FILE *out)
{
    hak_advice advice[HAK_ADVICE_MAX];
    size_t count = hak_advice_find(r->list, r->list_count, &r->total, r->peak_bytes, advice, HAK_ADVICE_MAX);
    size_t shown = r->options->top != 0 && count > SHOWN ? SHOWN : count;
    const hak_site *worst = worst_site(r, advice, count);
    if (worst != NULL)
        fprintf(out, "\n%sAdvice%s\n", report_bold(r), report_plain(r));
    else if (!r->options->overview)
        report_nothing(r, out, "no advice: nothing would save a percent of the calls or five of the peak");
    for (size_t i = 0; i < shown; i++) {
        char text[ADVICE_ROOM];
        explain(r, &advice[i], text, sizeof text);
        fprintf(out, "  ");
        report_last_site(r, out, &r->list[advice[i].site], 2);
        fputs(report_dim(r), out);
        report_words(r, out, text, 4);
        fputs(report_plain(r), out);
    }
    report_more(r, out, count - shown, "pieces of advice");
    if (worst != NULL)
        print_policy(r, worst, out);
}

void report_advice_json(const report *r, FILE *out)
{
    hak_advice advice[HAK_ADVICE_MAX];
    size_t count = hak_advice_find(r->list, r->list_count, &r->total, r->peak_bytes, advice, HAK_ADVICE_MAX);
    for (size_t i = 0; i < count; i++) {
        char text[ADVICE_ROOM], site[REPORT_LINE];
        format_site(site, sizeof site, r, &r->list[advice[i].site], 0);
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
