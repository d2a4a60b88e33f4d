/* trainer_sites.h: call contexts of several traces to a site trie: the shallowest context that is pure, and
 * on which every trace that saw it agrees. One thread. */
#ifndef HAK_REPLAY_TRAINER_SITES_H
#define HAK_REPLAY_TRAINER_SITES_H

#include "replay/policy_text.h"
#include "replay/trainer.h"
#include "replay/trainer_trace.h"

/* A trace's digest with its tables (borrowed from the reader). */
typedef struct hak_site_source {
    const hak_train_trace *digest;
    const hak_trace_node *nodes;
    uint32_t node_count;
    const hak_trace_row *rows;
    uint32_t row_count;
    const hak_reader *reader; /* for hak_reader_module_of */
    const hak_trace_module *modules;
    uint32_t module_count;
} hak_site_source;

typedef struct hak_site_options {
    bool families[HAK_TRAIN_KNOBS]; /* which to decide; HAK_TRAIN_CLASSES is ignored */
    double gated_share; /* of the small allocations that may consult sites: each takes the slower way */
} hak_site_options;

typedef struct hak_site_result {
    uint32_t decided[HAK_TRAIN_KNOBS]; /* sites that decide, by family */
    double covered;                    /* share of small blocks whose lifetime is decided */
} hak_site_result;

/* Adds modules, nodes and the gate to `policy` (which holds none yet), sorted. False when out of memory. */
bool hak_sites_build(const hak_site_source *sources, size_t count, const hak_site_options *options,
                     hak_policy *policy, hak_site_result *result);

/* How well a policy foretells the lifetimes of a trace: share of its small blocks that are decided, and share
 * of these that did otherwise. */
void hak_sites_foretell(const hak_policy *policy, const hak_site_source *source, double *covered,
                        double *wrong);

/* Takes the decisions of one family out of the nodes; what then decides nothing goes. False: out of memory.
 */
bool hak_sites_drop(hak_policy *policy, hak_train_family family);

#endif
