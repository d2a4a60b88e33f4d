/* trainer_classes.h: size classes fitted to recorded sizes. Pure functions. */
#ifndef HAK_REPLAY_TRAINER_CLASSES_H
#define HAK_REPLAY_TRAINER_CLASSES_H

#include "replay/trainer_trace.h"

/* Block sizes that lose the fewest bytes to rounding, weighted by what is live near each trace's peak (each
 * trace weighs the same). Half of the standard ladder stays as a backbone, so that sizes not recorded are
 * served passably. Ends with 32768, no more classes than the standard ladder. Returns the count; *gain is the
 * share of requested bytes saved against the standard ladder (0: not worth it). */
uint32_t hak_fit_classes(const hak_train_trace *const *traces, size_t count,
                         uint32_t sizes[HAK_POLICY_MAX_CLASSES], double *gain);

/* The allocator's own sizes, ascending; returns how many. */
uint32_t hak_standard_ladder(uint32_t sizes[HAK_POLICY_MAX_CLASSES]);

#endif
