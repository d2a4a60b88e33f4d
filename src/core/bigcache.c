/* bigcache.c: freed large blocks, kept by size class for the next of that size; see large.h.
 *
 * Eight classes per doubling. A block found may be larger than asked for by bigcache_fit_percent. What is
 * kept is bounded by blocks per class, by bytes, and by a share of the live bytes: an idle process keeps
 * little. Thermal classes: how many large operations ago the class was last asked for. hot and warm are kept
 * as most recent, cold ones are the next to be evicted. Evicted blocks are unmapped in batches (or one by
 * one, without the batch feature), outside the lock. Any thread; state under hak_bigcache_lock. */
#include "core/large.h"

#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/options.h"
#include "core/stats.h"

#define STEPS       8 /* classes per doubling */
#define STEPS_SHIFT 3
#define FIRST_SHIFT 16 /* 64 KiB */
#define HOT_OPS     32 /* asked for within so many large operations */
#define WARM_OPS    512
#define KEEP_MIN_BYTES                                                                                       \
    (40 * HAK_MIB) /* kept whatever is live: a process that works with few large blocks                      \
                    */
#define NS_PER_MS UINT64_C(1000000)

hak_lock hak_bigcache_lock = HAK_LOCK_INIT(HAK_RANK_BIGCACHE);

static struct {
    hak_large *first;
    uint32_t count;
    uint64_t asked_op;  /* large_ops when last asked for, plus 1; 0: never */
    uint64_t before_op; /* the time before that */
} classes[HAK_LARGE_CLASSES];

static uint64_t large_ops;
static hak_large *newest, *oldest;
static size_t cached_bytes;
static hak_large *batch; /* evicted, not yet unmapped; linked by class_next */
static size_t batch_bytes;

unsigned hak_large_class(size_t bytes)
{
    if (bytes <= (size_t)1 << FIRST_SHIFT)
        return 0;
    unsigned shift = hak_log2_floor(bytes - 1);
    unsigned step = (unsigned)((bytes - 1) >> (shift - STEPS_SHIFT)) & (STEPS - 1);
    unsigned index = (shift - FIRST_SHIFT) * STEPS + step + 1;
    return index < HAK_LARGE_CLASSES ? index : HAK_LARGE_CLASSES - 1;
}

size_t hak_large_class_bytes(unsigned index)
{
    if (index == 0)
        return (size_t)1 << FIRST_SHIFT;
    unsigned shift = FIRST_SHIFT + (index - 1) / STEPS;
    size_t step = (size_t)1 << (shift - STEPS_SHIFT);
    return ((size_t)1 << shift) + ((index - 1) % STEPS + 1) * step;
}

static hak_thermal heat_of(unsigned index)
{
    uint64_t before = classes[index].before_op;
    uint64_t since = large_ops - before;
    return before == 0        ? HAK_THERMAL_COLD
           : since < HOT_OPS  ? HAK_THERMAL_HOT
           : since < WARM_OPS ? HAK_THERMAL_WARM
                              : HAK_THERMAL_COLD;
}

hak_thermal hak_bigcache_heat(unsigned index)
{
    hak_lock_take(&hak_bigcache_lock);
    hak_thermal heat = heat_of(index);
    hak_lock_give(&hak_bigcache_lock);
    return heat;
}

static void unlink_cached(hak_large *large)
{
    if (large->class_prev != NULL)
        large->class_prev->class_next = large->class_next;
    else
        classes[large->class_index].first = large->class_next;
    if (large->class_next != NULL)
        large->class_next->class_prev = large->class_prev;
    if (large->age_prev != NULL)
        large->age_prev->age_next = large->age_next;
    else
        newest = large->age_next;
    if (large->age_next != NULL)
        large->age_next->age_prev = large->age_prev;
    else
        oldest = large->age_prev;
    classes[large->class_index].count--;
    cached_bytes -= large->map_bytes;
}

static void link_cached(hak_large *large, bool as_newest)
{
    unsigned index = large->class_index;
    large->class_prev = NULL;
    large->class_next = classes[index].first;
    if (large->class_next != NULL)
        large->class_next->class_prev = large;
    classes[index].first = large;
    large->age_prev = as_newest ? NULL : oldest;
    large->age_next = as_newest ? newest : NULL;
    if (large->age_prev != NULL)
        large->age_prev->age_next = large;
    else
        newest = large;
    if (large->age_next != NULL)
        large->age_next->age_prev = large;
    else
        oldest = large;
    classes[index].count++;
    cached_bytes += large->map_bytes;
}

/* The class whose blocks the mapping can serve: it holds at least the class's bytes. */
static unsigned class_served(const hak_large *large)
{
    unsigned index = hak_large_class(hak_large_usable(large));
    return index > 0 && hak_large_class_bytes(index) > hak_large_usable(large) ? index - 1 : index;
}

hak_large *hak_bigcache_take(size_t bytes)
{
    unsigned index = hak_large_class(bytes);
    size_t most = bytes + bytes / 100 * hak_knob_bytes(HAK_KNOB_BIGCACHE_FIT_PERCENT);
    hak_lock_take(&hak_bigcache_lock);
    classes[index].before_op = classes[index].asked_op;
    classes[index].asked_op = ++large_ops;
    hak_large *found = classes[index].first;
    for (unsigned next = index + 1;
         found == NULL && next < HAK_LARGE_CLASSES && hak_large_class_bytes(next) <= most; next++)
        found = classes[next].first;
    if (found != NULL)
        unlink_cached(found);
    hak_lock_give(&hak_bigcache_lock);
    hak_count(found != NULL ? HAK_COUNT_BIGCACHE_HIT : HAK_COUNT_BIGCACHE_MISS, 1);
    return found;
}

/* Puts an evicted block into the batch; returns what is to be unmapped now. */
static hak_large *evict(hak_large *large, hak_large *out)
{
    unlink_cached(large);
    hak_count(HAK_COUNT_BIGCACHE_EVICTED, 1);
    if (!hak_feature_on(HAK_FEATURE_BATCH)) {
        large->class_next = out;
        return large;
    }
    large->class_next = batch;
    batch = large;
    batch_bytes += large->map_bytes;
    return out;
}

static size_t unmap_list(hak_large *large)
{
    size_t bytes = 0;
    while (large != NULL) {
        hak_large *next = large->class_next;
        bytes += large->map_bytes;
        hak_large_unmap(large);
        large = next;
    }
    return bytes;
}

static size_t limit_bytes(size_t live)
{
    size_t share = live / 100 * hak_knob_bytes(HAK_KNOB_BIGCACHE_KEEP_PERCENT);
    size_t most = hak_knob_bytes(HAK_KNOB_BIGCACHE_BYTES);
    size_t limit = share > KEEP_MIN_BYTES ? share : KEEP_MIN_BYTES;
    return limit < most ? limit : most;
}

static bool as_newest(const hak_large *large, hak_thermal heat)
{
    switch ((hak_site_retention)large->plan.retention) {
    case HAK_RETENTION_KEEP:
        return true;
    case HAK_RETENTION_BATCH:
        return false;
    case HAK_RETENTION_DEFAULT:
        if (hak_opt.free_policy != HAK_FREE_ADAPTIVE)
            return hak_opt.free_policy == HAK_FREE_KEEP;
        break;
    case HAK_RETENTION_ADAPTIVE:
        break;
    }
    return !hak_feature_on(HAK_FEATURE_THERMAL) || heat != HAK_THERMAL_COLD;
}

void hak_bigcache_put(hak_large *large, size_t live_bytes)
{
    hak_large *out = NULL;
    size_t limit = limit_bytes(live_bytes);
    size_t batch_limit = hak_knob_bytes(HAK_KNOB_PURGE_BATCH_BYTES);
    unsigned ways = (unsigned)hak_opt.knobs[HAK_KNOB_BIGCACHE_WAYS];
    large->class_index = (uint16_t)class_served(large);
    hak_lock_take(&hak_bigcache_lock);
    large_ops++;
    hak_thermal heat = heat_of(large->class_index);
    large->state = HAK_LARGE_CACHED;
    link_cached(large, as_newest(large, heat));
    if (classes[large->class_index].count > ways) {
        hak_large *last = classes[large->class_index].first;
        while (last->class_next != NULL)
            last = last->class_next;
        out = evict(last, out);
    }
    while (cached_bytes > limit && newest != oldest)
        out = evict(oldest, out);
    if (cached_bytes > hak_knob_bytes(HAK_KNOB_BIGCACHE_BYTES) + limit / 4)
        out = evict(newest, out);
    if (batch_bytes > batch_limit) {
        hak_large *last = batch;
        while (last->class_next != NULL)
            last = last->class_next;
        last->class_next = out;
        out = batch;
        batch = NULL;
        batch_bytes = 0;
        hak_count(HAK_COUNT_PURGE_BATCH, 1);
    }
    hak_lock_give(&hak_bigcache_lock);
    hak_count(HAK_COUNT_BIGCACHE_KEPT, 1);
    if (hak_feature_on(HAK_FEATURE_THERMAL))
        hak_count(HAK_COUNT_FREE_HOT + heat, 1);
    if (out != NULL)
        hak_count(HAK_COUNT_PURGE_BYTES, unmap_list(out));
}

size_t hak_bigcache_bytes(void)
{
    hak_lock_take(&hak_bigcache_lock);
    size_t bytes = cached_bytes + batch_bytes;
    hak_lock_give(&hak_bigcache_lock);
    return bytes;
}

size_t hak_bigcache_trim(void)
{
    hak_lock_take(&hak_bigcache_lock);
    hak_large *out = batch;
    batch = NULL;
    batch_bytes = 0;
    while (oldest != NULL) {
        hak_large *large = oldest;
        unlink_cached(large);
        large->class_next = out;
        out = large;
    }
    hak_lock_give(&hak_bigcache_lock);
    return unmap_list(out);
}
