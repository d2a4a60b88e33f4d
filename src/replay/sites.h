/* sites.h: contexts of one or more profiles, merged by where they are in the source: so that one table tells
 * about a program, or about a tree of processes whose addresses differ. One thread. Memory: O(distinct frames
 * + sites). */
#ifndef HAK_REPLAY_SITES_H
#define HAK_REPLAY_SITES_H

#include "replay/profile.h"
#include "replay/symbols.h"

#define HAK_SITE_MAX_FRAMES 16

/* One place in the code. Strings belong to the hak_sites. */
typedef struct hak_place {
    const char *function; /* NULL: unknown, then module and offset say where */
    const char *file;     /* NULL: unknown */
    const char *module;   /* path; "" when the address lay in none */
    uint64_t offset;      /* in the module, as its symbol tables count; the address itself without one */
    unsigned line;
    bool wrapper;
} hak_place;

/* Calls from one place (the first that is no wrapper) by one chain of callers. */
typedef struct hak_site {
    uint32_t frames[HAK_SITE_MAX_FRAMES]; /* numbers of places, innermost first */
    uint32_t frames_count;                /* 0: allocations without a context */
    uint32_t contexts;                    /* merged here */
    hak_usage usage;
    hak_life life;
} hak_site;

typedef struct hak_sites hak_sites;

/* `frames`: how many places tell sites apart (1 … HAK_SITE_MAX_FRAMES). `wrappers`: keep them in the chain.
 * NULL: no memory. */
hak_sites *hak_sites_new(unsigned frames, bool wrappers);
void hak_sites_free(hak_sites *sites);

/* Adds all contexts of a profile. 0 or -1 with *error filled. The reader is not needed afterwards. */
int hak_sites_add(hak_sites *sites, const hak_reader *reader, const hak_profile *profile,
                  hak_trace_error *error);

/* Pointers are valid until the next add. The array may be sorted in place. */
hak_site *hak_sites_list(hak_sites *sites, size_t *count);
const hak_place *hak_sites_place(const hak_sites *sites, uint32_t number);
unsigned hak_sites_changed_modules(const hak_sites *sites);

#endif
