/* policy.c: the policy of this process. One reader's copy of the file in read-only memory, and a hash table
 * (return address, parent) -> node for the places where its modules are loaded.
 *
 * Never allocates from malloc, never follows a pointer from the file, never takes a lock on a lookup.
 * Lookups: any thread, signal handlers included. hak_policy_open: one thread. Rebuilding is tried, not waited
 * for: who does not get the flag looks up in the table as it is. */
#include "core/policy.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/base/print.h"
#include "core/policy_modules.h"
#include "hakmem.h"

#define VERIFY_PERIOD   1024 /* lookups between two checks that a module is still the same build */
#define STALE_LIMIT_PPM 400000
#define MAX_SLOTS       (4u * HAK_POLICY_MAX_NODES)

typedef struct slot {
    uintptr_t pc; /* 0: empty */
    uint32_t parent;
    uint32_t node;
} slot;

/* Immutable once published. Tables that differ in modules the policy does not speak of share their slots. */
typedef struct table {
    uint32_t mask;
    uint32_t place_count;
    const slot *slots;
    hak_place places[]; /* ascending by start */
} table;

static struct {
    const hak_policy_header *header; /* NULL: no policy */
    const uint8_t *bytes;
    const hak_policy_node *nodes;
    _Atomic(const table *) table; /* NULL: no site decides here */
    atomic_bool rebuilding;
    atomic_bool full;    /* no memory for another table: keep looking up in the last one */
    size_t tables_bytes; /* with `rebuilding` held */
    uint32_t stale_ppm;
    _Atomic uint32_t resolved_ppm;
} policy;

static HAK_TLS_IE uint32_t lookups_until_verify;
static HAK_TLS_IE uint32_t replayed_site; /* a node's number plus one; see hakmem_replay_site */

/* ---- the file ---- */

static const char *read_whole(int fd, uint8_t *bytes, size_t len_bytes)
{
    size_t done = 0;
    while (done < len_bytes) {
        ssize_t n = read(fd, bytes + done, len_bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return "cannot be read";
        done += (size_t)n;
    }
    return NULL;
}

static const char *load_fd(int fd, const uint8_t **bytes)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return "not a regular file";
    if (info.st_size < (off_t)sizeof(hak_policy_header))
        return "too short to be a policy";
    if (info.st_size > (off_t)HAK_POLICY_MAX_BYTES)
        return "larger than 16 MiB";
    size_t len_bytes = (size_t)info.st_size;
    size_t map_bytes = hak_align_up(len_bytes, HAK_OS_PAGE_BYTES);
    uint8_t *map = hak_os_map(map_bytes, HAK_OS_PAGE_BYTES);
    if (map == NULL)
        return "no memory for it";
    const char *wrong = read_whole(fd, map, len_bytes);
    if (wrong == NULL)
        wrong = hak_policy_check(map, len_bytes);
    if (wrong != NULL) {
        hak_os_unmap(map, map_bytes);
        return wrong;
    }
    mprotect(map, map_bytes, PROT_READ); /* where refused it is only less protected from our own bugs */
    *bytes = map;
    return NULL;
}

static const char *load_path(const char *path, const uint8_t **bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT  ? "no such file"
               : errno == ELOOP ? "a symbolic link; name the file itself"
                                : "cannot be opened";
    const char *wrong = load_fd(fd, bytes);
    close(fd);
    return wrong;
}

static bool canary_selects(void)
{
    uint64_t draw = hak_mix64((uint64_t)getpid() ^ hak_os_monotonic_ns() << 20);
    return draw % 100 < HAK_POLICY_CANARY_PERCENT;
}

/* ---- places to table ---- */

static uint32_t slot_of(uintptr_t pc, uint32_t parent, uint32_t mask)
{
    uint64_t key = ((uint64_t)pc ^ ((uint64_t)parent << 40)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(key >> 32) & mask;
}

static void put(slot *slots, uint32_t mask, slot fresh)
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
static uint32_t count_slots(const hak_place_list *list)
{
    uint32_t copies[HAK_POLICY_MAX_MODULES] = {0};
    for (uint32_t i = 0; i < list->count; i++)
        if (list->places[i].module != HAK_PLACE_FOREIGN)
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

static const slot *build_slots(const hak_place_list *list, uint32_t *mask)
{
    uint32_t left = count_slots(list);
    uint32_t capacity = 1u << hak_log2_ceil(2 * (uint64_t)left + 2);
    slot *slots = keep(capacity * sizeof *slots);
    if (slots == NULL)
        return NULL;
    *mask = capacity - 1;
    for (uint32_t p = 0; p < list->count; p++) {
        const hak_place *place = &list->places[p];
        if (place->module == HAK_PLACE_FOREIGN)
            continue;
        for (uint32_t i = 0; i < policy.header->nodes.count && left > 0; i++) {
            const hak_policy_node *node = &policy.nodes[i];
            if (node->module != place->module)
                continue;
            put(slots, *mask, (slot){place->bias + node->offset, node->parent, i});
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

static void sort_places(hak_place_list *list)
{
    for (uint32_t i = 1; i < list->count; i++) {
        hak_place fresh = list->places[i];
        uint32_t k = i;
        for (; k > 0 && list->places[k - 1].start > fresh.start; k--)
            list->places[k] = list->places[k - 1];
        list->places[k] = fresh;
    }
}

/* Needs the rebuilding flag. `same`: a table whose slots serve these places too, or NULL. */
static void publish(hak_place_list *list, const table *same)
{
    bool resolved[HAK_POLICY_MAX_MODULES] = {false};
    for (uint32_t i = 0; i < list->count; i++)
        if (list->places[i].module != HAK_PLACE_FOREIGN)
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
    /* release: pairs with the acquire in hak_policy_lookup; the slots are written before they are found */
    atomic_store_explicit(&policy.table, t, memory_order_release);
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
    hak_place_list *list = hak_os_map(HAK_PLACE_LIST_BYTES, HAK_OS_PAGE_BYTES);
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
    hak_os_unmap(list, HAK_PLACE_LIST_BYTES);
}

/* The places of `old` that `fresh` does not overlap, and `fresh`. True when the slots stay as they are. */
static bool replace_place(hak_place_list *list, const table *old, const hak_place *fresh)
{
    bool same = fresh->module == HAK_PLACE_FOREIGN;
    for (uint32_t i = 0; i < old->place_count && list->count < HAK_PLACE_MAX - 1; i++) {
        const hak_place *place = &old->places[i];
        if (place->end <= fresh->start || place->start >= fresh->end)
            list->places[list->count++] = *place;
        else if (place->module != HAK_PLACE_FOREIGN)
            same = false;
    }
    list->places[list->count++] = *fresh;
    return same;
}

/* pc lies in no place we know, or in one that holds another build now. */
static HAK_COLD void learn_place(uintptr_t pc)
{
    int saved = errno;
    hak_place fresh;
    hak_modules_view view = modules_view();
    if (atomic_load_explicit(&policy.full, memory_order_relaxed) || !hak_place_of(&view, pc, &fresh) ||
        !rebuild_begin())
        return;
    const table *old = atomic_load_explicit(&policy.table, memory_order_acquire); /* pairs with publish */
    hak_place_list *list = hak_os_map(HAK_PLACE_LIST_BYTES, HAK_OS_PAGE_BYTES);
    if (list != NULL) {
        bool same = replace_place(list, old, &fresh);
        publish(list, same ? old : NULL);
        hak_os_unmap(list, HAK_PLACE_LIST_BYTES);
    }
    rebuild_end();
    errno = saved;
}

static const hak_place *place_holding(const table *t, uintptr_t pc)
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
    const hak_place *place = place_holding(t, pc);
    if (place == NULL || !hak_place_still_holds(place))
        learn_place(pc);
}

/* ---- public ---- */

const char *hak_policy_open(const char *path)
{
    if (getauxval(AT_SECURE) != 0)
        return "ignored: the program runs with raised privileges";
    const uint8_t *bytes;
    const char *wrong = load_path(path, &bytes);
    if (wrong != NULL)
        return wrong;
    const hak_policy_header *header = (const void *)bytes;
    if (header->state == HAK_STATE_LEARN)
        return "still learning: freeze it first (hakmem-policy state frozen)";
    if (header->state == HAK_STATE_RETIRED)
        return "retired";
    if (header->state == HAK_STATE_CANARY && !canary_selects())
        return "";
    policy.bytes = bytes;
    policy.header = header;
    policy.nodes = (const void *)(bytes + header->nodes.offset);
    if (header->nodes.count != 0)
        relocate_all(true);
    else
        policy.resolved_ppm = 1000000;
    return NULL;
}

bool hak_policy_loaded(void)
{
    return policy.header != NULL;
}

bool hak_policy_knob(hak_knob knob, int64_t *value)
{
    if (policy.header == NULL)
        return false;
    const hak_policy_setting *knobs = (const void *)(policy.bytes + policy.header->knobs.offset);
    for (uint32_t i = 0; i < policy.header->knobs.count; i++)
        if (knobs[i].knob == (uint32_t)knob) {
            *value = knobs[i].value;
            return true;
        }
    return false;
}

uint32_t hak_policy_classes(const uint32_t **sizes)
{
    if (policy.header == NULL || policy.header->classes.count == 0)
        return 0;
    *sizes = (const void *)(policy.bytes + policy.header->classes.offset);
    return policy.header->classes.count;
}

bool hak_policy_gate_holds(size_t low_bytes, size_t high_bytes)
{
    if (policy.header == NULL)
        return false;
    const uint32_t(*gate)[2] = (const void *)(policy.bytes + policy.header->gate.offset);
    for (uint32_t i = 0; i < policy.header->gate.count; i++)
        if (gate[i][0] <= high_bytes && gate[i][1] >= low_bytes)
            return true;
    return false;
}

static uint32_t lookup(const table *t, hak_frame frame, hak_stack stack)
{
    if (HAK_UNLIKELY(lookups_until_verify-- == 0))
        verify_place(t, frame.pc);
    uint32_t parent = HAK_POLICY_ROOT;
    for (unsigned depth = 0; depth < HAK_POLICY_MAX_DEPTH; depth++) {
        uint32_t at = slot_of(frame.pc, parent, t->mask);
        while (t->slots[at].pc != frame.pc || t->slots[at].parent != parent) {
            if (HAK_LIKELY(t->slots[at].pc == 0)) {
                if (HAK_UNLIKELY(place_holding(t, frame.pc) == NULL))
                    learn_place(frame.pc);
                return parent;
            }
            at = (at + 1) & t->mask;
        }
        parent = t->slots[at].node;
        if ((policy.nodes[parent].flags & HAK_NODE_DEEPER) == 0 ||
            !hak_frame_up(&frame, policy.nodes[parent].row, stack))
            return parent;
    }
    return parent;
}

uint32_t hak_policy_lookup(hak_frame frame, hak_stack stack)
{
    /* acquire: pairs with the release in publish */
    const table *t = atomic_load_explicit(&policy.table, memory_order_acquire);
    uint32_t site = HAK_LIKELY(t != NULL) ? lookup(t, frame, stack) : HAK_SITE_NONE;
    if (HAK_UNLIKELY(site == HAK_SITE_NONE && replayed_site != 0 && policy.header != NULL &&
                     replayed_site <= policy.header->nodes.count))
        return replayed_site - 1;
    return site;
}

HAK_EXPORT uint32_t *hakmem_replay_site(void)
{
    return &replayed_site;
}

const hak_policy_node *hak_policy_node_at(uint32_t site)
{
    return &policy.nodes[site];
}

void hak_policy_relocate(void)
{
    if (policy.header == NULL || policy.header->nodes.count == 0 || !rebuild_begin())
        return;
    relocate_all(false);
    rebuild_end();
}

uint32_t hak_policy_resolved_ppm(void)
{
    return atomic_load_explicit(&policy.resolved_ppm, memory_order_relaxed);
}
