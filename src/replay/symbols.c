/* symbols.c: one libdwfl session per file. Functions come from an own sorted table of its symbols (libdwfl's
 * own look-up is linear) or, inside debug information, from the subprogram; lines from its line table. Never
 * prints. One thread. */
#include "replay/symbols.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#include "trace/grow.h"

enum { DEMANGLE = DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO };

typedef struct function {
    uint64_t start;
    uint64_t end;
    const char *mangled; /* the ELF file's */
    char *name;          /* demangled; NULL: not yet asked for */
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
} file;

struct hak_symbols {
    file *files;
    size_t files_count;
    size_t files_room;
    unsigned changed;
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
    return calloc(1, sizeof(hak_symbols));
}

void hak_symbols_free(hak_symbols *symbols)
{
    if (symbols == NULL)
        return;
    for (size_t i = 0; i < symbols->files_count; i++) {
        file *f = &symbols->files[i];
        for (size_t k = 0; k < f->functions_count; k++)
            free(f->functions[k].name);
        free(f->functions);
        if (f->dwfl != NULL)
            dwfl_end(f->dwfl);
        free(f->path);
    }
    free(symbols->files);
    free(symbols);
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
        f->functions[f->functions_count++] = (function){address, address + symbol.st_size, name, NULL,
                                                        GELF_ST_BIND(symbol.st_info) != STB_LOCAL};
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

static void open_file(hak_symbols *symbols, file *f, const hak_trace_module *recorded)
{
    const GElf_Addr base = 0x10000000; /* any: addresses are asked for relative to it */
    f->dwfl = dwfl_begin(&callbacks);
    if (f->dwfl == NULL)
        return;
    dwfl_report_begin(f->dwfl);
    f->module = dwfl_report_elf(f->dwfl, "module", recorded->path, -1, base, true);
    dwfl_report_end(f->dwfl, NULL, NULL);
    GElf_Addr bias;
    if (f->module != NULL && dwfl_module_getelf(f->module, &bias) != NULL) {
        if (is_build(f->module, recorded)) {
            f->bias = bias;
            load_functions(f);
            return;
        }
        symbols->changed++;
    }
    dwfl_end(f->dwfl);
    f->dwfl = NULL;
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
    if (module->path[0] == '/')
        open_file(symbols, f, module);
    return f;
}

/* ---- look-up ---- */

static function *function_at(const file *f, uint64_t address)
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
        function *at = &f->functions[low];
        if (address < at->end) {
            while (at > f->functions && at[-1].start == at->start && address < at[-1].end)
                at--;
            return at;
        }
    }
    return NULL;
}

static const char *name_of(function *fn)
{
    if (fn->name == NULL) {
        fn->name = cplus_demangle(fn->mangled, DEMANGLE);
        if (fn->name == NULL)
            fn->name = strdup(fn->mangled);
    }
    return fn->name;
}

hak_symbol hak_symbols_find(hak_symbols *symbols, const hak_trace_module *module, uint64_t pc)
{
    hak_symbol symbol = {.function = NULL};
    file *f = file_of(symbols, module);
    if (f == NULL || f->dwfl == NULL)
        return symbol;
    /* A return address is one past the call, maybe in the next function or line already. */
    uint64_t address = pc - 1 - module->bias + f->bias;
    function *fn = function_at(f, address);
    if (fn != NULL)
        symbol.function = name_of(fn);
    Dwfl_Line *line = dwfl_module_getsrc(f->module, address);
    if (line != NULL) {
        int number = 0;
        symbol.file = dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL);
        symbol.line = number > 0 ? (unsigned)number : 0;
    }
    return symbol;
}

unsigned hak_symbols_changed(const hak_symbols *symbols)
{
    return symbols->changed;
}
