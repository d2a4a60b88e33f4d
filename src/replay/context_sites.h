/* context_sites.h: which site of a policy each recorded call context is, so that a replay, whose calls all
 * come from one loop, can tell the allocator (hakmem_replay_site of hakmem.h) what it would have found on the
 * program's own stack. Pure but for reading the policy's file. Any thread. */
#ifndef HAK_REPLAY_CONTEXT_SITES_H
#define HAK_REPLAY_CONTEXT_SITES_H

#include "replay/workload.h"

/* Entries that hak_context_sites fills: the workload's contexts; 0 when it was built without them. */
uint32_t hak_context_count(const hak_workload *workload);

/* sites[context] becomes the number of the policy's node that decides there plus one, or 0. Modules match by
 * build-id, or by base name where the policy has none. 0, or -1 with *error filled (no valid compiled
 * policy). */
int hak_context_sites(const hak_workload *workload, const char *policy_path, uint32_t *sites,
                      hak_trace_error *error);

#endif
