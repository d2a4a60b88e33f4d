/* policy_remap.c: hakmem-policy remap: the sites of a policy in another build of one of its modules. A site
 * goes along where its function is there with the same instructions; else it goes, and so does what hangs on
 * it. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/policy_verbs.h"
#include "cli/text.h"
#include "replay/code.h"

#define MIN_RESOLVED_PERCENT 60 /* of the weight; below, only settings are left */

typedef struct remap {
    hak_policy *policy;
    uint32_t module;
    hak_code *fresh, *old; /* old NULL: what the evidence says */
    uint8_t fresh_id[HAK_CODE_ID_BYTES];
    unsigned fresh_id_bytes;
    uint64_t weight, found_weight;
    uint32_t sites, found;
} remap;

/* The module that the binary is another build of; UINT32_MAX: none. *same: it is that build. */
static uint32_t module_for(const remap *r, const char *binary, bool *same)
{
    uint32_t named = UINT32_MAX;
    *same = false;
    for (uint32_t i = 0; i < r->policy->module_count; i++) {
        const hak_policy_module *m = &r->policy->modules[i];
        if (m->build_id_bytes == r->fresh_id_bytes &&
            memcmp(m->build_id, r->fresh_id, r->fresh_id_bytes) == 0)
            *same = true;
        if (strcmp(base_name(r->policy->module_paths[i]), base_name(binary)) == 0)
            named = i;
    }
    return named;
}

/* The old build's file: the one that is named, or the one it was learned on, if it is still there. */
static hak_code *open_old(const remap *r, const char *from)
{
    const hak_policy_module *m = &r->policy->modules[r->module];
    const char *wrong;
    uint8_t id[HAK_CODE_ID_BYTES];
    hak_code *code = hak_code_open(from != NULL ? from : r->policy->module_paths[r->module], &wrong);
    if (code == NULL ||
        (hak_code_build_id(code, id) == m->build_id_bytes && memcmp(id, m->build_id, m->build_id_bytes) == 0))
        return code;
    hak_code_close(code);
    return NULL;
}

/* Where the site is now; what it rests on is noted for the next build. */
static bool move_site(remap *r, hak_policy_node *node)
{
    const hak_policy_module *m = &r->policy->modules[r->module];
    hak_code_place place;
    char line[512];
    bool known = r->old != NULL ? hak_code_describe(r->old, node->offset, &place)
                                : hak_code_recall(r->policy->evidence, m->build_id, m->build_id_bytes,
                                                  node->offset, &place);
    if (!known || !hak_code_find(r->fresh, &place, &node->offset))
        return false;
    return !hak_code_print(&place, r->fresh_id, r->fresh_id_bytes, node->offset, line, sizeof line) ||
           hak_policy_add_evidence(r->policy, line);
}

/* Children follow their parents. */
static void move_all(remap *r, uint32_t *fresh)
{
    hak_policy *p = r->policy;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->node_count; i++) {
        hak_policy_node node = p->nodes[i];
        bool decides = hak_policy_decides(&node);
        r->sites += decides;
        r->weight += decides ? node.weight : 0;
        fresh[i] = UINT32_MAX;
        if (node.parent != HAK_POLICY_ROOT && (node.parent = fresh[node.parent]) == UINT32_MAX)
            continue;
        if (node.module == r->module && !move_site(r, &node))
            continue;
        r->found += decides;
        r->found_weight += decides ? node.weight : 0;
        fresh[i] = kept;
        p->nodes[kept++] = node;
    }
    p->node_count = kept;
}

/* What looks further out and has nobody left there, decides by itself or goes. */
static void drop_idle(hak_policy *p, uint32_t *children)
{
    memset(children, 0, (p->node_count + 1) * sizeof *children);
    for (uint32_t i = 0; i < p->node_count; i++)
        if (p->nodes[i].parent != HAK_POLICY_ROOT)
            children[p->nodes[i].parent]++;
    for (uint32_t i = p->node_count; i-- > 0;)
        if ((p->nodes[i].flags & HAK_NODE_DEEPER) != 0 && children[i] == 0) {
            p->nodes[i].flags &= (uint8_t)~HAK_NODE_DEEPER;
            p->nodes[i].row = (hak_frame_row){0};
        }
}

static int remap_module(remap *r, const char *binary)
{
    uint32_t *scratch = calloc(r->policy->node_count + 1, sizeof *scratch);
    char path[PATH_MAX];
    if (scratch == NULL)
        return hak_policy_trouble(NULL, "out of memory");
    move_all(r, scratch);
    drop_idle(r->policy, scratch);
    free(scratch);
    hak_policy_module *m = &r->policy->modules[r->module];
    memset(m->build_id, 0, sizeof m->build_id);
    memcpy(m->build_id, r->fresh_id, r->fresh_id_bytes);
    m->build_id_bytes = (uint8_t)r->fresh_id_bytes;
    char *copy = strdup(realpath(binary, path) != NULL ? path : binary);
    if (copy == NULL)
        return hak_policy_trouble(NULL, "out of memory");
    free(r->policy->module_paths[r->module]);
    r->policy->module_paths[r->module] = copy;
    printf("%" PRIu32 " of %" PRIu32 " sites are in this build, %.1f%% of their blocks\n", r->found, r->sites,
           r->weight != 0 ? 100.0 * (double)r->found_weight / (double)r->weight : 100.0);
    if (r->found_weight * 100 < r->weight * MIN_RESOLVED_PERCENT) {
        printf("less than %d%%: the sites are dropped, the settings stay; train again\n",
               MIN_RESOLVED_PERCENT);
        r->policy->node_count = 0;
        r->policy->gate_count = 0;
    }
    return hak_policy_sort(r->policy) ? (r->found == r->sites ? 0 : EXIT_FINDING)
                                      : hak_policy_trouble(NULL, "out of memory");
}

static int remap_binary(remap *r, const char *binary, const char *from)
{
    const char *wrong;
    r->fresh = hak_code_open(binary, &wrong);
    if (r->fresh == NULL)
        return hak_policy_trouble(binary, wrong);
    r->fresh_id_bytes = hak_code_build_id(r->fresh, r->fresh_id);
    if (r->fresh_id_bytes == 0)
        return hak_policy_trouble(binary, "has no build-id: link it with -Wl,--build-id");
    bool same;
    r->module = module_for(r, binary, &same);
    if (same) {
        puts("the build it was learned on: nothing moves");
        return 0;
    }
    if (r->module == UINT32_MAX)
        return hak_policy_trouble(binary, "not a module of this policy");
    r->old = open_old(r, from);
    if (from != NULL && r->old == NULL)
        return hak_policy_trouble(from, "is not the build that the policy was learned on");
    return remap_module(r, binary);
}

int hak_verb_remap(int argc, char **argv)
{
    const char *out = NULL, *binary = NULL, *from = NULL;
    const hak_verb_option options[] = {
        {"-o", &out, true}, {"--binary", &binary, true}, {"--from", &from, true}, {NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 2 || out == NULL || binary == NULL)
        return hak_policy_trouble(NULL, "remap takes --binary=NEW, -o FILE and one policy");
    hak_policy policy;
    if (hak_policy_load(argv[1], &policy) != 0)
        return EXIT_TROUBLE;
    remap r = {.policy = &policy};
    int status = remap_binary(&r, binary, from);
    hak_policy_error error = {.text = ""};
    if (status != EXIT_TROUBLE && hak_policy_write(&policy, out, false, &error) != 0)
        status = hak_policy_trouble(out, error.text);
    hak_code_close(r.fresh);
    hak_code_close(r.old);
    hak_policy_clear(&policy);
    return status;
}
