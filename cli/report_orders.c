/* report_orders.c: the orders of sites, a row each. */
#include "cli/report.h"

#include <stdlib.h>
#include <string.h>

static uint64_t key_peak(const hak_site *site)
{
    return site->usage->at_peak_bytes;
}

static uint64_t key_calls(const hak_site *site)
{
    return site->usage->calls;
}

static uint64_t key_bytes(const hak_site *site)
{
    return site->usage->bytes;
}

static uint64_t key_live(const hak_site *site)
{
    return site->usage->live_bytes;
}

static uint64_t key_temporary(const hak_site *site)
{
    return site->usage->temporary;
}

static uint64_t key_lifetime(const hak_site *site)
{
    return hak_site_life_ns(site, 0.5);
}

static uint64_t key_copied(const hak_site *site)
{
    return site->usage->copied_bytes + site->usage->grown_bytes;
}

static uint64_t key_remote(const hak_site *site)
{
    return site->usage->freed_remotely;
}

static uint64_t key_pinned(const hak_site *site)
{
    return site->usage->pinned_bytes;
}

static void text_copied(char *out, const hak_site *site)
{
    format_bytes(out, key_copied(site));
}

static void text_remote(char *out, const hak_site *site)
{
    format_share(out, site->usage->freed_remotely, site->usage->freed);
}

static void text_pinned(char *out, const hak_site *site)
{
    format_bytes(out, site->usage->pinned_bytes);
}

static const report_order orders[] = {
    {"peak", NULL, key_peak, NULL, HAK_WEIGHT_PEAK},
    {"calls", NULL, key_calls, NULL, HAK_WEIGHT_CALLS},
    {"bytes", NULL, key_bytes, NULL, HAK_WEIGHT_BYTES},
    {"live", NULL, key_live, NULL, HAK_WEIGHT_LIVE},
    {"temporary", NULL, key_temporary, NULL, HAK_WEIGHT_TEMPORARY},
    {"lifetime", NULL, key_lifetime, NULL, HAK_WEIGHT_BYTES},
    {"fragmentation", "PINNED", key_pinned, text_pinned, HAK_WEIGHT_PEAK},
    {"copied", "COPIED", key_copied, text_copied, HAK_WEIGHT_BYTES},
    {"cross-thread", "REMOTE", key_remote, text_remote, HAK_WEIGHT_CALLS},
};

const report_order *report_order_named(const char *name)
{
    for (size_t i = 0; i < HAK_COUNT_OF(orders); i++) {
        if (strcmp(orders[i].name, name) == 0)
            return &orders[i];
    }
    return NULL;
}

/* ---- sorting: of a million sites only the first are wanted, so they are chosen, not sorted ---- */

typedef struct ranked {
    uint64_t key;
    uint32_t index;
} ranked;

static const hak_site *ranked_of;

/* Whether a comes before b: greatest first; equal ones by calls, then bytes, then first seen, so that the
 * order is always the same. */
static bool is_before(const ranked *a, const ranked *b)
{
    if (a->key != b->key)
        return a->key > b->key;
    const hak_site *x = &ranked_of[a->index];
    const hak_site *y = &ranked_of[b->index];
    if (x->usage->calls != y->usage->calls)
        return x->usage->calls > y->usage->calls;
    if (x->usage->bytes != y->usage->bytes)
        return x->usage->bytes > y->usage->bytes;
    return x->frames != y->frames ? x->frames < y->frames : a->index < b->index;
}

static int by_rank(const void *a, const void *b)
{
    return is_before(b, a) - is_before(a, b);
}

/* A heap with the last one on top. */
static void sink(ranked *heap, size_t count, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_before(&heap[child], &heap[child + 1]))
            child++;
        if (!is_before(&heap[at], &heap[child]))
            return;
        ranked other = heap[at];
        heap[at] = heap[child];
        heap[child] = other;
    }
}

static void choose(ranked *heap, size_t wanted, const hak_site *list, size_t count, const report_order *order)
{
    for (size_t i = 0; i < wanted; i++)
        heap[i] = (ranked){order->key(&list[i]), (uint32_t)i};
    for (size_t i = wanted / 2; i-- != 0;)
        sink(heap, wanted, i);
    for (size_t i = wanted; i < count; i++) {
        ranked next = {order->key(&list[i]), (uint32_t)i};
        if (!is_before(&next, &heap[0]))
            continue;
        heap[0] = next;
        sink(heap, wanted, 0);
    }
}

bool report_sort(hak_site *list, size_t count, const report_order *order, size_t wanted)
{
    wanted = wanted < count ? wanted : count;
    ranked *ranks = calloc(wanted + 1, sizeof *ranks);
    hak_site *front = calloc(wanted + 1, sizeof *front);
    uint8_t *chosen = calloc(count + 1, 1);
    bool fine = ranks != NULL && front != NULL && chosen != NULL;
    if (fine && wanted != 0) {
        ranked_of = list;
        choose(ranks, wanted, list, count, order);
        qsort(ranks, wanted, sizeof *ranks, by_rank);
        for (size_t i = 0; i < wanted; i++) {
            front[i] = list[ranks[i].index];
            chosen[ranks[i].index] = 1;
        }
        for (size_t i = count, put = count; i-- != 0;) {
            if (chosen[i] == 0)
                list[--put] = list[i];
        }
        memcpy(list, front, wanted * sizeof *list);
    }
    free(ranks);
    free(front);
    free(chosen);
    return fine;
}
