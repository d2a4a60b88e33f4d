/* record_walk.h: whole call stacks for the price of what changed.
 *
 * A thread remembers its last walk: where each return address lies and what it was. A new walk steps outwards
 * through the frame memo only until it meets a remembered frame in the same state; from there on it compares
 * the remembered return addresses (and saved frame pointers, where a frame further out is found through one)
 * with memory. Only what changed is sent to the collector, which mirrors `frames`. A hak_walk belongs to one
 * thread; no function here takes a lock, allocates, or reads outside the given stack. */
#ifndef HAK_TRACE_RECORD_WALK_H
#define HAK_TRACE_RECORD_WALK_H

#include "core/callsite/memo.h"
#include "trace/ring.h"

/* Compared at each walk. */
typedef struct hak_walk_frame {
    uintptr_t slot; /* where pc is stored */
    uintptr_t pc;
    uintptr_t
        check_at; /* a second word to compare: a saved BP that matters further out; else as slot and pc */
    uintptr_t check_value;
} hak_walk_frame;

/* Register state at that frame, and how its row treats BP. */
typedef struct hak_walk_state {
    uintptr_t sp;
    uintptr_t bp;
    uintptr_t bp_at; /* where bp was loaded from; 0: as in the frame further in */
    uint8_t uses_bp;
    uint8_t inherits_bp; /* to the frame further out */
    uint8_t needs_bp;    /* bp matters here or further out */
    uint8_t exact;       /* pc is where a signal came, not a return address */
} hak_walk_state;

typedef struct hak_walk_counts {
    uint64_t walks;
    uint64_t checked;
    uint64_t wrong;
    uint64_t dynamic;
} hak_walk_counts;

typedef struct hak_walk {
    unsigned depth; /* innermost frames that must be right; the collector uses no more */
    unsigned count;
    bool open;   /* there are frames further out than frames[0] */
    bool forget; /* frames[] are not to be compared with */
    unsigned drop;
    unsigned keep; /* of the last update: frames[keep … count) are new, after `drop` were dropped outside */
    uint32_t until_check; /* walks until the next comparison with the unwinder */
    uint32_t random;
    hak_walk_counts counts;
    unsigned learned; /* rows evaluated in the last update: learned_pcs */
    uintptr_t learned_pcs[64];
    hak_walk_frame *frames; /* outermost first */
    hak_walk_state *states;
    hak_walk_frame *fresh; /* the walk in progress, innermost first */
    hak_walk_state *fresh_states;
} hak_walk;

/* depth: 1 … HAK_RECORD_DEPTH_MAX. Memory from the system, for as long as the process lives; NULL without. */
hak_walk *hak_walk_new(unsigned depth, uint32_t seed);

/* Brings frames[] up to date with the stack seen from `frame`, the caller of the hook. Must be called from
 * the hook's own call chain: the unwinder may start in it. */
void hak_walk_update(hak_walk *walk, hak_frame frame);

/* The collector missed an update: the next one sends everything. */
HAK_INLINE void hak_walk_forget(hak_walk *walk)
{
    walk->forget = true;
}

#endif
