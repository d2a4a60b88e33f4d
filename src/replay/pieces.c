/* pieces.c: see pieces.h. Never prints. */
#include "replay/pieces.h"

#include <sys/mman.h>

#include "core/base/bits.h"
#include "trace/grow.h"

enum { FIRST_BYTES = 64 * 1024, ALIGN = 16 };

/* Whole huge pages start where one can be: the kernel aligns mappings of that size by itself only lately. */
static void *map_huge(void)
{
    size_t wide = 2 * HAK_PIECE_MAX_BYTES;
    uint8_t *at = mmap(NULL, wide, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)at & (HAK_PIECE_MAX_BYTES - 1);
    if (before != 0)
        munmap(at, before);
    munmap(at + before + HAK_PIECE_MAX_BYTES, wide - before - HAK_PIECE_MAX_BYTES);
    madvise(at + before, HAK_PIECE_MAX_BYTES, MADV_HUGEPAGE); /* a wish */
    return at + before;
}

static void *map_piece(size_t bytes)
{
    if (bytes == HAK_PIECE_MAX_BYTES)
        return map_huge();
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static bool add_piece(hak_pieces *pieces, size_t least_bytes)
{
    size_t bytes = pieces->count == 0 ? FIRST_BYTES : 2 * pieces->list[pieces->count - 1].bytes;
    while (bytes < least_bytes)
        bytes *= 2;
    bytes = bytes < HAK_PIECE_MAX_BYTES ? bytes : HAK_PIECE_MAX_BYTES;
    if (!HAK_GROW(&pieces->list, &pieces->list_room, pieces->count + 1))
        return false;
    void *start = map_piece(bytes);
    if (start == NULL)
        return false;
    pieces->list[pieces->count++] = (hak_piece){start, bytes};
    pieces->used_bytes = 0;
    return true;
}

void *hak_pieces_take(hak_pieces *pieces, size_t bytes)
{
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (pieces->count == 0 || pieces->list[pieces->count - 1].bytes - pieces->used_bytes < bytes) {
        if (!add_piece(pieces, bytes))
            return NULL;
    }
    uint8_t *taken = (uint8_t *)pieces->list[pieces->count - 1].start + pieces->used_bytes;
    pieces->used_bytes += bytes;
    return taken;
}

void hak_pieces_done(hak_pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++)
        munmap(pieces->list[i].start, pieces->list[i].bytes);
    free(pieces->list);
    *pieces = (hak_pieces){.list = NULL};
}
