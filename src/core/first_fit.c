/* first_fit.c: see first_fit.h. State under the pool's lock; never allocates from malloc. */
#include "core/first_fit.h"

#include <string.h>

#include "core/base/os.h"

#define FIRST_SLOTS 1024 /* a power of two: 2 GiB of SuperSlabs; then twice as many each time */

typedef struct tree {
    hak_superslab **supers; /* by slot; NULL: nobody's */
    uint8_t *fits;          /* [1] the whole, [2 i] and [2 i + 1] the halves of [i], [slots + s] slot s */
    uint32_t slots;
    uint32_t low; /* all slots below are somebody's */
} tree;

static hak_superslab *first_supers[FIRST_SLOTS];
static uint8_t first_fits[2 * FIRST_SLOTS];
static tree all = {first_supers, first_fits, FIRST_SLOTS, 0};

static size_t tree_bytes(uint32_t slots)
{
    return slots * (sizeof(hak_superslab *) + 2 * sizeof(uint8_t));
}

static bool grow(void)
{
    uint32_t slots = all.slots * 2;
    hak_superslab **supers = hak_os_map(tree_bytes(slots), HAK_OS_PAGE_BYTES);
    if (supers == NULL)
        return false;
    uint8_t *fits = (uint8_t *)(supers + slots);
    memcpy(supers, all.supers, all.slots * sizeof *supers);
    memcpy(fits + slots, all.fits + all.slots, all.slots);
    for (uint32_t i = slots - 1; i != 0; i--)
        fits[i] = fits[2 * i] > fits[2 * i + 1] ? fits[2 * i] : fits[2 * i + 1];
    if (all.supers != first_supers)
        hak_os_unmap(all.supers, tree_bytes(all.slots));
    all = (tree){supers, fits, slots, all.low};
    return true;
}

bool hak_first_fit_add(hak_superslab *super)
{
    while (all.low < all.slots && all.supers[all.low] != NULL)
        all.low++;
    if (all.low == all.slots && !grow())
        return false;
    super->slot = all.low;
    all.supers[all.low] = super;
    return true;
}

void hak_first_fit_remove(hak_superslab *super)
{
    hak_first_fit_set(super, HAK_FIT_NONE);
    all.supers[super->slot] = NULL;
    if (super->slot < all.low)
        all.low = super->slot;
}

void hak_first_fit_set(hak_superslab *super, unsigned fit)
{
    uint32_t at = all.slots + super->slot;
    super->fit = fit;
    for (all.fits[at] = (uint8_t)fit; at != 1; at /= 2) {
        uint8_t most = all.fits[at] > all.fits[at ^ 1] ? all.fits[at] : all.fits[at ^ 1];
        if (all.fits[at / 2] == most)
            break;
        all.fits[at / 2] = most;
    }
}

hak_superslab *hak_first_fit_find(unsigned fit)
{
    uint32_t at = 1;
    if (all.fits[at] < fit)
        return NULL;
    while (at < all.slots) {
        at *= 2;
        if (all.fits[at] < fit)
            at++;
    }
    return all.supers[at - all.slots];
}
