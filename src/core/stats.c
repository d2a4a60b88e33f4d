/* stats.c: names, sums and printing of the counters of stats.h. Never allocates. Any thread. */
#include "core/stats.h"

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

HAK_EXPORT uint64_t hakmem_counter_value(unsigned index)
{
    if (index < HAK_HEAP_COUNTER_COUNT)
        return hak_heap_counter_sum((hak_heap_counter)index);
    if (index < HAK_COUNT_OF(counters))
        return atomic_load_explicit(&hak_process_counters[index - HAK_HEAP_COUNTER_COUNT],
                                    memory_order_relaxed);
    return 0;
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

void hak_stats_print(hak_stats_shape shape)
{
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
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
}
