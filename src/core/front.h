/* front.h: the last few large blocks a thread has freed, in front of the BigCache: taking one back costs no
 * lock and no atomic operation. Blocks here are no one's (HAK_LARGE_CACHED) and stay resident, so what all
 * fronts may hold is bounded: FRONT_BYTES by thread, more only for a thread that was seen to free and take a
 * size in turns. A thread that seldom frees large blocks keeps none: others use them meanwhile. It is empty
 * for ever where a mode or policy wants to see each large block. `heap`: the calling thread's own. */
#ifndef HAK_CORE_FRONT_H
#define HAK_CORE_FRONT_H

#include "core/base/types.h"

#define HAK_FRONT_WAYS 8

struct hak_heap;
struct hak_large;

typedef struct hak_front {
    uint32_t count;
    uint32_t room_ways; /* at most so many; 0: never any */
    uint32_t stale;     /* blocks that went past since one was taken */
    uint32_t turns;     /* times the size that went past was asked for next */
    uint32_t paced;     /* frees that asked for room since pace_ns */
    bool busy;          /* frees often enough to keep what it frees */
    uint64_t pace_ns;
    size_t past_bytes;                        /* size that went past */
    size_t held_bytes;                        /* by the blocks */
    size_t granted_bytes;                     /* that may be held; given back when the front is emptied */
    struct hak_large *blocks[HAK_FRONT_WAYS]; /* last freed last */
} hak_front;

/* A block of that size, live again; NULL: ask the BigCache. */
void *hak_front_take(struct hak_heap *heap, size_t bytes);

/* Frees the block if it is a live span's and there is room; else it remains the caller's to free. */
bool hak_front_put(struct hak_heap *heap, void *at);

/* Gives all to the BigCache: the thread ends, or memory is short. */
void hak_front_flush(struct hak_heap *heap);

void hak_front_init(struct hak_heap *heap); /* a new heap's */

/* What all fronts hold. Any thread; momentarily stale. */
void hak_front_sum(size_t *blocks, size_t *bytes);

#endif
