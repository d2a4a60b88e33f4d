/* reuse.c: see reuse.h. Never touches files. */
#include "trace/reuse.h"

#include <string.h>

#include "core/base/bits.h"
#include "trace/grow.h"

void hak_reuse_clear(hak_reuse *reuse)
{
    free(reuse->ranges);
    *reuse = (hak_reuse){.ranges = NULL};
}

static uint64_t mix_bytes(uint64_t hash, const uint8_t *at, size_t len_bytes)
{
    hash = hak_mix64(hash + len_bytes);
    for (size_t i = 0; i < len_bytes; i++)
        hash = hak_mix64(hash ^ at[i]);
    return hash;
}

uint64_t hak_reuse_identity(const void *path, size_t path_bytes, const void *id, size_t id_bytes)
{
    return mix_bytes(mix_bytes(1, path, path_bytes), id, id_bytes);
}

/* The first range that ends behind pc. */
static size_t first_after(const hak_reuse *reuse, uint64_t pc)
{
    size_t low = 0;
    size_t high = reuse->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (reuse->ranges[middle].end <= pc)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool hak_reuse_load(hak_reuse *reuse, uint64_t start, uint64_t end, uint64_t identity)
{
    size_t at = first_after(reuse, start);
    size_t stop = at;
    while (stop < reuse->count && reuse->ranges[stop].start < end)
        stop++;
    if (stop == at + 1) {
        const hak_reuse_range *there = &reuse->ranges[at];
        if (there->start == start && there->end == end && there->identity == identity)
            return false;
    }
    bool changes = stop != at;
    size_t count = reuse->count - (stop - at) + 1;
    if (count > HAK_REUSE_MAX || !HAK_GROW(&reuse->ranges, &reuse->room, count))
        return changes;
    memmove(&reuse->ranges[at + 1], &reuse->ranges[stop], (reuse->count - stop) * sizeof *reuse->ranges);
    reuse->count = count;
    if (changes)
        reuse->last++;
    reuse->ranges[at] = (hak_reuse_range){start, end, identity, changes ? reuse->last : 0};
    return changes;
}

uint32_t hak_reuse_search(const hak_reuse *reuse, uint64_t pc)
{
    size_t at = first_after(reuse, pc);
    return at < reuse->count && reuse->ranges[at].start <= pc ? reuse->ranges[at].generation : 0;
}
