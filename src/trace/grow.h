/* grow.h: arrays that grow by doubling. The caller owns the array (free(3)). Pure helper, any thread. */
#ifndef HAK_TRACE_GROW_H
#define HAK_TRACE_GROW_H

#include "core/base/types.h"

#include <stdlib.h>

/* Makes room for `need` elements; *array may move, *room is in elements. False when there is no memory: then
 * nothing has changed. New elements are not initialised. */
static inline bool hak_grow(void **array, size_t *room, size_t need, size_t element_bytes)
{
    if (HAK_LIKELY(need <= *room))
        return true;
    size_t wide = *room < 16 ? 16 : *room;
    while (wide < need) {
        if (wide > SIZE_MAX / 2)
            return false;
        wide *= 2;
    }
    if (wide > SIZE_MAX / element_bytes)
        return false;
    void *moved = realloc(*array, wide * element_bytes);
    if (moved == NULL)
        return false;
    *array = moved;
    *room = wide;
    return true;
}

/* HAK_GROW(&vector_pointer, &room, need) for a typed pointer. */
#define HAK_GROW(array, room, need) hak_grow((void **)(array), (room), (need), sizeof **(array))

#endif
