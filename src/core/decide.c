/* decide.c: see decide.h. Pure but for counters; never allocates. */
#include "core/decide.h"

#include "core/mid.h"
#include "core/options.h"
#include "core/policy.h"
#include "core/secure.h"

hak_hooks hak_learn_hooks;

void hak_decide_init(void)
{
    uint32_t low = 0;
    for (unsigned i = 0; i < hak_classes.count; i++) {
        uint32_t high = hak_classes.of[i].block_bytes;
        hak_route route = HAK_ROUTE_LIST;
        if (hak_feature_on(HAK_FEATURE_HEADERS) || hak_feature_on(HAK_FEATURE_EVERY))
            route = HAK_ROUTE_EVERY;
        else if (hak_feature_on(HAK_FEATURE_POLICY) && hak_policy_gate_holds(low, high))
            route = HAK_ROUTE_POLICY;
        hak_class_routes[i] = (uint8_t)route;
        low = high + 1;
    }
}

static void count(hak_heap *heap, hak_heap_counter counter)
{
    if (heap != NULL)
        hak_heap_count(heap, counter, 1);
}

static void count_large(hak_heap *heap, const hak_decision *decision)
{
    static const hak_heap_counter counters[] = {
        [HAK_RETENTION_KEEP] = HAK_COUNT_POLICY_KEEP,
        [HAK_RETENTION_ADAPTIVE] = HAK_COUNT_POLICY_ADAPTIVE,
        [HAK_RETENTION_BATCH] = HAK_COUNT_POLICY_BATCH,
    };
    if (decision->plan.retention != HAK_RETENTION_DEFAULT)
        count(heap, counters[decision->plan.retention]);
    if (decision->plan.thp != HAK_THP_DEFAULT)
        count(heap, HAK_COUNT_POLICY_THP);
}

void *hak_decide_take(unsigned class_index, hak_frame frame)
{
    hak_heap *heap = hak_tls_heap;
    if (HAK_UNLIKELY(heap == &hak_heap_none))
        return NULL;
    if (HAK_UNLIKELY(heap->sample_credit-- == 0))
        return hak_guard_take(heap, class_index, frame);
    hak_policy_path path;
    const hak_site *site = hak_policy_find(frame, &path);
    hak_recall_note(heap, frame, &path, site);
    hak_heap_count(heap, HAK_COUNT_POLICY_LOOKUP, 1);
    hak_heap_count(heap, (hak_heap_counter)site->counter, 1);
    hak_bin *bin = &heap->placed[site->place][class_index];
    hak_block *block = bin->head;
    if (HAK_UNLIKELY(block == NULL) || HAK_UNLIKELY(block->key != hak_block_key(block, heap)))
        return hak_heap_take(heap, (hak_place)site->place, class_index);
    bin->head = hak_block_next(block);
    block->key = 0;
    return block;
}

static bool consulted(size_t bytes)
{
    if (!hak_feature_on(HAK_FEATURE_POLICY) || hak_guard_retired())
        return false;
    if (bytes <= HAK_SMALL_MAX_BYTES && hak_class_routes[hak_class_of(bytes)] != HAK_ROUTE_EVERY)
        return hak_class_seen(hak_class_of(bytes));
    return hak_policy_gate_holds(bytes, bytes);
}

hak_decision hak_decide(hak_heap *heap, size_t bytes, hak_frame frame)
{
    hak_decision decision = {.site = HAK_SITE_NONE};
    if (!consulted(bytes))
        return decision;
    const hak_site *site = hak_policy_find_checked(frame, NULL);
    count(heap, HAK_COUNT_POLICY_LOOKUP);
    if (bytes <= HAK_SMALL_MAX_BYTES)
        count(heap, (hak_heap_counter)site->counter);
    decision.site = site->node;
    if (site->node == HAK_SITE_NONE)
        return decision;
    const hak_policy_node *node = hak_policy_node_at(site->node);
    decision.place = (hak_place)site->place;
    decision.slack_percent =
        node->slack_percent <= HAK_POLICY_MAX_SLACK ? node->slack_percent : HAK_POLICY_MAX_SLACK;
    decision.plan.retention = node->retention <= HAK_RETENTION_BATCH ? node->retention : 0;
    decision.plan.thp = node->thp <= HAK_THP_ON ? node->thp : 0;
    if (bytes > HAK_SMALL_MAX_BYTES &&
        (bytes >= hak_knob_bytes(HAK_KNOB_LARGE_MIN_BYTES) || bytes > HAK_MID_MAX_BYTES))
        count_large(heap, &decision); /* page runs have neither retention nor huge pages of their own */
    return decision;
}
