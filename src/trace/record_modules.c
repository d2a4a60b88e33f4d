/* record_modules.c: see record_modules.h. Entries are claimed and given up by compare-and-swap on their
 * start. */
#include "trace/record_modules.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "core/base/bits.h"
#include "trace/record_fork.h"
#include "trace/record_put.h"

#define KNOWN_MAX                                                                                            \
    1024 /* modules at one time; further ones are announced again and again, which the collector bears */

typedef struct known {
    _Atomic uintptr_t start; /* first executable address; 0: unused */
    _Atomic uintptr_t end;
    _Atomic uint32_t round; /* of the last scan that saw it */
} known;

static known table[KNOWN_MAX];
static _Atomic uint32_t round_now;
static uint32_t table_epoch;

typedef struct scan {
    hak_thread *self;
    uint32_t round;
} scan;

static known *find(uintptr_t start)
{
    for (size_t i = 0; i < KNOWN_MAX; i++)
        if (atomic_load_explicit(&table[i].start, memory_order_relaxed) == start)
            return &table[i];
    return NULL;
}

static known *find_pc(uintptr_t pc)
{
    for (size_t i = 0; i < KNOWN_MAX; i++) {
        uintptr_t start = atomic_load_explicit(&table[i].start, memory_order_acquire);
        if (start != 0 && pc >= start && pc < atomic_load_explicit(&table[i].end, memory_order_relaxed))
            return &table[i];
    }
    return NULL;
}

static void note_of(const struct dl_phdr_info *info, const ElfW(Phdr) * segment, hak_module_seen *module)
{
    const char *at = (const char *)(info->dlpi_addr + segment->p_vaddr);
    size_t left = segment->p_memsz;
    while (left >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        size_t name_bytes = hak_align_up(note.n_namesz, 4);
        size_t body_bytes = hak_align_up(note.n_descsz, 4);
        if (name_bytes > left || body_bytes > left || sizeof note + name_bytes + body_bytes > left)
            return;
        const char *name = at + sizeof note;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(name, "GNU", 4) == 0) {
            module->build_id = (const uint8_t *)name + name_bytes;
            module->build_id_bytes = note.n_descsz;
            return;
        }
        at += sizeof note + name_bytes + body_bytes;
        left -= sizeof note + name_bytes + body_bytes;
    }
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    const scan *now = data;
    hak_module_seen module = {.start = UINT64_MAX, .bias = info->dlpi_addr, .path = info->dlpi_name};
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uint64_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_NOTE && module.build_id == NULL)
            note_of(info, segment, &module);
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0)
            continue;
        if (start < module.start)
            module.start = start;
        if (start + segment->p_memsz > module.end)
            module.end = start + segment->p_memsz;
    }
    if (module.start >= module.end)
        return 0;
    known *entry = find((uintptr_t)module.start);
    if (entry != NULL && atomic_load(&entry->end) == (uintptr_t)module.end) {
        atomic_store(&entry->round, now->round);
        return 0;
    }
    uintptr_t unused = 0;
    entry = find(0);
    if (entry != NULL) {
        atomic_store(&entry->end, (uintptr_t)module.end);
        atomic_store(&entry->round, now->round);
        if (!atomic_compare_exchange_strong(&entry->start, &unused, (uintptr_t)module.start))
            return 0; /* another thread took the entry: the next unknown address looks again */
    }
    if (module.path == NULL)
        module.path = "";
    hak_put_module_load(now->self, &module);
    return 0;
}

static uint32_t look(hak_thread *self)
{
    scan now = {self, atomic_fetch_add(&round_now, 1) + 1};
    if (hak_fork_hold()) {
        dl_iterate_phdr(visit, &now);
        hak_fork_release();
    }
    return now.round;
}

void hak_modules_announce(hak_thread *self)
{
    if (table_epoch != self->epoch) { /* forked: the child's collector knows nothing */
        table_epoch = self->epoch;
        for (size_t i = 0; i < KNOWN_MAX; i++)
            atomic_store(&table[i].start, 0);
    }
    look(self);
}

void hak_modules_know(hak_thread *self, uintptr_t pc)
{
    if (find_pc(pc) == NULL)
        look(self);
}

void hak_modules_closed(hak_thread *self)
{
    uint32_t round = look(self);
    for (size_t i = 0; i < KNOWN_MAX; i++) {
        uintptr_t start = atomic_load(&table[i].start);
        /* A newer round is another thread's: it has seen the module. */
        if (start == 0 || (int32_t)(atomic_load(&table[i].round) - round) >= 0)
            continue;
        if (atomic_compare_exchange_strong(&table[i].start, &start, 0))
            hak_put_module_unload(self, start);
    }
    hak_memo_reset();
    atomic_fetch_add_explicit(&hak_walk_age, 1, memory_order_relaxed);
}
