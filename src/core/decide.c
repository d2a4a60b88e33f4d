/* decide.c: see decide.h. Pure but for counters; never allocates. */
#include "core/decide.h"

#include "core/callsite/memo.h"
#include "core/mid.h"
#include "core/options.h"
#include "core/policy.h"

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

static void count_small(hak_heap *heap, const hak_decision *decision)
{
    static const hak_heap_counter counters[] = {
        [HAK_PLACE_SHORT] = HAK_COUNT_POLICY_SHORT,
        [HAK_PLACE_LONG] = HAK_COUNT_POLICY_LONG,
        [HAK_PLACE_REMOTE] = HAK_COUNT_POLICY_REMOTE,
    };
    if (decision->place != HAK_PLACE_DEFAULT)
        count(heap, counters[decision->place]);
}

hak_decision hak_decide(hak_heap *heap, size_t bytes, hak_frame frame)
{
    hak_decision decision = {.site = HAK_SITE_NONE};
    if (!hak_feature_on(HAK_FEATURE_POLICY) || !hak_policy_gate_holds(bytes, bytes))
        return decision;
    count(heap, HAK_COUNT_POLICY_LOOKUP);
    decision.site = hak_policy_lookup(frame, hak_stack_of(frame.sp));
    if (decision.site == HAK_SITE_NONE)
        return decision;
    const hak_policy_node *node = hak_policy_node_at(decision.site);
    count(heap, HAK_COUNT_POLICY_KNOWN);
    decision.place = (node->flags & HAK_NODE_REMOTE_FREED) != 0 ? HAK_PLACE_REMOTE
                     : node->lifetime == HAK_LIFETIME_SHORT     ? HAK_PLACE_SHORT
                     : node->lifetime == HAK_LIFETIME_LONG      ? HAK_PLACE_LONG
                                                                : HAK_PLACE_DEFAULT;
    decision.slack_percent =
        node->slack_percent <= HAK_POLICY_MAX_SLACK ? node->slack_percent : HAK_POLICY_MAX_SLACK;
    decision.plan.retention = node->retention <= HAK_RETENTION_BATCH ? node->retention : 0;
    decision.plan.thp = node->thp <= HAK_THP_ON ? node->thp : 0;
    if (bytes <= HAK_SMALL_MAX_BYTES)
        count_small(heap, &decision);
    else if (bytes >= hak_knob_bytes(HAK_KNOB_LARGE_MIN_BYTES) || bytes > HAK_MID_MAX_BYTES)
        count_large(heap, &decision); /* page runs have neither retention nor huge pages of their own */
    return decision;
}
