/* report_check.c: any bytes as a budget of hakmem-report --check. What is understood names a figure and a
 * number to compare it with, and its function is within its room. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/print.h"
#include "cli/report_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    report_check check;
    char *text = malloc(size + 1);
    hak_assert(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    const char *fault = report_check_parse(text, &check);
    if (fault == NULL) {
        hak_assert(check.metric != NULL && check.limit >= 0 && isfinite(check.limit));
        hak_assert(memchr(check.function, '\0', sizeof check.function) != NULL);
    } else {
        hak_assert(fault[0] != '\0');
    }
    free(text);
    return 0;
}
