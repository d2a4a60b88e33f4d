/* advice.c: see advice.h. The thresholds are where a change would be seen in a measurement of the whole
 * program: a percent of its calls or of its heap, and enough cases not to be chance. */
#include "replay/advice.h"

enum {
    LEAST_CASES = 16,
    LEAST_PERCENT = 1,
    PIN_PERCENT = 5,
    OS_PAGE_BYTES = 4096,
    LARGE_PERCENT = 5, /* of all bytes */
};
/* From here on it costs more to have fresh memory than to find a block: few calls may matter. */
#define LARGE_BYTES        (64 * HAK_KIB)
#define LEAST_COPIED_BYTES (64 * HAK_KIB)
#define LEAST_PINNED_BYTES (64 * HAK_KIB)
#define HUGE_PAGE_BYTES    (2 * HAK_MIB)
#define LEAST_HUGE_BYTES   (4 * HUGE_PAGE_BYTES)
#define LONG_LIFE_NS       (UINT64_C(10) * 1000 * 1000)
#define SHORT_LIFE_EVENTS  1024

static double share(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part / (double)whole;
}

static bool reserve(const hak_usage *u, const hak_usage *total, hak_advice *out)
{
    out->calls = u->moved + u->grown;
    out->bytes = u->copied_bytes + u->grown_bytes;
    out->weight = share(out->calls, total->calls) + share(out->bytes, total->bytes);
    return out->calls >= LEAST_CASES && out->bytes >= LEAST_COPIED_BYTES &&
           out->weight * 100 >= LEAST_PERCENT;
}

/* Growth has its own advice: what is left of such a container's blocks is not worth another. Nor is a block
 * that was handed to another thread: there is nothing to keep here. */
static bool reuse(const hak_usage *u, const hak_usage *total, hak_advice *out)
{
    out->calls = u->temporary;
    out->bytes = (uint64_t)(share(u->temporary, u->calls) * (double)u->bytes); /* as if all were alike */
    out->weight = share(u->temporary, total->calls);
    double large = share(out->bytes, total->bytes);
    if (u->calls != 0 && u->bytes / u->calls >= LARGE_BYTES && large * 100 >= LARGE_PERCENT)
        out->weight += large / 2;
    return u->temporary >= LEAST_CASES && u->temporary * 2 >= u->calls && u->grown * 2 < u->calls &&
           u->freed_remotely * 2 < u->freed && out->weight * 100 >= LEAST_PERCENT;
}

static bool pins(const hak_usage *u, uint64_t peak_bytes, hak_advice *out)
{
    out->calls = u->max_blocks;
    out->bytes = u->pinned_bytes;
    out->weight = share(u->pinned_bytes, peak_bytes);
    return u->pinned_bytes >= LEAST_PINNED_BYTES && out->weight * 100 >= PIN_PERCENT;
}

static bool remote(const hak_usage *u, const hak_usage *total, hak_advice *out)
{
    out->calls = u->freed_remotely;
    out->weight = share(u->freed_remotely, total->calls) / 2; /* a dearer free, not a saved one */
    return u->freed_remotely >= LEAST_CASES && u->freed_remotely * 2 >= u->freed &&
           share(u->freed_remotely, total->calls) * 100 >= LEAST_PERCENT;
}

static bool huge(const hak_site *site, uint64_t peak_bytes, hak_advice *out)
{
    const hak_usage *u = site->usage;
    out->bytes = u->max_bytes;
    out->calls = u->max_bytes / OS_PAGE_BYTES - u->max_bytes / HUGE_PAGE_BYTES;
    out->weight = share(u->max_bytes, peak_bytes) / 4;
    return u->size_max_bytes >= HUGE_PAGE_BYTES && u->max_bytes >= LEAST_HUGE_BYTES &&
           hak_site_life_ns(site, 0.5) >= LONG_LIFE_NS;
}

/* Keeps the heaviest, in order. */
static size_t put(hak_advice *out, size_t count, size_t max, hak_advice advice)
{
    size_t at = count < max ? count : max - 1;
    if (count == max && out[at].weight >= advice.weight)
        return count;
    for (; at != 0 && out[at - 1].weight < advice.weight; at--)
        out[at] = out[at - 1];
    out[at] = advice;
    return count < max ? count + 1 : count;
}

size_t hak_advice_find(const hak_site *sites, size_t count, const hak_usage *total, uint64_t peak_bytes,
                       hak_advice *out, size_t max)
{
    size_t found = 0;
    for (size_t i = 0; max != 0 && i < count; i++) {
        const hak_usage *u = sites[i].usage;
        hak_advice advice = {.kind = HAK_ADVICE_RESERVE, .site = (uint32_t)i};
        if (reserve(u, total, &advice))
            found = put(out, found, max, advice);
        advice = (hak_advice){.kind = HAK_ADVICE_REUSE, .site = (uint32_t)i};
        if (reuse(u, total, &advice))
            found = put(out, found, max, advice);
        advice = (hak_advice){.kind = HAK_ADVICE_PINS, .site = (uint32_t)i};
        if (pins(u, peak_bytes, &advice))
            found = put(out, found, max, advice);
        advice = (hak_advice){.kind = HAK_ADVICE_REMOTE, .site = (uint32_t)i};
        if (remote(u, total, &advice))
            found = put(out, found, max, advice);
        advice = (hak_advice){.kind = HAK_ADVICE_HUGE, .site = (uint32_t)i};
        if (huge(&sites[i], peak_bytes, &advice))
            found = put(out, found, max, advice);
    }
    return found;
}

hak_lifetime_mix hak_advice_mix(const hak_site *sites, size_t count)
{
    hak_lifetime_mix mix = {.short_calls = 0};
    for (size_t i = 0; i < count; i++) {
        const hak_usage *u = sites[i].usage;
        if (u->calls < LEAST_CASES)
            continue;
        if (hak_site_life_events(&sites[i], 0.99) <= SHORT_LIFE_EVENTS) {
            mix.short_calls += u->calls;
            mix.short_sites++;
        } else if (hak_site_life_events(&sites[i], 0.1) > SHORT_LIFE_EVENTS) {
            mix.long_calls += u->calls;
            mix.long_sites++;
        }
    }
    return mix;
}
