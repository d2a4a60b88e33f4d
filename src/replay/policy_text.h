/* policy_text.h: a policy as an editable structure; its canonical text and its compiled form. One thread per
 * policy. text -> policy -> binary -> policy -> text is the identity on canonical text. */
#ifndef HAK_REPLAY_POLICY_TEXT_H
#define HAK_REPLAY_POLICY_TEXT_H

#include <stdio.h>

#include "core/policy_format.h"

typedef struct hak_policy {
    uint32_t state; /* hak_policy_state */
    uint64_t created_unix_s;
    char *program;
    bool knob_set[HAK_KNOB_COUNT];
    int64_t knobs[HAK_KNOB_COUNT];
    uint32_t class_count;
    uint32_t classes[HAK_POLICY_MAX_CLASSES];
    uint32_t gate_count;
    uint32_t (*gate)[2];
    uint32_t module_count;
    hak_policy_module *modules; /* .path is unused; see module_paths */
    char **module_paths;
    uint32_t node_count;
    hak_policy_node *nodes;
    char *evidence; /* lines "key value" */
} hak_policy;

typedef struct hak_policy_error {
    char text[256];
    uint64_t line; /* 1-based, text form; 0 otherwise */
} hak_policy_error;

void hak_policy_init(hak_policy *policy);
void hak_policy_clear(hak_policy *policy);

/* Either form, told apart by its first bytes. 0 or -1. */
int hak_policy_read(const char *path, hak_policy *policy, hak_policy_error *error);
int hak_policy_decode(const void *bytes, size_t len_bytes, hak_policy *policy, hak_policy_error *error);

/* Writes to a temporary name beside path and renames. `text` chooses the form. 0 or -1. */
int hak_policy_write(const hak_policy *policy, const char *path, bool text, hak_policy_error *error);
int hak_policy_print(const hak_policy *policy, FILE *out); /* canonical text */
void *hak_policy_encode(const hak_policy *policy, size_t *len_bytes,
                        hak_policy_error *error); /* malloc'ed; NULL on error */

#endif
