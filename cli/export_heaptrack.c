/* export_heaptrack.c: heaptrack's interpreted format, version 3: every allocation and free again, with their
 * stacks. All numbers hexadecimal, strings behind their length. The trace is read once more; filters and
 * ranges do not apply. Memory: O(contexts + blocks live at once + distinct pairs of size and stack). */
#include "cli/export.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "replay/table.h"
#include "trace/grow.h"

#define VERSION       0x10400 /* of heaptrack, whose reader this is for */
#define MS_NS         UINT64_C(1000000)
#define OS_PAGE_BYTES 4096u

/* What heaptrack calls an allocation info. */
typedef struct kind {
    uint64_t size_bytes;
    uint64_t trace;
} kind;

typedef struct exporter {
    const report *r;
    hak_reader *reader;
    hak_stacks *stacks;
    FILE *out;
    const char **strings; /* by number - 1; they belong to the places */
    size_t strings_room;
    hak_table strings_table;
    uint64_t *pcs; /* of instruction pointers, by number - 1 */
    size_t pcs_room;
    hak_table pcs_table;
    uint32_t *trace_of; /* by the reader's context: number of heaptrack's trace; 0: not written */
    uint32_t traces;
    kind *kinds;
    size_t kinds_room;
    hak_table kinds_table;
    uint32_t *kind_of; /* by slot */
    size_t kind_of_room;
    uint64_t last_ms;
    uint32_t next_rss;
    bool failed;
} exporter;

/* ---- lines: a letter and numbers; there are as many as events, so they are not for printf ---- */

static char *put_hex(char *to, uint64_t value)
{
    unsigned digits = 1;
    while (digits < 16 && value >> (4 * digits) != 0)
        digits++;
    for (unsigned i = digits; i-- != 0;)
        *to++ = "0123456789abcdef"[value >> (4 * i) & 15];
    return to;
}

static void put_line(exporter *e, char letter, const uint64_t *values, unsigned count)
{
    enum { MOST = 2 };
    char line[2 + MOST * 17 + 1];
    char *to = line;
    *to++ = letter;
    for (unsigned i = 0; i < count && i < MOST; i++) {
        *to++ = ' ';
        to = put_hex(to, values[i]);
    }
    *to++ = '\n';
    fwrite_unlocked(line, 1, (size_t)(to - line), e->out);
}

static void put_one(exporter *e, char letter, uint64_t value)
{
    put_line(e, letter, &value, 1);
}

/* ---- tables, each written out when something new comes ---- */

static uint64_t hash_text(const char *text)
{
    return hak_mix64(hak_hash_text(HAK_HASH_SEED, text));
}

static uint64_t rehash_string(const void *context, uint32_t number)
{
    return hash_text(((const exporter *)context)->strings[number]);
}

static uint32_t string_of(exporter *e, const char *text)
{
    size_t at = hash_text(text);
    uint32_t number;
    for (; e->strings != NULL && hak_table_next(&e->strings_table, &at, &number); at++) {
        if (strcmp(e->strings[number], text) == 0)
            return number + 1;
    }
    number = (uint32_t)e->strings_table.count;
    if (!HAK_GROW(&e->strings, &e->strings_room, (size_t)number + 1) || e->strings == NULL) {
        e->failed = true;
        return 0;
    }
    e->strings[number] = text;
    e->failed |= !hak_table_put(&e->strings_table, at, rehash_string, e);
    fprintf(e->out, "s %zx %s\n", strlen(text), text);
    return number + 1;
}

static uint64_t rehash_pc(const void *context, uint32_t number)
{
    return hak_mix64(((const exporter *)context)->pcs[number]);
}

static void put_pointer(exporter *e, uint64_t pc, const uint32_t *places, uint32_t count)
{
    uint32_t strings[3 * HAK_SYMBOL_MAX_FRAMES];
    const char *path = hak_places_at(e->r->places, places[0])->module;
    uint32_t module = *path != '\0' ? string_of(e, path) : 0;
    for (uint32_t i = 0; i < count; i++) {
        const hak_place *place = hak_places_at(e->r->places, places[i]);
        strings[2 * i] = place->function != NULL ? string_of(e, place->function) : 0;
        strings[2 * i + 1] = place->file != NULL ? string_of(e, place->file) : 0;
    }
    fprintf(e->out, "i %" PRIx64 " %" PRIx32, pc, module);
    for (uint32_t i = 0; i < count && strings[2 * i] != 0; i++) {
        fprintf(e->out, " %" PRIx32, strings[2 * i]);
        if (strings[2 * i + 1] == 0)
            break; /* the format ends here as well */
        fprintf(e->out, " %" PRIx32 " %x", strings[2 * i + 1], hak_places_at(e->r->places, places[i])->line);
    }
    fputc('\n', e->out);
}

static uint32_t pointer_of(exporter *e, uint32_t node, uint64_t pc, uint64_t time_ns)
{
    size_t at = hak_mix64(pc);
    uint32_t number;
    for (; e->pcs != NULL && hak_table_next(&e->pcs_table, &at, &number); at++) {
        if (e->pcs[number] == pc)
            return number + 1;
    }
    number = (uint32_t)e->pcs_table.count;
    uint32_t places[HAK_SYMBOL_MAX_FRAMES];
    int count = hak_stacks_node(e->stacks, node, time_ns, places, HAK_SYMBOL_MAX_FRAMES);
    if (count <= 0 || !HAK_GROW(&e->pcs, &e->pcs_room, (size_t)number + 1)) {
        e->failed = true;
        return 0;
    }
    e->pcs[number] = pc;
    e->failed |= !hak_table_put(&e->pcs_table, at, rehash_pc, e);
    put_pointer(e, pc, places, (uint32_t)count);
    return number + 1;
}

/* Number of heaptrack's trace for a context; its callers come first. */
static uint32_t trace_of(exporter *e, uint32_t node, uint64_t time_ns)
{
    uint32_t nodes;
    const hak_trace_node *tree = hak_reader_nodes(e->reader, &nodes);
    uint32_t path[HAK_TRACE_MAX_DEPTH + 1];
    uint32_t depth = 0;
    for (uint32_t at = node; at != 0 && e->trace_of[at] == 0 && depth <= HAK_TRACE_MAX_DEPTH;
         at = tree[at].parent)
        path[depth++] = at;
    while (depth-- != 0) {
        uint32_t at = path[depth];
        uint32_t pointer = pointer_of(e, at, tree[at].pc, time_ns);
        put_line(e, 't', (const uint64_t[]){pointer, e->trace_of[tree[at].parent]}, 2);
        e->trace_of[at] = ++e->traces;
    }
    return e->trace_of[node];
}

static uint64_t hash_kind(uint64_t size_bytes, uint32_t trace)
{
    return hak_mix64(size_bytes * UINT64_C(0x9e3779b97f4a7c15) ^ trace);
}

static uint64_t rehash_kind(const void *context, uint32_t number)
{
    const exporter *e = context;
    return hash_kind(e->kinds[number].size_bytes, e->kinds[number].trace);
}

static uint32_t kind_of(exporter *e, uint64_t size_bytes, uint32_t trace)
{
    size_t at = hash_kind(size_bytes, trace);
    uint32_t number = 0;
    for (; e->kinds != NULL && hak_table_next(&e->kinds_table, &at, &number); at++) {
        const kind *known = &e->kinds[number];
        if (memcmp(known, &(kind){.size_bytes = size_bytes, .trace = trace}, sizeof *known) == 0)
            return number;
    }
    number = (uint32_t)e->kinds_table.count;
    if (!HAK_GROW(&e->kinds, &e->kinds_room, (size_t)number + 1)) {
        e->failed = true;
        return 0;
    }
    e->kinds[number] = (kind){.size_bytes = size_bytes, .trace = trace};
    e->failed |= !hak_table_put(&e->kinds_table, at, rehash_kind, e);
    put_line(e, 'a', (const uint64_t[]){size_bytes, trace}, 2);
    return number;
}

/* ---- events ---- */

static void put_time(exporter *e, uint64_t time_ns)
{
    uint32_t count;
    const hak_trace_rss *rss = hak_reader_rss(e->reader, &count);
    uint64_t ms = time_ns / MS_NS;
    if (ms != e->last_ms)
        put_one(e, 'c', ms);
    e->last_ms = ms;
    for (; e->next_rss < count && rss[e->next_rss].time_ns <= time_ns; e->next_rss++)
        put_one(e, 'R', rss[e->next_rss].rss_bytes / OS_PAGE_BYTES);
}

static void put_event(exporter *e, const hak_event *event)
{
    if ((event->flags & HAK_EVENT_FAILED) != 0)
        return;
    put_time(e, event->time_ns);
    if (event->slot_old != HAK_SLOT_NONE)
        put_one(e, '-', e->kind_of[event->slot_old]);
    if (event->slot == HAK_SLOT_NONE)
        return;
    uint32_t trace = event->context != 0 ? trace_of(e, event->context, event->time_ns) : 0;
    e->kind_of[event->slot] = kind_of(e, event->size_bytes, trace);
    put_one(e, '+', e->kind_of[event->slot]);
}

static void put_head(exporter *e)
{
    char command[4096];
    export_command(command, sizeof command, &e->r->traces[0]);
    fprintf(e->out, "v %x 3\nX %s\nI %x 0\n", VERSION, command, OS_PAGE_BYTES);
    const char *program = hak_reader_head(e->reader)->program;
    if (*program != '\0')
        string_of(e, program); /* heaptrack takes the first string for the program */
}

static const char *put_events(exporter *e)
{
    const hak_event *events;
    size_t count;
    int got;
    while ((got = hak_reader_next(e->reader, &events, &count, NULL)) == 1) {
        if (!HAK_GROW(&e->kind_of, &e->kind_of_room, (size_t)hak_reader_slots(e->reader) + 1))
            return "out of memory";
        for (size_t i = 0; i < count && !e->failed; i++)
            put_event(e, &events[i]);
    }
    put_time(e, e->r->traces[0].profile->duration_ns);
    return got != 0 ? "the trace cannot be read again" : e->failed ? "out of memory" : NULL;
}

const char *export_heaptrack(const report *r, FILE *out)
{
    exporter e = {.r = r, .reader = r->traces[0].reader, .stacks = r->traces[0].stacks, .out = out};
    uint32_t nodes;
    hak_reader_nodes(e.reader, &nodes);
    e.trace_of = calloc((size_t)nodes + 1, sizeof *e.trace_of);
    bool ready = hak_table_init(&e.strings_table);
    ready &= hak_table_init(&e.pcs_table);
    ready &= hak_table_init(&e.kinds_table);
    const char *fault = ready && e.trace_of != NULL ? NULL : "out of memory";
    if (fault == NULL && hak_reader_rewind(e.reader, NULL) != 0)
        fault = "the trace cannot be read again";
    if (fault == NULL) {
        put_head(&e);
        fault = put_events(&e);
    }
    hak_table_done(&e.strings_table);
    hak_table_done(&e.pcs_table);
    hak_table_done(&e.kinds_table);
    free(e.strings);
    free(e.pcs);
    free(e.trace_of);
    free(e.kinds);
    free(e.kind_of);
    return fault;
}
