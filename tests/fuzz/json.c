/* json.c: any bytes as the results that --baseline reads. A tree comes of it, or the place of the fault. */
#include <stdlib.h>
#include <string.h>

#include "core/base/print.h"
#include "replay/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const hak_json *node, unsigned depth)
{
    hak_assert(depth <= HAK_JSON_MAX_DEPTH + 1);
    for (; node != NULL; node = node->next) {
        hak_assert(node->kind <= HAK_JSON_OBJECT && (node->kind != HAK_JSON_TEXT || node->text != NULL));
        hak_assert(node->first == NULL || node->kind == HAK_JSON_LIST || node->kind == HAK_JSON_OBJECT);
        look(node->first, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t fault_at = 0;
    char *text = malloc(size + 1);
    hak_assert(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    hak_json *root = hak_json_parse(text, size, &fault_at);
    if (root == NULL)
        hak_assert(fault_at <= size || fault_at == SIZE_MAX);
    look(root, 0);
    const hak_json *targets = hak_json_member(root, "targets");
    hak_assert(hak_json_text(targets, "name") != NULL);
    hak_json_number(targets, "time_ns");
    hak_json_free(root);
    free(text);
    return 0;
}
