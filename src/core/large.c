/* large.c: see large.h. Maps, unmaps and moves what lies in no region; bigcache.c sees to the rest. Never
 * allocates from malloc. */
#include "core/large.h"

#include <errno.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/front.h"
#include "core/options.h"
#include "core/span.h"
#include "core/stats.h"

#define GROW_SLACK_SHIFT                                                                                     \
    3 /* a block that grows once will grow again: an eighth of address space, untouched */
#define MOVE_OUT_BYTES (16 * HAK_MIB) /* a span that cannot grow where it is gets a mapping from here on */
#define MOVE_OUT_SLACK 2              /* of that mapping: address space for twice the size */
#define DENSITY_BYTES  (2 * HAK_MIB)  /* of a block that is looked at */
#define DENSITY_LOOKS  64
#define DENSITY_PLACES 4
#define DENSITY_LEAST  4
#define THP_HUGE       2
#define THP_SMALL      1

static _Atomic size_t live_bytes;
static _Atomic size_t live_blocks;

void hak_large_live(ptrdiff_t blocks, ptrdiff_t bytes)
{
    atomic_fetch_add_explicit(&live_bytes, (size_t)bytes, memory_order_relaxed);
    if (blocks != 0)
        atomic_fetch_add_explicit(&live_blocks, (size_t)blocks, memory_order_relaxed);
}

size_t hak_large_live_bytes(void)
{
    return atomic_load_explicit(&live_bytes, memory_order_relaxed);
}

static void live_begin(hak_large *large)
{
    large->live_bytes = large->units != 0 ? large->room_bytes : large->map_bytes;
    hak_large_live(1, (ptrdiff_t)large->live_bytes);
}

static void live_end(const hak_large *large)
{
    hak_large_live(-1, -(ptrdiff_t)large->live_bytes);
}

/* What the policy or the mode says of this block; HAK_THP_DEFAULT: nothing. */
static hak_site_thp thp_wanted(const hak_large *large)
{
    if (large->plan.thp != HAK_THP_DEFAULT)
        return (hak_site_thp)large->plan.thp;
    bool all = hak_feature_on(HAK_FEATURE_THP) && hak_opt.knobs[HAK_KNOB_THP] == HAK_THP_MODE_ON;
    return all ? HAK_THP_ON : HAK_THP_DEFAULT;
}

static void advise(hak_large *large)
{
    hak_site_thp thp = thp_wanted(large);
    uint8_t huge = thp == HAK_THP_ON ? THP_HUGE : THP_SMALL;
    char *from = large->units != 0 ? large->block : large->map;
    size_t bytes = large->units != 0 ? large->units * HAK_UNIT_BYTES : large->map_bytes;
    char *start = (char *)hak_align_up((uintptr_t)from, HAK_HUGE_PAGE_BYTES);
    char *end = (char *)hak_align_down((uintptr_t)from + bytes, HAK_HUGE_PAGE_BYTES);
    if (thp == HAK_THP_DEFAULT || large->huge == huge || start >= end)
        return;
    large->huge = huge;
    hak_os_advise_huge(start, (size_t)(end - start), huge == THP_HUGE);
    hak_count(huge == THP_HUGE ? HAK_COUNT_THP_ON : HAK_COUNT_THP_OFF, 1);
}

/* ---- own mappings ---- */

/* Makes the mapping known; false where the page map cannot hold it: then it is unmapped. */
static bool enter(char *map, size_t map_bytes)
{
    if (!hak_page_map_covers(map, (map_bytes + HAK_CHUNK_BYTES - 1) / HAK_CHUNK_BYTES)) {
        hak_os_unmap(map, map_bytes);
        errno = ENOMEM;
        return false;
    }
    hak_page_map_set(map, 1, HAK_CHUNK_LARGE);
    return true;
}

static hak_large *describe(char *map, size_t map_bytes, size_t lead, size_t bytes)
{
    hak_large *large = (hak_large *)map;
    large->magic = HAK_LARGE_MAGIC;
    large->map = map;
    large->map_bytes = map_bytes;
    large->block = map + lead;
    large->room_bytes = map_bytes - lead;
    large->bytes = bytes;
    large->class_index = (uint16_t)hak_large_class(bytes);
    return large;
}

/* A mapping whose block lies `lead` bytes behind its start, the start a multiple of 2 MiB and the block one
 * of `align`. */
static hak_large *map_block(size_t bytes, size_t align)
{
    size_t lead = align < HAK_CHUNK_BYTES
                      ? hak_align_up(HAK_LARGE_HEADER_BYTES,
                                     align < HAK_LARGE_ALIGN_BYTES ? HAK_LARGE_ALIGN_BYTES : align)
                      : HAK_CHUNK_BYTES;
    size_t far_align = align > HAK_CHUNK_BYTES ? align : HAK_CHUNK_BYTES;
    size_t skip = align > HAK_CHUNK_BYTES ? align - HAK_CHUNK_BYTES : 0;
    size_t map_bytes;
    if (__builtin_add_overflow(bytes, lead + skip + HAK_OS_PAGE_BYTES, &map_bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    map_bytes = hak_align_up(bytes + lead + skip, HAK_OS_PAGE_BYTES);
    char *map = hak_os_map(map_bytes, far_align);
    if (map == NULL)
        return NULL;
    if (skip != 0) {
        hak_os_unmap(map, skip);
        map += skip;
        map_bytes -= skip;
    }
    if (!enter(map, map_bytes))
        return NULL;
    hak_count(HAK_COUNT_OS_MAP, 1);
    return describe(map, map_bytes, lead, bytes);
}

static void unmap_block(hak_large *large)
{
    char *map = large->map;
    size_t map_bytes = large->map_bytes;
    hak_page_map_set(map, 1, HAK_CHUNK_FOREIGN);
    hak_os_unmap(map, map_bytes);
    hak_count(HAK_COUNT_OS_UNMAP, 1);
}

/* To another place that has map_bytes, pages and all; NULL when impossible. */
static hak_large *move_block(hak_large *large, size_t map_bytes)
{
    char *old = large->map;
    char *map = hak_os_reserve(map_bytes, HAK_CHUNK_BYTES);
    if (map == NULL || !enter(map, map_bytes))
        return NULL;
    size_t lead = (size_t)(large->block - old), bytes = large->bytes;
    hak_page_map_set(old, 1, HAK_CHUNK_FOREIGN); /* before: afterwards another thread may map there */
    if (!hak_os_move(old, large->map_bytes, map_bytes, map)) {
        hak_page_map_set(old, 1, HAK_CHUNK_LARGE);
        hak_page_map_set(map, 1, HAK_CHUNK_FOREIGN);
        hak_os_unmap(map, map_bytes);
        return NULL;
    }
    return describe(map, map_bytes, lead, bytes);
}

static bool resize_in_place(hak_large *large, size_t map_bytes)
{
    if (!hak_os_resize(large->map, large->map_bytes, map_bytes))
        return false;
    describe(large->map, map_bytes, (size_t)(large->block - large->map), large->bytes);
    return true;
}

static hak_large *resize_mapping(hak_large *large, size_t bytes)
{
    size_t lead = (size_t)(large->block - large->map);
    bool grows = bytes > large->room_bytes;
    size_t slack = grows ? bytes >> GROW_SLACK_SHIFT : 0;
    size_t map_bytes = hak_align_up(lead + bytes + slack, HAK_OS_PAGE_BYTES);
    size_t tight_bytes = hak_align_up(lead + bytes, HAK_OS_PAGE_BYTES);
    if (!resize_in_place(large, map_bytes) && !resize_in_place(large, tight_bytes))
        large = grows && lead <= HAK_CHUNK_BYTES ? move_block(large, map_bytes) : NULL;
    return large;
}

/* ---- spans that grow or shrink ---- */

/* The pages of a span go to a mapping of their own, which lies so that whole page tables can move. */
static hak_large *move_out(hak_large *span, size_t bytes)
{
    size_t old_bytes = hak_align_up(span->bytes, HAK_UNIT_BYTES);
    size_t map_bytes = HAK_CHUNK_BYTES + MOVE_OUT_SLACK * hak_align_up(bytes, HAK_OS_PAGE_BYTES);
    char *map = hak_os_map(map_bytes, HAK_CHUNK_BYTES); /* counted: what cannot be had is refused now */
    if (map == NULL || !enter(map, map_bytes))
        return NULL;
    if (!hak_os_move_pages(span->block, old_bytes, map + HAK_CHUNK_BYTES)) {
        hak_page_map_set(map, 1, HAK_CHUNK_FOREIGN);
        hak_os_unmap(map, map_bytes);
        return NULL;
    }
    hak_large *large = describe(map, map_bytes, HAK_CHUNK_BYTES, bytes);
    large->state = HAK_LARGE_LIVE;
    large->plan = span->plan;
    hak_bigcache_emptied(span, old_bytes);
    return large;
}

static hak_large *resize_span(hak_large *large, size_t bytes)
{
    if (bytes <= large->room_bytes) {
        hak_bigcache_shrink(large, bytes);
        return large;
    }
    if (hak_bigcache_grow(large, bytes))
        return large;
    return bytes >= MOVE_OUT_BYTES && hak_span_lead() == 0 ? move_out(large, bytes) : NULL;
}

bool hak_large_grow_here(const void *at, size_t bytes)
{
    bool freed;
    hak_large *large = hak_large_of(at, &freed);
    if (large == NULL || !large->growing || bytes < large->bytes || bytes > large->units * HAK_UNIT_BYTES)
        return false;
    large->bytes = bytes;
    if (bytes > large->room_bytes) /* never less: it tells how far the block was written */
        large->room_bytes = hak_align_up(bytes, HAK_OS_PAGE_BYTES);
    return true;
}

void *hak_large_resize(hak_large *large, size_t bytes)
{
    if (bytes > PTRDIFF_MAX - HAK_GIB ||
        (bytes < hak_knob_bytes(HAK_KNOB_LARGE_MIN_BYTES) && bytes < large->bytes))
        return NULL;
    bool grows = bytes > large->room_bytes;
    if (!grows && bytes >= large->room_bytes / 2) {
        large->bytes = bytes;
        return large->block;
    }
    live_end(large);
    hak_large *resized = large->units != 0 ? resize_span(large, bytes) : resize_mapping(large, bytes);
    live_begin(resized != NULL ? resized : large);
    if (resized == NULL)
        return NULL;
    if (resized->units == 0)
        hak_count(HAK_COUNT_OS_REMAP, 1);
    resized->bytes = bytes;
    resized->class_index = (uint16_t)hak_large_class(bytes);
    return resized->block;
}

/* ---- taking and giving ---- */

/* Automatic huge pages are for programs that write to their large blocks as a whole: the first blocks are
 * looked at in a few places, each as it is freed, and the one before as another is taken. */
bool hak_large_look(const char *block, size_t bytes)
{
    static _Atomic uint32_t looks, dense;
    if (bytes < DENSITY_BYTES || block == NULL || !hak_feature_on(HAK_FEATURE_THP) ||
        hak_opt.knobs[HAK_KNOB_THP] != HAK_THP_MODE_AUTO ||
        atomic_load_explicit(&looks, memory_order_relaxed) >= DENSITY_LOOKS)
        return false;
    atomic_fetch_add_explicit(&looks, 1, memory_order_relaxed);
    for (size_t i = 1; i <= DENSITY_PLACES; i++)
        if (!hak_os_is_written(block + hak_align_down(bytes / (DENSITY_PLACES + 1) * i, HAK_OS_PAGE_BYTES)))
            return false;
    if (atomic_fetch_add_explicit(&dense, 1, memory_order_relaxed) + 1 != DENSITY_LEAST)
        return false;
    hak_lock_take(&hak_bigcache_lock);
    hak_span_use_huge();
    hak_lock_give(&hak_bigcache_lock);
    return true;
}

static void look_at_the_one_before(const hak_large *large)
{
    static const char *_Atomic before;
    if (large->bytes >= DENSITY_BYTES)
        hak_large_look(atomic_exchange_explicit(&before, large->block, memory_order_relaxed), DENSITY_BYTES);
}

static void *hand_out(hak_large *large, size_t bytes)
{
    large->bytes = bytes;
    advise(large);
    if (large->units != 0)
        look_at_the_one_before(large);
    live_begin(large);
    hak_count(HAK_COUNT_LARGE_ALLOC, 1);
    large->state = HAK_LARGE_LIVE;
    return large->block;
}

void *hak_large_take(size_t bytes, size_t align, bool zero, const hak_large_plan *plan)
{
    bool spanned = hak_feature_on(HAK_FEATURE_BIGCACHE) &&
                   align <= (hak_span_lead() == 0 ? HAK_UNIT_BYTES : HAK_LARGE_ALIGN_BYTES) &&
                   bytes <= hak_knob_bytes(HAK_KNOB_MMAP_MIN_BYTES) && !plan->mapped;
    hak_large *large = spanned ? hak_bigcache_take(bytes, zero, false, plan) : NULL;
    if (large == NULL)
        large = map_block(bytes, align);
    if (large == NULL)
        return NULL;
    large->plan = *plan;
    return hand_out(large, bytes);
}

void *hak_large_take_growing(size_t bytes)
{
    const hak_large_plan plan = {0};
    bool spanned = hak_feature_on(HAK_FEATURE_BIGCACHE) && bytes <= hak_knob_bytes(HAK_KNOB_MMAP_MIN_BYTES);
    hak_large *large = spanned ? hak_bigcache_take(bytes, false, true, &plan) : NULL;
    return large == NULL ? NULL : hand_out(large, bytes);
}

hak_large *hak_large_of(const void *at, bool *freed)
{
    *freed = false;
    hak_chunk_kind kind = hak_page_map_kind(at);
    hak_large *large;
    if (kind >= HAK_CHUNK_REGION) {
        hak_region *region = hak_region_of(kind);
        large = &region->spans[(size_t)((const char *)at - region->start) / HAK_UNIT_BYTES];
        if ((((uintptr_t)at - hak_span_lead()) & (HAK_UNIT_BYTES - 1)) != 0)
            return NULL;
        *freed = large->state >= HAK_LARGE_CACHED;
        return large->state == HAK_LARGE_LIVE ? large : NULL;
    }
    uintptr_t before = (uintptr_t)at - 1;
    if (at == NULL || hak_page_map_kind((const void *)before) != HAK_CHUNK_LARGE)
        return NULL;
    large = (hak_large *)hak_align_down(before, HAK_CHUNK_BYTES);
    return large->magic == HAK_LARGE_MAGIC && large->block == at && large->state == HAK_LARGE_LIVE ? large
                                                                                                   : NULL;
}

void hak_large_put(hak_large *large)
{
    live_end(large);
    hak_count(HAK_COUNT_LARGE_FREE, 1);
    if (large->units == 0) {
        unmap_block(large);
        return;
    }
    hak_large_look(large->block, large->bytes);
    hak_bigcache_put(large);
}

hak_large_info hak_large_info_get(void)
{
    size_t held_blocks = 0, held_bytes = 0;
    hak_front_sum(&held_blocks, &held_bytes);
    return (hak_large_info){atomic_load_explicit(&live_blocks, memory_order_relaxed) - held_blocks,
                            hak_large_live_bytes() - held_bytes, hak_bigcache_bytes() + held_bytes};
}
