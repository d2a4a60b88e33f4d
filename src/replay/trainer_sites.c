/* trainer_sites.c: the site trie. Contexts are grouped by their innermost return address; a group that is not
 * pure is split by the next one out, as deep as rows are known. No printing; all state is the builder's. */
#include "replay/trainer_site_parts.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"

#define PURE       0.99
#define SLACK_PURE 0.80 /* a growth foretold wrongly costs a quarter of a block, not a pinned slab */
#define MIN_BIG    2
#define MIN_GROWN  8

typedef struct totals {
    uint64_t blocks, bytes, small, small_short, small_long, big, big_short, big_long, big_bytes;
    uint64_t freed, freed_remote, grown, grown_again;
} totals;

typedef struct builder {
    const hak_site_source *sources;
    size_t source_count;
    const hak_site_options *options;
    hak_policy *policy;
    hak_trace_row **rows; /* by source: sorted by pc */
    uint32_t **maps;      /* by source: its modules */
    totals *by_source;    /* of the group at hand */
    bool failed;
} builder;

/* ---- where a context lies ---- */

static int by_pc(const void *a, const void *b)
{
    uint64_t x = ((const hak_trace_row *)a)->pc, y = ((const hak_trace_row *)b)->pc;
    return x < y ? -1 : x > y;
}

static const hak_frame_row *row_at(const builder *b, uint32_t source, uint64_t pc)
{
    uint32_t low = 0, high = b->sources[source].row_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (b->rows[source][middle].pc < pc)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == b->sources[source].row_count || b->rows[source][low].pc != pc)
        return NULL;
    const hak_frame_row *row = &b->rows[source][low].row;
    return row->kind == HAK_FRAME_SP || row->kind == HAK_FRAME_BP || row->kind == HAK_FRAME_BP_DEREF ? row
                                                                                                     : NULL;
}

/* ---- what a group shows ---- */

static void add_stats(totals *t, const hak_context_stats *c)
{
    t->blocks += c->blocks;
    t->bytes += c->bytes;
    t->small += c->small;
    t->small_short += c->small_short;
    t->small_long += c->small_long;
    t->big += c->big;
    t->big_short += c->big_short;
    t->big_long += c->big_long;
    t->big_bytes += c->big_bytes;
    t->freed += c->freed;
    t->freed_remote += c->freed_remote;
    t->grown += c->grown;
    t->grown_again += c->grown_again;
}

static totals sum_group(builder *b, const hak_site_item *items, size_t count)
{
    totals all = {0};
    memset(b->by_source, 0, b->source_count * sizeof *b->by_source);
    for (size_t i = 0; i < count; i++) {
        add_stats(&all, items[i].stats);
        add_stats(&b->by_source[items[i].source], items[i].stats);
    }
    return all;
}

static bool mostly(uint64_t part, uint64_t all, double share)
{
    uint64_t misses = all - part;
    return (double)misses <= (1 - share) * (double)all + (all >= 20 && all < 100 ? 1 : 0);
}

/* Pure over all blocks, and in every trace that saw any. `part` and `all` are offsets into totals. */
static bool agreed(const builder *b, const totals *group, size_t part, size_t all, double share,
                   uint64_t min_count)
{
#define FIELD(t, offset) (*(const uint64_t *)((const char *)(t) + (offset)))
    if (FIELD(group, all) < min_count || !mostly(FIELD(group, part), FIELD(group, all), share))
        return false;
    for (size_t i = 0; i < b->source_count; i++)
        if (!mostly(FIELD(&b->by_source[i], part), FIELD(&b->by_source[i], all), share))
            return false;
    return true;
#undef FIELD
}

#define AGREED(b, group, part, all, share, min)                                                              \
    agreed(b, group, offsetof(totals, part), offsetof(totals, all), share, min)

/* Sets what the group decides; returns whether a caller further out might decide more. */
static bool decide(builder *b, const totals *t, hak_policy_node *node)
{
    const bool *on = b->options->families;
    bool deeper = false;
    node->purity_ppm = HAK_PPM;
    if (on[HAK_TRAIN_LIFETIME] && t->small > 0) {
        if (AGREED(b, t, small_short, small, PURE, HAK_MIN_BLOCKS)) {
            node->lifetime = HAK_LIFETIME_SHORT;
            node->purity_ppm = (uint32_t)(t->small_short * HAK_PPM / t->small);
        } else if (AGREED(b, t, small_long, small, PURE, HAK_MIN_BLOCKS)) {
            node->lifetime = HAK_LIFETIME_LONG;
            node->purity_ppm = (uint32_t)(t->small_long * HAK_PPM / t->small);
        } else {
            deeper |= t->small >= HAK_MIN_BLOCKS &&
                      (hak_site_mixed(t->small_short, t->small) || hak_site_mixed(t->small_long, t->small));
        }
    }
    if (on[HAK_TRAIN_REMOTE] && t->small > 0) {
        if (AGREED(b, t, freed_remote, freed, PURE, HAK_MIN_BLOCKS))
            node->flags |= HAK_NODE_REMOTE_FREED;
        else
            deeper |= hak_site_mixed(t->freed_remote, t->freed);
    }
    if (on[HAK_TRAIN_RETENTION] && t->big > 0) {
        if (AGREED(b, t, big_short, big, PURE, MIN_BIG))
            node->retention = HAK_RETENTION_KEEP;
        else if (AGREED(b, t, big_long, big, PURE, 1))
            node->retention = HAK_RETENTION_BATCH;
        else
            deeper = true;
    }
    if (on[HAK_TRAIN_SITE_THP] && t->big > 0) {
        if (AGREED(b, t, big_long, big, PURE, 1) && t->big_bytes / t->big >= HAK_HUGE_PAGE_BYTES)
            node->thp = HAK_THP_ON;
        else if (t->big_long != 0)
            deeper = true;
    }
    if (on[HAK_TRAIN_SLACK] && t->grown > 0) {
        if (AGREED(b, t, grown_again, grown, SLACK_PURE, MIN_GROWN))
            node->slack_percent = HAK_POLICY_MAX_SLACK;
        else
            deeper |= t->grown_again >= MIN_GROWN;
    }
    return deeper;
}

/* ---- the trie ---- */

static int by_address(const void *a, const void *b)
{
    const hak_site_item *x = a, *y = b;
    if (x->module != y->module)
        return x->module < y->module ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->source != y->source)
        return x->source < y->source ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

/* The one row that every trace has for this return address. */
static bool common_row(const builder *b, const hak_site_item *items, size_t count, hak_frame_row *row)
{
    for (size_t i = 0; i < count; i++) {
        const hak_frame_row *r =
            row_at(b, items[i].source, b->sources[items[i].source].nodes[items[i].node].pc);
        if (r == NULL || (i > 0 && memcmp(r, row, sizeof *row) != 0))
            return false;
        *row = *r;
    }
    return true;
}

static void split(builder *b, hak_site_item *items, size_t count, uint32_t parent, unsigned depth);

/* Moves the items to their callers and splits by them; contexts that end here drop out. */
static void split_callers(builder *b, hak_site_item *items, size_t count, uint32_t parent, unsigned depth)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const hak_site_source *source = &b->sources[items[i].source];
        items[i].node = source->nodes[items[i].node].parent;
        if (items[i].node != 0 && hak_site_locate(source, b->maps[items[i].source], &items[i]))
            items[kept++] = items[i];
    }
    split(b, items, kept, parent, depth + 1);
}

static void split_group(builder *b, hak_site_item *items, size_t count, uint32_t parent, unsigned depth)
{
    totals t = sum_group(b, items, count);
    hak_policy_node node = {.offset = items[0].offset, .module = items[0].module, .parent = parent};
    bool deeper = decide(b, &t, &node);
    node.weight = t.blocks < UINT32_MAX ? (uint32_t)t.blocks : UINT32_MAX;
    node.size_bytes = t.blocks != 0 ? t.bytes / t.blocks : 0;
    hak_frame_row row = {0};
    deeper = deeper && depth + 1 < HAK_POLICY_MAX_DEPTH && common_row(b, items, count, &row);
    if (!deeper && !hak_site_decides(&node))
        return;
    if (deeper) {
        node.flags |= HAK_NODE_DEEPER;
        node.row = row;
    }
    uint32_t index = hak_policy_add_node(b->policy, &node);
    if (index == UINT32_MAX)
        b->failed = true;
    else if (deeper)
        split_callers(b, items, count, index, depth);
}

/* Depth is at most HAK_POLICY_MAX_DEPTH. */
static void split(builder *b, hak_site_item *items, size_t count, uint32_t parent, unsigned depth)
{
    qsort(items, count, sizeof *items, by_address);
    for (size_t start = 0; start < count && !b->failed;) {
        size_t end = start;
        while (end < count && items[end].module == items[start].module &&
               items[end].offset == items[start].offset)
            end++;
        split_group(b, items + start, end - start, parent, depth);
        start = end;
    }
}

/* ---- public ---- */

static void count_decisions(const hak_policy *policy, hak_site_result *result)
{
    memset(result->decided, 0, sizeof result->decided);
    for (uint32_t i = 0; i < policy->node_count; i++) {
        const hak_policy_node *node = &policy->nodes[i];
        result->decided[HAK_TRAIN_LIFETIME] += node->lifetime != 0;
        result->decided[HAK_TRAIN_REMOTE] += (node->flags & HAK_NODE_REMOTE_FREED) != 0;
        result->decided[HAK_TRAIN_RETENTION] += node->retention != 0;
        result->decided[HAK_TRAIN_SITE_THP] += node->thp != 0;
        result->decided[HAK_TRAIN_SLACK] += node->slack_percent != 0;
    }
}

static hak_site_item *gather(builder *b, size_t *count)
{
    size_t room = 1;
    for (size_t s = 0; s < b->source_count; s++)
        room += b->sources[s].digest->context_count;
    hak_site_item *items = malloc(room * sizeof *items);
    *count = 0;
    for (size_t s = 0; s < b->source_count && items != NULL; s++) {
        const hak_site_source *source = &b->sources[s];
        for (uint32_t c = 1; c < source->digest->context_count && c < source->node_count; c++) {
            items[*count] =
                (hak_site_item){.stats = &source->digest->contexts[c], .source = (uint32_t)s, .node = c};
            if (items[*count].stats->blocks != 0 && hak_site_locate(source, b->maps[s], &items[*count]))
                (*count)++;
        }
    }
    return items;
}

static bool prepare(builder *b)
{
    b->rows = calloc(b->source_count, sizeof *b->rows);
    b->maps = calloc(b->source_count, sizeof *b->maps);
    b->by_source = calloc(b->source_count, sizeof *b->by_source);
    if (b->rows == NULL || b->maps == NULL || b->by_source == NULL)
        return false;
    for (size_t s = 0; s < b->source_count; s++) {
        if ((b->maps[s] = hak_site_modules(b->policy, &b->sources[s], true)) == NULL)
            return false;
        size_t count = b->sources[s].row_count;
        b->rows[s] = malloc((count + 1) * sizeof **b->rows);
        if (b->rows[s] == NULL)
            return false;
        if (count != 0)
            memcpy(b->rows[s], b->sources[s].rows, count * sizeof **b->rows);
        qsort(b->rows[s], count, sizeof **b->rows, by_pc);
    }
    return true;
}

static void clean_up(builder *b)
{
    for (size_t s = 0; s < b->source_count; s++) {
        if (b->rows != NULL)
            free(b->rows[s]);
        if (b->maps != NULL)
            free(b->maps[s]);
    }
    free(b->rows);
    free(b->maps);
    free(b->by_source);
}

bool hak_sites_build(const hak_site_source *sources, size_t count, const hak_site_options *options,
                     hak_policy *policy, hak_site_result *result)
{
    builder b = {.sources = sources, .source_count = count, .options = options, .policy = policy};
    size_t item_count = 0;
    hak_site_item *items = NULL;
    bool done = prepare(&b);
    if (done)
        done = (items = gather(&b, &item_count)) != NULL;
    if (done) {
        split(&b, items, item_count, HAK_POLICY_ROOT, 0);
        done = !b.failed && hak_sites_tidy(policy);
    }
    if (done) {
        count_decisions(policy, result);
        done = hak_sites_gate_large(policy, result);
    }
    clean_up(&b);
    free(items);
    result->covered = 0;
    for (size_t s = 0; s < count && done; s++)
        result->covered += hak_sites_foretell(policy, &sources[s]).covered / (double)count;
    return done;
}
