/* run_policy.c: see run_policy.h. Files: a policy in the user's cache folder. */
#include "cli/run_policy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cache.h"
#include "cli/say.h"
#include "cli/text.h"
#include "core/base/bits.h"
#include "replay/code.h"
#include "replay/remap.h"

/* NULL, and what its bytes hash to; or what is wrong with it. */
static const char *check(const char *path, uint64_t *key)
{
    struct stat status = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *fault = fd < 0 || fstat(fd, &status) != 0 ? strerror(errno) : NULL;
    if (fault == NULL && !S_ISREG(status.st_mode))
        fault = "not a regular file";
    if (fault == NULL && (status.st_size == 0 || (size_t)status.st_size > HAK_POLICY_MAX_BYTES))
        fault = "empty, or too large for a policy";
    if (fault == NULL) {
        size_t bytes = (size_t)status.st_size;
        const uint8_t *at = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        fault = at == MAP_FAILED ? strerror(errno) : hak_policy_check(at, bytes);
        for (size_t i = 0; fault == NULL && i < bytes; i++)
            *key = hak_mix64(*key ^ at[i]);
        if (at != MAP_FAILED)
            munmap((void *)at, bytes);
    }
    if (fd >= 0)
        close(fd);
    return fault;
}

bool run_policy_open(run_policy *run, const char *path)
{
    const char *fault = check(path, &run->key);
    if (fault != NULL) {
        say("'%s': %s; hakmem-policy validate says more, and compile makes the form that is wanted here",
            path, fault);
        return false;
    }
    hak_policy_error error;
    /* The program may change its folder before a process it starts reads the policy. */
    if (realpath(path, run->path) == NULL) {
        say("'%s': %s", path, strerror(errno));
        return false;
    }
    run->loaded = hak_policy_read(path, &run->policy, &error) == 0;
    if (!run->loaded)
        say("'%s': %s", path, error.text);
    return run->loaded;
}

void run_policy_meets(run_policy *run, const char *binary)
{
    uint8_t id[HAK_CODE_ID_BYTES];
    bool same;
    if (!run->loaded || run->policy.node_count == 0 ||
        run->stale_count == sizeof run->stale / sizeof run->stale[0])
        return;
    uint32_t module = hak_remap_module(&run->policy, binary, &same);
    if (module == UINT32_MAX)
        return;
    unsigned id_bytes = hak_code_id_of(binary, id);
    for (unsigned i = 0; i < id_bytes; i++)
        run->key = hak_mix64(run->key ^ id[i]);
    run->stale[run->stale_count].module = module;
    snprintf(run->stale[run->stale_count].path, PATH_MAX, "%s", binary);
    run->stale_count++;
}

static bool make(run_policy *run, const char *path)
{
    const char *about, *wrong;
    hak_policy_error error;
    hak_remap r;
    hak_remap_begin(&run->policy, &r);
    for (unsigned i = 0; i < run->stale_count; i++)
        if (hak_remap_sites(&run->policy, run->stale[i].module, run->stale[i].path, NULL, &about, &wrong) !=
            0)
            say("'%s': %s", about, wrong); /* its sites stay with the build they are of, and are not asked */
    if (!hak_remap_end(&run->policy, &r)) {
        say("out of memory");
        return false;
    }
    say("the policy is of another build: %" PRIu32 " of %" PRIu32
        " sites, %.1f%% of their blocks, are in this one, too%s",
        r.found, r.sites, r.blocks != 0 ? 100.0 * (double)r.found_blocks / (double)r.blocks : 100.0,
        r.dropped ? "; so few that only its settings apply: train again" : "");
    if (hak_policy_write(&run->policy, path, false, &error) != 0) {
        say("'%s': %s", path, error.text);
        return false;
    }
    say("kept as '%s'", path);
    return true;
}

void run_policy_fit(run_policy *run)
{
    char folder[PATH_MAX], path[sizeof folder + 320];
    uint64_t unused = 0;
    if (run->stale_count == 0)
        return;
    cache_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/%.255s-%016" PRIx64 ".policy", folder, base_name(run->path), run->key);
    if (folder[0] == '\0' || strlen(path) >= sizeof run->path)
        say("the policy is of another build, and there is no folder to keep one for this build in: only its "
            "settings apply");
    else if (check(path, &unused) == NULL || make(run, path))
        memcpy(run->path, path, strlen(path) + 1);
}

void run_policy_close(run_policy *run)
{
    if (run->loaded)
        hak_policy_clear(&run->policy);
}
