/* trainer_site_use.c: what is done with a site trie: cleaned, weighed, gated, asked. No printing, no state.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "replay/trainer_classes.h"
#include "replay/trainer_site_parts.h"

#define MIN_SHARE       0.02  /* a group with fewer blocks of the other kind is left as it is */
#define CLASS_MIN_SAVED 0.004 /* of the memory: a class that saves less is not worth its lookups */
#define CLASS_MAX_LOSS  0.002
#define REMOTE_SHARE    0.25 /* of a class's blocks that other threads free, at least, to look its calls up */

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

/* ---- the gate: which classes consult the sites. Lives that could be told apart are no reason: most programs
 * hold no more memory for mixing them, and every place of its own costs partly used slabs. So the slabs are
 * modelled both ways. ---- */

typedef struct class_rank {
    uint32_t cell;  /* the class's largest */
    double saved;   /* share of the memory, in the mean over the traces */
    uint64_t count; /* calls that would be slowed */
} class_rank;

static int by_rank(const void *a, const void *b)
{
    const class_rank *x = a, *y = b;
    if (x->saved != y->saved)
        return x->saved > y->saved ? -1 : 1;
    return x->cell < y->cell ? -1 : x->cell > y->cell;
}

/* What a class would save, half at the peak and half in the mean; -1 when a trace loses more than noise. */
static double saved_by(const hak_slab_use *uses, size_t count, uint32_t cell)
{
    double sum = 0;
    for (size_t t = 0; t < count; t++) {
        double peak = (uses[t].mixed_peak[cell] - uses[t].apart_peak[cell]) / fmax(uses[t].all_peak, 1);
        double mean = (uses[t].mixed_mean[cell] - uses[t].apart_mean[cell]) / fmax(uses[t].all_mean, 1);
        if (0.5 * (peak + mean) < -CLASS_MAX_LOSS)
            return -1;
        sum += 0.5 * (peak + mean);
    }
    return sum / (double)count;
}

static uint64_t calls_of(const hak_site_source *sources, size_t count, uint32_t first_cell, uint32_t cell)
{
    uint64_t sum = 0;
    for (size_t t = 0; t < count; t++)
        for (uint32_t i = first_cell; i <= cell; i++)
            sum += sources[t].digest->count[i];
    return sum;
}

/* Adds the gated classes (by their last cells) to the gate. */
static bool add_small_gate(hak_policy *policy, bool *gated, const uint32_t *first_cells)
{
    uint32_t(*open)[2] = NULL; /* ranges of larger sizes come after, so that they stay in order */
    uint32_t open_count = 0;
    bool done = true;
    for (uint32_t i = 0; i < policy->gate_count; i++) {
        uint32_t *range = policy->gate[i];
        if (range[1] <= HAK_POLICY_MAX_CLASS_BYTES) {
            gated[range[1] / HAK_CELL_BYTES - 1] = true; /* as this function wrote it */
            continue;
        }
        policy->gate[open_count][0] = range[0];
        policy->gate[open_count++][1] = range[1];
    }
    policy->gate_count = 0;
    if (open_count != 0) {
        open = malloc(open_count * sizeof *open);
        if (open == NULL)
            return false;
        memcpy(open, policy->gate, open_count * sizeof *open);
    }
    for (uint32_t cell = 0; cell < HAK_CELLS && done; cell++)
        if (gated[cell])
            done = hak_policy_add_gate(policy, first_cells[cell] * HAK_CELL_BYTES + (first_cells[cell] != 0),
                                       (cell + 1) * HAK_CELL_BYTES);
    for (uint32_t i = 0; i < open_count && done; i++)
        done = hak_policy_add_gate(policy, open[i][0], open[i][1]);
    free(open);
    return done;
}

bool hak_sites_gate_lifetimes(const hak_site_source *sources, const hak_slab_use *uses, size_t count,
                              double share, hak_policy *policy, double *saved)
{
    class_rank ranks[HAK_POLICY_MAX_CLASSES];
    uint32_t first_cells[HAK_CELLS] = {0};
    bool gated[HAK_CELLS] = {false};
    uint32_t ladder[HAK_POLICY_MAX_CLASSES];
    uint32_t classes = hak_standard_ladder(ladder), rank_count = 0;
    uint64_t all = calls_of(sources, count, 0, HAK_CELLS - 1), taken = 0;
    *saved = 0;
    for (uint32_t i = 0; i < classes; i++) {
        uint32_t cell = ladder[i] / HAK_CELL_BYTES - 1;
        first_cells[cell] = i == 0 ? 0 : ladder[i - 1] / HAK_CELL_BYTES;
        double gain = saved_by(uses, count, cell);
        if (gain >= CLASS_MIN_SAVED)
            ranks[rank_count++] = (class_rank){cell, gain, calls_of(sources, count, first_cells[cell], cell)};
    }
    qsort(ranks, rank_count, sizeof *ranks, by_rank);
    for (uint32_t i = 0; i < rank_count; i++) {
        if ((double)(taken + ranks[i].count) > share * (double)all)
            continue;
        taken += ranks[i].count;
        *saved += ranks[i].saved;
        gated[ranks[i].cell] = true;
    }
    return add_small_gate(policy, gated, first_cells);
}

bool hak_sites_gate_remote(const hak_site_source *sources, size_t count, double share, hak_policy *policy,
                           bool *any)
{
    uint32_t first_cells[HAK_CELLS] = {0};
    bool gated[HAK_CELLS] = {false};
    uint32_t ladder[HAK_POLICY_MAX_CLASSES];
    uint32_t classes = hak_standard_ladder(ladder);
    uint64_t all = calls_of(sources, count, 0, HAK_CELLS - 1), taken = 0;
    *any = false;
    for (uint32_t i = 0; i < classes; i++) {
        uint32_t cell = ladder[i] / HAK_CELL_BYTES - 1;
        first_cells[cell] = i == 0 ? 0 : ladder[i - 1] / HAK_CELL_BYTES;
        uint64_t calls = calls_of(sources, count, first_cells[cell], cell), remotes = 0;
        for (size_t t = 0; t < count; t++)
            for (uint32_t k = first_cells[cell]; k <= cell; k++)
                remotes += sources[t].digest->remotes[k];
        if (remotes < HAK_MIN_BLOCKS || (double)remotes < REMOTE_SHARE * (double)calls ||
            (double)(taken + calls) > share * (double)all)
            continue;
        taken += calls;
        *any = gated[cell] = true;
    }
    return !*any || add_small_gate(policy, gated, first_cells);
}

bool hak_sites_gate_large(hak_policy *policy, const hak_site_result *result)
{
    if (result->decided[HAK_TRAIN_SLACK] != 0)
        return hak_policy_add_gate(policy, HAK_SLACK_BYTES, UINT32_MAX);
    if (result->decided[HAK_TRAIN_RETENTION] != 0 || result->decided[HAK_TRAIN_SITE_THP] != 0)
        return hak_policy_add_gate(policy, HAK_BIG_BYTES, UINT32_MAX);
    return true;
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

hak_site_forecast hak_sites_foretell(const hak_policy *policy, const hak_site_source *source)
{
    uint64_t all = 0, decided = 0, misses = 0, longs = 0, longs_decided = 0, unknown = 0;
    uint32_t *map = hak_site_modules((hak_policy *)policy, source, false); /* adds nothing */
    for (uint32_t c = 1; map != NULL && c < source->digest->context_count && c < source->node_count; c++) {
        const hak_context_stats *stats = &source->digest->contexts[c];
        all += stats->small;
        longs += stats->small_long;
        if (stats->small == 0)
            continue;
        uint32_t site = decide_context(policy, source, map, (hak_site_item){.stats = stats, .node = c});
        unsigned lifetime = site != HAK_POLICY_ROOT ? policy->nodes[site].lifetime : HAK_LIFETIME_DEFAULT;
        unknown += site == HAK_POLICY_ROOT ? stats->small : 0;
        if (lifetime == HAK_LIFETIME_DEFAULT)
            continue;
        decided += stats->small;
        misses += stats->small - (lifetime == HAK_LIFETIME_SHORT ? stats->small_short : stats->small_long);
        longs_decided += lifetime == HAK_LIFETIME_LONG ? stats->small_long : 0;
    }
    free(map);
    return (hak_site_forecast){.covered = all != 0 ? (double)decided / (double)all : 0,
                               .longs_covered = longs != 0 ? (double)longs_decided / (double)longs : 0,
                               .wrong = decided != 0 ? (double)misses / (double)decided : 0,
                               .unknown = all != 0 ? (double)unknown / (double)all : 0};
}

uint8_t *hak_sites_lifetimes(const hak_policy *policy, const hak_site_source *source)
{
    uint8_t *lifetimes = calloc(source->digest->context_count + 1, 1);
    uint32_t *map = hak_site_modules((hak_policy *)policy, source, false); /* adds nothing */
    for (uint32_t c = 1;
         map != NULL && lifetimes != NULL && c < source->digest->context_count && c < source->node_count;
         c++) {
        hak_site_item item = {.stats = &source->digest->contexts[c], .node = c};
        uint32_t site = decide_context(policy, source, map, item);
        lifetimes[c] = site != HAK_POLICY_ROOT ? policy->nodes[site].lifetime : HAK_LIFETIME_DEFAULT;
    }
    if (map == NULL) {
        free(lifetimes);
        lifetimes = NULL;
    }
    free(map);
    return lifetimes;
}

/* Ranges that no site is left for. */
static void drop_idle_gate(hak_policy *policy)
{
    bool slack = false, big = false, small = false;
    for (uint32_t i = 0; i < policy->node_count; i++) {
        const hak_policy_node *node = &policy->nodes[i];
        slack |= node->slack_percent != 0;
        big |= node->retention != 0 || node->thp != 0;
        small |= node->lifetime != 0 || (node->flags & HAK_NODE_REMOTE_FREED) != 0;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < policy->gate_count; i++) {
        bool is_open = policy->gate[i][1] == UINT32_MAX;
        if (is_open ? !slack && !big : !small)
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
        } else if (family == HAK_TRAIN_REMOTE) {
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
    drop_idle_gate(policy);
    return true;
}
