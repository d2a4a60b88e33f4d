/* interpose_cxx.c: operator new and delete under their mangled names. An operator takes its memory from the
 * next allocator's malloc, as the C++ run-time's own does; where that fails, the run-time's operator is
 * called, with its new_handler loop and its exception. So no exception ever passes through a hook that is
 * recording. */
#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "trace/interpose.h"
#include "trace/interpose_entry.h"
#include "trace/record_next.h"
#include "trace/record_put.h"
#include "trace/record_sample.h"

/* The run-time's operator `name`, called with the arguments of the failed one. */
static void *run_time_new(const char *name, size_t size, size_t alignment, const void *nothrow)
{
    void *found = hak_next_cxx(name);
    if (found == NULL)
        return NULL; /* no C++ run-time: nobody could catch an exception either */
    if (alignment == 0) {
        void *(*plain)(size_t, const void *); /* a second argument too many does no harm in this ABI */
        memcpy(&plain, &found, sizeof plain);
        return plain(size, nothrow);
    }
    void *(*aligned)(size_t, size_t, const void *);
    memcpy(&aligned, &found, sizeof aligned);
    return aligned(size, alignment, nothrow);
}

static const char *name_of(hak_op op)
{
    return op == HAK_OP_NEW ? "_Znwm" : "_Znam";
}

void *hak_next_new(size_t size, hak_op op)
{
    void *block = hak_next.malloc(size == 0 ? 1 : size);
    return HAK_LIKELY(block != NULL) ? block : run_time_new(name_of(op), size, 0, NULL);
}

void *hak_record_new(size_t size, hak_op op)
{
    hak_thread *self = &hak_self;
    hak_hook hook = HAK_HOOK();
    bool record = hak_enter(self, hook);
    void *block = hak_next.malloc(size == 0 ? 1 : size);
    if (HAK_LIKELY(record)) {
        if (HAK_LIKELY(block != NULL))
            hak_put_alloc(self, op, 0, block, size, 0, hook);
        hak_leave(self);
    } else {
        hak_sample_left += size != 0 ? size : 1; /* its entry has counted it already */
        if (block != NULL)
            hak_sample_alloc(self, op, 0, block, size, 0, hook);
    }
    return HAK_LIKELY(block != NULL) ? block : run_time_new(name_of(op), size, 0, NULL);
}

/* The rarer ones, which have no entry. */
HAK_INLINE void *new_as(const char *name, hak_op op, size_t size, size_t alignment, const void *nothrow,
                        hak_hook hook)
{
    hak_thread *self = &hak_self;
    size_t asked = size == 0 ? 1 : size;
    unsigned flags = nothrow != NULL ? HAK_RECORD_NOTHROW : 0;
    unsigned align_log2 = hak_is_pow2(alignment) ? hak_log2_floor(alignment) : 0;
    bool record = hak_enter(self, hook);
    void *block = alignment == 0
                      ? hak_next.malloc(asked)
                      : hak_next.memalign(alignment, asked); /* aligned_alloc wants whole multiples */
    if (record && block != NULL)
        hak_put_alloc(self, op, flags, block, size, align_log2, hook);
    if (record)
        hak_leave(self);
    else if (block != NULL)
        hak_sample_alloc(self, op, flags, block, size, align_log2, hook);
    return HAK_LIKELY(block != NULL) ? block : run_time_new(name, size, alignment, nothrow);
}

/* Columns: mangled name, operation. */
#define NEWS(X)                                                                                              \
    X(_Znwm, HAK_OP_NEW)                                                                                     \
    X(_Znam, HAK_OP_NEW_ARRAY)
#define ALIGNED_NEWS(X)                                                                                      \
    X(_ZnwmSt11align_val_t, HAK_OP_NEW)                                                                      \
    X(_ZnamSt11align_val_t, HAK_OP_NEW_ARRAY)
#define NOTHROW_NEWS(X)                                                                                      \
    X(_ZnwmRKSt9nothrow_t, HAK_OP_NEW)                                                                       \
    X(_ZnamRKSt9nothrow_t, HAK_OP_NEW_ARRAY)
#define ALIGNED_NOTHROW_NEWS(X)                                                                              \
    X(_ZnwmSt11align_val_tRKSt9nothrow_t, HAK_OP_NEW)                                                        \
    X(_ZnamSt11align_val_tRKSt9nothrow_t, HAK_OP_NEW_ARRAY)
#define DELETES(X)                                                                                           \
    X(_ZdlPv, HAK_OP_DELETE)                                                                                 \
    X(_ZdaPv, HAK_OP_DELETE_ARRAY)
#define DELETES_2(X)                                                                                         \
    X(_ZdlPvm, HAK_OP_DELETE)                                                                                \
    X(_ZdaPvm, HAK_OP_DELETE_ARRAY)                                                                          \
    X(_ZdlPvSt11align_val_t, HAK_OP_DELETE)                                                                  \
    X(_ZdaPvSt11align_val_t, HAK_OP_DELETE_ARRAY)                                                            \
    X(_ZdlPvRKSt9nothrow_t, HAK_OP_DELETE)                                                                   \
    X(_ZdaPvRKSt9nothrow_t, HAK_OP_DELETE_ARRAY)
#define DELETES_3(X)                                                                                         \
    X(_ZdlPvmSt11align_val_t, HAK_OP_DELETE)                                                                 \
    X(_ZdaPvmSt11align_val_t, HAK_OP_DELETE_ARRAY)                                                           \
    X(_ZdlPvSt11align_val_tRKSt9nothrow_t, HAK_OP_DELETE)                                                    \
    X(_ZdaPvSt11align_val_tRKSt9nothrow_t, HAK_OP_DELETE_ARRAY)

#define X(name, op)                                                                                          \
    HAK_EXPORT void *name(size_t size);                                                                      \
    HAK_ENTRY void *name(size_t size)                                                                        \
    {                                                                                                        \
        HAK_ENTRY_NEW(op);                                                                                   \
    }
NEWS(X)
#undef X
#define X(name, op)                                                                                          \
    HAK_EXPORT void *name(size_t size, size_t alignment);                                                    \
    void *name(size_t size, size_t alignment)                                                                \
    {                                                                                                        \
        return new_as(#name, op, size, alignment, NULL, HAK_HOOK());                                         \
    }
ALIGNED_NEWS(X)
#undef X
#define X(name, op)                                                                                          \
    HAK_EXPORT void *name(size_t size, const void *nothrow);                                                 \
    void *name(size_t size, const void *nothrow)                                                             \
    {                                                                                                        \
        return new_as(#name, op, size, 0, nothrow, HAK_HOOK());                                              \
    }
NOTHROW_NEWS(X)
#undef X
#define X(name, op)                                                                                          \
    HAK_EXPORT void *name(size_t size, size_t alignment, const void *nothrow);                               \
    void *name(size_t size, size_t alignment, const void *nothrow)                                           \
    {                                                                                                        \
        return new_as(#name, op, size, alignment, nothrow, HAK_HOOK());                                      \
    }
ALIGNED_NOTHROW_NEWS(X)
#undef X
#define X(name, op)                                                                                          \
    HAK_EXPORT void name(void *block);                                                                       \
    HAK_ENTRY void name(void *block)                                                                         \
    {                                                                                                        \
        HAK_ENTRY_FREE(op);                                                                                  \
    }
DELETES(X)
#undef X
#define X(name, op)                                                                                          \
    HAK_EXPORT void name(void *block, size_t second);                                                        \
    HAK_ENTRY void name(void *block, size_t second)                                                          \
    {                                                                                                        \
        HAK_ENTRY_FREE(op);                                                                                  \
    }
DELETES_2(X)
#undef X
#define X(name, op)                                                                                          \
    HAK_EXPORT void name(void *block, size_t second, size_t third);                                          \
    HAK_ENTRY void name(void *block, size_t second, size_t third)                                            \
    {                                                                                                        \
        HAK_ENTRY_FREE(op);                                                                                  \
    }
DELETES_3(X)
#undef X
