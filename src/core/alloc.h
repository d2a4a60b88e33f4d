/* alloc.h: everything behind the fast paths: which part of the allocator serves a request, and whose block an
 * address is. Any thread; keeps errno on success and on free. NULL with ENOMEM on failure, the old block
 * untouched. `frame` is the program's call (frame.h); {0} where nobody will look. Sizes are bytes. */
#ifndef HAK_CORE_ALLOC_H
#define HAK_CORE_ALLOC_H

#include "core/callsite/frame.h"
#include "core/heap.h"

/* `align`: a power of two. */
void *hak_alloc(size_t bytes, size_t align, bool zero, hak_frame frame);

/* Reports misuse and aborts where `at` is not a live block. NULL does nothing. */
void hak_free_slow(void *at);

/* free with the size that was asked for, which the secure library and RESEARCH mode compare. Whole: it tries
 * the fast path itself. */
void hak_free_sized_slow(void *at, size_t bytes);

/* 0 for NULL; aborts where `at` is not a live block. */
size_t hak_usable(void *at);

/* Gives everything idle back to the system, the calling thread's caches included: malloc_trim, and before an
 * allocation fails at a limit. Returns the bytes. */
size_t hak_trim(void);

/* The slow halves of malloc, operator new, calloc (recall.c) and realloc, and what these leave over: they are
 * jumped to, so that the caller's frame is the program's. */
void *hak_malloc_slow(size_t bytes);
void *hak_new_slow(size_t bytes);
void *hak_calloc_slow(size_t bytes);
void *hak_malloc_general(size_t bytes);
void *hak_new_general(size_t bytes); /* cxx.c */
void *hak_calloc_general(size_t bytes);
void *hak_realloc_slow(void *at, size_t bytes, size_t room_bytes); /* what hak_fast_room said */

/* init.c: once, from whoever comes first. */
void hak_init(void);
/* The calling thread is in hak_init: a function that it calls is the program's own, and allocates. */
bool hak_initializing(void);
extern _Atomic bool hak_ready;

#endif
