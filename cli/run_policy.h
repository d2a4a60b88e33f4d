/* run_policy.h: the policy that hakmem-run gives a program: as it is, or, where the program or a library is
 * another build than the one it was learned on, with its sites found again there. One thread. */
#ifndef HAK_CLI_RUN_POLICY_H
#define HAK_CLI_RUN_POLICY_H

#include <limits.h>
#include <stdbool.h>

#include "replay/policy_text.h"

/* Zero-initialise. */
typedef struct run_policy {
    char path[PATH_MAX]; /* what the program is to load, absolute */
    hak_policy policy;
    uint64_t key; /* of the file's contents and the other builds */
    bool loaded;
    struct {
        uint32_t module;
        char path[PATH_MAX];
    } stale[16]; /* modules whose file here is another build; what is beyond stays as it is */
    unsigned stale_count;
} run_policy;

/* Reads and checks it: the allocator would refuse the same and run on defaults; who names a policy wants to
 * know. False: said. */
bool run_policy_open(run_policy *run, const char *path);

/* A file that the program will map. */
void run_policy_meets(run_policy *run, const char *binary);

/* Changes `path` to the policy for these builds, which is kept in the user's cache folder and made when it is
 * not there yet; then says so, or why not. */
void run_policy_fit(run_policy *run);

void run_policy_close(run_policy *run);

#endif
