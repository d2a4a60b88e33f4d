/* tree.c: see tree.h. Never prints. One thread. */
#include "replay/tree.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "replay/table.h"
#include "trace/error.h"
#include "trace/grow.h"

/* The rest of a stack behind a leaf: the places from number `next` on of what hak_stacks_get gives. */
typedef struct tail {
    hak_stacks *stacks;
    uint32_t node;
    uint32_t next; /* 0: no tail */
} tail;

struct hak_tree_parts {
    hak_table table; /* (parent, place) to node - 1 */
    tail *tails;     /* by usage, of inverted trees */
    size_t tails_room;
    size_t sums_room;
    size_t nodes_room;
    size_t usages_room;
    uint8_t *own; /* by usage: 1 where it is a sum in `pieces` */
    size_t own_room;
    hak_pieces pieces;
    bool inverted;
    unsigned flags;
};

static uint64_t hash_node(uint32_t parent, uint32_t place)
{
    return hak_mix64(((uint64_t)parent << 32 | place) + 1);
}

static uint64_t rehash_node(const void *context, uint32_t number)
{
    const hak_tree *tree = context;
    return hash_node(tree->nodes[number + 1].parent, tree->nodes[number + 1].place);
}

static bool add_node(hak_tree *tree, hak_tree_node node)
{
    if (tree->count == UINT32_MAX ||
        !HAK_GROW(&tree->nodes, &tree->parts->nodes_room, (size_t)tree->count + 1))
        return false;
    tree->nodes[tree->count++] = node;
    return true;
}

hak_tree *hak_tree_new(bool inverted, unsigned flags)
{
    hak_tree *tree = calloc(1, sizeof *tree);
    if (tree == NULL)
        return NULL;
    tree->parts = calloc(1, sizeof *tree->parts);
    if (tree->parts != NULL) {
        tree->parts->inverted = inverted;
        tree->parts->flags = flags;
        if (hak_table_init(&tree->parts->table) &&
            add_node(tree, (hak_tree_node){.usage = HAK_TREE_NO_USAGE}))
            return tree;
    }
    hak_tree_free(tree);
    return NULL;
}

void hak_tree_free(hak_tree *tree)
{
    if (tree == NULL)
        return;
    if (tree->parts != NULL) {
        hak_table_done(&tree->parts->table);
        hak_pieces_done(&tree->parts->pieces);
        free(tree->parts->own);
        free(tree->parts->tails);
    }
    free(tree->parts);
    free(tree->nodes);
    free(tree->usages);
    free(tree->sums);
    free(tree);
}

/* The child of parent at place; 0: there is none, and *slot is where it would stand in the table. */
static uint32_t find_child(const hak_tree *tree, uint32_t parent, uint32_t place, size_t *slot)
{
    uint32_t number;
    *slot = hash_node(parent, place);
    for (; hak_table_next(&tree->parts->table, slot, &number); ++*slot) {
        const hak_tree_node *node = &tree->nodes[number + 1];
        if (node->parent == parent && node->place == place)
            return number + 1;
    }
    return 0;
}

/* Behind find_child. 0: no memory. */
static uint32_t make_child(hak_tree *tree, uint32_t parent, uint32_t place, size_t slot)
{
    uint32_t made = tree->count;
    if (!add_node(tree, (hak_tree_node){parent, place, 0, tree->nodes[parent].child, HAK_TREE_NO_USAGE}))
        return 0;
    tree->nodes[parent].child = made;
    return hak_table_put(&tree->parts->table, slot, rehash_node, tree) ? made : 0;
}

static uint32_t child_of(hak_tree *tree, uint32_t parent, uint32_t place)
{
    size_t slot;
    uint32_t child = find_child(tree, parent, place, &slot);
    return child != 0 ? child : make_child(tree, parent, place, slot);
}

/* A node's second context needs a sum of its own; most nodes have one only. */
static bool own_sum(hak_tree *tree, uint32_t number)
{
    if (tree->parts->own[number] != 0)
        return true;
    hak_usage *own = hak_pieces_take(&tree->parts->pieces, sizeof *own);
    if (own == NULL)
        return false;
    *own = *tree->usages[number];
    tree->usages[number] = own;
    tree->parts->own[number] = 1;
    return true;
}

static bool add_usage(hak_tree *tree, uint32_t node, hak_usage *usage)
{
    uint32_t number = tree->nodes[node].usage;
    if (number != HAK_TREE_NO_USAGE) {
        if (!own_sum(tree, number))
            return false;
        hak_usage_add(tree->usages[number], usage);
        return true;
    }
    number = tree->usages_count;
    if (!HAK_GROW(&tree->usages, &tree->parts->usages_room, (size_t)number + 1) ||
        !HAK_GROW(&tree->parts->own, &tree->parts->own_room, (size_t)number + 1))
        return false;
    if (tree->parts->inverted && !HAK_GROW(&tree->parts->tails, &tree->parts->tails_room, (size_t)number + 1))
        return false;
    if (tree->parts->inverted)
        tree->parts->tails[number].next = 0;
    tree->usages[number] = usage;
    tree->parts->own[number] = 0;
    tree->nodes[node].usage = tree->usages_count++;
    return true;
}

/* ---- inverted: leaves carry the rest of their stack ---- */

bool hak_tree_expand(hak_tree *tree, uint32_t node)
{
    uint32_t frames[HAK_STACK_MAX_FRAMES];
    uint32_t usage = tree->nodes[node].usage;
    if (!tree->parts->inverted || usage == HAK_TREE_NO_USAGE || tree->parts->tails[usage].next == 0)
        return true;
    tail *rest = &tree->parts->tails[usage];
    int count = hak_stacks_get(rest->stacks, rest->node, 0, tree->parts->flags, frames, HAK_STACK_MAX_FRAMES);
    uint32_t at = rest->next;
    rest->next = (int)at + 1 < count ? at + 1 : 0;
    if ((int)at >= count)
        return count >= 0;
    uint32_t child = child_of(tree, node, frames[at]);
    if (child == 0)
        return false;
    tree->nodes[child].usage = usage;
    tree->nodes[node].usage = HAK_TREE_NO_USAGE;
    if (tree->sums == NULL)
        return true;
    if (!HAK_GROW(&tree->sums, &tree->parts->sums_room, (size_t)tree->count))
        return false;
    tree->sums[child] = tree->sums[node];
    return true;
}

/* As far as the stack is shared, and one node more. False: no memory. */
static bool add_inverted(hak_tree *tree, hak_stacks *stacks, hak_profile_context *context,
                         const uint32_t *frames, uint32_t count)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t slot;
        if (!hak_tree_expand(tree, at))
            return false;
        uint32_t child = find_child(tree, at, frames[i], &slot);
        if (child != 0) {
            at = child;
            continue;
        }
        child = make_child(tree, at, frames[i], slot);
        if (child == 0 || !add_usage(tree, child, &context->usage))
            return false;
        if (i + 1 < count)
            tree->parts->tails[tree->nodes[child].usage] = (tail){stacks, context->node, i + 1};
        return true;
    }
    return hak_tree_expand(tree, at) && add_usage(tree, at, &context->usage);
}

static bool add_upright(hak_tree *tree, hak_profile_context *context, const uint32_t *frames, uint32_t count,
                        uint32_t *node_of)
{
    uint32_t node = 0;
    for (uint32_t k = count; k-- != 0;) {
        node = child_of(tree, node, frames[k]);
        if (node == 0)
            return false;
    }
    if (node_of != NULL)
        node_of[context->node] = node;
    return add_usage(tree, node, &context->usage);
}

int hak_tree_add(hak_tree *tree, hak_stacks *stacks, const hak_profile *profile, uint32_t *node_of,
                 hak_trace_error *error)
{
    uint32_t frames[HAK_STACK_MAX_FRAMES];
    for (uint32_t i = 0; i < profile->contexts_count; i++) {
        hak_profile_context *context = hak_profile_at(profile, i);
        int count = hak_stacks_get(stacks, context->node, context->first_ns, tree->parts->flags, frames,
                                   HAK_STACK_MAX_FRAMES);
        bool fine = count >= 0;
        if (fine && tree->parts->inverted)
            fine = add_inverted(tree, stacks, context, frames, (uint32_t)count);
        else if (fine)
            fine = add_upright(tree, context, frames, (uint32_t)count, node_of);
        if (!fine)
            return hak_trace_fail(error, "out of memory");
    }
    return 0;
}

hak_weights hak_weights_of(const hak_usage *usage)
{
    return (hak_weights){{[HAK_WEIGHT_BYTES] = usage->bytes,
                          [HAK_WEIGHT_CALLS] = usage->calls,
                          [HAK_WEIGHT_PEAK] = usage->at_peak_bytes,
                          [HAK_WEIGHT_LIVE] = usage->live_bytes,
                          [HAK_WEIGHT_TEMPORARY] = usage->temporary}};
}

void hak_weights_add(hak_weights *a, const hak_weights *b)
{
    for (unsigned i = 0; i < HAK_WEIGHT_COUNT; i++)
        a->of[i] += b->of[i];
}

bool hak_tree_sum(hak_tree *tree)
{
    if (!tree->parts->inverted)
        hak_table_done(&tree->parts->table); /* of a million nodes 16 MiB */
    free(tree->sums);
    tree->sums = calloc(tree->count, sizeof *tree->sums);
    tree->parts->sums_room = tree->count;
    if (tree->sums == NULL)
        return false;
    for (uint32_t i = tree->count; i-- != 0;) { /* children come after their parents */
        const hak_tree_node *node = &tree->nodes[i];
        if (node->usage != HAK_TREE_NO_USAGE) {
            hak_weights own = hak_weights_of(tree->usages[node->usage]);
            hak_weights_add(&tree->sums[i], &own);
        }
        if (i != 0)
            hak_weights_add(&tree->sums[node->parent], &tree->sums[i]);
    }
    return true;
}

uint32_t hak_tree_stack(const hak_tree *tree, uint32_t node, uint32_t *places, uint32_t max)
{
    uint32_t count = 0;
    for (; node != 0 && count < max; node = tree->nodes[node].parent)
        places[count++] = tree->nodes[node].place;
    return count;
}
