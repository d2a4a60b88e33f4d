/* lock.c: sleeping and waking for lock.h, and the lock order assertion of debug builds.
 * Never allocates; keeps errno. Any thread. */
#include "core/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/print.h"

#define SPIN_COUNT 64 /* about the length of the critical sections that do not enter the kernel */

HAK_TLS_IE bool hak_lock_all_mine;

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
    int saved = errno;
    syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
    errno = saved;
}

void hak_lock_wait(hak_lock *lock)
{
    for (unsigned i = 0; i < SPIN_COUNT; i++) {
        uint32_t expected = 0;
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                    memory_order_relaxed))
            return;
        __builtin_ia32_pause();
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        futex(&lock->word, FUTEX_WAIT, 2);
}

void hak_lock_wake(hak_lock *lock)
{
    futex(&lock->word, FUTEX_WAKE, 1);
}

#if defined(HAKMEM_DEBUG)
static HAK_TLS_IE uint32_t held_ranks;

void hak_lock_note_take(const hak_lock *lock)
{
    hak_assert(held_ranks < 1u << lock->rank); /* ascending, and not this one already */
    held_ranks |= 1u << lock->rank;
}

void hak_lock_note_tried(const hak_lock *lock)
{
    hak_assert((held_ranks & 1u << lock->rank) == 0);
    held_ranks |= 1u << lock->rank;
}

void hak_lock_note_give(const hak_lock *lock)
{
    hak_assert((held_ranks & 1u << lock->rank) != 0);
    held_ranks &= ~(1u << lock->rank);
}
#endif
