/* json.h: reads JSON (RFC 8259), for results that hakmem-replay itself wrote before. Bytes are hostile. One
 * thread per document; everything read lives in it until hak_json_free. */
#ifndef HAK_REPLAY_JSON_H
#define HAK_REPLAY_JSON_H

#include "core/base/types.h"

#define HAK_JSON_MAX_DEPTH 32u
#define HAK_JSON_MAX_BYTES (256 * HAK_MIB)

typedef enum hak_json_kind {
    HAK_JSON_NULL,
    HAK_JSON_FALSE,
    HAK_JSON_TRUE,
    HAK_JSON_NUMBER,
    HAK_JSON_TEXT,
    HAK_JSON_LIST,
    HAK_JSON_OBJECT
} hak_json_kind;

typedef struct hak_json {
    hak_json_kind kind;
    const char *key;        /* within an object, else NULL */
    const char *text;       /* of a text; UTF-8 escapes below U+0100 as bytes, others as '?' */
    double number;          /* of a number */
    struct hak_json *first; /* of a list or object */
    struct hak_json *next;  /* sibling */
} hak_json;

/* The document's root, or NULL with *fault_at set to the byte where it is no JSON (or SIZE_MAX without
 * memory). `text` is changed and must live as long as the document; text[len_bytes] must be writable. */
hak_json *hak_json_parse(char *text, size_t len_bytes, size_t *fault_at);
void hak_json_free(hak_json *root);

/* NULL node and missing members are fine: then NULL, 0, "". */
const hak_json *hak_json_member(const hak_json *object, const char *key);
double hak_json_number(const hak_json *object, const char *key);
const char *hak_json_text(const hak_json *object, const char *key);
bool hak_json_true(const hak_json *object, const char *key);

#endif
