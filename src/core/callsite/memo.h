/* memo.h: the frame memo: return address -> frame row, learned once per address, then one hash probe.
 *
 * Rows come from the module's .eh_frame through _dl_find_object(3) (glibc 2.35 on; dl_iterate_phdr
 * elsewhere). The memo never unwinds with a library, never allocates from malloc, never takes a lock another
 * thread can hold: the table is fixed memory from hak_os_map with lock-free insertion. Any thread, signal
 * handlers included. */
#ifndef HAK_CALLSITE_MEMO_H
#define HAK_CALLSITE_MEMO_H

#include "core/callsite/frame.h"

/* Row at a return address. Unknown code (JIT) and everything that is not a constant give kind DYNAMIC. */
hak_frame_row hak_memo_row(uintptr_t pc);

/* The two halves of hak_memo_row, for who wants to know a first use: find is one probe and false for an
 * unknown address; learn evaluates, stores and returns. */
bool hak_memo_find(uintptr_t pc, hak_frame_row *row);
hak_frame_row hak_memo_learn(uintptr_t pc);

/* Replaces a row: DYNAMIC for one that was caught lying. */
void hak_memo_set(uintptr_t pc, hak_frame_row row);

/* Forget all rows: code was unmapped or mapped (dlclose, dlopen). */
void hak_memo_reset(void);

/* Bounds of the stack that sp is on: the calling thread's, or {0, 0} when sp is not on it (coroutine, signal
 * stack). No system call after a thread's first use. */
hak_stack hak_stack_of(uintptr_t sp);

/* Return addresses from `frame` outwards, at most max; pcs[0] is frame.pc. *complete tells whether the walk
 * reached the outermost frame or max (false: it met a dynamic row). Returns the number written. */
unsigned hak_memo_walk(hak_frame frame, hak_stack stack, uintptr_t *pcs, unsigned max, bool *complete);

/* The caller of the function that expands this: register state after the return from it. Needs a frame
 * pointer in the expanding function only, which __builtin_frame_address(0) forces. */
#define HAK_FRAME_OF_CALLER()                                                                                \
    ((hak_frame){                                                                                            \
        .pc = ((const uintptr_t *)__builtin_frame_address(0))[1],                                            \
        .sp = (uintptr_t)__builtin_frame_address(0) + 16,                                                    \
        .bp = ((const uintptr_t *)__builtin_frame_address(0))[0],                                            \
    })

#endif
