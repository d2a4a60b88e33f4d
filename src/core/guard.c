/* guard.c: watches in the running program what a policy foretold of it in training, and retires what has gone
 * wrong: a program that drifts must not be slower or larger than without a policy.
 *
 * One lookup in PERIOD is looked at closely. When it is placed by lifetime, the block comes from the heap of
 * watched blocks, so that its free is seen: a short life that outlives guard_late_bytes of consulted
 * allocations was foretold wrongly, and so was a long one that ends before guard_early_bytes. Too many of
 * these (guard_wrong_percent) retire the lifetimes; too many lookups from unknown contexts
 * (guard_unknown_percent) retire all that is decided by site. A retired class is served by the thread's lists
 * again, at full speed.
 *
 * Never allocates, takes no lock; any thread. A race between two samples costs a sample. */
#include <unistd.h>

#include "core/base/print.h"
#include "core/decide.h"
#include "core/options.h"
#include "core/policy.h"

#define PERIOD      1024
#define WATCHED     256
#define MIN_JUDGED  64
#define MIN_SAMPLES 128

typedef struct watched {
    _Atomic uintptr_t block; /* 0: free */
    uint64_t born_bytes;
    uint8_t lifetime;
} watched;

static watched blocks[WATCHED];
static _Atomic uint32_t next, samples, strangers, right, wrong;
static _Atomic uint64_t clock_bytes; /* of consulted allocations, by samples */
static atomic_bool lifetimes_off, all_off;

bool hak_guard_retired(void)
{
    return atomic_load_explicit(&all_off, memory_order_relaxed);
}

static void retire(atomic_bool *what, const char *why)
{
    if (atomic_exchange_explicit(what, true, memory_order_relaxed))
        return;
    for (unsigned i = 0; i < hak_classes.count; i++)
        if (hak_class_seen(i))
            __atomic_store_n(&hak_class_routes[i], HAK_ROUTE_LIST, __ATOMIC_RELAXED);
    hak_count(HAK_COUNT_POLICY_RETIRED, 1);
    if (!hak_feature_on(HAK_FEATURE_VERBOSE))
        return;
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem: policy: retired in this process: ");
    hak_out_text(&out, why);
    hak_out_text(&out, "\n");
    hak_out_flush(&out);
}

static void judge(uint8_t lifetime, uint64_t age_bytes, bool freed)
{
    bool was_wrong = lifetime == HAK_LIFETIME_SHORT
                         ? age_bytes > hak_knob_bytes(HAK_KNOB_GUARD_LATE_BYTES)
                         : freed && age_bytes < hak_knob_bytes(HAK_KNOB_GUARD_EARLY_BYTES);
    if (!freed && !was_wrong && lifetime == HAK_LIFETIME_SHORT)
        return; /* not over yet */
    hak_count(was_wrong ? HAK_COUNT_GUARD_WRONG : HAK_COUNT_GUARD_RIGHT, 1);
    uint32_t wrongs = atomic_fetch_add_explicit(&wrong, was_wrong, memory_order_relaxed) + was_wrong;
    uint32_t rights = atomic_fetch_add_explicit(&right, !was_wrong, memory_order_relaxed) + !was_wrong;
    uint64_t limit = (uint64_t)hak_opt.knobs[HAK_KNOB_GUARD_WRONG_PERCENT];
    if (rights + wrongs >= MIN_JUDGED && (uint64_t)wrongs * 100 > limit * (rights + wrongs))
        retire(&lifetimes_off, "its lifetimes are not this program's");
}

/* Takes a cell over; what was watched there has lived until now. */
static void watch(void *block, uint8_t lifetime, uint64_t now_bytes)
{
    watched *cell = &blocks[atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % WATCHED];
    if (atomic_exchange_explicit(&cell->block, 0, memory_order_acquire) != 0)
        judge(cell->lifetime, now_bytes - cell->born_bytes, false);
    cell->born_bytes = now_bytes;
    cell->lifetime = lifetime;
    /* release: pairs with the acquire in freed; who finds the block finds its birth */
    atomic_store_explicit(&cell->block, (uintptr_t)block, memory_order_release);
}

static void freed(void *block)
{
    for (unsigned i = 0; i < WATCHED; i++) {
        uintptr_t there = (uintptr_t)block;
        if (atomic_load_explicit(&blocks[i].block, memory_order_acquire) != there)
            continue;
        uint8_t lifetime = blocks[i].lifetime;
        uint64_t age_bytes = atomic_load_explicit(&clock_bytes, memory_order_relaxed) - blocks[i].born_bytes;
        if (atomic_compare_exchange_strong_explicit(&blocks[i].block, &there, 0, memory_order_relaxed,
                                                    memory_order_relaxed))
            judge(lifetime, age_bytes, true);
        return;
    }
}

static void count_stranger(bool unknown)
{
    uint32_t met = atomic_fetch_add_explicit(&samples, 1, memory_order_relaxed) + 1;
    uint32_t unknowns = atomic_fetch_add_explicit(&strangers, unknown, memory_order_relaxed) + unknown;
    uint64_t limit = (uint64_t)hak_opt.knobs[HAK_KNOB_GUARD_UNKNOWN_PERCENT];
    if (met >= MIN_SAMPLES && (uint64_t)unknowns * 100 > limit * met)
        retire(&all_off, "most calls come from contexts it does not know");
}

void *hak_guard_take(hak_heap *heap, unsigned class_index, hak_frame frame)
{
    if (hak_learn_hooks.sampled != NULL) { /* the learner counts by the same credit */
        heap->sample_credit = 0;
        return NULL;
    }
    hak_policy_path path;
    const hak_site *site = hak_policy_find_checked(frame, &path);
    hak_recall_note(heap, frame, &path, site);
    heap->sample_credit = PERIOD - 1;
    hak_heap_count(heap, HAK_COUNT_POLICY_LOOKUP, 1);
    hak_heap_count(heap, (hak_heap_counter)site->counter, 1);
    hak_heap_count(heap, HAK_COUNT_GUARD_SAMPLED, 1);
    uint64_t step_bytes = (uint64_t)PERIOD * hak_classes.of[class_index].block_bytes;
    uint64_t now_bytes =
        atomic_fetch_add_explicit(&clock_bytes, step_bytes, memory_order_relaxed) + step_bytes;
    count_stranger(site->node == HAK_SITE_NONE);
    if (site->place != HAK_PLACE_SHORT && site->place != HAK_PLACE_LONG)
        return hak_heap_take(heap, (hak_place)site->place, class_index);
    void *block = hak_heap_take_shared(true, class_index);
    if (block != NULL)
        watch(block, site->lifetime, now_bytes);
    return block;
}

void hak_guard_init(void)
{
    if (hak_feature_on(HAK_FEATURE_POLICY) && hak_learn_hooks.tracked_free == NULL)
        hak_learn_hooks.tracked_free = freed;
}
