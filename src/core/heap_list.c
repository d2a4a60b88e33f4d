/* heap_list.c: which heaps exist, who has them, and what becomes of a heap whose thread ended.
 * Shared state under hak_heaps_lock. Heaps are never unmapped; there are as many as threads were alive at
 * once. Any thread. */
#include "core/heap.h"

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/options.h"
#include "core/secure.h"

#define ADOPT_LOOK_COUNT                                                                                     \
    8 /* abandoned heaps looked at per new slab, at most: bounds the time under the lock */

hak_lock hak_heaps_lock = HAK_LOCK_INIT(HAK_RANK_HEAPS);

static hak_heap *all_heaps;
static hak_heap *abandoned_first, *abandoned_last;
static _Atomic uint32_t abandoned_count;

void hak_heap_init_bins(hak_heap *heap, bool lists)
{
    size_t cache_bytes = hak_knob_bytes(HAK_KNOB_TINY_CACHE_BYTES);
    uint32_t cache_count = (uint32_t)hak_opt.knobs[HAK_KNOB_TINY_CACHE_COUNT];
    bool seen_frees = hak_feature_on(HAK_FEATURE_HEADERS); /* no room: every free takes the slow path */
    for (unsigned i = 0; i < hak_classes.count; i++) {
        uint32_t limit = (uint32_t)(cache_bytes / hak_classes.of[i].block_bytes);
        limit = limit < cache_count ? limit : cache_count;
        limit = lists ? (limit < 2 ? 2 : limit) : 0;
        heap->bins[i].limit = limit;
        for (unsigned place = 0; place < HAK_PLACE_COUNT; place++)
            heap->placed[place][i].limit = seen_frees ? 0 : limit;
    }
    for (size_t slot = 0; slot < HAK_CLASS_SLOTS; slot++)
        heap->bin_offset[slot] =
            (uint16_t)(offsetof(hak_heap, bins) + hak_classes.index[slot] * sizeof(hak_bin));
}

static hak_heap *abandoned_pop(void)
{
    hak_heap *heap = abandoned_first;
    if (heap == NULL)
        return NULL;
    abandoned_first = heap->abandoned_next;
    if (abandoned_first == NULL)
        abandoned_last = NULL;
    atomic_fetch_sub_explicit(&abandoned_count, 1, memory_order_relaxed);
    return heap;
}

static void abandoned_push(hak_heap *heap)
{
    heap->abandoned_next = NULL;
    if (abandoned_last != NULL)
        abandoned_last->abandoned_next = heap;
    else
        abandoned_first = heap;
    abandoned_last = heap;
    atomic_fetch_add_explicit(&abandoned_count, 1, memory_order_relaxed);
}

hak_heap *hak_heap_new(void)
{
    hak_lock_take(&hak_heaps_lock);
    hak_heap *heap = abandoned_pop();
    if (heap != NULL)
        atomic_store_explicit(&heap->state, HAK_HEAP_LIVE, memory_order_relaxed);
    hak_lock_give(&hak_heaps_lock);
    if (heap != NULL) {
        hak_count(HAK_COUNT_HEAP_REUSED, 1);
        return heap;
    }
    heap = hak_os_map(hak_align_up(sizeof *heap, HAK_OS_PAGE_BYTES), HAK_OS_PAGE_BYTES);
    if (heap == NULL)
        return NULL;
    hak_count(HAK_COUNT_OS_MAP, 1);
    hak_count(HAK_COUNT_HEAP_NEW, 1);
    hak_heap_init_bins(heap, hak_feature_on(HAK_FEATURE_LISTS));
    hak_front_init(heap);
    hak_lock_take(&hak_heaps_lock);
    heap->all_next = all_heaps;
    all_heaps = heap;
    hak_lock_give(&hak_heaps_lock);
    return heap;
}

void hak_heap_leave(hak_heap *heap)
{
    hak_heap_flush(heap);
    hak_lock_take(&hak_heaps_lock);
    atomic_store_explicit(&heap->state, HAK_HEAP_ABANDONED, memory_order_relaxed);
    hak_heap_drain(heap);
    abandoned_push(heap);
    hak_lock_give(&hak_heaps_lock);
    hak_count(HAK_COUNT_HEAP_ABANDONED, 1);
}

hak_slab *hak_heap_adopt(hak_heap *mine, hak_place place, unsigned class_index)
{
    if (HAK_LIKELY(atomic_load_explicit(&abandoned_count, memory_order_relaxed) == 0))
        return NULL;
    hak_slab *slab = NULL;
    if (!hak_lock_try(&hak_heaps_lock))
        return NULL;
    for (unsigned i = 0; i < ADOPT_LOOK_COUNT && slab == NULL; i++) {
        hak_heap *heap = abandoned_pop();
        if (heap == NULL)
            break;
        hak_heap_drain(heap);
        slab = heap->partial[place][class_index];
        if (slab != NULL) {
            hak_slab_unlink(heap, slab);
            if (slab->reserved) {
                heap->empty_kept--;
                slab->reserved = false;
            }
            hak_slab_own(mine, slab); /* here: a later drain of the old heap must see it */
        }
        abandoned_push(heap);
        if (heap == abandoned_first)
            break; /* the only one */
    }
    hak_lock_give(&hak_heaps_lock);
    return slab;
}

void hak_heap_drain_abandoned(hak_heap *heap)
{
    if (!hak_lock_try(&hak_heaps_lock))
        return; /* the next free, adoption or new thread sees to it */
    if (atomic_load_explicit(&heap->state, memory_order_relaxed) == HAK_HEAP_ABANDONED)
        hak_heap_drain(heap);
    hak_lock_give(&hak_heaps_lock);
}

bool hak_heap_lose_others(hak_heap *mine)
{
    bool others = false;
    for (hak_heap *heap = all_heaps; heap != NULL; heap = heap->all_next)
        if (heap != mine && atomic_load_explicit(&heap->state, memory_order_relaxed) == HAK_HEAP_LIVE) {
            atomic_store_explicit(&heap->state, HAK_HEAP_LOST, memory_order_relaxed);
            others = true;
        }
    return others;
}

void hak_heap_visit(void (*visit)(hak_heap *heap, void *context), void *context)
{
    hak_lock_take(&hak_heaps_lock);
    for (hak_heap *heap = all_heaps; heap != NULL; heap = heap->all_next)
        visit(heap, context);
    visit(&hak_heap_shared, context);
    visit(&hak_heap_tracked, context);
    hak_lock_give(&hak_heaps_lock);
}

bool hak_heap_alone(const hak_heap *mine)
{
    hak_lock_take(&hak_heaps_lock);
    const hak_heap *heap = all_heaps;
    while (heap != NULL && (heap == mine || heap->state != HAK_HEAP_LIVE))
        heap = heap->all_next;
    hak_lock_give(&hak_heaps_lock);
    return heap == NULL;
}

bool hak_heap_any_key(const hak_block *block)
{
    hak_lock_take(&hak_heaps_lock);
    const hak_heap *heap = all_heaps;
    while (heap != NULL && block->key != hak_block_key(block, heap))
        heap = heap->all_next;
    hak_lock_give(&hak_heaps_lock);
    return heap != NULL || block->key == hak_block_key(block, &hak_heap_shared) ||
           block->key == hak_block_key(block, &hak_heap_tracked);
}

typedef struct sum {
    hak_heap_counter counter;
    uint64_t value;
} sum;

/* Another thread's counters are read while it runs: aligned words, momentarily stale. */
static void add_counter(hak_heap *heap, void *context)
{
    sum *s = context;
    s->value += heap->counters[s->counter];
    if (s->counter != HAK_COUNT_FREE_TLS_SLL)
        return;
    s->value += heap->granted;
    for (unsigned i = 0; i < hak_classes.count; i++) {
        s->value -= heap->bins[i].room;
        for (unsigned place = 0; place < HAK_PLACE_COUNT; place++)
            s->value -= heap->placed[place][i].room;
    }
}

uint64_t hak_heap_counter_sum(hak_heap_counter counter)
{
    sum s = {counter, 0};
    hak_heap_visit(add_counter, &s);
    return s.value;
}
