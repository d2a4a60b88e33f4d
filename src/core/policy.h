/* policy.h: the policy in the running program: mapped read-only, checked, relocated to where its modules are
 * loaded.
 *
 * hak_policy_open runs once, before the second thread exists. Lookups are read-only and lock-free; relocation
 * after dlopen/dlclose publishes a new table (the old one is kept until exit). No malloc. */
#ifndef HAK_CORE_POLICY_H
#define HAK_CORE_POLICY_H

#include "core/callsite/frame.h"
#include "core/policy_format.h"

#define HAK_SITE_NONE UINT32_MAX

/* Maps and checks the file. NULL when it is in force, else one line that says why it is not (the program then
 * runs on defaults). Regular files only; never in secure execution. */
const char *hak_policy_open(const char *path);

bool hak_policy_loaded(void);
bool hak_policy_knob(hak_knob knob, int64_t *value); /* true when the policy sets it */
uint32_t hak_policy_classes(const uint32_t **sizes); /* fitted block sizes; 0: none */
bool hak_policy_gate_holds(size_t low_bytes,
                           size_t high_bytes); /* some gated request size lies in [low, high] */

/* The deciding node for an allocation called from `frame`, or HAK_SITE_NONE: unknown context. */
uint32_t hak_policy_lookup(hak_frame frame, hak_stack stack);
const hak_policy_node *hak_policy_node_at(uint32_t site); /* site < node count */

/* Look again where the modules are. Called when a module was loaded or unloaded. */
void hak_policy_relocate(void);

/* Share of the policy's weight whose modules are loaded and have the right build, parts per million. */
uint32_t hak_policy_resolved_ppm(void);

#endif
