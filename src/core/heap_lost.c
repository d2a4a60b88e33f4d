/* heap_lost.c: what becomes, in a forked child, of the heaps of threads that did not survive fork.
 *
 * The kernel copied each of those threads at some point between two of its instructions, perhaps in the
 * middle of a change to its lists. Until memory is wanted, nothing of such a heap is touched, so that a child
 * that calls exec pays nothing. Then its state is built anew from what can be proved: every block that was
 * ever handed out counts as used but those found on one of its lists, each followed only as far as the blocks
 * are marked as free; a block found twice is taken once. A block that was between two lists stays used. The
 * lists' code stores nothing twice on its way, and empties the place a block comes from first. After that the
 * heap is like one whose thread ended.
 * Under hak_heaps_lock; other threads of the child may free to these heaps meanwhile. Never allocates. */
#include <string.h>

#include "core/heap.h"
#include "core/large.h"
#include "core/mid.h"
#include "core/secure.h"

/* The mark of blocks that have been found: the key of no thread's heap. */
static uintptr_t found_key(const hak_block *block)
{
    return hak_block_key(block, &hak_heap_none);
}

static bool is_lost(const hak_heap *heap)
{
    return heap != NULL && atomic_load_explicit(&heap->state, memory_order_relaxed) == HAK_HEAP_LOST;
}

/* True when the block is put on its slab's local list; false: it is none, not of this heap, or found before.
 */
static bool find_home(const hak_heap *heap, hak_block *block, bool marked)
{
    if (!hak_block_plausible(block) || block == NULL)
        return false;
    hak_slab *slab = hak_slab_of(block);
    if (slab->kind != HAK_SLAB_BLOCKS || !hak_slab_begins(slab, block) ||
        atomic_load_explicit(&slab->owner, memory_order_relaxed) != heap || block->key == found_key(block) ||
        (marked && block->key != hak_block_key(block, heap) && !hak_heap_any_key_locked(block)))
        return false;
    block->key = found_key(block);
    hak_block_link(block, slab->local);
    slab->local = block;
    slab->used--;
    return true;
}

/* The same for a block of another heap that this one kept: where that is not lost, it is sent there. */
static bool find_kept(const hak_heap *heap, hak_block *block)
{
    if (!hak_block_plausible(block) || block->key != hak_block_key(block, heap))
        return false;
    hak_slab *slab = hak_slab_of(block);
    const hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    if (is_lost(owner))
        return owner != heap && find_home(owner, block, true);
    if (slab->kind != HAK_SLAB_BLOCKS || owner == NULL || !hak_slab_may_begin(slab, block))
        return false;
    if (owner->owns)
        hak_heap_put_remote(NULL, slab, block);
    return true;
}

static void find_list(const hak_heap *heap, hak_block *block)
{
    for (hak_block *next; block != NULL; block = next) {
        next = hak_block_plausible(block) ? hak_block_next(block) : NULL;
        if (!find_home(heap, block, true) && !find_kept(heap, block))
            return;
    }
}

static void forget_bin(hak_heap *heap, hak_bin *bin)
{
    hak_block *list = bin->head;
    bin->head = NULL;
    if (bin->room > 0)
        heap->granted -= (uint64_t)bin->room; /* the sum of counters stays */
    bin->room = 0;
    find_list(heap, list);
}

static void find_in_lists(hak_heap *heap)
{
    for (unsigned i = 0; i < hak_classes.count; i++) {
        forget_bin(heap, &heap->bins[i]);
        hak_block *kept = heap->kept[i].head;
        heap->kept[i] = (hak_kept){0};
        find_list(heap, kept);
        for (unsigned place = 0; place < HAK_PLACE_COUNT; place++)
            forget_bin(heap, &heap->placed[place][i]);
    }
}

/* What it had freed of other heaps' blocks and not sent yet. */
static void send_outboxes(hak_heap *heap)
{
    for (unsigned i = 0; i < HAK_OUTBOXES; i++) {
        hak_outbox *box = &heap->outboxes[i];
        uint32_t count = box->count < HAK_OUTBOX_COUNT ? box->count : 0;
        box->count = 0;
        box->last = NULL;
        for (uint32_t k = 0; k < count; k++) {
            hak_block *block = box->blocks[k];
            hak_slab *slab = hak_slab_of(block);
            const hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_relaxed);
            if (is_lost(owner))
                find_home(owner, block, false);
            else if (owner->owns && block->key != hak_block_key(block, owner))
                hak_heap_put_remote(NULL, slab, block);
        }
    }
}

static void find_runs(hak_heap *heap)
{
    for (unsigned units = 1; units <= HAK_RUN_MAX_UNITS; units++) {
        hak_slab *run = heap->mid_cache[units];
        heap->mid_cache[units] = NULL;
        while (run != NULL && run->kind == HAK_SLAB_MID_CACHED && run->units == units) {
            hak_slab *next = run->next;
            hak_pool_give(run);
            run = next;
        }
    }
    heap->mid_cache_bytes = 0;
}

static void find_large(hak_heap *heap)
{
    hak_front *front = &heap->front;
    uint32_t count = front->count < HAK_FRONT_WAYS ? front->count : HAK_FRONT_WAYS;
    front->count = 0;
    front->held_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        hak_large *large = front->blocks[i];
        if (large->state != HAK_LARGE_CACHED)
            continue;
        large->state = HAK_LARGE_LIVE;
        hak_large_put(large);
    }
    hak_front_flush(heap); /* what it was granted */
}

/* Pass 1: all that was ever handed out counts as used, but what the slab's own list holds. */
static void count_slabs(hak_superslab *super, void *context)
{
    (void)context;
    for (unsigned unit = 0; unit < HAK_UNITS; unit++) {
        hak_slab *slab = &super->slabs[unit];
        const hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
        if (slab->kind != HAK_SLAB_BLOCKS || !is_lost(owner))
            continue;
        hak_block *list = slab->local;
        slab->local = NULL;
        slab->used = slab->fresh;
        slab->linked = slab->reserved = false;
        slab->prev = slab->next = NULL;
        find_list(owner, list);
    }
}

/* Pass 3: the marks become the owner's, and slabs with blocks to give are linked. */
static void link_slabs(hak_superslab *super, void *context)
{
    (void)context;
    for (unsigned unit = 0; unit < HAK_UNITS; unit++) {
        hak_slab *slab = &super->slabs[unit];
        hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
        if (slab->kind != HAK_SLAB_BLOCKS || !is_lost(owner))
            continue;
        for (hak_block *block = slab->local; block != NULL; block = hak_block_next(block))
            block->key = hak_block_key(block, owner);
        hak_slab_take_remote(slab, false);
        if (slab->used < slab->capacity)
            hak_slab_link(owner, slab);
    }
}

static void give_empty(hak_heap *heap)
{
    for (unsigned place = 0; place < HAK_PLACE_COUNT; place++)
        for (unsigned i = 0; i < hak_classes.count; i++)
            for (hak_slab *slab = heap->partial[place][i], *next; slab != NULL; slab = next) {
                next = slab->next;
                if (slab->used == 0)
                    hak_slab_emptied(heap, slab);
            }
}

void hak_heap_recover(hak_heap *lost)
{
    hak_pool_visit(count_slabs, NULL);
    for (hak_heap *heap = lost; heap != NULL; heap = heap->abandoned_next) {
        find_in_lists(heap);
        send_outboxes(heap);
        memset(heap->partial, 0, sizeof heap->partial);
        memset(heap->growth, 0, sizeof heap->growth);
        memset(heap->recall, 0, sizeof heap->recall);
        heap->empty_kept = 0;
    }
    hak_pool_visit(link_slabs, NULL);
    for (hak_heap *heap = lost; heap != NULL; heap = heap->abandoned_next) {
        atomic_store_explicit(&heap->state, HAK_HEAP_ABANDONED, memory_order_seq_cst); /* heap.h: leaving */
        find_runs(heap);
        find_large(heap);
        hak_heap_drain(heap);
        give_empty(heap);
    }
}
