/* symbols.c: one libdwfl session per file. Functions come from an own sorted table of its symbols (libdwfl's
 * own look-up is linear); what is inlined, lines, and functions without a symbol from the debug information
 * (units.c). Never prints. One thread. */
#include "replay/symbols.h"

#include <elfutils/libdwfl.h>
#include <libiberty/demangle.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "replay/table.h"
#include "replay/units.h"
#include "trace/grow.h"

enum { DEMANGLE = DMGL_PARAMS | DMGL_ANSI };

/* A name as in a file, and for people. */
typedef struct spelling {
    const char *mangled; /* the file's */
    char *text;
} spelling;

typedef struct function {
    uint64_t start;
    uint64_t end;
    const char *mangled; /* the file's */
    bool global;
} function;

typedef struct file {
    char *path;
    uint8_t build_id[HAK_BUILD_ID_MAX_BYTES];
    uint8_t build_id_bytes;
    Dwfl *dwfl; /* NULL: cannot be used */
    Dwfl_Module *module;
    uint64_t bias; /* dwfl's address - file's address */
    function *functions;
    size_t functions_count;
    size_t functions_room;
    hak_units *units; /* NULL: no debug information, or not asked yet */
    Dwarf_Addr units_bias;
    bool units_asked;
} file;

struct hak_symbols {
    file *files;
    size_t files_count;
    size_t files_room;
    unsigned changed;
    spelling *names;
    size_t names_room;
    hak_table names_table;
};

static char *debuginfo_path;
static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
    .debuginfo_path = &debuginfo_path,
};

hak_symbols *hak_symbols_new(void)
{
    hak_symbols *symbols = calloc(1, sizeof *symbols);
    if (symbols == NULL || hak_table_init(&symbols->names_table))
        return symbols;
    hak_symbols_free(symbols);
    return NULL;
}

void hak_symbols_free(hak_symbols *symbols)
{
    if (symbols == NULL)
        return;
    for (size_t i = 0; i < symbols->files_count; i++) {
        file *f = &symbols->files[i];
        hak_units_free(f->units);
        free(f->functions);
        if (f->dwfl != NULL)
            dwfl_end(f->dwfl);
        free(f->path);
    }
    for (size_t i = 0; i < symbols->names_table.count; i++)
        free(symbols->names[i].text);
    hak_table_done(&symbols->names_table);
    free(symbols->names);
    free(symbols->files);
    free(symbols);
}

/* ---- names ---- */

static char *demangle(const char *mangled)
{
    /* D is not among what "automatic" tries. */
    char *text =
        mangled[0] == '_' && mangled[1] == 'D' ? cplus_demangle(mangled, DEMANGLE | DMGL_DLANG) : NULL;
    if (text == NULL)
        text = cplus_demangle(mangled, DEMANGLE | DMGL_AUTO);
    return text != NULL ? text : strdup(mangled);
}

static uint64_t hash_name(const char *text)
{
    return hak_mix64(hak_hash_text(HAK_HASH_SEED, text));
}

static uint64_t rehash_name(const void *context, uint32_t number)
{
    const hak_symbols *symbols = context;
    return hash_name(symbols->names[number].mangled);
}

/* Each name is demangled once: a template's takes longer than finding it. NULL: no memory. */
static const char *name_of(hak_symbols *symbols, const char *mangled)
{
    size_t at = hash_name(mangled);
    uint32_t number;
    for (; hak_table_next(&symbols->names_table, &at, &number); at++) {
        if (strcmp(symbols->names[number].mangled, mangled) == 0)
            return symbols->names[number].text;
    }
    number = (uint32_t)symbols->names_table.count;
    char *text = demangle(mangled);
    if (text == NULL || !HAK_GROW(&symbols->names, &symbols->names_room, (size_t)number + 1)) {
        free(text);
        return NULL;
    }
    symbols->names[number] = (spelling){mangled, text};
    hak_table_put(&symbols->names_table, at, rehash_name, symbols);
    return text;
}

/* ---- a file's symbols ---- */

static int by_start(const void *a, const void *b)
{
    const function *x = a;
    const function *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (int)y->global - (int)x->global; /* of several names the exported one */
}

static void load_functions(file *f)
{
    int count = dwfl_module_getsymtab(f->module);
    for (int i = 0; i < count; i++) {
        GElf_Sym symbol;
        GElf_Addr address;
        const char *name = dwfl_module_getsym_info(f->module, i, &symbol, &address, NULL, NULL, NULL);
        int type = GELF_ST_TYPE(symbol.st_info);
        if (name == NULL || *name == '\0' || symbol.st_shndx == SHN_UNDEF || symbol.st_size == 0 ||
            (type != STT_FUNC && type != STT_GNU_IFUNC))
            continue;
        if (!HAK_GROW(&f->functions, &f->functions_room, f->functions_count + 1))
            break;
        f->functions[f->functions_count++] =
            (function){address, address + symbol.st_size, name, GELF_ST_BIND(symbol.st_info) != STB_LOCAL};
    }
    if (f->functions_count != 0)
        qsort(f->functions, f->functions_count, sizeof *f->functions, by_start);
}

static bool is_build(Dwfl_Module *module, const hak_trace_module *recorded)
{
    const unsigned char *id;
    GElf_Addr at;
    if (recorded->build_id_bytes == 0)
        return true; /* nothing to compare with */
    int n = dwfl_module_build_id(module, &id, &at);
    return n == recorded->build_id_bytes && memcmp(id, recorded->build_id, (size_t)n) == 0;
}

enum { BASE = 0x10000000 }; /* any: addresses are asked for relative to it */

/* Begins a session with the one module that `report` tells of; false: its file is not there or another. */
static bool begin_file(file *f, const hak_trace_module *recorded, const char *path, bool *other)
{
    f->dwfl = dwfl_begin(&callbacks);
    if (f->dwfl == NULL)
        return false;
    dwfl_report_begin(f->dwfl);
    if (path != NULL) {
        f->module = dwfl_report_elf(f->dwfl, "module", path, -1, BASE, true);
    } else {
        uint64_t length = recorded->end > recorded->bias ? recorded->end - recorded->bias : 1;
        f->module = dwfl_report_module(f->dwfl, "module", BASE, BASE + length);
        if (f->module != NULL)
            dwfl_module_report_build_id(f->module, recorded->build_id, recorded->build_id_bytes, 0);
    }
    dwfl_report_end(f->dwfl, NULL, NULL);
    GElf_Addr bias;
    if (f->module != NULL && dwfl_module_getelf(f->module, &bias) != NULL) {
        if (is_build(f->module, recorded)) {
            f->bias = bias;
            load_functions(f);
            return true;
        }
        *other = true;
    }
    dwfl_end(f->dwfl);
    f->dwfl = NULL;
    return false;
}

/* The file itself; else its debug file by build-id; else what debuginfod has of that build. */
static void open_file(hak_symbols *symbols, file *f, const hak_trace_module *recorded)
{
    char debug[64 + 2 * HAK_BUILD_ID_MAX_BYTES];
    bool other = false;
    if (recorded->path[0] == '/' && begin_file(f, recorded, recorded->path, &other))
        return;
    if (recorded->build_id_bytes > 1) {
        int n = snprintf(debug, sizeof debug, "/usr/lib/debug/.build-id/%02x/", recorded->build_id[0]);
        for (unsigned i = 1; i < recorded->build_id_bytes; i++)
            n += snprintf(debug + n, sizeof debug - (size_t)n, "%02x", recorded->build_id[i]);
        snprintf(debug + n, sizeof debug - (size_t)n, ".debug");
        bool ignored = false;
        if (begin_file(f, recorded, debug, &ignored) || begin_file(f, recorded, NULL, &ignored))
            return;
    }
    symbols->changed += other;
}

static file *file_of(hak_symbols *symbols, const hak_trace_module *module)
{
    for (size_t i = 0; i < symbols->files_count; i++) {
        file *f = &symbols->files[i];
        if (f->build_id_bytes == module->build_id_bytes &&
            memcmp(f->build_id, module->build_id, f->build_id_bytes) == 0 &&
            strcmp(f->path, module->path) == 0)
            return f;
    }
    if (!HAK_GROW(&symbols->files, &symbols->files_room, symbols->files_count + 1))
        return NULL;
    file *f = &symbols->files[symbols->files_count];
    *f = (file){.path = strdup(module->path), .build_id_bytes = module->build_id_bytes};
    if (f->path == NULL)
        return NULL;
    memcpy(f->build_id, module->build_id, sizeof f->build_id);
    symbols->files_count++;
    open_file(symbols, f, module);
    return f;
}

/* ---- look-up ---- */

static const function *function_at(const file *f, uint64_t address)
{
    size_t low = 0;
    size_t high = f->functions_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->functions[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    /* Back over the names of one address to the first, and over symbols nested in a wider one. */
    for (unsigned tries = 0; low-- != 0 && tries < 16; tries++) {
        const function *at = &f->functions[low];
        if (address < at->end) {
            while (at > f->functions && at[-1].start == at->start && address < at[-1].end)
                at--;
            return at;
        }
    }
    return NULL;
}

static void ask_units(file *f)
{
    f->units_asked = true;
    Dwarf *dwarf = dwfl_module_getdwarf(f->module, &f->units_bias);
    if (dwarf != NULL)
        f->units = hak_units_new(dwarf);
}

uint32_t hak_symbols_find(hak_symbols *symbols, const hak_trace_module *module, uint64_t pc, hak_symbol *out,
                          uint32_t max)
{
    file *f = file_of(symbols, module);
    if (f == NULL || f->dwfl == NULL || max == 0)
        return 0;
    /* A return address is one past the call, maybe in the next function or line already. */
    uint64_t address = pc - 1 - module->bias + f->bias;
    if (!f->units_asked)
        ask_units(f);
    uint32_t count = 0;
    if (f->units != NULL)
        count = hak_units_find(f->units, address - f->units_bias, out,
                               max < HAK_SYMBOL_MAX_FRAMES ? max : HAK_SYMBOL_MAX_FRAMES);
    const function *fn = function_at(f, address);
    if (fn != NULL && count == 0)
        out[count++] = (hak_symbol){.function = NULL};
    if (fn != NULL) /* the symbol knows what the unit does not: clones, versions */
        out[count - 1].function = fn->mangled;
    for (uint32_t i = 0; i < count; i++) {
        if (out[i].function != NULL)
            out[i].function = name_of(symbols, out[i].function);
    }
    return count;
}

unsigned hak_symbols_changed(const hak_symbols *symbols)
{
    return symbols->changed;
}
