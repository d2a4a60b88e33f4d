/* policy.h: the policy in the running program: read once, checked, relocated to where its modules are loaded.
 *
 * hak_policy_open runs once, before the second thread exists. Lookups are read-only and lock-free; relocation
 * after dlopen/dlclose publishes a new table (the old ones are kept until exit, HAK_POLICY_TABLES_MAX_BYTES
 * of them). No malloc, and no lock of the loader's after hak_policy_open: a lookup that meets an address
 * outside every module it knows asks _dl_find_object(3), which is lock-free, and one lookup in 1024 checks
 * that the module it hit is still the same build. */
#ifndef HAK_CORE_POLICY_H
#define HAK_CORE_POLICY_H

#include "core/callsite/frame.h"
#include "core/policy_format.h"
#include "core/recall.h"

#define HAK_SITE_NONE               UINT32_MAX
#define HAK_POLICY_TABLES_MAX_BYTES (64 * HAK_MIB)
#define HAK_POLICY_CANARY_PERCENT   10 /* processes that run a policy in state CANARY */

/* Reads and checks the file. NULL when it is in force, else one line that says why it is not (the program
 * then runs on defaults); an empty line says: this process is in the control group of a canary, print
 * nothing. Regular files only, or links to them; never in secure execution. Only FROZEN and CANARY policies
 * act. Says once on stderr when more than 40% of the policy's weight is of modules that are loaded in another
 * build: then only its global settings apply. */
const char *hak_policy_open(const char *path);

bool hak_policy_loaded(void);

/* Whether the file is a canary: its checksum, and whether this process was selected to run it. */
bool hak_policy_canary(uint32_t *crc, bool *selected);

bool hak_policy_knob(hak_knob knob, int64_t *value); /* true when the policy sets it */
/* The same of the size class that holds requests of low + 1 to high bytes; 0: it has none of its own. */
uint32_t hak_policy_class_knob(hak_knob knob, uint32_t low_bytes, uint32_t high_bytes);
uint32_t hak_policy_classes(const uint32_t **sizes); /* fitted block sizes; 0: none */
bool hak_policy_gate_holds(
    size_t low_bytes, size_t high_bytes); /* some gated request size lies in [low, high], and sites act */

/* A node of the policy, where its module is loaded, and what it means to the allocator. */
typedef struct hak_site {
    uintptr_t pc; /* 0: none */
    uint32_t parent;
    uint32_t node;     /* HAK_SITE_NONE: nothing is known of the context */
    hak_frame_row row; /* with HAK_NODE_DEEPER in flags */
    uint8_t flags;     /* HAK_NODE_*, and one of policy_sites.c's own */
    uint8_t lifetime;  /* hak_site_lifetime */
    uint8_t place;     /* hak_place */
    uint8_t counter;   /* hak_heap_counter that a small block of this site is counted under */
    uint32_t reserved;
} hak_site;

/* The deciding site for an allocation called from there; never NULL. `path`: filled with what the answer
 * rests on; may be NULL. */
const hak_site *hak_policy_find(hak_frame frame, hak_policy_path *path);

/* The same; now and then it also looks whether the module that holds the address is still the same build. */
const hak_site *hak_policy_find_checked(hak_frame frame, hak_policy_path *path);
const hak_policy_node *hak_policy_node_at(uint32_t node); /* node < node count */

/* Look again where the modules are; takes the loader's lock, so only from places that hold none. Lookups find
 * modules that were loaded or replaced since then by themselves. */
void hak_policy_relocate(void);

/* For policy.c: the sites of the checked file come into force. False: no memory. */
bool hak_policy_sites_open(const uint8_t *bytes);

/* The sites were learned on other builds of what is loaded, so none of them acts. */
bool hak_policy_sites_stale(void);

/* Share of the policy's weight whose modules are loaded and have the right build, parts per million. */
uint32_t hak_policy_resolved_ppm(void);

#endif
