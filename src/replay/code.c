/* code.c: see code.h. Symbols and notes by libelf. Where a function calls another one, or reads data, its
 * bytes hold a distance that every build changes; such distances are recognised by the instruction in front
 * of them and left out of the hash when they lead out of the function and into the module. */
#include "replay/code.h"

#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/bits.h"

#define MAX_FUNCTION_BYTES (16u << 20)
#define ID_TEXT_BYTES      (2 * HAK_CODE_ID_BYTES + 1)

typedef struct function {
    const char *name; /* libelf's */
    uint64_t start, size_bytes;
} function;

struct hak_code {
    int fd;
    Elf *elf;
    function *functions; /* ascending by start */
    size_t count;
    uint64_t end; /* of the last loaded byte */
};

static int by_start(const void *a, const void *b)
{
    const function *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

static bool take_symbols(hak_code *code, Elf_Scn *section, const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL);
    size_t entries = header->sh_entsize != 0 ? header->sh_size / header->sh_entsize : 0;
    if (data == NULL)
        return false;
    function *grown = realloc(code->functions, (code->count + entries + 1) * sizeof *grown);
    if (grown == NULL)
        return false;
    code->functions = grown;
    for (size_t i = 0; i < entries && i < INT32_MAX; i++) {
        GElf_Sym symbol;
        if (gelf_getsym(data, (int)i, &symbol) == NULL)
            break;
        const char *name = elf_strptr(code->elf, header->sh_link, symbol.st_name);
        if (GELF_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_shndx != SHN_UNDEF && name != NULL &&
            symbol.st_size != 0 && symbol.st_size <= MAX_FUNCTION_BYTES)
            code->functions[code->count++] = (function){name, symbol.st_value, symbol.st_size};
    }
    return true;
}

static const char *read_all(hak_code *code)
{
    size_t phdrs = 0;
    if (elf_kind(code->elf) != ELF_K_ELF || elf_getphdrnum(code->elf, &phdrs) != 0)
        return "not an ELF file";
    for (size_t i = 0; i < phdrs; i++) {
        GElf_Phdr phdr;
        if (gelf_getphdr(code->elf, (int)i, &phdr) != NULL && phdr.p_type == PT_LOAD &&
            phdr.p_vaddr + phdr.p_memsz > code->end)
            code->end = phdr.p_vaddr + phdr.p_memsz;
    }
    GElf_Word wanted = SHT_SYMTAB; /* holds the other table's, too */
    for (unsigned turn = 0; turn < 2 && code->count == 0; turn++, wanted = SHT_DYNSYM)
        for (Elf_Scn *section = NULL; (section = elf_nextscn(code->elf, section)) != NULL;) {
            GElf_Shdr header;
            if (gelf_getshdr(section, &header) != NULL && header.sh_type == wanted &&
                !take_symbols(code, section, &header))
                return "its symbols cannot be read";
        }
    if (code->count == 0)
        return "has no symbols: its functions cannot be told apart";
    qsort(code->functions, code->count, sizeof *code->functions, by_start);
    return NULL;
}

static bool open_elf(hak_code *code, const char *path)
{
    elf_version(EV_CURRENT);
    code->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return code->fd >= 0 && (code->elf = elf_begin(code->fd, ELF_C_READ, NULL)) != NULL;
}

hak_code *hak_code_open(const char *path, const char **wrong)
{
    hak_code *code = calloc(1, sizeof *code);
    *wrong = "out of memory";
    if (code == NULL)
        return NULL;
    *wrong = "cannot be read";
    if (open_elf(code, path))
        *wrong = read_all(code);
    if (*wrong == NULL)
        return code;
    hak_code_close(code);
    return NULL;
}

void hak_code_close(hak_code *code)
{
    if (code == NULL)
        return;
    if (code->elf != NULL)
        elf_end(code->elf);
    if (code->fd >= 0)
        close(code->fd);
    free(code->functions);
    free(code);
}

unsigned hak_code_build_id(const hak_code *code, uint8_t id[HAK_CODE_ID_BYTES])
{
    for (Elf_Scn *section = NULL; (section = elf_nextscn(code->elf, section)) != NULL;) {
        GElf_Shdr header;
        Elf_Data *data;
        if (gelf_getshdr(section, &header) == NULL || header.sh_type != SHT_NOTE ||
            (data = elf_getdata(section, NULL)) == NULL)
            continue;
        GElf_Nhdr note;
        size_t name, desc;
        for (size_t at = 0; (at = gelf_getnote(data, at, &note, &name, &desc)) > 0;)
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
                memcmp((char *)data->d_buf + name, "GNU", 4) == 0 && note.n_descsz <= HAK_CODE_ID_BYTES) {
                memcpy(id, (char *)data->d_buf + desc, note.n_descsz);
                return note.n_descsz;
            }
    }
    return 0;
}

unsigned hak_code_id_of(const char *path, uint8_t id[HAK_CODE_ID_BYTES])
{
    hak_code *code = calloc(1, sizeof *code);
    unsigned id_bytes = code != NULL && open_elf(code, path) ? hak_code_build_id(code, id) : 0;
    hak_code_close(code);
    return id_bytes;
}

/* ---- hashing ---- */

/* Whether the four bytes at `i` are the distance of a call, a jump or an operand relative to the instruction.
 */
static bool is_distance(const uint8_t *bytes, uint64_t i)
{
    uint8_t before = bytes[i - 1];
    return before == 0xe8 || before == 0xe9 || (before & 0xc7) == 0x05 ||
           (i >= 2 && bytes[i - 2] == 0x0f && (before & 0xf0) == 0x80);
}

static bool leads_away(const hak_code *code, const function *f, const uint8_t *bytes, uint64_t i)
{
    int32_t distance;
    memcpy(&distance, bytes + i, sizeof distance);
    uint64_t target = f->start + i + 4 + (uint64_t)(int64_t)distance;
    return target < code->end && target - f->start >= f->size_bytes;
}

static bool hash_function(const hak_code *code, const function *f, uint64_t *hash)
{
    size_t phdrs = 0;
    if (elf_getphdrnum(code->elf, &phdrs) != 0)
        return false;
    for (size_t k = 0; k < phdrs; k++) {
        GElf_Phdr phdr;
        if (gelf_getphdr(code->elf, (int)k, &phdr) == NULL || phdr.p_type != PT_LOAD ||
            f->start < phdr.p_vaddr || f->start - phdr.p_vaddr > phdr.p_filesz ||
            f->size_bytes > phdr.p_filesz - (f->start - phdr.p_vaddr))
            continue;
        Elf_Data *data = elf_getdata_rawchunk(code->elf, (int64_t)(phdr.p_offset + (f->start - phdr.p_vaddr)),
                                              f->size_bytes, ELF_T_BYTE);
        if (data == NULL || data->d_size != f->size_bytes)
            return false;
        const uint8_t *bytes = data->d_buf;
        *hash = f->size_bytes;
        for (uint64_t i = 0; i < f->size_bytes; i++) {
            if (i >= 1 && f->size_bytes - i >= 4 && is_distance(bytes, i) && leads_away(code, f, bytes, i)) {
                *hash = hak_mix64(*hash ^ 0x100);
                i += 3;
                continue;
            }
            *hash = hak_mix64(*hash ^ bytes[i]);
        }
        return true;
    }
    return false;
}

bool hak_code_describe(const hak_code *code, uint64_t offset, hak_code_place *place)
{
    if (offset == 0)
        return false;
    uint64_t at = offset - 1; /* within the call */
    size_t low = 0, high = code->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (code->functions[middle].start <= at)
            low = middle + 1;
        else
            high = middle;
    }
    const function *f = low > 0 ? &code->functions[low - 1] : NULL;
    if (f == NULL || at - f->start >= f->size_bytes || strlen(f->name) >= sizeof place->function)
        return false;
    memcpy(place->function, f->name, strlen(f->name) + 1);
    place->into_bytes = offset - f->start;
    place->size_bytes = f->size_bytes;
    return hash_function(code, f, &place->hash);
}

bool hak_code_find(const hak_code *code, const hak_code_place *place, uint64_t *offset)
{
    uint64_t found = 0;
    for (size_t i = 0; i < code->count; i++) {
        const function *f = &code->functions[i];
        uint64_t hash;
        if (f->size_bytes != place->size_bytes || strcmp(f->name, place->function) != 0 ||
            !hash_function(code, f, &hash) || hash != place->hash)
            continue;
        if (found != 0 && found != f->start + place->into_bytes)
            return false;
        found = f->start + place->into_bytes;
    }
    *offset = found;
    return found != 0;
}

/* ---- as evidence ---- */

static void id_text(const uint8_t *id, unsigned id_bytes, char text[ID_TEXT_BYTES])
{
    text[0] = '\0';
    for (unsigned i = 0; i < id_bytes && i < HAK_CODE_ID_BYTES; i++)
        snprintf(text + (size_t)2 * i, 3, "%02x", id[i]);
}

bool hak_code_print(const hak_code_place *place, const uint8_t *id, unsigned id_bytes, uint64_t offset,
                    char *line, size_t line_bytes)
{
    char text[ID_TEXT_BYTES];
    id_text(id, id_bytes, text);
    int n =
        snprintf(line, line_bytes, "function %s+0x%" PRIx64 " 0x%" PRIx64 " %" PRIu64 " %016" PRIx64 " %s",
                 text, offset, place->into_bytes, place->size_bytes, place->hash, place->function);
    return n > 0 && (size_t)n < line_bytes && strchr(place->function, '\n') == NULL;
}

bool hak_code_recall(const char *evidence, const uint8_t *id, unsigned id_bytes, uint64_t offset,
                     hak_code_place *place)
{
    char text[ID_TEXT_BYTES], wanted[ID_TEXT_BYTES + 48];
    id_text(id, id_bytes, text);
    int n = snprintf(wanted, sizeof wanted, "function %s+0x%" PRIx64 " ", text, offset);
    for (const char *at = evidence; at != NULL && *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n')
        if (strncmp(at, wanted, (size_t)n) == 0)
            return sscanf(at + n, "0x%" SCNx64 " %" SCNu64 " %" SCNx64 " %255[^\n]", &place->into_bytes,
                          &place->size_bytes, &place->hash, place->function) == 4;
    return false;
}
