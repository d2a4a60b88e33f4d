/* pagemap.c: see pagemap.h. Never allocates. */
#include "core/pagemap.h"

#include <string.h>

#include "core/base/os.h"

alignas(4096) uint8_t hak_page_map[HAK_MAP_CHUNKS];

void hak_page_map_set(const void *at, size_t chunk_count, hak_chunk_kind kind)
{
    memset(&hak_page_map[(uintptr_t)at >> HAK_CHUNK_SHIFT], kind, chunk_count);
}

void hak_page_map_init(void)
{
    hak_os_advise_huge(hak_page_map, sizeof hak_page_map, false);
}
