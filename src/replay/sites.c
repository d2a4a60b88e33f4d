/* sites.c: see sites.h. Never prints. One thread. */
#include "replay/sites.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "replay/table.h"
#include "trace/error.h"
#include "trace/grow.h"

typedef struct sums {
    hak_usage usage;
    hak_lives lives;
    hak_life life;
} sums;

struct hak_sites {
    hak_places *places;
    unsigned frames;
    unsigned flags;
    hak_site *sites;
    size_t sites_room;
    hak_table table;
    uint32_t *links; /* frames of all sites */
    size_t links_room;
    size_t links_count;
    hak_pieces pieces; /* sums */
};

static uint64_t hash_frames(const uint32_t *frames, uint32_t count)
{
    uint64_t hash = count;
    for (uint32_t i = 0; i < count; i++)
        hash = hak_mix64(hash * 31 + frames[i]);
    return hash;
}

static uint64_t rehash_site(const void *context, uint32_t number)
{
    const hak_sites *sites = context;
    const hak_site *site = &sites->sites[number];
    return hash_frames(sites->links + site->frames, site->frames_count);
}

/* NULL: no memory. */
static hak_site *intern_site(hak_sites *sites, const uint32_t *frames, uint32_t count)
{
    size_t at = hash_frames(frames, count);
    uint32_t number;
    for (; hak_table_next(&sites->table, &at, &number); at++) {
        hak_site *site = &sites->sites[number];
        if (site->frames_count == count &&
            (count == 0 || memcmp(sites->links + site->frames, frames, count * sizeof *frames) == 0))
            return site;
    }
    number = (uint32_t)sites->table.count;
    if (sites->links_count > UINT32_MAX - count ||
        !HAK_GROW(&sites->sites, &sites->sites_room, (size_t)number + 1) ||
        !HAK_GROW(&sites->links, &sites->links_room, sites->links_count + count))
        return NULL;
    sites->sites[number] = (hak_site){.frames = (uint32_t)sites->links_count, .frames_count = count};
    if (count != 0)
        memcpy(sites->links + sites->links_count, frames, count * sizeof *frames);
    sites->links_count += count;
    return hak_table_put(&sites->table, at, rehash_site, sites) ? &sites->sites[number] : NULL;
}

hak_sites *hak_sites_new(hak_places *places, unsigned frames, unsigned flags)
{
    hak_sites *sites = calloc(1, sizeof *sites);
    if (sites == NULL)
        return NULL;
    sites->places = places;
    sites->frames = frames < 1 ? 1 : frames > HAK_SITE_MAX_FRAMES ? HAK_SITE_MAX_FRAMES : frames;
    sites->flags = flags;
    if (hak_table_init(&sites->table))
        return sites;
    hak_sites_free(sites);
    return NULL;
}

void hak_sites_free(hak_sites *sites)
{
    if (sites == NULL)
        return;
    hak_table_done(&sites->table);
    free(sites->sites);
    free(sites->links);
    hak_pieces_done(&sites->pieces);
    free(sites);
}

/* Of a site's second context on, the figures are summed up in a copy; most sites have one only. */
static bool own_sums(hak_sites *sites, hak_site *site)
{
    sums *own = hak_pieces_take(&sites->pieces, sizeof *own);
    if (own == NULL)
        return false;
    own->usage = *site->usage;
    hak_lives_add(&own->life, site->lives);
    own->lives.all = &own->life;
    site->usage = &own->usage;
    site->lives = &own->lives;
    return true;
}

static uint64_t to_advise(const hak_usage *usage)
{
    return usage->moved + usage->grown + usage->temporary;
}

static bool add_context(hak_sites *sites, hak_stacks *stacks, hak_profile_context *context)
{
    uint32_t frames[HAK_SITE_MAX_FRAMES];
    int count = hak_stacks_get(stacks, context->node, context->first_ns, sites->flags, frames, sites->frames);
    hak_site *site = count < 0 ? NULL : intern_site(sites, frames, (uint32_t)count);
    if (site == NULL)
        return false;
    if (site->contexts == 0) {
        site->usage = &context->usage;
        site->lives = &context->lives;
    } else if (site->contexts == 1 && !own_sums(sites, site)) {
        return false;
    }
    if (site->contexts != 0) {
        hak_usage_add(site->usage, &context->usage);
        hak_lives_add(site->lives->all, &context->lives);
    }
    if (site->contexts == 0 || to_advise(&context->usage) > to_advise(&site->typical->usage))
        site->typical = context;
    site->contexts++;
    return true;
}

int hak_sites_add(hak_sites *sites, hak_stacks *stacks, hak_profile *profile, hak_trace_error *error)
{
    for (uint32_t i = 0; i < profile->contexts_count; i++) {
        if (!add_context(sites, stacks, hak_profile_at(profile, i)))
            return hak_trace_fail(error, "out of memory");
    }
    return 0;
}

hak_site *hak_sites_list(hak_sites *sites, size_t *count)
{
    *count = sites->table.count;
    free(sites->table.numbers);
    sites->table.numbers = NULL; /* of a million sites 16 MiB */
    return sites->sites;
}

const uint32_t *hak_sites_frames(const hak_sites *sites, const hak_site *site)
{
    return sites->links + site->frames;
}
