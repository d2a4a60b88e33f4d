/* collect_run.h: the short way from a ring into the trace, for the records that nearly all are: plain
 * allocations and frees of known blocks. What it does is what hak_events_record does, without a description
 * of each event on the way: about a third of the instructions. One thread. */
#ifndef HAK_TRACE_COLLECT_RUN_H
#define HAK_TRACE_COLLECT_RUN_H

#include "trace/collect_clock.h"
#include "trace/collect_events.h"

/* Uses records of this ring, stamped up to `until`, and stops in front of the first that is not plain.
 * Returns how many. */
uint64_t hak_events_run(hak_events *events, hak_consumer *consumer, hak_clock *clock, uint64_t until);

#endif
