/* pins.h: which blocks keep memory from being given back. A model, so that it can be said from a trace alone:
 * one heap, slabs of 64 KiB with blocks of one class each (multiples of 16 bytes to 128, then four classes
 * per doubling, to 8 KiB), the place freed last is used first. A slab with a live block stays; its free space
 * is charged to its live blocks in equal parts. Larger blocks pin nothing. One thread. */
#ifndef HAK_REPLAY_PINS_H
#define HAK_REPLAY_PINS_H

#include "core/base/types.h"

#define HAK_PIN_SLAB_BYTES  (64 * HAK_KIB)
#define HAK_PIN_BLOCK_BYTES (8 * HAK_KIB) /* larger ones are not in slabs */
#define HAK_PIN_CLASSES     40
#define HAK_PIN_NONE        UINT32_MAX

typedef struct hak_pin_slab {
    uint32_t live;
    uint32_t class_bytes;
} hak_pin_slab;

typedef struct hak_pin_class {
    uint32_t *places; /* slabs of free places, last freed last */
    size_t places_room;
    size_t places_count;
    uint32_t slab; /* the one being filled for the first time */
    uint32_t left; /* places in it never used */
} hak_pin_class;

typedef struct hak_pins {
    hak_pin_slab *slabs;
    size_t slabs_room;
    uint32_t slabs_count;
    hak_pin_class classes[HAK_PIN_CLASSES];
} hak_pins;

void hak_pins_done(hak_pins *pins); /* a zeroed hak_pins is an empty one */

/* The slab a block of that size comes to lie in; HAK_PIN_NONE: none (too large, or no memory). */
uint32_t hak_pins_add(hak_pins *pins, uint64_t size_bytes);
void hak_pins_remove(hak_pins *pins, uint32_t slab);

/* Free bytes charged to one live block of the slab. The slab that is being filled is charged to nobody. */
uint32_t hak_pins_share(const hak_pins *pins, uint32_t slab);

#endif
