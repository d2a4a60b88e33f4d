/* os.h: everything we ask of the kernel, in one contract, so that a port is one file.
 * All functions are thread-safe and keep errno unless they fail. Sizes are bytes and multiples of the OS
 * page. */
#ifndef HAK_BASE_OS_H
#define HAK_BASE_OS_H

#include "core/base/types.h"

/* Fresh zeroed private memory at a multiple of `align_bytes` (a power of two >= the OS page), or NULL with
 * ENOMEM. */
void *hak_os_map(size_t size_bytes, size_t align_bytes);

/* As hak_os_map, without counting against overcommit until touched (MAP_NORESERVE). */
void *hak_os_reserve(size_t size_bytes, size_t align_bytes);

void hak_os_unmap(void *at, size_t size_bytes);

/* Gives the memory back; it reads as zero afterwards. False where the kernel refuses (mlock, seccomp): then
 * the content is unchanged and the caller must zero it where zero matters. */
bool hak_os_purge(void *at, size_t size_bytes);

typedef enum hak_os_access { HAK_OS_ACCESS_NONE, HAK_OS_ACCESS_READ, HAK_OS_ACCESS_ALL } hak_os_access;

/* What the process may do there; false where the kernel refuses. */
bool hak_os_protect(void *at, size_t size_bytes, hak_os_access access);

/* Hints; failures are ignored. */
void hak_os_advise_huge(void *at, size_t size_bytes, bool huge);

/* Grows or shrinks a mapping where it is; false when impossible. */
bool hak_os_resize(void *at, size_t old_bytes, size_t new_bytes);

/* Moves a mapping with its content to `place`, where new_bytes are mapped and will be replaced; false when
 * impossible, then both are untouched. */
bool hak_os_move(void *at, size_t old_bytes, size_t new_bytes, void *place);

/* Moves the pages only: what was at `at` stays mapped and reads as zero. False where the kernel cannot. */
bool hak_os_move_pages(void *at, size_t size_bytes, void *place);

/* True when one of the two words at `at`, a multiple of 8, is not 0; false also where they cannot be read.
 * Never faults, whatever `at` is. */
bool hak_os_is_written(const void *at);

/* CLOCK_MONOTONIC, in clock.c. */
uint64_t hak_os_monotonic_ns(void);

/* Time stamp counter; ordered after earlier loads, not after earlier stores (rdtsc without a fence). */
HAK_INLINE uint64_t hak_tsc(void)
{
#if defined(__x86_64__)
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
#else
    return hak_os_monotonic_ns();
#endif
}

#endif
