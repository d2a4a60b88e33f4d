/* os.c: Linux. The only file under core/ that maps memory. Concurrency: as the kernel's. */
#include "core/base/os.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/bits.h"

static void *map(size_t size_bytes, size_t align_bytes, int flags)
{
    const int prot = PROT_READ | PROT_WRITE;
    flags |= MAP_PRIVATE | MAP_ANONYMOUS;
    int saved = errno;
    void *at = mmap(NULL, size_bytes, prot, flags, -1, 0);
    if (at == MAP_FAILED) {
        errno = ENOMEM;
        return NULL;
    }
    if (((uintptr_t)at & (align_bytes - 1)) == 0)
        return at;

    /* Not aligned by luck: map with slack and cut both ends off. */
    munmap(at, size_bytes);
    if (size_bytes + align_bytes < size_bytes) {
        errno = ENOMEM;
        return NULL;
    }
    size_t wide_bytes = size_bytes + align_bytes - HAK_OS_PAGE_BYTES;
    at = mmap(NULL, wide_bytes, prot, flags, -1, 0);
    if (at == MAP_FAILED) {
        errno = ENOMEM;
        return NULL;
    }
    uintptr_t start = hak_align_up((uintptr_t)at, align_bytes);
    size_t head_bytes = start - (uintptr_t)at;
    size_t tail_bytes = wide_bytes - head_bytes - size_bytes;
    if (head_bytes != 0)
        munmap(at, head_bytes);
    if (tail_bytes != 0)
        munmap((void *)(start + size_bytes), tail_bytes);
    errno = saved;
    return (void *)start;
}

void *hak_os_map(size_t size_bytes, size_t align_bytes)
{
    return map(size_bytes, align_bytes, 0);
}

void *hak_os_reserve(size_t size_bytes, size_t align_bytes)
{
    return map(size_bytes, align_bytes, MAP_NORESERVE);
}

void hak_os_unmap(void *at, size_t size_bytes)
{
    int saved = errno;
    munmap(at, size_bytes);
    errno = saved;
}

/* Not madvise(2) by name: a program may have one of its own, which may allocate. */
static bool advise(void *at, size_t size_bytes, int advice)
{
    return syscall(SYS_madvise, at, size_bytes, advice) == 0;
}

bool hak_os_purge(void *at, size_t size_bytes)
{
    int saved = errno;
    bool done = advise(at, size_bytes, MADV_DONTNEED);
    errno = saved;
    return done;
}

void hak_os_advise_huge(void *at, size_t size_bytes, bool huge)
{
    int saved = errno;
    advise(at, size_bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    errno = saved;
}

void *hak_os_remap(void *at, size_t old_bytes, size_t new_bytes)
{
    int saved = errno;
    void *moved = mremap(at, old_bytes, new_bytes, MREMAP_MAYMOVE);
    errno = saved;
    return moved == MAP_FAILED ? NULL : moved;
}

bool hak_os_resize(void *at, size_t old_bytes, size_t new_bytes)
{
    int saved = errno;
    bool done = mremap(at, old_bytes, new_bytes, 0) != MAP_FAILED;
    errno = saved;
    return done;
}

void *hak_os_remap_aligned(void *at, size_t old_bytes, size_t new_bytes, size_t align_bytes)
{
    int saved = errno;
    void *place = map(new_bytes, align_bytes, MAP_NORESERVE);
    if (place == NULL) {
        errno = saved;
        return NULL;
    }
    void *moved = mremap(at, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    if (moved == MAP_FAILED)
        munmap(place, new_bytes);
    errno = saved;
    return moved == MAP_FAILED ? NULL : moved;
}

uint64_t hak_os_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
