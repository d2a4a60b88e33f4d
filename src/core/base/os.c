/* os.c: Linux. The only file under core/ that maps memory. Concurrency: as the kernel's.
 *
 * The kernel is entered directly and never through mmap(2), munmap(2) … by name: a program may have its own
 * functions of these names (tracers and sandboxes do), and they may allocate while we hold a lock. */
#include "core/base/os.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/bits.h"

#define MAX_ERRNO 4095 /* the kernel answers -errno in the last page of the address space */

/* Leaves errno alone. */
static long call(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)
{
#if defined(__x86_64__)
    long result;
    register uintptr_t r10 __asm__("r10") = d;
    register uintptr_t r8 __asm__("r8") = e;
    register uintptr_t r9 __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#else
    int saved = errno;
    long result = syscall(number, a, b, c, d, e, 0);
    result = result == -1 ? -errno : result;
    errno = saved;
    return result;
#endif
}

static void *place_of(long result)
{
    return (uintptr_t)result > -(uintptr_t)MAX_ERRNO - 1 ? NULL : (void *)result;
}

static void *map_at(void *at, size_t size_bytes, int flags)
{
    return place_of(call(SYS_mmap, (uintptr_t)at, size_bytes, PROT_READ | PROT_WRITE,
                         (uintptr_t)(flags | MAP_PRIVATE | MAP_ANONYMOUS), (uintptr_t)-1));
}

static void unmap(void *at, size_t size_bytes)
{
    call(SYS_munmap, (uintptr_t)at, size_bytes, 0, 0, 0);
}

static bool advise(void *at, size_t size_bytes, int advice)
{
    return call(SYS_madvise, (uintptr_t)at, size_bytes, (uintptr_t)advice, 0, 0) == 0;
}

static void *move(void *at, size_t old_bytes, size_t new_bytes, int flags, void *place)
{
    return place_of(
        call(SYS_mremap, (uintptr_t)at, old_bytes, new_bytes, (uintptr_t)flags, (uintptr_t)place));
}

static void *map(size_t size_bytes, size_t align_bytes, int flags)
{
    void *at = map_at(NULL, size_bytes, flags);
    if (at == NULL || ((uintptr_t)at & (align_bytes - 1)) == 0)
        return at;

    /* Not aligned by luck: map with slack and cut both ends off. */
    unmap(at, size_bytes);
    if (size_bytes + align_bytes < size_bytes)
        return NULL;
    size_t wide_bytes = size_bytes + align_bytes - HAK_OS_PAGE_BYTES;
    at = map_at(NULL, wide_bytes, flags);
    if (at == NULL)
        return NULL;
    uintptr_t start = hak_align_up((uintptr_t)at, align_bytes);
    size_t head_bytes = start - (uintptr_t)at;
    size_t tail_bytes = wide_bytes - head_bytes - size_bytes;
    if (head_bytes != 0)
        unmap(at, head_bytes);
    if (tail_bytes != 0)
        unmap((void *)(start + size_bytes), tail_bytes);
    return (void *)start;
}

static void *or_no_memory(void *at)
{
    if (at == NULL)
        errno = ENOMEM;
    return at;
}

void *hak_os_map(size_t size_bytes, size_t align_bytes)
{
    return or_no_memory(map(size_bytes, align_bytes, 0));
}

void *hak_os_reserve(size_t size_bytes, size_t align_bytes)
{
    return or_no_memory(map(size_bytes, align_bytes, MAP_NORESERVE));
}

void hak_os_unmap(void *at, size_t size_bytes)
{
    unmap(at, size_bytes);
}

bool hak_os_purge(void *at, size_t size_bytes)
{
    return advise(at, size_bytes, MADV_DONTNEED);
}

void hak_os_advise_huge(void *at, size_t size_bytes, bool huge)
{
    advise(at, size_bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

bool hak_os_protect(void *at, size_t size_bytes, hak_os_access access)
{
    static const int prots[] = {
        [HAK_OS_ACCESS_NONE] = PROT_NONE,
        [HAK_OS_ACCESS_READ] = PROT_READ,
        [HAK_OS_ACCESS_ALL] = PROT_READ | PROT_WRITE,
    };
    return call(SYS_mprotect, (uintptr_t)at, size_bytes, (unsigned)prots[access], 0, 0) == 0;
}

bool hak_os_resize(void *at, size_t old_bytes, size_t new_bytes)
{
    return move(at, old_bytes, new_bytes, 0, NULL) != NULL;
}

bool hak_os_move(void *at, size_t old_bytes, size_t new_bytes, void *place)
{
    return move(at, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place) != NULL;
}

bool hak_os_move_pages(void *at, size_t size_bytes, void *place)
{
#if defined(MREMAP_DONTUNMAP)
    return move(at, size_bytes, size_bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, place) != NULL;
#else
    (void)at, (void)size_bytes, (void)place;
    return false;
#endif
}

/* A futex call compares the word with 0 in the kernel, to requeue none of its waiters: 0 when it is, EAGAIN
 * when not, EFAULT when it cannot be read; it never waits. (mincore is a call that sandboxes kill for.) */
bool hak_os_is_written(const void *at)
{
    static uint32_t other;
    for (uintptr_t word = (uintptr_t)at; word < (uintptr_t)at + 2 * sizeof(uint32_t);
         word += sizeof(uint32_t))
        if (call(SYS_futex, word, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 0, 0, (uintptr_t)&other) == -EAGAIN)
            return true;
    return false;
}
