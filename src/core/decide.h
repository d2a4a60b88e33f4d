/* decide.h: what the policy, the learner and the defaults say about one allocation. Called from slow paths
 * only. The learner (learn.c) fills hak_hooks at start; where it is off they stay NULL and are never called.
 */
#ifndef HAK_CORE_DECIDE_H
#define HAK_CORE_DECIDE_H

#include "core/callsite/frame.h"
#include "core/heap.h"
#include "core/large.h"

typedef struct hak_decision {
    uint32_t site; /* HAK_SITE_NONE: unknown or not asked */
    hak_place place;
    uint8_t slack_percent;
    hak_large_plan plan;
} hak_decision;

/* Called without locks, on the allocating thread; must not allocate from malloc. NULL members are off. */
typedef struct hak_hooks {
    /* One refill or mid/large allocation in `sample_every`: a call context to look at. True: track the block
     * (it then comes from hak_heap_tracked and its free is reported). */
    bool (*sampled)(hak_frame frame, size_t bytes);
    uint32_t sample_every;
    void (*tracked_alloc)(void *block, size_t bytes, hak_frame frame);
    void (*tracked_free)(void *block);
    /* Chooses how a large block is served; plan->strategy is the learner's own. */
    void (*large_alloc)(size_t bytes, hak_frame frame, hak_large_plan *plan);
} hak_hooks;

extern hak_hooks hak_learn_hooks;

/* Whether the policy is to see the calls of a class. */
HAK_INLINE bool hak_class_seen(unsigned class_index)
{
    return __atomic_load_n(&hak_class_routes[class_index], __ATOMIC_RELAXED) == HAK_ROUTE_POLICY;
}

/* The short way for malloc of such a class: a block where the policy puts it, or NULL: ask hak_alloc. */
void *hak_decide_take(unsigned class_index, hak_frame frame);

/* guard.c: one lookup in 1024 is looked at closely; a policy that is wrong here retires. */
void hak_guard_init(void);
void *hak_guard_take(hak_heap *heap, unsigned class_index, hak_frame frame);
bool hak_guard_retired(void); /* all that the policy decides by site is off */

/* Looks the call up when the policy is on. `heap`: for the counters, may be NULL. */
hak_decision hak_decide(hak_heap *heap, size_t bytes, hak_frame frame);

/* Marks the classes whose calls are to be seen. Once, after the classes are known. */
void hak_decide_init(void);

#endif
