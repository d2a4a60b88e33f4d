/* sync.c: the waiting side of sync.h. Linux futexes, private to the process. */
#include "replay/sync.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void futex(void *word, int verb, uint32_t value, uint32_t bits)
{
    syscall(SYS_futex, word, verb | FUTEX_PRIVATE_FLAG, value, NULL, NULL, bits);
}

void hak_futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    futex(word, FUTEX_WAIT_BITSET, value, FUTEX_BITSET_MATCH_ANY);
}

void hak_futex_wake(_Atomic uint32_t *word)
{
    futex(word, FUTEX_WAKE_BITSET, INT_MAX, FUTEX_BITSET_MATCH_ANY);
}

/* The low half of a cell is its futex word (little endian): no block's address ends in ...00000001. */
void hak_cell_wake(hak_cell *cell, uintptr_t waited)
{
    if (waited == HAK_CELL_WAITED)
        futex(cell, FUTEX_WAKE_BITSET, 1, FUTEX_BITSET_MATCH_ANY);
    else
        hak_fiber_wake((hak_fiber *)(waited - HAK_CELL_WAITED));
}

uintptr_t hak_cell_wait(hak_cell *cell, const hak_waiter *waiter)
{
    uintptr_t value;
    if (waiter->fiber != NULL) {
        hak_fiber_wait_cell(waiter->fiber, cell);
        return atomic_load_explicit(cell, memory_order_acquire);
    }
    for (uint32_t i = 0; i < waiter->spins; i++) {
        value = atomic_load_explicit(cell, memory_order_acquire);
        if (value > HAK_CELL_WAITED)
            return value;
        pause_cpu();
    }
    for (;;) {
        value = HAK_CELL_EMPTY;
        if (!atomic_compare_exchange_strong_explicit(cell, &value, HAK_CELL_WAITED, memory_order_acquire,
                                                     memory_order_acquire) &&
            value > HAK_CELL_WAITED)
            return value;
        futex(cell, FUTEX_WAIT_BITSET, (uint32_t)HAK_CELL_WAITED, FUTEX_BITSET_MATCH_ANY);
    }
}

/* Sleepers for different epochs use different bits, so that an advance wakes those it concerns. */
static uint32_t bit_of(uint32_t epoch)
{
    return (uint32_t)1 << (epoch % 32);
}

static void advance(hak_epochs *epochs)
{
    uint32_t bits = 0;
    uint32_t done = atomic_load(&epochs->done), from = done;
    while (done < epochs->count && atomic_load(&epochs->left[done]) == 0)
        if (atomic_compare_exchange_strong(&epochs->done, &done, done + 1))
            bits |= bit_of(++done);
    if (bits != 0 && epochs->fibers != NULL)
        hak_fibers_advance(epochs->fibers, from, done);
    else if (bits != 0 && atomic_load(&epochs->sleepers) != 0)
        futex(&epochs->done, FUTEX_WAKE_BITSET, INT_MAX, bits);
}

void hak_epochs_start(hak_epochs *epochs)
{
    atomic_store(&epochs->done, 0);
    advance(epochs);
}

void hak_epochs_leave(hak_epochs *epochs, uint32_t epoch)
{
    if (atomic_fetch_sub(&epochs->left[epoch], 1) == 1)
        advance(epochs);
}

void hak_epochs_wait(hak_epochs *epochs, uint32_t until, const hak_waiter *waiter)
{
    if (waiter->fiber != NULL) {
        if (atomic_load_explicit(&epochs->done, memory_order_acquire) < until)
            hak_fiber_wait_epoch(waiter->fiber, epochs, until);
        return;
    }
    for (uint32_t i = 0; i < waiter->spins; i++) {
        if (atomic_load_explicit(&epochs->done, memory_order_acquire) >= until)
            return;
        pause_cpu();
    }
    atomic_fetch_add(&epochs->sleepers, 1);
    for (;;) {
        uint32_t done = atomic_load(&epochs->done);
        if (done >= until)
            break;
        futex(&epochs->done, FUTEX_WAIT_BITSET, done, bit_of(until));
    }
    atomic_fetch_sub(&epochs->sleepers, 1);
}
