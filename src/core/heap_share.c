/* heap_share.c: which lists a new heap begins with. Owner of the heap only; never allocates. */
#include <string.h>

#include "core/base/bits.h"
#include "core/heap.h"

#define SHARED_MOST_BYTES  2048 /* a class that takes more gets a list of its own */
#define SHARED_STEP_BLOCKS 4    /* that a look into the slow path stands for, about */

/* malloc's fast path takes blocks for the class from the list of `leader`. */
static void lead(hak_heap *heap, unsigned class_index, unsigned leader)
{
    size_t low = class_index != 0 ? hak_classes.of[class_index - 1].block_bytes + 1 : 0;
    size_t high = hak_classes.of[class_index].block_bytes;
    heap->leader[class_index] = (uint8_t)leader;
    if (low > HAK_DIRECT_MAX)
        return;
    high = high < HAK_DIRECT_MAX ? high : HAK_DIRECT_MAX;
    memset(&heap->bin_of[low], (int)(offsetof(hak_heap, bins[leader]) / HAK_BIN_STEP), high - low + 1);
}

static bool may_share(unsigned class_index)
{
    return hak_class_routes[class_index] == HAK_ROUTE_LIST &&
           hak_classes.of[class_index].block_bytes <= HAK_DIRECT_MAX;
}

void hak_heap_share(hak_heap *heap)
{
    unsigned leader = 0;
    for (unsigned i = hak_classes.count; i-- > 0;) {
        bool same =
            i + 1 < hak_classes.count && may_share(i) && may_share(leader) &&
            hak_log2_ceil(hak_classes.of[i].block_bytes) == hak_log2_ceil(hak_classes.of[leader].block_bytes);
        leader = same ? leader : i;
        lead(heap, i, leader);
    }
}

unsigned hak_heap_class(hak_heap *heap, unsigned class_index)
{
    unsigned leader = heap->leader[class_index];
    if (leader == class_index)
        return class_index;
    size_t taken = heap->shared_bytes[class_index] + SHARED_STEP_BLOCKS * hak_classes.of[leader].block_bytes;
    if (taken > SHARED_MOST_BYTES)
        lead(heap, class_index, class_index);
    else
        heap->shared_bytes[class_index] = (uint16_t)taken;
    return heap->leader[class_index];
}
