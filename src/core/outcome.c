/* outcome.c: what a process of a canary reports at its end, one line appended to HAKMEM_CANARY_OUT: with the
 * policy or without, what it took. hakmem-policy canary reads it. One thread, at exit; never allocates. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/print.h"
#include "core/options.h"
#include "core/outcome.h"
#include "core/policy.h"
#include "core/stats.h"

#define LINE_BYTES 256

static size_t put(char *line, size_t at, const char *text)
{
    size_t len_bytes = strlen(text);
    if (at + len_bytes > LINE_BYTES)
        return at;
    memcpy(line + at, text, len_bytes);
    return at + len_bytes;
}

static size_t put_number(char *line, size_t at, uint64_t value, unsigned base)
{
    char digits[24];
    unsigned i = sizeof digits - 1;
    digits[i] = 0;
    do {
        digits[--i] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0 && i > 0);
    return put(line, at, digits + i);
}

void hak_outcome_end(void)
{
    uint32_t crc;
    bool selected;
    const char *path = hak_opt.canary_out;
    struct rusage usage;
    if (path == NULL || *path == 0 || !hak_policy_canary(&crc, &selected) ||
        getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    char line[LINE_BYTES];
    uint64_t cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    size_t at = put(line, 0, "canary 1 policy ");
    at = put_number(line, at, crc, 16);
    at = put(line, at, selected ? " arm policy pid " : " arm default pid ");
    at = put_number(line, at, (uint64_t)getpid(), 10);
    at = put(line, at, " cpu_ms ");
    at = put_number(line, at, cpu_us / 1000, 10);
    at = put(line, at, ".");
    at = put_number(line, at, cpu_us / 100 % 10, 10);
    at = put(line, at, " peak_kib ");
    at = put_number(line, at, (uint64_t)usage.ru_maxrss, 10);
    at = put(line, at, " retired ");
    at = put_number(
        line, at, atomic_load_explicit(&hak_process_counters[HAK_COUNT_POLICY_RETIRED], memory_order_relaxed),
        10);
    at = put(line, at, "\n");
    int saved = errno;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd >= 0) {
        (void)!write(fd, line, at); /* one call: lines of several processes do not mix */
        close(fd);
    }
    errno = saved;
}
