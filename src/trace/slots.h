/* slots.h: addresses to slots, last-in first-out; what a collector or importer needs to name blocks. One
 * thread. */
#ifndef HAK_TRACE_SLOTS_H
#define HAK_TRACE_SLOTS_H

#include "core/base/types.h"

typedef struct hak_slots hak_slots;

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

#endif
