/* recall.h: calls of malloc that a policy was consulted about, remembered with their answers, so that most
 * lookups are a comparison.
 *
 * The answer depends on the return addresses that the lookup went by. Each of them lies at a place that the
 * one before fixes (frame.h), so the same return address at the same stack pointer, with the same words at
 * the same places, gives the same answer: what is compared is what would be looked up. Of further return
 * addresses the low halves are compared: whoever mistakes two for each other places a block with others,
 * nothing else. The places lie on the thread's stack, above its stack pointer: they can be read.
 * A remembered call is looked up anew every HAK_RECALL_HITS times.
 * Belongs to a heap and so to its thread; forgotten when the thread leaves the heap. */
#ifndef HAK_CORE_RECALL_H
#define HAK_CORE_RECALL_H

#include "core/callsite/frame.h"
#include "core/stats.h"

#define HAK_RECALL_HITS  511 /* half of the guard's period: it looks every second time */
#define HAK_RECALL_WORDS 6   /* further return addresses; a context decided deeper is not remembered */
#define HAK_RECALL_SETS  64  /* power of two */
#define HAK_RECALL_WAYS  2

/* The return addresses that a lookup went by, after the first. */
typedef struct hak_policy_path {
    bool fixed; /* the same words give the same answer; false: not to be remembered */
    uint8_t count;
    uint16_t at[HAK_RECALL_WORDS]; /* 8 * at bytes above the stack pointer */
    uint32_t pcs[HAK_RECALL_WORDS];
} hak_policy_path;

typedef struct hak_recall {
    alignas(HAK_CACHE_LINE) uintptr_t pc; /* 0: none */
    uintptr_t sp;
    int32_t left;       /* hits until it is looked up again; below 0: due */
    uint16_t first_bin; /* hak_place * HAK_CLASS_MAX */
    uint8_t counter;    /* hak_heap_counter of the answer */
    uint8_t count;      /* further return addresses */
    uint16_t at[HAK_RECALL_WORDS];
    uint32_t pcs[HAK_RECALL_WORDS];
} hak_recall;

_Static_assert(sizeof(hak_recall) == HAK_CACHE_LINE, "one load brings it all");

typedef hak_recall hak_recall_table[HAK_RECALL_SETS][HAK_RECALL_WAYS];

HAK_INLINE hak_recall *hak_recall_set(hak_recall_table table, uintptr_t pc, uintptr_t sp)
{
    return table[(pc ^ sp / 16) % HAK_RECALL_SETS];
}

struct hak_heap;
struct hak_site;

/* The call was looked up with that answer. Owner of the heap. */
void hak_recall_note(struct hak_heap *heap, hak_frame frame, const hak_policy_path *path,
                     const struct hak_site *site);

/* Forgets all and counts what was answered. Owner of the heap. */
void hak_recall_clear(struct hak_heap *heap);

/* Answers not yet in heap->counters; any thread, momentarily stale. */
uint64_t hak_recall_count(const struct hak_heap *heap, hak_heap_counter counter);

#endif
