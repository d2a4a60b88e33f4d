/* heap_list.c: which heaps exist, who has them, and what becomes of a heap whose thread ended.
 * Shared state under hak_heaps_lock, but for what a new thread needs where no heap is left over: hundreds
 * that start at once would wait for each other, and who waits is woken behind all that run. So the list of
 * all heaps only grows, at its head, and memory is cut by one compare-and-swap. Heaps are never unmapped;
 * there are as many as threads were alive at once. Any thread. */
#include "core/heap.h"

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/options.h"
#include "core/secure.h"

#define ADOPT_LOOK_COUNT                                                                                     \
    8 /* abandoned heaps looked at per new slab, at most: bounds the time under the lock */

hak_lock hak_heaps_lock = HAK_LOCK_INIT(HAK_RANK_HEAPS);

#define HEAP_BYTES    ((sizeof(hak_thread_heap) + HAK_OS_PAGE_BYTES - 1) / HAK_OS_PAGE_BYTES * HAK_OS_PAGE_BYTES)
#define CUT_MAX_COUNT 64 /* heaps per mapping */
#define UNCUT_SHIFT   48

/* Memory of heaps nobody has had: address | count << 48. It moves on in a mapping and on to another one, so
 * no value comes twice. Relaxed: nothing has been written there. */
static _Atomic uint64_t uncut;
static unsigned cut_next = 1;
static hak_heap *_Atomic all_heaps; /* the push's release CAS pairs with all_first: all_next, number */
static _Atomic uint32_t heap_count;
static hak_heap *abandoned_first, *abandoned_last;
static _Atomic uint32_t abandoned_count;
static hak_heap *lost_first;        /* in a forked child, by abandoned_next, until memory is wanted */
static _Atomic bool recovers_later; /* there are some */

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

static hak_heap *all_first(void)
{
    return atomic_load_explicit(&all_heaps, memory_order_acquire);
}

/* NULL: nothing is left of the mapping. */
static hak_heap *cut(void)
{
    const uint64_t one = UINT64_C(1) << UNCUT_SHIFT;
    uint64_t left = atomic_load_explicit(&uncut, memory_order_relaxed);
    do
        if (left < one)
            return NULL;
    while (!atomic_compare_exchange_weak_explicit(&uncut, &left, left - one + HEAP_BYTES,
                                                  memory_order_relaxed, memory_order_relaxed));
    return (hak_heap *)(left & (one - 1));
}

/* Memory for one more heap: where there are many, cut from a mapping that holds several. NULL with ENOMEM. */
static hak_heap *heap_cut(void)
{
    hak_heap *heap = cut();
    if (heap != NULL)
        return heap;
    hak_lock_take(&hak_heaps_lock);
    heap = cut(); /* another thread may have mapped meanwhile */
    if (heap == NULL) {
        char *map = hak_os_reserve(HEAP_BYTES * cut_next, HAK_OS_PAGE_BYTES);
        if (map == NULL && cut_next > 1)
            map = hak_os_reserve(HEAP_BYTES * (cut_next = 1), HAK_OS_PAGE_BYTES);
        if (map != NULL) {
            hak_count(HAK_COUNT_OS_MAP, 1);
            heap = (hak_heap *)map;
            atomic_store_explicit(&uncut,
                                  (uintptr_t)(map + HEAP_BYTES) | (uint64_t)(cut_next - 1) << UNCUT_SHIFT,
                                  memory_order_relaxed);
            cut_next = cut_next < CUT_MAX_COUNT ? cut_next * 2 : cut_next;
        }
    }
    hak_lock_give(&hak_heaps_lock);
    return heap;
}

static hak_heap *heap_reuse(void)
{
    if (atomic_load_explicit(&abandoned_count, memory_order_relaxed) == 0)
        return NULL;
    hak_lock_take(&hak_heaps_lock);
    hak_heap *heap = abandoned_pop();
    if (heap != NULL)
        atomic_store_explicit(&heap->state, HAK_HEAP_LIVE, memory_order_relaxed);
    hak_lock_give(&hak_heaps_lock);
    if (heap != NULL)
        hak_count(HAK_COUNT_HEAP_REUSED, 1);
    return heap;
}

hak_heap *hak_heap_new(void)
{
    hak_heap *heap = heap_reuse();
    if (heap != NULL)
        return heap;
    heap = heap_cut();
    if (heap == NULL)
        return NULL;
    hak_heap_share(heap);
    heap->owns = true;
    hak_count(HAK_COUNT_HEAP_NEW, 1);
    hak_front_init(heap);
    heap->number = atomic_fetch_add_explicit(&heap_count, 1, memory_order_relaxed);
    heap->all_next = atomic_load_explicit(&all_heaps, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&all_heaps, &heap->all_next, heap, memory_order_release,
                                                  memory_order_relaxed))
        ;
    return heap;
}

void hak_heap_leave(hak_heap *heap)
{
    hak_heap_flush(heap);
    hak_recall_clear(heap);
    hak_lock_take(&hak_heaps_lock);
    atomic_store_explicit(&heap->state, HAK_HEAP_ABANDONED, memory_order_seq_cst);
    hak_heap_drain(heap);
    abandoned_push(heap);
    hak_lock_give(&hak_heaps_lock);
    hak_count(HAK_COUNT_HEAP_ABANDONED, 1);
}

/* The heaps of threads that did not survive fork become heaps whose threads ended. */
HAK_COLD static void recover(void)
{
    hak_heap *lost = lost_first;
    lost_first = NULL;
    atomic_store_explicit(&recovers_later, false, memory_order_relaxed);
    hak_heap_recover(lost);
    for (hak_heap *next; lost != NULL; lost = next) {
        next = lost->abandoned_next;
        abandoned_push(lost);
    }
}

hak_slab *hak_heap_adopt(hak_heap *mine, hak_place place, unsigned class_index)
{
    bool recovers = atomic_load_explicit(&recovers_later, memory_order_relaxed);
    if (HAK_LIKELY(atomic_load_explicit(&abandoned_count, memory_order_relaxed) == 0 && !recovers))
        return NULL;
    hak_slab *slab = NULL;
    if (!hak_lock_try(&hak_heaps_lock))
        return NULL;
    if (HAK_UNLIKELY(recovers) && lost_first != NULL)
        recover();
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
            hak_slab_disown(heap, slab);
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
    for (hak_heap *heap = all_first(); heap != NULL; heap = heap->all_next)
        if (heap != mine && atomic_load_explicit(&heap->state, memory_order_relaxed) == HAK_HEAP_LIVE) {
            atomic_store_explicit(&heap->state, HAK_HEAP_LOST, memory_order_relaxed);
            heap->abandoned_next = lost_first;
            lost_first = heap;
            atomic_store_explicit(&recovers_later, true, memory_order_relaxed);
            others = true;
        }
    return others;
}

void hak_heap_visit(void (*visit)(hak_heap *heap, void *context), void *context)
{
    hak_lock_take(&hak_heaps_lock);
    for (hak_heap *heap = all_first(); heap != NULL; heap = heap->all_next)
        visit(heap, context);
    visit(&hak_heap_shared, context);
    visit(&hak_heap_tracked, context);
    hak_lock_give(&hak_heaps_lock);
}

bool hak_heap_alone(const hak_heap *mine)
{
    hak_lock_take(&hak_heaps_lock);
    const hak_heap *heap = all_first();
    while (heap != NULL && (heap == mine || heap->state != HAK_HEAP_LIVE))
        heap = heap->all_next;
    hak_lock_give(&hak_heaps_lock);
    return heap == NULL;
}

bool hak_heap_any_key_locked(const hak_block *block)
{
    const hak_heap *heap = all_first();
    while (heap != NULL && block->key != hak_block_key(block, heap))
        heap = heap->all_next;
    return heap != NULL || block->key == hak_block_key(block, &hak_heap_shared) ||
           block->key == hak_block_key(block, &hak_heap_tracked);
}

bool hak_heap_any_key(const hak_block *block)
{
    hak_lock_take(&hak_heaps_lock);
    bool any = hak_heap_any_key_locked(block);
    hak_lock_give(&hak_heaps_lock);
    return any;
}

typedef struct sum {
    hak_heap_counter counter;
    uint64_t value;
} sum;

/* A running thread's field, whose plain stores of aligned words are whole: momentarily stale. */
static uint64_t room_of(const hak_bin *bin)
{
    int32_t room = __atomic_load_n(&bin->room, __ATOMIC_RELAXED);
    return room > 0 ? (uint64_t)room : 0;
}

static void add_counter(hak_heap *heap, void *context)
{
    sum *s = context;
    s->value += atomic_load_explicit(&heap->counters[s->counter], memory_order_relaxed);
    s->value += hak_recall_count(heap, s->counter);
    if (s->counter != HAK_COUNT_FREE_TLS_SLL)
        return;
    s->value += __atomic_load_n(&heap->granted, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < hak_classes.count; i++) {
        s->value -= room_of(&heap->bins[i]);
        for (unsigned place = 0; place < HAK_PLACE_COUNT; place++)
            s->value -= room_of(&heap->placed[place][i]);
    }
}

uint64_t hak_heap_counter_sum(hak_heap_counter counter)
{
    sum s = {counter, 0};
    hak_heap_visit(add_counter, &s);
    bool elsewhere = counter == HAK_COUNT_FREE_SS_REMOTE;
    return s.value + (elsewhere ? atomic_load_explicit(&hak_heapless_frees, memory_order_relaxed) : 0);
}
