/* slices.h: what each node of a tree allocated in each of some equal stretches of time. One thread. Memory:
 * stretches × nodes × 32 bytes, which the caller bounds by its nodes. */
#ifndef HAK_REPLAY_SLICES_H
#define HAK_REPLAY_SLICES_H

#include "replay/profile.h"

typedef struct hak_slice {
    uint64_t calls;
    uint64_t bytes;
    uint64_t temporary; /* freed before the thread allocated again */
    int64_t live_bytes; /* change */
} hak_slice;

typedef struct hak_slices {
    hak_slice *cells; /* by slice * nodes + node */
    uint32_t count;
    uint32_t nodes;
    uint64_t step_ns;
} hak_slices;

#define HAK_SLICES_NO_NODE UINT32_MAX

/* False: no memory. Of `span_ns` from the first start on. */
bool hak_slices_init(hak_slices *slices, uint32_t count, uint32_t nodes, uint64_t span_ns);
void hak_slices_done(hak_slices *slices);

/* Adds a trace, read from its start; offset_ns is when it began. node_of is by the reader's context
 * (HAK_SLICES_NO_NODE: does not count). 0 or -1 with *error filled. */
int hak_slices_add(hak_slices *slices, hak_reader *reader, const uint32_t *node_of, uint32_t contexts,
                   uint64_t offset_ns, hak_trace_error *error);

#endif
