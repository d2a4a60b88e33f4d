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

static const report_order *sorted_by;

/* Greatest first; equal ones by calls, then bytes, then first seen, so that the order is always the same. */
static int by_key(const void *a, const void *b)
{
    const hak_site *x = a;
    const hak_site *y = b;
    const uint64_t keys[][2] = {{sorted_by->key(x), sorted_by->key(y)},
                                {x->usage->calls, y->usage->calls},
                                {x->usage->bytes, y->usage->bytes},
                                {y->frames, x->frames}};
    for (size_t i = 0; i < HAK_COUNT_OF(keys); i++) {
        if (keys[i][0] != keys[i][1])
            return keys[i][0] < keys[i][1] ? 1 : -1;
    }
    return 0;
}

void report_sort(hak_site *list, size_t count, const report_order *order)
{
    sorted_by = order;
    if (count != 0)
        qsort(list, count, sizeof *list, by_key);
}
