/* span.c: see span.h. Best fit over lists by length; neighbours merged at once. Never allocates from malloc.
 */
#include "core/span.h"

#include <errno.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/options.h"
#include "core/stats.h"

#define REGIONS        HAK_REGION_COUNT
#define REGION_UNITS   1024 /* 64 MiB: the first ones; later ones are larger */
#define REGIONS_A_STEP 8
#define LEAST_UNITS    32 /* of a region, near a limit */
#define EXACT          64 /* up to here a list per length, then 8 per doubling */
#define STEPS_SHIFT    3
#define LISTS          128
#define LOOK_COUNT     16 /* spans of a list compared for the best fit, at most */
#define WORD_BITS      64

hak_region *hak_regions[REGIONS];
static unsigned region_end; /* no region from here on */
static bool use_huge;

static hak_large *lists[LISTS];
static uint64_t lists_filled[LISTS / WORD_BITS];
static hak_large *oldest, *newest; /* free spans with dirty units that may be purged */
static uint32_t idle_units;

/* ---- units ---- */

static hak_region *region_of(const hak_large *span)
{
    return hak_regions[span->region];
}

static uint32_t first_of(const hak_large *span)
{
    return (uint32_t)(span - region_of(span)->spans);
}

static bool is_dirty(const hak_region *region, uint32_t unit)
{
    return (atomic_load_explicit(&region->dirty[unit / WORD_BITS], memory_order_relaxed) >> unit % WORD_BITS &
            1) != 0;
}

/* The bits of [*unit, end) that lie in *unit's word; moves *unit to the next word. */
static uint64_t mask_next(uint32_t *unit, uint32_t end)
{
    uint32_t bit = *unit % WORD_BITS, count = WORD_BITS - bit;
    count = count < end - *unit ? count : end - *unit;
    *unit += count;
    return (count == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << count) - 1) << bit;
}

/* Under the lock; hak_span_zero reads the other bits of a word without it. */
static void mark(hak_region *region, uint32_t from, uint32_t count, bool dirty)
{
    for (uint32_t unit = from; unit < from + count;) {
        _Atomic uint64_t *word = &region->dirty[unit / WORD_BITS];
        uint64_t mask = mask_next(&unit, from + count);
        uint64_t bits = atomic_load_explicit(word, memory_order_relaxed);
        atomic_store_explicit(word, dirty ? bits | mask : bits & ~mask, memory_order_relaxed);
    }
}

static uint32_t dirty_in(const hak_region *region, uint32_t from, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t unit = from; unit < from + count;) {
        uint64_t bits = atomic_load_explicit(&region->dirty[unit / WORD_BITS], memory_order_relaxed);
        uint32_t start = unit;
        uint64_t mask = mask_next(&unit, from + count);
        bits &=
            mask; /* nearly always none or all: counting one by one is slow without an instruction for it */
        sum += bits == 0 ? 0 : bits == mask ? unit - start : (uint32_t)__builtin_popcountll(bits);
    }
    return sum;
}

/* Makes [first, first + units) one span. */
static hak_large *span_set(hak_region *region, unsigned id, uint32_t first, uint32_t units, uint32_t state)
{
    hak_large *span = &region->spans[first];
    *span = (hak_large){.state = state, .units = units, .region = (uint8_t)id};
    span->block = region->start + first * HAK_UNIT_BYTES;
    region->first_of[first + units - 1] = (uint16_t)first;
    return span;
}

/* ---- free spans ---- */

static unsigned list_of(uint32_t units)
{
    if (units < EXACT)
        return units;
    unsigned shift = hak_log2_floor(units);
    return EXACT + ((shift - 6) << STEPS_SHIFT) +
           ((units >> (shift - STEPS_SHIFT)) & ((1u << STEPS_SHIFT) - 1));
}

static void list_add(hak_large *span)
{
    unsigned list = list_of(span->units);
    span->prev = NULL;
    span->next = lists[list];
    if (span->next != NULL)
        span->next->prev = span;
    lists[list] = span;
    lists_filled[list / WORD_BITS] |= UINT64_C(1) << list % WORD_BITS;
}

static void list_remove(hak_large *span)
{
    unsigned list = list_of(span->units);
    if (span->prev != NULL)
        span->prev->next = span->next;
    else
        lists[list] = span->next;
    if (span->next != NULL)
        span->next->prev = span->prev;
    if (lists[list] == NULL)
        lists_filled[list / WORD_BITS] &= ~(UINT64_C(1) << list % WORD_BITS);
}

static void age_remove(hak_large *span)
{
    if (span->age_prev != NULL)
        span->age_prev->age_next = span->age_next;
    else if (oldest == span)
        oldest = span->age_next;
    else
        return; /* not in it */
    if (span->age_next != NULL)
        span->age_next->age_prev = span->age_prev;
    else
        newest = span->age_prev;
    span->age_prev = span->age_next = NULL;
}

static void age_add(hak_large *span, bool as_newest)
{
    span->age_prev = as_newest ? newest : NULL;
    span->age_next = as_newest ? NULL : oldest;
    if (span->age_prev != NULL)
        span->age_prev->age_next = span;
    else
        oldest = span;
    if (span->age_next != NULL)
        span->age_next->age_prev = span;
    else
        newest = span;
}

static void free_add(hak_large *span, uint32_t dirty, bool as_newest)
{
    span->dirty_units = dirty;
    idle_units += span->dirty_units;
    list_add(span);
    if (span->dirty_units != 0)
        age_add(span, as_newest);
}

static void free_remove(hak_large *span)
{
    idle_units -= span->dirty_units;
    list_remove(span);
    age_remove(span);
}

/* [first, first + units) is free from now on: one span with the free ones on both sides. */
static void free_range(hak_region *region, unsigned id, uint32_t first, uint32_t units, bool as_newest)
{
    uint32_t dirty = dirty_in(region, first, units);
    region->spans[first].state = HAK_LARGE_MERGED;
    if (first > 0) {
        hak_large *before = &region->spans[region->first_of[first - 1]];
        if (before->state == HAK_LARGE_FREE) {
            free_remove(before);
            before->state = HAK_LARGE_MERGED;
            first -= before->units;
            units += before->units;
            dirty += before->dirty_units;
        }
    }
    if (first + units < region->units) {
        hak_large *after = &region->spans[first + units];
        if (after->state == HAK_LARGE_FREE) {
            free_remove(after);
            after->state = HAK_LARGE_MERGED;
            units += after->units;
            dirty += after->dirty_units;
        }
    }
    free_add(span_set(region, id, first, units, HAK_LARGE_FREE), dirty, as_newest);
}

/* ---- regions ---- */

static void region_advise(hak_region *region)
{
    if (region->huge)
        return;
    region->huge = true;
    for (uint32_t chunk = 0; chunk < region->units / HAK_CHUNK_UNITS; chunk++)
        region->small[chunk / WORD_BITS] |= UINT64_C(1) << chunk % WORD_BITS;
    hak_os_advise_huge(region->start, region->units * HAK_UNIT_BYTES, true);
    hak_count(HAK_COUNT_THP_ON, 1);
}

void hak_span_use_huge(void)
{
    if (use_huge)
        return;
    use_huge = true;
    for (unsigned id = 0; id < region_end; id++)
        if (hak_regions[id] != NULL)
            region_advise(hak_regions[id]);
}

static char *region_map(uint32_t *units, uint32_t least)
{
    for (;; *units /= 2) {
        size_t bytes = *units * HAK_UNIT_BYTES;
        char *start = hak_os_reserve(bytes, HAK_CHUNK_BYTES);
        if (start != NULL && hak_page_map_covers(start, bytes / HAK_CHUNK_BYTES))
            return start;
        if (start != NULL)
            hak_os_unmap(start, bytes);
        if (*units / 2 < least || *units / 2 < LEAST_UNITS)
            return NULL;
    }
}

/* A region with a free span of at least `least` units; NULL with ENOMEM. */
static hak_region *region_new(uint32_t least)
{
    unsigned id = 0;
    while (id < region_end && hak_regions[id] != NULL)
        id++;
    if (id == REGIONS) {
        errno = ENOMEM;
        return NULL;
    }
    uint32_t units = REGION_UNITS * (1 + region_end / REGIONS_A_STEP);
    units = units < HAK_REGION_MAX_UNITS ? units : HAK_REGION_MAX_UNITS;
    while (units < 2 * least && units < HAK_REGION_MAX_UNITS)
        units *= 2;
    hak_region *region = hak_os_map(hak_align_up(sizeof *region, HAK_OS_PAGE_BYTES), HAK_OS_PAGE_BYTES);
    if (region == NULL)
        return NULL;
    char *start = region_map(&units, least);
    if (start == NULL) {
        hak_os_unmap(region, hak_align_up(sizeof *region, HAK_OS_PAGE_BYTES));
        errno = ENOMEM;
        return NULL;
    }
    hak_count(HAK_COUNT_OS_MAP, 1);
    region->start = start;
    region->units = units;
    hak_regions[id] = region;
    region_end = id < region_end ? region_end : id + 1;
    if (use_huge)
        region_advise(region);
    free_range(region, id, 0, units, true);
    hak_page_map_set(start, units * HAK_UNIT_BYTES / HAK_CHUNK_BYTES,
                     (hak_chunk_kind)(HAK_CHUNK_REGION + id));
    return region;
}

static size_t region_unmap(unsigned id)
{
    hak_region *region = hak_regions[id];
    size_t bytes = region->units * HAK_UNIT_BYTES;
    hak_page_map_set(region->start, bytes / HAK_CHUNK_BYTES, HAK_CHUNK_FOREIGN);
    free_remove(&region->spans[0]);
    hak_regions[id] = NULL;
    hak_os_unmap(region->start, bytes);
    hak_os_unmap(region, hak_align_up(sizeof *region, HAK_OS_PAGE_BYTES));
    hak_count(HAK_COUNT_OS_UNMAP, 1);
    return bytes;
}

size_t hak_span_release(void)
{
    size_t bytes = 0;
    for (unsigned id = 0; id < region_end; id++)
        if (hak_regions[id] != NULL && hak_regions[id]->used_units == 0 &&
            hak_regions[id]->spans[0].state == HAK_LARGE_FREE &&
            hak_regions[id]->spans[0].units == hak_regions[id]->units)
            bytes += region_unmap(id);
    return bytes;
}

/* ---- taking ---- */

/* What follows a growing span is left to it while there is other room. */
static bool is_behind_growing(const hak_large *span)
{
    uint32_t first = first_of(span);
    const hak_region *region = region_of(span);
    return first > 0 && region->spans[region->first_of[first - 1]].growing;
}

/* The next list that is not empty, from `list` on; LISTS: none. */
static unsigned next_list(unsigned list)
{
    for (unsigned word = list / WORD_BITS; word < LISTS / WORD_BITS; word++) {
        uint64_t filled = lists_filled[word];
        if (word == list / WORD_BITS)
            filled &= UINT64_MAX << list % WORD_BITS;
        if (filled != 0)
            return word * WORD_BITS + (unsigned)__builtin_ctzll(filled);
    }
    return LISTS;
}

static hak_large *find_best(uint32_t units, bool any)
{
    for (unsigned list = next_list(list_of(units)); list < LISTS; list = next_list(list + 1)) {
        hak_large *best = NULL;
        unsigned looked = 0;
        for (hak_large *span = lists[list]; span != NULL && looked < LOOK_COUNT; span = span->next, looked++)
            if (span->units >= units && (best == NULL || span->units < best->units) &&
                (any || !is_behind_growing(span)))
                best = span;
        if (best != NULL)
            return best;
    }
    return NULL;
}

static hak_large *find_largest(uint32_t units)
{
    for (unsigned list = LISTS; list-- > 0;)
        for (hak_large *span = lists[list]; span != NULL; span = span->next)
            if (span->units >= units)
                return span;
    return NULL;
}

/* What a dead block left resident in small pages is given up once, to come back as huge pages. Chunks that
 * were never touched have nothing to give up. */
static void renew(hak_region *region, uint32_t first, uint32_t units)
{
    uint32_t end = (first + units) / HAK_CHUNK_UNITS;
    for (uint32_t chunk = (first + HAK_CHUNK_UNITS - 1) / HAK_CHUNK_UNITS; chunk < end; chunk++) {
        uint64_t bit = UINT64_C(1) << chunk % WORD_BITS;
        uint32_t unit = chunk * HAK_CHUNK_UNITS;
        if ((region->small[chunk / WORD_BITS] & bit) == 0)
            continue;
        region->small[chunk / WORD_BITS] &= ~bit;
        if (dirty_in(region, unit, HAK_CHUNK_UNITS) != 0 &&
            hak_os_purge(region->start + unit * HAK_UNIT_BYTES, HAK_CHUNK_BYTES))
            mark(region, unit, HAK_CHUNK_UNITS, false);
    }
}

/* Cuts [first, first + units) out of a free span. */
static hak_large *cut(hak_large *from, uint32_t first, uint32_t units, uint32_t *dirty)
{
    hak_region *region = region_of(from);
    unsigned id = from->region;
    uint32_t start = first_of(from), end = start + from->units;
    uint32_t all = from->dirty_units, before = dirty_in(region, start, first - start);
    *dirty = dirty_in(region, first, units);
    free_remove(from);
    from->state = HAK_LARGE_NONE;
    bool as_newest = false; /* the rest was idle longer than what is freed next */
    if (first > start)
        free_add(span_set(region, id, start, first - start, HAK_LARGE_FREE), before, as_newest);
    if (first + units < end)
        free_add(span_set(region, id, first + units, end - first - units, HAK_LARGE_FREE),
                 all - before - *dirty, as_newest);
    if (region->huge)
        renew(region, first, units);
    region->used_units += units;
    return span_set(region, id, first, units, HAK_LARGE_LIVE);
}

hak_large *hak_span_take(uint32_t units, bool growing, uint32_t *dirty)
{
    hak_large *from = growing ? find_largest(2 * units) : find_best(units, false);
    if (from == NULL) {
        if (region_new(units) == NULL && growing)
            return NULL;
        from = growing ? find_largest(units) : find_best(units, true);
    }
    if (from == NULL)
        return NULL;
    uint32_t first = first_of(from);
    if (growing && is_behind_growing(from) && from->units >= 4 * units)
        first += from->units / 2;
    hak_large *span = cut(from, first, units, dirty);
    span->growing = growing;
    return span;
}

bool hak_span_grow(hak_large *span, uint32_t least, uint32_t most, uint32_t *dirty)
{
    hak_region *region = region_of(span);
    uint32_t end = first_of(span) + span->units;
    hak_large *after = &region->spans[end];
    if (end >= region->units || after->state != HAK_LARGE_FREE || after->units < least)
        return false;
    uint32_t more = after->units < most ? after->units : most;
    hak_large *taken = cut(after, end, more, dirty);
    taken->state = HAK_LARGE_NONE;
    span->units += more;
    region->first_of[end + more - 1] = (uint16_t)first_of(span);
    return true;
}

void hak_span_zero(hak_large *span, size_t bytes)
{
    hak_region *region = region_of(span);
    uint32_t first = first_of(span), units = hak_units_for(bytes);
    char *start = region->start + first * HAK_UNIT_BYTES;
    for (uint32_t i = 0; i < units; i++)
        if (is_dirty(region, first + i)) {
            size_t rest = bytes - i * HAK_UNIT_BYTES;
            memset(start + i * HAK_UNIT_BYTES, 0, rest < HAK_UNIT_BYTES ? rest : HAK_UNIT_BYTES);
        }
}

/* ---- giving ---- */

void hak_span_give(hak_large *span, size_t reach_bytes, bool as_newest)
{
    hak_region *region = region_of(span);
    uint32_t first = first_of(span), reach = hak_units_for(reach_bytes);
    mark(region, first, reach < span->units ? reach : span->units, true);
    region->used_units -= span->units;
    free_range(region, span->region, first, span->units, as_newest);
}

void hak_span_shrink(hak_large *span, uint32_t units, size_t reach_bytes, bool as_newest)
{
    hak_region *region = region_of(span);
    uint32_t first = first_of(span), reach = hak_units_for(reach_bytes), gone = span->units - units;
    mark(region, first, reach < span->units ? reach : span->units, true);
    region->used_units -= gone;
    span->units = units;
    region->first_of[first + units - 1] = (uint16_t)first;
    free_range(region, span->region, first + units, gone, as_newest);
}

void hak_span_emptied(hak_large *span, size_t units)
{
    mark(region_of(span), first_of(span), (uint32_t)units, false);
}

uint32_t hak_span_idle(void)
{
    return idle_units;
}

/* Gives dirty units of a span that is out of the lists back, from its end on, until `enough` are; the lock is
 * let go while the kernel works. */
static uint32_t purge_span(hak_region *region, uint32_t first, uint32_t units, uint32_t enough)
{
    uint32_t purged = 0;
    for (uint32_t end = first + units; end > first && purged < enough;) {
        if (!is_dirty(region, end - 1)) {
            end--;
            continue;
        }
        uint32_t from = end - 1;
        while (from > first && end - from < enough - purged && is_dirty(region, from - 1))
            from--;
        hak_count(HAK_COUNT_UNIT_PURGE, 1);
        hak_lock_give(&hak_bigcache_lock);
        bool done = hak_os_purge(region->start + from * HAK_UNIT_BYTES, (end - from) * HAK_UNIT_BYTES);
        hak_lock_take(&hak_bigcache_lock);
        if (!done)
            return 0;
        mark(region, from, end - from, false);
        purged += end - from;
        end = from;
    }
    return purged;
}

size_t hak_span_purge(uint32_t keep)
{
    uint32_t purged = 0;
    hak_lock_take(&hak_bigcache_lock);
    while (idle_units > keep && oldest != NULL) {
        hak_large *span = oldest;
        unsigned id = span->region;
        hak_region *region = hak_regions[id];
        uint32_t first = first_of(span), units = span->units, enough = idle_units - keep;
        enough = enough < span->dirty_units ? enough : span->dirty_units;
        free_remove(span);
        span->state = HAK_LARGE_PURGING;
        region->used_units += units;
        uint32_t given = purge_span(region, first, units, enough);
        region->used_units -= units;
        free_range(region, id, first, units, false);
        purged += given;
        if (given == 0) { /* refused: not asked again at once; it stays dirty, so nobody takes it for zero */
            age_remove(&region->spans[region->first_of[first + units - 1]]);
            break;
        }
    }
    hak_lock_give(&hak_bigcache_lock);
    return purged * HAK_UNIT_BYTES;
}

/* ---- checking ---- */

typedef struct found {
    uint32_t free_spans, idle;
} found;

static unsigned check_region(const hak_region *region, found *sum, void (*fault)(const char *, const void *))
{
    unsigned faults = 0;
    uint32_t used = 0;
#define EXPECT(cond, at) ((cond) ? (void)0 : (faults++, fault("span: not " #cond, (at))))
    for (uint32_t first = 0; first < region->units && faults == 0;) {
        const hak_large *span = &region->spans[first];
        EXPECT(span->units != 0 && span->units <= region->units - first, span);
        if (faults != 0)
            break;
        bool is_free = span->state == HAK_LARGE_FREE;
        EXPECT(region->first_of[first + span->units - 1] == first, span);
        EXPECT(is_free || span->state == HAK_LARGE_LIVE || span->state == HAK_LARGE_CACHED ||
                   span->state == HAK_LARGE_PURGING,
               span);
        EXPECT(!is_free || span->dirty_units == dirty_in(region, first, span->units), span);
        EXPECT(hak_align_down((uintptr_t)span->block, HAK_UNIT_BYTES) ==
                   (uintptr_t)region->start + first * HAK_UNIT_BYTES,
               span);
        sum->free_spans += is_free;
        sum->idle += is_free ? span->dirty_units : 0;
        used += is_free ? 0 : span->units;
        first += span->units;
    }
    EXPECT(used == region->used_units, region);
    return faults;
}

unsigned hak_span_check(void (*fault)(const char *text, const void *at))
{
    unsigned faults = 0;
    found sum = {0, 0};
    uint32_t listed = 0;
    hak_lock_take(&hak_bigcache_lock);
    for (unsigned id = 0; id < region_end; id++)
        if (hak_regions[id] != NULL)
            faults += check_region(hak_regions[id], &sum, fault);
    for (unsigned list = 0; list < LISTS; list++)
        for (const hak_large *span = lists[list]; span != NULL; span = span->next, listed++)
            EXPECT(span->state == HAK_LARGE_FREE && list_of(span->units) == list, span);
    EXPECT(listed == sum.free_spans, NULL);
    EXPECT(idle_units == sum.idle, NULL);
    hak_lock_give(&hak_bigcache_lock);
#undef EXPECT
    return faults;
}
