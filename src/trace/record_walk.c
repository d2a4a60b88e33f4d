/* record_walk.c: see record_walk.h. */
#include "trace/record_walk.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/callsite/cfi.h"
#include "trace/record_unwinder.h"

#define CHECK_MEAN   4096 /* walks between comparisons with the unwinder, on average */
#define PROBE_PAGES  8    /* of a stack that is not the thread's own */
#define CODE_PC_MAX  HAK_ADDRESS_MASK
#define SIGNAL_PC_AT (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * REG_RIP)
#define SIGNAL_SP_AT (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * REG_RSP)
#define SIGNAL_BP_AT (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * REG_RBP)

/* The frame that a walk stands on. */
typedef struct position {
    hak_frame frame;
    uintptr_t slot;
    uintptr_t bp_at;
    bool after_barrier;
    bool exact; /* pc is where a signal came, not a return address */
} position;

typedef struct context {
    hak_walk *walk;
    hak_stack stack;
    bool own_stack; /* the thread's: the unwinder may be asked */
    unsigned fresh;
} context;

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
    size_t capacity = HAK_STACK_MIRROR_OF(depth);
    size_t size_bytes = sizeof(hak_walk) + 2 * capacity * (sizeof(hak_walk_frame) + sizeof(hak_walk_state));
    hak_walk *walk = hak_os_reserve(hak_align_up(size_bytes, HAK_OS_PAGE_BYTES), HAK_OS_PAGE_BYTES);
    if (walk == NULL)
        return NULL;
    walk->frames = (hak_walk_frame *)(walk + 1);
    walk->fresh = walk->frames + capacity;
    walk->states = (hak_walk_state *)(walk->fresh + capacity);
    walk->fresh_states = walk->states + capacity;
    walk->depth = depth;
    walk->random = seed | 1;
    walk->until_check = 1;
    walk->forget = true;
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
    *at = (position){.frame = up, .slot = base + SIGNAL_PC_AT, .after_barrier = true, .exact = true};
    return up.pc != 0 && up.pc <= CODE_PC_MAX;
}

/* A step that no row describes. False: the walk ends here. */
static HAK_COLD bool up_dynamic(context *c, position *at)
{
    c->walk->counts.dynamic++;
    if (!hak_cfi_covers(
            at->frame.pc)) { /* generated code: engines keep frame pointers for their own unwinders */
        const hak_frame_row chain = {.cfa_offset = 16, .bp_slot = -2, .kind = HAK_FRAME_BP};
        if (!hak_frame_up(&at->frame, chain, c->stack) || at->frame.pc > CODE_PC_MAX)
            return false;
        *at = (position){at->frame, at->frame.sp - 8, at->frame.sp - 16, true, false};
        return true;
    }
    if (is_signal_return(at->frame.pc))
        return up_signal(c, at);
    if (!unwinder_fits(c))
        return false;
    hak_frame up = at->frame;
    if (!hak_unwinder_step(&up) || !hak_stack_holds(c->stack, up.sp - 8, 8) || load(up.sp - 8) != up.pc)
        return false;
    *at = (position){.frame = up, .slot = up.sp - 8, .after_barrier = true};
    return true;
}

static void push(context *c, const position *at)
{
    hak_walk *walk = c->walk;
    unsigned n = c->fresh++;
    walk->fresh[n] = (hak_walk_frame){at->slot, at->frame.pc, at->slot, at->frame.pc};
    if (at->after_barrier)
        walk->fresh[n].check_value = ~at->frame.pc;
    walk->fresh_states[n] =
        (hak_walk_state){.sp = at->frame.sp, .bp = at->frame.bp, .bp_at = at->bp_at, .exact = at->exact};
}

/* From the frame that was pushed last to its caller. */
static bool step(context *c, position *at)
{
    hak_walk_state *state = &c->walk->fresh_states[c->fresh - 1];
    uintptr_t pc = at->frame.pc + (at->exact ? 1 : 0);
    hak_frame_row row;
    if (HAK_UNLIKELY(!hak_memo_find(pc, &row)))
        row = learn(c, pc, at);
    state->uses_bp = row.kind == HAK_FRAME_BP || row.kind == HAK_FRAME_BP_DEREF;
    state->inherits_bp = row.bp_slot == 0 && row.kind != HAK_FRAME_BP_DEREF;
    uintptr_t bp = at->frame.bp;
    if (HAK_UNLIKELY(!hak_frame_up(&at->frame, row, c->stack)))
        return row.kind != HAK_FRAME_END && up_dynamic(c, at);
    uintptr_t base = row.kind == HAK_FRAME_BP_DEREF ? bp : at->frame.sp;
    *at = (position){at->frame, at->frame.sp - 8,
                     state->inherits_bp ? 0 : base + (uintptr_t)(8 * (intptr_t)row.bp_slot), false, false};
    return at->frame.pc != 0 && at->frame.pc <= CODE_PC_MAX;
}

static void set_check(hak_walk_frame *frame, const hak_walk_state *state)
{
    bool by_bp = state->needs_bp && state->bp_at != 0;
    frame->check_at = by_bp ? state->bp_at : frame->slot;
    frame->check_value = by_bp ? state->bp : frame->pc;
}

/* The walk stands on remembered frame top - 1, in the same state. Compares the frames further out. True: all
 * are as they were. False: frames from the first that differs on are gone, *top is what may still hold, and
 * the walk stands on the last good one, which has been pushed. */
static bool compare(context *c, position *at, unsigned *top)
{
    hak_walk *walk = c->walk;
    unsigned joined = *top - 1;
    hak_walk_state *state = &walk->states[joined];
    state->bp = at->frame.bp;
    state->bp_at = at->bp_at;
    set_check(&walk->frames[joined], state);
    if (at->after_barrier)
        walk->frames[joined].check_value = ~walk->frames[joined].check_value;

    unsigned total = *top + c->fresh;
    unsigned low = total > walk->depth ? total - walk->depth : 0;
    unsigned i = joined;
    while (i > low) {
        const hak_walk_frame *frame = &walk->frames[i - 1];
        if (HAK_UNLIKELY(load(frame->slot) != frame->pc || load(frame->check_at) != frame->check_value))
            break;
        i--;
    }
    if (HAK_LIKELY(i <= low))
        return true;

    /* Frame i is good, i - 1 is not: walk on from i with what BP really is there. */
    uintptr_t bp = at->frame.bp;
    for (unsigned k = joined; k > i; k--)
        if (walk->states[k - 1].bp_at != 0) {
            bp = load(walk->states[k - 1].bp_at);
            walk->states[k - 1].bp = bp;
        }
    for (unsigned k = joined + 1; k > i; k--) {
        walk->fresh[c->fresh] = walk->frames[k - 1];
        walk->fresh_states[c->fresh++] = walk->states[k - 1];
    }
    bool exact = walk->states[i].exact != 0;
    *at = (position){
        .frame = {walk->frames[i].pc, walk->states[i].sp, bp}, .slot = walk->frames[i].slot, .exact = exact};
    *top = i - 1;
    return false;
}

static bool same_frame(const hak_walk *walk, unsigned index, const position *at)
{
    const hak_walk_frame *frame = &walk->frames[index];
    const hak_walk_state *state = &walk->states[index];
    return frame->slot == at->slot && frame->pc == at->frame.pc &&
           (!state->needs_bp || state->bp == at->frame.bp) && state->sp == at->frame.sp &&
           (state->exact != 0) == at->exact;
}

/* Walks outwards; returns how many remembered frames stay below the fresh ones. */
static unsigned walk_out(context *c, hak_frame start)
{
    hak_walk *walk = c->walk;
    unsigned limit = 2 * walk->depth;
    unsigned top = walk->forget ? 0 : walk->count;
    position at = {.frame = start, .slot = start.sp - 8};
    for (;;) {
        while (top > 0 && walk->frames[top - 1].slot < at.slot)
            top--;
        if (top > 0 && same_frame(walk, top - 1, &at)) {
            if (compare(c, &at, &top)) {
                if (HAK_LIKELY(!walk->open || c->fresh + top >= walk->depth))
                    return top;
                top =
                    0; /* returned out of what is remembered of a deep recursion: once more, from the start */
                c->fresh = 0;
                at = (position){.frame = start, .slot = start.sp - 8};
                continue;
            }
        } else {
            if (top > 0 && walk->frames[top - 1].slot == at.slot)
                top--;
            push(c, &at);
        }
        if (c->fresh >= limit) {
            walk->open = true;
            return 0;
        }
        if (!step(c, &at)) {
            walk->open = false;
            return 0;
        }
    }
}

/* Puts the fresh frames on top of the `top` remembered ones. */
static void take(context *c, unsigned top)
{
    hak_walk *walk = c->walk;
    unsigned fresh = c->fresh;
    unsigned limit = 2 * walk->depth;
    walk->drop = 0;
    if (HAK_UNLIKELY(top + fresh > 2 * limit)) {
        walk->open = true;
        if (fresh >= limit) {
            fresh = limit;
            top = 0;
        } else {
            walk->drop = top + fresh - limit;
            top -= walk->drop;
            memmove(walk->frames, walk->frames + walk->drop, top * sizeof walk->frames[0]);
            memmove(walk->states, walk->states + walk->drop, top * sizeof walk->states[0]);
        }
    }
    for (unsigned i = 0; i < fresh; i++) {
        hak_walk_frame *frame = &walk->frames[top + i];
        hak_walk_state *state = &walk->states[top + i];
        *frame = walk->fresh[fresh - 1 - i];
        *state = walk->fresh_states[fresh - 1 - i];
        bool further_out = top + i > 0 && state->inherits_bp && state[-1].needs_bp;
        bool after_barrier = frame->check_at == frame->slot && frame->check_value == ~frame->pc;
        state->needs_bp = state->uses_bp || further_out;
        if (!after_barrier)
            set_check(frame, state);
    }
    walk->keep = top;
    walk->count = top + fresh;
}

/* Compares the whole walk with the unwinder's; where they differ, the row that led astray is marked and the
 * stack is walked once more. */
static HAK_COLD void check(context *c, hak_frame start)
{
    hak_walk *walk = c->walk;
    uintptr_t pcs[64];
    walk->until_check = next_check(walk);
    if (!unwinder_fits(c))
        return;
    unsigned max = walk->depth < HAK_COUNT_OF(pcs) ? walk->depth : (unsigned)HAK_COUNT_OF(pcs);
    unsigned theirs = hak_unwinder_walk(start.pc, pcs, max);
    if (theirs == 0)
        return;
    unsigned ours = walk->count < max ? walk->count : max;
    unsigned common = ours < theirs ? ours : theirs;
    unsigned i = 0;
    walk->counts.checked++;
    while (i < common && walk->frames[walk->count - 1 - i].pc == pcs[i])
        i++;
    if (i == common && ours == theirs)
        return;
    walk->counts.wrong++;
    walk->forget = true;
    if (i < common && i > 0 && !walk->states[walk->count - i].exact)
        hak_memo_set(walk->frames[walk->count - i].pc, (hak_frame_row){.kind = HAK_FRAME_DYNAMIC});
}

/* Readable bytes from sp up, on a stack that nobody told us about. rt_sigprocmask(2) with a bad `how` reads
 * its set and changes nothing: EFAULT tells an unreadable page. */
static hak_stack probe(uintptr_t sp)
{
    uintptr_t page = hak_align_down(sp, HAK_OS_PAGE_BYTES) + HAK_OS_PAGE_BYTES;
    for (unsigned i = 0; i < PROBE_PAGES; i++) {
        long failed;
        __asm__ volatile("mov $8, %%r10d\n\tsyscall" /* raw: errno and cancellation stay out of it */
                         : "=a"(failed)
                         : "0"(SYS_rt_sigprocmask), "D"(-1L), "S"(page), "d"(0L)
                         : "rcx", "r10", "r11", "memory");
        if (failed == -14) /* EFAULT */
            break;
        page += HAK_OS_PAGE_BYTES;
    }
    return (hak_stack){hak_align_down(sp, 8), page};
}

void hak_walk_update(hak_walk *walk, hak_frame frame)
{
    context c = {.walk = walk, .stack = hak_stack_of(frame.sp)};
    walk->counts.walks++;
    walk->learned = 0;
    c.own_stack = c.stack.high != 0;
    if (HAK_UNLIKELY(!c.own_stack)) {
        c.stack = probe(frame.sp);
        walk->forget = true;
    }
    take(&c, walk_out(&c, frame));
    walk->forget = false;
    if (HAK_UNLIKELY(!c.own_stack)) {
        walk->forget = true;
    } else if (HAK_UNLIKELY(--walk->until_check == 0)) {
        check(&c, frame);
        if (walk->forget) {
            c.fresh = 0;
            take(&c, walk_out(&c, frame));
            walk->forget = false;
        }
    }
}
