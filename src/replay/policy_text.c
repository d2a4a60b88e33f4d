/* policy_text.c: the editable policy: growing it, sorting it, its compiled form, its files.
 * Never prints. No shared state; one thread per policy. */
#include "replay/policy_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/wire.h"

void hak_policy_fail(hak_policy_error *error, uint64_t line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    error->line = line;
}

void hak_policy_init(hak_policy *policy)
{
    memset(policy, 0, sizeof *policy);
    policy->state = HAK_STATE_LEARN;
}

void hak_policy_clear(hak_policy *policy)
{
    for (uint32_t i = 0; i < policy->module_count; i++)
        free(policy->module_paths[i]);
    free(policy->module_paths);
    free(policy->modules);
    free(policy->nodes);
    free(policy->gate);
    free(policy->program);
    free(policy->evidence);
    hak_policy_init(policy);
}

/* Room for one more of `count` entries; capacities are powers of two, so they need not be stored. */
static void *grown(void *entries, uint32_t count, size_t entry_bytes)
{
    if (count != 0 && !hak_is_pow2(count))
        return entries;
    return realloc(entries, (count == 0 ? 1 : 2 * (size_t)count) * entry_bytes);
}

uint32_t hak_policy_add_module(hak_policy *policy, const hak_policy_module *module, const char *path)
{
    uint32_t index = policy->module_count;
    if (index == HAK_POLICY_MAX_MODULES)
        return UINT32_MAX;
    void *modules = grown(policy->modules, index, sizeof *policy->modules);
    if (modules == NULL)
        return UINT32_MAX;
    policy->modules = modules;
    void *paths = grown(policy->module_paths, index, sizeof *policy->module_paths);
    if (paths == NULL)
        return UINT32_MAX;
    policy->module_paths = paths;
    char *copy = strdup(path);
    if (copy == NULL)
        return UINT32_MAX;
    policy->modules[index] = *module;
    policy->module_paths[index] = copy;
    policy->module_count++;
    return index;
}

uint32_t hak_policy_add_node(hak_policy *policy, const hak_policy_node *node)
{
    if (policy->node_count == HAK_POLICY_MAX_NODES)
        return UINT32_MAX;
    void *nodes = grown(policy->nodes, policy->node_count, sizeof *policy->nodes);
    if (nodes == NULL)
        return UINT32_MAX;
    policy->nodes = nodes;
    policy->nodes[policy->node_count] = *node;
    return policy->node_count++;
}

hak_policy_cache *hak_policy_add_cache(hak_policy *policy, uint32_t class_bytes)
{
    uint32_t at = 0;
    while (at < policy->cache_count && policy->caches[at].class_bytes < class_bytes)
        at++;
    if (at < policy->cache_count && policy->caches[at].class_bytes == class_bytes)
        return &policy->caches[at];
    if (policy->cache_count == HAK_POLICY_MAX_CLASSES)
        return NULL;
    memmove(&policy->caches[at + 1], &policy->caches[at],
            (policy->cache_count++ - at) * sizeof *policy->caches);
    policy->caches[at] = (hak_policy_cache){.class_bytes = class_bytes};
    return &policy->caches[at];
}

bool hak_policy_add_gate(hak_policy *policy, uint32_t low_bytes, uint32_t high_bytes)
{
    if (policy->gate_count == HAK_POLICY_MAX_GATE)
        return false;
    void *gate = grown(policy->gate, policy->gate_count, sizeof *policy->gate);
    if (gate == NULL)
        return false;
    policy->gate = gate;
    policy->gate[policy->gate_count][0] = low_bytes;
    policy->gate[policy->gate_count][1] = high_bytes;
    policy->gate_count++;
    return true;
}

bool hak_policy_add_evidence(hak_policy *policy, const char *line)
{
    size_t old_bytes = policy->evidence != NULL ? strlen(policy->evidence) : 0;
    size_t line_bytes = strlen(line);
    char *all = realloc(policy->evidence, old_bytes + line_bytes + 2);
    if (all == NULL)
        return false;
    memcpy(all + old_bytes, line, line_bytes);
    memcpy(all + old_bytes + line_bytes, "\n", 2);
    policy->evidence = all;
    return true;
}

/* ---- order ---- */

typedef struct sort_entry {
    uint32_t depth;
    uint32_t parent; /* new number + 1; 0: root */
    uint32_t module;
    uint32_t old;
    uint64_t offset;
} sort_entry;

static int by_place(const void *a, const void *b)
{
    const sort_entry *x = a, *y = b;
    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    if (x->module != y->module)
        return x->module < y->module ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return 0;
}

/* Depths; 0 (kept by calloc) marks the root's children. */
static void set_depths(const hak_policy *policy, sort_entry *entries)
{
    for (uint32_t i = 0; i < policy->node_count; i++) {
        const hak_policy_node *node = &policy->nodes[i];
        bool rooted = node->parent >= i; /* HAK_POLICY_ROOT; anything else is left for the check to refuse */
        entries[i] = (sort_entry){
            .depth = rooted ? 0 : entries[node->parent].depth + 1,
            .module = node->module,
            .old = i,
            .offset = node->offset,
        };
    }
}

/* Sorts level by level: a level's order needs its parents' new numbers. */
static void number_levels(const hak_policy *policy, sort_entry *entries, uint32_t *fresh)
{
    uint32_t count = policy->node_count;
    qsort(entries, count, sizeof *entries, by_place);
    for (uint32_t start = 0; start < count;) {
        uint32_t end = start;
        for (; end < count && entries[end].depth == entries[start].depth; end++) {
            uint32_t parent = policy->nodes[entries[end].old].parent;
            entries[end].parent = entries[end].depth == 0 ? 0 : fresh[parent] + 1;
        }
        qsort(entries + start, end - start, sizeof *entries, by_place);
        for (; start < end; start++)
            fresh[entries[start].old] = start;
    }
}

bool hak_policy_decides(const hak_policy_node *node)
{
    return node->lifetime != 0 || node->retention != 0 || node->thp != 0 || node->slack_percent != 0 ||
           (node->flags & HAK_NODE_REMOTE_FREED) != 0;
}

bool hak_policy_sort(hak_policy *policy)
{
    uint32_t count = policy->node_count;
    if (count == 0)
        return true;
    sort_entry *entries = calloc(count, sizeof *entries);
    uint32_t *fresh = malloc(count * sizeof *fresh);
    hak_policy_node *nodes = malloc(2 * (size_t)count * sizeof *nodes); /* grown() relies on the slack */
    bool done = entries != NULL && fresh != NULL && nodes != NULL;
    if (done) {
        set_depths(policy, entries);
        number_levels(policy, entries, fresh);
        for (uint32_t i = 0; i < count; i++) {
            nodes[i] = policy->nodes[entries[i].old];
            if (nodes[i].parent < entries[i].old)
                nodes[i].parent = fresh[nodes[i].parent];
        }
        hak_policy_node *old = policy->nodes;
        policy->nodes = nodes;
        nodes = old;
    }
    free(entries);
    free(fresh);
    free(nodes);
    return done;
}

/* ---- compiled form ---- */

typedef struct sink {
    uint8_t *bytes; /* NULL: only measure */
    size_t len_bytes;
} sink;

static hak_policy_part put_part(sink *out, const void *entries, size_t entry_bytes, size_t count)
{
    if (count == 0)
        return (hak_policy_part){0, 0};
    out->len_bytes = hak_align_up(out->len_bytes, 8);
    hak_policy_part part = {(uint32_t)out->len_bytes, (uint32_t)count};
    if (out->bytes != NULL)
        memcpy(out->bytes + out->len_bytes, entries, entry_bytes * count);
    out->len_bytes += entry_bytes * count;
    return part;
}

static size_t text_bytes(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

/* The modules' records with their path offsets, and the paths. */
static bool pack_modules(const hak_policy *policy, hak_policy_module *modules, char **strings,
                         size_t *strings_bytes)
{
    *strings_bytes = 0;
    for (uint32_t i = 0; i < policy->module_count; i++)
        *strings_bytes += strlen(policy->module_paths[i]) + 1;
    *strings = malloc(*strings_bytes + 1);
    if (*strings == NULL)
        return false;
    size_t at = 0;
    for (uint32_t i = 0; i < policy->module_count; i++) {
        modules[i] = policy->modules[i];
        modules[i].path = (uint32_t)at;
        size_t len_bytes = strlen(policy->module_paths[i]) + 1;
        memcpy(*strings + at, policy->module_paths[i], len_bytes);
        at += len_bytes;
    }
    return true;
}

static void put_all(sink *out, const hak_policy *policy, const hak_policy_module *modules,
                    const char *strings, size_t strings_bytes)
{
    hak_policy_header h = {
        .version = HAK_POLICY_VERSION, .state = policy->state, .created_unix_s = policy->created_unix_s};
    hak_policy_setting knobs[HAK_POLICY_MAX_SETTINGS];
    uint32_t knob_count = 0;
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++) {
        if (policy->knob_set[i])
            knobs[knob_count++] = (hak_policy_setting){.knob = i, .value = policy->knobs[i]};
        for (uint32_t k = 0; k < policy->cache_count; k++) {
            const hak_policy_cache *c = &policy->caches[k];
            uint32_t value = i == HAK_KNOB_TINY_CACHE_COUNT    ? c->keep_count
                             : i == HAK_KNOB_TINY_REFILL_COUNT ? c->refill_count
                                                               : 0;
            if (value != 0)
                knobs[knob_count++] =
                    (hak_policy_setting){.knob = i, .class_bytes = c->class_bytes, .value = value};
        }
    }
    memcpy(h.magic, HAK_POLICY_MAGIC, sizeof h.magic);
    out->len_bytes = sizeof h;
    h.program = put_part(out, policy->program, 1, text_bytes(policy->program));
    h.knobs = put_part(out, knobs, sizeof knobs[0], knob_count);
    h.classes = put_part(out, policy->classes, sizeof policy->classes[0], policy->class_count);
    h.gate = put_part(out, policy->gate, sizeof *policy->gate, policy->gate_count);
    h.modules = put_part(out, modules, sizeof modules[0], policy->module_count);
    h.nodes = put_part(out, policy->nodes, sizeof policy->nodes[0], policy->node_count);
    h.strings = put_part(out, strings, 1, strings_bytes);
    h.evidence = put_part(out, policy->evidence, 1, text_bytes(policy->evidence));
    if (out->bytes == NULL)
        return;
    h.size_bytes = (uint32_t)out->len_bytes;
    memcpy(out->bytes, &h, sizeof h);
    h.crc32 = hak_crc32(0, out->bytes + offsetof(hak_policy_header, state),
                        out->len_bytes - offsetof(hak_policy_header, state));
    memcpy(out->bytes, &h, sizeof h);
}

void *hak_policy_encode(const hak_policy *policy, size_t *len_bytes, hak_policy_error *error)
{
    hak_policy_module modules[HAK_POLICY_MAX_MODULES];
    char *strings;
    size_t strings_bytes;
    if (!pack_modules(policy, modules, &strings, &strings_bytes)) {
        hak_policy_fail(error, 0, "out of memory");
        return NULL;
    }
    sink out = {NULL, 0};
    put_all(&out, policy, modules, strings, strings_bytes);
    if (out.len_bytes > HAK_POLICY_MAX_BYTES) {
        hak_policy_fail(error, 0, "larger than 16 MiB");
    } else if ((out.bytes = calloc(1, out.len_bytes)) == NULL) {
        hak_policy_fail(error, 0, "out of memory");
    } else {
        put_all(&out, policy, modules, strings, strings_bytes);
        const char *wrong = hak_policy_check(out.bytes, out.len_bytes);
        if (wrong != NULL) {
            hak_policy_fail(error, 0, "%s", wrong);
            free(out.bytes);
            out.bytes = NULL;
        }
    }
    free(strings);
    *len_bytes = out.len_bytes;
    return out.bytes;
}

static char *text_of(const uint8_t *bytes, hak_policy_part part)
{
    return part.count != 0 ? strndup((const char *)bytes + part.offset, part.count) : NULL;
}

static bool take_all(hak_policy *policy, const uint8_t *bytes, const hak_policy_header *h)
{
    policy->state = h->state;
    policy->created_unix_s = h->created_unix_s;
    policy->program = text_of(bytes, h->program);
    policy->evidence = text_of(bytes, h->evidence);
    const hak_policy_setting *knobs = (const void *)(bytes + h->knobs.offset);
    for (uint32_t i = 0; i < h->knobs.count; i++) {
        if (knobs[i].class_bytes != 0) {
            hak_policy_cache *c = hak_policy_add_cache(policy, knobs[i].class_bytes);
            if (c == NULL)
                return false;
            *(knobs[i].knob == HAK_KNOB_TINY_CACHE_COUNT ? &c->keep_count : &c->refill_count) =
                (uint32_t)knobs[i].value;
            continue;
        }
        int64_t value = knobs[i].value;
        policy->knob_set[knobs[i].knob] = hak_knob_accept((hak_knob)knobs[i].knob, &value);
        policy->knobs[knobs[i].knob] = value;
    }
    policy->class_count = h->classes.count;
    memcpy(policy->classes, bytes + h->classes.offset, h->classes.count * sizeof(uint32_t));
    const uint32_t(*gate)[2] = (const void *)(bytes + h->gate.offset);
    for (uint32_t i = 0; i < h->gate.count; i++)
        if (!hak_policy_add_gate(policy, gate[i][0], gate[i][1]))
            return false;
    const hak_policy_module *modules = (const void *)(bytes + h->modules.offset);
    for (uint32_t i = 0; i < h->modules.count; i++)
        if (hak_policy_add_module(policy, &modules[i],
                                  (const char *)bytes + h->strings.offset + modules[i].path) == UINT32_MAX)
            return false;
    const hak_policy_node *nodes = (const void *)(bytes + h->nodes.offset);
    for (uint32_t i = 0; i < h->nodes.count; i++)
        if (hak_policy_add_node(policy, &nodes[i]) == UINT32_MAX)
            return false;
    return true;
}

int hak_policy_decode(const void *bytes, size_t len_bytes, hak_policy *policy, hak_policy_error *error)
{
    hak_policy_init(policy);
    const char *wrong = hak_policy_check(bytes, len_bytes);
    if (wrong == NULL && !take_all(policy, bytes, bytes))
        wrong = "out of memory";
    if (wrong == NULL)
        return 0;
    hak_policy_clear(policy);
    hak_policy_fail(error, 0, "%s", wrong);
    return -1;
}

/* ---- files ---- */

/* Whole content, malloc'ed (so aligned for hak_policy_check); NULL with *error filled. */
static char *read_file(const char *path, size_t *len_bytes, hak_policy_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        hak_policy_fail(error, 0, "%s", strerror(errno));
        return NULL;
    }
    struct stat info;
    char *bytes = NULL;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        hak_policy_fail(error, 0, "not a regular file");
    } else if (info.st_size > (off_t)HAK_POLICY_TEXT_MAX_BYTES) {
        hak_policy_fail(error, 0, "too large for a policy");
    } else if ((bytes = malloc((size_t)info.st_size + 1)) == NULL) {
        hak_policy_fail(error, 0, "out of memory");
    } else {
        size_t done = 0;
        ssize_t n;
        while (done < (size_t)info.st_size && (n = read(fd, bytes + done, (size_t)info.st_size - done)) > 0)
            done += (size_t)n;
        *len_bytes = done;
    }
    close(fd);
    return bytes;
}

int hak_policy_read(const char *path, hak_policy *policy, hak_policy_error *error)
{
    size_t len_bytes;
    hak_policy_init(policy);
    char *bytes = read_file(path, &len_bytes, error);
    if (bytes == NULL)
        return -1;
    bool binary = len_bytes >= 6 && memcmp(bytes, HAK_POLICY_MAGIC, 6) == 0; /* "HAKPOL" of any version */
    int result = binary ? hak_policy_decode(bytes, len_bytes, policy, error)
                        : hak_policy_parse(bytes, len_bytes, policy, error);
    free(bytes);
    return result;
}

static int write_to(FILE *out, const hak_policy *policy, bool text, hak_policy_error *error)
{
    if (text)
        return hak_policy_print(policy, out);
    size_t len_bytes;
    void *bytes = hak_policy_encode(policy, &len_bytes, error);
    if (bytes == NULL)
        return -1;
    int result = fwrite(bytes, 1, len_bytes, out) == len_bytes ? 0 : -1;
    free(bytes);
    return result;
}

int hak_policy_write(const hak_policy *policy, const char *path, bool text, hak_policy_error *error)
{
    int result = -1;
    size_t name_bytes = strlen(path) + 32;
    char *name = malloc(name_bytes);
    if (name == NULL) {
        hak_policy_fail(error, 0, "out of memory");
        return -1;
    }
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) { /* renamed over, a device would be lost */
        hak_policy_fail(error, 0, "exists and is not a regular file");
        goto named;
    }
    snprintf(name, name_bytes, "%s.part-%ld", path, (long)getpid());
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    FILE *out = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (out == NULL) {
        hak_policy_fail(error, 0, "%s", strerror(errno));
        if (fd >= 0) {
            close(fd);
            unlink(name);
        }
        goto named;
    }
    error->text[0] = 0;
    errno = 0;
    result = write_to(out, policy, text, error);
    if (fclose(out) != 0)
        result = -1;
    if (result == 0 && rename(name, path) != 0)
        result = -1;
    if (result != 0) {
        if (error->text[0] == 0)
            hak_policy_fail(error, 0, "cannot be written: %s", strerror(errno));
        unlink(name);
    }
named:
    free(name);
    return result;
}
