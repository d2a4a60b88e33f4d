/* trainer_site_use.c: what is done with a site trie: cleaned, weighed, gated, asked. No printing, no state.
 */
#include <stdlib.h>
#include <string.h>

#include "replay/trainer_site_parts.h"

#define MIN_SHARE      0.02  /* a group with fewer blocks of the other kind is left as it is */
#define CELL_MIN_SHARE 0.005 /* of the small bytes: cells below never pay */

/* ---- where a context lies ---- */

static bool same_module(const hak_policy *policy, uint32_t index, const hak_trace_module *m)
{
    const hak_policy_module *known = &policy->modules[index];
    if (known->build_id_bytes != m->build_id_bytes)
        return false;
    if (known->build_id_bytes != 0)
        return memcmp(known->build_id, m->build_id, m->build_id_bytes) == 0;
    return strcmp(policy->module_paths[index], m->path) == 0;
}

static uint32_t module_in(const hak_policy *policy, const hak_trace_module *m)
{
    for (uint32_t i = 0; i < policy->module_count; i++)
        if (same_module(policy, i, m))
            return i;
    return UINT32_MAX;
}

static uint32_t add_module(hak_policy *policy, const hak_trace_module *m)
{
    hak_policy_module fresh = {.build_id_bytes = m->build_id_bytes};
    if (fresh.build_id_bytes > sizeof fresh.build_id)
        fresh.build_id_bytes = sizeof fresh.build_id;
    memcpy(fresh.build_id, m->build_id, fresh.build_id_bytes);
    return hak_policy_add_module(policy, &fresh, m->path);
}

uint32_t *hak_site_modules(hak_policy *policy, const hak_site_source *source, bool may_add)
{
    uint32_t *map = malloc((source->module_count + 1) * sizeof *map);
    for (uint32_t i = 0; map != NULL && i < source->module_count; i++) {
        map[i] = module_in(policy, &source->modules[i]);
        if (map[i] == UINT32_MAX && may_add)
            map[i] = add_module(policy, &source->modules[i]);
    }
    return map;
}

bool hak_site_locate(const hak_site_source *source, const uint32_t *map, hak_site_item *it)
{
    uint64_t pc = source->nodes[it->node].pc;
    uint32_t m = hak_reader_module_of(source->reader, pc, it->stats->first_ns);
    if (m == HAK_TRACE_MODULE_NONE || m >= source->module_count)
        return false;
    it->module = map[m];
    it->offset = pc - source->modules[m].bias;
    return it->module != UINT32_MAX && it->offset < (uint64_t)1 << 47;
}

bool hak_site_decides(const hak_policy_node *node)
{
    return node->lifetime != 0 || node->retention != 0 || node->thp != 0 || node->slack_percent != 0 ||
           (node->flags & HAK_NODE_REMOTE_FREED) != 0;
}

bool hak_site_mixed(uint64_t part, uint64_t all)
{
    return (double)part >= MIN_SHARE * (double)all && part >= HAK_MIN_BLOCKS / 2;
}

/* ---- cleaning ---- */

/* Nodes that neither decide nor lead to one that does; then a DEEPER node without children is a leaf. */
static bool drop_idle(hak_policy *policy)
{
    uint32_t count = policy->node_count;
    bool *useful = calloc(count + 1, sizeof *useful);
    uint32_t *fresh = calloc(count + 1, sizeof *fresh);
    bool done = useful != NULL && fresh != NULL;
    for (uint32_t i = count; done && i-- > 0;) {
        hak_policy_node *node = &policy->nodes[i];
        if ((node->flags & HAK_NODE_DEEPER) && !useful[i]) { /* no child marked it */
            node->flags &= (uint8_t)~HAK_NODE_DEEPER;
            node->row = (hak_frame_row){0};
        }
        useful[i] = useful[i] || hak_site_decides(node);
        if (useful[i] && node->parent != HAK_POLICY_ROOT)
            useful[node->parent] = true;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; done && i < count; i++) {
        if (!useful[i])
            continue;
        fresh[i] = kept;
        hak_policy_node node = policy->nodes[i];
        if (node.parent != HAK_POLICY_ROOT)
            node.parent = fresh[node.parent];
        policy->nodes[kept++] = node;
    }
    if (done)
        policy->node_count = kept;
    free(useful);
    free(fresh);
    return done;
}

/* Modules that no node names (they were met on the way) go. */
static bool drop_modules(hak_policy *policy)
{
    bool used[HAK_POLICY_MAX_MODULES] = {false};
    uint32_t fresh[HAK_POLICY_MAX_MODULES], kept = 0;
    for (uint32_t i = 0; i < policy->node_count; i++)
        used[policy->nodes[i].module] = true;
    for (uint32_t i = 0; i < policy->module_count; i++) {
        fresh[i] = kept;
        char *path = policy->module_paths[i];
        if (!used[i]) {
            free(path);
            continue;
        }
        policy->modules[kept] = policy->modules[i];
        policy->module_paths[kept++] = path;
    }
    policy->module_count = kept;
    for (uint32_t i = 0; i < policy->node_count; i++)
        policy->nodes[i].module = fresh[policy->nodes[i].module];
    return hak_policy_sort(policy);
}

static void weigh_modules(hak_policy *policy)
{
    uint64_t sums[HAK_POLICY_MAX_MODULES] = {0}, all = 0;
    for (uint32_t i = 0; i < policy->node_count; i++) {
        const hak_policy_node *node = &policy->nodes[i];
        if (!hak_site_decides(node))
            continue;
        all += node->weight;
        bool met[HAK_POLICY_MAX_MODULES] = {false};
        for (uint32_t at = i; at != HAK_POLICY_ROOT; at = policy->nodes[at].parent)
            if (!met[policy->nodes[at].module]) {
                met[policy->nodes[at].module] = true;
                sums[policy->nodes[at].module] += node->weight;
            }
    }
    for (uint32_t i = 0; i < policy->module_count; i++)
        policy->modules[i].weight = all != 0 ? (uint32_t)(sums[i] * HAK_PPM / all) : 0;
}

bool hak_sites_tidy(hak_policy *policy)
{
    if (!drop_idle(policy) || !drop_modules(policy))
        return false;
    weigh_modules(policy);
    return true;
}

/* ---- the gate ---- */

typedef struct cell_rank {
    uint32_t cell;
    double value; /* long-lived bytes that share slabs with short-lived ones, an allocation */
    uint64_t count;
} cell_rank;

static int by_rank(const void *a, const void *b)
{
    const cell_rank *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->cell < y->cell ? -1 : x->cell > y->cell;
}

/* Cells whose blocks both die young and live long, best value first, until too many calls would be slowed. */
static void gate_cells(const hak_site_source *sources, size_t source_count, double share, bool *gated)
{
    cell_rank ranks[HAK_CELLS];
    uint32_t rank_count = 0;
    uint64_t all = 0, all_bytes = 0, gated_count = 0;
    for (size_t s = 0; s < source_count; s++)
        for (uint32_t i = 0; i < HAK_CELLS; i++) {
            all += sources[s].digest->count[i];
            all_bytes += sources[s].digest->count[i] * (i + 1);
        }
    for (uint32_t i = 0; i < HAK_CELLS; i++) {
        uint64_t count = 0, shorts = 0, longs = 0;
        for (size_t s = 0; s < source_count; s++) {
            count += sources[s].digest->count[i];
            shorts += sources[s].digest->shorts[i];
            longs += sources[s].digest->longs[i];
        }
        if (hak_site_mixed(shorts, count) && hak_site_mixed(longs, count) &&
            (double)(count * (i + 1)) >= CELL_MIN_SHARE * (double)all_bytes)
            ranks[rank_count++] = (cell_rank){i, (double)longs * (i + 1) / (double)count, count};
    }
    qsort(ranks, rank_count, sizeof *ranks, by_rank);
    for (uint32_t i = 0; i < rank_count; i++) {
        if ((double)(gated_count + ranks[i].count) > share * (double)all)
            continue;
        gated_count += ranks[i].count;
        gated[ranks[i].cell] = true;
    }
}

bool hak_sites_gate(const hak_site_source *sources, size_t source_count, const hak_site_options *options,
                    hak_policy *policy, const hak_site_result *result)
{
    bool *gated = calloc(HAK_CELLS + 1, sizeof *gated);
    if (gated == NULL)
        return false;
    if (result->decided[HAK_TRAIN_LIFETIME] != 0)
        gate_cells(sources, source_count, options->gated_share, gated);
    bool done = true;
    for (uint32_t i = 0; i < HAK_CELLS && done; i++) {
        uint32_t start = i;
        while (i < HAK_CELLS && gated[i])
            i++;
        if (i > start)
            done =
                hak_policy_add_gate(policy, start == 0 ? 0 : start * HAK_CELL_BYTES + 1, i * HAK_CELL_BYTES);
    }
    if (done && result->decided[HAK_TRAIN_SLACK] != 0)
        done = hak_policy_add_gate(policy, HAK_SLACK_BYTES, UINT32_MAX);
    else if (done && (result->decided[HAK_TRAIN_RETENTION] != 0 || result->decided[HAK_TRAIN_SITE_THP] != 0))
        done = hak_policy_add_gate(policy, HAK_BIG_BYTES, UINT32_MAX);
    free(gated);
    return done;
}

/* ---- asking and dropping ---- */

static uint32_t child_at(const hak_policy *policy, uint32_t parent, uint32_t module, uint64_t offset)
{
    uint32_t low = 0, high = policy->node_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const hak_policy_node *n = &policy->nodes[middle];
        bool before = n->parent + 1 != parent + 1 ? n->parent + 1 < parent + 1
                      : n->module != module       ? n->module < module
                                                  : n->offset < offset;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    const hak_policy_node *n = &policy->nodes[low];
    return low < policy->node_count && n->parent == parent && n->module == module && n->offset == offset
               ? low
               : UINT32_MAX;
}

/* As hak_policy_lookup does in the running program. */
static uint32_t decide_context(const hak_policy *policy, const hak_site_source *source, const uint32_t *map,
                               hak_site_item it)
{
    uint32_t at = HAK_POLICY_ROOT;
    while (it.node != 0 && hak_site_locate(source, map, &it)) {
        uint32_t child = child_at(policy, at, it.module, it.offset);
        if (child == UINT32_MAX)
            break;
        at = child;
        if ((policy->nodes[at].flags & HAK_NODE_DEEPER) == 0)
            break;
        it.node = source->nodes[it.node].parent;
    }
    return at;
}

void hak_sites_foretell(const hak_policy *policy, const hak_site_source *source, double *covered,
                        double *wrong)
{
    uint64_t all = 0, decided = 0, misses = 0;
    uint32_t *map = hak_site_modules((hak_policy *)policy, source, false); /* adds nothing */
    for (uint32_t c = 1; map != NULL && c < source->digest->context_count && c < source->node_count; c++) {
        const hak_context_stats *stats = &source->digest->contexts[c];
        all += stats->small;
        if (stats->small == 0)
            continue;
        uint32_t site = decide_context(policy, source, map, (hak_site_item){.stats = stats, .node = c});
        unsigned lifetime = site != HAK_POLICY_ROOT ? policy->nodes[site].lifetime : HAK_LIFETIME_DEFAULT;
        if (lifetime == HAK_LIFETIME_DEFAULT)
            continue;
        decided += stats->small;
        misses += stats->small - (lifetime == HAK_LIFETIME_SHORT ? stats->small_short : stats->small_long);
    }
    free(map);
    *covered = all != 0 ? (double)decided / (double)all : 0;
    *wrong = decided != 0 ? (double)misses / (double)decided : 0;
}

static void drop_family_gate(hak_policy *policy, hak_train_family family)
{
    bool slack = false, big = false;
    for (uint32_t i = 0; i < policy->node_count; i++) {
        slack |= policy->nodes[i].slack_percent != 0;
        big |= policy->nodes[i].retention != 0 || policy->nodes[i].thp != 0;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < policy->gate_count; i++) {
        bool is_open = policy->gate[i][1] == UINT32_MAX;
        if (is_open ? !slack && !big : family == HAK_TRAIN_LIFETIME)
            continue;
        policy->gate[kept][0] = is_open && !slack ? HAK_BIG_BYTES : policy->gate[i][0];
        policy->gate[kept++][1] = policy->gate[i][1];
    }
    policy->gate_count = kept;
}

bool hak_sites_drop(hak_policy *policy, hak_train_family family)
{
    for (uint32_t i = 0; i < policy->node_count; i++) {
        hak_policy_node *node = &policy->nodes[i];
        if (family == HAK_TRAIN_LIFETIME) {
            node->lifetime = HAK_LIFETIME_DEFAULT;
            node->flags &= (uint8_t)~HAK_NODE_REMOTE_FREED;
        } else if (family == HAK_TRAIN_RETENTION) {
            node->retention = HAK_RETENTION_DEFAULT;
        } else if (family == HAK_TRAIN_SITE_THP) {
            node->thp = HAK_THP_DEFAULT;
        } else if (family == HAK_TRAIN_SLACK) {
            node->slack_percent = 0;
        }
    }
    if (!hak_sites_tidy(policy))
        return false;
    drop_family_gate(policy, family);
    return true;
}
