/* first_fit.h: finds the first SuperSlab that has a run of units free, in an order that never changes while
 * they exist. Taking from the first rather than from the tightest one keeps what is in use, and what was ever
 * written, together: in a model with random sizes a quarter less memory is touched, and the last ones empty.
 *
 * Each SuperSlab has a slot among those of its kind (hak_superslab.bulk); a tree over the slots holds the
 * greatest run of each half, so that find and update take one step per doubling. All under HAK_RANK_POOL,
 * which the caller holds. */
#ifndef HAK_CORE_FIRST_FIT_H
#define HAK_CORE_FIRST_FIT_H

#include "core/superslab.h"

/* What a SuperSlab has free: nothing, unit 0 alone, or a run of n units besides. */
#define HAK_FIT_NONE   0u
#define HAK_FIT_UNIT_0 1u
#define HAK_FIT_RUN(n) ((n) + 1u)

/* Gives the SuperSlab a slot, with nothing free; false without memory. */
bool hak_first_fit_add(hak_superslab *super);

/* Takes its slot away. */
void hak_first_fit_remove(hak_superslab *super);

/* Notes what it has free: a HAK_FIT_ value. */
void hak_first_fit_set(hak_superslab *super, unsigned fit);

/* The first one of those for bulk, or of the others, that has at least `fit`, not HAK_FIT_NONE, free; NULL:
 * none has. */
hak_superslab *hak_first_fit_find(unsigned fit, bool bulk);

#endif
