/* null.h: the target that is no allocator: a bump pointer per thread that starts over after 64 KiB.
 * Replaying on it shows what the replayer itself costs. Blocks overlap after a round; nothing reads them.
 * Worker process only. */
#ifndef HAK_REPLAY_NULL_H
#define HAK_REPLAY_NULL_H

#include "replay/loop.h"

/* Fills the required members. Arenas hold at least `size_max` bytes, mapped by a thread's first call. */
void hak_null_api(hak_api *api, uint64_t size_max);

#endif
