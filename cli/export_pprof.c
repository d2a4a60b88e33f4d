/* export_pprof.c: pprof's profile.proto, encoded by hand: it is a handful of messages. Sample types as heap
 * profiles have them; functions, lines and inlining are in the file, so no binary is needed to read it. */
#include "cli/export.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/wire.h"
#include "replay/table.h"
#include "trace/bytes.h"
#include "trace/grow.h"

/* Field numbers of profile.proto. */
enum {
    P_SAMPLE_TYPE = 1,
    P_SAMPLE,
    P_MAPPING,
    P_LOCATION,
    P_FUNCTION,
    P_STRING,
    P_TIME = 9,
    P_DURATION,
    P_DEFAULT = 14
};

#define MODULE_BYTES                                                                                         \
    ((uint64_t)1 << 32) /* of invented address space per module, so that they do not overlap */

/* What one return address stands for: a real function with what was inlined into it. */
typedef struct location {
    uint32_t first; /* in links */
    uint32_t count;
} location;

typedef struct encoder {
    const report *r;
    FILE *out;
    hak_bytes body; /* of the message being made */
    hak_bytes part; /* of a message inside it */
    const char **strings;
    size_t strings_room;
    hak_table strings_table;
    const char **modules; /* paths, by mapping - 1 */
    size_t modules_room;
    size_t modules_count;
    uint64_t *functions; /* by place: 1 once written */
    location *locations;
    size_t locations_room;
    hak_table locations_table;
    uint32_t *links;
    size_t links_room;
    size_t links_count;
    bool failed;
} encoder;

/* ---- wire ---- */

static void put_uint(hak_bytes *to, unsigned field, uint64_t value)
{
    if (value == 0)
        return;
    hak_bytes_varint(to, field << 3);
    hak_bytes_varint(to, value);
}

static void put_message(hak_bytes *to, unsigned field, const hak_bytes *body)
{
    hak_bytes_varint(to, field << 3 | 2);
    hak_bytes_varint(to, body->len_bytes);
    hak_bytes_raw(to, body->at, body->len_bytes);
}

/* A message of the profile itself. */
static void flush_message(encoder *e, unsigned field)
{
    uint8_t head[2 * HAK_VARINT_MAX_BYTES];
    uint8_t *end = hak_put_varint(hak_put_varint(head, field << 3 | 2), e->body.len_bytes);
    fwrite(head, 1, (size_t)(end - head), e->out);
    if (e->body.len_bytes != 0)
        fwrite(e->body.at, 1, e->body.len_bytes, e->out);
    e->body.len_bytes = 0;
}

static void put_number(encoder *e, unsigned field, uint64_t value)
{
    put_uint(&e->body, field, value);
    fwrite(e->body.at, 1, e->body.len_bytes, e->out);
    e->body.len_bytes = 0;
}

/* ---- strings ---- */

static uint64_t hash_text(const char *text)
{
    return hak_mix64(hak_hash_text(HAK_HASH_SEED, text));
}

static uint64_t rehash_text(const void *context, uint32_t number)
{
    return hash_text(((const encoder *)context)->strings[number]);
}

/* Number of a text that outlives the encoder; 0 is "". */
static uint64_t string_of(encoder *e, const char *text)
{
    size_t at = hash_text(text);
    uint32_t number;
    for (; e->strings != NULL && hak_table_next(&e->strings_table, &at, &number); at++) {
        if (strcmp(e->strings[number], text) == 0)
            return number;
    }
    number = (uint32_t)e->strings_table.count;
    if (!HAK_GROW(&e->strings, &e->strings_room, (size_t)number + 1) || e->strings == NULL) {
        e->failed = true;
        return 0;
    }
    e->strings[number] = text;
    e->failed |= !hak_table_put(&e->strings_table, at, rehash_text, e);
    return number;
}

/* ---- mappings ---- */

static uint64_t mapping_of(encoder *e, const char *path)
{
    for (size_t i = 0; i < e->modules_count; i++) {
        if (strcmp(e->modules[i], path) == 0)
            return i + 1;
    }
    if (!HAK_GROW(&e->modules, &e->modules_room, e->modules_count + 1)) {
        e->failed = true;
        return 0;
    }
    e->modules[e->modules_count++] = path;
    return e->modules_count;
}

/* Build-id of a module as text for string_of; "" when there is none. The caller frees. */
static char *build_id_of(const report *r, const char *path)
{
    char text[2 * HAK_BUILD_ID_MAX_BYTES + 1] = "";
    for (size_t t = 0; t < r->traces_count; t++) {
        uint32_t count;
        const hak_trace_module *modules = hak_reader_modules(r->traces[t].reader, &count);
        for (uint32_t i = 0; i < count && text[0] == '\0'; i++) {
            for (unsigned k = 0; strcmp(modules[i].path, path) == 0 && k < modules[i].build_id_bytes; k++)
                snprintf(text + 2 * k, 3, "%02x", modules[i].build_id[k]);
        }
    }
    return strdup(text);
}

/* Texts of build-ids live until the strings are written. */
static void put_mappings(encoder *e, char **ids)
{
    for (size_t i = 0; i < e->modules_count; i++) {
        ids[i] = build_id_of(e->r, e->modules[i]);
        put_uint(&e->body, 1, i + 1);
        put_uint(&e->body, 2, (i + 1) * MODULE_BYTES);
        put_uint(&e->body, 3, (i + 2) * MODULE_BYTES);
        put_uint(&e->body, 5, string_of(e, e->modules[i]));
        put_uint(&e->body, 6, ids[i] != NULL ? string_of(e, ids[i]) : 0);
        for (unsigned has = 7; has <= 10; has++) /* functions, filenames, line numbers, inline frames */
            put_uint(&e->body, has, 1);
        flush_message(e, P_MAPPING);
    }
}

/* ---- functions and locations ---- */

static void put_function(encoder *e, uint32_t number)
{
    const hak_place *place = hak_places_at(e->r->places, number);
    if (e->functions[number] != 0)
        return;
    e->functions[number] = 1;
    uint64_t name = place->function != NULL ? string_of(e, place->function) : 0;
    uint64_t file = place->file != NULL ? string_of(e, place->file) : 0;
    put_uint(&e->body, 1, (uint64_t)number + 1);
    put_uint(&e->body, 2, name);
    put_uint(&e->body, 3, name);
    put_uint(&e->body, 4, file);
    flush_message(e, P_FUNCTION);
}

static void put_location(encoder *e, uint64_t id, const uint32_t *places, uint32_t count)
{
    const hak_place *outer = hak_places_at(e->r->places, places[count - 1]);
    uint64_t mapping = outer->module[0] != '\0' ? mapping_of(e, outer->module) : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (hak_places_at(e->r->places, places[i])->function != NULL)
            put_function(e, places[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        const hak_place *place = hak_places_at(e->r->places, places[i]);
        if (place->function == NULL)
            continue;
        hak_bytes *line = &e->part;
        line->len_bytes = 0;
        put_uint(line, 1, (uint64_t)places[i] + 1);
        put_uint(line, 2, place->line);
        put_message(&e->body, 4, line);
    }
    put_uint(&e->body, 1, id);
    put_uint(&e->body, 2, mapping);
    put_uint(&e->body, 3, mapping * MODULE_BYTES + outer->offset % MODULE_BYTES);
    flush_message(e, P_LOCATION);
}

static uint64_t hash_places(const uint32_t *places, uint32_t count)
{
    uint64_t hash = count;
    for (uint32_t i = 0; i < count; i++)
        hash = hak_mix64(hash * 31 + places[i]);
    return hash;
}

static uint64_t rehash_location(const void *context, uint32_t number)
{
    const encoder *e = context;
    return hash_places(e->links + e->locations[number].first, e->locations[number].count);
}

/* Written when new, between two samples. */
static uint64_t location_of(encoder *e, const uint32_t *places, uint32_t count)
{
    size_t at = hash_places(places, count);
    uint32_t number;
    for (; hak_table_next(&e->locations_table, &at, &number); at++) {
        if (e->locations[number].count == count &&
            memcmp(e->links + e->locations[number].first, places, count * sizeof *places) == 0)
            return (uint64_t)number + 1;
    }
    number = (uint32_t)e->locations_table.count;
    if (!HAK_GROW(&e->locations, &e->locations_room, (size_t)number + 1) ||
        !HAK_GROW(&e->links, &e->links_room, e->links_count + count)) {
        e->failed = true;
        return 1;
    }
    memcpy(e->links + e->links_count, places, count * sizeof *places);
    e->locations[number] = (location){(uint32_t)e->links_count, count};
    e->links_count += count;
    e->failed |= !hak_table_put(&e->locations_table, at, rehash_location, e);
    put_location(e, (uint64_t)number + 1, places, count);
    return (uint64_t)number + 1;
}

/* ---- samples ---- */

static const struct {
    const char *type;
    const char *unit;
} types[] = {{"alloc_objects", "count"}, {"alloc_space", "bytes"},  {"inuse_objects", "count"},
             {"inuse_space", "bytes"},   {"peak_objects", "count"}, {"peak_space", "bytes"}};

static void put_sample(encoder *e, uint32_t node, const hak_usage *u, uint64_t *ids)
{
    uint32_t stack[HAK_STACK_MAX_FRAMES];
    uint32_t depth = hak_tree_stack(e->r->tree, node, stack, HAK_STACK_MAX_FRAMES);
    uint32_t count = 0;
    for (uint32_t i = 0; i < depth;) {
        uint32_t n = 1; /* inlined ones up to the function they are in */
        while (i + n < depth && hak_places_at(e->r->places, stack[i + n - 1])->inlined)
            n++;
        ids[count++] = location_of(e, stack + i, n);
        i += n;
    }
    const uint64_t values[] = {u->calls,      u->bytes,          u->live_blocks,
                               u->live_bytes, u->at_peak_blocks, u->at_peak_bytes};
    e->part.len_bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        hak_bytes_varint(&e->part, ids[i]);
    put_message(&e->body, 1, &e->part);
    e->part.len_bytes = 0;
    for (size_t i = 0; i < HAK_COUNT_OF(values); i++)
        hak_bytes_varint(&e->part, values[i]);
    put_message(&e->body, 2, &e->part);
    flush_message(e, P_SAMPLE);
}

static void put_head(encoder *e)
{
    const hak_trace_head *head = hak_reader_head(e->r->traces[0].reader);
    string_of(e, "");
    if (head->program[0] != '\0')
        mapping_of(e, head->program); /* the first mapping is the program's */
    for (size_t i = 0; i < HAK_COUNT_OF(types); i++) {
        put_uint(&e->body, 1, string_of(e, types[i].type));
        put_uint(&e->body, 2, string_of(e, types[i].unit));
        flush_message(e, P_SAMPLE_TYPE);
    }
    put_number(e, P_TIME, head->start_unix_ns);
    put_number(e, P_DURATION, e->r->traces[0].profile->duration_ns);
    put_number(e, P_DEFAULT, string_of(e, "alloc_space"));
}

static void put_samples(encoder *e, uint64_t *ids)
{
    const hak_tree *tree = e->r->tree;
    for (uint32_t i = 0; i < tree->count; i++) {
        if (tree->nodes[i].usage != HAK_TREE_NO_USAGE && tree->usages[tree->nodes[i].usage]->calls != 0)
            put_sample(e, i, tree->usages[tree->nodes[i].usage], ids);
    }
}

static void put_tail(encoder *e)
{
    char **ids = calloc(e->modules_count + 1, sizeof *ids);
    if (ids == NULL) {
        e->failed = true;
        return;
    }
    put_mappings(e, ids);
    for (size_t i = 0; i < e->strings_table.count; i++) {
        hak_bytes_raw(&e->body, e->strings[i], strlen(e->strings[i]));
        flush_message(e, P_STRING);
    }
    for (size_t i = 0; i < e->modules_count; i++)
        free(ids[i]);
    free(ids);
}

const char *export_pprof(const report *r, FILE *out)
{
    encoder e = {.r = r, .out = out};
    uint64_t *ids = calloc(HAK_STACK_MAX_FRAMES, sizeof *ids);
    e.functions = calloc((size_t)hak_places_count(r->places) + 1, sizeof *e.functions);
    bool ready = hak_table_init(&e.strings_table);
    ready &= hak_table_init(&e.locations_table);
    e.failed = !ready || ids == NULL || e.functions == NULL;
    if (!e.failed) {
        put_head(&e);
        put_samples(&e, ids);
        put_tail(&e);
    }
    e.failed |= e.body.failed || e.part.failed;
    hak_bytes_done(&e.body);
    hak_bytes_done(&e.part);
    hak_table_done(&e.strings_table);
    hak_table_done(&e.locations_table);
    free(e.strings);
    free(e.modules);
    free(e.functions);
    free(e.locations);
    free(e.links);
    free(ids);
    return e.failed ? "out of memory" : NULL;
}
