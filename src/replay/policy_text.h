/* policy_text.h: a policy as an editable structure; its canonical text and its compiled form (both described
 * in hakmem-policy(5)). One thread per policy. text -> policy -> binary -> policy -> text is the identity on
 * canonical text. Bytes and text are hostile: both ways in end with hak_policy_check. */
#ifndef HAK_REPLAY_POLICY_TEXT_H
#define HAK_REPLAY_POLICY_TEXT_H

#include <stdio.h>

#include "core/policy_format.h"

#define HAK_POLICY_TEXT_MAX_BYTES (64 * HAK_MIB)

/* A size class with a list of its own length. */
typedef struct hak_policy_cache {
    uint32_t class_bytes;
    uint32_t keep_count;   /* 0: as the others */
    uint32_t refill_count; /* 0: as the others */
} hak_policy_cache;

/* Owns all it points to. */
typedef struct hak_policy {
    uint32_t state; /* hak_policy_state */
    uint64_t created_unix_s;
    char *program; /* may be NULL: unknown */
    bool knob_set[HAK_KNOB_COUNT];
    int64_t knobs[HAK_KNOB_COUNT];
    uint32_t class_count;
    uint32_t classes[HAK_POLICY_MAX_CLASSES];
    uint32_t cache_count;
    hak_policy_cache caches[HAK_POLICY_MAX_CLASSES]; /* ascending */
    uint32_t gate_count;
    uint32_t (*gate)[2];
    uint32_t module_count;
    hak_policy_module *modules; /* .path is unused; see module_paths */
    char **module_paths;
    uint32_t node_count;
    hak_policy_node *nodes; /* a parent precedes its children; hak_policy_sort makes the file's order */
    char *evidence;         /* lines "key value"; may be NULL: none */
} hak_policy;

typedef struct hak_policy_error {
    char text[256];
    uint64_t line; /* 1-based, text form; 0 otherwise */
} hak_policy_error;

void hak_policy_init(hak_policy *policy);
void hak_policy_clear(hak_policy *policy); /* frees and leaves it as hak_policy_init does */

/* Growing. An index, or UINT32_MAX when out of memory or over the format's limit. */
uint32_t hak_policy_add_module(hak_policy *policy, const hak_policy_module *module, const char *path);
uint32_t hak_policy_add_node(hak_policy *policy, const hak_policy_node *node);
hak_policy_cache *hak_policy_add_cache(hak_policy *policy,
                                       uint32_t class_bytes); /* known or new; NULL: full */
bool hak_policy_add_gate(hak_policy *policy, uint32_t low_bytes, uint32_t high_bytes);
bool hak_policy_add_evidence(hak_policy *policy, const char *line); /* without newline */

/* Into the file's order; parents are renumbered. False when out of memory. */
bool hak_policy_sort(hak_policy *policy);

/* Whether the site decides anything itself. */
bool hak_policy_decides(const hak_policy_node *node);

/* Either form, told apart by its first bytes. 0 or -1. */
int hak_policy_read(const char *path, hak_policy *policy, hak_policy_error *error);
int hak_policy_decode(const void *bytes, size_t len_bytes, hak_policy *policy, hak_policy_error *error);
int hak_policy_parse(const char *text, size_t len_bytes, hak_policy *policy, hak_policy_error *error);

/* Writes to a temporary name beside path and renames. `text` chooses the form. 0 or -1. */
int hak_policy_write(const hak_policy *policy, const char *path, bool text, hak_policy_error *error);
int hak_policy_print(const hak_policy *policy, FILE *out); /* canonical text; 0 or -1 (write error) */
void *hak_policy_encode(const hak_policy *policy, size_t *len_bytes,
                        hak_policy_error *error); /* malloc'ed; NULL on error */

/* Words of the text form; "?" for a number out of range. */
const char *hak_policy_state_text(uint32_t state);
const char *hak_policy_lifetime_text(uint32_t lifetime);
const char *hak_policy_retention_text(uint32_t retention);
const char *hak_policy_thp_text(uint32_t thp);

void hak_policy_fail(hak_policy_error *error, uint64_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
