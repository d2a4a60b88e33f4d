/* policy_sites.c: the policy's sites where they are in this process: a hash table (return address, parent) ->
 * what is decided there, for the places where the policy's modules are loaded.
 *
 * Never allocates from malloc, never follows a pointer from the file, never takes a lock on a lookup.
 * Lookups: any thread, signal handlers included. Rebuilding is tried, not waited for: who does not get the
 * flag looks up in the table as it is. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/base/print.h"
#include "core/callsite/memo.h"
#include "core/heap.h"
#include "core/policy.h"
#include "core/policy_modules.h"
#include "hakmem.h"

#define VERIFY_PERIOD   1024 /* lookups between two checks that a module is still the same build */
#define STALE_LIMIT_PPM 400000
#define MAX_SLOTS       (4u * HAK_POLICY_MAX_NODES)
#define SITE_BY_SP      0x80 /* in hak_site.flags: the row goes by SP, and no row further out asks for BP */
#define STRANGERS       256  /* return addresses known to have no site; power of two */

_Static_assert(sizeof(hak_site) == 32, "two to a cache line");

/* Immutable once published. Tables that differ in modules the policy does not speak of share their slots. */
typedef struct table {
    uint32_t mask;
    uint32_t place_count;
    const hak_site *slots;
    hak_mapping places[]; /* ascending by start */
} table;

static struct {
    const hak_policy_header *header; /* NULL: no policy */
    const uint8_t *bytes;
    const hak_policy_node *nodes;
    hak_site *of_node;            /* every node's, without an address */
    _Atomic(const table *) table; /* NULL: no site decides here */
    atomic_bool rebuilding;
    atomic_bool full;    /* no memory for another table: keep looking up in the last one */
    size_t tables_bytes; /* with `rebuilding` held */
    uint32_t stale_ppm;
    _Atomic uint32_t resolved_ppm;
} policy;

/* Addresses that lie in a known place and have no site: the common way to find nothing, in one load. */
static _Atomic uintptr_t strangers[STRANGERS];
static const hak_site unknown = {.node = HAK_SITE_NONE, .counter = HAK_COUNT_POLICY_UNKNOWN};

static HAK_TLS_IE uint32_t lookups_until_verify;
static HAK_TLS_IE const uint32_t *replayed_site; /* a node's number plus one; see hakmem_replay_site */

/* ---- places to table ---- */

HAK_INLINE uint32_t slot_of(uintptr_t pc, uint32_t parent, uint32_t mask)
{
    uint64_t key = ((uint64_t)pc ^ ((uint64_t)parent << 40)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(key >> 32) & mask;
}

static void put(hak_site *slots, uint32_t mask, hak_site fresh)
{
    uint32_t at = slot_of(fresh.pc, fresh.parent, mask);
    while (slots[at].pc != 0) {
        if (slots[at].pc == fresh.pc && slots[at].parent == fresh.parent)
            return;
        at = (at + 1) & mask;
    }
    slots[at] = fresh;
}

/* Nodes that the places give an address, at most MAX_SLOTS. */
static uint32_t count_slots(const hak_mapping_list *list)
{
    uint32_t copies[HAK_POLICY_MAX_MODULES] = {0};
    for (uint32_t i = 0; i < list->count; i++)
        if (list->places[i].module != HAK_MAPPING_FOREIGN)
            copies[list->places[i].module]++;
    uint64_t count = 0;
    for (uint32_t i = 0; i < policy.header->nodes.count; i++)
        count += copies[policy.nodes[i].module];
    return count < MAX_SLOTS ? (uint32_t)count : MAX_SLOTS;
}

/* Memory that stays until exit; NULL when the budget or the machine has no more. */
static void *keep(size_t size_bytes)
{
    size_bytes = hak_align_up(size_bytes, HAK_OS_PAGE_BYTES);
    if (policy.tables_bytes + size_bytes > HAK_POLICY_TABLES_MAX_BYTES)
        return NULL;
    void *at = hak_os_map(size_bytes, HAK_OS_PAGE_BYTES);
    if (at != NULL)
        policy.tables_bytes += size_bytes;
    return at;
}

static const hak_site *build_slots(const hak_mapping_list *list, uint32_t *mask)
{
    uint32_t left = count_slots(list);
    uint32_t capacity = 1u << hak_log2_ceil(4 * (uint64_t)left + 16);
    hak_site *slots = keep(capacity * sizeof *slots);
    if (slots == NULL)
        return NULL;
    *mask = capacity - 1;
    for (uint32_t p = 0; p < list->count; p++) {
        const hak_mapping *place = &list->places[p];
        if (place->module == HAK_MAPPING_FOREIGN)
            continue;
        for (uint32_t i = 0; i < policy.header->nodes.count && left > 0; i++) {
            const hak_policy_node *node = &policy.nodes[i];
            if (node->module != place->module)
                continue;
            hak_site fresh = policy.of_node[i];
            fresh.pc = place->bias + node->offset;
            put(slots, *mask, fresh);
            left--;
        }
    }
    return slots;
}

static uint32_t share_ppm(const bool *wanted)
{
    const hak_policy_module *modules = (const void *)(policy.bytes + policy.header->modules.offset);
    uint64_t sum = 0, all = 0;
    for (uint32_t i = 0; i < policy.header->modules.count; i++) {
        all += modules[i].weight;
        if (wanted[i])
            sum += modules[i].weight;
    }
    return all == 0 ? (policy.header->modules.count == 0 ? 1000000 : 0) : (uint32_t)(sum * 1000000 / all);
}

static void sort_places(hak_mapping_list *list)
{
    for (uint32_t i = 1; i < list->count; i++) {
        hak_mapping fresh = list->places[i];
        uint32_t k = i;
        for (; k > 0 && list->places[k - 1].start > fresh.start; k--)
            list->places[k] = list->places[k - 1];
        list->places[k] = fresh;
    }
}

/* Needs the rebuilding flag. `same`: a table whose slots serve these places too, or NULL. */
static void publish(hak_mapping_list *list, const table *same)
{
    bool resolved[HAK_POLICY_MAX_MODULES] = {false};
    for (uint32_t i = 0; i < list->count; i++)
        if (list->places[i].module != HAK_MAPPING_FOREIGN)
            resolved[list->places[i].module] = true;
    sort_places(list);
    table *t = keep(sizeof *t + list->count * sizeof list->places[0]);
    if (t != NULL) {
        t->place_count = list->count;
        memcpy(t->places, list->places, list->count * sizeof list->places[0]);
        t->mask = same != NULL ? same->mask : 0;
        t->slots = same != NULL ? same->slots : build_slots(list, &t->mask);
    }
    if (t == NULL || t->slots == NULL) {
        atomic_store_explicit(&policy.full, true, memory_order_relaxed);
        return;
    }
    atomic_store_explicit(&policy.resolved_ppm, share_ppm(resolved), memory_order_relaxed);
    /* release: pairs with the acquire in hak_policy_find; the slots are written before they are found */
    atomic_store_explicit(&policy.table, t, memory_order_release);
    for (unsigned i = 0; i < STRANGERS; i++)
        atomic_store_explicit(&strangers[i], 0, memory_order_relaxed);
}

static bool rebuild_begin(void)
{
    return !atomic_exchange_explicit(&policy.rebuilding, true, memory_order_acquire);
}

static void rebuild_end(void)
{
    atomic_store_explicit(&policy.rebuilding, false, memory_order_release); /* pairs with rebuild_begin */
}

static hak_modules_view modules_view(void)
{
    return (hak_modules_view){
        .modules = (const void *)(policy.bytes + policy.header->modules.offset),
        .count = policy.header->modules.count,
        .strings = (const char *)policy.bytes + policy.header->strings.offset,
    };
}

static void say_stale(uint32_t stale_ppm)
{
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem: policy: ");
    hak_out_u64(&out, stale_ppm / 10000);
    hak_out_text(&out, "% of it was learned on other builds of the loaded modules; only its global settings "
                       "apply (train it again)\n");
    hak_out_flush(&out);
}

/* First look, at start: everything that is loaded. */
static void relocate_all(bool first)
{
    hak_mapping_list *list = hak_os_map(HAK_MAPPING_LIST_BYTES, HAK_OS_PAGE_BYTES);
    if (list == NULL)
        return;
    bool stale[HAK_POLICY_MAX_MODULES] = {false};
    hak_modules_view view = modules_view();
    hak_places_all(&view, list, stale);
    if (first) {
        policy.stale_ppm = share_ppm(stale);
        if (policy.stale_ppm > STALE_LIMIT_PPM)
            say_stale(policy.stale_ppm);
    }
    if (policy.stale_ppm <= STALE_LIMIT_PPM)
        publish(list, NULL);
    hak_os_unmap(list, HAK_MAPPING_LIST_BYTES);
}

/* The places of `old` that `fresh` does not overlap, and `fresh`. True when the slots stay as they are. */
static bool replace_place(hak_mapping_list *list, const table *old, const hak_mapping *fresh)
{
    bool same = fresh->module == HAK_MAPPING_FOREIGN;
    for (uint32_t i = 0; i < old->place_count && list->count < HAK_MAPPING_MAX - 1; i++) {
        const hak_mapping *place = &old->places[i];
        if (place->end <= fresh->start || place->start >= fresh->end)
            list->places[list->count++] = *place;
        else if (place->module != HAK_MAPPING_FOREIGN)
            same = false;
    }
    list->places[list->count++] = *fresh;
    return same;
}

/* pc lies in no place we know, or in one that holds another build now. */
static HAK_COLD void learn_place(uintptr_t pc)
{
    int saved = errno;
    hak_mapping fresh;
    hak_modules_view view = modules_view();
    if (atomic_load_explicit(&policy.full, memory_order_relaxed) || !hak_place_of(&view, pc, &fresh) ||
        !rebuild_begin())
        return;
    const table *old = atomic_load_explicit(&policy.table, memory_order_acquire); /* pairs with publish */
    hak_mapping_list *list = hak_os_map(HAK_MAPPING_LIST_BYTES, HAK_OS_PAGE_BYTES);
    if (list != NULL) {
        bool same = replace_place(list, old, &fresh);
        publish(list, same ? old : NULL);
        hak_os_unmap(list, HAK_MAPPING_LIST_BYTES);
    }
    rebuild_end();
    errno = saved;
}

static const hak_mapping *place_holding(const table *t, uintptr_t pc)
{
    uint32_t low = 0, high = t->place_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (t->places[middle].end <= pc)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->place_count && pc >= t->places[low].start ? &t->places[low] : NULL;
}

static HAK_COLD void verify_place(const table *t, uintptr_t pc)
{
    lookups_until_verify = VERIFY_PERIOD;
    const hak_mapping *place = place_holding(t, pc);
    if (place == NULL || !hak_place_still_holds(place))
        learn_place(pc);
}

/* No site begins at pc: is it new code, or does this policy not decide there? */
static HAK_NOINLINE const hak_site *stranger(const table *t, uintptr_t pc)
{
    _Atomic uintptr_t *cell = &strangers[pc / 2 % STRANGERS];
    if (HAK_UNLIKELY(atomic_load_explicit(cell, memory_order_relaxed) != pc)) {
        if (place_holding(t, pc) == NULL)
            learn_place(pc);
        atomic_store_explicit(cell, pc, memory_order_relaxed);
    }
    return &unknown;
}

/* One step up, as hak_frame_up does it, for the common row: no BP is asked for further out. */
HAK_INLINE bool step_by_sp(hak_frame *frame, hak_frame_row row, uintptr_t stack_high)
{
    uintptr_t cfa = frame->sp + (uintptr_t)(intptr_t)row.cfa_offset;
    if (HAK_UNLIKELY(cfa <= frame->sp || cfa > stack_high || (cfa & 7) != 0))
        return false;
    frame->pc = *(const uintptr_t *)(cfa - 8);
    frame->sp = cfa;
    return true;
}

HAK_INLINE const hak_site *child_of(const table *t, uintptr_t pc, uint32_t parent)
{
    uint32_t at = slot_of(pc, parent, t->mask);
    const hak_site *site = &t->slots[at];
    while (HAK_UNLIKELY(site->pc != pc || site->parent != parent)) {
        if (site->pc == 0)
            return NULL;
        at = (at + 1) & t->mask;
        site = &t->slots[at];
    }
    return site;
}

static void path_add(hak_policy_path *path, uintptr_t distance_bytes, uintptr_t pc)
{
    if (path->count == HAK_RECALL_WORDS || distance_bytes / 8 > UINT16_MAX || distance_bytes % 8 != 0) {
        path->fixed = false;
        return;
    }
    path->at[path->count] = (uint16_t)(distance_bytes / 8);
    path->pcs[path->count++] = (uint32_t)pc;
}

/* A replay's calls all come from one loop, which says where they came from when they were recorded: at a
 * place that is remembered like a return address, so that a replay costs what a program does. */
static HAK_NOINLINE const hak_site *replayed(hak_frame frame, hak_policy_path *path)
{
    uint32_t site = *replayed_site;
    path_add(path, (uintptr_t)replayed_site - frame.sp, site);
    return site == 0 || policy.header == NULL || site > policy.header->nodes.count
               ? &unknown
               : &policy.of_node[site - 1];
}

static const hak_site *find_deeper(const table *t, const hak_site *found, hak_frame frame,
                                   hak_policy_path *path)
{
    uintptr_t sp = frame.sp;
    hak_stack stack = hak_stack_of(sp);
    for (unsigned depth = 1; depth < HAK_POLICY_MAX_DEPTH; depth++) {
        bool stepped = HAK_LIKELY((found->flags & SITE_BY_SP) != 0)
                           ? step_by_sp(&frame, found->row, stack.high)
                           : hak_frame_up(&frame, found->row, stack);
        if (HAK_UNLIKELY(!stepped)) {
            path->fixed = false; /* the stack's bounds may not be known yet */
            break;
        }
        path_add(path, frame.sp - 8 - sp, frame.pc);
        const hak_site *site = child_of(t, frame.pc, found->node);
        if (site == NULL)
            break;
        found = site;
        if ((site->flags & HAK_NODE_DEEPER) == 0)
            break;
    }
    return found;
}

const hak_site *hak_policy_find(hak_frame frame, hak_policy_path *path)
{
    hak_policy_path unwanted;
    path = path != NULL ? path : &unwanted;
    path->fixed = true;
    path->count = 0;
    if (HAK_UNLIKELY(replayed_site != NULL))
        return replayed(frame, path);
    /* acquire: pairs with the release in publish */
    const table *t = atomic_load_explicit(&policy.table, memory_order_acquire);
    if (HAK_UNLIKELY(t == NULL))
        return &unknown;
    const hak_site *site = child_of(t, frame.pc, HAK_POLICY_ROOT);
    if (HAK_UNLIKELY(site == NULL))
        return stranger(t, frame.pc);
    return (site->flags & HAK_NODE_DEEPER) == 0 ? site : find_deeper(t, site, frame, path);
}

const hak_site *hak_policy_find_checked(hak_frame frame, hak_policy_path *path)
{
    const table *t = atomic_load_explicit(&policy.table, memory_order_acquire);
    if (t != NULL && HAK_UNLIKELY(lookups_until_verify-- == 0))
        verify_place(t, frame.pc);
    return hak_policy_find(frame, path);
}

HAK_EXPORT void hakmem_replay_site(const uint32_t *place)
{
    replayed_site = place;
}

const hak_policy_node *hak_policy_node_at(uint32_t site)
{
    return &policy.nodes[site];
}

/* What a node says, as the allocator wants it. */
static hak_site site_from(const hak_policy_node *node, uint32_t index)
{
    hak_site site = {.parent = node->parent,
                     .node = index,
                     .row = node->row,
                     .flags = node->flags,
                     .lifetime = node->lifetime,
                     .place = HAK_PLACE_DEFAULT,
                     .counter = HAK_COUNT_POLICY_KNOWN};
    if ((node->flags & HAK_NODE_REMOTE_FREED) != 0) {
        site.place = HAK_PLACE_REMOTE;
        site.counter = HAK_COUNT_POLICY_REMOTE;
    } else if (node->lifetime != HAK_LIFETIME_DEFAULT) {
        bool brief = node->lifetime == HAK_LIFETIME_SHORT;
        site.place = brief ? HAK_PLACE_SHORT : HAK_PLACE_LONG;
        site.counter = brief ? HAK_COUNT_POLICY_SHORT : HAK_COUNT_POLICY_LONG;
    }
    return site;
}

/* Children follow their parents, so one pass from the end sees a node's descendants before it. */
static void mark_by_sp(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        policy.of_node[i].flags |= policy.nodes[i].row.kind == HAK_FRAME_SP ? SITE_BY_SP : 0;
    for (uint32_t i = count; i-- > 0;) {
        uint32_t parent = policy.nodes[i].parent;
        if (parent != HAK_POLICY_ROOT && (policy.nodes[i].flags & HAK_NODE_DEEPER) != 0 &&
            (policy.of_node[i].flags & SITE_BY_SP) == 0)
            policy.of_node[parent].flags &= (uint8_t)~SITE_BY_SP;
    }
}

bool hak_policy_sites_open(const uint8_t *bytes)
{
    const hak_policy_header *header = (const void *)bytes;
    policy.bytes = bytes;
    policy.nodes = (const void *)(bytes + header->nodes.offset);
    policy.resolved_ppm = header->nodes.count == 0 ? 1000000 : 0;
    if (header->nodes.count == 0)
        return true;
    policy.of_node = keep(header->nodes.count * sizeof *policy.of_node);
    if (policy.of_node == NULL)
        return false;
    for (uint32_t i = 0; i < header->nodes.count; i++)
        policy.of_node[i] = site_from(&policy.nodes[i], i);
    mark_by_sp(header->nodes.count);
    policy.header = header;
    relocate_all(true);
    return true;
}

void hak_policy_relocate(void)
{
    if (policy.header == NULL || policy.header->nodes.count == 0 || !rebuild_begin())
        return;
    relocate_all(false);
    rebuild_end();
}

bool hak_policy_sites_stale(void)
{
    return policy.stale_ppm > STALE_LIMIT_PPM;
}

uint32_t hak_policy_resolved_ppm(void)
{
    return atomic_load_explicit(&policy.resolved_ppm, memory_order_relaxed);
}
