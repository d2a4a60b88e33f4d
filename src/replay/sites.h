/* sites.h: contexts of one or more profiles, merged by where they are in the source. One thread. Memory:
 * O(sites). */
#ifndef HAK_REPLAY_SITES_H
#define HAK_REPLAY_SITES_H

#include "replay/places.h"
#include "replay/profile.h"

#define HAK_SITE_MAX_FRAMES 16

/* Calls from one place (the first that is no wrapper) by one chain of callers. */
typedef struct hak_site {
    hak_usage *usage;      /* in the first of its contexts */
    hak_life *life;        /* in one of its contexts; NULL: nothing was freed */
    uint32_t frames;       /* first of its frames; see hak_sites_frames */
    uint32_t frames_count; /* 0: allocations without a context */
    uint32_t contexts;     /* merged here */
} hak_site;

typedef struct hak_sites hak_sites;

/* `frames`: how many places tell sites apart (1 … HAK_SITE_MAX_FRAMES); flags: HAK_STACK_*. The places
 * outlive the sites. NULL: no memory. */
hak_sites *hak_sites_new(hak_places *places, unsigned frames, unsigned flags);
void hak_sites_free(hak_sites *sites);

/* Adds all contexts of a profile. A site's figures are summed up in its first context, to save the memory of
 * a second copy: the profile's contexts are used up, and it outlives the sites. 0 or -1 with *error filled.
 */
int hak_sites_add(hak_sites *sites, hak_stacks *stacks, hak_profile *profile, hak_trace_error *error);

/* Pointers are valid until the next add. The array may be sorted in place once all are added. */
hak_site *hak_sites_list(hak_sites *sites, size_t *count);
const uint32_t *hak_sites_frames(const hak_sites *sites, const hak_site *site); /* places, innermost first */

#endif
