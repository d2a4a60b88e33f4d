/* override.c: the C library's allocation entry points, and nothing else. Behaviour where standards leave room
 * is glibc 2.36's: malloc(0) is a block, realloc(p, 0) frees, memalign rounds its alignment up to a power of
 * two. Any thread. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/base/bits.h"
#include "core/base/print.h"
#include "core/callsite/memo.h"
#include "core/fast.h"
#include "core/large.h"
#include "core/plain.h"
#include "core/secure.h"
#include "core/superslab.h"

#define NATURAL_ALIGN 16

/* glibc declares what only it defines; ours are the same functions. */
void cfree(void *at);
void *__libc_malloc(size_t bytes);
void __libc_free(void *at);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *at, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void *__libc_valloc(size_t bytes);
void *__libc_pvalloc(size_t bytes);
int __posix_memalign(void **at, size_t align, size_t bytes);
void free_sized(void *at, size_t bytes);
void free_aligned_sized(void *at, size_t align, size_t bytes);

HAK_EXPORT void *malloc(size_t bytes)
{
    void *block = hak_fast_take(bytes);
    return HAK_LIKELY(block != NULL) ? block : hak_malloc_slow(bytes);
}

HAK_EXPORT void free(void *at)
{
    if (HAK_UNLIKELY(!hak_fast_put(at)))
        hak_free_slow(at);
}

HAK_EXPORT void *calloc(size_t count, size_t bytes)
{
    size_t total;
    if (HAK_UNLIKELY(__builtin_mul_overflow(count, bytes, &total))) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = hak_fast_take(total);
    if (HAK_LIKELY(block != NULL))
        return memset(block, 0, total);
    return hak_calloc_slow(total);
}

HAK_INLINE void *resized(void *at, size_t bytes)
{
    size_t room_bytes = hak_fast_room(at);
    if (HAK_UNLIKELY(!hak_room_serves(room_bytes, bytes)))
        return hak_realloc_slow(at, bytes, room_bytes);
    hak_heap_count(hak_tls_heap, HAK_COUNT_RETURN_IN_PLACE, 1);
    return at;
}

HAK_EXPORT void *realloc(void *at, size_t bytes)
{
    return resized(at, bytes);
}

HAK_EXPORT void *reallocarray(void *at, size_t count, size_t bytes)
{
    size_t total;
    if (HAK_UNLIKELY(__builtin_mul_overflow(count, bytes, &total))) {
        errno = ENOMEM;
        return NULL;
    }
    return resized(at, total);
}

HAK_INLINE void *aligned(size_t align, size_t bytes, hak_frame frame)
{
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    align = align <= NATURAL_ALIGN ? NATURAL_ALIGN : (size_t)1 << hak_log2_ceil(align);
    return hak_alloc(bytes, align, false, frame);
}

HAK_EXPORT void *memalign(size_t align, size_t bytes)
{
    return aligned(align, bytes, HAK_FRAME_OF_CALLER());
}

HAK_EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
    return aligned(align, bytes, HAK_FRAME_OF_CALLER());
}

HAK_EXPORT int posix_memalign(void **at, size_t align, size_t bytes)
{
    if (!hak_is_pow2(align) || align % sizeof(void *) != 0)
        return EINVAL;
    int saved = errno;
    void *block = aligned(align, bytes, HAK_FRAME_OF_CALLER());
    errno = saved;
    if (block == NULL)
        return ENOMEM;
    *at = block;
    return 0;
}

HAK_EXPORT void *valloc(size_t bytes)
{
    return aligned(HAK_OS_PAGE_BYTES, bytes, HAK_FRAME_OF_CALLER());
}

HAK_EXPORT void *pvalloc(size_t bytes)
{
    if (bytes > PTRDIFF_MAX - HAK_OS_PAGE_BYTES) {
        errno = ENOMEM;
        return NULL;
    }
    size_t pages = hak_align_up(bytes, HAK_OS_PAGE_BYTES);
    return aligned(HAK_OS_PAGE_BYTES, pages == 0 ? HAK_OS_PAGE_BYTES : pages, HAK_FRAME_OF_CALLER());
}

HAK_EXPORT void cfree(void *at)
{
    free(at);
}

HAK_EXPORT void free_sized(void *at, size_t bytes)
{
    if (HAK_SECURE || HAK_UNLIKELY(!hak_fast_put(at)))
        hak_free_sized_slow(at, bytes);
}

HAK_EXPORT void free_aligned_sized(void *at, size_t align, size_t bytes)
{
    (void)align;
    (void)bytes;
    free(at);
}

HAK_EXPORT size_t malloc_usable_size(void *at)
{
    return hak_usable(at);
}

#if defined(__clang__)
#define ALIAS(of) __attribute__((alias(#of)))
#else
#define ALIAS(of) __attribute__((alias(#of), copy(of)))
#endif

/* Names by which parts of glibc and other preloads reach past the public ones. */
HAK_EXPORT void *__libc_malloc(size_t bytes) ALIAS(malloc);
HAK_EXPORT void __libc_free(void *at) ALIAS(free);
HAK_EXPORT void *__libc_calloc(size_t count, size_t bytes) ALIAS(calloc);
HAK_EXPORT void *__libc_realloc(void *at, size_t bytes) ALIAS(realloc);
HAK_EXPORT void *__libc_memalign(size_t align, size_t bytes) ALIAS(memalign);
HAK_EXPORT void *__libc_valloc(size_t bytes) ALIAS(valloc);
HAK_EXPORT void *__libc_pvalloc(size_t bytes) ALIAS(pvalloc);
HAK_EXPORT int __posix_memalign(void **at, size_t align, size_t bytes) ALIAS(posix_memalign);

HAK_EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    return hak_trim() != 0;
}

/* Its parameters describe glibc's heap; they are accepted and mean nothing here. */
HAK_EXPORT int mallopt(int parameter, int value)
{
    (void)parameter;
    (void)value;
    return 1;
}

HAK_EXPORT struct mallinfo2 mallinfo2(void)
{
    hak_pool_info pool = hak_pool_info_get();
    hak_large_info large = hak_large_info_get();
    size_t plain_bytes, plain_live; /* MINIMAL's heap; 0 in other modes */
    hak_plain_info(&plain_bytes, &plain_live);
    return (struct mallinfo2){
        .arena = pool.superslabs * HAK_SUPERSLAB_BYTES + plain_bytes,
        .hblks = large.live_blocks,
        .hblkhd = large.live_bytes,
        .uordblks = pool.used_bytes + large.live_bytes + plain_live,
        .fordblks = pool.dirty_bytes + large.cached_bytes + plain_bytes - plain_live,
        .keepcost = pool.dirty_bytes + large.cached_bytes,
    };
}

static int saturated(size_t value)
{
    return value > INT32_MAX ? INT32_MAX : (int)value;
}

HAK_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 wide = mallinfo2();
    return (struct mallinfo){
        .arena = saturated(wide.arena),
        .hblks = saturated(wide.hblks),
        .hblkhd = saturated(wide.hblkhd),
        .uordblks = saturated(wide.uordblks),
        .fordblks = saturated(wide.fordblks),
        .keepcost = saturated(wide.keepcost),
    };
}

HAK_EXPORT void malloc_stats(void)
{
    struct mallinfo2 info = mallinfo2();
    hak_out out;
    hak_out_init(&out, 2);
    hak_out_text(&out, "hakmem: system bytes ");
    hak_out_u64(&out, info.arena + info.hblkhd);
    hak_out_text(&out, ", in use bytes ");
    hak_out_u64(&out, info.uordblks);
    hak_out_text(&out, "\n");
    hak_out_flush(&out);
}

/* The interface hands us the program's stream; writing to it is what was asked for. */
HAK_EXPORT int malloc_info(int options, FILE *stream)
{
    if (options != 0)
        return EINVAL;
    struct mallinfo2 info = mallinfo2();
    fprintf(stream,
            "<malloc version=\"hakmem-1\">\n<system type=\"current\" size=\"%zu\"/>\n"
            "<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n<total type=\"mmap\" count=\"%zu\" "
            "size=\"%zu\"/>\n</malloc>\n",
            info.arena + info.hblkhd, info.fordblks, info.hblks, info.hblkhd);
    return 0;
}
