/* record_walk.c: see record_walk.h. */
#include "trace/record_walk.h"

#include <dlfcn.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/callsite/cfi.h"
#include "trace/record_unwinder.h"

#define CHECK_MEAN   4096 /* allocations between comparisons with the unwinder, on average */
#define CHECK_FRAMES 64
#define PROBE_PAGES  8 /* of a stack that is not the thread's own */
#define CODE_PC_MAX  HAK_ADDRESS_MASK
#define SIGNAL_PC_AT (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * REG_RIP)
#define SIGNAL_SP_AT (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * REG_RSP)
#define SIGNAL_BP_AT (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * REG_RBP)

/* The frame that a walk stands on. */
typedef struct position {
    hak_frame frame;
    uintptr_t bp_at; /* where BP was loaded from; 0: it is the hook's caller's, or noted already */
    bool bp_entry;   /* it is the hook's caller's */
    bool exact;      /* pc is where a signal came, not a return address */
} position;

typedef struct context {
    hak_walk *walk;
    hak_stack stack;
    bool own_stack;  /* the thread's: the unwinder may be asked */
    unsigned extras; /* words beside return addresses, kept at the end of the arrays during the walk */
} context;

_Atomic uint32_t hak_walk_age = 1;

static uintptr_t load(uintptr_t at)
{
    return *(const uintptr_t *)at;
}

static bool unwinder_fits(const context *c)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    return c->own_stack && hak_unwinder_ready() && here > c->stack.low &&
           here - c->stack.low > HAK_UNWINDER_STACK_BYTES;
}

hak_walk *hak_walk_new(unsigned depth, uint32_t seed)
{
    size_t words = HAK_WALK_WORDS_MAX(depth);
    size_t size_bytes = sizeof(hak_walk) + (depth + 2 * words) * sizeof(uintptr_t);
    hak_walk *walk = hak_os_reserve(hak_align_up(size_bytes, HAK_OS_PAGE_BYTES), HAK_OS_PAGE_BYTES);
    if (walk == NULL)
        return NULL;
    walk->pcs = (uintptr_t *)(walk + 1);
    walk->places = walk->pcs + depth;
    walk->values = walk->places + words;
    walk->depth = depth;
    walk->random = seed | 1;
    walk->until_check = 1;
    return walk;
}

static uint32_t next_check(hak_walk *walk)
{
    uint32_t x = walk->random; /* xorshift32 (Marsaglia, 2003) */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    walk->random = x;
    return 1 + x % (2 * CHECK_MEAN);
}

/* First use of a row: compared with the unwinder's answer for the same frame. */
static HAK_COLD hak_frame_row learn(context *c, uintptr_t pc, const position *at)
{
    hak_frame_row row = hak_memo_learn(pc);
    hak_frame ours = at->frame;
    hak_frame theirs = at->frame;
    if (!at->exact && unwinder_fits(c) && hak_frame_up(&ours, row, c->stack)) {
        bool stepped = hak_unwinder_step(&theirs);
        if (stepped && (ours.pc != theirs.pc || ours.sp != theirs.sp)) {
            row = (hak_frame_row){.kind = HAK_FRAME_DYNAMIC};
            hak_memo_set(pc, row);
        }
    }
    hak_walk *walk = c->walk;
    if (!at->exact && walk->learned < HAK_COUNT_OF(walk->learned_pcs))
        walk->learned_pcs[walk->learned++] = pc;
    return row;
}

/* mov $15, %rax; syscall: what a signal handler returns to. */
static bool is_signal_return(uintptr_t pc)
{
    static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
    bool in_page =
        hak_align_down(pc, HAK_OS_PAGE_BYTES) == hak_align_down(pc + sizeof code, HAK_OS_PAGE_BYTES);
    return in_page && memcmp((const void *)pc, code, sizeof code) == 0;
}

/* A word that BP came from, or that it points at. */
static void note(context *c, uintptr_t at)
{
    hak_walk *walk = c->walk;
    size_t last = HAK_WALK_WORDS_MAX(walk->depth) - 1;
    walk->places[last - c->extras] = at;
    walk->values[last - c->extras] = load(at);
    c->extras++;
}

/* The next step goes by BP. */
static void note_bp(context *c, position *at)
{
    if (at->bp_entry)
        c->walk->entry_bp = true;
    else if (at->bp_at != 0)
        note(c, at->bp_at);
    at->bp_at = 0;
}

/* Through a signal frame: the interrupted registers lie in the ucontext that SP points at. The interrupted
 * code may run on another stack than the handler. */
static bool up_signal(context *c, position *at)
{
    uintptr_t base = at->frame.sp;
    if (!hak_stack_holds(c->stack, base, SIGNAL_PC_AT + 8))
        return false;
    hak_frame up = {load(base + SIGNAL_PC_AT), load(base + SIGNAL_SP_AT), load(base + SIGNAL_BP_AT)};
    if (!hak_stack_holds(c->stack, up.sp, 8)) {
        hak_stack other = hak_stack_of(up.sp);
        if (other.high == 0 || c->own_stack)
            return false;
        c->stack = other;
    } else if (up.sp <= at->frame.sp) {
        return false;
    }
    *at = (position){.frame = up, .exact = true};
    return true;
}

/* A step that no row describes. False: the walk ends here. */
static HAK_COLD bool up_dynamic(context *c, position *at)
{
    c->walk->counts.dynamic++;
    if (!hak_cfi_covers(
            at->frame.pc)) { /* generated code: engines keep frame pointers for their own unwinders */
        const hak_frame_row chain = {.cfa_offset = 16, .bp_slot = -2, .kind = HAK_FRAME_BP};
        note_bp(c, at);
        if (!hak_frame_up(&at->frame, chain, c->stack))
            return false;
        *at = (position){.frame = at->frame, .bp_at = at->frame.sp - 16};
        return true;
    }
    c->walk->lasting = false;
    if (is_signal_return(at->frame.pc))
        return up_signal(c, at);
    if (!unwinder_fits(c))
        return false;
    hak_frame up = at->frame;
    if (!hak_unwinder_step(&up) || !hak_stack_holds(c->stack, up.sp - 8, 8) || load(up.sp - 8) != up.pc)
        return false;
    *at = (position){.frame = up};
    return true;
}

static bool step(context *c, position *at)
{
    uintptr_t pc = at->frame.pc + (at->exact ? 1 : 0);
    hak_frame_row row;
    if (HAK_UNLIKELY(!hak_memo_find(pc, &row)))
        row = learn(c, pc, at);
    bool deref = row.kind == HAK_FRAME_BP_DEREF;
    uintptr_t bp = at->frame.bp;
    if (HAK_UNLIKELY(row.kind == HAK_FRAME_BP || deref))
        note_bp(c, at);
    if (HAK_UNLIKELY(!hak_frame_up(&at->frame, row, c->stack)))
        return row.kind != HAK_FRAME_END && up_dynamic(c, at);
    if (HAK_UNLIKELY(deref)) {
        note(c, bp + (uintptr_t)(intptr_t)row.cfa_offset);
        at->bp_at = bp + (uintptr_t)(8 * (intptr_t)row.bp_slot);
        at->bp_entry = false;
    } else if (row.bp_slot != 0) {
        at->bp_at = at->frame.sp + (uintptr_t)(8 * (intptr_t)row.bp_slot);
        at->bp_entry = false;
    }
    at->exact = false;
    return true;
}

static void walk_out(context *c, hak_frame start)
{
    hak_walk *walk = c->walk;
    position at = {.frame = start, .bp_entry = true};
    unsigned words = 0;
    walk->pcs[0] = start.pc;
    walk->count = 1;
    while (walk->count < walk->depth && step(c, &at)) {
        walk->places[words] = at.frame.sp - 8;
        walk->values[words++] = at.frame.pc; /* not lasting where that is not so */
        if (at.frame.pc == 0 || at.frame.pc > CODE_PC_MAX)
            break;
        walk->pcs[walk->count++] = at.frame.pc;
    }
    size_t last = HAK_WALK_WORDS_MAX(walk->depth) - 1;
    memmove(walk->places + words, walk->places + last + 1 - c->extras, c->extras * sizeof(uintptr_t));
    memmove(walk->values + words, walk->values + last + 1 - c->extras, c->extras * sizeof(uintptr_t));
    walk->words = words + c->extras;
}

/* Readable bytes from sp up, on a stack that nobody told us about. */
static hak_stack probe(uintptr_t sp)
{
    uintptr_t page = hak_align_down(sp, HAK_OS_PAGE_BYTES) + HAK_OS_PAGE_BYTES;
    for (unsigned i = 0; i < PROBE_PAGES && hak_word_readable(page); i++)
        page += HAK_OS_PAGE_BYTES;
    return (hak_stack){hak_align_down(sp, 8), page};
}

void hak_walk_take(hak_walk *walk, hak_frame frame)
{
    context c = {.walk = walk, .stack = hak_stack_of(frame.sp)};
    c.own_stack = c.stack.high != 0;
    walk->lasting = c.own_stack;
    walk->entry_bp = false;
    if (HAK_UNLIKELY(!c.own_stack))
        c.stack = probe(frame.sp);
    walk_out(&c, frame);
}

bool hak_walk_check(hak_walk *walk, hak_frame frame, const uintptr_t *pcs, unsigned count)
{
    uintptr_t theirs[CHECK_FRAMES];
    const context here = {.walk = walk, .stack = hak_stack_of(frame.sp), .own_stack = true};
    walk->until_check = next_check(walk);
    if (here.stack.high == 0 || !unwinder_fits(&here))
        return true;
    unsigned max = walk->depth < CHECK_FRAMES ? walk->depth : CHECK_FRAMES;
    unsigned theirs_count = hak_unwinder_walk(frame.pc, theirs, max);
    if (theirs_count == 0)
        return true;
    unsigned ours_count = count < max ? count : max;
    unsigned common = ours_count < theirs_count ? ours_count : theirs_count;
    unsigned i = 0;
    walk->counts.checked++;
    while (i < common && pcs[i] == theirs[i])
        i++;
    if (i == common && ours_count == theirs_count)
        return true;
    walk->counts.wrong++;
    if (i < common && i > 0) /* a pc that a signal interrupted has its row one further on: no harm done */
        hak_memo_set(pcs[i - 1], (hak_frame_row){.kind = HAK_FRAME_DYNAMIC});
    atomic_fetch_add_explicit(&hak_walk_age, 1, memory_order_relaxed);
    return false;
}
