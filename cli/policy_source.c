/* policy_source.c: which function and line a site of a policy is, where the module's file is on this machine.
 */
#include <elfutils/libdwfl.h>
#include <elfutils/libdwelf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/policy_verbs.h"

static bool same_build(Dwfl_Module *module, const hak_policy_module *known)
{
    const unsigned char *bits;
    GElf_Addr address;
    int len_bytes = dwfl_module_build_id(module, &bits, &address);
    return known->build_id_bytes == 0 || (len_bytes >= (int)known->build_id_bytes &&
                                          memcmp(bits, known->build_id, known->build_id_bytes) == 0);
}

static bool describe(Dwfl_Module *module, uint64_t offset, char *text, size_t text_bytes)
{
    GElf_Addr start, bias;
    dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL);
    if (dwfl_module_getelf(module, &bias) == NULL)
        return false;
    GElf_Addr at = bias + offset - 1; /* within the call, not behind it */
    const char *function = dwfl_module_addrname(module, at);
    Dwfl_Line *line = dwfl_module_getsrc(module, at);
    int number = 0;
    const char *file = line != NULL ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;
    if (function == NULL && file == NULL)
        return false;
    if (file != NULL)
        snprintf(text, text_bytes, "%.80s %.120s:%d", function != NULL ? function : "?", file, number);
    else
        snprintf(text, text_bytes, "%.80s", function);
    for (; *text != 0; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
    return true;
}

bool hak_policy_source_text(const hak_policy *policy, const hak_policy_node *node, char *text,
                            size_t text_bytes)
{
    static char *debug_path; /* NULL: the standard places */
    static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                             .find_debuginfo = dwfl_standard_find_debuginfo,
                                             .section_address = dwfl_offline_section_address,
                                             .debuginfo_path = &debug_path};
    const char *path = policy->module_paths[node->module];
    Dwfl *dwfl = access(path, R_OK) == 0 ? dwfl_begin(&callbacks) : NULL;
    if (dwfl == NULL)
        return false;
    Dwfl_Module *module = dwfl_report_offline(dwfl, "module", path, -1);
    dwfl_report_end(dwfl, NULL, NULL);
    bool found = module != NULL && same_build(module, &policy->modules[node->module]) &&
                 describe(module, node->offset, text, text_bytes);
    dwfl_end(dwfl);
    return found;
}
