/* policy_remap.c: hakmem-policy remap. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/policy_verbs.h"
#include "replay/code.h"
#include "replay/remap.h"

/* 0, EXIT_FINDING when sites were dropped, EXIT_TROUBLE. */
static int remap(hak_policy *policy, const char *binary, const char *from)
{
    uint8_t id[HAK_CODE_ID_BYTES];
    const char *about, *wrong;
    bool same;
    if (hak_code_id_of(binary, id) == 0)
        return hak_policy_trouble(binary, access(binary, R_OK) != 0
                                              ? strerror(errno)
                                              : "no ELF file with a build-id: link it with -Wl,--build-id");
    uint32_t module = hak_remap_module(policy, binary, &same);
    if (same) {
        puts("the build it was learned on: nothing moves");
        return 0;
    }
    if (module == UINT32_MAX)
        return hak_policy_trouble(binary, "not a module of this policy");
    hak_remap r;
    hak_remap_begin(policy, &r);
    if (hak_remap_sites(policy, module, binary, from, &about, &wrong) != 0)
        return hak_policy_trouble(about, wrong);
    if (!hak_remap_end(policy, &r))
        return hak_policy_trouble(NULL, "out of memory");
    printf("%" PRIu32 " of %" PRIu32 " sites are in this build, %.1f%% of their blocks\n", r.found, r.sites,
           r.blocks != 0 ? 100.0 * (double)r.found_blocks / (double)r.blocks : 100.0);
    if (r.dropped)
        printf("less than %d%%: the sites are dropped, the settings stay; train again\n",
               HAK_REMAP_MIN_PERCENT);
    return r.found == r.sites ? 0 : EXIT_FINDING;
}

int hak_verb_remap(int argc, char **argv)
{
    const char *out = NULL, *binary = NULL, *from = NULL;
    const hak_verb_option options[] = {
        {"-o", &out, true}, {"--binary", &binary, true}, {"--from", &from, true}, {NULL, NULL, false}};
    argc = hak_verb_options(argc, argv, options);
    if (argc < 0)
        return EXIT_TROUBLE;
    if (argc != 2 || out == NULL || binary == NULL)
        return hak_policy_trouble(NULL, "remap takes --binary=NEW, -o FILE and one policy");
    hak_policy policy;
    if (hak_policy_load(argv[1], &policy) != 0)
        return EXIT_TROUBLE;
    int status = remap(&policy, binary, from);
    hak_policy_error error = {.text = ""};
    if (status != EXIT_TROUBLE && hak_policy_write(&policy, out, false, &error) != 0)
        status = hak_policy_trouble(out, error.text);
    hak_policy_clear(&policy);
    return status;
}
