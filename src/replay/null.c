/* null.c: see null.h. A thread's arena is never unmapped: replay threads are few and the process is short. */
#include "replay/null.h"

#include <sys/mman.h>

#include "core/base/bits.h"

#define ROUND_BYTES     (16 * HAK_KIB) /* the pointer starts over then: it stays within the nearest cache */
#define ARENA_MAX_BYTES ((uint64_t)1 << 46) /* nobody maps more: such requests fail here as elsewhere */

/* Only ever linked into programs: the nearest model of TLS. */
static _Thread_local __attribute__((tls_model("local-exec"))) intptr_t at, start = 1;
static uint64_t arena_bytes;

static HAK_NOINLINE void *wrap(size_t size)
{
    if (size >= arena_bytes)
        return NULL;
    if (start == 1) {
        void *map = mmap(NULL, arena_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED)
            return NULL;
        start = (intptr_t)map;
    }
    at = size <= ROUND_BYTES ? (intptr_t)((size_t)start + ROUND_BYTES - size) & -16 : start;
    return (void *)at;
}

/* Downwards: what is left is what is returned. Nobody asks for more than PTRDIFF_MAX (workload.c). */
static void *null_malloc(size_t size)
{
    intptr_t block = (intptr_t)((size_t)at - size) & -16;
    if (HAK_UNLIKELY(block < start))
        return wrap(size);
    at = block;
    return (void *)block;
}

static void *null_calloc(size_t count, size_t size)
{
    return null_malloc(count * size);
}

static void *null_realloc(void *block, size_t size)
{
    (void)block;
    return null_malloc(size);
}

static void null_free(void *block)
{
    (void)block;
}

static void *null_memalign(size_t align, size_t size)
{
    (void)align;
    return null_malloc(size);
}

void hak_null_api(hak_api *api, uint64_t size_max)
{
    if (size_max > ARENA_MAX_BYTES)
        size_max = ARENA_MAX_BYTES;
    arena_bytes = hak_align_up(size_max + ROUND_BYTES, HAK_OS_PAGE_BYTES);
    api->malloc = null_malloc;
    api->calloc = null_calloc;
    api->realloc = null_realloc;
    api->free = null_free;
    api->memalign = null_memalign;
}
