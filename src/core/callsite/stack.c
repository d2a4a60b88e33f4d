/* stack.c: where the running thread's stack begins and ends. Never reads /proc.
 *
 * Main thread: the loader knows the high end (__libc_stack_end); below it the kernel keeps at least the stack
 * limit, and never less than 128 MiB, free of mappings (mmap_base), so everything there that is mapped is
 * stack. Others: pthread_getattr_np(3), which takes the thread's own lock and calls malloc: a nested call
 * gets {0, 0}, and so does one from within the program's own question. Concurrency: state is the thread's
 * own. */
#include "core/callsite/memo.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/bits.h"

#define MAIN_GAP_MIN (128 * HAK_MIB)
#define MAIN_GAP_MAX (16 * HAK_GIB) /* stands for "unlimited" */
#define ASKING_BYTES 2048           /* of pthread_getattr_np's code, at most */
#define ASKING_DEPTH 512            /* bytes of stack between it and the allocation it makes, at most */
#define NEAR_BYTES   65536          /* of stack between the program's call and us, at most */
#define OWN_BYTES    12288 /* below a thread's control block it is that thread's stack, at the least */

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

/* The program's thread is inside pthread_getattr_np, with its lock, which is not recursive: asking in turn
 * would wait for ever. Then a return address into that function lies a little above `sp`. A stale one costs a
 * walk: we are asked again. Reads no page that may not be there, but words of other frames, as asan would
 * say. */
__attribute__((no_sanitize("address"))) static bool program_is_asking(uintptr_t sp)
{
    if (sp - (uintptr_t)__builtin_frame_address(0) > NEAR_BYTES)
        return false; /* another stack, or no call at all */
    uintptr_t block = (uintptr_t)pthread_self();
    uintptr_t end = block - sp < OWN_BYTES ? block : hak_align_up(sp + 1, HAK_OS_PAGE_BYTES);
    if (end - sp > ASKING_DEPTH)
        end = sp + ASKING_DEPTH;
    for (const uintptr_t *at = (const uintptr_t *)(sp - 8); (uintptr_t)(at + 1) <= end; at++)
        if (*at - (uintptr_t)&pthread_getattr_np < ASKING_BYTES)
            return true;
    return false;
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
        if (known == BOUNDS_ASKING || program_is_asking(sp))
            return (hak_stack){0, 0};
        learn(sp);
    }
    return sp >= bounds.low && sp < bounds.high ? bounds : (hak_stack){0, 0};
}
