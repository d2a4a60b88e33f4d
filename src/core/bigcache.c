/* bigcache.c: what becomes of freed large blocks; see large.h. The blocks are spans (span.h), so what is kept
 * serves every size. This file decides how much stays resident and in which order it is given back.
 *
 * The bound: a share of the live bytes, and at least keep_bytes. keep_bytes starts at KEEP_LEAST and grows by
 * what was asked for again soon after it had been given back ("regret"), so a program that takes and frees
 * large blocks all the time pays for their pages only at first, while one that frees a burst and rests keeps
 * little, without a thread or a call of ours. Thermal classes: how many large operations ago a size was last
 * asked for. Cold ones are the next to be given back. Any thread; state under hak_bigcache_lock. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/options.h"
#include "core/span.h"
#include "core/stats.h"

#define STEPS       8 /* classes per doubling */
#define STEPS_SHIFT 3
#define FIRST_SHIFT 16 /* 64 KiB */
#define HOT_OPS     32 /* asked for within so many large operations */
#define WARM_OPS    512
#define KEEP_LEAST  (16 * HAK_MIB)
#define KEEP_MOST   (56 * HAK_MIB)
#define REGRET_NS   (UINT64_C(500) * 1000000) /* what is asked for later was rightly given back */
#define BATCH_SHARE 4                         /* a batch is at most this part of what is kept */
#define NS_PER_MS   UINT64_C(1000000)
#define GROW_MOST   (32 * HAK_MIB) /* room taken at once by a growing block */

hak_lock hak_bigcache_lock = HAK_LOCK_INIT(HAK_RANK_BIGCACHE);

static struct {
    uint64_t asked_op;  /* large_ops when last asked for, plus 1; 0: never */
    uint64_t before_op; /* the time before that */
} classes[HAK_LARGE_CLASSES];

static uint64_t large_ops;
static size_t keep_bytes = KEEP_LEAST;
static size_t purged_bytes; /* given back since purged_ns less REGRET_NS, not asked for since */
static uint64_t purged_ns;
static uint64_t excess_ns; /* since when hot sizes keep more idle than the bound; 0: they do not */

unsigned hak_large_class(size_t bytes)
{
    if (bytes <= (size_t)1 << FIRST_SHIFT)
        return 0;
    unsigned shift = hak_log2_floor(bytes - 1);
    unsigned step = (unsigned)((bytes - 1) >> (shift - STEPS_SHIFT)) & (STEPS - 1);
    unsigned index = (shift - FIRST_SHIFT) * STEPS + step + 1;
    return index < HAK_LARGE_CLASSES ? index : HAK_LARGE_CLASSES - 1;
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

static void asked(unsigned index)
{
    classes[index].before_op = classes[index].asked_op;
    classes[index].asked_op = ++large_ops;
}

/* Memory that is not resident was asked for. Under the lock. */
static void regret(size_t bytes)
{
    if (purged_bytes == 0 || bytes == 0)
        return;
    if (hak_os_monotonic_ns() - purged_ns > REGRET_NS) {
        purged_bytes = 0;
        keep_bytes = KEEP_LEAST;
        return;
    }
    size_t sorry = bytes < purged_bytes ? bytes : purged_bytes;
    purged_bytes -= sorry;
    hak_count(HAK_COUNT_PURGE_REGRET, sorry);
    keep_bytes = keep_bytes + sorry < KEEP_MOST ? keep_bytes + sorry : KEEP_MOST;
}

/* HAKMEM_FREE_POLICY=keep and batch: all that may be kept, or nothing but a batch. */
static size_t limit_bytes(void)
{
    if (hak_opt.free_policy == HAK_FREE_KEEP)
        return hak_knob_bytes(HAK_KNOB_BIGCACHE_BYTES);
    if (hak_opt.free_policy == HAK_FREE_BATCH)
        return 0;
    size_t share = hak_large_live_bytes() / 100 * hak_knob_bytes(HAK_KNOB_BIGCACHE_KEEP_PERCENT);
    size_t most = hak_knob_bytes(HAK_KNOB_BIGCACHE_BYTES);
    size_t limit = share > keep_bytes ? share : keep_bytes;
    return limit < most ? limit : most;
}

static void set_room(hak_large *large, size_t bytes)
{
    large->bytes = bytes;
    large->room_bytes = large->growing ? hak_align_up(bytes, HAK_OS_PAGE_BYTES)
                                       : large->units * HAK_UNIT_BYTES - hak_span_lead();
}

hak_large *hak_bigcache_take(size_t bytes, bool zero, bool growing, const hak_large_plan *plan)
{
    unsigned index = hak_large_class(bytes);
    uint32_t units = hak_units_for(bytes + hak_span_lead()), dirty = 0;
    if (units > HAK_SPAN_MAX_UNITS)
        return NULL;
    hak_lock_take(&hak_bigcache_lock);
    asked(index);
    hak_large *large = hak_span_take(units, growing, &dirty);
    if (large != NULL) {
        regret((units - dirty) * HAK_UNIT_BYTES);
        large->class_index = (uint16_t)index;
        large->plan = *plan;
        large->block += hak_span_lead();
        set_room(large, bytes);
    }
    hak_lock_give(&hak_bigcache_lock);
    if (large == NULL)
        return NULL;
    hak_count(2 * dirty >= units ? HAK_COUNT_BIGCACHE_HIT : HAK_COUNT_BIGCACHE_MISS, 1);
    if (growing)
        hak_count(HAK_COUNT_GROW_PLACED, 1);
    if (zero && dirty != 0)
        hak_span_zero(large, bytes + hak_span_lead());
    return large;
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

/* purge_delay_hot_ms: what hot sizes leave idle will be asked for again, so that it waits above the bound,
 * within bigcache_bytes. Under the lock. */
static bool put_off(hak_thermal heat, size_t idle_bytes, size_t limit)
{
    uint64_t delay_ns = (uint64_t)hak_opt.knobs[HAK_KNOB_PURGE_DELAY_HOT_MS] * NS_PER_MS;
    if (delay_ns == 0)
        return false;
    if (idle_bytes <= limit || heat != HAK_THERMAL_HOT || !hak_feature_on(HAK_FEATURE_THERMAL) ||
        hak_opt.free_policy == HAK_FREE_BATCH || idle_bytes > hak_knob_bytes(HAK_KNOB_BIGCACHE_BYTES)) {
        excess_ns = 0;
        return false;
    }
    uint64_t now_ns = hak_os_monotonic_ns();
    if (excess_ns == 0)
        excess_ns = now_ns;
    bool young = now_ns - excess_ns < delay_ns;
    excess_ns = young ? excess_ns : 0;
    return young;
}

/* Gives back what is above the bound, in batches, or at once without the batch feature. */
static void purge_excess(size_t idle_bytes, size_t limit)
{
    size_t batch = hak_knob_bytes(HAK_KNOB_PURGE_BATCH_BYTES);
    if (hak_opt.free_policy != HAK_FREE_BATCH && batch > limit / BATCH_SHARE)
        batch = limit / BATCH_SHARE;
    bool batched = hak_feature_on(HAK_FEATURE_BATCH);
    if (idle_bytes <= limit + (batched ? batch : 0))
        return;
    size_t given = hak_span_purge((uint32_t)(limit / HAK_UNIT_BYTES));
    uint64_t now_ns = hak_os_monotonic_ns();
    hak_lock_take(&hak_bigcache_lock);
    purged_bytes = now_ns - purged_ns > REGRET_NS ? given : purged_bytes + given;
    purged_ns = now_ns;
    hak_lock_give(&hak_bigcache_lock);
    hak_count(HAK_COUNT_BIGCACHE_EVICTED, 1);
    hak_count(HAK_COUNT_PURGE_BYTES, given);
    if (batched)
        hak_count(HAK_COUNT_PURGE_BATCH, 1);
}

void hak_bigcache_put(hak_large *large)
{
    hak_lock_take(&hak_bigcache_lock);
    large_ops++;
    hak_thermal heat = heat_of(large->class_index);
    hak_span_give(large, large->room_bytes + hak_span_lead(), as_newest(large, heat));
    size_t idle_bytes = hak_span_idle() * HAK_UNIT_BYTES, limit = limit_bytes();
    bool waits = put_off(heat, idle_bytes, limit);
    hak_lock_give(&hak_bigcache_lock);
    hak_count(HAK_COUNT_BIGCACHE_KEPT, 1);
    if (hak_feature_on(HAK_FEATURE_THERMAL))
        hak_count(HAK_COUNT_FREE_HOT + heat, 1);
    if (waits)
        hak_count(HAK_COUNT_PURGE_PUT_OFF, 1);
    else
        purge_excess(idle_bytes, limit);
}

bool hak_bigcache_grow(hak_large *large, size_t bytes)
{
    if (bytes > HAK_SPAN_MAX_UNITS * HAK_UNIT_BYTES)
        return false; /* more than its units could be counted in */
    uint32_t units = hak_units_for(bytes + hak_span_lead()), dirty = 0;
    bool fits = units <= large->units;
    if (!fits) {
        uint32_t least = units - large->units;
        size_t room = bytes < GROW_MOST / 4 ? 4 * bytes : bytes + GROW_MOST;
        uint32_t most = large->growing ? hak_units_for(room) - large->units : least;
        uint32_t before = large->units;
        hak_lock_take(&hak_bigcache_lock);
        fits = hak_span_grow(large, least, most, &dirty);
        if (fits)
            regret((large->units - before - dirty) * HAK_UNIT_BYTES);
        hak_lock_give(&hak_bigcache_lock);
    }
    if (fits)
        set_room(large, bytes);
    return fits;
}

void hak_bigcache_shrink(hak_large *large, size_t bytes)
{
    uint32_t units = hak_units_for(bytes + hak_span_lead());
    large->bytes = bytes;
    if (units >= large->units)
        return; /* its room tells how far it was written */
    hak_lock_take(&hak_bigcache_lock);
    hak_span_shrink(large, units, large->room_bytes + hak_span_lead(), true);
    set_room(large, bytes);
    hak_lock_give(&hak_bigcache_lock);
}

void hak_bigcache_emptied(hak_large *large, size_t moved_bytes)
{
    hak_lock_take(&hak_bigcache_lock);
    hak_span_emptied(large, moved_bytes / HAK_UNIT_BYTES);
    hak_span_give(large, 0, true);
    hak_lock_give(&hak_bigcache_lock);
}

size_t hak_bigcache_bytes(void)
{
    hak_lock_take(&hak_bigcache_lock);
    size_t bytes = hak_span_idle() * HAK_UNIT_BYTES;
    hak_lock_give(&hak_bigcache_lock);
    return bytes;
}

size_t hak_bigcache_trim(void)
{
    size_t purged = hak_span_purge(0);
    hak_lock_take(&hak_bigcache_lock);
    size_t unmapped = hak_span_release();
    hak_lock_give(&hak_bigcache_lock);
    return purged > unmapped ? purged : unmapped;
}
