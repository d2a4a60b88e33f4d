/* remap.c: see remap.h. */
#include "replay/remap.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "replay/code.h"

typedef struct move {
    hak_policy *policy;
    uint32_t module;
    hak_code *fresh, *old; /* old NULL: what the evidence says */
    uint8_t fresh_id[HAK_CODE_ID_BYTES];
    unsigned fresh_id_bytes;
} move;

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool is_build(const hak_policy_module *module, const uint8_t *id, unsigned id_bytes)
{
    return module->build_id_bytes == id_bytes && memcmp(module->build_id, id, id_bytes) == 0;
}

uint32_t hak_remap_module(const hak_policy *policy, const char *binary, bool *same)
{
    uint8_t id[HAK_CODE_ID_BYTES];
    uint32_t named = UINT32_MAX;
    unsigned id_bytes = 0;
    *same = false;
    for (uint32_t i = 0; i < policy->module_count; i++)
        if (strcmp(base_name(policy->module_paths[i]), base_name(binary)) == 0)
            named = i;
    if (named == UINT32_MAX || (id_bytes = hak_code_id_of(binary, id)) == 0)
        return UINT32_MAX;
    for (uint32_t i = 0; i < policy->module_count; i++)
        *same |= is_build(&policy->modules[i], id, id_bytes);
    return *same ? UINT32_MAX : named;
}

/* The old build's file: the one that is named, or the one it was learned on, if it is still there. */
static hak_code *open_old(const move *m, const char *from)
{
    const char *wrong;
    uint8_t id[HAK_CODE_ID_BYTES];
    hak_code *code = hak_code_open(from != NULL ? from : m->policy->module_paths[m->module], &wrong);
    if (code == NULL || is_build(&m->policy->modules[m->module], id, hak_code_build_id(code, id)))
        return code;
    hak_code_close(code);
    return NULL;
}

/* Where the site is now; what it rests on is noted for the next build. */
static bool move_site(move *m, hak_policy_node *node)
{
    const hak_policy_module *old = &m->policy->modules[m->module];
    hak_code_place place;
    char line[512];
    bool known = m->old != NULL ? hak_code_describe(m->old, node->offset, &place)
                                : hak_code_recall(m->policy->evidence, old->build_id, old->build_id_bytes,
                                                  node->offset, &place);
    if (!known || !hak_code_find(m->fresh, &place, &node->offset))
        return false;
    return !hak_code_print(&place, m->fresh_id, m->fresh_id_bytes, node->offset, line, sizeof line) ||
           hak_policy_add_evidence(m->policy, line);
}

/* Children follow their parents. */
static void move_all(move *m, uint32_t *fresh)
{
    hak_policy *p = m->policy;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->node_count; i++) {
        hak_policy_node node = p->nodes[i];
        fresh[i] = UINT32_MAX;
        if (node.parent != HAK_POLICY_ROOT && (node.parent = fresh[node.parent]) == UINT32_MAX)
            continue;
        if (node.module == m->module && !move_site(m, &node))
            continue;
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

static const char *move_module(move *m, const char *binary)
{
    uint32_t *scratch = calloc(m->policy->node_count + 1, sizeof *scratch);
    char path[PATH_MAX];
    char *copy = strdup(realpath(binary, path) != NULL ? path : binary);
    if (scratch == NULL || copy == NULL) {
        free(scratch);
        free(copy);
        return "out of memory";
    }
    move_all(m, scratch);
    drop_idle(m->policy, scratch);
    free(scratch);
    hak_policy_module *module = &m->policy->modules[m->module];
    memset(module->build_id, 0, sizeof module->build_id);
    memcpy(module->build_id, m->fresh_id, m->fresh_id_bytes);
    module->build_id_bytes = (uint8_t)m->fresh_id_bytes;
    free(m->policy->module_paths[m->module]);
    m->policy->module_paths[m->module] = copy;
    return NULL;
}

int hak_remap_sites(hak_policy *policy, uint32_t module, const char *binary, const char *from,
                    const char **about, const char **wrong)
{
    move m = {.policy = policy, .module = module};
    *about = binary;
    m.fresh = hak_code_open(binary, wrong);
    if (m.fresh == NULL)
        return -1;
    m.fresh_id_bytes = hak_code_build_id(m.fresh, m.fresh_id);
    m.old = open_old(&m, from);
    *wrong = m.fresh_id_bytes == 0 ? "has no build-id: link it with -Wl,--build-id" : NULL;
    if (from != NULL && m.old == NULL) {
        *about = from;
        *wrong = "is not the build that the policy was learned on";
    }
    if (*wrong == NULL)
        *wrong = move_module(&m, binary);
    hak_code_close(m.fresh);
    hak_code_close(m.old);
    return *wrong == NULL ? 0 : -1;
}

static void count(const hak_policy *policy, uint32_t *sites, uint64_t *blocks)
{
    *sites = 0;
    *blocks = 0;
    for (uint32_t i = 0; i < policy->node_count; i++)
        if (hak_policy_decides(&policy->nodes[i])) {
            ++*sites;
            *blocks += policy->nodes[i].weight;
        }
}

void hak_remap_begin(const hak_policy *policy, hak_remap *remap)
{
    *remap = (hak_remap){0};
    count(policy, &remap->sites, &remap->blocks);
}

bool hak_remap_end(hak_policy *policy, hak_remap *remap)
{
    count(policy, &remap->found, &remap->found_blocks);
    remap->dropped = remap->found_blocks * 100 < remap->blocks * HAK_REMAP_MIN_PERCENT;
    if (remap->dropped) {
        policy->node_count = 0;
        policy->gate_count = 0;
    }
    return hak_policy_sort(policy);
}
