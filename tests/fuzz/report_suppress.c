/* report_suppress.c: any bytes as a file of suppressions. What is read matches what it says or nothing, and a
 * refusal names its reason. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/print.h"
#include "cli/report_suppress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const hak_place places[] = {
        {.function = "ns::Class<int>::method(int)", .file = "/src/class.cc", .module = "/usr/lib/libx.so.1"},
        {.module = ""},
    };
    if (size > 65536)
        return 0;
    char path[64];
    const char *fault;
    unsigned line;
    int fd = memfd_create("suppressions", MFD_CLOEXEC);
    hak_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    report_suppressions *s = report_suppressions_load(path, &fault, &line);
    hak_assert((s == NULL) == (fault != NULL));
    for (size_t i = 0; s != NULL && i < HAK_COUNT_OF(places); i++) {
        size_t which = 0;
        if (report_suppressions_match(s, &places[i], &which))
            hak_assert(which < report_suppressions_count(s) && report_suppressions_text(s, which)[0] != '\0');
    }
    report_suppressions_free(s);
    close(fd);
    return 0;
}
