/* heap_remote.c: blocks that threads free to heaps of others: outboxes, inboxes, the slab's remote list, the
 * owner's pending stack. heap.h writes down what pairs with what. Never calls malloc. The push half runs on
 * any thread; take and drain on the owner's. */
#include "core/base/print.h"
#include "core/heap.h"
#include "core/secure.h"

#define REMOTE_QUEUED      UINT64_C(1)
#define REMOTE_COUNT_SHIFT 48
#define REMOTE_ADDRESS     (((UINT64_C(1) << REMOTE_COUNT_SHIFT) - 1) & ~UINT64_C(15))
#define OUTBOX_BYTES       8192                              /* collected for one owner, about */
#define OUTBOX_LEAST_BYTES (OUTBOX_BYTES / HAK_OUTBOX_COUNT) /* what a block counts for at least */
#define PREFETCH_SLOTS     6          /* how far ahead of a take its blocks are fetched */
#define LIST_LOOK_COUNT    (1u << 18) /* longer than any list: ends a walk through a bent one */

_Atomic uint64_t hak_heapless_frees;

static _Noreturn HAK_COLD void freed_twice(const hak_block *block)
{
    hak_count(HAK_COUNT_MISUSE, 1);
    hak_fatal_address("free(): double free of", block);
}

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

static void drain_pending(hak_heap *heap)
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

/* A block of a slab that has another owner by now. */
static void hand_on(hak_slab *slab, hak_block *block)
{
    block->key = hak_block_key(block, atomic_load_explicit(&slab->owner, memory_order_acquire));
    push_remote(slab, block, block, 1);
}

/* ---- inbox ---- */

/* Onto the owner's list, as its own free would put it; the mark of a free block is there already. */
static void list_block(hak_heap *heap, hak_block *block)
{
    uintptr_t unit = hak_window_unit(block);
    size_t place = unit < HAK_WINDOW_UNITS ? ((hak_thread_heap *)heap)->place_of[unit] : 0;
    hak_bin *bin = hak_bin_at(heap, place);
    if (HAK_LIKELY(place != 0 && bin->room > 0)) {
        bin->room--;
        heap->granted--; /* counted as a remote free */
        block->key = hak_block_key(block, heap);
        hak_block_link(block, bin->head);
        bin->head = block;
        return;
    }
    hak_slab *slab = hak_slab_of(block);
    if (atomic_load_explicit(&slab->owner, memory_order_relaxed) == heap)
        hak_heap_put(heap, slab, block);
    else
        hand_on(slab, block);
}

static void take_home(hak_heap *heap, hak_block *block)
{
    hak_slab *slab = hak_slab_of(block);
    if (atomic_load_explicit(&slab->owner, memory_order_relaxed) == heap)
        hak_heap_put_home(heap, slab, block);
    else
        hand_on(slab, block);
}

/* Empties slots up to the first that is empty. Each is emptied before its block is put anywhere. */
static void inbox_take(hak_heap *heap, void (*put)(hak_heap *, hak_block *))
{
    uint64_t head = atomic_load_explicit(&heap->inbox_head, memory_order_relaxed),
             end = head + HAK_INBOX_SLOTS;
    for (; head < end; head++) {
        hak_block *_Atomic *slot = &heap->inbox[head % HAK_INBOX_SLOTS];
        hak_block *block = atomic_load_explicit(slot, memory_order_acquire);
        if (block == NULL)
            break;
        __builtin_prefetch(atomic_load_explicit(&heap->inbox[(head + PREFETCH_SLOTS) % HAK_INBOX_SLOTS],
                                                memory_order_relaxed),
                           1);
        atomic_store_explicit(slot, NULL, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst); /* a forked child must not find it in both (heap_lost.c) */
        put(heap, block);
    }
    atomic_store_explicit(&heap->inbox_head, head, memory_order_release);
}

void hak_heap_empty_inbox(hak_heap *heap)
{
    inbox_take(heap, list_block);
}

void hak_heap_drain(hak_heap *heap)
{
    if (hak_inbox_filled(heap, memory_order_seq_cst)) /* heap.h: leaving */
        inbox_take(heap, take_home);
    drain_pending(heap);
}

void hak_heap_repack_inbox(hak_heap *heap)
{
    if (atomic_load_explicit(&heap->inbox_tail, memory_order_relaxed) == 0)
        return; /* never used: nor is its memory */
    uint32_t count = 0;
    for (uint32_t i = 0; i < HAK_INBOX_SLOTS; i++) {
        hak_block *block = atomic_load_explicit(&heap->inbox[i], memory_order_relaxed);
        atomic_store_explicit(&heap->inbox[i], NULL, memory_order_relaxed);
        if (block != NULL)
            atomic_store_explicit(&heap->inbox[count++], block, memory_order_relaxed);
    }
    atomic_store_explicit(&heap->inbox_head, 0, memory_order_relaxed);
    atomic_store_explicit(&heap->inbox_tail, count, memory_order_relaxed);
    atomic_store_explicit(&heap->inbox_posted, count, memory_order_relaxed);
}

void hak_slab_requeue(hak_slab *slab)
{
    uint64_t word = atomic_load_explicit(&slab->remote, memory_order_relaxed) & ~REMOTE_QUEUED;
    hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    if (word >> REMOTE_COUNT_SHIFT != 0 && owner != NULL) {
        word |= REMOTE_QUEUED;
        slab->pending_next = atomic_load_explicit(&owner->pending, memory_order_relaxed);
        atomic_store_explicit(&owner->pending, slab, memory_order_relaxed);
    }
    atomic_store_explicit(&slab->remote, word, memory_order_relaxed);
}

static bool inbox_post(hak_heap *owner, hak_block *const *blocks, uint32_t count)
{
    uint64_t tail = atomic_load_explicit(&owner->inbox_tail, memory_order_relaxed);
    do
        if (tail + count - atomic_load_explicit(&owner->inbox_head, memory_order_acquire) > HAK_INBOX_SLOTS)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&owner->inbox_tail, &tail, tail + count,
                                                  memory_order_relaxed, memory_order_relaxed));
    for (uint32_t i = 0; i < count; i++)
        atomic_store_explicit(&owner->inbox[(tail + i) % HAK_INBOX_SLOTS], blocks[i], memory_order_release);
    atomic_fetch_add_explicit(&owner->inbox_posted, count, memory_order_seq_cst);
    /* Nobody else will look at a heap without a thread. */
    if (atomic_load_explicit(&owner->state, memory_order_seq_cst) == HAK_HEAP_ABANDONED)
        hak_heap_drain_abandoned(owner);
    return true;
}

/* ---- outboxes ---- */

/* The blocks by slab: a chain for each. */
static void push_all(hak_block **blocks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (blocks[i] == NULL)
            continue;
        hak_slab *slab = hak_slab_of(blocks[i]);
        hak_block *first = blocks[i];
        uint32_t length = 1;
        for (uint32_t k = i + 1; k < count; k++)
            if (blocks[k] != NULL && hak_slab_of(blocks[k]) == slab) {
                hak_block_link(blocks[k], first);
                first = blocks[k];
                blocks[k] = NULL;
                length++;
            }
        push_remote(slab, first, blocks[i], length);
    }
}

/* Whether a block is free already is looked at only here: by now its cache line has arrived. What was looked
 * at is in the box again, so that a second one of the same is found. */
static void mark_all(const hak_heap *heap, hak_outbox *box, uint32_t count)
{
    box->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        hak_block *block = box->blocks[i];
        if (HAK_UNLIKELY(hak_block_has_key_of(block, box->owner, heap)))
            hak_heap_refuse_free(hak_slab_of(block), block);
        block->key = hak_block_key(block, box->owner);
        box->count = i + 1;
    }
}

static void outbox_send(const hak_heap *heap, hak_outbox *box)
{
    hak_heap *owner = box->owner;
    uint32_t count = box->count;
    box->room_bytes = OUTBOX_BYTES;
    if (count == 0)
        return;
    mark_all(heap, box, count);
    box->count = 0;
    box->last = NULL;
    atomic_signal_fence(memory_order_seq_cst); /* a forked child must not find them in both (heap_lost.c) */
    if (atomic_load_explicit(&owner->state, memory_order_relaxed) != HAK_HEAP_LIVE ||
        !inbox_post(owner, box->blocks, count))
        push_all(box->blocks, count);
}

static hak_outbox *outbox_of(hak_heap *heap, const hak_heap *owner)
{
    return &heap->outboxes[owner->number % HAK_OUTBOXES];
}

void hak_heap_send_outboxes(hak_heap *heap)
{
    for (unsigned i = 0; i < HAK_OUTBOXES && heap->posts; i++)
        outbox_send(heap, &heap->outboxes[i]);
}

HAK_COLD static void put_without_heap(hak_slab *slab, hak_block *block)
{
    atomic_fetch_add_explicit(&hak_heapless_frees, 1, memory_order_relaxed);
    hak_heap_refuse_free(slab, block);
    block->key = hak_block_key(block, atomic_load_explicit(&slab->owner, memory_order_relaxed));
    push_remote(slab, block, block, 1);
}

void hak_heap_put_remote(hak_heap *heap, hak_slab *slab, hak_block *block)
{
    if (HAK_UNLIKELY(heap == NULL)) {
        put_without_heap(slab, block);
        return;
    }
    hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    __builtin_prefetch(block, 1);
    hak_heap_count(heap, HAK_COUNT_FREE_SS_REMOTE, 1);
    hak_outbox *box = outbox_of(heap, owner);
    HAK_AS_WRITTEN(box);
    if (HAK_UNLIKELY(box->owner != owner)) {
        outbox_send(heap, box);
        box->owner = owner;
        heap->posts = true;
    }
    if (HAK_UNLIKELY(box->last == block))
        freed_twice(block);
    uint32_t count = box->count;
    box->blocks[count] = block;
    atomic_signal_fence(memory_order_seq_cst); /* what is counted is there (heap_lost.c) */
    box->count = count + 1;
    box->last = block;
    uint32_t bytes = slab->block_bytes;
    box->room_bytes -= (int32_t)(bytes > OUTBOX_LEAST_BYTES ? bytes : OUTBOX_LEAST_BYTES);
    if (box->room_bytes <= 0)
        outbox_send(heap, box);
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

static bool inbox_holds(const hak_heap *owner, const hak_block *block)
{
    bool held = false;
    for (uint32_t i = 0; i < HAK_INBOX_SLOTS && hak_inbox_filled(owner, memory_order_relaxed) && !held; i++)
        held = atomic_load_explicit(&owner->inbox[i], memory_order_relaxed) == block;
    return held;
}

static bool outbox_holds(const hak_outbox *box, const hak_block *block)
{
    bool held = false;
    for (uint32_t i = 0; i < box->count && !held; i++)
        held = box->blocks[i] == block;
    return held;
}

bool hak_heap_holds(const hak_slab *slab, const hak_block *block)
{
    hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
    if (!hak_block_has_key_of(block, owner, hak_tls_heap))
        return false;
    uint64_t word = atomic_load_explicit(&slab->remote, memory_order_acquire);
    return outbox_holds(outbox_of(hak_tls_heap, owner), block) || inbox_holds(owner, block) ||
           list_holds((const hak_block *)(word & REMOTE_ADDRESS), block) || list_holds(slab->local, block) ||
           list_holds(hak_bin_at(owner, slab->bin)->head, block) ||
           list_holds(hak_tls_heap->bins[slab->class_index].head, block) ||
           list_holds(hak_tls_heap->kept[slab->class_index].head, block);
}

void hak_heap_refuse_free(const hak_slab *slab, const hak_block *block)
{
    if (hak_heap_holds(slab, block))
        freed_twice(block);
}
