/* record_unwinder.h: libunwind as ground truth and last resort.
 *
 * It is loaded with dlopen(3) into a scope of its own: its _Unwind_* functions would otherwise take the place
 * of libgcc's in the recorded program, and with them its exceptions. Without it recording goes on unchecked.
 * Its cache is off: the cache lock, held across dl_iterate_phdr, can deadlock with a program's own callback.
 * Callers have made sure that about 16 KiB of stack are left, and that nested allocations are not recorded.
 */
#ifndef HAK_TRACE_RECORD_UNWINDER_H
#define HAK_TRACE_RECORD_UNWINDER_H

#include "core/callsite/frame.h"

#define HAK_UNWINDER_STACK_BYTES (16 * HAK_KIB)

/* Once, from the library's constructor. */
void hak_unwinder_load(void);
bool hak_unwinder_ready(void);

/* Whether the eight bytes at a multiple of eight can be read. rt_sigprocmask(2) with a bad `how` reads its
 * set and changes nothing: EFAULT tells. A system call; errno stays. */
bool hak_word_readable(uintptr_t at);

/* One step up from a frame. False at the end, or where it does not know either. */
bool hak_unwinder_step(hak_frame *frame);

/* Return addresses from the caller of the hook outwards: those after the first one that equals from_pc, it
 * included. Returns how many; 0 when from_pc was not met. */
unsigned hak_unwinder_walk(uintptr_t from_pc, uintptr_t *pcs, unsigned max);

#endif
