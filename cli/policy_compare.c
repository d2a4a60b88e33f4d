/* policy_compare.c: hakmem-policy diff and merge. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/policy_verbs.h"
#include "cli/text.h"

#define LINE_BYTES     4096
#define MERGE_PURE_PPM 990000 /* as in training */
#define MAX_WEIGHT     1000

/* ---- diff: both policies as sorted lines, one decision each ---- */

typedef struct lines {
    char **text;
    size_t count;
    bool failed;
} lines;

static void add_line(lines *l, const char *text)
{
    char **grown = realloc(l->text, (l->count + 1) * sizeof *grown);
    if (grown != NULL)
        l->text = grown;
    char *copy = strdup(text);
    if (grown == NULL || copy == NULL) {
        free(copy);
        l->failed = true;
        return;
    }
    l->text[l->count++] = copy;
}

static void free_lines(lines *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->text[i]);
    free(l->text);
}

static void list_site(const hak_policy *policy, uint32_t index, lines *l)
{
    char line[LINE_BYTES], part[128];
    size_t used = (size_t)snprintf(line, sizeof line, "site ");
    for (uint32_t at = index; at != HAK_POLICY_ROOT; at = policy->nodes[at].parent) {
        hak_policy_site_text(policy, &policy->nodes[at], part, sizeof part);
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%s", at == index ? "" : " < ", part);
    }
    hak_policy_decision_text(&policy->nodes[index], part, sizeof part);
    snprintf(line + used, sizeof line - used, " %s", part);
    add_line(l, line);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const hak_policy *policy, lines *l)
{
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "state %s", hak_policy_state_text(policy->state));
    add_line(l, line);
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++)
        if (policy->knob_set[i]) {
            snprintf(line, sizeof line, "set %s %" PRId64, hak_knob_infos[i].text, policy->knobs[i]);
            add_line(l, line);
        }
    for (uint32_t i = 0; i < policy->class_count; i++) {
        snprintf(line, sizeof line, "class %5" PRIu32, policy->classes[i]);
        add_line(l, line);
    }
    for (uint32_t i = 0; i < policy->cache_count; i++) {
        const hak_policy_cache *c = &policy->caches[i];
        snprintf(line, sizeof line, "cache %5" PRIu32 " keep=%" PRIu32 " refill=%" PRIu32, c->class_bytes,
                 c->keep_count, c->refill_count);
        add_line(l, line);
    }
    for (uint32_t i = 0; i < policy->gate_count; i++) {
        snprintf(line, sizeof line, "gate %10" PRIu32 " %" PRIu32, policy->gate[i][0], policy->gate[i][1]);
        add_line(l, line);
    }
    for (uint32_t i = 0; i < policy->module_count; i++) {
        size_t used = (size_t)snprintf(line, sizeof line, "module %.2048s ", policy->module_paths[i]);
        for (unsigned k = 0; k < policy->modules[i].build_id_bytes; k++)
            used += (size_t)snprintf(line + used, sizeof line - used, "%02x", policy->modules[i].build_id[k]);
        add_line(l, line);
    }
    for (uint32_t i = 0; i < policy->node_count; i++)
        if (hak_policy_decides(&policy->nodes[i]))
            list_site(policy, i, l);
    qsort(l->text, l->count, sizeof *l->text, by_text);
}

static void put_line(char sign, const char *text)
{
    putchar(sign);
    putchar(' ');
    put_safe(stdout, text);
    putchar('\n');
}

/* Returns the number of lines that only one has. */
static size_t print_difference(const lines *a, const lines *b)
{
    size_t i = 0, k = 0, different = 0;
    while (i < a->count || k < b->count) {
        int order = i == a->count ? 1 : k == b->count ? -1 : strcmp(a->text[i], b->text[k]);
        if (order == 0) {
            i++;
            k++;
            continue;
        }
        different++;
        if (order < 0)
            put_line('-', a->text[i++]);
        else
            put_line('+', b->text[k++]);
    }
    return different;
}

int hak_verb_diff(int argc, char **argv)
{
    hak_policy a, b;
    if (hak_policy_load_two(argc, argv, &a, &b) != 0)
        return EXIT_TROUBLE;
    lines la = {0}, lb = {0};
    list(&a, &la);
    list(&b, &lb);
    int status = la.failed || lb.failed            ? hak_policy_trouble(NULL, "out of memory")
                 : print_difference(&la, &lb) != 0 ? EXIT_FINDING
                                                   : 0;
    free_lines(&la);
    free_lines(&lb);
    hak_policy_clear(&a);
    hak_policy_clear(&b);
    return status;
}

/* ---- merge ---- */

static uint32_t merge_module(hak_policy *into, const hak_policy *from, uint32_t index)
{
    for (uint32_t i = 0; i < into->module_count; i++)
        if (hak_policy_same_module(into, i, from, index)) {
            if (from->modules[index].weight > into->modules[i].weight)
                into->modules[i].weight = from->modules[index].weight;
            return i;
        }
    return hak_policy_add_module(into, &from->modules[index], from->module_paths[index]);
}

static uint32_t child_of(const hak_policy *policy, const hak_policy_node *node)
{
    for (uint32_t i = 0; i < policy->node_count; i++)
        if (policy->nodes[i].parent == node->parent && policy->nodes[i].module == node->module &&
            policy->nodes[i].offset == node->offset)
            return i;
    return UINT32_MAX;
}

/* A decision stays where both made it and the blocks of both together are still pure; else the default
 * returns: what was decided is never averaged, only what it rests on. */
static void agree(hak_policy_node *a, const hak_policy_node *b)
{
    if (a->lifetime != b->lifetime)
        a->lifetime = HAK_LIFETIME_DEFAULT;
    if (a->retention != b->retention)
        a->retention = HAK_RETENTION_DEFAULT;
    if (a->thp != b->thp)
        a->thp = HAK_THP_DEFAULT;
    if (b->slack_percent < a->slack_percent)
        a->slack_percent = b->slack_percent;
    if ((b->flags & HAK_NODE_REMOTE_FREED) == 0)
        a->flags &= (uint8_t)~HAK_NODE_REMOTE_FREED;
    uint64_t weight = (uint64_t)a->weight + b->weight;
    if (weight != 0) {
        a->purity_ppm =
            (uint32_t)(((uint64_t)a->purity_ppm * a->weight + (uint64_t)b->purity_ppm * b->weight) / weight);
        a->size_bytes = (uint64_t)(((double)a->size_bytes * a->weight + (double)b->size_bytes * b->weight) /
                                   (double)weight);
    }
    if (a->purity_ppm < MERGE_PURE_PPM)
        a->lifetime = HAK_LIFETIME_DEFAULT;
    a->weight = weight < UINT32_MAX ? (uint32_t)weight : UINT32_MAX;
    /* Only one looks further out: so does the result, if it knows how. */
    if ((a->flags & HAK_NODE_DEEPER) == 0 && (b->flags & HAK_NODE_DEEPER) != 0) {
        a->flags |= HAK_NODE_DEEPER;
        a->row = b->row;
    }
}

static const char *merge_nodes(hak_policy *into, const hak_policy *from)
{
    uint32_t *fresh = malloc((from->node_count + 1) * sizeof *fresh);
    if (fresh == NULL)
        return "out of memory";
    const char *wrong = NULL;
    for (uint32_t i = 0; i < from->node_count && wrong == NULL; i++) {
        hak_policy_node node = from->nodes[i];
        node.module = merge_module(into, from, node.module);
        if (node.parent != HAK_POLICY_ROOT)
            node.parent = fresh[node.parent];
        if (node.module == UINT32_MAX) {
            wrong = "more than 256 modules together";
            break;
        }
        uint32_t known = child_of(into, &node);
        if (known == UINT32_MAX)
            known = hak_policy_add_node(into, &node);
        else
            agree(&into->nodes[known], &from->nodes[i]);
        if (known == UINT32_MAX)
            wrong = "more than 65536 sites together";
        fresh[i] = known;
    }
    free(fresh);
    return wrong;
}

static void merge_globals(hak_policy *into, const hak_policy *from)
{
    /* What every input held, and so what all inputs of both did: the rule that it was derived by. */
    if (into->knob_set[HAK_KNOB_THP_KNOWN_BYTES] && from->knob_set[HAK_KNOB_THP_KNOWN_BYTES] &&
        from->knobs[HAK_KNOB_THP_KNOWN_BYTES] < into->knobs[HAK_KNOB_THP_KNOWN_BYTES])
        into->knobs[HAK_KNOB_THP_KNOWN_BYTES] = from->knobs[HAK_KNOB_THP_KNOWN_BYTES];
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++)
        if (into->knob_set[i] &&
            (!from->knob_set[i] || (i != HAK_KNOB_THP_KNOWN_BYTES && into->knobs[i] != from->knobs[i]))) {
            into->knob_set[i] = false;
            into->knobs[i] = 0;
        }
    if (into->class_count != from->class_count ||
        memcmp(into->classes, from->classes, from->class_count * sizeof from->classes[0]) != 0)
        into->class_count = 0;
    if (into->cache_count != from->cache_count ||
        memcmp(into->caches, from->caches, from->cache_count * sizeof from->caches[0]) != 0)
        into->cache_count = 0;
}

static int by_low(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return x[0] < y[0] ? -1 : x[0] > y[0];
}

static bool merge_gates(hak_policy *into, const hak_policy *from)
{
    for (uint32_t i = 0; i < from->gate_count; i++)
        if (!hak_policy_add_gate(into, from->gate[i][0], from->gate[i][1]))
            return false;
    if (into->gate_count == 0)
        return true;
    qsort(into->gate, into->gate_count, sizeof *into->gate, by_low);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < into->gate_count; i++) {
        uint32_t *last = into->gate[kept];
        if (into->gate[i][0] <= last[1] || into->gate[i][0] - last[1] == 1) {
            if (into->gate[i][1] > last[1])
                last[1] = into->gate[i][1];
        } else {
            kept++;
            into->gate[kept][0] = into->gate[i][0];
            into->gate[kept][1] = into->gate[i][1];
        }
    }
    into->gate_count = kept + 1;
    return true;
}

static const char *merge_one(hak_policy *into, const hak_policy *from)
{
    merge_globals(into, from);
    if (!merge_gates(into, from))
        return "more than 1024 size ranges together";
    const char *wrong = merge_nodes(into, from);
    if (wrong != NULL)
        return wrong;
    for (const char *at = from->evidence; at != NULL && *at != 0;) {
        char line[LINE_BYTES];
        size_t len_bytes = strcspn(at, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(len_bytes < LINE_BYTES ? len_bytes : LINE_BYTES - 1), at);
        if (!hak_policy_add_evidence(into, line))
            return "out of memory";
        at += len_bytes + (at[len_bytes] != 0);
    }
    return hak_policy_sort(into) ? NULL : "out of memory";
}

/* "W,FILE" counts a policy's blocks W times; plain FILE once. NULL: not a weight. */
static const char *weight_of(const char *operand, double *weight)
{
    char *end;
    *weight = 1;
    if (strncmp(operand, "--weight=", 9) != 0)
        return operand;
    *weight = strtod(operand + 9, &end);
    return end != operand + 9 && *end == ',' && *weight > 0 && *weight <= MAX_WEIGHT ? end + 1 : NULL;
}

static int load_weighted(const char *operand, hak_policy *policy)
{
    double weight;
    const char *path = weight_of(operand, &weight);
    if (path == NULL)
        return hak_policy_trouble(
            operand, "--weight takes a number above 0, at most 1000, and a policy: --weight=2,FILE");
    if (hak_policy_load(path, policy) != 0)
        return EXIT_TROUBLE;
    for (uint32_t i = 0; i < policy->node_count; i++) {
        double blocks = policy->nodes[i].weight * weight;
        policy->nodes[i].weight = blocks < UINT32_MAX ? (uint32_t)(blocks + 0.5) : UINT32_MAX;
    }
    return 0;
}

/* Takes "-o OUT" out; what is left are policies, weighted or not. Returns their count, or -1. */
static int merge_operands(int argc, char **argv, const char **out)
{
    int kept = 0;
    *out = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
            *out = argv[++i];
        else if (argv[i][0] != '-' || argv[i][1] == 0 || strncmp(argv[i], "--weight=", 9) == 0)
            argv[kept++] = argv[i];
        else {
            hak_policy_trouble(argv[i], "unknown option, or one that wants a value");
            return -1;
        }
    }
    return kept;
}

int hak_verb_merge(int argc, char **argv)
{
    const char *out;
    argc = merge_operands(argc, argv, &out);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (out == NULL || argc < 2)
        return hak_policy_trouble(NULL, "merge takes -o FILE and two policies or more");
    hak_policy all = {0};
    if (load_weighted(argv[0], &all) != 0)
        return EXIT_TROUBLE;
    int status = 0;
    for (int i = 1; i < argc && status == 0; i++) {
        hak_policy next = {0};
        if (load_weighted(argv[i], &next) != 0) {
            status = EXIT_TROUBLE;
            break;
        }
        const char *wrong = merge_one(&all, &next);
        if (wrong != NULL)
            status = hak_policy_trouble(argv[i], wrong);
        hak_policy_clear(&next);
    }
    all.state = HAK_STATE_LEARN; /* nobody has measured the whole */
    hak_policy_error error;
    if (status == 0 && hak_policy_write(&all, out, false, &error) != 0)
        status = hak_policy_trouble(out, error.text);
    hak_policy_clear(&all);
    return status;
}
