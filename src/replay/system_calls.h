/* system_calls.h: counts this process's memory calls to the kernel without a tracer. For the worker's
 * observed pass only. */
#ifndef HAK_REPLAY_SYSTEM_CALLS_H
#define HAK_REPLAY_SYSTEM_CALLS_H

#include "replay/measure.h"

/* From now on, in every thread that starts later and in this one: counts[HAK_SYSTEM_CALL_COUNT] grow. True,
 * or false where the kernel does not allow it; then nothing has changed. Cannot be taken back. */
bool hak_system_calls_count(_Atomic uint64_t *counts);

#endif
