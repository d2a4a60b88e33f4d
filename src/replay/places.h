/* places.h: return addresses to places in the source, each place once, for as many traces as wanted: so that
 * one table tells about a program, about a tree of processes whose addresses differ, or about two builds. One
 * thread. Memory: O(distinct addresses). */
#ifndef HAK_REPLAY_PLACES_H
#define HAK_REPLAY_PLACES_H

#include "replay/symbols.h"
#include "trace/reader.h"

/* Strings belong to the hak_places. */
typedef struct hak_place {
    const char *function; /* NULL: unknown, then module and offset say where */
    const char *file;     /* NULL: unknown */
    const char *module;   /* path; "" when the address lay in none */
    uint64_t offset;      /* in the module, as its symbol tables count; the address itself without one */
    unsigned line;
    bool wrapper; /* only passes an allocation on */
    bool inlined; /* into the frame further out */
} hak_place;

enum {
    HAK_PLACES_BY_FUNCTION = 1 /* one place per function, whatever the line and folder: to compare builds */
};

typedef struct hak_places hak_places;

hak_places *hak_places_new(unsigned flags); /* NULL: no memory */
void hak_places_free(hak_places *places);
const hak_place *hak_places_at(const hak_places *places, uint32_t number); /* until the next stack is asked */
uint32_t hak_places_count(const hak_places *places);
unsigned hak_places_changed_modules(const hak_places *places);

/* The call stacks of one trace as places. */
typedef struct hak_stacks hak_stacks;

/* The reader has been read to its end, and outlives the stacks. NULL: no memory. */
hak_stacks *hak_stacks_new(hak_places *places, const hak_reader *reader);
void hak_stacks_free(hak_stacks *stacks);

/* Every return address of the trace once, with its places (numbers, innermost first) and its module's number
 * in the trace. False: no memory. */
typedef void (*hak_chain_seen)(void *context, uint64_t pc, uint32_t module, const uint32_t *places,
                               uint32_t count);
bool hak_stacks_chains(hak_stacks *stacks, hak_chain_seen seen, void *context);

#define HAK_STACK_MAX_FRAMES 2048

enum { HAK_STACK_WRAPPERS = 1 /* keep the wrappers at the inner end */ };

/* Numbers of the places, innermost first, inlined functions before what they were inlined into; at most
 * `max` and HAK_STACK_MAX_FRAMES. Wrappers at the inner end, and up to two places
 * without a name that wrappers called, are left out unless all are or the flag is set.
 * time_ns: when it was seen (modules come and go). Returns the count, or -1: no memory. */
int hak_stacks_get(hak_stacks *stacks, uint32_t node, uint64_t time_ns, unsigned flags, uint32_t *frames,
                   uint32_t max);

/* The places of one node alone, its callers left out; otherwise as hak_stacks_get with wrappers. */
int hak_stacks_node(hak_stacks *stacks, uint32_t node, uint64_t time_ns, uint32_t *frames, uint32_t max);

/* keep[node] = 1 for each node on whose stack is a place that `matches`; an array of *count for the caller
 * to free, NULL: no memory. */
typedef bool (*hak_place_match)(const void *context, const hak_place *place);
uint8_t *hak_stacks_mark(hak_stacks *stacks, hak_place_match matches, const void *context, uint32_t *count);

#endif
