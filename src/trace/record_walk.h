/* record_walk.h: one whole call stack, frame by frame, through the frame memo.
 *
 * A walk also lists the words of the stack that it went by, so that whoever finds them unchanged later, with
 * the same pc, SP (and BP, where entry_bp), knows the same frames without walking: see record_seen.h. Why
 * that is right: a frame's row gives the place of its return address from SP, or from BP, by pc alone. The
 * innermost pc and SP are the same; so the first return address lies where it did; its word is the same, so
 * the next frame has the same pc and SP, and so on outwards. Where a row goes by BP, the word that BP was
 * loaded from is in the list. A walk that anything else had a part in (the unwinder, a signal frame, a stack
 * that is not the thread's own) is not `lasting`. Rows change only with hak_walk_age.
 *
 * By the same reasoning a walk that comes to a frame of the last one (same pc and SP; BP and its origin,
 * where they are needed) and finds the last one's words from there on as they were takes over its frames from
 * there on: calls are mostly made from near where the last ones were made.
 *
 * A hak_walk belongs to one thread; no function here takes a lock, allocates, or reads outside the given
 * stack. */
#ifndef HAK_TRACE_RECORD_WALK_H
#define HAK_TRACE_RECORD_WALK_H

#include "core/callsite/memo.h"
#include "trace/ring.h"

#define HAK_WALK_WORDS_MAX(depth) (3 * (size_t)(depth)) /* a return address, BP, and what BP points at */

#define HAK_WALK_ONCE_BITS 11
#define HAK_WALK_ONCE      (1 << HAK_WALK_ONCE_BITS)

typedef struct hak_walk_counts {
    uint64_t checked;
    uint64_t wrong;
    uint64_t dynamic;
} hak_walk_counts;

/* What a walk knew on a frame, beside its pc. */
typedef struct hak_walk_mark {
    uintptr_t sp;
    uintptr_t bp;
    uintptr_t bp_at; /* where BP was loaded from; 0: it is the hook's caller's, or noted already */
    uint16_t extras; /* words noted so far */
    uint16_t bp_age; /* frames that BP has been the same for, before this one */
    bool bp_entry;   /* it is the hook's caller's */
    bool bp_needed;  /* a step from here on, before another BP is loaded, goes by it */
} hak_walk_mark;

/* A walk that was taken. */
typedef struct hak_walk_path {
    uintptr_t *pcs;
    uintptr_t *places;
    uintptr_t *values;
    hak_walk_mark *marks;
    uint32_t *hashes; /* of the frames from each one outwards */
    unsigned count;   /* pcs */
    unsigned steps;   /* words that are return addresses */
    unsigned extras;  /* words after them: those noted last come first */
    uint32_t age;
    bool entry_bp;
    bool usable; /* whole, and lasting */
} hak_walk_path;

typedef struct hak_walk {
    unsigned depth; /* frames wanted */
    unsigned count;
    unsigned words;
    bool lasting;         /* pc, SP, BP and the words determine the frames */
    bool entry_bp;        /* …and BP does take part */
    uint32_t until_check; /* events until the next comparison with the unwinder */
    uint32_t random;
    uint32_t checks; /* comparisons so far, of all threads that had this walk */
    hak_walk_counts counts;
    unsigned learned; /* rows evaluated since the caller set it to 0: learned_pcs */
    uintptr_t learned_pcs[64];
    uintptr_t *pcs;    /* [depth], innermost first */
    uintptr_t *places; /* [HAK_WALK_WORDS_MAX(depth)]: where each word lies; those of pcs[1 … count) first */
    uintptr_t *values;      /* and what it was */
    hak_walk_path paths[2]; /* this one, in the arrays above, and the one before */
    unsigned now;           /* which is this one */
    uintptr_t *told;        /* [depth]: the stack that was told the collector last, outermost frame first */
    unsigned told_count;
    bool taken;                   /* the event's stack is that of the last walk */
    unsigned told_same;           /* so many of the outermost frames are those of the last walk, at least */
    uint16_t once[HAK_WALK_ONCE]; /* what the hashes of walks taken before have left here */
} hak_walk;

/* Grows whenever rows that walks have gone by may no longer hold: code was unloaded, or a row was caught. */
extern HAK_HIDDEN _Atomic uint32_t hak_walk_age;

/* depth: 1 … HAK_RECORD_DEPTH_MAX. Memory from the system, for as long as the process lives; NULL without. */
hak_walk *hak_walk_new(unsigned depth, uint32_t seed);

size_t hak_walk_bytes(unsigned depth); /* of that memory */

/* The arrays have been used for something else. */
HAK_INLINE void hak_walk_forget(hak_walk *walk)
{
    walk->paths[walk->now].usable = false;
}

/* Of the frames of the last walk and the SP it began at. */
HAK_INLINE uint64_t hak_walk_hash(const hak_walk *walk, uintptr_t sp)
{
    return (sp ^ walk->paths[walk->now].hashes[0]) * UINT64_C(0x9e3779b97f4a7c15);
}

/* The stack seen from `frame`, the caller of the hook. Must be called from the hook's own call chain: the
 * unwinder may start in it. */
void hak_walk_take(hak_walk *walk, hak_frame frame);

/* The same walk seems to have been taken before, from a caller with the same SP: it is worth remembering.
 * Most of those that are taken once are never seen again, and some programs take few others. */
bool hak_walk_is_second(hak_walk *walk, uintptr_t sp);

/* Compares frames with the unwinder's and counts. False: they differ; a row was to blame and is mended, the
 * age has grown. Sets until_check. */
bool hak_walk_check(hak_walk *walk, hak_frame frame, const uintptr_t *pcs, unsigned count);

#endif
