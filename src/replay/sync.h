/* sync.h: how threads of a replay wait for one another: hand-over cells and epochs. Threads spin a little,
 * then sleep on a futex; fibers let another one run. Never allocates, never fails.
 *
 * Orderings: hak_cell_put's exchange (release) pairs with hak_cell_take's load (acquire). Leaving an epoch
 * (fetch_sub, seq_cst) and advancing `done` (compare-exchange, seq_cst) pair with the load of `done`
 * (acquire) of those who enter; that also orders an emptied cell before its next use. A waiter counts itself
 * (seq_cst) before it looks again, an advancer stores before it looks for waiters: one of the two sees the
 * other. */
#ifndef HAK_REPLAY_SYNC_H
#define HAK_REPLAY_SYNC_H

#include "core/base/types.h"
#include "replay/fibers.h"

/* Who waits. */
typedef struct hak_waiter {
    hak_fiber *fiber; /* NULL: a thread by itself */
    uint32_t spins;
} hak_waiter;

/* A block handed from one thread to another. */
typedef _Atomic uintptr_t hak_cell;

#define HAK_CELL_EMPTY ((uintptr_t)0)
#define HAK_CELL_WAITED                                                                                      \
    ((uintptr_t)1)                   /* empty, and its taker sleeps; with a fiber's address: that one waits */
#define HAK_CELL_NULL ((uintptr_t)2) /* holds NULL: the allocation failed */

void hak_cell_wake(hak_cell *cell, uintptr_t waited);              /* `waited` was in it */
uintptr_t hak_cell_wait(hak_cell *cell, const hak_waiter *waiter); /* until it holds something */

HAK_INLINE void hak_cell_put(hak_cell *cell, void *block)
{
    uintptr_t value = block != NULL ? (uintptr_t)block : HAK_CELL_NULL;
    uintptr_t before = atomic_exchange_explicit(cell, value, memory_order_acq_rel);
    if (HAK_UNLIKELY(before != HAK_CELL_EMPTY))
        hak_cell_wake(cell, before);
}

HAK_INLINE void *hak_cell_take(hak_cell *cell, const hak_waiter *waiter)
{
    uintptr_t value = atomic_load_explicit(cell, memory_order_acquire);
    if (HAK_UNLIKELY(value == HAK_CELL_EMPTY))
        value = hak_cell_wait(cell, waiter);
    atomic_store_explicit(cell, HAK_CELL_EMPTY, memory_order_relaxed);
    return value == HAK_CELL_NULL ? NULL : (void *)value;
}

/* Epochs 0 … count - 1, each complete when all that take part in it have left it. */
struct hak_epochs {
    alignas(HAK_CACHE_LINE) _Atomic uint32_t done; /* all before this one are complete; the futex word */
    _Atomic uint32_t sleepers;
    alignas(HAK_CACHE_LINE) _Atomic uint32_t *left; /* who still takes part, per epoch */
    uint32_t count;
    hak_fibers *fibers; /* NULL: threads */
};

void hak_epochs_start(hak_epochs *epochs); /* `left` has just been set */
void hak_epochs_leave(hak_epochs *epochs, uint32_t epoch);
void hak_epochs_wait(hak_epochs *epochs, uint32_t until, const hak_waiter *waiter); /* until done >= until */

/* Plain futex: sleeps while *word == value; wakes all. */
void hak_futex_wait(_Atomic uint32_t *word, uint32_t value);
void hak_futex_wake(_Atomic uint32_t *word);

#endif
