/* collect_merge.h: the records of all rings, used in order of time. Where stamps alone would put an
 * allocation before the free that made its block (ring.h), the free goes first. One thread. */
#ifndef HAK_TRACE_COLLECT_MERGE_H
#define HAK_TRACE_COLLECT_MERGE_H

#include "trace/collect_clock.h"
#include "trace/collect_events.h"

/* Zeroed: no rings. The caller sets clock, events and pid_fd, and fills in consumers. */
typedef struct hak_merge {
    hak_consumer *consumers; /* owned, as what follows */
    hak_consumer **heap;     /* rings with a visible record up to the limit, earliest first */
    hak_record *next;        /* of consumers[i], while in the heap */
    size_t count;            /* consumers */
    size_t heap_count;
    bool disturbed; /* records were used out of the heap's order: it must be built anew */
    int pid_fd;     /* of the program: readable once it is dead; -1: unknown */
    hak_clock *clock;
    hak_events *events;
} hak_merge;

/* Room for so many consumers. False: no memory. */
bool hak_merge_reserve(hak_merge *merge, size_t count);

void hak_merge_done(hak_merge *merge); /* gives the memory back; what consumers own is the caller's */

/* Uses all visible records stamped up to `limit`; returns how many. */
uint64_t hak_merge_run(hak_merge *merge, uint64_t limit);

#endif
