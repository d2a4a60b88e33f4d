/* stats.c: names, sums and printing of the counters of stats.h. Never allocates. Any thread. */
#include "core/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/print.h"
#include "core/heap.h"
#include "core/include/hakmem.h"
#include "core/options.h"

#define NAME_WIDTH  22
#define VALUE_WIDTH 14

_Atomic uint64_t hak_process_counters[HAK_PROCESS_COUNTER_COUNT];

static const struct {
    const char *name;
    const char *help;
} counters[] = {
#define X(name, text, help) {text, help},
    HAK_HEAP_COUNTERS(X) HAK_PROCESS_COUNTERS(X)
#undef X
};

HAK_EXPORT unsigned hakmem_counter_count(void)
{
    return HAK_COUNT_OF(counters);
}

HAK_EXPORT const char *hakmem_counter_name(unsigned index)
{
    return index < HAK_COUNT_OF(counters) ? counters[index].name : NULL;
}

/* The fronts count for themselves what is a large block as well. */
static uint64_t front_part(hak_process_counter counter)
{
    switch ((int)counter) {
    case HAK_COUNT_LARGE_ALLOC:
    case HAK_COUNT_BIGCACHE_HIT:
        return hak_heap_counter_sum(HAK_COUNT_FRONT_TAKEN);
    case HAK_COUNT_LARGE_FREE:
    case HAK_COUNT_BIGCACHE_KEPT:
        return hak_heap_counter_sum(HAK_COUNT_FRONT_KEPT) - hak_heap_counter_sum(HAK_COUNT_FRONT_FLUSHED);
    case HAK_COUNT_FREE_HOT:
        return hak_feature_on(HAK_FEATURE_THERMAL) ? hak_heap_counter_sum(HAK_COUNT_FRONT_TAKEN) : 0;
    default:
        return 0;
    }
}

HAK_EXPORT uint64_t hakmem_counter_value(unsigned index)
{
    if (index < HAK_HEAP_COUNTER_COUNT)
        return hak_heap_counter_sum((hak_heap_counter)index);
    if (index >= HAK_COUNT_OF(counters))
        return 0;
    hak_process_counter counter = (hak_process_counter)(index - HAK_HEAP_COUNTER_COUNT);
    return atomic_load_explicit(&hak_process_counters[counter], memory_order_relaxed) + front_part(counter);
}

static void print_json(hak_out *out)
{
    hak_out_text(out, "{\"schema\":\"hakmem-stats-1\",\"mode\":\"");
    hak_out_text(out, hak_mode_name(hak_opt.mode));
    hak_out_text(out, "\",\"pid\":");
    hak_out_u64(out, (uint64_t)getpid());
    hak_out_text(out, ",\"counters\":{");
    for (unsigned i = 0; i < HAK_COUNT_OF(counters); i++) {
        hak_out_text(out, i == 0 ? "\"" : ",\"");
        hak_out_text(out, counters[i].name);
        hak_out_text(out, "\":");
        hak_out_u64(out, hakmem_counter_value(i));
    }
    hak_out_text(out, "}}\n");
}

static void print_table(hak_out *out)
{
    hak_out_text(out, "hakmem: counters (");
    hak_out_text(out, hak_mode_name(hak_opt.mode));
    hak_out_text(out, ", pid ");
    hak_out_u64(out, (uint64_t)getpid());
    hak_out_text(out, ")\n");
    for (unsigned i = 0; i < HAK_COUNT_OF(counters); i++) {
        uint64_t value = hakmem_counter_value(i);
        if (value == 0)
            continue;
        hak_out_text(out, "hakmem:   ");
        hak_out_pad_text(out, counters[i].name, NAME_WIDTH);
        hak_out_pad_u64(out, value, VALUE_WIDTH);
        hak_out_text(out, "  ");
        hak_out_text(out, counters[i].help);
        hak_out_text(out, "\n");
    }
}

static void print_summary(hak_out *out)
{
    static const unsigned shown[] = {
        HAK_COUNT_FREE_TLS_SLL,
        HAK_COUNT_FREE_SS_REMOTE,
        HAK_COUNT_REFILL_SLAB,
        HAK_COUNT_CONTEXT_SAMPLED,
        HAK_HEAP_COUNTER_COUNT + HAK_COUNT_LARGE_ALLOC,
        HAK_HEAP_COUNTER_COUNT + HAK_COUNT_BIGCACHE_HIT,
        HAK_HEAP_COUNTER_COUNT + HAK_COUNT_TRACKED_FREE,
    };
    hak_out_text(out, "hakmem: ");
    hak_out_text(out, hak_mode_name(hak_opt.mode));
    hak_out_text(out, ":");
    for (unsigned i = 0; i < HAK_COUNT_OF(shown); i++) {
        hak_out_text(out, i == 0 ? " " : ", ");
        hak_out_text(out, counters[shown[i]].name);
        hak_out_text(out, " ");
        hak_out_u64(out, hakmem_counter_value(shown[i]));
    }
    hak_out_text(out, "\n");
}

/* The file's name; options.c bounds the pattern, so it fits. */
static const char *expand(hak_out *name, const char *pattern)
{
    hak_out_init(name, -1);
    const char *mark = strstr(pattern, "%p");
    hak_out_bytes(name, pattern, mark != NULL ? (size_t)(mark - pattern) : strlen(pattern));
    if (mark != NULL) {
        hak_out_u64(name, (uint64_t)getpid());
        hak_out_text(name, mark + 2);
    }
    hak_out_bytes(name, "", 1);
    return name->text;
}

/* stderr, a descriptor to be closed, or -1. Never waits for a FIFO's reader, follows no link, and writes to
 * nothing but a regular file. */
static int open_output(void)
{
    if (hak_opt.stats_path == NULL)
        return STDERR_FILENO;
    hak_out name;
    int fd = open(expand(&name, hak_opt.stats_path),
                  O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    struct stat about;
    if (fd >= 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode))
        return fd;
    if (fd >= 0)
        close(fd);
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem: HAKMEM_STATS_FILE: not a file that can be written; the counters are lost\n");
    hak_out_flush(&out);
    return -1;
}

void hak_stats_print(hak_stats_shape shape)
{
    int saved = errno;
    int fd = open_output();
    if (fd < 0) {
        errno = saved;
        return;
    }
    hak_out out;
    hak_out_init(&out, fd);
    switch (shape) {
    case HAK_STATS_SHAPE_SUMMARY:
        print_summary(&out);
        break;
    case HAK_STATS_SHAPE_TABLE:
        print_table(&out);
        break;
    case HAK_STATS_SHAPE_JSON:
        print_json(&out);
        break;
    }
    hak_out_flush(&out);
    if (fd != STDERR_FILENO)
        close(fd);
    errno = saved;
}
