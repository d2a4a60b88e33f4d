/* mid.c: see mid.h. Never allocates from malloc; the pool does its own locking. */
#include "core/mid.h"

#include <string.h>

#include "core/options.h"

static unsigned units_for(size_t bytes)
{
    return (unsigned)((bytes + HAK_UNIT_BYTES - 1) / HAK_UNIT_BYTES);
}

void *hak_mid_recall(hak_heap *heap, size_t bytes)
{
    hak_slab *run = heap->mid_cache[units_for(bytes)];
    if (run == NULL)
        return NULL;
    heap->mid_cache[run->units] = run->next;
    heap->mid_cache_bytes -= hak_mid_usable(run);
    run->kind = HAK_SLAB_MID;
    run->mid_bytes = bytes;
    hak_heap_count(heap, HAK_COUNT_MID_CACHE_HIT, 1);
    hak_heap_count(heap, HAK_COUNT_MID_ALLOC, 1);
    return run->start;
}

static void cache(hak_heap *heap, hak_slab *run)
{
    run->kind = HAK_SLAB_MID_CACHED;
    run->next = heap->mid_cache[run->units];
    heap->mid_cache[run->units] = run;
    heap->mid_cache_bytes += hak_mid_usable(run);
}

bool hak_mid_keep(hak_heap *heap, void *at)
{
    hak_slab *run = hak_slab_at(at);
    if (run->kind != HAK_SLAB_MID || run->start != at ||
        heap->mid_cache_bytes + hak_mid_usable(run) > hak_knob_bytes(HAK_KNOB_MID_CACHE_BYTES))
        return false;
    cache(heap, run);
    hak_heap_count(heap, HAK_COUNT_MID_FREE, 1);
    return true;
}

void *hak_mid_take(hak_heap *heap, size_t bytes, bool zero)
{
    unsigned units = units_for(bytes);
    bool zeroed = false;
    void *kept = heap != NULL ? hak_mid_recall(heap, bytes) : NULL;
    if (kept != NULL)
        return zero ? memset(kept, 0, bytes) : kept;
    hak_slab *run = hak_pool_take(units, HAK_RUN_MID, &zeroed);
    if (run == NULL)
        return NULL;
    run->kind = HAK_SLAB_MID;
    run->mid_bytes = bytes;
    if (heap != NULL)
        hak_heap_count(heap, HAK_COUNT_MID_ALLOC, 1);
    if (zero && !zeroed)
        memset(run->start, 0, bytes);
    return run->start;
}

void hak_mid_put(hak_heap *heap, hak_slab *run)
{
    size_t usable = hak_mid_usable(run);
    if (heap != NULL)
        hak_heap_count(heap, HAK_COUNT_MID_FREE, 1);
    if (heap == NULL || !hak_feature_on(HAK_FEATURE_LISTS) ||
        heap->mid_cache_bytes + usable > hak_knob_bytes(HAK_KNOB_MID_CACHE_BYTES)) {
        hak_pool_give(run);
        return;
    }
    cache(heap, run);
}

bool hak_mid_resize(hak_heap *heap, hak_slab *run, size_t bytes)
{
    if (bytes <= HAK_SMALL_MAX_BYTES || bytes > HAK_MID_MAX_BYTES)
        return false;
    unsigned units = units_for(bytes);
    if (units > run->units && !hak_pool_grow(run, units))
        return false;
    hak_pool_shrink(run, units);
    run->mid_bytes = bytes;
    if (heap != NULL)
        hak_heap_count(heap, HAK_COUNT_RETURN_IN_PLACE, 1);
    return true;
}

void hak_mid_flush(hak_heap *heap)
{
    for (unsigned units = 1; units <= HAK_RUN_MAX_UNITS; units++)
        while (heap->mid_cache[units] != NULL) {
            hak_slab *run = heap->mid_cache[units];
            heap->mid_cache[units] = run->next;
            hak_pool_give(run);
        }
    heap->mid_cache_bytes = 0;
}
