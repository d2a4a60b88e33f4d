/* slots.h: addresses to slots, last-in first-out; what a collector or importer needs to name blocks. One
 * thread. */
#ifndef HAK_TRACE_SLOTS_H
#define HAK_TRACE_SLOTS_H

#include "core/base/types.h"

typedef struct hak_slot_entry {
    uint64_t address; /* 0: empty */
    uint32_t slot;
} hak_slot_entry;

/* For the functions below only. */
typedef struct hak_slots {
    hak_slot_entry *entries;
    size_t mask;    /* entries - 1 */
    unsigned shift; /* a hash's high bits say where to look first */
    uint32_t live;
    uint32_t high; /* slots 1 … high have been given out */
    uint32_t *free_slots;
    size_t free_count;
    size_t free_room;
} hak_slots;

hak_slots *hak_slots_new(void); /* NULL: no memory */
void hak_slots_free(hak_slots *slots);

/* Slot for a block now at that address. If one is still live there (its free was missed), *lost is set to its
 * slot, which has been ended (the caller writes a free of it first; the new block gets the same slot); else
 * to 0. Returns 0 when out of memory. */
uint32_t hak_slots_add(hak_slots *slots, uint64_t address, uint32_t *lost);

/* Ends and returns the slot at that address; 0 if none is live there. */
uint32_t hak_slots_take(hak_slots *slots, uint64_t address);

/* The slot live at that address; 0 if there is none. */
uint32_t hak_slots_find(const hak_slots *slots, uint64_t address);

uint32_t hak_slots_live(const hak_slots *slots);

HAK_INLINE size_t hak_slots_home(const hak_slots *slots, uint64_t address)
{
    return (size_t)(address * UINT64_C(0x9e3779b97f4a7c15) >> slots->shift); /* Fibonacci hashing (Knuth) */
}

/* Index of the address, or of the empty entry where it belongs. */
HAK_INLINE size_t hak_slots_at(const hak_slots *slots, uint64_t address)
{
    size_t at = hak_slots_home(slots, address);
    while (slots->entries[at].address != 0 && slots->entries[at].address != address)
        at = (at + 1) & slots->mask;
    return at;
}

/* hak_slots_add in the usual case: a slot that was used before, for an address that holds nothing. 0, and
 * nothing has changed: it is another case. address is not 0. */
HAK_INLINE uint32_t hak_slots_add_again(hak_slots *slots, uint64_t address)
{
    size_t at = hak_slots_at(slots, address);
    if (HAK_UNLIKELY(slots->entries[at].address != 0 || slots->free_count == 0 ||
                     (size_t)slots->live * 2 > slots->mask))
        return 0;
    uint32_t slot = slots->free_slots[--slots->free_count];
    slots->entries[at] = (hak_slot_entry){address, slot};
    slots->live++;
    return slot;
}

/* The blocks at two addresses, both live, change names. */
HAK_INLINE void hak_slots_swap(hak_slots *slots, uint64_t a, uint64_t b)
{
    hak_slot_entry *first = &slots->entries[hak_slots_at(slots, a)];
    hak_slot_entry *second = &slots->entries[hak_slots_at(slots, b)];
    uint32_t slot = first->slot;
    first->slot = second->slot;
    second->slot = slot;
}

/* Moves what lies behind the entry so that every address is still found, and empties it. */
void hak_slots_close(hak_slots *slots, size_t hole);

/* hak_slots_take of an address that is not 0. */
HAK_INLINE uint32_t hak_slots_take_known(hak_slots *slots, uint64_t address)
{
    size_t at = hak_slots_at(slots, address);
    if (HAK_UNLIKELY(slots->entries[at].address == 0))
        return 0;
    uint32_t slot = slots->entries[at].slot;
    if (slots->entries[(at + 1) & slots->mask].address == 0)
        slots->entries[at].address = 0;
    else
        hak_slots_close(slots, at);
    slots->free_slots[slots->free_count++] = slot;
    slots->live--;
    return slot;
}

#endif
