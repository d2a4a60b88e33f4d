/* policy_verbs.h: the verbs of hakmem-policy, one function each, and what they share. argv[0] is the verb.
 * They return the exit status: 0 fine, 1 a difference or a finding, 2 trouble. One thread. */
#ifndef HAK_CLI_POLICY_VERBS_H
#define HAK_CLI_POLICY_VERBS_H

#include "replay/policy_text.h"

#define HAK_POLICY_TOOL "hakmem-policy"
#define EXIT_FINDING    1
#define EXIT_TROUBLE    2

int hak_verb_show(int argc, char **argv);
int hak_verb_explain(int argc, char **argv);
int hak_verb_diff(int argc, char **argv);
int hak_verb_merge(int argc, char **argv);
int hak_verb_overlap(int argc, char **argv);
int hak_verb_ablate(int argc, char **argv);
int hak_verb_canary(int argc, char **argv);
int hak_verb_remap(int argc, char **argv);
int hak_verb_validate(int argc, char **argv);
int hak_verb_lint(int argc, char **argv);
int hak_verb_compile(int argc, char **argv);
int hak_verb_decompile(int argc, char **argv);
int hak_verb_state(int argc, char **argv);

/* "hakmem-policy: 'subject': problem" to stderr; returns EXIT_TROUBLE. */
int hak_policy_trouble(const char *subject, const char *problem);

/* Reads a policy, says what is wrong. 0 or EXIT_TROUBLE. */
int hak_policy_load(const char *path, hak_policy *policy);

/* For a verb whose only operands are two policies: takes its options, reads both. 0 or EXIT_TROUBLE, nothing
 * then to be cleared. */
int hak_policy_load_two(int argc, char **argv, hak_policy *a, hak_policy *b);

/* "libc.so.6+0x1234" of a node, cut to fit. */
void hak_policy_site_text(const hak_policy *policy, const hak_policy_node *node, char *text,
                          size_t text_bytes);

/* "function file:line" of an address in a module, where its file is here in that build; false: not known. */
bool hak_policy_source_text(const hak_policy *policy, const hak_policy_node *node, char *text,
                            size_t text_bytes);

/* Whether module i of a is the same build as module k of b; without build-ids: the same path. */
bool hak_policy_same_module(const hak_policy *a, uint32_t i, const hak_policy *b, uint32_t k);

/* "lifetime=short slack=25", "-" when it decides nothing. */
void hak_policy_decision_text(const hak_policy_node *node, char *text, size_t text_bytes);

/* Options of a verb: "--name" or "--name=value" in front of or between the operands. A table ends with NULL.
 */
typedef struct hak_verb_option {
    const char *name;
    const char **value; /* set to the value, or "" for a flag */
    bool takes_value;
} hak_verb_option;

/* Takes the options out of argv; returns the operand count, or -1 after having said what is wrong. */
int hak_verb_options(int argc, char **argv, const hak_verb_option *options);

#endif
