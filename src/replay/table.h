/* table.h: hash to number, for things that live in an array of their own: the caller compares. Numbers count
 * up from 0. One thread per table. Four bytes a slot, at most half full. */
#ifndef HAK_REPLAY_TABLE_H
#define HAK_REPLAY_TABLE_H

#include "core/base/types.h"

#include <stdlib.h>

typedef struct hak_table {
    uint32_t *numbers; /* number + 1; 0: empty */
    size_t mask;
    size_t count;
} hak_table;

enum { HAK_TABLE_FIRST = 256 };

static inline void hak_table_done(hak_table *t)
{
    free(t->numbers);
    *t = (hak_table){.numbers = NULL};
}

static inline bool hak_table_init(hak_table *t)
{
    *t = (hak_table){.mask = HAK_TABLE_FIRST - 1};
    t->numbers = calloc(HAK_TABLE_FIRST, sizeof *t->numbers);
    return t->numbers != NULL;
}

/* Walks what may be equal: start with *at = hash, add one for the next; false once an empty slot is met,
 * which *at then names for hak_table_put. */
static inline bool hak_table_next(const hak_table *t, size_t *at, uint32_t *number)
{
    *at &= t->mask;
    *number = t->numbers[*at] - 1;
    return t->numbers[*at] != 0;
}

/* The hash of what has a number: for widening, as a slot keeps no hash. */
typedef uint64_t (*hak_table_rehash)(const void *context, uint32_t number);

static inline bool hak_table_widen(hak_table *t, hak_table_rehash rehash, const void *context)
{
    size_t slots = (t->mask + 1) * 2;
    hak_table wide = {calloc(slots, sizeof *wide.numbers), slots - 1, t->count};
    if (wide.numbers == NULL)
        return false;
    for (uint32_t number = 0; number < t->count; number++) {
        size_t at = rehash(context, number) & wide.mask;
        while (wide.numbers[at] != 0)
            at = (at + 1) & wide.mask;
        wide.numbers[at] = number + 1;
    }
    hak_table_done(t);
    *t = wide;
    return true;
}

/* The next number (t->count before the call) goes to the empty slot; the caller has its element in place.
 * False: no memory. */
static inline bool hak_table_put(hak_table *t, size_t at, hak_table_rehash rehash, const void *context)
{
    at &= t->mask;
    t->numbers[at] = (uint32_t)++t->count;
    return t->count * 2 <= t->mask || hak_table_widen(t, rehash, context);
}

#endif
