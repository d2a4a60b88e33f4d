/* policy_binary.c: any bytes as a compiled policy. Size and checksum are made to fit first, else no input
 * would get past them. What passes the check must decode, print, parse and encode to the same policy, and its
 * frame rows must keep every load inside the stack. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/wire.h"
#include "replay/policy_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool cond, const char *what)
{
    if (cond)
        return;
    fprintf(stderr, "violated: %s\n", what);
    abort();
}

static void walk_rows(const hak_policy *policy)
{
    uint64_t words[64];
    for (size_t i = 0; i < HAK_COUNT_OF(words); i++)
        words[i] = (uintptr_t)&words[i % 7 * 9];
    hak_stack stack = {(uintptr_t)words, (uintptr_t)(words + HAK_COUNT_OF(words))};
    for (uint32_t i = 0; i < policy->node_count; i++) {
        hak_frame frame = {1, (uintptr_t)&words[4], (uintptr_t)&words[20]};
        while (hak_frame_up(&frame, policy->nodes[i].row, stack))
            require(frame.sp > stack.low && frame.sp <= stack.high, "the stack pointer stays inside");
    }
}

static char *print(const hak_policy *policy, size_t *len_bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len_bytes);
    require(out != NULL && hak_policy_print(policy, out) == 0 && fclose(out) == 0, "prints");
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < sizeof(hak_policy_header) || size > HAK_MIB)
        return 0;
    uint8_t *bytes = malloc(size);
    memcpy(bytes, data, size);
    hak_policy_header *header = (void *)bytes;
    memcpy(header->magic, HAK_POLICY_MAGIC, sizeof header->magic);
    header->version = HAK_POLICY_VERSION;
    header->size_bytes = (uint32_t)size;
    header->crc32 = hak_crc32(0, bytes + 20, size - 20);
    hak_policy policy, again;
    hak_policy_error error;
    if (hak_policy_decode(bytes, size, &policy, &error) == 0) {
        walk_rows(&policy);
        size_t a_bytes, b_bytes;
        char *a = print(&policy, &a_bytes);
        require(hak_policy_parse(a, a_bytes, &again, &error) == 0, "what prints parses");
        char *b = print(&again, &b_bytes);
        require(a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0, "the text is canonical");
        free(a);
        free(b);
        hak_policy_clear(&again);
        hak_policy_clear(&policy);
    }
    free(bytes);
    return 0;
}
