/* record_next.c: see record_next.h. Never called by the allocator it finds, except for the lookup itself. */
#include "trace/record_next.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "core/base/bits.h"

#define ARENA_HEADER 16 /* bytes before a block of the arena: its size, and alignment */

alignas(HAK_OS_PAGE_BYTES) char hak_next_arena[HAK_NEXT_ARENA_BYTES];
static _Atomic size_t arena_used;
static _Atomic bool resolved;
static HAK_TLS_IE bool resolving;

static void *arena_take(size_t size_bytes)
{
    size_t need = hak_align_up(size_bytes, 16) + ARENA_HEADER;
    if (size_bytes > HAK_NEXT_ARENA_BYTES)
        return NULL;
    size_t at = atomic_fetch_add(&arena_used, need);
    if (at + need > HAK_NEXT_ARENA_BYTES)
        return NULL;
    memcpy(&hak_next_arena[at], &size_bytes, sizeof size_bytes);
    return &hak_next_arena[at + ARENA_HEADER];
}

size_t hak_next_ours_bytes(const void *block)
{
    size_t size_bytes;
    memcpy(&size_bytes, (const char *)block - ARENA_HEADER, sizeof size_bytes);
    return size_bytes;
}

/* First calls. Where the lookup itself allocates, the arena answers. */
static void *first_malloc(size_t size)
{
    hak_next_resolve();
    return resolving ? arena_take(size) : hak_next.malloc(size);
}

static void first_free(void *block)
{
    hak_next_resolve();
    if (!resolving)
        hak_next.free(block);
}

static void *first_calloc(size_t count, size_t size)
{
    hak_next_resolve();
    size_t total;
    if (!resolving)
        return hak_next.calloc(count, size);
    return __builtin_mul_overflow(count, size, &total) ? NULL : arena_take(total); /* never reused: zero */
}

static void *first_realloc(void *block, size_t size)
{
    hak_next_resolve();
    return resolving ? NULL : hak_next.realloc(block, size);
}

static void *first_memalign(size_t alignment, size_t size)
{
    hak_next_resolve();
    return resolving ? NULL : hak_next.memalign(alignment, size);
}

static void *first_aligned_alloc(size_t alignment, size_t size)
{
    hak_next_resolve();
    return resolving ? NULL : hak_next.aligned_alloc(alignment, size);
}

static int first_posix_memalign(void **block, size_t alignment, size_t size)
{
    hak_next_resolve();
    return resolving ? ENOMEM : hak_next.posix_memalign(block, alignment, size);
}

static void *first_valloc(size_t size)
{
    hak_next_resolve();
    return resolving ? NULL : hak_next.valloc(size);
}

static void *first_pvalloc(size_t size)
{
    hak_next_resolve();
    return resolving ? NULL : hak_next.pvalloc(size);
}

static size_t first_usable_size(void *block)
{
    hak_next_resolve();
    return resolving ? 0 : hak_next.usable_size(block);
}

static int first_dlclose(void *handle)
{
    hak_next_resolve();
    return hak_next.dlclose(handle);
}

hak_next_table hak_next = {
    first_malloc,         first_free,   first_calloc,  first_realloc,     first_memalign, first_aligned_alloc,
    first_posix_memalign, first_valloc, first_pvalloc, first_usable_size, first_dlclose,
};

/* What an allocator without these functions would do. */
static void *plain_memalign(size_t alignment, size_t size)
{
    void *block = NULL;
    int failed =
        hak_next.posix_memalign(&block, alignment < sizeof(void *) ? sizeof(void *) : alignment, size);
    if (failed != 0)
        errno = failed;
    return failed == 0 ? block : NULL;
}

static void *plain_valloc(size_t size)
{
    return hak_next.memalign(HAK_OS_PAGE_BYTES, size);
}

static void *plain_pvalloc(size_t size)
{
    if (size > PTRDIFF_MAX - HAK_OS_PAGE_BYTES) {
        errno = ENOMEM;
        return NULL;
    }
    return hak_next.memalign(HAK_OS_PAGE_BYTES, hak_align_up(size, HAK_OS_PAGE_BYTES));
}

static size_t no_usable_size(void *block)
{
    (void)block;
    return 0;
}

void hak_next_resolve(void)
{
    if (atomic_load_explicit(&resolved, memory_order_acquire) || resolving)
        return;
    resolving = true;
    const char *names[] = {"malloc",        "free",           "calloc", "realloc", "memalign",
                           "aligned_alloc", "posix_memalign", "valloc", "pvalloc", "malloc_usable_size",
                           "dlclose"};
    void *found[HAK_COUNT_OF(names)];
    for (size_t i = 0; i < HAK_COUNT_OF(names); i++)
        found[i] = dlsym(RTLD_NEXT, names[i]);
    hak_next_table table = {.memalign = plain_memalign,
                            .aligned_alloc = plain_memalign,
                            .valloc = plain_valloc,
                            .pvalloc = plain_pvalloc,
                            .usable_size = no_usable_size};
    _Static_assert(sizeof table == sizeof found, "one name per entry");
    for (size_t i = 0; i < HAK_COUNT_OF(names); i++)
        if (found[i] != NULL)
            memcpy((char *)&table + i * sizeof found[0], &found[i], sizeof found[0]);
    hak_next = table; /* a thread that still sees old entries looks up the same */
    resolving = false;
    atomic_store_explicit(&resolved, true, memory_order_release);
}

void *hak_next_cxx(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found != NULL)
        return found;
    void *handle = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL)
        return NULL;
    found = dlsym(handle, name);
    hak_next.dlclose(handle);
    return found;
}
