/* remap.h: the sites of a policy in another build of one of its modules. A site goes along where its function
 * is there under the same name with the same instructions (code.h); else it is dropped, and so is what hangs
 * on it. One thread per policy. Reads files, never prints. */
#ifndef HAK_REPLAY_REMAP_H
#define HAK_REPLAY_REMAP_H

#include "replay/policy_text.h"

#define HAK_REMAP_MIN_PERCENT 60 /* of the blocks: with fewer left, only the settings are */

/* Counts of sites that decide something, and of the blocks that were seen there. */
typedef struct hak_remap {
    uint32_t sites, found;
    uint64_t blocks, found_blocks;
    bool dropped; /* too few were found: only the settings are left */
} hak_remap;

/* The module that the file is another build of, by its file name; UINT32_MAX: none, it has no build-id, or
 * one of the modules is that very build (then *same). */
uint32_t hak_remap_module(const hak_policy *policy, const char *binary, bool *same);

/* The module's sites as they lie in `binary`. `from`: the file of the old build, or NULL: what the evidence
 * says of it, or the file it was learned on, where that is still there. 0, or -1 with *about and *wrong
 * (static storage) set and the policy as it was. */
int hak_remap_sites(hak_policy *policy, uint32_t module, const char *binary, const char *from,
                    const char **about, const char **wrong);

/* Before the first module, and after the last one: fills *remap; drops all sites when too few are left. False
 * when out of memory. */
void hak_remap_begin(const hak_policy *policy, hak_remap *remap);
bool hak_remap_end(hak_policy *policy, hak_remap *remap);

#endif
