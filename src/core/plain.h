/* plain.h: MINIMAL's heap: one lock, one list of free runs, first fit. The baseline of every comparison: no
 * thread state, no classes, no cache, no batching. Blocks to HAK_PLAIN_MAX_BYTES; larger ones are mapped
 * (large.h). Any thread. */
#ifndef HAK_CORE_PLAIN_H
#define HAK_CORE_PLAIN_H

#include "core/base/types.h"
#include "core/lock.h"

#define HAK_PLAIN_MAX_BYTES ((size_t)128 << 10)

extern hak_lock hak_plain_lock;

void *hak_plain_take(size_t bytes, size_t align); /* align <= 4096; NULL with ENOMEM */
void hak_plain_put(void *at); /* `at` in a PLAIN chunk; aborts where it is no live block */
/* Bytes mapped, and those of them in live blocks with their tags. */
void hak_plain_info(size_t *mapped_bytes, size_t *used_bytes);
size_t hak_plain_usable(void *at); /* 0 where `at` is no live block */

#endif
