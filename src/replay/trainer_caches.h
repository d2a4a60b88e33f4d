/* trainer_caches.h: how long the lists of a size class have to be. Pure. */
#ifndef HAK_REPLAY_TRAINER_CACHES_H
#define HAK_REPLAY_TRAINER_CACHES_H

#include "replay/policy_text.h"
#include "replay/trainer_trace.h"

/* Gives the classes whose threads freed far more, or far less, in a row than a list holds by default a length
 * and a refill of their own. Returns the number of classes. */
uint32_t hak_fit_caches(const hak_train_trace *const *traces, size_t count, hak_policy *policy);

#endif
