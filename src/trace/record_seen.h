/* record_seen.h: the stacks that a thread has allocated from before.
 *
 * A program allocates from the same stacks over and over, in much the same order. Each is remembered as
 * words: where they lie and what they were. The walk that found them (record_walk.h) has listed every word
 * that it read to get from the innermost frame to the last one: so when the hook's caller is the same (pc and
 * SP, BP where it matters) and all these words are as they were, a new walk would take the same steps and
 * find the same frames. Nothing else is believed: a remembered stack is a guess that is either proved or
 * dropped.
 *
 * Which one to try first is guessed from the one before. Where it is one of the two that followed that one
 * last, nothing is looked at that is not in the cache: they stand there, and were fetched ahead. Memory is
 * the thread's own, taken in growing pieces from what the threads' walks leave of HAK_SEEN_BUDGET_BYTES for
 * the whole process; a full one is emptied. No locks, no malloc. */
#ifndef HAK_TRACE_RECORD_SEEN_H
#define HAK_TRACE_RECORD_SEEN_H

#include "trace/record_walk.h"

#define HAK_SEEN_BUDGET_BYTES (26 * HAK_MIB)
#define HAK_SEEN_STRIDE       4 /* words are compared so many at a time */
#define HAK_SEEN_NEXT         2
#define HAK_SEEN_PLACES       (1u << 16) /* words above sp that a narrow stack can name */

typedef struct hak_seen_stack {
    uintptr_t sp; /* of the hook's caller: the words lie above it. 0: no stack at all */
    uintptr_t pc;
    uintptr_t bp;
    uint32_t id; /* in this thread's ring, from 1 */
    uint32_t hash;
    uint16_t frames;              /* pc and those of the first frames - 1 words */
    uint16_t words;               /* a multiple of HAK_SEEN_STRIDE: the last one is repeated */
    bool by_bp;                   /* bp matters */
    bool wide;                    /* a place is 64 bits: bytes above sp; else 16 bits: words above sp */
    bool told;                    /* the collector knows which frames the id stands for */
    uint32_t next[HAK_SEEN_NEXT]; /* what followed it, the last first; offsets */
    uint64_t list[1];             /* [words] values, then the place of each */
} hak_seen_stack;

typedef struct hak_seen {
    uint32_t *guesses; /* offsets in the memory, in words, in pairs by last stack, sp and pc; 0: none */
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

/* A thread's walk takes its memory first; it is never given back. */
void hak_seen_count_walk(size_t bytes);

/* Nothing of the process is in use yet: after a fork the arenas of other threads do not count. */
void hak_seen_process_starts(void);

/* Remembers the last walk, which is lasting. NULL: no room at all. */
hak_seen_stack *hak_seen_learn(hak_seen *seen, const hak_walk *walk, hak_frame caller);

HAK_INLINE uint32_t *hak_seen_guess(const hak_seen *seen, hak_frame caller)
{
    uint64_t mixed =
        caller.sp + caller.pc * UINT64_C(0xff51afd7ed558ccd) + seen->last * UINT64_C(0xc4ceb9fe1a85ec53);
    return &seen->guesses[2 * (mixed * UINT64_C(0x9e3779b97f4a7c15) >> seen->guess_shift)];
}

HAK_INLINE hak_seen_stack *hak_seen_at(const hak_seen *seen, uint32_t offset)
{
    return (hak_seen_stack *)(seen->memory + offset);
}

HAK_INLINE uintptr_t hak_seen_pc(const hak_seen_stack *stack, unsigned frame)
{
    return frame == 0 ? stack->pc : stack->list[frame - 1];
}

bool hak_seen_holds_wide(const hak_seen_stack *stack);

HAK_INLINE bool hak_seen_holds(const hak_seen_stack *stack, hak_frame caller)
{
    uint64_t differs = (stack->sp ^ caller.sp) | (stack->pc ^ caller.pc) |
                       ((stack->bp ^ caller.bp) & -(uintptr_t)stack->by_bp);
    if (HAK_UNLIKELY(differs != 0))
        return false;
    if (HAK_UNLIKELY(stack->wide))
        return hak_seen_holds_wide(stack);
    const uintptr_t *base = (const uintptr_t *)caller.sp;
    const uint64_t *value = stack->list;
    const uint64_t *end = value + stack->words;
    for (const uint16_t *place = (const uint16_t *)end; value != end;
         value += HAK_SEEN_STRIDE, place += HAK_SEEN_STRIDE) {
#pragma GCC unroll 4
        for (unsigned i = 0; i < HAK_SEEN_STRIDE; i++)
            differs |= base[place[i]] ^ value[i];
        if (HAK_UNLIKELY(differs != 0))
            return false;
    }
    return true;
}

/* The second guess, once the first was wrong; it comes first from then on. */
hak_seen_stack *hak_seen_find_second(hak_seen *seen, hak_frame caller);

HAK_INLINE bool hak_seen_is_met(const hak_seen_stack *stack, hak_frame caller)
{
    return stack->sp == caller.sp && stack->pc == caller.pc;
}

/* `at` has followed the last one. */
HAK_INLINE hak_seen_stack *hak_seen_follows(hak_seen *seen, uint32_t at)
{
    hak_seen_stack *last = hak_seen_at(seen, seen->last);
    hak_seen_stack *stack = hak_seen_at(seen, at);
    if (last->next[0] != at) {
        last->next[1] = last->next[0];
        last->next[0] = at;
    }
    seen->last = at;
    for (unsigned i = 0; i < HAK_SEEN_NEXT; i++)
        __builtin_prefetch(hak_seen_at(seen, stack->next[i]));
    __builtin_prefetch((const char *)hak_seen_at(seen, stack->next[0]) + HAK_CACHE_LINE);
    return stack;
}

/* The stack that the caller is on, proved; NULL: not the one guessed first. */
HAK_INLINE hak_seen_stack *hak_seen_find(hak_seen *seen, hak_frame caller)
{
    const hak_seen_stack *last = hak_seen_at(seen, seen->last);
    uint32_t at = last->next[0];
    if (!hak_seen_is_met(hak_seen_at(seen, at), caller)) {
        at = last->next[1];
        if (!hak_seen_is_met(hak_seen_at(seen, at), caller))
            at = *hak_seen_guess(seen, caller);
    }
    if (HAK_UNLIKELY(!hak_seen_holds(hak_seen_at(seen, at), caller)))
        return NULL;
    return hak_seen_follows(seen, at);
}

#endif
