/* record_next.h: the allocator that would have been called without us.
 *
 * The table is always callable: until the first call has looked the functions up, its entries do the looking
 * up. A lookup's own allocations are served from a small arena that is never given back. Any thread. */
#ifndef HAK_TRACE_RECORD_NEXT_H
#define HAK_TRACE_RECORD_NEXT_H

#include "core/base/types.h"

typedef struct hak_next_table {
    void *(*malloc)(size_t);
    void (*free)(void *);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    size_t (*usable_size)(void *);
    int (*dlclose)(void *);
} hak_next_table;

extern HAK_HIDDEN hak_next_table hak_next;

#define HAK_NEXT_ARENA_BYTES (64 * HAK_KIB)
extern HAK_HIDDEN char hak_next_arena[HAK_NEXT_ARENA_BYTES];

/* Blocks of the arena are never passed on. */
HAK_INLINE bool hak_next_is_ours(const void *block)
{
    return (uintptr_t)block - (uintptr_t)hak_next_arena < HAK_NEXT_ARENA_BYTES;
}

size_t hak_next_ours_bytes(const void *block);

/* Looks everything up; later calls do nothing. */
void hak_next_resolve(void);

/* A function of the C++ run-time by its mangled name, in the global scope or, for a C++ plugin in a C
 * program, in the already loaded libstdc++. NULL: there is none. */
void *hak_next_cxx(const char *name);

#endif
