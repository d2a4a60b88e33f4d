/* frame.h: one step up the stack, as data.
 *
 * At a given return address the caller's frame lies at a fixed distance from SP or BP for nearly every
 * function: that is what one row of .eh_frame says (DWARF 5, 6.4; System V AMD64 ABI, 3.7). A hak_frame_row
 * is that row, reduced to what a return-address walk needs. Rows come from the memo (memo.h) in the recorder
 * and in the learning modes, and from the policy file in FAST mode. Pure functions, any thread; x86-64. */
#ifndef HAK_CALLSITE_FRAME_H
#define HAK_CALLSITE_FRAME_H

#include "core/base/types.h"

typedef enum hak_frame_kind {
    HAK_FRAME_DYNAMIC =
        0,             /* not a constant: alloca by expression, JIT, signal frame; the cheap walk ends here */
    HAK_FRAME_SP = 1,  /* CFA = SP + cfa_offset */
    HAK_FRAME_BP = 2,  /* CFA = BP + cfa_offset */
    HAK_FRAME_END = 3, /* outermost frame: nothing above it */
    HAK_FRAME_BP_DEREF = 4, /* CFA = *(BP + cfa_offset); caller's BP at BP + 8 * bp_slot: realigned stacks */
} hak_frame_kind;

typedef struct hak_frame_row {
    int32_t cfa_offset; /* bytes */
    int16_t bp_slot;    /* caller's BP is stored at CFA + 8 * bp_slot; 0: BP is unchanged */
    uint8_t kind;       /* hak_frame_kind */
    uint8_t reserved;   /* 0 */
} hak_frame_row;

/* Register state just after the return to `pc`. */
typedef struct hak_frame {
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t bp;
} hak_frame;

/* [low, high) of the running thread's stack; every load is checked against it. */
typedef struct hak_stack {
    uintptr_t low;
    uintptr_t high;
} hak_stack;

HAK_INLINE bool hak_stack_holds(hak_stack stack, uintptr_t at, size_t len_bytes)
{
    return at >= stack.low && at <= stack.high && stack.high - at >= len_bytes && (at & 7) == 0;
}

/* Steps to the caller. False (frame unchanged) when the row is dynamic or final, or a load would leave the
 * stack, or SP would not grow. */
HAK_INLINE bool hak_frame_up(hak_frame *frame, hak_frame_row row, hak_stack stack)
{
    uintptr_t base = row.kind == HAK_FRAME_SP ? frame->sp : frame->bp;
    uintptr_t cfa = base + (uintptr_t)(intptr_t)row.cfa_offset;
    uintptr_t bp_base = cfa;
    bool deref = row.kind == HAK_FRAME_BP_DEREF;
    if (HAK_UNLIKELY(deref)) {
        if (!hak_stack_holds(stack, cfa, 8))
            return false;
        cfa = *(const uintptr_t *)cfa;
        bp_base = frame->bp;
    }
    if (HAK_UNLIKELY((row.kind != HAK_FRAME_SP && row.kind != HAK_FRAME_BP && !deref) || cfa <= frame->sp ||
                     !hak_stack_holds(stack, cfa - 8, 8)))
        return false;
    if (row.bp_slot != 0 || deref) {
        uintptr_t bp_at = bp_base + (uintptr_t)(8 * (intptr_t)row.bp_slot);
        if (HAK_UNLIKELY(!hak_stack_holds(stack, bp_at, 8)))
            return false;
        frame->bp = *(const uintptr_t *)bp_at;
    }
    frame->pc = *(const uintptr_t *)(cfa - 8);
    frame->sp = cfa;
    return true;
}

#endif
