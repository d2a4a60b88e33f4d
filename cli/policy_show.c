/* policy_show.c: hakmem-policy show, explain, and the words all verbs share. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/policy_verbs.h"
#include "cli/say.h"
#include "cli/text.h"

#define DEFAULT_TOP     20
#define MAX_SITE_TEXT   96
#define MAX_SOURCE_TEXT 256

int hak_policy_trouble(const char *subject, const char *problem)
{
    say_about(subject, problem);
    return EXIT_TROUBLE;
}

int hak_policy_load(const char *path, hak_policy *policy)
{
    hak_policy_error error = {.text = ""};
    if (hak_policy_read(path, policy, &error) == 0)
        return 0;
    char problem[300];
    if (error.line != 0)
        snprintf(problem, sizeof problem, "line %" PRIu64 ": %s", error.line, error.text);
    else
        snprintf(problem, sizeof problem, "%s", error.text);
    return hak_policy_trouble(path, problem);
}

int hak_policy_load_two(int argc, char **argv, hak_policy *a, hak_policy *b)
{
    const char *verb = argv[0];
    const hak_verb_option options[] = {{NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 3)
        return hak_policy_trouble(verb, "takes two policies");
    if (hak_policy_load(argv[1], a) != 0)
        return EXIT_TROUBLE;
    if (hak_policy_load(argv[2], b) != 0) {
        hak_policy_clear(a);
        return EXIT_TROUBLE;
    }
    return 0;
}

int hak_verb_options(int argc, char **argv, const hak_verb_option *options)
{
    int kept = 0;
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] != '-' || argv[i][1] == 0) {
            argv[kept++] = argv[i];
            continue;
        }
        const char *equals = strchr(argv[i], '=');
        size_t name_bytes = equals != NULL ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        const hak_verb_option *option = options;
        while (option->name != NULL &&
               (strlen(option->name) != name_bytes || memcmp(option->name, argv[i], name_bytes) != 0))
            option++;
        if (option->name == NULL || (equals != NULL && !option->takes_value)) {
            hak_policy_trouble(argv[i], "unknown option");
            return -1;
        }
        if (option->takes_value && equals == NULL && i + 1 == argc) {
            hak_policy_trouble(argv[i], "needs a value");
            return -1;
        }
        *option->value = !option->takes_value ? "" : equals != NULL ? equals + 1 : argv[++i];
    }
    argv[kept] = NULL;
    return kept;
}

void hak_policy_site_text(const hak_policy *policy, const hak_policy_node *node, char *text,
                          size_t text_bytes)
{
    snprintf(text, text_bytes, "%.64s+0x%" PRIx64, base_name(policy->module_paths[node->module]),
             node->offset);
    for (; *text != 0; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

bool hak_policy_same_module(const hak_policy *a, uint32_t i, const hak_policy *b, uint32_t k)
{
    const hak_policy_module *x = &a->modules[i], *y = &b->modules[k];
    if (x->build_id_bytes != y->build_id_bytes)
        return false;
    return x->build_id_bytes != 0 ? memcmp(x->build_id, y->build_id, x->build_id_bytes) == 0
                                  : strcmp(a->module_paths[i], b->module_paths[k]) == 0;
}

void hak_policy_decision_text(const hak_policy_node *node, char *text, size_t text_bytes)
{
    char slack[16] = "";
    if (node->slack_percent != 0)
        snprintf(slack, sizeof slack, " slack=%u", node->slack_percent);
    snprintf(text, text_bytes, "%s%s%s%s%s%s%s%s", node->lifetime != 0 ? " lifetime=" : "",
             node->lifetime != 0 ? hak_policy_lifetime_text(node->lifetime) : "",
             node->retention != 0 ? " retention=" : "",
             node->retention != 0 ? hak_policy_retention_text(node->retention) : "",
             node->thp != 0 ? " thp=" : "", node->thp != 0 ? hak_policy_thp_text(node->thp) : "", slack,
             (node->flags & HAK_NODE_REMOTE_FREED) != 0 ? " remote-freed" : "");
    if (text[0] == ' ')
        memmove(text, text + 1, strlen(text));
    else
        snprintf(text, text_bytes, "-");
}

/* ---- show ---- */

static const hak_policy *sorting; /* what by_weight compares; one thread */

static int by_weight(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    uint32_t wx = sorting->nodes[x].weight, wy = sorting->nodes[y].weight;
    return wx != wy ? (wx > wy ? -1 : 1) : x < y ? -1 : x > y;
}

/* Whether the site, or one on the way to it, has `part` in its name. */
static bool is_named(const hak_policy *policy, uint32_t index, const char *part)
{
    char text[MAX_SITE_TEXT], source[MAX_SOURCE_TEXT];
    for (uint32_t at = index; part != NULL && at != HAK_POLICY_ROOT; at = policy->nodes[at].parent) {
        hak_policy_site_text(policy, &policy->nodes[at], text, sizeof text);
        if (strstr(text, part) != NULL)
            return true;
        if (hak_policy_source_text(policy, &policy->nodes[at], source, sizeof source) &&
            strstr(source, part) != NULL)
            return true;
    }
    return part == NULL;
}

/* Deciding nodes with `part` in a name (NULL: all), heaviest first; malloc'ed, may be NULL when there is
 * none. */
static uint32_t *deciding_nodes(const hak_policy *policy, const char *part, uint32_t *count)
{
    uint32_t *nodes = malloc((policy->node_count + 1) * sizeof *nodes);
    *count = 0;
    for (uint32_t i = 0; nodes != NULL && i < policy->node_count; i++)
        if (hak_policy_decides(&policy->nodes[i]) && is_named(policy, i, part))
            nodes[(*count)++] = i;
    sorting = policy;
    if (nodes != NULL)
        qsort(nodes, *count, sizeof *nodes, by_weight);
    return nodes;
}

static void show_head(const char *path, const hak_policy *policy)
{
    char when[32] = "unknown";
    time_t created = (time_t)policy->created_unix_s;
    struct tm parts;
    if (policy->created_unix_s != 0 && gmtime_r(&created, &parts) != NULL)
        strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", &parts);
    put_safe(stdout, path);
    printf(": %s", hak_policy_state_text(policy->state));
    if (policy->program != NULL) {
        fputs(", for ", stdout);
        put_safe(stdout, policy->program);
    }
    printf(", made %s\n", when);
}

static void show_globals(const hak_policy *policy)
{
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++)
        if (policy->knob_set[i])
            printf("  %-24s %" PRId64 "  (default %" PRId64 ": %s)\n", hak_knob_infos[i].text,
                   policy->knobs[i], hak_knob_infos[i].def, hak_knob_infos[i].help);
    if (policy->class_count != 0) {
        printf("  %" PRIu32 " size classes:", policy->class_count);
        for (uint32_t i = 0; i < policy->class_count; i++)
            printf(" %" PRIu32, policy->classes[i]);
        putchar('\n');
    }
    for (uint32_t i = 0; i < policy->cache_count; i++) {
        const hak_policy_cache *c = &policy->caches[i];
        printf("  class of %5" PRIu32 " bytes:", c->class_bytes);
        if (c->keep_count != 0)
            printf(" lists of %" PRIu32 " blocks", c->keep_count);
        if (c->refill_count != 0)
            printf(" refills of %" PRIu32, c->refill_count);
        putchar('\n');
    }
    for (uint32_t i = 0; i < policy->gate_count; i++)
        if (policy->gate[i][1] == UINT32_MAX)
            printf("  sizes from %" PRIu32 " consult the sites\n", policy->gate[i][0]);
        else
            printf("  sizes %" PRIu32 " to %" PRIu32 " consult the sites\n", policy->gate[i][0],
                   policy->gate[i][1]);
}

static void show_sites(const hak_policy *policy, const char *part, uint32_t top)
{
    uint32_t count;
    uint32_t *nodes = deciding_nodes(policy, part, &count);
    if (count != 0)
        printf("%" PRIu32 " sites decide:\n  %10s %8s %7s  %-40s %s\n", count, "BLOCKS", "SIZE", "PURITY",
               "SITE", "DECISION");
    for (uint32_t i = 0; i < count && i < top; i++) {
        const hak_policy_node *node = &policy->nodes[nodes[i]];
        char site[MAX_SITE_TEXT], decision[96];
        hak_policy_site_text(policy, node, site, sizeof site);
        hak_policy_decision_text(node, decision, sizeof decision);
        printf("  %10" PRIu32 " %8" PRIu64 " %6.1f%%  %-40s %s\n", node->weight, node->size_bytes,
               node->purity_ppm / 1e4, site, decision);
        for (uint32_t up = node->parent; up != HAK_POLICY_ROOT; up = policy->nodes[up].parent) {
            hak_policy_site_text(policy, &policy->nodes[up], site, sizeof site);
            printf("  %27s  through %s\n", "", site);
        }
    }
    if (count > top)
        printf("  and %" PRIu32 " more (--top=%" PRIu32 ")\n", count - top, count);
    free(nodes);
}

static void show_evidence(const hak_policy *policy)
{
    if (policy->evidence == NULL)
        return;
    puts("Evidence:");
    for (const char *at = policy->evidence; *at != 0;) {
        size_t len_bytes = strcspn(at, "\n");
        if (strncmp(at, "function ", 9) == 0) { /* for remap; nothing to read */
            at += len_bytes + (at[len_bytes] != 0);
            continue;
        }
        fputs("  ", stdout);
        for (size_t i = 0; i < len_bytes; i++)
            putchar((unsigned char)at[i] < ' ' || at[i] == 0x7f ? '?' : at[i]);
        putchar('\n');
        at += len_bytes + (at[len_bytes] != 0);
    }
}

static void json_site(const hak_policy *policy, const hak_policy_node *node)
{
    char site[MAX_SITE_TEXT];
    printf("{\"context\":[");
    for (const hak_policy_node *at = node;; at = &policy->nodes[at->parent]) {
        hak_policy_site_text(policy, at, site, sizeof site);
        json_string(stdout, site);
        if (at->parent == HAK_POLICY_ROOT)
            break;
        putchar(',');
    }
    printf("],\"blocks\":%" PRIu32 ",\"size_bytes\":%" PRIu64
           ",\"purity\":%.6f,\"lifetime\":\"%s\",\"retention\":\"%s\","
           "\"thp\":\"%s\",\"slack_percent\":%u,\"remote_freed\":%s}",
           node->weight, node->size_bytes, node->purity_ppm / 1e6, hak_policy_lifetime_text(node->lifetime),
           hak_policy_retention_text(node->retention), hak_policy_thp_text(node->thp), node->slack_percent,
           (node->flags & HAK_NODE_REMOTE_FREED) != 0 ? "true" : "false");
}

static void show_json(const hak_policy *policy, const char *part, uint32_t top)
{
    uint32_t count;
    uint32_t *nodes = deciding_nodes(policy, part, &count);
    printf("{\"schema\":1,\"state\":\"%s\",\"created_unix_s\":%" PRIu64 ",\"program\":",
           hak_policy_state_text(policy->state), policy->created_unix_s);
    json_string(stdout, policy->program != NULL ? policy->program : "");
    fputs(",\"settings\":{", stdout);
    const char *comma = "";
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++)
        if (policy->knob_set[i]) {
            printf("%s\"%s\":%" PRId64, comma, hak_knob_infos[i].text, policy->knobs[i]);
            comma = ",";
        }
    fputs("},\"classes\":[", stdout);
    for (uint32_t i = 0; i < policy->class_count; i++)
        printf("%s%" PRIu32, i != 0 ? "," : "", policy->classes[i]);
    fputs("],\"gate\":[", stdout);
    for (uint32_t i = 0; i < policy->gate_count; i++)
        printf("%s[%" PRIu32 ",%" PRIu32 "]", i != 0 ? "," : "", policy->gate[i][0], policy->gate[i][1]);
    fputs("],\"modules\":[", stdout);
    for (uint32_t i = 0; i < policy->module_count; i++) {
        fputs(i != 0 ? ",{\"path\":" : "{\"path\":", stdout);
        json_string(stdout, policy->module_paths[i]);
        fputs(",\"build_id\":\"", stdout);
        for (unsigned k = 0; k < policy->modules[i].build_id_bytes; k++)
            printf("%02x", policy->modules[i].build_id[k]);
        printf("\",\"weight\":%.6f}", policy->modules[i].weight / 1e6);
    }
    printf("],\"nodes\":%" PRIu32 ",\"site_count\":%" PRIu32 ",\"sites\":[", policy->node_count, count);
    for (uint32_t i = 0; i < count && i < top; i++) {
        if (i != 0)
            putchar(',');
        json_site(policy, &policy->nodes[nodes[i]]);
    }
    fputs("],\"evidence\":", stdout);
    json_string(stdout, policy->evidence != NULL ? policy->evidence : "");
    puts("}");
    free(nodes);
}

int hak_verb_show(int argc, char **argv)
{
    const char *json = NULL, *top_text = NULL, *part = NULL;
    const hak_verb_option options[] = {
        {"--json", &json, false}, {"--top", &top_text, true}, {"--site", &part, true}, {NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    uint32_t top = json != NULL ? UINT32_MAX : DEFAULT_TOP;
    if (top_text != NULL) {
        char *end;
        unsigned long value = strtoul(top_text, &end, 10);
        if (end == top_text || *end != 0 || value > HAK_POLICY_MAX_NODES)
            return hak_policy_trouble(top_text, "--top takes a number of sites up to 65536");
        top = (uint32_t)value;
    }
    if (argc != 2)
        return hak_policy_trouble(NULL, "show takes one policy");
    hak_policy policy;
    if (hak_policy_load(argv[1], &policy) != 0)
        return EXIT_TROUBLE;
    if (json != NULL) {
        show_json(&policy, part, top);
    } else {
        show_head(argv[1], &policy);
        show_globals(&policy);
        show_sites(&policy, part, top);
        show_evidence(&policy);
    }
    hak_policy_clear(&policy);
    return 0;
}

/* ---- explain ---- */

/* "m0+0x12", "libc.so.6+0x12" or "0x12". */
static bool names_node(const hak_policy *policy, uint32_t index, const char *name)
{
    char text[MAX_SITE_TEXT];
    const hak_policy_node *node = &policy->nodes[index];
    hak_policy_site_text(policy, node, text, sizeof text);
    if (strcmp(text, name) == 0)
        return true;
    snprintf(text, sizeof text, "m%" PRIu32 "+0x%" PRIx64, node->module, node->offset);
    if (strcmp(text, name) == 0)
        return true;
    snprintf(text, sizeof text, "0x%" PRIx64, node->offset);
    return strcmp(text, name) == 0;
}

/* 95% interval of a share seen in n blocks (Wilson, 1927). */
static void put_interval(double share, double n)
{
    const double z = 1.96;
    double middle = (share + z * z / (2 * n)) / (1 + z * z / n);
    double half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    printf(" [%.2f%%, %.2f%%]", 100 * fmax(middle - half, 0), 100 * fmin(middle + half, 1));
}

static void explain_alternatives(const hak_policy *policy, uint32_t index)
{
    const hak_policy_node *node = &policy->nodes[index];
    if ((node->flags & HAK_NODE_DEEPER) == 0) {
        puts("  callers     are not looked at: this much of the context is enough");
        return;
    }
    unsigned children = 0, deciding = 0;
    for (uint32_t i = index + 1; i < policy->node_count; i++)
        if (policy->nodes[i].parent == index) {
            children++;
            deciding += hak_policy_decides(&policy->nodes[i]);
        }
    printf("  callers     %u known, %u of them decide; the others get what stands here\n", children,
           deciding);
}

static void explain_node(const hak_policy *policy, uint32_t index)
{
    const hak_policy_node *node = &policy->nodes[index];
    const hak_policy_module *module = &policy->modules[node->module];
    char text[MAX_SITE_TEXT];
    hak_policy_site_text(policy, node, text, sizeof text);
    printf("site %s  (m%" PRIu32 "+0x%" PRIx64 ")\n", text, node->module, node->offset);
    char source[MAX_SOURCE_TEXT];
    if (hak_policy_source_text(policy, node, source, sizeof source))
        printf("  source      %s\n", source);
    fputs("  module      ", stdout);
    put_safe(stdout, policy->module_paths[node->module]);
    fputs(module->build_id_bytes != 0 ? "  build-id " : "  no build-id: matched by name", stdout);
    for (unsigned i = 0; i < module->build_id_bytes; i++)
        printf("%02x", module->build_id[i]);
    putchar('\n');
    for (uint32_t up = node->parent; up != HAK_POLICY_ROOT; up = policy->nodes[up].parent) {
        hak_policy_site_text(policy, &policy->nodes[up], text, sizeof text);
        bool known = hak_policy_source_text(policy, &policy->nodes[up], source, sizeof source);
        printf("  calls       %s%s%s\n", text, known ? "  " : "", known ? source : "");
    }
    hak_policy_decision_text(node, text, sizeof text);
    printf("  decision    %s\n", text);
    printf("  evidence    %" PRIu32 " blocks of %" PRIu64 " bytes in the mean; %.2f%% of them did as decided",
           node->weight, node->size_bytes, node->purity_ppm / 1e4);
    if (node->weight != 0)
        put_interval(node->purity_ppm / 1e6, node->weight);
    putchar('\n');
    uint32_t parent = node->parent;
    if (parent == HAK_POLICY_ROOT || !hak_policy_decides(&policy->nodes[parent]))
        puts("  otherwise   with all the others of its size");
    else {
        hak_policy_decision_text(&policy->nodes[parent], text, sizeof text);
        printf("  otherwise   as the address it calls: %s\n", text);
    }
    explain_alternatives(policy, index);
}

int hak_verb_explain(int argc, char **argv)
{
    const hak_verb_option options[] = {{NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 3)
        return hak_policy_trouble(NULL,
                                  "explain takes a policy and a site, such as libc.so.6+0x1234 (see show)");
    hak_policy policy;
    if (hak_policy_load(argv[1], &policy) != 0)
        return EXIT_TROUBLE;
    bool found = false;
    for (uint32_t i = 0; i < policy.node_count; i++)
        if (names_node(&policy, i, argv[2])) {
            explain_node(&policy, i);
            found = true;
        }
    hak_policy_clear(&policy);
    return found ? 0
                 : hak_policy_trouble(argv[2], "no such site in the policy; hakmem-policy show lists them");
}
