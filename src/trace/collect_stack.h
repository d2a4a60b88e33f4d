/* collect_stack.h: a thread's stack as its producer has described it, and the context that it stands for.
 *
 * Up to the depth limit a frame's context is interned when the frame comes and stays with it. Beyond, the
 * innermost frames are a window that slides with every call; its context is looked up by a hash over the
 * window, made from prefix hashes in constant time. One thread. */
#ifndef HAK_TRACE_COLLECT_STACK_H
#define HAK_TRACE_COLLECT_STACK_H

#include "core/base/types.h"
#include "trace/writer.h"

typedef struct hak_mirror {
    uint32_t capacity;
    uint32_t depth;
    uint32_t count;
    uint32_t interned; /* nodes[0 … interned) are valid */
    uint32_t context;  /* of the whole, once `known` */
    bool known;
    uint64_t *pcs;    /* outermost first */
    uint64_t *hashes; /* of pcs[0 … i] */
    uint32_t *nodes;
} hak_mirror;

/* Contexts of windows, shared by the threads of one process. Direct-mapped: forgets, never grows. */
typedef struct hak_windows hak_windows;

hak_windows *hak_windows_new(uint32_t depth); /* NULL: no memory */
void hak_windows_free(hak_windows *windows);

bool hak_mirror_init(hak_mirror *mirror, uint32_t depth);
void hak_mirror_done(hak_mirror *mirror);

/* Applies a stack change. False: it makes no sense. */
bool hak_mirror_apply(hak_mirror *mirror, uint32_t drop, uint32_t keep, const uint64_t *pcs, uint32_t push);

/* The context of the innermost frames. */
uint32_t hak_mirror_context(hak_mirror *mirror, hak_windows *windows, hak_writer *writer);

#endif
