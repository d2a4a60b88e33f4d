/* types.h: the words and compiler hints every file uses. System headers only. */
#ifndef HAK_BASE_TYPES_H
#define HAK_BASE_TYPES_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAK_LIKELY(x)   __builtin_expect(!!(x), 1)
#define HAK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HAK_NOINLINE    __attribute__((noinline))
#define HAK_INLINE      static inline __attribute__((always_inline))
#define HAK_COLD        __attribute__((cold, noinline))
#define HAK_EXPORT      __attribute__((visibility("default")))
#define HAK_HIDDEN      __attribute__((visibility("hidden"))) /* on a declaration: addressed without a detour */
#define HAK_TLS_IE      __thread __attribute__((tls_model("initial-exec")))

#define HAK_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define HAK_KIB ((size_t)1 << 10)
#define HAK_MIB ((size_t)1 << 20)
#define HAK_GIB ((size_t)1 << 30)

#define HAK_OS_PAGE_BYTES   ((size_t)4096) /* the unit of madvise on every machine we support */
#define HAK_HUGE_PAGE_BYTES (2 * HAK_MIB)
#define HAK_CACHE_LINE      64

#endif
