/* pins.c: see pins.h. Never prints. */
#include "replay/pins.h"

#include "core/base/bits.h"
#include "trace/grow.h"

enum { STEP = 16, LINEAR_MAX = 128, LINEAR_CLASSES = LINEAR_MAX / STEP, PER_DOUBLING = 4 };

/* Class number; *class_bytes is its size. size_bytes <= HAK_PIN_BLOCK_BYTES. */
static unsigned class_of(uint64_t size_bytes, uint32_t *class_bytes)
{
    if (size_bytes <= LINEAR_MAX) {
        unsigned number = size_bytes == 0 ? 0 : (unsigned)((size_bytes - 1) / STEP);
        *class_bytes = (number + 1) * STEP;
        return number;
    }
    unsigned low = hak_log2_floor(size_bytes - 1); /* 2^low < size <= 2^(low+1) */
    uint32_t step = (uint32_t)1 << (low - 2);
    uint32_t part = (uint32_t)((size_bytes - 1 - (UINT64_C(1) << low)) / step);
    *class_bytes = ((uint32_t)1 << low) + (part + 1) * step;
    return LINEAR_CLASSES + (low - 7) * PER_DOUBLING + part;
}

void hak_pins_done(hak_pins *pins)
{
    for (unsigned i = 0; i < HAK_PIN_CLASSES; i++)
        free(pins->classes[i].places);
    free(pins->slabs);
    *pins = (hak_pins){.slabs = NULL};
}

static uint32_t new_slab(hak_pins *pins, hak_pin_class *class, uint32_t class_bytes)
{
    if (!HAK_GROW(&pins->slabs, &pins->slabs_room, (size_t)pins->slabs_count + 1))
        return HAK_PIN_NONE;
    class->slab = pins->slabs_count++;
    class->left = (uint32_t)(HAK_PIN_SLAB_BYTES / class_bytes) - 1;
    pins->slabs[class->slab] = (hak_pin_slab){1, class_bytes};
    return class->slab;
}

uint32_t hak_pins_add(hak_pins *pins, uint64_t size_bytes)
{
    if (size_bytes > HAK_PIN_BLOCK_BYTES)
        return HAK_PIN_NONE;
    uint32_t class_bytes;
    hak_pin_class *class = &pins->classes[class_of(size_bytes, &class_bytes)];
    uint32_t slab;
    if (class->places_count != 0) {
        slab = class->places[--class->places_count];
    } else if (class->left != 0) {
        class->left--;
        slab = class->slab;
    } else {
        return new_slab(pins, class, class_bytes);
    }
    pins->slabs[slab].live++;
    return slab;
}

void hak_pins_remove(hak_pins *pins, uint32_t slab)
{
    if (slab == HAK_PIN_NONE)
        return;
    uint32_t class_bytes;
    hak_pin_class *class = &pins->classes[class_of(pins->slabs[slab].class_bytes, &class_bytes)];
    pins->slabs[slab].live--;
    /* A place that is forgotten for want of memory makes the model coarser, nothing else. */
    if (HAK_GROW(&class->places, &class->places_room, class->places_count + 1))
        class->places[class->places_count++] = slab;
}

uint32_t hak_pins_share(const hak_pins *pins, uint32_t slab)
{
    if (slab == HAK_PIN_NONE)
        return 0;
    const hak_pin_slab *s = &pins->slabs[slab];
    uint32_t class_bytes;
    const hak_pin_class *class = &pins->classes[class_of(s->class_bytes, &class_bytes)];
    if (s->live == 0 || class->slab == slab)
        return 0;
    return ((uint32_t)HAK_PIN_SLAB_BYTES - s->live * s->class_bytes) / s->live;
}
