/* superslab.c: see superslab.h. All state under hak_pool_lock; never allocates from malloc. Concurrency: any
 * thread. */
#include "core/superslab.h"

#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/chunks.h"
#include "core/first_fit.h"
#include "core/options.h"
#include "core/stats.h"

#define ALL_UNITS  UINT32_MAX
#define NS_PER_MS  UINT64_C(1000000)
#define LIVE_SHARE 100 /* purge_keep_percent is of this */
/* Empty SuperSlabs may be so many times what may stay resident: they cost addresses, hardly any memory. */
#define EMPTY_SHARE 4
#define REGRET_NS   (500 * NS_PER_MS) /* what is wanted later was rightly given back */
#define REGRET_MOST (40 * HAK_MIB)    /* that is kept because of it, and what is kept besides */
#define IDLE_MOST   (48 * HAK_MIB)    /* the same with a batch that waits to be given back */
#define BATCH_SHARE 8

hak_lock hak_pool_lock = HAK_LOCK_INIT(HAK_RANK_POOL);
hak_lock hak_purge_lock = HAK_LOCK_INIT(HAK_RANK_PURGE);

static hak_superslab *all_supers;
static hak_superslab *dirty_first, *dirty_last;
static size_t super_count;
static size_t bulk_count;  /* of them with huge pages */
static size_t empty_count; /* SuperSlabs without a used unit */
static size_t used_bytes;
static size_t dirty_bytes;
static size_t bulk_dirty_bytes; /* of them in bulk SuperSlabs */
static size_t regret_bytes;     /* kept besides: given back and soon wanted again */
static size_t purged_bytes;     /* given back since purged_ns less REGRET_NS, not wanted since */
static uint64_t purged_ns;

static unsigned fit_of(uint32_t free_units)
{
    if (free_units == 0)
        return HAK_FIT_NONE;
    uint32_t runs = free_units & ~1u;
    unsigned length = 0;
    for (; runs != 0; runs &= runs >> 1)
        length++;
    return length != 0 ? HAK_FIT_RUN(length) : HAK_FIT_UNIT_0;
}

static uint32_t mask_of(unsigned first, unsigned units)
{
    return (units == HAK_UNITS ? ALL_UNITS : (1u << units) - 1) << first;
}

static size_t unit_bytes(uint32_t units)
{
    return (size_t)__builtin_popcount(units) * HAK_UNIT_BYTES;
}

static void count_dirty(const hak_superslab *super, ptrdiff_t bytes)
{
    dirty_bytes += (size_t)bytes;
    bulk_dirty_bytes += super->bulk ? (size_t)bytes : 0;
}

static void dirty_unlink(hak_superslab *super)
{
    if (!super->dirty_linked)
        return;
    if (super->dirty_prev != NULL)
        super->dirty_prev->dirty_next = super->dirty_next;
    else
        dirty_first = super->dirty_next;
    if (super->dirty_next != NULL)
        super->dirty_next->dirty_prev = super->dirty_prev;
    else
        dirty_last = super->dirty_prev;
    super->dirty_linked = false;
}

static void dirty_link_last(hak_superslab *super, uint64_t now_ns)
{
    dirty_unlink(super);
    super->dirty_since_ns = now_ns;
    super->dirty_prev = dirty_last;
    super->dirty_next = NULL;
    if (dirty_last != NULL)
        dirty_last->dirty_next = super;
    else
        dirty_first = super;
    dirty_last = super;
    super->dirty_linked = true;
}

/* Small programs pay for huge pages with memory they never asked for. So automatic use starts behind
 * thp_first_bytes, so many for each thread, but for what is known to be wanted (thp_known_bytes); and it is
 * for slabs of which there are many: all else lies apart, in small pages. */
static bool bulk_wanted(void)
{
    if (!hak_feature_on(HAK_FEATURE_THP) || hak_opt.knobs[HAK_KNOB_THP] != HAK_THP_MODE_AUTO)
        return false;
    size_t heaps = atomic_load_explicit(&hak_process_counters[HAK_COUNT_HEAP_NEW], memory_order_relaxed);
    size_t first = hak_knob_bytes(HAK_KNOB_THP_FIRST_BYTES) * (heaps > 1 ? heaps : 1);
    return super_count * HAK_SUPERSLAB_BYTES >= first ||
           (bulk_count + 1) * HAK_SUPERSLAB_BYTES <= hak_knob_bytes(HAK_KNOB_THP_KNOWN_BYTES);
}

/* Without the feature the kernel's own setting stands. Before anything is written to the chunk: where one OS
 * page is there, the kernel makes no huge page any more. */
static hak_chunk_pages pages_wanted(bool bulk)
{
    if (!hak_feature_on(HAK_FEATURE_THP))
        return HAK_PAGES_SYSTEM;
    bool huge = bulk || hak_opt.knobs[HAK_KNOB_THP] == HAK_THP_MODE_ON;
    hak_count(huge ? HAK_COUNT_THP_ON : HAK_COUNT_THP_OFF, 1);
    return huge ? HAK_PAGES_HUGE : HAK_PAGES_SMALL;
}

static hak_superslab *super_new(bool bulk)
{
    hak_superslab *super = hak_chunk_take(pages_wanted(bulk));
    if (super == NULL)
        return NULL;
    super->bulk = bulk;
    if (!hak_first_fit_add(super)) {
        hak_chunk_empty(super);
        hak_chunk_give(super);
        return NULL;
    }
    hak_count(HAK_COUNT_SUPERSLAB_NEW, 1);
    super->free_units = ALL_UNITS;
    super->all_next = all_supers;
    if (all_supers != NULL)
        all_supers->all_prev = super;
    all_supers = super;
    super_count++;
    bulk_count += bulk;
    empty_count++;
    hak_first_fit_set(super, fit_of(super->free_units));
    hak_page_map_set(super, 1, HAK_CHUNK_SUPERSLAB);
    return super;
}

/* Returns the bytes that may have been resident. Its chunk comes back as a whole: with a huge page, where a
 * SuperSlab whose units alone were given back would be faulted in by small pages. Under both locks; the
 * pool's is let go meanwhile. */
static size_t super_unmap(hak_superslab *super)
{
    size_t resident = unit_bytes(super->dirty_units);
    hak_page_map_set(super, 1, HAK_CHUNK_FOREIGN);
    dirty_unlink(super);
    count_dirty(super, -(ptrdiff_t)resident);
    hak_first_fit_remove(super);
    if (super->all_prev != NULL)
        super->all_prev->all_next = super->all_next;
    else
        all_supers = super->all_next;
    if (super->all_next != NULL)
        super->all_next->all_prev = super->all_prev;
    super_count--;
    bulk_count -= super->bulk;
    empty_count--;
    hak_lock_give(&hak_pool_lock);
    hak_chunk_empty(super);
    hak_lock_take(&hak_pool_lock);
    hak_chunk_give(super);
    hak_count(HAK_COUNT_SUPERSLAB_FREED, 1);
    return resident;
}

/* Takes the units out of the free ones; true when all of them are known to be zero. */
static bool claim(hak_superslab *super, uint32_t units)
{
    uint32_t dirty = super->dirty_units & units;
    if (super->free_units == ALL_UNITS)
        empty_count--;
    count_dirty(super, -(ptrdiff_t)unit_bytes(dirty));
    super->free_units &= ~units;
    super->dirty_units &= ~units;
    if (super->dirty_units == 0)
        dirty_unlink(super);
    used_bytes += unit_bytes(units);
    hak_first_fit_set(super, fit_of(super->free_units));
    return dirty == 0;
}

/* Some of the units are dirty. */
static void unclaim(hak_superslab *super, uint32_t units, uint32_t dirty)
{
    super->free_units |= units;
    super->dirty_units |= dirty;
    count_dirty(super, (ptrdiff_t)unit_bytes(dirty));
    used_bytes -= unit_bytes(units);
    if (super->free_units == ALL_UNITS)
        empty_count++;
    hak_first_fit_set(super, fit_of(super->free_units));
}

/* A call per run of units; returns those that were given back. */
static uint32_t purge_units(hak_superslab *super, uint32_t left)
{
    uint32_t purged = 0;
    while (left != 0) {
        unsigned first = (unsigned)__builtin_ctz(left);
        uint32_t rest = ~(left >> first);
        unsigned units = rest == 0 ? HAK_UNITS - first : (unsigned)__builtin_ctz(rest);
        if (units > HAK_UNITS - first)
            units = HAK_UNITS - first;
        uint32_t mask = mask_of(first, units);
        char *from = hak_unit_address(super, first);
        hak_count(HAK_COUNT_UNIT_PURGE, 1);
        if (hak_os_purge(from, (size_t)((char *)super + (first + units) * HAK_UNIT_BYTES - from)))
            purged |= mask;
        left &= ~mask;
    }
    return purged;
}

/* Gives the dirty units of one SuperSlab back; they count as used meanwhile. Where the kernel refuses they
 * stay dirty, out of the list, so that nobody believes them to be zero and nobody asks again at once. Under
 * both locks; the pool's is let go meanwhile. */
static size_t purge_super(hak_superslab *super)
{
    uint32_t dirty = super->dirty_units;
    claim(super, dirty);
    hak_lock_give(&hak_pool_lock);
    uint32_t purged = purge_units(super, dirty);
    hak_lock_take(&hak_pool_lock);
    unclaim(super, dirty, dirty & ~purged);
    return unit_bytes(purged);
}

/* Idle bytes allowed to stay resident. */
static size_t keep_bytes(void)
{
    size_t share = used_bytes / LIVE_SHARE * hak_knob_bytes(HAK_KNOB_PURGE_KEEP_PERCENT);
    size_t floor = hak_knob_bytes(HAK_KNOB_SUPERSLAB_KEEP_BYTES);
    floor = floor < REGRET_MOST - regret_bytes ? floor + regret_bytes
            : floor > REGRET_MOST              ? floor
                                               : REGRET_MOST;
    return share > floor ? share : floor;
}

/* Units that are not resident were taken: as bigcache.c does, a program that frees and takes in turns pays
 * for its memory only at first, and one that frees a burst and rests keeps little. */
static void regret(size_t bytes)
{
    if (purged_bytes == 0)
        return;
    if (hak_os_monotonic_ns() - purged_ns > REGRET_NS) {
        purged_bytes = regret_bytes = 0;
        return;
    }
    size_t sorry = bytes < purged_bytes ? bytes : purged_bytes;
    purged_bytes -= sorry;
    hak_count(HAK_COUNT_PURGE_REGRET, sorry);
    regret_bytes = regret_bytes + sorry < REGRET_MOST ? regret_bytes + sorry : REGRET_MOST;
}

/* Whether so much is idle that some is to be given back. Without the feature nothing waits. */
static bool has_excess(uint64_t now_ns)
{
    if (!hak_feature_on(HAK_FEATURE_BATCH))
        return dirty_first != NULL;
    size_t keep = keep_bytes();
    size_t batch = hak_knob_bytes(HAK_KNOB_PURGE_BATCH_BYTES);
    size_t most = regret_bytes == 0 ? batch : keep < IDLE_MOST ? IDLE_MOST - keep : keep / BATCH_SHARE;
    batch = batch < most ? batch : most;
    uint64_t delay_ns = (uint64_t)hak_opt.knobs[HAK_KNOB_PURGE_DELAY_MS] * NS_PER_MS;
    bool aged = dirty_first != NULL && now_ns - dirty_first->dirty_since_ns > delay_ns && dirty_bytes > keep;
    return aged || dirty_bytes > keep + batch;
}

/* Until no more than `keep` is idle, or every SuperSlab had its turn: others free meanwhile. Under both
 * locks; the pool's is let go now and then. */
static size_t purge_to(size_t keep)
{
    size_t purged = 0;
    for (size_t turns = super_count; turns != 0 && dirty_first != NULL && dirty_bytes > keep; turns--)
        purged += dirty_first->free_units == ALL_UNITS ? super_unmap(dirty_first) : purge_super(dirty_first);
    return purged;
}

static void purge_excess(uint64_t now_ns)
{
    bool batched = hak_feature_on(HAK_FEATURE_BATCH);
    size_t purged = purge_to(batched ? keep_bytes() : 0);
    hak_count(HAK_COUNT_PURGE_BYTES, purged);
    if (!batched)
        return;
    purged_bytes = now_ns - purged_ns > REGRET_NS ? purged : purged_bytes + purged;
    purged_ns = now_ns;
    hak_count(HAK_COUNT_PURGE_BATCH, 1);
}

/* First unit of the lowest run of `units` free units in `free_units`, which has one. */
static unsigned find_run(uint32_t free_units, unsigned units)
{
    uint32_t runs = free_units;
    for (unsigned i = 1; i < units; i++)
        runs &= free_units >> i;
    return (unsigned)__builtin_ctz(runs);
}

/* Bulk fills the SuperSlabs that are for it, and when no more of them are wanted, goes where all else goes.
 * Either takes from the other's, too, once enough of them was used and is free: what is kept of one size
 * must not stand in another's way. */
static hak_superslab *find_super(unsigned units, hak_run_use use)
{
    unsigned fit = use != HAK_RUN_MID && units == 1 ? HAK_FIT_UNIT_0 : HAK_FIT_RUN(units);
    hak_superslab *super = NULL;
    if (use == HAK_RUN_BULK || bulk_dirty_bytes >= HAK_SUPERSLAB_BYTES)
        super = hak_first_fit_find(fit, true);
    if (super == NULL && use == HAK_RUN_BULK && dirty_bytes - bulk_dirty_bytes < HAK_SUPERSLAB_BYTES &&
        bulk_wanted())
        super = super_new(true);
    if (super == NULL)
        super = hak_first_fit_find(fit, false);
    if (super == NULL)
        super = super_new(false);
    return super != NULL ? super : hak_first_fit_find(fit, true);
}

/* The entries of units that are the caller's, without the lock: other threads write to the same SuperSlab's
 * header meanwhile, and each entry is lines of its own. Those of further units have but a few fields. */
static void fill_entries(hak_superslab *super, unsigned first, unsigned units)
{
    memset(&super->slabs[first], 0, sizeof(hak_slab));
    for (unsigned i = 0; i < units; i++) {
        hak_slab *entry = &super->slabs[first + i];
        entry->unit_first = (uint8_t)first;
        entry->units = (uint8_t)units;
        entry->kind = i == 0 ? HAK_SLAB_FREE : HAK_SLAB_REST;
        entry->start = hak_unit_address(super, first);
    }
}

static void clear_entries(hak_superslab *super, unsigned first, unsigned units)
{
    for (unsigned i = first; i < first + units; i++) {
        hak_slab *entry = &super->slabs[i];
        atomic_store_explicit(&entry->owner, NULL, memory_order_relaxed);
        entry->kind = HAK_SLAB_FREE;
        entry->unit_first = (uint8_t)i;
    }
}

hak_slab *hak_pool_take(unsigned units, hak_run_use use, bool *zeroed)
{
    hak_lock_take(&hak_pool_lock);
    hak_slab *run = NULL;
    hak_superslab *super = find_super(units, use);
    if (super != NULL) {
        uint32_t usable = use != HAK_RUN_MID && units == 1 ? super->free_units : super->free_units & ~1u;
        unsigned first = find_run(usable, units);
        *zeroed = claim(super, mask_of(first, units));
        if (*zeroed)
            regret(units * HAK_UNIT_BYTES);
        run = &super->slabs[first];
    }
    hak_lock_give(&hak_pool_lock);
    if (run != NULL)
        fill_entries(super, (unsigned)(run - super->slabs), units);
    return run;
}

/* The units are free from now on. Who finds another thread giving memory back leaves it at that. */
static void release(hak_superslab *super, unsigned first, unsigned units)
{
    uint64_t now_ns = hak_os_monotonic_ns();
    uint32_t mask = mask_of(first, units);
    clear_entries(super, first, units);
    hak_lock_take(&hak_pool_lock);
    unclaim(super, mask, mask);
    dirty_link_last(super, now_ns);
    bool leaves =
        super->free_units == ALL_UNITS && empty_count * HAK_SUPERSLAB_BYTES > EMPTY_SHARE * keep_bytes();
    bool excess = has_excess(now_ns);
    if ((leaves || excess) && hak_lock_try(&hak_purge_lock)) {
        if (leaves)
            hak_count(HAK_COUNT_PURGE_BYTES, super_unmap(super));
        if (excess)
            purge_excess(now_ns);
        hak_lock_give(&hak_purge_lock);
    }
    hak_lock_give(&hak_pool_lock);
}

void hak_pool_give(hak_slab *run)
{
    release(hak_superslab_of(run), run->unit_first, run->units);
}

bool hak_pool_grow(hak_slab *run, unsigned units)
{
    hak_superslab *super = hak_superslab_of(run);
    unsigned first = run->unit_first, old = run->units;
    if (first + units > HAK_UNITS)
        return false;
    uint32_t mask = mask_of(first + old, units - old);
    hak_lock_take(&hak_pool_lock);
    bool fits = (super->free_units & mask) == mask;
    if (fits) {
        claim(super, mask);
        for (unsigned i = old; i < units; i++) {
            super->slabs[first + i] =
                (hak_slab){.unit_first = (uint8_t)first, .kind = HAK_SLAB_REST, .start = run->start};
        }
        run->units = (uint8_t)units;
    }
    hak_lock_give(&hak_pool_lock);
    return fits;
}

void hak_pool_shrink(hak_slab *run, unsigned units)
{
    unsigned first = run->unit_first, old = run->units;
    if (units >= old)
        return;
    run->units = (uint8_t)units;
    release(hak_superslab_of(run), first + units, old - units);
}

static hak_superslab *find_empty(void)
{
    hak_superslab *super = all_supers;
    while (super != NULL && super->free_units != ALL_UNITS)
        super = super->all_next;
    return super;
}

size_t hak_pool_trim(void)
{
    size_t purged = 0; /* and perhaps unmapped afterwards */
    hak_lock_take(&hak_purge_lock);
    hak_lock_take(&hak_pool_lock);
    for (size_t turns = super_count; turns != 0 && empty_count != 0; turns--)
        purged += super_unmap(find_empty());
    purged += purge_to(0);
    hak_count(HAK_COUNT_PURGE_BYTES, purged);
    size_t unmapped = hak_chunk_release();
    hak_lock_give(&hak_pool_lock);
    hak_lock_give(&hak_purge_lock);
    return purged > unmapped ? purged : unmapped;
}

hak_pool_info hak_pool_info_get(void)
{
    hak_lock_take(&hak_pool_lock);
    hak_pool_info info = {super_count, used_bytes, dirty_bytes};
    hak_lock_give(&hak_pool_lock);
    return info;
}

void hak_pool_visit(void (*visit)(hak_superslab *super, void *context), void *context)
{
    hak_lock_take(&hak_pool_lock);
    for (hak_superslab *super = all_supers; super != NULL; super = super->all_next)
        visit(super, context);
    hak_lock_give(&hak_pool_lock);
}

unsigned hak_pool_check(void (*fault)(const char *text, const void *at))
{
    unsigned faults = 0;
    size_t supers = 0, bulk = 0, used = 0, dirty = 0, bulk_dirty = 0, empty = 0;
#define EXPECT(cond, at) ((cond) ? (void)0 : (faults++, fault("pool: not " #cond, (at))))
    hak_lock_take(&hak_pool_lock);
    for (hak_superslab *super = all_supers; super != NULL; super = super->all_next) {
        supers++;
        bulk += super->bulk;
        empty += super->free_units == ALL_UNITS;
        used += HAK_UNITS * HAK_UNIT_BYTES - (size_t)__builtin_popcount(super->free_units) * HAK_UNIT_BYTES;
        size_t dirty_here = (size_t)__builtin_popcount(super->dirty_units) * HAK_UNIT_BYTES;
        dirty += dirty_here;
        bulk_dirty += super->bulk ? dirty_here : 0;
        EXPECT((super->dirty_units & ~super->free_units) == 0, super);
        EXPECT(super->fit == fit_of(super->free_units), super);
        EXPECT(hak_page_map_kind(super) == HAK_CHUNK_SUPERSLAB, super);
        for (unsigned unit = 0; unit < HAK_UNITS; unit++) {
            const hak_slab *entry = &super->slabs[unit];
            bool is_free = (super->free_units >> unit & 1) != 0;
            EXPECT(!is_free || entry->kind == HAK_SLAB_FREE, entry);
            EXPECT(is_free || super->slabs[entry->unit_first].unit_first == entry->unit_first, entry);
        }
    }
    EXPECT(supers == super_count, NULL);
    EXPECT(bulk == bulk_count, NULL);
    EXPECT(empty == empty_count, NULL);
    EXPECT(used == used_bytes, NULL);
    EXPECT(dirty == dirty_bytes, NULL);
    EXPECT(bulk_dirty == bulk_dirty_bytes, NULL);
    hak_lock_give(&hak_pool_lock);
#undef EXPECT
    return faults;
}
