/* record_fork.c: see record_fork.h. */
#include "trace/record_fork.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/types.h"

/* A reader may itself wait for a thread of the program that holds the loader's lock and wants what the
 * forking thread holds, or have left by longjmp(3) out of a signal's handler. Then the fork is not held up
 * for longer, further ones hardly, and the child leaves the lists alone. */
#define PATIENCE_POLLS 2000
#define LATER_POLLS    20
#define POLL_NS        100000
/* Nor does a thread wait longer for a fork: what holds that up, a handler of the program's, may wait for it.
 */
#define FORK_NS 200000000

static _Atomic uint32_t reading; /* threads between hold and release */
static _Atomic uint32_t forking; /* threads between before_fork and after_fork */
static _Atomic bool slow;        /* the fork under way was waited for in vain */
static _Atomic bool barred;      /* this process was forked beside a reader */
static _Atomic unsigned patience = PATIENCE_POLLS;
static HAK_TLS_IE bool mine; /* this thread forks: handlers of others, before and after ours, may allocate */
static HAK_TLS_IE bool late; /* and did not wait to the end */

static void wait_a_poll(void)
{
    struct timespec pause = {.tv_nsec = POLL_NS};
    syscall(SYS_nanosleep, &pause, NULL);
}

static bool wait_for_forks(uint32_t forks)
{
    struct timespec most = {.tv_nsec = FORK_NS};
    if (atomic_load(&slow))
        return false;
    if (syscall(SYS_futex, &forking, FUTEX_WAIT_PRIVATE, forks, &most, NULL, 0) != 0 && errno == ETIMEDOUT)
        atomic_store(&slow, true);
    return true; /* look again */
}

bool hak_fork_hold(void)
{
    if (mine)
        return !late;
    int saved = errno;
    for (;;) {
        if (atomic_load_explicit(&barred, memory_order_relaxed))
            return false;
        atomic_fetch_add(&reading, 1); /* partner: before_fork, which adds to forking and then looks here */
        uint32_t forks = atomic_load(&forking);
        if (forks == 0)
            break;
        atomic_fetch_sub(&reading, 1);
        if (!wait_for_forks(forks)) {
            errno = saved;
            return false;
        }
    }
    errno = saved;
    return true;
}

void hak_fork_release(void)
{
    if (!mine)
        atomic_fetch_sub(&reading, 1);
}

static void before_fork(void)
{
    int saved = errno;
    unsigned polls = 0;
    atomic_fetch_add(&forking, 1);
    while (atomic_load(&reading) != 0 && !atomic_load(&barred) && polls < atomic_load(&patience)) {
        wait_a_poll();
        polls++;
    }
    late = atomic_load(&reading) != 0;
    if (late)
        atomic_store(&patience, LATER_POLLS);
    mine = true;
    errno = saved;
}

static void after_fork(void)
{
    int saved = errno;
    mine = false;
    if (atomic_fetch_sub(&forking, 1) == 1) {
        atomic_store(&slow, false);
        syscall(SYS_futex, &forking, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
    }
    errno = saved;
}

static void in_child(void)
{
    mine = false;
    atomic_store(&reading, 0);
    atomic_store(&forking, 0);
    atomic_store(&slow, false);
    if (late)
        atomic_store(&barred, true);
}

void hak_fork_watch(void)
{
    pthread_atfork(before_fork, after_fork, in_child);
}
