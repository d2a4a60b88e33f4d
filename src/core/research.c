/* research.c: see research.h. Never allocates; state is the quarantine, under its lock. */
#include "core/research.h"

#include <string.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/callsite/memo.h"
#include "core/base/print.h"

#define GUARD_LIVE       UINT64_C(0x9e3779b97f4a7c15)
#define GUARD_FREED      UINT64_C(0x6672656564626c6b)
#define FILL_TAIL        0xa5
#define FILL_FREED       0xdf
#define SITE_DEPTH       4
#define QUARANTINE_COUNT 1024
#define QUARANTINE_BYTES ((size_t)4 << 20)

/* Directly in front of what the program gets. */
typedef struct header {
    uint64_t guard; /* GUARD_* ^ the block's address */
    uint32_t site;
    uint32_t class_bytes; /* of the block below */
    uint64_t bytes;       /* requested */
    uint64_t check;       /* over the fields above */
} header;

_Static_assert(sizeof(header) == HAK_RESEARCH_FRONT_BYTES, "header size");

hak_lock hak_quarantine_lock = HAK_LOCK_INIT(HAK_RANK_QUARANTINE);

static void *quarantine[QUARANTINE_COUNT];
static unsigned quarantine_first, quarantine_used;
static size_t quarantine_bytes;

static header *header_of(const void *at)
{
    return (header *)((uintptr_t)at - sizeof(header));
}

static uint64_t check_of(const header *h)
{
    return hak_mix64(h->guard ^ h->bytes ^ ((uint64_t)h->site << 32 | h->class_bytes));
}

static _Noreturn HAK_COLD void report(const char *caller, const char *what, const void *at)
{
    char text[128] = "";
    strncat(text, caller, 31);
    strncat(text, what, sizeof text - 32);
    hak_count(HAK_COUNT_MISUSE, 1);
    hak_fatal_address(text, at);
}

void hak_research_seal(void *block, size_t bytes)
{
    memset((char *)block + bytes, FILL_TAIL, HAK_RESEARCH_TAIL_BYTES);
}

uint32_t hak_research_site(hak_frame frame)
{
    uintptr_t pcs[SITE_DEPTH];
    bool complete;
    uint64_t hash = 0;
    unsigned n = hak_memo_walk(frame, hak_stack_of(frame.sp), pcs, SITE_DEPTH, &complete);
    for (unsigned i = 0; i < n; i++)
        hash = hak_mix64(hash ^ pcs[i]);
    return (uint32_t)hash;
}

void *hak_research_dress(hak_slab *slab, void *base, size_t bytes, size_t align, uint32_t site)
{
    uintptr_t at = (uintptr_t)base + sizeof(header);
    if (align > 16)
        at = hak_align_up(at, align);
    header *h = header_of((void *)at);
    h->guard = GUARD_LIVE ^ at;
    h->site = site;
    h->class_bytes = slab->block_bytes;
    h->bytes = bytes;
    h->check = check_of(h);
    hak_research_seal((void *)at, bytes);
    return (void *)at;
}

void hak_research_check_seal(const void *block, size_t bytes, const char *caller)
{
    const uint8_t *tail = (const uint8_t *)block + bytes;
    for (unsigned i = 0; i < HAK_RESEARCH_TAIL_BYTES; i++)
        if (tail[i] != FILL_TAIL)
            report(caller, ": overflow past the end of", block);
}

size_t hak_research_check(const hak_slab *slab, void *at, const char *caller)
{
    const char *base = hak_slab_block_of(slab, at);
    if (base == NULL || ((uintptr_t)at & 15) != 0 || (const char *)at < base + sizeof(header))
        report(caller, ": invalid pointer", at);
    const header *h = header_of(at);
    if (h->guard == (GUARD_FREED ^ (uintptr_t)at))
        report(caller, ": double free of", at);
    if (h->guard != (GUARD_LIVE ^ (uintptr_t)at))
        report(caller, at == base + sizeof(header) ? ": header overwritten in front of" : ": invalid pointer",
               at);
    if (h->check != check_of(h) || h->class_bytes != slab->block_bytes ||
        h->bytes > (size_t)(base + slab->block_bytes - HAK_RESEARCH_TAIL_BYTES - (char *)at))
        report(caller, ": header overwritten in front of", at);
    hak_research_check_seal(at, h->bytes, caller);
    return h->bytes;
}

static bool still_filled(const void *at)
{
    const header *h = header_of(at);
    const uint8_t *bytes = at;
    if (h->guard != (GUARD_FREED ^ (uintptr_t)at) || h->check != check_of(h))
        return false;
    for (size_t i = 0; i < h->bytes; i++)
        if (bytes[i] != FILL_FREED)
            return false;
    return true;
}

void *hak_research_retire(void *at, size_t bytes)
{
    header *h = header_of(at);
    h->guard = GUARD_FREED ^ (uintptr_t)at;
    h->check = check_of(h);
    memset(at, FILL_FREED, bytes);
    void *out = NULL;
    hak_lock_take(&hak_quarantine_lock);
    bool full = quarantine_used == QUARANTINE_COUNT || quarantine_bytes + bytes > QUARANTINE_BYTES;
    if (full && quarantine_used > 0) {
        out = quarantine[quarantine_first];
        quarantine_first = (quarantine_first + 1) % QUARANTINE_COUNT;
        quarantine_used--;
        quarantine_bytes -= header_of(out)->bytes;
    }
    quarantine[(quarantine_first + quarantine_used) % QUARANTINE_COUNT] = at;
    quarantine_used++;
    quarantine_bytes += bytes;
    hak_lock_give(&hak_quarantine_lock);
    if (out == NULL)
        return NULL;
    if (!still_filled(out))
        report("free()", ": write after free of", out);
    header_of(out)->guard = 0;
    return hak_slab_block_of(hak_slab_of(out), out);
}

unsigned hak_research_check_quarantine(void)
{
    unsigned faults = 0;
    hak_lock_take(&hak_quarantine_lock);
    for (unsigned i = 0; i < quarantine_used; i++) {
        const void *at = quarantine[(quarantine_first + i) % QUARANTINE_COUNT];
        if (still_filled(at))
            continue;
        faults++;
        hak_count(HAK_COUNT_MISUSE, 1);
        hak_out out;
        hak_out_init(&out, STDERR_FILENO);
        hak_out_text(&out, "hakmem: write after free of ");
        hak_out_hex(&out, (uintptr_t)at);
        hak_out_text(&out, "\n");
        hak_out_flush(&out);
    }
    hak_lock_give(&hak_quarantine_lock);
    return faults;
}
