/* collect_stack.c: see collect_stack.h. */
#include "trace/collect_stack.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "trace/ring.h"

#define WINDOW_BITS 16
#define HASH_BASE   UINT64_C(0x9e3779b97f4a7c15)

struct hak_windows {
    uint64_t power; /* HASH_BASE to the depth */
    struct {
        uint64_t hash;
        uint32_t context;
    } entries[(size_t)1 << WINDOW_BITS];
};

hak_windows *hak_windows_new(uint32_t depth)
{
    hak_windows *windows = calloc(1, sizeof *windows);
    if (windows == NULL)
        return NULL;
    windows->power = 1;
    for (uint32_t i = 0; i < depth; i++)
        windows->power *= HASH_BASE;
    return windows;
}

void hak_windows_free(hak_windows *windows)
{
    free(windows);
}

bool hak_mirror_init(hak_mirror *mirror, uint32_t depth)
{
    uint32_t capacity = (uint32_t)HAK_STACK_MIRROR_OF(depth);
    *mirror = (hak_mirror){.capacity = capacity,
                           .depth = depth,
                           .pcs = malloc(capacity * sizeof *mirror->pcs),
                           .hashes = malloc(capacity * sizeof *mirror->hashes),
                           .nodes = malloc(capacity * sizeof *mirror->nodes)};
    if (mirror->pcs != NULL && mirror->hashes != NULL && mirror->nodes != NULL)
        return true;
    hak_mirror_done(mirror);
    return false;
}

void hak_mirror_done(hak_mirror *mirror)
{
    free(mirror->pcs);
    free(mirror->hashes);
    free(mirror->nodes);
    *mirror = (hak_mirror){0};
}

bool hak_mirror_apply(hak_mirror *mirror, uint32_t drop, uint32_t keep, const uint64_t *pcs, uint32_t push)
{
    if (drop > mirror->count || keep > mirror->count - drop || push > mirror->capacity ||
        keep > mirror->capacity - push)
        return false;
    if (drop != 0) { /* what is kept starts elsewhere now: contexts and hashes are of other prefixes */
        memmove(mirror->pcs, mirror->pcs + drop, keep * sizeof *mirror->pcs);
        mirror->interned = 0;
        mirror->count = 0;
    }
    memcpy(mirror->pcs + keep, pcs, push * sizeof *pcs);
    for (uint32_t i = drop != 0 ? 0 : keep; i < keep + push; i++)
        mirror->hashes[i] = (i == 0 ? 0 : mirror->hashes[i - 1]) * HASH_BASE + hak_mix64(mirror->pcs[i]);
    mirror->count = keep + push;
    if (mirror->interned > keep)
        mirror->interned = keep;
    mirror->known = false;
    return true;
}

static uint32_t window_context(hak_mirror *mirror, hak_windows *windows, hak_writer *writer)
{
    uint32_t first = mirror->count - mirror->depth;
    uint64_t hash = mirror->hashes[mirror->count - 1] - mirror->hashes[first - 1] * windows->power;
    size_t at = hak_mix64(hash) >> (64 - WINDOW_BITS);
    if (windows->entries[at].hash == hash && windows->entries[at].context != 0)
        return windows->entries[at].context;
    uint32_t node = 0;
    for (uint32_t i = first; i < mirror->count; i++)
        node = hak_writer_context(writer, node, mirror->pcs[i]);
    windows->entries[at].hash = hash;
    windows->entries[at].context = node;
    return node;
}

uint32_t hak_mirror_context(hak_mirror *mirror, hak_windows *windows, hak_writer *writer)
{
    if (HAK_LIKELY(mirror->known))
        return mirror->context;
    mirror->known = true;
    if (mirror->count > mirror->depth)
        return mirror->context = window_context(mirror, windows, writer);
    for (uint32_t i = mirror->interned; i < mirror->count; i++)
        mirror->nodes[i] = hak_writer_context(writer, i == 0 ? 0 : mirror->nodes[i - 1], mirror->pcs[i]);
    mirror->interned = mirror->count;
    return mirror->context = mirror->count == 0 ? 0 : mirror->nodes[mirror->count - 1];
}
