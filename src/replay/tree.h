/* tree.h: contexts of one or more profiles as one tree of places: what flame graphs and exports are made of.
 * One thread. Memory: O(distinct stacks). */
#ifndef HAK_REPLAY_TREE_H
#define HAK_REPLAY_TREE_H

#include "replay/places.h"
#include "replay/profile.h"

#define HAK_TREE_NO_USAGE UINT32_MAX
#define HAK_TREE_NO_NODE  UINT32_MAX

typedef struct hak_tree_node {
    uint32_t parent; /* smaller than the node's own number; the root, 0, is its own */
    uint32_t place;  /* not of the root */
    uint32_t child;  /* first; 0: none */
    uint32_t next;   /* of the same parent; 0: none */
    uint32_t usage;  /* number of what was allocated right here, or HAK_TREE_NO_USAGE */
} hak_tree_node;

/* Additive figures, for sums over subtrees. */
typedef enum hak_weight {
    HAK_WEIGHT_BYTES,
    HAK_WEIGHT_CALLS,
    HAK_WEIGHT_PEAK,
    HAK_WEIGHT_LIVE,
    HAK_WEIGHT_TEMPORARY,
    HAK_WEIGHT_COUNT
} hak_weight;

typedef struct hak_weights {
    uint64_t of[HAK_WEIGHT_COUNT];
} hak_weights;

typedef struct hak_tree {
    hak_tree_node *nodes; /* [0] is the root */
    uint32_t count;
    hak_usage **usages; /* of the profile's context; of several: the tree's own sum */
    uint32_t usages_count;
    hak_weights *sums; /* by node, of the whole subtree; NULL until hak_tree_sum */
    struct hak_tree_parts *parts;
} hak_tree;

/* `inverted`: the root's children are the places that allocate, theirs the callers (see hak_tree_expand).
 * flags: HAK_STACK_*. NULL: no memory. */
hak_tree *hak_tree_new(bool inverted, unsigned flags);
void hak_tree_free(hak_tree *tree);

/* Adds all contexts of a profile, which outlives the tree. node_of may be NULL; else, by the reader's
 * context, it gets the node of what was allocated there and is left alone elsewhere. 0 or -1 with *error
 * filled. */
int hak_tree_add(hak_tree *tree, hak_stacks *stacks, const hak_profile *profile, uint32_t *node_of,
                 hak_trace_error *error);

/* In an inverted tree the outer end of a stack that no other shares is not made of nodes: a million stacks
 * would be ten million. This makes the next of them, the only child of the node, when there is one. False: no
 * memory. */
bool hak_tree_expand(hak_tree *tree, uint32_t node);

/* Fills `sums`; false: no memory. Once, when everything is added. */
bool hak_tree_sum(hak_tree *tree);

hak_weights hak_weights_of(const hak_usage *usage);
void hak_weights_add(hak_weights *a, const hak_weights *b);

/* What was allocated right here; NULL: nothing. */
static inline const hak_usage *hak_tree_usage(const hak_tree *tree, uint32_t node)
{
    uint32_t number = tree->nodes[node].usage;
    return number != HAK_TREE_NO_USAGE ? tree->usages[number] : NULL;
}

/* The stack of a node as places, from the node to the outermost; returns the count, at most max. */
uint32_t hak_tree_stack(const hak_tree *tree, uint32_t node, uint32_t *places, uint32_t max);

#endif
