/* policy_modules.c: build-ids of loaded modules, from their notes in memory. Reads only what the loader has
 * mapped; keeps no state. */
#include "core/policy_modules.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "core/base/bits.h"

#define NOTE_BUILD_ID 3
#define MAX_PHDRS     256
#define MAX_NOTES     64

extern int _dl_find_object(void *address, struct dl_find_object *result) __attribute__((weak));

typedef struct build_id {
    uint8_t bytes[20];
    uint8_t len_bytes;
} build_id;

typedef struct loaded {
    uintptr_t bias;
    const ElfW(Phdr) * phdrs;
    unsigned phdr_count;
    const char *name;
} loaded;

static bool build_id_in_note(const uint8_t *at, size_t len_bytes, size_t align_bytes, build_id *id)
{
    for (unsigned i = 0; i < MAX_NOTES && len_bytes >= sizeof(ElfW(Nhdr)); i++) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        size_t name_bytes = hak_align_up(note.n_namesz, 4);
        uint64_t whole = sizeof note + name_bytes + hak_align_up(note.n_descsz, 4);
        if (note.n_namesz > len_bytes || note.n_descsz > len_bytes || whole > len_bytes)
            return false;
        const uint8_t *desc = at + sizeof note + name_bytes;
        if (note.n_type == NOTE_BUILD_ID && note.n_namesz == 4 && memcmp(at + sizeof note, "GNU", 4) == 0 &&
            note.n_descsz > 0) {
            id->len_bytes = note.n_descsz < 20 ? (uint8_t)note.n_descsz : 20;
            memcpy(id->bytes, desc, id->len_bytes);
            return true;
        }
        whole = hak_align_up(whole, align_bytes);
        if (whole >= len_bytes)
            return false;
        at += whole;
        len_bytes -= whole;
    }
    return false;
}

static build_id build_id_of(const loaded *module)
{
    build_id id = {.len_bytes = 0};
    for (unsigned i = 0; i < module->phdr_count && i < MAX_PHDRS; i++) {
        const ElfW(Phdr) *ph = &module->phdrs[i];
        size_t align_bytes = ph->p_align == 8 ? 8 : 4;
        if (ph->p_type == PT_NOTE &&
            build_id_in_note((const uint8_t *)(module->bias + ph->p_vaddr), ph->p_memsz, align_bytes, &id))
            break;
    }
    return id;
}

static uint64_t build_hash(const build_id *id)
{
    uint64_t hash = id->len_bytes;
    for (unsigned i = 0; i < id->len_bytes; i++)
        hash = hak_mix64(hash ^ id->bytes[i]);
    return hash;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool same_name(const char *a, const char *b)
{
    return strcmp(base_name(a), base_name(b)) == 0;
}

static bool same_build(const hak_policy_module *module, const build_id *id)
{
    return module->build_id_bytes != 0 && module->build_id_bytes == id->len_bytes &&
           memcmp(module->build_id, id->bytes, id->len_bytes) == 0;
}

static uint32_t match(const hak_modules_view *view, const char *name, const build_id *id)
{
    for (uint32_t i = 0; i < view->count; i++)
        if (same_build(&view->modules[i], id) ||
            (view->modules[i].build_id_bytes == 0 && id->len_bytes == 0 &&
             same_name(view->strings + view->modules[i].path, name)))
            return i;
    return HAK_MAPPING_FOREIGN;
}

static void extent(const loaded *module, hak_mapping *place)
{
    place->start = UINTPTR_MAX;
    place->end = 0;
    for (unsigned i = 0; i < module->phdr_count && i < MAX_PHDRS; i++) {
        const ElfW(Phdr) *ph = &module->phdrs[i];
        if (ph->p_type != PT_LOAD)
            continue;
        uintptr_t low = module->bias + ph->p_vaddr;
        if (low < place->start)
            place->start = low;
        if (low + ph->p_memsz > place->end)
            place->end = low + ph->p_memsz;
    }
}

static bool place_from(const hak_modules_view *view, const loaded *module, hak_mapping *place)
{
    build_id id = build_id_of(module);
    *place = (hak_mapping){.bias = module->bias, .build = build_hash(&id)};
    extent(module, place);
    place->module = match(view, module->name, &id);
    return place->start < place->end;
}

typedef struct all_state {
    const hak_modules_view *view;
    hak_mapping_list *list;
    bool *stale;
} all_state;

/* dl_iterate_phdr gives the program itself no name. */
static const char *program_name(void)
{
    const char *name = (const char *)getauxval(AT_EXECFN);
    return name != NULL ? name : "";
}

static int add_place(struct dl_phdr_info *info, size_t size_bytes, void *arg)
{
    (void)size_bytes;
    all_state *s = arg;
    loaded module = {info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum, info->dlpi_name};
    if (module.name == NULL || module.name[0] == 0)
        module.name = program_name();
    if (s->list->count == HAK_MAPPING_MAX)
        return 1;
    hak_mapping *place = &s->list->places[s->list->count];
    if (!place_from(s->view, &module, place))
        return 0;
    s->list->count++;
    for (uint32_t i = 0; i < s->view->count; i++)
        if (i != place->module && s->view->modules[i].build_id_bytes != 0 &&
            same_name(s->view->strings + s->view->modules[i].path, module.name))
            s->stale[i] = true;
    return 0;
}

void hak_places_all(const hak_modules_view *view, hak_mapping_list *list, bool *stale)
{
    all_state s = {view, list, stale};
    dl_iterate_phdr(add_place, &s);
    for (uint32_t i = 0; i < list->count; i++)
        if (list->places[i].module != HAK_MAPPING_FOREIGN)
            stale[list->places[i].module] = false;
}

static bool find_loaded(uintptr_t pc, loaded *module)
{
    struct dl_find_object found;
    if (_dl_find_object == NULL || _dl_find_object((void *)pc, &found) != 0)
        return false;
    /* Linkers put the ELF header and the program headers at the start of the first segment. */
    const ElfW(Ehdr) *header = found.dlfo_map_start;
    uintptr_t map_bytes = (uintptr_t)found.dlfo_map_end - (uintptr_t)found.dlfo_map_start;
    if (map_bytes < HAK_OS_PAGE_BYTES || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_phentsize != sizeof(ElfW(Phdr)) ||
        header->e_phoff + (uint64_t)header->e_phnum * sizeof(ElfW(Phdr)) > HAK_OS_PAGE_BYTES)
        return false;
    module->bias = found.dlfo_link_map->l_addr;
    module->phdrs = (const void *)((const char *)header + header->e_phoff);
    module->phdr_count = header->e_phnum;
    module->name = found.dlfo_link_map->l_name;
    if (module->name == NULL || module->name[0] == 0)
        module->name = program_name();
    return true;
}

bool hak_place_of(const hak_modules_view *view, uintptr_t pc, hak_mapping *place)
{
    loaded module;
    return find_loaded(pc, &module) && place_from(view, &module, place) && pc >= place->start &&
           pc < place->end;
}

bool hak_place_still_holds(const hak_mapping *place)
{
    loaded module;
    if (!find_loaded(place->start, &module))
        return _dl_find_object == NULL;
    build_id id = build_id_of(&module);
    return module.bias == place->bias && build_hash(&id) == place->build;
}
