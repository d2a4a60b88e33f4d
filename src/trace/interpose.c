/* interpose.c: the C allocation functions of the recorded program. Each calls the next allocator and appends
 * an event; nested calls are one event. Never fails where the next allocator does not, never changes errno on
 * its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "trace/interpose.h"
#include "trace/interpose_entry.h"
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

/* The same for a call that its entry has counted already. */
static void *aside_counted(hak_thread *self, hak_op op, void *block, size_t size, hak_hook hook)
{
    hak_sample_left += size != 0 ? size : 1;
    return aside(self, op, block, size, 0, hook);
}

void *hak_record_malloc(size_t size)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    if (HAK_UNLIKELY(!hak_enter(self, hook)))
        return aside_counted(self, HAK_OP_MALLOC, hak_next.malloc(size), size, hook);
    void *block = hak_next.malloc(size);
    hak_put_alloc(self, HAK_OP_MALLOC, failed_if(block), block, size, 0, hook);
    hak_leave(self);
    return block;
}

HAK_ENTRY void *malloc(size_t size)
{
    HAK_ENTRY_MALLOC();
}

void hak_record_free(void *block, hak_op op)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    if (HAK_UNLIKELY(hak_next_is_ours(block)))
        return;
    if (HAK_UNLIKELY(!hak_enter(self, hook))) {
        hak_sample_free(self, op, block, hook);
        hak_next.free(block);
        return;
    }
    hak_put_free(self, op, block);
    hak_next.free(block);
    hak_leave(self);
}

HAK_ENTRY void free(void *block)
{
    HAK_ENTRY_FREE(HAK_OP_FREE);
}

HAK_ENTRY void cfree(void *block)
{
    HAK_ENTRY_FREE(HAK_OP_CFREE);
}

HAK_ENTRY void free_sized(void *block, size_t size)
{
    HAK_ENTRY_FREE(HAK_OP_FREE_SIZED);
}

HAK_ENTRY void free_aligned_sized(void *block, size_t alignment, size_t size)
{
    HAK_ENTRY_FREE(HAK_OP_FREE_ALIGNED_SIZED);
}

void *hak_record_calloc(size_t count, size_t size)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    size_t total;
    bool overflows = __builtin_mul_overflow(count, size, &total);
    if (HAK_UNLIKELY(!hak_enter(self, hook))) {
        void *block = hak_next.calloc(count, size);
        return overflows ? block : aside_counted(self, HAK_OP_CALLOC, block, total, hook);
    }
    void *block = hak_next.calloc(count, size);
    hak_put_alloc(self, HAK_OP_CALLOC, failed_if(block), block, overflows ? SIZE_MAX : total, 0, hook);
    hak_leave(self);
    return block;
}

HAK_ENTRY void *calloc(size_t count, size_t size)
{
    HAK_ENTRY_CALLOC();
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

/* counted: as aside_counted wants it; else it is counted now. */
HAK_INLINE void *realloc_as(void *block, size_t size, hak_op op, bool counted, hak_hook hook)
{
    hak_thread *self = &hak_self;
    if (HAK_UNLIKELY(hak_next_is_ours(block)))
        return move_out(block, size);
    if (HAK_UNLIKELY(!hak_enter(self, hook))) {
        hak_sample_free(self, HAK_OP_FREE, block, hook); /* what it returns is a block as any other */
        void *result = hak_next.realloc(block, size);
        return counted ? aside_counted(self, op, result, size, hook) : aside(self, op, result, size, 0, hook);
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

void *hak_record_realloc(void *block, size_t size)
{
    return realloc_as(block, size, HAK_OP_REALLOC, true, HAK_HOOK());
}

HAK_ENTRY void *realloc(void *block, size_t size)
{
    HAK_ENTRY_REALLOC();
}

HAK_EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc_as(block, total, HAK_OP_REALLOCARRAY, false, HAK_HOOK());
}

const hak_pass_table hak_pass_to_record = {hak_record_malloc, hak_record_calloc, hak_record_realloc,
                                           hak_record_new};
hak_pass_table hak_pass = {hak_record_malloc, hak_record_calloc, hak_record_realloc, hak_record_new};

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
