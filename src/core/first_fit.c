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

static hak_superslab *first_supers[2][FIRST_SLOTS];
static uint8_t first_fits[2][2 * FIRST_SLOTS];
static tree trees[2] = {{first_supers[false], first_fits[false], FIRST_SLOTS, 0},
                        {first_supers[true], first_fits[true], FIRST_SLOTS, 0}}; /* by hak_superslab.bulk */

static size_t tree_bytes(uint32_t slots)
{
    return slots * (sizeof(hak_superslab *) + 2 * sizeof(uint8_t));
}

static bool grow(tree *t)
{
    uint32_t slots = t->slots * 2;
    hak_superslab **supers = hak_os_map(tree_bytes(slots), HAK_OS_PAGE_BYTES);
    if (supers == NULL)
        return false;
    uint8_t *fits = (uint8_t *)(supers + slots);
    memcpy(supers, t->supers, t->slots * sizeof *supers);
    memcpy(fits + slots, t->fits + t->slots, t->slots);
    for (uint32_t i = slots - 1; i != 0; i--)
        fits[i] = fits[2 * i] > fits[2 * i + 1] ? fits[2 * i] : fits[2 * i + 1];
    if (t->slots != FIRST_SLOTS)
        hak_os_unmap(t->supers, tree_bytes(t->slots));
    *t = (tree){supers, fits, slots, t->low};
    return true;
}

bool hak_first_fit_add(hak_superslab *super)
{
    tree *t = &trees[super->bulk];
    while (t->low < t->slots && t->supers[t->low] != NULL)
        t->low++;
    if (t->low == t->slots && !grow(t))
        return false;
    super->slot = t->low;
    t->supers[t->low] = super;
    return true;
}

void hak_first_fit_remove(hak_superslab *super)
{
    tree *t = &trees[super->bulk];
    hak_first_fit_set(super, HAK_FIT_NONE);
    t->supers[super->slot] = NULL;
    if (super->slot < t->low)
        t->low = super->slot;
}

void hak_first_fit_set(hak_superslab *super, unsigned fit)
{
    tree *t = &trees[super->bulk];
    uint32_t at = t->slots + super->slot;
    super->fit = fit;
    for (t->fits[at] = (uint8_t)fit; at != 1; at /= 2) {
        uint8_t most = t->fits[at] > t->fits[at ^ 1] ? t->fits[at] : t->fits[at ^ 1];
        if (t->fits[at / 2] == most)
            break;
        t->fits[at / 2] = most;
    }
}

hak_superslab *hak_first_fit_find(unsigned fit, bool bulk)
{
    const tree *t = &trees[bulk];
    uint32_t at = 1;
    if (t->fits[at] < fit)
        return NULL;
    while (at < t->slots) {
        at *= 2;
        if (t->fits[at] < fit)
            at++;
    }
    return t->supers[at - t->slots];
}
