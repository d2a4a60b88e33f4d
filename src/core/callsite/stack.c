/* stack.c: where the running thread's stack begins and ends. Never reads /proc.
 *
 * Main thread: the loader knows the high end (__libc_stack_end); below it the kernel keeps at least the stack
 * limit, and never less than 128 MiB, free of mappings (mmap_base), so everything there that is mapped is
 * stack. Others: pthread_getattr_np(3), which takes the thread's own lock and may call malloc; a nested call
 * then gets {0, 0}. Concurrency: state is the thread's own. */
#include "core/callsite/memo.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/bits.h"

#define MAIN_GAP_MIN (128 * HAK_MIB)
#define MAIN_GAP_MAX (16 * HAK_GIB) /* stands for "unlimited" */

extern void *__libc_stack_end __attribute__((weak)); /* ld.so: stack pointer at the program's entry */

typedef enum bounds_state { BOUNDS_UNKNOWN, BOUNDS_ASKING, BOUNDS_KNOWN } bounds_state;

static HAK_TLS_IE hak_stack bounds;
static HAK_TLS_IE bounds_state known;

static hak_stack main_bounds(void)
{
    struct rlimit limit;
    uintptr_t top = (uintptr_t)__libc_stack_end;
    uintptr_t gap = MAIN_GAP_MIN;
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur > gap)
        gap = limit.rlim_cur < MAIN_GAP_MAX ? (uintptr_t)limit.rlim_cur : MAIN_GAP_MAX;
    return (hak_stack){top > gap ? top - gap : 0, hak_align_up(top + 1, HAK_OS_PAGE_BYTES)};
}

static hak_stack thread_bounds(void)
{
    hak_stack found = {0, 0};
    pthread_attr_t attributes;
    void *low;
    size_t size_bytes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return found;
    if (pthread_attr_getstack(&attributes, &low, &size_bytes) == 0)
        found = (hak_stack){(uintptr_t)low, (uintptr_t)low + size_bytes};
    pthread_attr_destroy(&attributes);
    return found;
}

static HAK_COLD void learn(uintptr_t sp)
{
    int saved = errno;
    known = BOUNDS_ASKING;
    if (syscall(SYS_gettid) == getpid() && &__libc_stack_end != NULL) {
        bounds = main_bounds();
        /* After fork from another thread, that thread is the child's main thread, on its old stack. */
        if (sp < bounds.low || sp >= bounds.high)
            bounds = thread_bounds();
    } else {
        bounds = thread_bounds();
    }
    known = BOUNDS_KNOWN;
    errno = saved;
}

hak_stack hak_stack_of(uintptr_t sp)
{
    if (HAK_UNLIKELY(known != BOUNDS_KNOWN)) {
        if (known == BOUNDS_ASKING)
            return (hak_stack){0, 0};
        learn(sp);
    }
    return sp >= bounds.low && sp < bounds.high ? bounds : (hak_stack){0, 0};
}
