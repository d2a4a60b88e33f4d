/* heap_remote.c: blocks that threads free to heaps of others: outboxes, the slab's remote list, the owner's
 * pending stack. heap.h writes down what pairs with what. Never calls malloc. The push half runs on any
 * thread; take and drain on the owner's. */
#include "core/heap.h"
#include "core/secure.h"

#define REMOTE_QUEUED      UINT64_C(1)
#define REMOTE_COUNT_SHIFT 48
#define REMOTE_ADDRESS     (((UINT64_C(1) << REMOTE_COUNT_SHIFT) - 1) & ~UINT64_C(15))
#define OUTBOX_COUNT       32         /* blocks of one slab another thread collects, at most */
#define OUTBOX_BYTES       4096       /* and their bytes */
#define LIST_LOOK_COUNT    (1u << 18) /* longer than any list: ends a walk through a bent one */

_Atomic uint64_t hak_heapless_frees;

bool hak_slab_queued(const hak_slab *slab)
{
    return (atomic_load_explicit(&slab->remote, memory_order_relaxed) & REMOTE_QUEUED) != 0;
}

uint32_t hak_slab_take_remote(hak_slab *slab, bool popped)
{
    uint64_t word = atomic_load_explicit(&slab->remote, memory_order_relaxed);
    if (popped)
        word = atomic_exchange_explicit(&slab->remote, 0, memory_order_acquire);
    else if (word >> REMOTE_COUNT_SHIFT == 0)
        return 0;
    else
        while (!atomic_compare_exchange_weak_explicit(&slab->remote, &word, word & REMOTE_QUEUED,
                                                      memory_order_acquire, memory_order_relaxed))
            ;
    uint32_t count = (uint32_t)(word >> REMOTE_COUNT_SHIFT);
    if (count == 0)
        return 0;
    hak_block *first = (hak_block *)(word & REMOTE_ADDRESS);
    if (count > slab->used)
        hak_heap_corrupted(first);
    if (slab->local != NULL) {
        hak_block *last = first;
        for (uint32_t i = 1; i < count; i++) {
            last = hak_block_next(last);
            if (hak_superslab_of(last) != hak_superslab_of(slab))
                hak_heap_corrupted(slab->start);
        }
        hak_block_link(last, slab->local);
    }
    slab->local = first;
    slab->used -= count;
    return count;
}

void hak_heap_drain(hak_heap *heap)
{
    if (atomic_load_explicit(&heap->pending, memory_order_seq_cst) == NULL) /* heap.h: leaving */
        return;
    hak_slab *slab = atomic_exchange_explicit(&heap->pending, NULL, memory_order_acquire);
    while (slab != NULL) {
        hak_slab *next = slab->pending_next;
        hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
        if (owner != heap) { /* adopted by another heap meanwhile: hand it on, still queued */
            hak_slab *top = atomic_load_explicit(&owner->pending, memory_order_relaxed);
            do
                slab->pending_next = top;
            while (!atomic_compare_exchange_weak_explicit(&owner->pending, &top, slab, memory_order_release,
                                                          memory_order_relaxed));
        } else {
            hak_slab_take_remote(slab, true);
            if (slab->used < slab->capacity && !slab->linked)
                hak_slab_link(heap, slab);
            if (slab->used == 0 && !slab->reserved)
                hak_slab_emptied(heap, slab);
        }
        slab = next;
    }
}

/* Pushes a chain onto the slab's remote list, and the slab onto its owner's pending stack if it is on none.
 */
static void push_remote(hak_slab *slab, hak_block *first, hak_block *last, uint32_t count)
{
    /* Before the push: afterwards the slab may be gone, unless its place on the pending stack is ours. */
    hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
    uint64_t word = atomic_load_explicit(&slab->remote, memory_order_relaxed);
    uint64_t next;
    do {
        hak_block_link(last, (hak_block *)(word & REMOTE_ADDRESS));
        next =
            ((word >> REMOTE_COUNT_SHIFT) + count) << REMOTE_COUNT_SHIFT | (uintptr_t)first | REMOTE_QUEUED;
    } while (!atomic_compare_exchange_weak_explicit(&slab->remote, &word, next, memory_order_release,
                                                    memory_order_relaxed));
    if ((word & REMOTE_QUEUED) == 0) {
        owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
        hak_slab *top = atomic_load_explicit(&owner->pending, memory_order_relaxed);
        do
            slab->pending_next = top;
        while (!atomic_compare_exchange_weak_explicit(&owner->pending, &top, slab, memory_order_seq_cst,
                                                      memory_order_relaxed));
    }
    /* Nobody else will look at a heap without a thread; an idle slab of it must not stay for ever. */
    uint32_t state = atomic_load_explicit(&owner->state, memory_order_seq_cst);
    if (state == HAK_HEAP_ABANDONED)
        hak_heap_drain_abandoned(owner);
    else if (state == HAK_HEAP_SHARED && hak_lock_try(&hak_shared_lock)) {
        hak_heap_drain(owner);
        hak_lock_give(&hak_shared_lock);
    }
}

static void outbox_send(hak_outbox *box)
{
    hak_slab *slab = box->slab;
    box->slab = NULL;
    if (slab != NULL)
        push_remote(slab, box->first, box->last, box->count);
}

static hak_outbox *outbox_of(hak_heap *heap, const hak_slab *slab)
{
    return &heap->outboxes[(uintptr_t)slab / sizeof *slab % HAK_OUTBOXES];
}

void hak_heap_send_outboxes(hak_heap *heap)
{
    for (unsigned i = 0; i < HAK_OUTBOXES; i++)
        outbox_send(&heap->outboxes[i]);
}

void hak_heap_put_remote(hak_heap *heap, hak_slab *slab, hak_block *block)
{
    hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    block->key = hak_block_key(block, owner);
    if (heap == NULL) {
        atomic_fetch_add_explicit(&hak_heapless_frees, 1, memory_order_relaxed);
        push_remote(slab, block, block, 1);
        return;
    }
    hak_heap_count(heap, HAK_COUNT_FREE_SS_REMOTE, 1);
    hak_outbox *box = outbox_of(heap, slab);
    if (box->slab == slab) {
        hak_block_link(block, box->first);
        box->first = block;
        box->count++;
    } else {
        outbox_send(box);
        uint32_t most = (uint32_t)(OUTBOX_BYTES / slab->block_bytes);
        *box = (hak_outbox){slab, block, block, 1, most < OUTBOX_COUNT ? most : OUTBOX_COUNT};
    }
    if (box->count >= box->most)
        outbox_send(box);
}

/* The list may be another thread's and change under our eyes, so each step is looked at before it is made. */
static bool list_holds(const hak_block *list, const hak_block *block)
{
    for (uint32_t i = 0; list != NULL && i < LIST_LOOK_COUNT; i++, list = hak_block_next(list)) {
        if (list == block)
            return true;
        if (!hak_block_plausible(list))
            return false;
    }
    return false;
}

bool hak_heap_holds(const hak_slab *slab, const hak_block *block)
{
    hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
    const hak_outbox *box = outbox_of(hak_tls_heap, slab);
    uint64_t word = atomic_load_explicit(&slab->remote, memory_order_acquire);
    return (box->slab == slab && list_holds(box->first, block)) ||
           list_holds((const hak_block *)(word & REMOTE_ADDRESS), block) || list_holds(slab->local, block) ||
           list_holds(hak_bin_at(owner, slab->bin)->head, block);
}
