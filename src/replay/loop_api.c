/* loop_api.c: entry points that a target lacks, made of those it has; and the rare ones, with everything
 * spelled out. Never measures. Any thread once hak_api_fill has returned. */
#include <errno.h>

#include "core/base/bits.h"
#include "replay/loop_parts.h"
#include "trace/event.h"

static const hak_api *filled; /* by hak_api_fill; the fallbacks below have no room for a context */

static void *fall_new_aligned(size_t size, size_t align)
{
    return filled->memalign(align, size);
}

static void fall_delete_aligned(void *block, size_t align)
{
    (void)align;
    filled->free(block);
}

static int fall_posix_memalign(void **block, size_t align, size_t size)
{
    *block = filled->memalign(align, size);
    return *block != NULL ? 0 : ENOMEM;
}

static void *fall_valloc(size_t size)
{
    return filled->memalign(HAK_OS_PAGE_BYTES, size);
}

static void *fall_pvalloc(size_t size)
{
    return size > SIZE_MAX - HAK_OS_PAGE_BYTES
               ? NULL
               : filled->memalign(HAK_OS_PAGE_BYTES, hak_align_up(size, HAK_OS_PAGE_BYTES));
}

static void *fall_reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : filled->realloc(block, bytes);
}

static void fall_free_sized(void *block, size_t size)
{
    (void)size;
    filled->free(block);
}

static void fall_free_aligned_sized(void *block, size_t align, size_t size)
{
    (void)align;
    (void)size;
    filled->free(block);
}

static void fall_replay_site(const uint32_t *place)
{
    (void)place;
}

#define FILL(member, with)                                                                                   \
    do {                                                                                                     \
        if (api->member == NULL)                                                                             \
            api->member = (with);                                                                            \
    } while (0)

void hak_api_fill(hak_api *api)
{
    filled = api;
    FILL(new_plain, api->malloc);
    FILL(new_array, api->malloc);
    FILL(delete_plain, api->free);
    FILL(delete_array, api->free);
    FILL(new_aligned, fall_new_aligned);
    FILL(new_array_aligned, fall_new_aligned);
    FILL(delete_aligned, fall_delete_aligned);
    FILL(delete_array_aligned, fall_delete_aligned);
    FILL(new_nothrow, api->malloc);
    FILL(new_array_nothrow, api->malloc);
    FILL(aligned_alloc, api->memalign);
    FILL(posix_memalign, fall_posix_memalign);
    FILL(valloc, fall_valloc);
    FILL(pvalloc, fall_pvalloc);
    FILL(reallocarray, fall_reallocarray);
    FILL(replay_site, fall_replay_site);
    FILL(cfree, api->free);
    FILL(free_sized, fall_free_sized);
    FILL(free_aligned_sized, fall_free_aligned_sized);
}

/* Rare entry points, with everything spelled out. */

void *hak_api_alloc(const hak_api *api, hak_op op, unsigned flags, size_t align, size_t size)
{
    bool nothrow = flags & HAK_W_NOTHROW;
    void *block = NULL;
    switch (op) {
    case HAK_OP_CALLOC:
        return api->calloc(1, size);
    case HAK_OP_MEMALIGN:
        return api->memalign(align, size);
    case HAK_OP_ALIGNED_ALLOC:
        return api->aligned_alloc(align, size);
    case HAK_OP_POSIX_MEMALIGN:
        return api->posix_memalign(&block, align < sizeof(void *) ? sizeof(void *) : align, size) == 0 ? block
                                                                                                       : NULL;
    case HAK_OP_VALLOC:
        return api->valloc(size);
    case HAK_OP_PVALLOC:
        return api->pvalloc(size);
    case HAK_OP_NEW:
        return align > 1 ? api->new_aligned(size, align)
               : nothrow ? api->new_nothrow(size)
                         : api->new_plain(size);
    case HAK_OP_NEW_ARRAY:
        return align > 1 ? api->new_array_aligned(size, align)
               : nothrow ? api->new_array_nothrow(size)
                         : api->new_array(size);
    default:
        return api->malloc(size);
    }
}

void hak_api_free(const hak_api *api, hak_op op, void *block, size_t align, size_t old)
{
    switch (op) {
    case HAK_OP_CFREE:
        api->cfree(block);
        return;
    case HAK_OP_FREE_SIZED:
        api->free_sized(block, old);
        return;
    case HAK_OP_FREE_ALIGNED_SIZED:
        api->free_aligned_sized(block, align, old);
        return;
    case HAK_OP_DELETE:
        align > 1 ? api->delete_aligned(block, align) : api->delete_plain(block);
        return;
    case HAK_OP_DELETE_ARRAY:
        align > 1 ? api->delete_array_aligned(block, align) : api->delete_array(block);
        return;
    default:
        api->free(block);
    }
}
