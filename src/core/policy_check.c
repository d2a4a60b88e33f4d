/* policy_check.c: decides whether a byte string is a policy, before anybody believes a byte of it.
 *
 * Never allocates, never prints, holds no state: any number of threads may check at once. Cost: one pass, and
 * at most HAK_POLICY_MAX_DEPTH steps a node. */
#include "core/policy_format.h"

#include "core/base/wire.h"

#define CRC_START_BYTES offsetof(hak_policy_header, state)
#define PPM             1000000u
#define MAX_TEXT_BYTES  (4 * HAK_MIB) /* evidence, strings */
#define MAX_NAME_BYTES  4096          /* program */
#define MAX_ADDRESS     ((uint64_t)1 << 47)
#define MAX_FRAME_BYTES (64 << 20) /* cfa_offset: no frame is larger */

_Static_assert(sizeof(hak_policy_header) == 96, "the file's layout");
_Static_assert(sizeof(hak_policy_setting) == 16, "the file's layout");
_Static_assert(sizeof(hak_policy_module) == 32, "the file's layout");
_Static_assert(sizeof(hak_policy_node) == 48, "the file's layout");
_Static_assert(CRC_START_BYTES == 20, "the checksum covers all that follows it");

typedef struct view {
    const uint8_t *bytes;
    const hak_policy_header *header;
    size_t len_bytes;
    uint64_t end; /* of the parts checked so far */
} view;

/* Parts follow each other in the header's order, aligned, inside the file. */
static bool part_fits(view *v, hak_policy_part part, size_t entry_bytes, uint32_t max_count)
{
    if (part.count == 0)
        return part.offset == 0;
    uint64_t end = (uint64_t)part.offset + (uint64_t)part.count * entry_bytes;
    if (part.count > max_count || (part.offset & 7) != 0 || part.offset < v->end || end > v->len_bytes)
        return false;
    v->end = end;
    return true;
}

static const char *check_parts(view *v)
{
    const hak_policy_header *h = v->header;
    v->end = sizeof *h;
    if (!part_fits(v, h->program, 1, MAX_NAME_BYTES))
        return "damaged: program name out of bounds";
    if (!part_fits(v, h->knobs, sizeof(hak_policy_setting), HAK_POLICY_MAX_SETTINGS))
        return "damaged: settings out of bounds";
    if (!part_fits(v, h->classes, sizeof(uint32_t), HAK_POLICY_MAX_CLASSES))
        return "damaged: size classes out of bounds";
    if (!part_fits(v, h->gate, 2 * sizeof(uint32_t), HAK_POLICY_MAX_GATE))
        return "damaged: size gate out of bounds";
    if (!part_fits(v, h->modules, sizeof(hak_policy_module), HAK_POLICY_MAX_MODULES))
        return "damaged: modules out of bounds";
    if (!part_fits(v, h->nodes, sizeof(hak_policy_node), HAK_POLICY_MAX_NODES))
        return "damaged: sites out of bounds";
    if (!part_fits(v, h->strings, 1, MAX_TEXT_BYTES))
        return "damaged: strings out of bounds";
    if (!part_fits(v, h->evidence, 1, MAX_TEXT_BYTES))
        return "damaged: evidence out of bounds";
    return NULL;
}

static bool text_is_clean(const uint8_t *text, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (text[i] == 0)
            return false;
    return true;
}

static const char *check_texts(const view *v)
{
    const hak_policy_header *h = v->header;
    if (!text_is_clean(v->bytes + h->program.offset, h->program.count))
        return "damaged: NUL in the program name";
    if (!text_is_clean(v->bytes + h->evidence.offset, h->evidence.count))
        return "damaged: NUL in the evidence";
    if (h->strings.count != 0 && v->bytes[h->strings.offset + h->strings.count - 1] != 0)
        return "damaged: last string is not ended";
    return NULL;
}

/* Of the process, or one that a class may have of its own. */
static bool setting_is_sane(const hak_policy_setting *s)
{
    return s->class_bytes == 0 ||
           ((s->knob == HAK_KNOB_TINY_CACHE_COUNT || s->knob == HAK_KNOB_TINY_REFILL_COUNT) &&
            s->class_bytes % 16 == 0 && s->class_bytes <= HAK_POLICY_MAX_CLASS_BYTES);
}

static bool setting_follows(const hak_policy_setting *a, const hak_policy_setting *b)
{
    return a->knob != b->knob ? a->knob < b->knob : a->class_bytes < b->class_bytes;
}

static const char *check_knobs(const view *v)
{
    const hak_policy_setting *knobs = (const void *)(v->bytes + v->header->knobs.offset);
    for (uint32_t i = 0; i < v->header->knobs.count; i++) {
        if (knobs[i].knob >= HAK_KNOB_COUNT)
            return "sets a setting this version does not know";
        if (!setting_is_sane(&knobs[i]) || (i > 0 && !setting_follows(&knobs[i - 1], &knobs[i])))
            return "damaged: settings out of order";
        int64_t value = knobs[i].value;
        if (!hak_knob_accept((hak_knob)knobs[i].knob, &value))
            return "a setting is outside its limits";
    }
    return NULL;
}

static const char *check_sizes(const view *v)
{
    const uint32_t *classes = (const void *)(v->bytes + v->header->classes.offset);
    for (uint32_t i = 0; i < v->header->classes.count; i++)
        if (classes[i] == 0 || classes[i] % 16 != 0 || classes[i] > HAK_POLICY_MAX_CLASS_BYTES ||
            (i > 0 && classes[i] <= classes[i - 1]))
            return "a size class is not a multiple of 16, above 32768 or out of order";
    const uint32_t(*gate)[2] = (const void *)(v->bytes + v->header->gate.offset);
    for (uint32_t i = 0; i < v->header->gate.count; i++)
        if (gate[i][0] > gate[i][1] || (i > 0 && gate[i][0] <= gate[i - 1][1]))
            return "the size gate is out of order";
    return NULL;
}

static const char *check_modules(const view *v)
{
    const hak_policy_module *modules = (const void *)(v->bytes + v->header->modules.offset);
    for (uint32_t i = 0; i < v->header->modules.count; i++) {
        const hak_policy_module *m = &modules[i];
        if (m->build_id_bytes > sizeof m->build_id || m->reserved[0] != 0 || m->reserved[1] != 0 ||
            m->reserved[2] != 0)
            return "damaged: a module's build-id";
        for (unsigned k = m->build_id_bytes; k < sizeof m->build_id; k++)
            if (m->build_id[k] != 0)
                return "damaged: a module's build-id";
        if (m->path >= v->header->strings.count)
            return "damaged: a module's path is out of bounds";
        if (m->weight > PPM)
            return "damaged: a module's weight";
    }
    return NULL;
}

static bool row_is_sane(const hak_policy_node *node)
{
    if ((node->flags & HAK_NODE_DEEPER) == 0)
        return node->row.kind == 0 && node->row.cfa_offset == 0 && node->row.bp_slot == 0 &&
               node->row.reserved == 0;
    return (node->row.kind == HAK_FRAME_SP || node->row.kind == HAK_FRAME_BP ||
            node->row.kind == HAK_FRAME_BP_DEREF) &&
           node->row.reserved == 0 && node->row.cfa_offset >= -MAX_FRAME_BYTES &&
           node->row.cfa_offset <= MAX_FRAME_BYTES;
}

static const char *check_node(const hak_policy_node *node, const view *v)
{
    if (node->module >= v->header->modules.count || node->offset >= MAX_ADDRESS)
        return "damaged: a site's address is out of bounds";
    if ((node->flags & ~(HAK_NODE_DEEPER | HAK_NODE_REMOTE_FREED)) != 0 ||
        node->lifetime > HAK_LIFETIME_LONG || node->retention > HAK_RETENTION_BATCH ||
        node->thp > HAK_THP_ON || node->reserved[0] != 0 || node->reserved[1] != 0 || node->reserved[2] != 0)
        return "a site holds a decision this version does not know";
    if (node->slack_percent > HAK_POLICY_MAX_SLACK)
        return "a site's realloc slack is above 25%";
    if (node->purity_ppm > PPM)
        return "damaged: a site's purity";
    if (!row_is_sane(node))
        return "damaged: a site's frame row";
    return NULL;
}

/* Breadth first, siblings by (module, offset): parents precede children and no context occurs twice. */
static bool node_follows(const hak_policy_node *a, const hak_policy_node *b)
{
    uint32_t pa = a->parent + 1; /* the root's children first */
    uint32_t pb = b->parent + 1;
    if (pa != pb)
        return pa < pb;
    if (a->module != b->module)
        return a->module < b->module;
    return a->offset < b->offset;
}

static const char *check_nodes(const view *v)
{
    const hak_policy_node *nodes = (const void *)(v->bytes + v->header->nodes.offset);
    for (uint32_t i = 0; i < v->header->nodes.count; i++) {
        const char *wrong = check_node(&nodes[i], v);
        if (wrong != NULL)
            return wrong;
        if (i > 0 && !node_follows(&nodes[i - 1], &nodes[i]))
            return "damaged: sites out of order";
        uint32_t parent = nodes[i].parent;
        if (parent != HAK_POLICY_ROOT && (parent >= i || (nodes[parent].flags & HAK_NODE_DEEPER) == 0))
            return "damaged: a site's parent";
        unsigned depth = 1;
        for (; parent != HAK_POLICY_ROOT; parent = nodes[parent].parent)
            if (++depth > HAK_POLICY_MAX_DEPTH)
                return "a site is deeper than 16 frames";
    }
    return NULL;
}

static const char *check_header(const view *v)
{
    if (v->len_bytes < sizeof *v->header)
        return "too short to be a policy";
    const hak_policy_header *h = v->header;
    if (memcmp(h->magic, HAK_POLICY_MAGIC, sizeof h->magic) != 0)
        return "not a compiled policy (hakmem-policy compile makes one from text)";
    if (h->version != HAK_POLICY_VERSION)
        return "made for another version of hakmem";
    if (v->len_bytes > HAK_POLICY_MAX_BYTES || h->size_bytes != v->len_bytes)
        return "cut off: the length is not the one it states";
    if (hak_crc32(0, v->bytes + CRC_START_BYTES, v->len_bytes - CRC_START_BYTES) != h->crc32)
        return "damaged: the checksum is wrong";
    if (h->state > HAK_STATE_RETIRED)
        return "in a state this version does not know";
    return NULL;
}

const char *hak_policy_check(const void *bytes, size_t len_bytes)
{
    view v = {bytes, bytes, len_bytes, 0};
    const char *wrong = check_header(&v);
    if (wrong == NULL)
        wrong = check_parts(&v);
    if (wrong == NULL)
        wrong = check_texts(&v);
    if (wrong == NULL)
        wrong = check_knobs(&v);
    if (wrong == NULL)
        wrong = check_sizes(&v);
    if (wrong == NULL)
        wrong = check_modules(&v);
    if (wrong == NULL)
        wrong = check_nodes(&v);
    return wrong;
}
