/* slots.c: open addressing with linear probing and backward-shift deletion, so no tombstones; free slots on a
 * stack. One thread. */
#include "trace/slots.h"

#include <stdlib.h>

#include "core/base/bits.h"
#include "trace/grow.h"
#include "trace/trace_format.h"

enum { FIRST_BITS = 10 };

static bool widen(hak_slots *slots)
{
    size_t count = slots->mask + 1;
    hak_slot_entry *old = slots->entries;
    hak_slot_entry *wide = calloc(count * 2, sizeof *wide);
    if (wide == NULL)
        return false;
    slots->entries = wide;
    slots->mask = count * 2 - 1;
    slots->shift--;
    for (size_t i = 0; i < count; i++) {
        if (old[i].address != 0)
            wide[hak_slots_at(slots, old[i].address)] = old[i];
    }
    free(old);
    return true;
}

void hak_slots_close(hak_slots *slots, size_t hole)
{
    size_t at = hole;
    for (;;) {
        at = (at + 1) & slots->mask;
        if (slots->entries[at].address == 0)
            break;
        size_t home = hak_slots_home(slots, slots->entries[at].address);
        /* An entry may move into the hole unless its home lies cyclically in (hole, at]. */
        if (((at - home) & slots->mask) >= ((at - hole) & slots->mask)) {
            slots->entries[hole] = slots->entries[at];
            hole = at;
        }
    }
    slots->entries[hole].address = 0;
}

hak_slots *hak_slots_new(void)
{
    hak_slots *slots = calloc(1, sizeof *slots);
    if (slots == NULL)
        return NULL;
    slots->entries = calloc((size_t)1 << FIRST_BITS, sizeof *slots->entries);
    slots->mask = ((size_t)1 << FIRST_BITS) - 1;
    slots->shift = 64 - FIRST_BITS;
    if (slots->entries == NULL) {
        free(slots);
        return NULL;
    }
    return slots;
}

void hak_slots_free(hak_slots *slots)
{
    if (slots == NULL)
        return;
    free(slots->free_slots);
    free(slots->entries);
    free(slots);
}

uint32_t hak_slots_add(hak_slots *slots, uint64_t address, uint32_t *lost)
{
    *lost = 0;
    if (address == 0)
        return 0;
    if ((size_t)slots->live * 2 > slots->mask && !widen(slots))
        return 0;
    size_t at = hak_slots_at(slots, address);
    if (slots->entries[at].address != 0) {
        *lost = slots->entries[at].slot; /* last in, first out: the new block takes the lost one's slot */
        return *lost;
    }
    uint32_t slot;
    if (slots->free_count != 0) {
        slot = slots->free_slots[--slots->free_count];
    } else {
        /* The stack of free slots gets its room here, so that taking never fails. */
        if (slots->high == HAK_TRACE_MAX_SLOTS - 1 ||
            !HAK_GROW(&slots->free_slots, &slots->free_room, (size_t)slots->high + 1))
            return 0;
        slot = ++slots->high;
    }
    slots->entries[at] = (hak_slot_entry){address, slot};
    slots->live++;
    return slot;
}

uint32_t hak_slots_take(hak_slots *slots, uint64_t address)
{
    return address == 0 ? 0 : hak_slots_take_known(slots, address);
}

uint32_t hak_slots_find(const hak_slots *slots, uint64_t address)
{
    if (address == 0)
        return 0;
    const hak_slot_entry *there = &slots->entries[hak_slots_at(slots, address)];
    return there->address != 0 ? there->slot : 0;
}

uint32_t hak_slots_live(const hak_slots *slots)
{
    return slots->live;
}
