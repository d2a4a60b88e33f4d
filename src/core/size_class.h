/* size_class.h: the ladder of block sizes for requests up to 32 KiB: the standard one, or the one a policy
 * was fitted to. Fixed at start, read by all threads afterwards. Sizes are bytes. */
#ifndef HAK_CORE_SIZE_CLASS_H
#define HAK_CORE_SIZE_CLASS_H

#include "core/base/types.h"

#define HAK_CLASS_MAX       127 /* a bin's place fits in a byte (heap.h) */
#define HAK_CLASS_NONE      HAK_CLASS_MAX
#define HAK_SMALL_MAX_BYTES 32768
#define HAK_CLASS_STEP      16
#define HAK_CLASS_SLOTS     (HAK_SMALL_MAX_BYTES / HAK_CLASS_STEP + 1)
#define HAK_UNIT_BYTES      ((size_t)65536) /* slabs are made of these */

typedef struct hak_class {
    uint32_t block_bytes;
    uint32_t units;      /* of its slabs */
    uint64_t reciprocal; /* ceil(2^64 / block_bytes): exact quotients for offsets below 2 MiB */
} hak_class;

typedef struct hak_ladder {
    uint32_t count;
    hak_class of[HAK_CLASS_MAX];
    uint8_t index[HAK_CLASS_SLOTS]; /* (bytes + 15) / 16 -> class */
} hak_ladder;

extern hak_ladder hak_classes;

/* Builds the ladder. `sizes`: ascending multiples of 16 up to 32768 (a policy's, already checked), or NULL
 * for the standard ladder. 32768 is appended when it is missing, so that every request has a class. */
void hak_classes_init(const uint32_t *sizes, uint32_t count);

/* Class of a request of at most HAK_SMALL_MAX_BYTES. */
HAK_INLINE unsigned hak_class_of(size_t bytes)
{
    return hak_classes.index[(bytes + HAK_CLASS_STEP - 1) / HAK_CLASS_STEP];
}

/* Smallest class that holds `bytes` at a multiple of `align` (a power of two <= 4096); HAK_CLASS_NONE when no
 * class does. */
unsigned hak_class_aligned(size_t bytes, size_t align);

/* offset / block size of the class whose reciprocal this is; offset < 2 MiB. */
HAK_INLINE uint32_t hak_class_quotient(uint64_t reciprocal, size_t offset)
{
    return (uint32_t)(((unsigned __int128)reciprocal * offset) >> 64);
}

#endif
