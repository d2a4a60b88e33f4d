/* record_seen.h: the stacks that a thread has allocated from before.
 *
 * A program allocates from the same stacks over and over, in much the same order. Each is remembered as
 * words: where they lie and what they were. The walk that found them (record_walk.h) has listed every word
 * that it read to get from the innermost frame to the last one: so when the hook's caller is the same (pc and
 * SP, BP where it matters) and all these words are as they were, a new walk would take the same steps and
 * find the same frames. Nothing else is believed: a remembered stack is a guess that is either proved or
 * dropped.
 *
 * Which one to try first is guessed from the one before. Memory is the thread's own, taken in growing pieces
 * from HAK_SEEN_BUDGET_BYTES for the whole process; a full one is emptied. No locks, no malloc. */
#ifndef HAK_TRACE_RECORD_SEEN_H
#define HAK_TRACE_RECORD_SEEN_H

#include "trace/record_walk.h"

#define HAK_SEEN_BUDGET_BYTES (28 * HAK_MIB)
#define HAK_SEEN_STRIDE       4 /* words are compared so many at a time */

typedef struct hak_seen_stack {
    uintptr_t sp; /* of the hook's caller: the words lie above it. 0: no stack at all */
    uintptr_t pc;
    uintptr_t bp;
    uintptr_t bp_mask; /* all ones where BP matters */
    uint64_t hash;
    uint32_t id;         /* in this thread's ring, from 1 */
    bool told;           /* the collector knows which frames the id stands for */
    uint16_t frames;     /* pc and the first frames - 1 words */
    uint16_t words;      /* a multiple of HAK_SEEN_STRIDE: the last one is repeated */
    uintptr_t values[1]; /* [words]; then their distances from sp, 32 bits each */
} hak_seen_stack;

typedef struct hak_seen {
    uint32_t *guesses; /* offset in the memory, in words, by last stack, sp and pc; 0: none */
    uintptr_t *memory; /* never NULL: an empty one stands for none */
    unsigned guess_shift;
    uint32_t last; /* the stack found or learned last, as an offset */
    uint32_t used; /* words of the memory */
    uint32_t count;
    uint32_t age; /* of the walks in it (hak_walk_age) */
    unsigned level;
    bool final;      /* takes no more memory: its thread has ended, nobody would give it back */
    uint32_t *index; /* the same offsets, by hash */
} hak_seen;

void hak_seen_init(hak_seen *seen);

/* Forgets all, gives nothing back. */
void hak_seen_clear(hak_seen *seen);

/* Forgets all and gives the memory back. */
void hak_seen_done(hak_seen *seen);

size_t hak_seen_bytes(const hak_seen *seen); /* of memory taken */

/* Nothing of the process is in use yet: after a fork the arenas of other threads do not count. */
void hak_seen_process_starts(void);

/* Remembers the last walk, which is lasting. NULL: no room at all. */
hak_seen_stack *hak_seen_learn(hak_seen *seen, const hak_walk *walk, hak_frame caller);

HAK_INLINE uint32_t *hak_seen_guess(const hak_seen *seen, hak_frame caller)
{
    uint64_t mixed =
        caller.sp + caller.pc * UINT64_C(0xff51afd7ed558ccd) + seen->last * UINT64_C(0xc4ceb9fe1a85ec53);
    return &seen->guesses[mixed * UINT64_C(0x9e3779b97f4a7c15) >> seen->guess_shift];
}

HAK_INLINE bool hak_seen_holds(const hak_seen_stack *stack, hak_frame caller)
{
    uintptr_t differs =
        (stack->sp ^ caller.sp) | (stack->pc ^ caller.pc) | ((stack->bp ^ caller.bp) & stack->bp_mask);
    if (HAK_UNLIKELY(differs != 0))
        return false;
    const uintptr_t *values = stack->values;
    const uint32_t *places = (const uint32_t *)(values + stack->words);
    const char *base = (const char *)caller.sp;
    for (unsigned i = 0; i < stack->words; i += HAK_SEEN_STRIDE) {
        for (unsigned j = i; j < i + HAK_SEEN_STRIDE; j++)
            differs |= *(const uintptr_t *)(base + places[j]) ^ values[j];
        if (HAK_UNLIKELY(differs != 0))
            return false;
    }
    return true;
}

/* The stack that the caller is on, proved; NULL: not the guessed one. */
HAK_INLINE hak_seen_stack *hak_seen_find(hak_seen *seen, hak_frame caller)
{
    uint32_t at = *hak_seen_guess(seen, caller);
    hak_seen_stack *stack = (hak_seen_stack *)(seen->memory + at);
    if (HAK_UNLIKELY(!hak_seen_holds(stack, caller)))
        return NULL;
    seen->last = at;
    return stack;
}

#endif
