/* large.c: see large.h. Maps, unmaps and moves; bigcache.c keeps. Never allocates from malloc. */
#include "core/large.h"

#include <errno.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/options.h"
#include "core/pagemap.h"
#include "core/stats.h"

#define GROW_SLACK_SHIFT                                                                                     \
    3 /* a block that grows once will grow again: an eighth of address space, untouched */

static _Atomic size_t live_bytes;
static _Atomic size_t live_blocks;

static void live_add(const hak_large *large, bool add)
{
    size_t by = add ? large->map_bytes : 0 - large->map_bytes;
    atomic_fetch_add_explicit(&live_bytes, by, memory_order_relaxed);
    atomic_fetch_add_explicit(&live_blocks, add ? (size_t)1 : (size_t)-1, memory_order_relaxed);
}

/* Automatic: only sizes that come again, so that a huge page's cost in memory buys something. */
static void advise(hak_large *large)
{
    bool on = false, decided = false;
    if (large->plan.thp != HAK_THP_DEFAULT) {
        on = large->plan.thp == HAK_THP_ON;
        decided = true;
    } else if (hak_feature_on(HAK_FEATURE_THP)) {
        int64_t mode = hak_opt.knobs[HAK_KNOB_THP];
        on = mode == HAK_THP_MODE_ON ||
             (mode == HAK_THP_MODE_AUTO && hak_bigcache_heat(large->class_index) != HAK_THERMAL_COLD);
        decided = on;
    }
    if (!decided || large->map_bytes < HAK_HUGE_PAGE_BYTES || large->huge == (on ? 2 : 1))
        return;
    large->huge = on ? 2 : 1;
    hak_os_advise_huge(large->map, hak_align_down(large->map_bytes, HAK_HUGE_PAGE_BYTES), on);
    hak_count(on ? HAK_COUNT_THP_ON : HAK_COUNT_THP_OFF, 1);
}

/* A mapping whose block lies `lead` bytes behind its start, the start a multiple of 2 MiB and the block one
 * of `align`. */
static hak_large *map_block(size_t bytes, size_t align, bool classed)
{
    size_t lead = align <= HAK_LARGE_ALIGN_BYTES ? HAK_LARGE_HEADER_BYTES
                  : align < HAK_CHUNK_BYTES
                      ? (align < HAK_LARGE_HEADER_BYTES ? HAK_LARGE_HEADER_BYTES : align)
                      : HAK_CHUNK_BYTES;
    size_t want = classed ? hak_large_class_bytes(hak_large_class(bytes)) : bytes;
    size_t far_align = align > HAK_CHUNK_BYTES ? align : HAK_CHUNK_BYTES;
    size_t skip = align > HAK_CHUNK_BYTES ? align - HAK_CHUNK_BYTES : 0;
    size_t map_bytes;
    if (__builtin_add_overflow(want, lead + skip + HAK_OS_PAGE_BYTES, &map_bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    map_bytes = hak_align_up(want + lead + skip, HAK_OS_PAGE_BYTES);
    char *map = hak_os_map(map_bytes, far_align);
    if (map == NULL && classed) /* near a limit the class's spare bytes may be the ones too many */
        return map_block(bytes, align, false);
    if (map == NULL)
        return NULL;
    if (skip != 0) {
        hak_os_unmap(map, skip);
        map += skip;
        map_bytes -= skip;
    }
    if (!hak_page_map_covers(map, (map_bytes + HAK_CHUNK_BYTES - 1) / HAK_CHUNK_BYTES)) {
        hak_os_unmap(map, map_bytes);
        errno = ENOMEM;
        return NULL;
    }
    hak_count(HAK_COUNT_OS_MAP, 1);
    hak_large *large = (hak_large *)map;
    large->magic = HAK_LARGE_MAGIC;
    large->map = map;
    large->map_bytes = map_bytes;
    large->block = map + lead;
    large->class_index = (uint16_t)hak_large_class(bytes);
    hak_page_map_set(map, 1, HAK_CHUNK_LARGE);
    return large;
}

void *hak_large_take(size_t bytes, size_t align, bool zero, const hak_large_plan *plan)
{
    bool cacheable = hak_feature_on(HAK_FEATURE_BIGCACHE) && align <= HAK_LARGE_ALIGN_BYTES &&
                     bytes <= hak_knob_bytes(HAK_KNOB_MMAP_MIN_BYTES) && !plan->mapped;
    hak_large *large = cacheable ? hak_bigcache_take(bytes) : NULL;
    bool zeroed = large == NULL;
    if (large == NULL)
        large = map_block(bytes, align, cacheable);
    if (large == NULL)
        return NULL;
    large->bytes = bytes;
    large->plan = *plan;
    large->headered = 0;
    large->state = HAK_LARGE_LIVE;
    advise(large);
    live_add(large, true);
    hak_count(HAK_COUNT_LARGE_ALLOC, 1);
    if (zero && !zeroed)
        memset(large->block, 0, bytes);
    return large->block;
}

hak_large *hak_large_of(const void *at, bool *freed)
{
    *freed = false;
    uintptr_t before = (uintptr_t)at - 1;
    if (at == NULL || hak_page_map_kind((const void *)before) != HAK_CHUNK_LARGE)
        return NULL;
    hak_large *large = (hak_large *)hak_align_down(before, HAK_CHUNK_BYTES);
    if (large->magic != HAK_LARGE_MAGIC || large->block != at)
        return NULL;
    *freed = large->state == HAK_LARGE_CACHED;
    return large->state == HAK_LARGE_LIVE ? large : NULL;
}

void hak_large_unmap(hak_large *large)
{
    char *map = large->map;
    size_t map_bytes = large->map_bytes;
    hak_page_map_set(map, 1, HAK_CHUNK_FOREIGN);
    hak_os_unmap(map, map_bytes);
    hak_count(HAK_COUNT_OS_UNMAP, 1);
}

void hak_large_put(hak_large *large)
{
    live_add(large, false);
    hak_count(HAK_COUNT_LARGE_FREE, 1);
    bool aligned_apart = large->block != large->map + HAK_LARGE_HEADER_BYTES;
    if (!hak_feature_on(HAK_FEATURE_BIGCACHE) || aligned_apart || large->plan.mapped ||
        hak_large_usable(large) > hak_knob_bytes(HAK_KNOB_MMAP_MIN_BYTES) / 4 * 5) {
        hak_large_unmap(large);
        return;
    }
    hak_bigcache_put(large, atomic_load_explicit(&live_bytes, memory_order_relaxed));
}

static bool resize_in_place(hak_large *large, size_t map_bytes)
{
    if (!hak_os_resize(large->map, large->map_bytes, map_bytes))
        return false;
    large->map_bytes = map_bytes;
    return true;
}

/* To another place that has map_bytes, pages and all; NULL when impossible. */
static hak_large *move_block(hak_large *large, size_t map_bytes)
{
    char *old = large->map;
    char *map = hak_os_reserve(map_bytes, HAK_CHUNK_BYTES);
    if (map == NULL)
        return NULL;
    size_t lead = (size_t)(large->block - old);
    size_t old_bytes = large->map_bytes;
    bool covered = hak_page_map_covers(map, 1);
    if (covered)
        hak_page_map_set(old, 1, HAK_CHUNK_FOREIGN); /* before: afterwards another thread may map there */
    if (!covered || !hak_os_move(old, old_bytes, map_bytes, map)) {
        hak_page_map_set(old, 1, HAK_CHUNK_LARGE);
        hak_os_unmap(map, map_bytes);
        return NULL;
    }
    hak_page_map_set(map, 1, HAK_CHUNK_LARGE);
    large = (hak_large *)map;
    large->map = map;
    large->map_bytes = map_bytes;
    large->block = map + lead;
    return large;
}

void *hak_large_resize(hak_large *large, size_t bytes)
{
    size_t lead = (size_t)(large->block - large->map);
    size_t usable = hak_large_usable(large);
    if (bytes < hak_knob_bytes(HAK_KNOB_LARGE_MIN_BYTES) || bytes > PTRDIFF_MAX - HAK_GIB)
        return NULL;
    if (bytes <= usable && bytes >= usable / 2) {
        large->bytes = bytes;
        return large->block;
    }
    size_t slack = bytes > usable ? bytes >> GROW_SLACK_SHIFT : 0;
    size_t map_bytes = hak_align_up(lead + bytes + slack, HAK_OS_PAGE_BYTES);
    size_t tight_bytes = hak_align_up(lead + bytes, HAK_OS_PAGE_BYTES);
    live_add(large, false);
    bool done = resize_in_place(large, map_bytes) || resize_in_place(large, tight_bytes);
    if (!done && lead <= HAK_CHUNK_BYTES && bytes > usable) {
        hak_large *moved = move_block(large, map_bytes);
        done = moved != NULL;
        large = done ? moved : large;
    }
    live_add(large, true);
    if (!done)
        return NULL;
    hak_count(HAK_COUNT_OS_REMAP, 1);
    large->bytes = bytes;
    large->class_index = (uint16_t)hak_large_class(bytes);
    return large->block;
}

hak_large_info hak_large_info_get(void)
{
    return (hak_large_info){atomic_load_explicit(&live_blocks, memory_order_relaxed),
                            atomic_load_explicit(&live_bytes, memory_order_relaxed), hak_bigcache_bytes()};
}
