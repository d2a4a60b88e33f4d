/* research.c: see research.h: headers, guards, and what they say. Never allocates, holds no state. */
#include "core/research.h"

#include <string.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/print.h"
#include "core/callsite/memo.h"
#include "core/mid.h"
#include "core/secure.h"

#define GUARD_LIVE     UINT64_C(0x9e3779b97f4a7c15)
#define GUARD_FREED    UINT64_C(0x6672656564626c6b)
#define GUARD_SHIFTED  UINT64_C(0x73686966746564a1)
#define FILL_TAIL      0xa5u
#define FILL_TAIL_WORD (UINT64_C(0x0101010101010101) * FILL_TAIL)
#define TAIL_MAX_BYTES (2 * HAK_RESEARCH_TAIL_BYTES)
#define SITE_DEPTH     4
#define TEXT_BYTES     128

/* Directly in front of what the program gets. */
typedef struct header {
    uint64_t guard; /* GUARD_* ^ the block's address */
    uint32_t site;
    uint32_t tail_bytes; /* of guard behind the block */
    uint64_t bytes;      /* requested */
    uint64_t check;      /* over the fields above */
} header;

_Static_assert(sizeof(header) == HAK_RESEARCH_FRONT_BYTES, "header size");
_Static_assert(sizeof(hak_large) + sizeof(header) <= HAK_LARGE_HEADER_BYTES,
               "the header of a large block fits between the allocator's and the block");

/* At the base of a block whose alignment moved it away from there. */
typedef struct shift {
    uint64_t guard; /* GUARD_SHIFTED ^ its own address */
    uint64_t by_bytes;
} shift;

static header *header_of(const void *at)
{
    return (header *)((uintptr_t)at - sizeof(header));
}

static uint64_t check_of(const header *h)
{
    return hak_mix64(h->guard ^ h->bytes ^ ((uint64_t)h->site << 32 | h->tail_bytes));
}

void hak_research_report(const char *caller, const char *what, const void *at)
{
    char text[TEXT_BYTES] = "";
    strncat(text, caller, TEXT_BYTES / 2 - 1);
    strncat(text, what, TEXT_BYTES / 2 - 1);
    hak_count(HAK_COUNT_MISUSE, 1);
    hak_fatal_address(text, at);
}

void hak_research_note(const char *what, const void *at)
{
    hak_count(HAK_COUNT_MISUSE, 1);
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem: at exit: ");
    hak_out_text(&out, what);
    hak_out_text(&out, " ");
    hak_out_hex(&out, (uintptr_t)at);
    hak_out_text(&out, "\n");
    hak_out_flush(&out);
}

static _Noreturn void report_freed(const char *caller, const void *at)
{
    hak_research_report(caller, strcmp(caller, "free()") == 0 ? ": double free of" : ": freed block", at);
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

static void dress(uintptr_t at, size_t room_bytes, size_t bytes, uint32_t site)
{
    header *h = header_of((void *)at);
    size_t tail = room_bytes - bytes;
    h->guard = GUARD_LIVE ^ at;
    h->site = site;
    h->tail_bytes = (uint32_t)(tail < TAIL_MAX_BYTES ? tail : TAIL_MAX_BYTES);
    h->bytes = bytes;
    h->check = check_of(h);
    memset((char *)at + bytes, FILL_TAIL, h->tail_bytes);
}

void *hak_research_dress(void *base, size_t base_bytes, size_t bytes, size_t align, uint32_t site)
{
    uintptr_t first = (uintptr_t)base + sizeof(header);
    uintptr_t at = align > 16 ? hak_align_up(first, align) : first;
    if (at != first) {
        shift *s = base;
        s->guard = GUARD_SHIFTED ^ (uintptr_t)base;
        s->by_bytes = at - (uintptr_t)base;
    }
    dress(at, (size_t)((uintptr_t)base + base_bytes - at), bytes, site);
    return (void *)at;
}

void hak_research_dress_large(void *at, size_t room_bytes, size_t bytes, uint32_t site)
{
    dress((uintptr_t)at, room_bytes, bytes, site);
}

static bool tail_whole(const void *at, size_t bytes, size_t tail_bytes)
{
    const uint8_t *tail = (const uint8_t *)at + bytes;
    uint64_t bent = 0, word;
    size_t i = 0;
    for (; i + sizeof word <= tail_bytes; i += sizeof word) {
        memcpy(&word, tail + i, sizeof word);
        bent |= word ^ FILL_TAIL_WORD;
    }
    for (; i < tail_bytes; i++)
        bent |= tail[i] ^ FILL_TAIL;
    return bent == 0;
}

/* `begins`: a block is sure to begin here, so a header that is none was overwritten. */
static size_t check(void *at, size_t room_bytes, bool begins, const char *caller)
{
    const header *h = header_of(at);
    if (h->guard == (GUARD_FREED ^ (uintptr_t)at))
        report_freed(caller, at);
    if (h->guard != (GUARD_LIVE ^ (uintptr_t)at) && !begins)
        hak_research_report(caller, ": invalid pointer", at);
    if (h->guard != (GUARD_LIVE ^ (uintptr_t)at) || h->check != check_of(h) || h->bytes > room_bytes ||
        h->tail_bytes > room_bytes - h->bytes)
        hak_research_report(caller, ": header overwritten in front of", at);
    if (!tail_whole(at, h->bytes, h->tail_bytes))
        hak_research_report(caller, ": overflow past the end of", at);
    return h->bytes;
}

static size_t check_in(void *at, const char *base, size_t base_bytes, const char *caller)
{
    if (((uintptr_t)at & 15) != 0 || (const char *)at < base + sizeof(header))
        hak_research_report(caller, ": invalid pointer", at);
    return check(at, (size_t)(base + base_bytes - (char *)at), at == base + sizeof(header), caller);
}

size_t hak_research_check_small(const hak_slab *slab, void *at, const char *caller)
{
    const hak_block *base = hak_slab_block_of(slab, at);
    if (base == NULL)
        hak_research_report(caller, ": invalid pointer", at);
    const hak_heap *owner = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    if (base->key == hak_block_key(base, owner) && hak_heap_holds(slab, base))
        report_freed(caller, at); /* it has left the quarantine since */
    return check_in(at, (const char *)base, slab->block_bytes, caller);
}

size_t hak_research_check_mid(const hak_slab *run, void *at, const char *caller)
{
    return check_in(at, run->start, hak_mid_usable(run), caller);
}

size_t hak_research_check_large(const hak_large *large, void *at, const char *caller)
{
    return check(at, hak_large_usable(large), true, caller);
}

void hak_research_mark_freed(void *at)
{
    header *h = header_of(at);
    h->guard = GUARD_FREED ^ (uintptr_t)at;
    h->check = check_of(h);
}

void hak_research_unmark(void *at)
{
    header_of(at)->guard = 0;
}

bool hak_research_marked_freed(const void *at)
{
    const header *h = header_of(at);
    return h->guard == (GUARD_FREED ^ (uintptr_t)at) && h->check == check_of(h);
}

size_t hak_research_bytes(const void *at)
{
    return header_of(at)->bytes;
}

/* The live dressed block inside the allocator's block, or NULL. */
static const void *dressed_in(const char *base, size_t base_bytes)
{
    const shift *s = (const shift *)base;
    size_t by = s->guard == (GUARD_SHIFTED ^ (uintptr_t)base) ? s->by_bytes : sizeof(header);
    if (by < sizeof(header) || by >= base_bytes)
        return NULL;
    const char *at = base + by;
    const header *h = header_of(at);
    bool live = h->guard == (GUARD_LIVE ^ (uintptr_t)at) && h->check == check_of(h) &&
                h->bytes <= base_bytes - by && h->tail_bytes <= base_bytes - by - h->bytes;
    return live ? at : NULL;
}

typedef struct walk {
    bool own;
    unsigned faults;
} walk;

static void look_at(const char *base, size_t base_bytes, walk *w)
{
    const void *at = dressed_in(base, base_bytes);
    if (at == NULL || tail_whole(at, header_of(at)->bytes, header_of(at)->tail_bytes))
        return;
    w->faults++;
    hak_research_note("overflow past the end of", at);
}

static void look_at_super(hak_superslab *super, void *context)
{
    walk *w = context;
    for (unsigned unit = 0; unit < HAK_UNITS; unit++) {
        const hak_slab *slab = &super->slabs[unit];
        bool mine = atomic_load_explicit(&slab->owner, memory_order_relaxed) == hak_tls_heap;
        if (slab->kind == HAK_SLAB_BLOCKS && (mine || !w->own))
            for (size_t i = 0; i < slab->fresh; i++)
                look_at(slab->start + i * slab->block_bytes, slab->block_bytes, w);
        else if (slab->kind == HAK_SLAB_MID && !w->own)
            look_at(slab->start, hak_mid_usable(slab), w);
    }
}

unsigned hak_research_check_live(bool own)
{
    walk w = {.own = own};
    hak_pool_visit(look_at_super, &w);
    return w.faults;
}
