/* size_class.c: see size_class.h. Called once, before the second thread exists. Never allocates. */
#include "core/size_class.h"

#define FINE_STEPS_TO   1024 /* up to here 8 sizes per doubling, above 4: small blocks are many */
#define SLAB_MIN_BLOCKS 8

hak_ladder hak_classes;

/* Units of a slab of such blocks: enough that a slab holds several, few enough that a slab empties again. */
static uint32_t units_for(uint32_t block_bytes)
{
    uint32_t units = 1;
    while (units * HAK_UNIT_BYTES / block_bytes < SLAB_MIN_BLOCKS)
        units *= 2;
    return units;
}

static void add(uint32_t block_bytes)
{
    hak_class *entry = &hak_classes.of[hak_classes.count++];
    entry->block_bytes = block_bytes;
    entry->units = units_for(block_bytes);
    entry->reciprocal = UINT64_MAX / block_bytes + 1;
}

static void add_standard(void)
{
    uint32_t size = 0;
    while (size < HAK_SMALL_MAX_BYTES) {
        uint32_t step = 16;
        if (size >= 128) {
            uint32_t power = 1u << (31 - (unsigned)__builtin_clz(size));
            step = power / (size < FINE_STEPS_TO ? 8 : 4);
        }
        size += step;
        add(size);
    }
}

void hak_classes_init(const uint32_t *sizes, uint32_t count)
{
    hak_classes.count = 0;
    if (sizes == NULL || count == 0) {
        add_standard();
    } else {
        for (uint32_t i = 0; i < count && hak_classes.count < HAK_CLASS_MAX - 1; i++)
            add(sizes[i]);
        if (hak_classes.of[hak_classes.count - 1].block_bytes < HAK_SMALL_MAX_BYTES)
            add(HAK_SMALL_MAX_BYTES);
    }
    unsigned index = 0;
    for (size_t slot = 0; slot < HAK_CLASS_SLOTS; slot++) {
        if (slot * HAK_CLASS_STEP > hak_classes.of[index].block_bytes)
            index++;
        hak_classes.index[slot] = (uint8_t)index;
    }
}

unsigned hak_class_aligned(size_t bytes, size_t align)
{
    if (bytes > HAK_SMALL_MAX_BYTES)
        return HAK_CLASS_NONE;
    for (unsigned index = hak_class_of(bytes); index < hak_classes.count; index++)
        if (hak_classes.of[index].block_bytes % align == 0)
            return index;
    return HAK_CLASS_NONE;
}
