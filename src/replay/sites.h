/* sites.h: contexts of one or more profiles, merged by where they are in the source. One thread. Memory:
 * O(sites). */
#ifndef HAK_REPLAY_SITES_H
#define HAK_REPLAY_SITES_H

#include "replay/places.h"
#include "replay/profile.h"

#define HAK_SITE_MAX_FRAMES 16

/* Calls from one place (the first that is no wrapper) by one chain of callers. */
typedef struct hak_site {
    hak_usage *usage;                   /* of its context; once there are several, the sites' own sum */
    hak_lives *lives;                   /* likewise */
    uint32_t frames;                    /* first of its frames; see hak_sites_frames */
    uint32_t frames_count;              /* 0: allocations without a context */
    uint32_t contexts;                  /* merged here */
    const hak_profile_context *typical; /* of these, the one with most to advise on: growth, brief lives */
} hak_site;

typedef struct hak_sites hak_sites;

/* `frames`: how many places tell sites apart (1 … HAK_SITE_MAX_FRAMES); flags: HAK_STACK_*. The places
 * outlive the sites. NULL: no memory. */
hak_sites *hak_sites_new(hak_places *places, unsigned frames, unsigned flags);
void hak_sites_free(hak_sites *sites);

/* Adds all contexts of a profile, which is left as it is and outlives the sites. 0 or -1 with *error filled.
 */
int hak_sites_add(hak_sites *sites, hak_stacks *stacks, hak_profile *profile, hak_trace_error *error);

/* When all are added: there is no adding afterwards. The array may be sorted in place. */
hak_site *hak_sites_list(hak_sites *sites, size_t *count);
const uint32_t *hak_sites_frames(const hak_sites *sites, const hak_site *site); /* places, innermost first */

/* How long its blocks lived; *room may be filled. NULL: nothing was freed. */
static inline const hak_life *hak_site_life(const hak_site *site, hak_life *room)
{
    return hak_lives_all(site->lives, room);
}

/* Quantiles, as hak_life_time_ns and hak_life_events. */
static inline uint64_t hak_site_life_ns(const hak_site *site, double quantile)
{
    hak_life room;
    return hak_life_time_ns(hak_site_life(site, &room), site->usage->live_blocks, quantile);
}

static inline uint64_t hak_site_life_events(const hak_site *site, double quantile)
{
    hak_life room;
    return hak_life_events(hak_site_life(site, &room), site->usage->live_blocks, quantile);
}

#endif
