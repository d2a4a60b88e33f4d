/* cxx.c: C++'s operators new and delete, by the names the Itanium C++ ABI gives them, so that the library
 * needs no C++ run time. What C cannot do is asked of the program's own libstdc++ by weak references: the new
 * handler, throwing std::bad_alloc, and catching what a handler throws under nothrow. Any thread. */
#include <dlfcn.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/base/print.h"
#include "core/callsite/memo.h"
#include "core/fast.h"

#define NATURAL_ALIGN 16

typedef void (*new_handler)(void);
extern new_handler std_get_new_handler(void) __asm__("_ZSt15get_new_handlerv") __attribute__((weak));
extern _Noreturn void std_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

/* Until there is memory, or the handler gives up by throwing, or there is no handler. */
HAK_COLD static void *retry(size_t bytes, size_t align, hak_frame frame)
{
    for (;;) {
        new_handler handler = std_get_new_handler != NULL ? std_get_new_handler() : NULL;
        if (handler == NULL && std_throw_bad_alloc != NULL)
            std_throw_bad_alloc();
        if (handler == NULL)
            hak_fatal("operator new: out of memory");
        handler();
        void *block = hak_alloc(bytes, align, false, frame);
        if (block != NULL)
            return block;
    }
}

void *hak_new_general(size_t bytes)
{
    hak_frame frame = HAK_FRAME_OF_CALLER();
    void *block = hak_alloc(bytes, NATURAL_ALIGN, false, frame);
    return HAK_LIKELY(block != NULL) ? block : retry(bytes, NATURAL_ALIGN, frame);
}

HAK_NOINLINE static void *new_aligned(size_t bytes, size_t align)
{
    hak_frame frame = HAK_FRAME_OF_CALLER();
    void *block = hak_alloc(bytes, align < NATURAL_ALIGN ? NATURAL_ALIGN : align, false, frame);
    return HAK_LIKELY(block != NULL) ? block : retry(bytes, align, frame);
}

/* The next library's nothrow operator calls our throwing one and catches what the handler throws. */
HAK_COLD static void *nothrow_failed(const char *symbol, size_t bytes, size_t align, const void *tag)
{
    if (std_get_new_handler == NULL || std_get_new_handler() == NULL)
        return NULL;
    void *next = dlsym(RTLD_NEXT, symbol);
    if (next == NULL)
        return NULL;
    if (align == 0)
        return ((void *(*)(size_t, const void *))next)(bytes, tag);
    return ((void *(*)(size_t, size_t, const void *))next)(bytes, align, tag);
}

HAK_INLINE void *new_nothrow(const char *symbol, size_t bytes, const void *tag, hak_frame frame)
{
    void *block = hak_fast_take(bytes);
    if (block == NULL)
        block = hak_alloc(bytes, NATURAL_ALIGN, false, frame);
    return HAK_LIKELY(block != NULL) ? block : nothrow_failed(symbol, bytes, 0, tag);
}

HAK_INLINE void *new_aligned_nothrow(const char *symbol, size_t bytes, size_t align, const void *tag,
                                     hak_frame frame)
{
    void *block = hak_alloc(bytes, align < NATURAL_ALIGN ? NATURAL_ALIGN : align, false, frame);
    return HAK_LIKELY(block != NULL) ? block : nothrow_failed(symbol, bytes, align, tag);
}

#define NEW(symbol)                                                                                          \
    void *symbol(size_t bytes);                                                                              \
    HAK_EXPORT void *symbol(size_t bytes)                                                                    \
    {                                                                                                        \
        void *block = hak_fast_take(bytes);                                                                  \
        return HAK_LIKELY(block != NULL) ? block : hak_new_slow(bytes);                                      \
    }
#define NEW_ALIGNED(symbol)                                                                                  \
    void *symbol(size_t bytes, size_t align);                                                                \
    HAK_EXPORT void *symbol(size_t bytes, size_t align)                                                      \
    {                                                                                                        \
        return new_aligned(bytes, align);                                                                    \
    }
#define NEW_NOTHROW(symbol)                                                                                  \
    void *symbol(size_t bytes, const void *tag);                                                             \
    HAK_EXPORT void *symbol(size_t bytes, const void *tag)                                                   \
    {                                                                                                        \
        return new_nothrow(#symbol, bytes, tag, HAK_FRAME_OF_CALLER());                                      \
    }
#define NEW_ALIGNED_NOTHROW(symbol)                                                                          \
    void *symbol(size_t bytes, size_t align, const void *tag);                                               \
    HAK_EXPORT void *symbol(size_t bytes, size_t align, const void *tag)                                     \
    {                                                                                                        \
        return new_aligned_nothrow(#symbol, bytes, align, tag, HAK_FRAME_OF_CALLER());                       \
    }
/* Alignments and tags of delete say nothing that the address does not; sizes are looked at where a free is
 * looked at anyway. */
#define DELETE(symbol, ...)                                                                                  \
    void symbol(__VA_ARGS__);                                                                                \
    HAK_EXPORT void symbol(__VA_ARGS__)                                                                      \
    {                                                                                                        \
        if (HAK_UNLIKELY(!hak_fast_put(at)))                                                                 \
            hak_free_slow(at);                                                                               \
    }

#define DELETE_SIZED(symbol)                                                                                 \
    void symbol(void *at, size_t bytes);                                                                     \
    HAK_EXPORT void symbol(void *at, size_t bytes)                                                           \
    {                                                                                                        \
        if (HAK_SECURE || HAK_UNLIKELY(!hak_fast_put(at)))                                                   \
            hak_free_sized_slow(at, bytes);                                                                  \
    }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
NEW(_Znwm)
NEW(_Znam)
NEW_ALIGNED(_ZnwmSt11align_val_t)
NEW_ALIGNED(_ZnamSt11align_val_t)
NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
NEW_NOTHROW(_ZnamRKSt9nothrow_t)
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdlPv, void *at)
DELETE(_ZdaPv, void *at)
DELETE_SIZED(_ZdlPvm)
DELETE_SIZED(_ZdaPvm)
DELETE(_ZdlPvRKSt9nothrow_t, void *at, const void *tag)
DELETE(_ZdaPvRKSt9nothrow_t, void *at, const void *tag)
DELETE(_ZdlPvSt11align_val_t, void *at, size_t align)
DELETE(_ZdaPvSt11align_val_t, void *at, size_t align)
DELETE(_ZdlPvmSt11align_val_t, void *at, size_t bytes, size_t align)
DELETE(_ZdaPvmSt11align_val_t, void *at, size_t bytes, size_t align)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, void *at, size_t align, const void *tag)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, void *at, size_t align, const void *tag)
#pragma GCC diagnostic pop
