/* trainer_site_parts.h: what the files of the site trie share; nobody else includes it. */
#ifndef HAK_REPLAY_TRAINER_SITE_PARTS_H
#define HAK_REPLAY_TRAINER_SITE_PARTS_H

#include "replay/trainer_sites.h"

#define HAK_PPM        1000000
#define HAK_MIN_BLOCKS 50 /* fewer show nothing */

/* One context of one trace, on its way outwards. */
typedef struct hak_site_item {
    const hak_context_stats *stats;
    uint32_t source;
    uint32_t node; /* of the trace's tree, at the current depth */
    uint32_t module;
    uint64_t offset;
} hak_site_item;

/* The source's modules as numbers of the policy; malloc'ed, NULL when out of memory. Those it does not hold
 * are added when asked to, else UINT32_MAX. */
uint32_t *hak_site_modules(hak_policy *policy, const hak_site_source *source, bool may_add);

/* Module and offset of the item's node. False: no module (JIT), or none of the policy's. */
bool hak_site_locate(const hak_site_source *source, const uint32_t *map, hak_site_item *item);

bool hak_site_decides(const hak_policy_node *node);

/* `part` of `all` is neither next to nothing nor too few to tell. */
bool hak_site_mixed(uint64_t part, uint64_t all);

/* Drops nodes that neither decide nor lead to one that does and modules that no node names, sorts, and weighs
 * the modules. Parents must precede their children. False: out of memory. */
bool hak_sites_tidy(hak_policy *policy);

/* Large sizes consult the sites where something is decided for them. */
bool hak_sites_gate_large(hak_policy *policy, const hak_site_result *result);

#endif
