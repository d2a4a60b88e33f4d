/* trainer_sites.h: call contexts of several traces to a site trie: the shallowest context that is pure, and
 * on which every trace that saw it agrees. One thread. */
#ifndef HAK_REPLAY_TRAINER_SITES_H
#define HAK_REPLAY_TRAINER_SITES_H

#include "replay/policy_text.h"
#include "replay/trainer.h"
#include "replay/trainer_slabs.h"
#include "replay/trainer_trace.h"

/* A trace's digest with its tables (borrowed from the reader). */
typedef struct hak_site_source {
    const hak_train_trace *digest;
    const hak_trace_node *nodes;
    uint32_t node_count;
    const hak_trace_row *rows;
    uint32_t row_count;
    hak_reader *reader; /* for hak_reader_module_of, and to read again */
    const hak_trace_module *modules;
    uint32_t module_count;
} hak_site_source;

typedef struct hak_site_options {
    bool families[HAK_TRAIN_KNOBS]; /* which to decide; HAK_TRAIN_CLASSES is ignored */
} hak_site_options;

typedef struct hak_site_result {
    uint32_t decided[HAK_TRAIN_KNOBS]; /* sites that decide, by family */
    double covered;                    /* share of small blocks whose lifetime is decided */
} hak_site_result;

/* Adds modules, nodes and the gate for large sizes to `policy` (which holds none yet), sorted. False when out
 * of memory. */
bool hak_sites_build(const hak_site_source *sources, size_t count, const hak_site_options *options,
                     hak_policy *policy, hak_site_result *result);

/* Gates the size classes that hold less memory when lives are kept apart, best first, until `share` of the
 * small allocations consult the sites (each takes the slower way). `uses`: by source (trainer_slabs.h).
 * *saved: share of the memory, as modelled. False when out of memory. */
bool hak_sites_gate_lifetimes(const hak_site_source *sources, const hak_slab_use *uses, size_t count,
                              double share, hak_policy *policy, double *saved);

/* Gates the classes of which other threads free a good part, within `share` as above. *any: one was. False
 * when out of memory. */
bool hak_sites_gate_remote(const hak_site_source *sources, size_t count, double share, hak_policy *policy,
                           bool *any);

/* How well a policy foretells the lifetimes of a trace, over its small blocks. */
typedef struct hak_site_forecast {
    double covered; /* share whose lifetime is decided */
    double
        longs_covered; /* of the long-lived ones, share that is called so: few of them can hold many slabs */
    double wrong;      /* of the decided, share that did otherwise */
    double unknown;    /* share that comes from contexts the policy does not know */
} hak_site_forecast;

hak_site_forecast hak_sites_foretell(const hak_policy *policy, const hak_site_source *source);

/* What the policy says of each context of the source (hak_site_lifetime), by number; malloc'ed, NULL when out
 * of memory. */
uint8_t *hak_sites_lifetimes(const hak_policy *policy, const hak_site_source *source);

/* Takes the decisions of one family out of the nodes; what then decides nothing goes. False: out of memory.
 */
bool hak_sites_drop(hak_policy *policy, hak_train_family family);

#endif
