/* context_sites.c: see context_sites.h. The policy's bytes are hostile until hak_policy_check has seen them.
 */
#include "replay/context_sites.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/policy_format.h"
#include "replay/workload_format.h"

/* A checked policy and where the workload's modules are in it. */
typedef struct policy_view {
    const hak_policy_node *nodes;
    uint32_t node_count;
    const hak_policy_module *modules;
    uint32_t module_count;
    const char *strings;
} policy_view;

static int fail(hak_trace_error *error, const char *path, const char *why)
{
    snprintf(error->text, sizeof error->text, "policy '%.100s': %s", path, why);
    return -1;
}

/* The file's bytes, malloc'ed; at least a header. */
static void *read_file(const char *path, size_t *len_bytes, hak_trace_error *error)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    uint8_t *bytes = NULL;
    size_t done = 0;
    if (fd < 0 || fstat(fd, &info) != 0) {
        fail(error, path, strerror(errno));
    } else if (!S_ISREG(info.st_mode) || info.st_size < (off_t)sizeof(hak_policy_header) ||
               info.st_size > (off_t)HAK_POLICY_MAX_BYTES) {
        fail(error, path, "no policy file");
    } else if ((bytes = calloc(1, (size_t)info.st_size)) == NULL) {
        fail(error, path, strerror(ENOMEM));
    } else {
        for (ssize_t n;
             done < (size_t)info.st_size && (n = read(fd, bytes + done, (size_t)info.st_size - done)) > 0;)
            done += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    *len_bytes = done;
    return bytes;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static uint32_t module_in(const policy_view *view, const hak_w_module *module, const char *path)
{
    for (uint32_t i = 0; i < view->module_count; i++) {
        const hak_policy_module *known = &view->modules[i];
        if (known->build_id_bytes == 0
                ? strcmp(base_name(view->strings + known->path), base_name(path)) == 0
                : known->build_id_bytes == module->build_id_bytes &&
                      memcmp(known->build_id, module->build_id, known->build_id_bytes) == 0)
            return i;
    }
    return UINT32_MAX;
}

/* Nodes are in the order of (parent + 1, module, offset), so that the root's come first. */
static uint32_t child_of(const policy_view *view, uint32_t parent, uint32_t module, uint64_t offset)
{
    uint32_t low = 0, high = view->node_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const hak_policy_node *node = &view->nodes[middle];
        bool before = node->parent != parent   ? node->parent + 1 < parent + 1
                      : node->module != module ? node->module < module
                                               : node->offset < offset;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    const hak_policy_node *node = &view->nodes[low];
    return low < view->node_count && node->parent == parent && node->module == module &&
                   node->offset == offset
               ? low
               : HAK_POLICY_ROOT;
}

/* As hak_policy_lookup does in the running program; the number plus one. */
static uint32_t site_of(const policy_view *view, const hak_w_context *contexts, const uint32_t *map,
                        uint32_t context)
{
    uint32_t at = HAK_POLICY_ROOT;
    for (unsigned depth = 0; context != 0 && depth < HAK_POLICY_MAX_DEPTH; depth++) {
        const hak_w_context *here = &contexts[context];
        if (here->module == HAK_W_MODULE_NONE || map[here->module] == UINT32_MAX)
            break;
        uint32_t child = child_of(view, at, map[here->module], here->offset);
        if (child == HAK_POLICY_ROOT)
            break;
        at = child;
        if ((view->nodes[at].flags & HAK_NODE_DEEPER) == 0)
            break;
        context = here->parent;
    }
    return at + 1;
}

static const hak_w_header *header_of(const hak_workload *workload)
{
    return (const hak_w_header *)hak_workload_region(workload);
}

uint32_t hak_context_count(const hak_workload *workload)
{
    return header_of(workload)->context_count;
}

int hak_context_sites(const hak_workload *workload, const char *policy_path, uint32_t *sites,
                      hak_trace_error *error)
{
    const hak_w_header *head = header_of(workload);
    const uint64_t *region = hak_workload_region(workload);
    const hak_w_context *contexts = (const hak_w_context *)(region + head->contexts_at);
    const hak_w_module *modules = (const hak_w_module *)(region + head->modules_at);
    const char *paths = (const char *)(region + head->paths_at);
    size_t len_bytes;
    uint8_t *bytes = read_file(policy_path, &len_bytes, error);
    if (bytes == NULL)
        return -1;
    const char *wrong = hak_policy_check(bytes, len_bytes);
    uint32_t *map = malloc((head->module_count + 1) * sizeof *map);
    if (wrong != NULL || map == NULL) {
        free(bytes);
        free(map);
        return fail(error, policy_path, wrong != NULL ? wrong : strerror(ENOMEM));
    }
    const hak_policy_header *policy = (const void *)bytes;
    policy_view view = {
        .nodes = (const void *)(bytes + policy->nodes.offset),
        .node_count = policy->nodes.count,
        .modules = (const void *)(bytes + policy->modules.offset),
        .module_count = policy->modules.count,
        .strings = (const char *)bytes + policy->strings.offset,
    };
    for (uint32_t i = 0; i < head->module_count; i++)
        map[i] = module_in(&view, &modules[i], paths + modules[i].path);
    for (uint32_t i = 0; i < head->context_count; i++)
        sites[i] = view.node_count != 0 ? site_of(&view, contexts, map, i) : 0;
    free(map);
    free(bytes);
    return 0;
}
