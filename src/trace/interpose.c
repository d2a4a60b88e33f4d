/* interpose.c: the C allocation functions of the recorded program. Each calls the next allocator and appends
 * an event; nested calls are one event. Never fails where the next allocator does not, never changes errno on
 * its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "trace/record_modules.h"
#include "trace/record_next.h"
#include "trace/record_process.h"
#include "trace/record_put.h"
#include "trace/record_sample.h"

HAK_EXPORT void cfree(void *block);
HAK_EXPORT void free_sized(void *block, size_t size);
HAK_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size);
HAK_EXPORT void *pvalloc(size_t size);
HAK_EXPORT void *memalign(size_t alignment, size_t size);
HAK_EXPORT size_t malloc_usable_size(void *block);
HAK_EXPORT int dlclose(void *handle);

static unsigned align_of(size_t alignment)
{
    return hak_is_pow2(alignment) ? hak_log2_floor(alignment) : 0;
}

static unsigned failed_if(const void *block)
{
    return block == NULL ? HAK_RECORD_FAILED : 0;
}

/* Where every call is recorded this does nothing: the call is nested, or nobody records. */
static void *aside(hak_thread *self, hak_op op, void *block, size_t size, unsigned align_log2, hak_hook hook)
{
    hak_sample_alloc(self, op, 0, block, size, align_log2, hook);
    return block;
}

static HAK_NOINLINE void *record_malloc(size_t size, hak_hook hook)
{
    hak_thread *self = &hak_self;
    if (HAK_UNLIKELY(!hak_enter(self, hook)))
        return aside(self, HAK_OP_MALLOC, hak_next.malloc(size), size, 0, hook);
    void *block = hak_next.malloc(size);
    hak_put_alloc(self, HAK_OP_MALLOC, failed_if(block), block, size, 0, hook);
    hak_leave(self);
    return block;
}

HAK_EXPORT void *malloc(size_t size)
{
    if (hak_sample_passes(&hak_self, size))
        return hak_next.malloc(size);
    void *block = record_malloc(size, HAK_HOOK());
    HAK_HOOK_STAYS();
    return block;
}

static HAK_NOINLINE void record_free(void *block, hak_op op, hak_hook hook)
{
    hak_thread *self = &hak_self;
    if (HAK_UNLIKELY(!hak_enter(self, hook))) {
        hak_sample_free(self, op, block, hook);
        hak_next.free(block);
        return;
    }
    hak_put_free(self, op, block);
    hak_next.free(block);
    hak_leave(self);
}

HAK_INLINE void free_as(void *block, hak_op op, hak_hook hook)
{
    if (HAK_UNLIKELY(hak_next_is_ours(block)))
        return;
    if (hak_sample_passes_free(&hak_self, block)) {
        hak_next.free(block);
        return;
    }
    record_free(block, op, hook);
    HAK_HOOK_STAYS();
}

HAK_EXPORT void free(void *block)
{
    free_as(block, HAK_OP_FREE, HAK_HOOK());
}

HAK_EXPORT void cfree(void *block)
{
    free_as(block, HAK_OP_CFREE, HAK_HOOK());
}

HAK_EXPORT void free_sized(void *block, size_t size)
{
    (void)size;
    free_as(block, HAK_OP_FREE_SIZED, HAK_HOOK());
}

HAK_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    free_as(block, HAK_OP_FREE_ALIGNED_SIZED, HAK_HOOK());
}

HAK_EXPORT void *calloc(size_t count, size_t size)
{
    hak_thread *self = &hak_self;
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        total = SIZE_MAX;
    if (hak_sample_passes(self, total))
        return hak_next.calloc(count, size);
    hak_hook hook = HAK_HOOK();
    if (HAK_UNLIKELY(!hak_enter(self, hook)))
        return aside(self, HAK_OP_CALLOC, hak_next.calloc(count, size), total, 0, hook);
    void *block = hak_next.calloc(count, size);
    hak_put_alloc(self, HAK_OP_CALLOC, failed_if(block), block, total, 0, hook);
    hak_leave(self);
    return block;
}

/* A block of the arena moves to the real allocator. */
static void *move_out(void *block, size_t size)
{
    void *copy = malloc(size);
    size_t had = hak_next_ours_bytes(block);
    if (copy != NULL)
        memcpy(copy, block, had < size ? had : size);
    return copy;
}

/* Neither what it gives up nor what it takes is a sample. */
HAK_INLINE bool passes_realloc(const void *block, size_t size)
{
    return HAK_LIKELY(!hak_next_is_ours(block)) && hak_sample_passes_free(&hak_self, block) &&
           hak_sample_passes(&hak_self, size);
}

static HAK_NOINLINE void *realloc_as(void *block, size_t size, hak_op op, hak_hook hook)
{
    hak_thread *self = &hak_self;
    if (HAK_UNLIKELY(hak_next_is_ours(block)))
        return move_out(block, size);
    if (HAK_UNLIKELY(!hak_enter(self, hook))) {
        hak_sample_free(self, HAK_OP_FREE, block, hook); /* what it returns is a block as any other */
        return aside(self, op, hak_next.realloc(block, size), size, 0, hook);
    }
    unsigned flags = block != NULL ? HAK_RECORD_MOVED_FROM : 0;
    if (block != NULL)
        hak_put_free(self, HAK_RECORD_REALLOC_BEGIN, block);
    void *result = hak_next.realloc(block, size);
    if (result == NULL && (size != 0 || block == NULL))
        flags |= HAK_RECORD_FAILED;
    hak_put_alloc(self, op, flags, result, size, 0, hook);
    hak_leave(self);
    return result;
}

HAK_EXPORT void *realloc(void *block, size_t size)
{
    if (passes_realloc(block, size))
        return hak_next.realloc(block, size);
    void *result = realloc_as(block, size, HAK_OP_REALLOC, HAK_HOOK());
    HAK_HOOK_STAYS();
    return result;
}

HAK_EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    if (passes_realloc(block, total))
        return hak_next.realloc(block, total);
    void *result = realloc_as(block, total, HAK_OP_REALLOCARRAY, HAK_HOOK());
    HAK_HOOK_STAYS();
    return result;
}

HAK_EXPORT void *memalign(size_t alignment, size_t size)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    if (HAK_UNLIKELY(!hak_enter(self, hook)))
        return aside(self, HAK_OP_MEMALIGN, hak_next.memalign(alignment, size), size, align_of(alignment),
                     hook);
    void *block = hak_next.memalign(alignment, size);
    hak_put_alloc(self, HAK_OP_MEMALIGN, failed_if(block), block, size, align_of(alignment), hook);
    hak_leave(self);
    return block;
}

HAK_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    if (HAK_UNLIKELY(!hak_enter(self, hook)))
        return aside(self, HAK_OP_ALIGNED_ALLOC, hak_next.aligned_alloc(alignment, size), size,
                     align_of(alignment), hook);
    void *block = hak_next.aligned_alloc(alignment, size);
    hak_put_alloc(self, HAK_OP_ALIGNED_ALLOC, failed_if(block), block, size, align_of(alignment), hook);
    hak_leave(self);
    return block;
}

HAK_EXPORT int posix_memalign(void **block, size_t alignment, size_t size)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    if (HAK_UNLIKELY(!hak_enter(self, hook))) {
        int result = hak_next.posix_memalign(block, alignment, size);
        if (result == 0)
            aside(self, HAK_OP_POSIX_MEMALIGN, *block, size, align_of(alignment), hook);
        return result;
    }
    int failed = hak_next.posix_memalign(block, alignment, size);
    hak_put_alloc(self, HAK_OP_POSIX_MEMALIGN, failed != 0 ? HAK_RECORD_FAILED : 0,
                  failed != 0 ? NULL : *block, size, align_of(alignment), hook);
    hak_leave(self);
    return failed;
}

HAK_EXPORT void *valloc(size_t size)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    if (HAK_UNLIKELY(!hak_enter(self, hook)))
        return aside(self, HAK_OP_VALLOC, hak_next.valloc(size), size, align_of(HAK_OS_PAGE_BYTES), hook);
    void *block = hak_next.valloc(size);
    hak_put_alloc(self, HAK_OP_VALLOC, failed_if(block), block, size, align_of(HAK_OS_PAGE_BYTES), hook);
    hak_leave(self);
    return block;
}

HAK_EXPORT void *pvalloc(size_t size)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    if (HAK_UNLIKELY(!hak_enter(self, hook)))
        return aside(self, HAK_OP_PVALLOC, hak_next.pvalloc(size), size, align_of(HAK_OS_PAGE_BYTES), hook);
    void *block = hak_next.pvalloc(size);
    hak_put_alloc(self, HAK_OP_PVALLOC, failed_if(block), block, size, align_of(HAK_OS_PAGE_BYTES), hook);
    hak_leave(self);
    return block;
}

HAK_EXPORT size_t malloc_usable_size(void *block)
{
    return hak_next_is_ours(block) ? hak_next_ours_bytes(block) : hak_next.usable_size(block);
}

/* Not an allocation, but after it other code may lie at the same addresses. */
HAK_EXPORT int dlclose(void *handle)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    int failed = hak_next.dlclose(handle);
    if (failed == 0 && (hak_enter(self, hook) || hak_sample_enter(self, hook))) {
        int saved = errno;
        hak_modules_closed(self);
        errno = saved;
        hak_leave(self);
    }
    return failed;
}

__attribute__((constructor)) static void start(void)
{
    hak_process_start();
}
