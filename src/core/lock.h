/* lock.h: the allocator's own mutex (one futex word, no libc object, usable before libc is ready) and the
 * order in which locks may be taken.
 *
 * A thread holds at most one lock of each rank and takes them in ascending order; debug builds assert it.
 * Only a lock that is tried may come out of order: who does not wait closes no circle. The fork handlers take
 * every lock in this order and give them back in the parent and in the child (fork.c). Never held while
 * calling out of the library. Any thread. */
#ifndef HAK_CORE_LOCK_H
#define HAK_CORE_LOCK_H

#include "core/base/types.h"

typedef enum hak_lock_rank {
    HAK_RANK_INIT,       /* options.c: first call into the library */
    HAK_RANK_SHARED,     /* heap.c: the heap of threads that have ended, and that of tracked blocks */
    HAK_RANK_HEAPS,      /* heap_list.c: which heaps exist and which are without a thread */
    HAK_RANK_PLAIN,      /* plain.c: the whole MINIMAL heap */
    HAK_RANK_QUARANTINE, /* research.c */
    HAK_RANK_PURGE,    /* superslab.c: who gives memory of the pool back, the pool's lock let go meanwhile */
    HAK_RANK_BIGCACHE, /* bigcache.c */
    HAK_RANK_POOL,     /* superslab.c: units, purge state */
    HAK_RANK_COUNT
} hak_lock_rank;

typedef struct hak_lock {
    _Atomic uint32_t word; /* 0 free, 1 held, 2 held and someone may sleep */
    uint32_t rank;         /* hak_lock_rank */
} hak_lock;

#define HAK_LOCK_INIT(rank_)                                                                                 \
    {                                                                                                        \
        .word = 0, .rank = (rank_)                                                                           \
    }

void hak_lock_wait(hak_lock *lock); /* slow half of hak_lock_take */
void hak_lock_wake(hak_lock *lock); /* slow half of hak_lock_give */

/* Debug builds keep what the thread holds; asserted: the order, and that what is given was held. */
void hak_lock_note_take(const hak_lock *lock);
void hak_lock_note_tried(const hak_lock *lock);
void hak_lock_note_give(const hak_lock *lock);

/* While a thread forks it holds every lock (fork.c); what it calls between the handlers takes and gives none.
 */
extern HAK_TLS_IE bool hak_lock_all_mine;

HAK_INLINE void hak_lock_take(hak_lock *lock)
{
    if (HAK_UNLIKELY(hak_lock_all_mine))
        return;
#if defined(HAKMEM_DEBUG)
    hak_lock_note_take(lock);
#endif
    uint32_t expected = 0;
    /* acquire: pairs with the release in hak_lock_give */
    if (HAK_UNLIKELY(!atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                              memory_order_relaxed)))
        hak_lock_wait(lock);
}

HAK_INLINE bool hak_lock_try(hak_lock *lock)
{
    if (HAK_UNLIKELY(hak_lock_all_mine))
        return true;
    uint32_t expected = 0;
    bool taken = atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                         memory_order_relaxed);
#if defined(HAKMEM_DEBUG)
    if (taken)
        hak_lock_note_tried(lock);
#endif
    return taken;
}

HAK_INLINE void hak_lock_give(hak_lock *lock)
{
    if (HAK_UNLIKELY(hak_lock_all_mine))
        return;
#if defined(HAKMEM_DEBUG)
    hak_lock_note_give(lock);
#endif
    if (HAK_UNLIKELY(atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2))
        hak_lock_wake(lock);
}

#endif
