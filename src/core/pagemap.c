/* pagemap.c: see pagemap.h. Never allocates. */
#include "core/pagemap.h"

#include <string.h>

#include "core/base/os.h"

#define WORD_BITS 64
#define MAP_PAGES (HAK_MAP_CHUNKS / HAK_OS_PAGE_BYTES)

alignas(4096) uint8_t hak_page_map[HAK_MAP_CHUNKS];

static _Atomic uint64_t writable[MAP_PAGES / WORD_BITS]; /* bit per OS page of the map */
static bool guarded;                                     /* the map was made read-only */

/* Two threads may both do it: to the same end. */
static bool make_writable(size_t page)
{
    uint64_t bit = UINT64_C(1) << page % WORD_BITS;
    if ((atomic_load_explicit(&writable[page / WORD_BITS], memory_order_acquire) & bit) != 0)
        return true;
    if (guarded &&
        !hak_os_protect(&hak_page_map[page * HAK_OS_PAGE_BYTES], HAK_OS_PAGE_BYTES, HAK_OS_ACCESS_ALL))
        return false;
    atomic_fetch_or_explicit(&writable[page / WORD_BITS], bit, memory_order_release);
    return true;
}

bool hak_page_map_covers(const void *at, size_t chunk_count)
{
    uintptr_t first = (uintptr_t)at >> HAK_CHUNK_SHIFT;
    if (first >= HAK_MAP_CHUNKS || chunk_count > HAK_MAP_CHUNKS - first)
        return false;
    size_t last_page = (first + chunk_count - 1) / HAK_OS_PAGE_BYTES;
    for (size_t page = first / HAK_OS_PAGE_BYTES; page <= last_page; page++)
        if (!make_writable(page))
            return false;
    return true;
}

void hak_page_map_set(const void *at, size_t chunk_count, hak_chunk_kind kind)
{
    memset(&hak_page_map[(uintptr_t)at >> HAK_CHUNK_SHIFT], kind, chunk_count);
}

void hak_page_map_init(void)
{
    hak_os_advise_huge(hak_page_map, sizeof hak_page_map, false);
    guarded = hak_os_protect(hak_page_map, sizeof hak_page_map, HAK_OS_ACCESS_READ);
}
