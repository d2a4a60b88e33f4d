/* kind_heaptrack.c: heaptrack's files, versions 0 to 3, raw (heaptrack --raw) and interpreted. All numbers
 * hexadecimal.
 *
 * Raw files and interpreted ones of version 0 name blocks by address. Later interpreted ones only say which
 * kind (size and call stack) an allocation or a free is of: the newest live block of the kind is taken, so
 * sizes and call stacks are right at every moment, and only which of several equal blocks went is not. */
#include "import/kinds.h"

#include <stdlib.h>
#include <string.h>

#include "trace/grow.h"

#define MS_NS          UINT64_C(1000000)
#define PATH_MAX_BYTES 4095
#define MODULES_MAX    65536u
#define VERSION_1_2_0  0x10200u /* says nothing of its format, which is version 1 */

typedef struct kind_of_block {
    uint64_t size_bytes;
    uint32_t context;
    uint32_t live; /* blocks of it; the n-th live one has key (kind + 1) << 32 | n */
} kind_of_block;

typedef struct state {
    uint64_t version; /* of the file's format */
    uint64_t page_bytes;
    uint64_t *addresses; /* of instruction pointers, from 1; interpreted files */
    size_t address_count, address_room;
    uint32_t *contexts; /* of traces, from 1 */
    size_t context_count, context_room;
    kind_of_block *kinds;
    size_t kind_count, kind_room;
    uint64_t *modules; /* start addresses of those that are loaded */
    size_t module_count, module_room;
    char program[PATH_MAX_BYTES + 1];
    bool interpreted;
    bool in_command; /* the program's arguments may hold newlines: what follows may be more of them */
} state;

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    hak_scan line = hak_head_line(head, len_bytes, '#');
    im->timed = true;
    im->late_events = HAK_IMPORT_LATE_REALLOC;
    im->threads_unknown = true;
    if (!hak_scan_is(&line, "v "))
        return false;
    hak_scan_hex(&line);
    if (!hak_scan_done(&line))
        hak_scan_hex(&line);
    return !line.bad && hak_scan_done(&line);
}

static const char out_of_memory[] = "out of memory";

/* From version 3 on a string's length comes first: a path may hold blanks. */
static const char *string(hak_scan *line, const state *s, size_t *len)
{
    hak_scan_blanks(line);
    if (s->version >= 3) {
        uint64_t bytes = hak_scan_hex(line);
        if (line->bad || line->at == line->end || bytes > (uint64_t)(line->end - line->at - 1)) {
            line->bad = true;
            return line->at;
        }
        const char *text = line->at + 1;
        line->at = text + bytes;
        *len = (size_t)bytes;
        return text;
    }
    const char *text = line->at;
    while (line->at < line->end && *line->at != ' ')
        line->at++;
    *len = (size_t)(line->at - text);
    return text;
}

static const char *trace_line(hak_import *im, hak_scan *line, state *s)
{
    uint64_t ip = hak_scan_hex(line), parent = hak_scan_hex(line);
    if (line->bad || parent > s->context_count)
        return "no trace with an instruction pointer and an earlier parent";
    if (s->interpreted) {
        if (ip > s->address_count)
            return "a trace through an unknown instruction pointer";
        ip = ip != 0 ? s->addresses[ip - 1] : 0;
    }
    if (!HAK_GROW(&s->contexts, &s->context_room, s->context_count + 1)) {
        im->failed = true;
        return out_of_memory;
    }
    uint32_t above = parent != 0 ? s->contexts[parent - 1] : 0;
    uint32_t node = hak_writer_context(im->writer, above, ip);
    s->contexts[s->context_count++] = node != 0 ? node : above; /* the tree is full, or too deep: cut there */
    return NULL;
}

static const char *address_line(hak_import *im, hak_scan *line, state *s)
{
    uint64_t address = hak_scan_hex(line);
    if (line->bad)
        return "no address of an instruction pointer";
    s->interpreted = true;
    if (!HAK_GROW(&s->addresses, &s->address_room, s->address_count + 1)) {
        im->failed = true;
        return out_of_memory;
    }
    s->addresses[s->address_count++] = address;
    return NULL;
}

static const char *kind_line(hak_import *im, hak_scan *line, state *s)
{
    uint64_t size = hak_scan_hex(line), trace = hak_scan_hex(line);
    if (line->bad || trace > s->context_count || s->kind_count == UINT32_MAX - 1)
        return "no size and known trace of a kind of blocks";
    s->interpreted = true;
    if (!HAK_GROW(&s->kinds, &s->kind_room, s->kind_count + 1)) {
        im->failed = true;
        return out_of_memory;
    }
    s->kinds[s->kind_count++] = (kind_of_block){size, trace != 0 ? s->contexts[trace - 1] : 0, 0};
    return NULL;
}

static const char *alloc_line(hak_import *im, hak_scan *line, state *s)
{
    uint64_t first = hak_scan_hex(line);
    hak_import_thread(im, 1);
    if (!line->bad && hak_scan_done(line) && s->version >= 1) {
        if (first >= s->kind_count || s->kinds[first].live == UINT32_MAX)
            return "an allocation of an unknown kind";
        kind_of_block *kind = &s->kinds[first];
        im->context = kind->context;
        hak_import_alloc(im, HAK_OP_MALLOC, (first + 1) << 32 | kind->live++, kind->size_bytes, 0);
        return NULL;
    }
    uint64_t trace = hak_scan_hex(line), pointer = hak_scan_hex(line);
    if (line->bad || trace > s->context_count)
        return "an allocation without size, known trace and address";
    im->context = trace != 0 ? s->contexts[trace - 1] : 0;
    hak_import_alloc(im, HAK_OP_MALLOC, pointer, first, 0);
    return NULL;
}

static const char *free_line(hak_import *im, hak_scan *line, state *s)
{
    uint64_t first = hak_scan_hex(line);
    if (line->bad)
        return "a free of nothing";
    hak_import_thread(im, 1);
    if (s->kind_count == 0) { /* by address */
        hak_import_free(im, HAK_OP_FREE, first);
        return NULL;
    }
    if (first >= s->kind_count)
        return "a free of an unknown kind";
    kind_of_block *kind = &s->kinds[first];
    im->summary->lost_identities += kind->live > 1;
    if (kind->live != 0)
        kind->live--;
    hak_import_free(im, HAK_OP_FREE, (first + 1) << 32 | kind->live);
    return NULL;
}

static void modules_clear(hak_import *im, state *s)
{
    for (size_t i = 0; i < s->module_count; i++)
        hak_writer_module_unload(im->writer, s->modules[i], im->time_ns);
    s->module_count = 0;
}

/* "m NAME BASE [OFFSET BYTES]…", "m 1 -" when the list begins anew. */
static const char *module_line(hak_import *im, hak_scan *line, state *s)
{
    char path[PATH_MAX_BYTES + 1];
    size_t len = 0;
    const char *name = string(line, s, &len);
    if (!line->bad && len == 1 && name[0] == '-') {
        modules_clear(im, s);
        return NULL;
    }
    uint64_t base = hak_scan_hex(line), start = UINT64_MAX, end = 0;
    while (!line->bad && !hak_scan_done(line)) {
        uint64_t offset = hak_scan_hex(line), bytes = hak_scan_hex(line);
        if (line->bad || base + offset + bytes < base)
            return "a segment of a module that is no pair of numbers";
        start = base + offset < start ? base + offset : start;
        end = base + offset + bytes > end ? base + offset + bytes : end;
    }
    if (line->bad || len > PATH_MAX_BYTES)
        return "a module without name and address";
    if (start >= end || s->module_count == MODULES_MAX)
        return NULL;
    memcpy(path, name, len);
    path[len] = '\0';
    const hak_trace_module module = {.start = start,
                                     .end = end,
                                     .bias = base,
                                     .from_ns = im->time_ns,
                                     .path = strcmp(path, "x") == 0 ? s->program : path};
    if (!HAK_GROW(&s->modules, &s->module_room, s->module_count + 1)) {
        im->failed = true;
        return out_of_memory;
    }
    s->modules[s->module_count++] = start;
    hak_writer_module_load(im->writer, &module);
    return NULL;
}

static const char *other_line(hak_import *im, hak_scan *line, state *s, char mode)
{
    size_t len = 0;
    const char *text;
    uint64_t number;
    switch (mode) {
    case 'v':
        number = hak_scan_hex(line);
        s->version = !hak_scan_done(line) ? hak_scan_hex(line) : number == VERSION_1_2_0;
        return line->bad || s->version > 3 ? "a version of heaptrack's format that is not known" : NULL;
    case 'x':
        text = string(line, s, &len);
        if (line->bad || len > PATH_MAX_BYTES)
            return "no path of the program";
        memcpy(s->program, text, len);
        s->program[len] = '\0';
        return NULL;
    case 'c':
        number = hak_scan_hex(line);
        if (line->bad || number > UINT64_MAX / MS_NS)
            return "no time";
        im->time_ns = number * MS_NS;
        return NULL;
    case 'R':
        number = hak_scan_hex(line);
        if (line->bad || number > UINT64_MAX / (s->page_bytes | 1))
            return "no number of resident pages";
        hak_writer_rss(im->writer, &(hak_trace_rss){im->time_ns, number * s->page_bytes});
        return NULL;
    case 'I':
        number = hak_scan_hex(line);
        s->page_bytes = number <= HAK_GIB && number != 0 ? number : HAK_OS_PAGE_BYTES;
        return line->bad ? "no page size" : NULL;
    case 'X':
        s->in_command = true;
        return NULL;
    case 's': /* names of functions and files have no place in a trace */
    case 'S':
    case 'A':
    case 'e':
        return NULL;
    default:
        return "a line of an unknown kind";
    }
}

static const char *line_take(hak_import *im, hak_scan *line, state *s, char mode)
{
    if (line->at < line->end && *line->at != ' ')
        return "a line of an unknown kind";
    switch (mode) {
    case '+':
        return alloc_line(im, line, s);
    case '-':
        return free_line(im, line, s);
    case 't':
        return trace_line(im, line, s);
    case 'a':
        return kind_line(im, line, s);
    case 'i':
        return address_line(im, line, s);
    case 'm':
        return module_line(im, line, s);
    default:
        return other_line(im, line, s, mode);
    }
}

static const char *parse(hak_import *im, hak_scan *line, void *arg)
{
    state *s = arg;
    bool in_command = s->in_command;
    char mode = *line->at++;
    if (HAK_UNLIKELY(in_command) && (mode == '+' || mode == '-'))
        return NULL; /* no event comes before a trace or an instruction pointer */
    const char *fault = line_take(im, line, s, mode);
    if (HAK_LIKELY(!in_command) || im->failed)
        return fault;
    s->in_command = fault != NULL || strchr("vIRcitam", mode) == NULL;
    return NULL;
}

static int run(hak_import *im)
{
    state *s = calloc(1, sizeof *s);
    if (s == NULL) {
        im->failed = true;
        return 0;
    }
    s->page_bytes = HAK_OS_PAGE_BYTES;
    int status = hak_import_lines(im, parse, s);
    im->summary->limits =
        s->interpreted ? "threads, entry points, reallocs (a free and a malloc there), names of functions"
                       : "threads, entry points, reallocs (a free and a malloc there)";
    free(s->addresses);
    free(s->contexts);
    free(s->kinds);
    free(s->modules);
    free(s);
    return status;
}

const hak_import_kind hak_import_heaptrack = {
    .format = {"heaptrack", "heaptrack files, raw and interpreted, versions 0 to 3, .gz or .zst"},
    .limits = "",
    .detect = detect,
    .run = run,
};
