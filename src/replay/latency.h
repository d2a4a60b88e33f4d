/* latency.h: how long single calls took, per entry point: a histogram of 16 buckets to each power of two, so
 * that a value is known to about 6%. Written by many threads (relaxed counters: they only are added up), read
 * when they are done. */
#ifndef HAK_REPLAY_LATENCY_H
#define HAK_REPLAY_LATENCY_H

#include "core/base/bits.h"

/* Columns: name, text. */
#define HAK_LATENCY_POINTS(X)                                                                                \
    X(MALLOC, "malloc")                                                                                      \
    X(CALLOC, "calloc")                                                                                      \
    X(REALLOC, "realloc")                                                                                    \
    X(ALIGNED, "aligned")                                                                                    \
    X(NEW, "new")                                                                                            \
    X(FREE, "free")                                                                                          \
    X(DELETE, "delete")

typedef enum hak_latency_point {
#define X(name, text) HAK_LATENCY_##name,
    HAK_LATENCY_POINTS(X)
#undef X
        HAK_LATENCY_POINT_COUNT
} hak_latency_point;

#define HAK_LATENCY_STEPS   16u
#define HAK_LATENCY_BUCKETS (48u * HAK_LATENCY_STEPS) /* to 2^51 ticks: longer ones count as that */

typedef struct hak_latency {
    _Atomic uint64_t buckets[HAK_LATENCY_BUCKETS];
    _Atomic uint64_t max;
} hak_latency;

/* Values up to 15 have a bucket each. */
HAK_INLINE uint32_t hak_latency_bucket(uint64_t value)
{
    if (value < HAK_LATENCY_STEPS)
        return (uint32_t)value;
    unsigned log2 = hak_log2_floor(value);
    uint64_t bucket =
        (log2 - 3) * (uint64_t)HAK_LATENCY_STEPS + (value >> (log2 - 4) & (HAK_LATENCY_STEPS - 1));
    return bucket < HAK_LATENCY_BUCKETS ? (uint32_t)bucket : HAK_LATENCY_BUCKETS - 1;
}

/* The smallest value of a bucket. */
HAK_INLINE uint64_t hak_latency_floor(uint32_t bucket)
{
    if (bucket < HAK_LATENCY_STEPS)
        return bucket;
    unsigned log2 = bucket / HAK_LATENCY_STEPS + 3;
    return (uint64_t)(HAK_LATENCY_STEPS + bucket % HAK_LATENCY_STEPS) << (log2 - 4);
}

HAK_INLINE void hak_latency_note(hak_latency *latency, uint64_t value)
{
    atomic_fetch_add_explicit(&latency->buckets[hak_latency_bucket(value)], 1, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&latency->max, memory_order_relaxed);
    while (HAK_UNLIKELY(value > max) &&
           !atomic_compare_exchange_weak_explicit(&latency->max, &max, value, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

HAK_INLINE uint64_t hak_latency_count(const hak_latency *latency)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < HAK_LATENCY_BUCKETS; i++)
        count += atomic_load_explicit(&latency->buckets[i], memory_order_relaxed);
    return count;
}

/* The value that `share` (0 … 1) of the values do not exceed, by the middle of its bucket; 0 for none. */
HAK_INLINE double hak_latency_quantile(const hak_latency *latency, double share)
{
    uint64_t count = hak_latency_count(latency), seen = 0;
    uint64_t rank = (uint64_t)(share * (double)count);
    if (count == 0)
        return 0;
    for (uint32_t i = 0; i < HAK_LATENCY_BUCKETS - 1; i++) {
        seen += atomic_load_explicit(&latency->buckets[i], memory_order_relaxed);
        if (seen > rank || seen == count)
            return ((double)hak_latency_floor(i) + (double)hak_latency_floor(i + 1) - 1) / 2;
    }
    return (double)atomic_load_explicit(&latency->max, memory_order_relaxed);
}

#endif
