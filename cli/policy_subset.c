/* policy_subset.c: hakmem-policy overlap and ablate: how much two policies share, and a policy without one
 * family. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/policy_verbs.h"
#include "cli/text.h"
#include "replay/trainer_sites.h"

/* ---- overlap ---- */

typedef struct share {
    uint64_t sites, weight;               /* deciding sites of the first */
    uint64_t known, known_weight;         /* of these, contexts the second decides on, too */
    uint64_t disagreed, disagreed_weight; /* of these, otherwise */
} share;

/* The node of b with the same context, or UINT32_MAX. Depth is bounded by the format. */
static uint32_t counterpart(const hak_policy *a, uint32_t index, const hak_policy *b)
{
    const hak_policy_node *node = &a->nodes[index];
    uint32_t parent = node->parent == HAK_POLICY_ROOT ? HAK_POLICY_ROOT : counterpart(a, node->parent, b);
    if (node->parent != HAK_POLICY_ROOT && parent == UINT32_MAX)
        return UINT32_MAX;
    for (uint32_t k = 0; k < b->node_count; k++)
        if (b->nodes[k].parent == parent && b->nodes[k].offset == node->offset &&
            hak_policy_same_module(a, node->module, b, b->nodes[k].module))
            return k;
    return UINT32_MAX;
}

static bool same_decision(const hak_policy_node *a, const hak_policy_node *b)
{
    return a->lifetime == b->lifetime && a->retention == b->retention && a->thp == b->thp &&
           a->slack_percent == b->slack_percent &&
           (a->flags & HAK_NODE_REMOTE_FREED) == (b->flags & HAK_NODE_REMOTE_FREED);
}

static share share_of(const hak_policy *a, const hak_policy *b)
{
    share s = {0};
    for (uint32_t i = 0; i < a->node_count; i++) {
        const hak_policy_node *node = &a->nodes[i];
        if (!hak_policy_decides(node))
            continue;
        s.sites++;
        s.weight += node->weight;
        uint32_t k = counterpart(a, i, b);
        if (k == UINT32_MAX || !hak_policy_decides(&b->nodes[k]))
            continue;
        s.known++;
        s.known_weight += node->weight;
        if (!same_decision(node, &b->nodes[k])) {
            s.disagreed++;
            s.disagreed_weight += node->weight;
        }
    }
    return s;
}

static double percent(uint64_t part, uint64_t all)
{
    return all != 0 ? 100.0 * (double)part / (double)all : 0;
}

static void put_share(const char *path, const share *s)
{
    put_safe(stdout, path);
    printf(": %" PRIu64 " sites decide; the other decides on %" PRIu64
           " of them (%.1f%% of the blocks), otherwise on %" PRIu64 " (%.1f%%)\n",
           s->sites, s->known, percent(s->known_weight, s->weight), s->disagreed,
           percent(s->disagreed_weight, s->weight));
}

static void put_settings(const hak_policy *a, const hak_policy *b)
{
    unsigned either = 0, same = 0;
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++) {
        either += a->knob_set[i] || b->knob_set[i];
        same += a->knob_set[i] && b->knob_set[i] && a->knobs[i] == b->knobs[i];
    }
    bool classes = a->class_count == b->class_count &&
                   memcmp(a->classes, b->classes, a->class_count * sizeof a->classes[0]) == 0;
    printf("settings: %u in either, %u the same; size classes: %s\n", either, same,
           classes ? "the same" : "differ");
}

int hak_verb_overlap(int argc, char **argv)
{
    hak_policy a, b;
    if (hak_policy_load_two(argc, argv, &a, &b) != 0)
        return EXIT_TROUBLE;
    share forth = share_of(&a, &b), back = share_of(&b, &a);
    put_share(argv[1], &forth);
    put_share(argv[2], &back);
    put_settings(&a, &b);
    hak_policy_clear(&a);
    hak_policy_clear(&b);
    return 0;
}

/* ---- ablate ---- */

static const struct family_name {
    const char *name;
    hak_train_family site_family; /* HAK_TRAIN_CLASSES: size classes */
    int knob_family;              /* hak_knob_family, or -1 */
} family_names[] = {
    {"classes", HAK_TRAIN_CLASSES, -1},           {"caches", HAK_TRAIN_CACHES, -1},
    {"lifetime", HAK_TRAIN_LIFETIME, -1},         {"remote", HAK_TRAIN_REMOTE, -1},
    {"retention", HAK_TRAIN_RETENTION, -1},       {"site-thp", HAK_TRAIN_SITE_THP, -1},
    {"slack", HAK_TRAIN_SLACK, HAK_FAMILY_SLACK}, {"tiny", HAK_TRAIN_KNOBS, HAK_FAMILY_TINY},
    {"mid", HAK_TRAIN_KNOBS, HAK_FAMILY_MID},     {"large", HAK_TRAIN_KNOBS, HAK_FAMILY_LARGE},
    {"purge", HAK_TRAIN_KNOBS, HAK_FAMILY_PURGE}, {"thp", HAK_TRAIN_KNOBS, HAK_FAMILY_THP},
};

static uint32_t held_by_site(const hak_policy *policy, hak_train_family family)
{
    uint32_t count = family == HAK_TRAIN_CLASSES  ? policy->class_count
                     : family == HAK_TRAIN_CACHES ? policy->cache_count
                                                  : 0;
    for (uint32_t i = 0; i < policy->node_count; i++) {
        const hak_policy_node *n = &policy->nodes[i];
        count += (family == HAK_TRAIN_LIFETIME && n->lifetime != 0) ||
                 (family == HAK_TRAIN_REMOTE && (n->flags & HAK_NODE_REMOTE_FREED) != 0) ||
                 (family == HAK_TRAIN_RETENTION && n->retention != 0) ||
                 (family == HAK_TRAIN_SITE_THP && n->thp != 0) ||
                 (family == HAK_TRAIN_SLACK && n->slack_percent != 0);
    }
    return count;
}

static uint32_t held(const hak_policy *policy, const struct family_name *f)
{
    uint32_t count = held_by_site(policy, f->site_family);
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++)
        count += policy->knob_set[i] && hak_knob_infos[i].family == f->knob_family;
    return count;
}

static bool drop(hak_policy *policy, const struct family_name *f)
{
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++)
        if (hak_knob_infos[i].family == f->knob_family ||
            (f->site_family == HAK_TRAIN_LIFETIME && hak_knob_infos[i].family == HAK_FAMILY_GUARD)) {
            policy->knob_set[i] = false;
            policy->knobs[i] = 0;
        }
    if (f->site_family == HAK_TRAIN_CLASSES)
        policy->class_count = 0;
    if (f->site_family == HAK_TRAIN_CACHES)
        policy->cache_count = 0;
    return f->site_family == HAK_TRAIN_CLASSES || f->site_family == HAK_TRAIN_CACHES ||
           f->site_family == HAK_TRAIN_KNOBS || hak_sites_drop(policy, f->site_family);
}

static int list_families(const hak_policy *policy)
{
    for (size_t i = 0; i < HAK_COUNT_OF(family_names); i++)
        if (held(policy, &family_names[i]) != 0)
            printf("%-10s %" PRIu32 " decisions\n", family_names[i].name, held(policy, &family_names[i]));
    return 0;
}

int hak_verb_ablate(int argc, char **argv)
{
    const char *out = NULL, *without = NULL;
    const hak_verb_option options[] = {
        {"-o", &out, true}, {"--without", &without, true}, {NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 2 || (out == NULL) != (without == NULL))
        return hak_policy_trouble(
            NULL, "ablate takes one policy, to list its families, or also --without=FAMILY -o FILE");
    const struct family_name *family = NULL;
    for (size_t i = 0; without != NULL && i < HAK_COUNT_OF(family_names); i++)
        if (strcmp(family_names[i].name, without) == 0)
            family = &family_names[i];
    if (without != NULL && family == NULL)
        return hak_policy_trouble(without, "no such family; see: hakmem-policy ablate FILE");
    hak_policy policy;
    if (hak_policy_load(argv[1], &policy) != 0)
        return EXIT_TROUBLE;
    hak_policy_error error = {.text = ""};
    int status = 0;
    if (family == NULL)
        status = list_families(&policy);
    else if (!drop(&policy, family))
        status = hak_policy_trouble(NULL, "out of memory");
    else if (hak_policy_write(&policy, out, false, &error) != 0)
        status = hak_policy_trouble(out, error.text);
    hak_policy_clear(&policy);
    return status;
}
