/* policy_text.c: any bytes as the text of a policy. What parses must print, and the print must parse to
 * itself and pass through the compiled form unchanged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/policy_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool cond, const char *what)
{
    if (cond)
        return;
    fprintf(stderr, "violated: %s\n", what);
    abort();
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
    hak_policy policy, again;
    hak_policy_error error;
    if (size > HAK_MIB || hak_policy_parse((const char *)data, size, &policy, &error) != 0)
        return 0;
    size_t a_bytes, b_bytes, len_bytes;
    char *a = print(&policy, &a_bytes);
    void *bytes = hak_policy_encode(&policy, &len_bytes, &error);
    require(bytes != NULL, "what parses encodes");
    require(hak_policy_decode(bytes, len_bytes, &again, &error) == 0, "what encodes decodes");
    char *b = print(&again, &b_bytes);
    require(a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0, "the compiled form loses nothing");
    hak_policy_clear(&again);
    require(hak_policy_parse(a, a_bytes, &again, &error) == 0, "the text parses");
    hak_policy_clear(&again);
    hak_policy_clear(&policy);
    free(a);
    free(b);
    free(bytes);
    return 0;
}
