/* policy_print.c: a policy as canonical text: one form for one policy, so that a diff shows decisions.
 * Writes to the stream it is given and nowhere else. */
#include "replay/policy_text.h"

#include <inttypes.h>
#include <string.h>

static const char *const states[] = {"learn", "frozen", "canary", "retired"};
static const char *const lifetimes[] = {"default", "short", "long"};
static const char *const retentions[] = {"default", "keep", "adaptive", "batch"};
static const char *const thps[] = {"default", "off", "on"};

#define WORD(words, index) ((index) < HAK_COUNT_OF(words) ? (words)[index] : "?")

const char *hak_policy_state_text(uint32_t state)
{
    return WORD(states, state);
}

const char *hak_policy_lifetime_text(uint32_t lifetime)
{
    return WORD(lifetimes, lifetime);
}

const char *hak_policy_retention_text(uint32_t retention)
{
    return WORD(retentions, retention);
}

const char *hak_policy_thp_text(uint32_t thp)
{
    return WORD(thps, thp);
}

/* Printable ASCII as it is, the rest as \xNN: safe for terminals, and the identity after parsing. */
static void print_escaped(FILE *out, const char *text, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c < 0x7f && c != '\\')
            fputc(c, out);
        else
            fprintf(out, "\\x%02x", c);
    }
}

static void print_module(const hak_policy *policy, uint32_t index, FILE *out)
{
    const hak_policy_module *m = &policy->modules[index];
    fprintf(out, "module m%" PRIu32 " weight=%" PRIu32, index, m->weight);
    if (m->build_id_bytes != 0)
        fputs(" build-id=", out);
    for (unsigned i = 0; i < m->build_id_bytes; i++)
        fprintf(out, "%02x", m->build_id[i]);
    fputs(" path=", out);
    print_escaped(out, policy->module_paths[index], strlen(policy->module_paths[index]));
    fputc('\n', out);
}

static void print_node(const hak_policy_node *n, unsigned depth, FILE *out)
{
    fprintf(out, "%*ssite m%" PRIu32 "+0x%" PRIx64, (int)(2 * depth), "", n->module, n->offset);
    if (n->flags & HAK_NODE_DEEPER) {
        fprintf(out, " up=%s%+" PRId32,
                n->row.kind == HAK_FRAME_SP   ? "sp"
                : n->row.kind == HAK_FRAME_BP ? "bp"
                                              : "*bp",
                n->row.cfa_offset);
        if (n->row.bp_slot != 0)
            fprintf(out, ",%+d", n->row.bp_slot);
    }
    if (n->lifetime != HAK_LIFETIME_DEFAULT)
        fprintf(out, " lifetime=%s", lifetimes[n->lifetime]);
    if (n->retention != HAK_RETENTION_DEFAULT)
        fprintf(out, " retention=%s", retentions[n->retention]);
    if (n->thp != HAK_THP_DEFAULT)
        fprintf(out, " thp=%s", thps[n->thp]);
    if (n->slack_percent != 0)
        fprintf(out, " slack=%u", n->slack_percent);
    if (n->flags & HAK_NODE_REMOTE_FREED)
        fputs(" remote-freed", out);
    fprintf(out, " blocks=%" PRIu32 " purity=%" PRIu32 " size=%" PRIu64 "\n", n->weight, n->purity_ppm,
            n->size_bytes);
}

/* First node >= from whose parent is `parent`, or node_count. Nodes ascend by parent. */
static uint32_t first_child(const hak_policy *policy, uint32_t parent)
{
    uint32_t low = 0, high = policy->node_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (policy->nodes[middle].parent + 1 < parent + 1)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Depth is at most HAK_POLICY_MAX_DEPTH. */
static void print_children(const hak_policy *policy, uint32_t parent, unsigned depth, FILE *out)
{
    for (uint32_t i = first_child(policy, parent);
         i < policy->node_count && policy->nodes[i].parent == parent; i++) {
        print_node(&policy->nodes[i], depth, out);
        if ((policy->nodes[i].flags & HAK_NODE_DEEPER) && depth + 1 < HAK_POLICY_MAX_DEPTH)
            print_children(policy, i, depth + 1, out);
    }
}

static void print_evidence(const char *evidence, FILE *out)
{
    while (evidence != NULL && *evidence != 0) {
        size_t len_bytes = strcspn(evidence, "\n");
        fputs("evidence ", out);
        print_escaped(out, evidence, len_bytes);
        fputc('\n', out);
        evidence += len_bytes + (evidence[len_bytes] != 0);
    }
}

int hak_policy_print(const hak_policy *policy, FILE *out)
{
    fprintf(out, "hakmem-policy %d\nstate %s\ncreated %" PRIu64 "\n", HAK_POLICY_VERSION,
            hak_policy_state_text(policy->state), policy->created_unix_s);
    if (policy->program != NULL) {
        fputs("program ", out);
        print_escaped(out, policy->program, strlen(policy->program));
        fputc('\n', out);
    }
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++)
        if (policy->knob_set[i])
            fprintf(out, "set %s %" PRId64 "\n", hak_knob_infos[i].text, policy->knobs[i]);
    if (policy->class_count != 0) {
        fputs("classes", out);
        for (uint32_t i = 0; i < policy->class_count; i++)
            fprintf(out, " %" PRIu32, policy->classes[i]);
        fputc('\n', out);
    }
    for (uint32_t i = 0; i < policy->cache_count; i++) {
        const hak_policy_cache *c = &policy->caches[i];
        fprintf(out, "cache %" PRIu32, c->class_bytes);
        if (c->keep_count != 0)
            fprintf(out, " keep=%" PRIu32, c->keep_count);
        if (c->refill_count != 0)
            fprintf(out, " refill=%" PRIu32, c->refill_count);
        fputc('\n', out);
    }
    for (uint32_t i = 0; i < policy->gate_count; i++)
        fprintf(out, "gate %" PRIu32 " %" PRIu32 "\n", policy->gate[i][0], policy->gate[i][1]);
    for (uint32_t i = 0; i < policy->module_count; i++)
        print_module(policy, i, out);
    print_children(policy, HAK_POLICY_ROOT, 0, out);
    print_evidence(policy->evidence, out);
    return ferror(out) ? -1 : 0;
}
