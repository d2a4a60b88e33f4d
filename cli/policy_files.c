/* policy_files.c: hakmem-policy validate, lint, compile, decompile, state. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/policy_verbs.h"
#include "cli/text.h"
#include "replay/code.h"

#define LINT_MIN_BLOCKS     50
#define LINT_MIN_PURITY_PPM 990000
#define LINT_OLD_S          (365 * 24 * 3600)

/* ---- validate ---- */

static int validate_binary(const hak_policy *policy, const char *binary)
{
    uint8_t id[HAK_CODE_ID_BYTES];
    unsigned len_bytes = hak_code_id_of(binary, id);
    if (len_bytes == 0)
        return hak_policy_trouble(binary, access(binary, R_OK) != 0 ? strerror(errno)
                                                                    : "no ELF file with a build-id");
    bool named = false;
    for (uint32_t i = 0; i < policy->module_count; i++) {
        const hak_policy_module *m = &policy->modules[i];
        if (m->build_id_bytes == len_bytes && memcmp(m->build_id, id, len_bytes) == 0) {
            printf("%s: the build it was learned on; %.1f%% of the decisions run through it\n", binary,
                   m->weight / 1e4);
            return 0;
        }
        named |= strcmp(base_name(policy->module_paths[i]), base_name(binary)) == 0;
    }
    if (policy->node_count == 0) {
        printf("%s: any build: the policy has global settings only\n", binary);
        return 0;
    }
    printf(named ? "%s: another build; its sites do not apply: see hakmem-policy remap, or train again\n"
                 : "%s: not a module of this policy\n",
           binary);
    return EXIT_FINDING;
}

int hak_verb_validate(int argc, char **argv)
{
    const char *binary = NULL;
    const hak_verb_option options[] = {{"--binary", &binary, true}, {NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 2)
        return hak_policy_trouble(NULL, "validate takes one policy");
    hak_policy policy;
    if (hak_policy_load(argv[1], &policy) != 0)
        return EXIT_TROUBLE;
    int status = 0;
    put_safe(stdout, argv[1]);
    printf(": valid, %s, %" PRIu32 " sites, %" PRIu32 " modules\n", hak_policy_state_text(policy.state),
           policy.node_count, policy.module_count);
    if (binary != NULL)
        status = validate_binary(&policy, binary);
    hak_policy_clear(&policy);
    return status;
}

/* ---- lint ---- */

static unsigned findings;

static void found(const char *text)
{
    findings++;
    puts(text);
}

static void lint_globals(const hak_policy *policy)
{
    char line[256];
    if (policy->state != HAK_STATE_FROZEN)
        found("not frozen: programs run it only in state frozen or canary");
    if (policy->evidence == NULL || strstr(policy->evidence, "validated ") == NULL)
        found("no validation in the evidence: nobody has measured what it does");
    time_t now = time(NULL);
    if (policy->created_unix_s != 0 && (uint64_t)now > policy->created_unix_s + LINT_OLD_S)
        found("made more than a year ago");
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++)
        if (policy->knob_set[i] && policy->knobs[i] == hak_knob_infos[i].def) {
            snprintf(line, sizeof line, "set %s: is the default", hak_knob_infos[i].text);
            found(line);
        }
    if (policy->node_count != 0 && policy->gate_count == 0)
        found("sites without a gate: nothing will ever ask them");
    if (policy->node_count == 0 && policy->gate_count != 0)
        found("a gate without sites: calls take the slower way for nothing");
    for (uint32_t i = 0; i < policy->module_count; i++)
        if (policy->modules[i].build_id_bytes == 0) {
            snprintf(line, sizeof line, "module m%" PRIu32 ": no build-id, so a rebuild goes unnoticed", i);
            found(line);
        }
}

static void lint_site(const hak_policy *policy, uint32_t index, bool has_children)
{
    const hak_policy_node *node = &policy->nodes[index];
    char site[96], line[256];
    hak_policy_site_text(policy, node, site, sizeof site);
    const char *problem = NULL;
    if (hak_policy_decides(node) && node->weight < LINT_MIN_BLOCKS && node->retention == 0 && node->thp == 0)
        problem = "decided on few blocks";
    else if (node->lifetime != 0 && node->purity_ppm < LINT_MIN_PURITY_PPM)
        problem = "less than 99% of its blocks did as decided";
    else if ((node->flags & HAK_NODE_DEEPER) != 0 && !has_children)
        problem = "looks at its caller, but knows none";
    else if (!hak_policy_decides(node) && (node->flags & HAK_NODE_DEEPER) == 0)
        problem = "decides nothing";
    if (problem == NULL)
        return;
    snprintf(line, sizeof line, "site %s: %s", site, problem);
    found(line);
}

int hak_verb_lint(int argc, char **argv)
{
    const hak_verb_option options[] = {{NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 2)
        return hak_policy_trouble(NULL, "lint takes one policy");
    hak_policy policy;
    if (hak_policy_load(argv[1], &policy) != 0)
        return EXIT_TROUBLE;
    bool *has_children = calloc(policy.node_count + 1, sizeof *has_children);
    if (has_children == NULL) {
        hak_policy_clear(&policy);
        return hak_policy_trouble(NULL, "out of memory");
    }
    for (uint32_t i = 0; i < policy.node_count; i++)
        if (policy.nodes[i].parent != HAK_POLICY_ROOT)
            has_children[policy.nodes[i].parent] = true;
    lint_globals(&policy);
    for (uint32_t i = 0; i < policy.node_count; i++)
        lint_site(&policy, i, has_children[i]);
    free(has_children);
    hak_policy_clear(&policy);
    return findings != 0 ? EXIT_FINDING : 0;
}

/* ---- compile, decompile, state ---- */

static int write_out(const hak_policy *policy, const char *out, bool text)
{
    hak_policy_error error = {.text = ""};
    if (out == NULL)
        return hak_policy_print(policy, stdout) == 0 ? 0
                                                     : hak_policy_trouble(NULL, "cannot write the result");
    return hak_policy_write(policy, out, text, &error) == 0 ? 0 : hak_policy_trouble(out, error.text);
}

static int convert(int argc, char **argv, bool text, const char *usage)
{
    const char *out = NULL;
    const hak_verb_option options[] = {{"-o", &out, true}, {NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 2 || (out == NULL && !text))
        return hak_policy_trouble(NULL, usage);
    hak_policy policy;
    if (hak_policy_load(argv[1], &policy) != 0)
        return EXIT_TROUBLE;
    int status = write_out(&policy, out, text);
    hak_policy_clear(&policy);
    return status;
}

int hak_verb_compile(int argc, char **argv)
{
    return convert(argc, argv, false, "compile takes -o FILE and one policy");
}

int hak_verb_decompile(int argc, char **argv)
{
    return convert(argc, argv, true, "decompile takes one policy");
}

int hak_verb_state(int argc, char **argv)
{
    const char *out = NULL;
    const hak_verb_option options[] = {{"-o", &out, true}, {NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 3 || out == NULL)
        return hak_policy_trouble(NULL, "state takes -o FILE, a state and one policy");
    uint32_t state = 0;
    while (state <= HAK_STATE_RETIRED && strcmp(hak_policy_state_text(state), argv[1]) != 0)
        state++;
    if (state > HAK_STATE_RETIRED)
        return hak_policy_trouble(argv[1], "a state is one of learn, frozen, canary, retired");
    hak_policy policy;
    if (hak_policy_load(argv[2], &policy) != 0)
        return EXIT_TROUBLE;
    policy.state = state;
    int status = write_out(&policy, out, false);
    hak_policy_clear(&policy);
    return status;
}
