/* fibers.h: more recorded threads than processors, without the kernel's scheduler. Each recorded thread is a
 * thread of the C library, with its own TLS and stack, that sleeps in the kernel; a few carriers, one for
 * each processor, take turns at running the streams: a carrier takes on the thread's TLS (the FS base) and
 * the lower part of its stack. So an allocator sees the threads it would see, and a change from one to
 * another costs tens of nanoseconds where a futex takes microseconds: with 393 threads on two processors
 * nearly all changes are waits for one another.
 *
 * What it asks of an allocator: that it tells threads apart by TLS (all known ones do) and not by the
 * kernel's number of the thread. Restartable sequences are the kernel thread's, so an allocator that uses
 * them gets kernel threads instead (measure.c looks).
 *
 * Never allocates. A fiber runs on one carrier at a time; what it waits for is noted after its registers are
 * saved, by the carrier, so that nobody can wake it before. The ready fibers are a queue under a spin lock.
 */
#ifndef HAK_REPLAY_FIBERS_H
#define HAK_REPLAY_FIBERS_H

#include <pthread.h>

#include "core/base/bits.h"

#define HAK_FIBERS_CARRIERS_MAX 64u
#define HAK_FIBER_TLS_MAX_BYTES (32 * HAK_KIB) /* static TLS of all libraries */
#define HAK_FIBER_BELOW_BYTES                                                                                \
    (48 * HAK_KIB) /* a thread's fiber begins that far below the end of its stack: under its TLS and frames  \
                    */
#define HAK_FIBERS_LISTS 256u /* power of two */

typedef struct hak_fibers hak_fibers;
typedef struct hak_carrier hak_carrier;
typedef struct hak_epochs hak_epochs;

typedef struct hak_fiber {
    void *sp;     /* where it is not running */
    uintptr_t fs; /* of the thread that it is */
    hak_fibers *all;
    hak_carrier *carrier; /* where it is */
    struct hak_fiber *next;
    uint32_t until;         /* epoch it waits for */
    _Atomic uint32_t ended; /* the thread's futex word */
} hak_fiber;

struct hak_carrier {
    alignas(HAK_CACHE_LINE) void *sp;
    uintptr_t fs;
    hak_fibers *all;
    int verb; /* what the fiber that just left waits for */
    void *object;
    pthread_t handle;
};

struct hak_fibers {
    alignas(HAK_CACHE_LINE) _Atomic uint32_t lock;
    hak_fiber *first, *last;                       /* ready */
    hak_fiber *waiting[HAK_FIBERS_LISTS];          /* for epochs, by number */
    alignas(HAK_CACHE_LINE) _Atomic uint32_t idle; /* carriers that sleep */
    _Atomic uint32_t wakes;                        /* their futex word */
    _Atomic uint32_t left;                         /* fibers that have not ended */
    _Atomic uint32_t stopped;
    _Atomic uint32_t turn;   /* the number of the pass, a futex word */
    _Atomic uint32_t active; /* carriers in the pass, but for the first */
    uint32_t carrier_count;
    hak_carrier carriers[HAK_FIBERS_CARRIERS_MAX];
};

/* False where the processor or the kernel does not let programs set their FS base, where the C library's
 * thread handle is not the FS base, where libraries have more TLS than that, or under a sanitizer. */
bool hak_fibers_possible(void);

/* Creates carriers 1 … count - 1, which sleep; `stacks` has stack_bytes for each. 0 or an errno. */
int hak_fibers_start(hak_fibers *all, uint32_t count, char *stacks, size_t stack_bytes);

/* The thread becomes a fiber that runs main(argument) on the stack that ends at `stack`, once a carrier takes
 * it, which may be before the kernel has let the thread begin. The thread must do nothing but wait
 * (hak_fiber_join), or be the first carrier (hak_fibers_run). */
void hak_fiber_make(hak_fiber *fiber, hak_fibers *all, pthread_t thread, void *stack, void (*main)(void *),
                    void *argument);
void hak_fiber_join(hak_fiber *fiber); /* before another pass begins with it: hak_fiber_reset */
void hak_fiber_reset(hak_fiber *fiber);

/* Runs `count` fibers to their ends, some of which are made meanwhile. The calling thread is a carrier. */
void hak_fibers_run(hak_fibers *all, uint32_t count);

/* By a fiber that cannot go on: hak_fibers_run returns with the others where they are. The process must end.
 */
void hak_fibers_stop(hak_fibers *all);

/* For a fiber, about itself. cell: as sync.h; returns when it holds something. */
void hak_fiber_yield(hak_fiber *self);
void hak_fiber_wait_cell(hak_fiber *self, _Atomic uintptr_t *cell);
void hak_fiber_wait_epoch(hak_fiber *self, hak_epochs *epochs, uint32_t until);

void hak_fiber_wake(hak_fiber *fiber); /* that waits for a cell */
/* Epochs before `done` are complete, those before `from` were already: who waited goes on. */
void hak_fibers_advance(hak_fibers *all, uint32_t from, uint32_t done);

#endif
