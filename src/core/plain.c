/* plain.c: see plain.h. Boundary tags in 2 MiB regions, neighbours merged on free. A region that is empty
 * again is unmapped unless it is the last one. */
#include "core/plain.h"

#include <errno.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/base/print.h"
#include "core/pagemap.h"
#include "core/stats.h"

#define TAG_LIVE UINT32_C(0x11feb10c)
#define TAG_FREE UINT32_C(0x0f4eeb10)
#define TAG_EDGE UINT32_C(0x0ed9eed9) /* ends a region */

/* In front of every run. Lengths include the tag; multiples of 16. */
typedef struct tag {
    uint32_t kind;
    uint32_t len_bytes;
    uint32_t before_bytes; /* length of the run before; 0: first of the region */
    uint32_t reserved;
} tag;

typedef struct run {
    tag tag;
    struct run *prev, *next; /* free runs */
} run;

#define RUN_MIN_BYTES    ((uint32_t)sizeof(run))
#define REGION_RUN_BYTES ((uint32_t)(HAK_CHUNK_BYTES - sizeof(tag)))

hak_lock hak_plain_lock = HAK_LOCK_INIT(HAK_RANK_PLAIN);
static run *free_runs;
static unsigned region_count;
static size_t live_bytes; /* runs handed out */

static run *after(run *r)
{
    return (run *)((char *)r + r->tag.len_bytes);
}

static void free_link(run *r)
{
    r->tag.kind = TAG_FREE;
    r->prev = NULL;
    r->next = free_runs;
    if (free_runs != NULL)
        free_runs->prev = r;
    free_runs = r;
}

static _Noreturn HAK_COLD void corrupted(const void *at)
{
    hak_count(HAK_COUNT_MISUSE, 1);
    hak_fatal_address("heap corrupted near", at);
}

/* Its neighbours in the list must agree: a bent link would write where the bender wants. */
static void free_unlink(run *r)
{
    if ((r->prev != NULL ? r->prev->next : free_runs) != r || (r->next != NULL && r->next->prev != r))
        corrupted(r);
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        free_runs = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
}

static run *region_new(void)
{
    run *r = hak_os_map(HAK_CHUNK_BYTES, HAK_CHUNK_BYTES);
    if (r == NULL)
        return NULL;
    if (!hak_page_map_covers(r, 1)) {
        hak_os_unmap(r, HAK_CHUNK_BYTES);
        errno = ENOMEM;
        return NULL;
    }
    hak_count(HAK_COUNT_OS_MAP, 1);
    r->tag.len_bytes = REGION_RUN_BYTES;
    after(r)->tag = (tag){.kind = TAG_EDGE, .before_bytes = REGION_RUN_BYTES};
    hak_page_map_set(r, 1, HAK_CHUNK_PLAIN);
    region_count++;
    free_link(r);
    return r;
}

/* Cuts `r`, which is in no list, to len_bytes; the rest becomes a free run. */
static void cut(run *r, uint32_t len_bytes)
{
    if (r->tag.len_bytes - len_bytes < RUN_MIN_BYTES)
        return;
    run *end = after(r);
    run *rest = (run *)((char *)r + len_bytes);
    rest->tag.len_bytes = r->tag.len_bytes - len_bytes;
    rest->tag.before_bytes = len_bytes;
    end->tag.before_bytes = rest->tag.len_bytes;
    r->tag.len_bytes = len_bytes;
    free_link(rest);
}

/* Bytes to skip at the run's start so that a block of `align` fits; UINT32_MAX: it does not. */
static uint32_t lead_for(const run *r, uint32_t len_bytes, size_t align)
{
    uintptr_t at = (uintptr_t)r + sizeof(tag);
    uintptr_t aligned = hak_align_up(at, align);
    while (aligned != at && aligned - at < RUN_MIN_BYTES)
        aligned += align;
    size_t lead = aligned - at;
    return lead + len_bytes <= r->tag.len_bytes ? (uint32_t)lead : UINT32_MAX;
}

void *hak_plain_take(size_t bytes, size_t align)
{
    uint32_t len_bytes = (uint32_t)hak_align_up(bytes + sizeof(tag), 16);
    if (len_bytes < RUN_MIN_BYTES)
        len_bytes = RUN_MIN_BYTES;
    hak_lock_take(&hak_plain_lock);
    run *r = free_runs;
    while (r != NULL && (r->tag.len_bytes < len_bytes || lead_for(r, len_bytes, align) == UINT32_MAX))
        r = r->next;
    if (r == NULL)
        r = region_new();
    if (r != NULL) {
        uint32_t lead = lead_for(r, len_bytes, align);
        free_unlink(r);
        if (lead != 0) {
            uint32_t all = r->tag.len_bytes;
            run *block = (run *)((char *)r + lead);
            block->tag.len_bytes = all - lead;
            block->tag.before_bytes = lead;
            after(block)->tag.before_bytes = all - lead;
            r->tag.len_bytes = lead;
            free_link(r);
            r = block;
        }
        cut(r, len_bytes);
        r->tag.kind = TAG_LIVE;
        live_bytes += r->tag.len_bytes;
    }
    hak_lock_give(&hak_plain_lock);
    hak_count(HAK_COUNT_PLAIN_ALLOC, 1);
    return r == NULL ? NULL : (char *)r + sizeof(tag);
}

static run *live_run(void *at)
{
    run *r = (run *)((char *)at - sizeof(tag));
    bool in_region = ((uintptr_t)at & (HAK_CHUNK_BYTES - 1)) >= sizeof(tag) && ((uintptr_t)at & 15) == 0;
    return in_region && r->tag.kind == TAG_LIVE ? r : NULL;
}

/* Its length leads to a run of the same region that says so too. */
static bool is_whole(run *r)
{
    size_t offset = (uintptr_t)r & (HAK_CHUNK_BYTES - 1);
    return r->tag.len_bytes >= RUN_MIN_BYTES && r->tag.len_bytes % 16 == 0 &&
           r->tag.len_bytes <= REGION_RUN_BYTES - offset && after(r)->tag.before_bytes == r->tag.len_bytes &&
           r->tag.before_bytes <= offset;
}

void hak_plain_put(void *at)
{
    hak_lock_take(&hak_plain_lock);
    run *r = live_run(at);
    if (r == NULL) {
        hak_lock_give(&hak_plain_lock);
        bool was_block = ((uintptr_t)at & 15) == 0 &&
                         ((uintptr_t)at & (HAK_CHUNK_BYTES - 1)) >= sizeof(tag) &&
                         ((run *)((char *)at - sizeof(tag)))->tag.kind == TAG_FREE;
        hak_count(HAK_COUNT_MISUSE, 1);
        hak_fatal_address(was_block ? "free(): double free of" : "free(): invalid pointer", at);
    }
    if (!is_whole(r))
        corrupted(at);
    live_bytes -= r->tag.len_bytes;
    run *next = after(r);
    if (next->tag.kind == TAG_FREE) {
        free_unlink(next);
        r->tag.len_bytes += next->tag.len_bytes;
    }
    if (r->tag.before_bytes != 0) {
        run *before = (run *)((char *)r - r->tag.before_bytes);
        if (before->tag.kind == TAG_FREE) {
            free_unlink(before);
            before->tag.len_bytes += r->tag.len_bytes;
            r->tag.kind = TAG_FREE; /* inside the merged run now: a second free of it is still seen */
            r = before;
        }
    }
    after(r)->tag.before_bytes = r->tag.len_bytes;
    if (r->tag.len_bytes == REGION_RUN_BYTES && region_count > 1) {
        hak_page_map_set(r, 1, HAK_CHUNK_FOREIGN);
        hak_os_unmap(r, HAK_CHUNK_BYTES);
        hak_count(HAK_COUNT_OS_UNMAP, 1);
        region_count--;
    } else {
        free_link(r);
    }
    hak_lock_give(&hak_plain_lock);
    hak_count(HAK_COUNT_PLAIN_FREE, 1);
}

void hak_plain_info(size_t *mapped_bytes, size_t *used_bytes)
{
    hak_lock_take(&hak_plain_lock);
    *mapped_bytes = region_count * HAK_CHUNK_BYTES;
    *used_bytes = live_bytes;
    hak_lock_give(&hak_plain_lock);
}

size_t hak_plain_usable(void *at)
{
    run *r = live_run(at);
    return r == NULL ? 0 : r->tag.len_bytes - sizeof(tag);
}
