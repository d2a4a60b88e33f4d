/* quarantine.c: where RESEARCH mode's freed blocks rest; see research.h. Small and mid ones are filled with a
 * pattern; of large ones the whole OS pages are made inaccessible, so that the kernel ends the process at the
 * very access, and the ends are filled. Never allocates; state under its lock. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/research.h"

#define FILL_FREED      0xdf
#define PROTECTED_BYTES HAK_MIB        /* from here on pages are protected instead of filled */
#define LARGEST_BYTES   (64 * HAK_MIB) /* larger ones are unmapped at once: any access ends the process */
#define FILLED_BYTES    (4 * HAK_MIB)
#define KEPT_BYTES      (16 * HAK_MIB) /* of protected blocks */
#define RING_COUNT      1024

typedef struct resting {
    void *at;
    size_t bytes;
} resting;

/* First in, first out. Bounded by RING_COUNT and by most_of; one block may exceed these. All zero at first:
 * what is in the file besides is resident in every process. */
typedef struct ring {
    resting blocks[RING_COUNT];
    unsigned first, used;
    size_t bytes;
} ring;

hak_lock hak_quarantine_lock = HAK_LOCK_INIT(HAK_RANK_QUARANTINE);

static ring filled;
static ring protected;

static size_t most_of(const ring *r)
{
    return r == &filled ? FILLED_BYTES : KEPT_BYTES;
}

/* Bytes of the whole OS pages inside a large block; 0 for smaller ones. */
static size_t pages_of(const void *at, size_t bytes, char **first)
{
    uintptr_t from = hak_align_up((uintptr_t)at, HAK_OS_PAGE_BYTES);
    uintptr_t to = hak_align_down((uintptr_t)at + bytes, HAK_OS_PAGE_BYTES);
    *first = (char *)from;
    return bytes >= PROTECTED_BYTES ? to - from : 0;
}

static void fill(char *at, size_t bytes)
{
    char *first;
    size_t pages_bytes = pages_of(at, bytes, &first);
    if (pages_bytes == 0) {
        memset(at, FILL_FREED, bytes);
        return;
    }
    memset(at, FILL_FREED, (size_t)(first - at));
    memset(first + pages_bytes, FILL_FREED, (size_t)(at + bytes - first) - pages_bytes);
    hak_os_protect(first, pages_bytes, HAK_OS_ACCESS_NONE);
}

static bool all_are(const void *at, uint8_t value, size_t bytes)
{
    const uint8_t *byte = at;
    return bytes == 0 || (byte[0] == value && memcmp(byte, byte + 1, bytes - 1) == 0);
}

static bool untouched(void *at)
{
    if (!hak_research_marked_freed(at))
        return false;
    size_t bytes = hak_research_bytes(at);
    char *first;
    size_t pages_bytes = pages_of(at, bytes, &first);
    if (pages_bytes == 0)
        return all_are(at, FILL_FREED, bytes);
    return all_are(at, FILL_FREED, (size_t)(first - (char *)at)) &&
           all_are(first + pages_bytes, FILL_FREED, (size_t)((char *)at + bytes - first) - pages_bytes);
}

/* The oldest one; the ring is not empty. */
static void *oldest(ring *r)
{
    void *at = r->blocks[r->first].at;
    r->bytes -= r->blocks[r->first].bytes;
    r->first = (r->first + 1) % RING_COUNT;
    r->used--;
    return at;
}

/* Out of the quarantine and out of RESEARCH's hands. */
static void *checked(void *at)
{
    if (at == NULL)
        return NULL;
    if (!untouched(at))
        hak_research_report("free()", ": write after free of", at);
    char *first;
    size_t pages_bytes = pages_of(at, hak_research_bytes(at), &first);
    if (pages_bytes != 0 && !hak_os_protect(first, pages_bytes, HAK_OS_ACCESS_ALL))
        return NULL; /* no mapping left to split: the block is lost, unharmed */
    hak_research_unmark(at);
    return at;
}

static bool too_many(const ring *r)
{
    return r->bytes > most_of(r) && r->used > 1;
}

void *hak_quarantine_put(void *at, size_t bytes, bool *more)
{
    *more = false;
    if (bytes > LARGEST_BYTES) {
        hak_research_unmark(at);
        return at;
    }
    hak_research_mark_freed(at);
    fill(at, bytes);
    ring *r = bytes >= PROTECTED_BYTES ? &protected : &filled;
    hak_lock_take(&hak_quarantine_lock);
    void *out = r->used == RING_COUNT ? oldest(r) : NULL;
    r->blocks[(r->first + r->used) % RING_COUNT] = (resting){at, bytes};
    r->used++;
    r->bytes += bytes;
    *more = too_many(r);
    hak_lock_give(&hak_quarantine_lock);
    return checked(out);
}

void *hak_quarantine_leave(bool all)
{
    hak_lock_take(&hak_quarantine_lock);
    void *out = NULL;
    if (too_many(&filled) || (all && filled.used > 0))
        out = oldest(&filled);
    else if (too_many(&protected) || (all && protected.used > 0))
        out = oldest(&protected);
    hak_lock_give(&hak_quarantine_lock);
    return checked(out);
}

static unsigned check_ring(const ring *r)
{
    unsigned faults = 0;
    for (unsigned i = 0; i < r->used; i++) {
        void *at = r->blocks[(r->first + i) % RING_COUNT].at;
        if (untouched(at))
            continue;
        faults++;
        hak_research_note("write after free of", at);
    }
    return faults;
}

unsigned hak_quarantine_check(void)
{
    hak_lock_take(&hak_quarantine_lock);
    unsigned faults = check_ring(&filled) + check_ring(&protected);
    hak_lock_give(&hak_quarantine_lock);
    return faults;
}
