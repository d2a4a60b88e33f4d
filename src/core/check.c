/* check.c: hakmem_check: walks pool, slabs, lists and heaps and reports what contradicts another. Call it
 * while no other thread allocates: it takes the pool lock but reads what owners write. Never allocates. */
#include <unistd.h>

#include "core/alloc.h"
#include "core/base/print.h"
#include "core/include/hakmem.h"
#include "core/span.h"
#include "core/secure.h"

static void fault(const char *text, const void *at)
{
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem: check: ");
    hak_out_text(&out, text);
    hak_out_text(&out, " at ");
    hak_out_hex(&out, (uintptr_t)at);
    hak_out_text(&out, "\n");
    hak_out_flush(&out);
}

static void expect(bool holds, const char *text, const void *at, unsigned *faults)
{
    if (holds)
        return;
    (*faults)++;
    fault(text, at);
}

/* Length of a list of free blocks, all in slabs of that class and heap; stops at `most`. */
static uint32_t list_length(const hak_block *block, const hak_slab *only, unsigned class_index, uint32_t most,
                            unsigned *faults)
{
    uint32_t length = 0;
    for (; block != NULL && length < most; block = hak_block_next(block), length++) {
        if (hak_page_map_kind(block) != HAK_CHUNK_SUPERSLAB) {
            expect(false, "free block outside of every SuperSlab", block, faults);
            return length;
        }
        const hak_slab *slab = hak_slab_of(block);
        expect(slab->kind == HAK_SLAB_BLOCKS && slab->class_index == class_index,
               "free block of another class", block, faults);
        expect(only == NULL || slab == only, "free block of another slab", block, faults);
        expect(hak_slab_block_of(slab, block) == block, "free block inside a block", block, faults);
    }
    return length;
}

static void check_slab(const hak_slab *slab, unsigned *faults)
{
    expect(slab->fresh <= slab->capacity, "slab: more blocks used than it has", slab, faults);
    expect(slab->used <= slab->fresh, "slab: more blocks out than ever given", slab, faults);
    uint32_t home = list_length(slab->local, slab, slab->class_index, slab->capacity + 1u, faults);
    expect(home + slab->used == slab->fresh, "slab: local list and count differ", slab, faults);
    for (unsigned i = 1; i < slab->units; i++) {
        expect(slab[i].kind == HAK_SLAB_REST && slab[i].unit_first == slab->unit_first,
               "slab: unit of another", &slab[i], faults);
        expect(slab[i].owner == slab->owner, "slab: copies differ", &slab[i], faults);
    }
}

/* A thread that did not survive fork may have been copied in the middle of a change to its slabs: what they
 * say is believed only once it was built anew (heap_lost.c). Without an owner yet: likewise. */
static bool is_lost(const hak_slab *slab)
{
    const hak_heap *owner = slab->owner;
    return owner == NULL || owner->state == HAK_HEAP_LOST;
}

static void check_super(hak_superslab *super, void *context)
{
    for (unsigned unit = 0; unit < HAK_UNITS; unit++) {
        const hak_slab *slab = &super->slabs[unit];
        if (slab->kind == HAK_SLAB_BLOCKS && !is_lost(slab))
            check_slab(slab, context);
    }
}

static void check_heap(hak_heap *heap, void *context)
{
    unsigned *faults = context;
    if (heap->state == HAK_HEAP_LOST)
        return;
    for (unsigned i = 0; i < hak_classes.count; i++) {
        list_length(heap->bins[i].head, NULL, i, UINT32_MAX, faults);
        expect(list_length(heap->kept[i].head, NULL, i, UINT32_MAX, faults) == heap->kept[i].count,
               "heap: blocks kept of others and their number differ", heap, faults);
        expect(heap->bins[i].head == NULL || hak_class_routes[i] == HAK_ROUTE_LIST,
               "heap: list of a class whose calls are to be seen", heap, faults);
        for (unsigned place = 0; place < HAK_PLACE_COUNT; place++) {
            list_length(heap->placed[place][i].head, NULL, i, UINT32_MAX, faults);
            for (const hak_slab *slab = heap->partial[place][i]; slab != NULL; slab = slab->next) {
                expect(slab->owner == heap && slab->linked && slab->class_index == i &&
                           slab->lifetime == place,
                       "heap: partial slab of another", slab, faults);
                expect(slab->next == NULL || slab->next->prev == slab, "heap: partial list broken", slab,
                       faults);
            }
        }
    }
}

HAK_EXPORT unsigned hakmem_check(void)
{
    if (!atomic_load_explicit(&hak_ready, memory_order_acquire))
        return 0;
    unsigned faults = hak_pool_check(fault) + hak_span_check(fault);
    hak_pool_visit(check_super, &faults);
    hak_heap_visit(check_heap, &faults);
    return faults;
}
