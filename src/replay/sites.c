/* sites.c: addresses to places to sites. Never prints. One thread.
 *
 * Three steps, each with its table: a (module, address) becomes a place once; places that look the same are
 * one; a chain of places is a site. */
#include "replay/sites.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/wire.h"
#include "replay/wrapper.h"
#include "trace/error.h"
#include "trace/grow.h"

/* Hash to number; numbers are checked by the caller. */
typedef struct table {
    uint32_t *numbers; /* number + 1; 0: empty */
    uint64_t *hashes;
    size_t mask;
    size_t count;
} table;

struct hak_sites {
    unsigned frames;
    bool wrappers;
    hak_symbols *symbols;
    hak_place *places;
    size_t places_room;
    table places_table;
    char **modules; /* paths, each once */
    size_t modules_count;
    size_t modules_room;
    hak_site *sites;
    size_t sites_room;
    table sites_table;
};

enum { FIRST_TABLE = 256 };

/* ---- tables ---- */

static bool table_init(table *t)
{
    *t = (table){.mask = FIRST_TABLE - 1};
    t->numbers = calloc(FIRST_TABLE, sizeof *t->numbers);
    t->hashes = calloc(FIRST_TABLE, sizeof *t->hashes);
    return t->numbers != NULL && t->hashes != NULL;
}

static void table_done(table *t)
{
    free(t->numbers);
    free(t->hashes);
}

static bool table_widen(table *t)
{
    size_t slots = (t->mask + 1) * 2;
    table wide = {calloc(slots, sizeof *wide.numbers), calloc(slots, sizeof *wide.hashes), slots - 1,
                  t->count};
    if (wide.numbers == NULL || wide.hashes == NULL) {
        table_done(&wide);
        return false;
    }
    for (size_t i = 0; i <= t->mask; i++) {
        if (t->numbers[i] == 0)
            continue;
        size_t at = t->hashes[i] & wide.mask;
        while (wide.numbers[at] != 0)
            at = (at + 1) & wide.mask;
        wide.numbers[at] = t->numbers[i];
        wide.hashes[at] = t->hashes[i];
    }
    table_done(t);
    *t = wide;
    return true;
}

static bool table_put(table *t, size_t at, uint64_t hash, uint32_t number)
{
    t->numbers[at] = number + 1;
    t->hashes[at] = hash;
    t->count++;
    return t->count * 2 <= t->mask || table_widen(t);
}

/* ---- places ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* A known function is one place per line; an unknown one is where its address is. */
static bool same_place(const hak_place *a, const hak_place *b)
{
    if (!same_text(a->module, b->module) || !same_text(a->function, b->function))
        return false;
    return a->function != NULL ? a->line == b->line && same_text(a->file, b->file) : a->offset == b->offset;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; text != NULL && *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t hash_place(const hak_place *place)
{
    uint64_t hash = hash_text(UINT64_C(0xcbf29ce484222325), place->module);
    if (place->function == NULL)
        return hak_mix64(hash ^ place->offset);
    return hak_mix64(hash_text(hash_text(hash, place->function), place->file) ^ place->line);
}

/* Number of the place; UINT32_MAX: no memory. */
static uint32_t intern_place(hak_sites *sites, const hak_place *place)
{
    uint64_t hash = hash_place(place);
    table *t = &sites->places_table;
    size_t at = hash & t->mask;
    for (; t->numbers[at] != 0; at = (at + 1) & t->mask) {
        if (t->hashes[at] == hash && same_place(&sites->places[t->numbers[at] - 1], place))
            return t->numbers[at] - 1;
    }
    uint32_t number = (uint32_t)t->count;
    if (!HAK_GROW(&sites->places, &sites->places_room, (size_t)number + 1))
        return UINT32_MAX;
    sites->places[number] = *place;
    return table_put(t, at, hash, number) ? number : UINT32_MAX;
}

static const char *module_path(hak_sites *sites, const char *path)
{
    for (size_t i = sites->modules_count; i-- != 0;) {
        if (strcmp(sites->modules[i], path) == 0)
            return sites->modules[i];
    }
    char *copy = strdup(path);
    if (copy == NULL || !HAK_GROW(&sites->modules, &sites->modules_room, sites->modules_count + 1)) {
        free(copy);
        return NULL;
    }
    return sites->modules[sites->modules_count++] = copy;
}

static uint32_t find_place(hak_sites *sites, const hak_reader *reader, uint64_t pc, uint64_t time_ns)
{
    uint32_t modules;
    uint32_t number = hak_reader_module_of(reader, pc - 1, time_ns);
    hak_place place = {.module = "", .offset = pc};
    if (number != HAK_TRACE_MODULE_NONE) {
        const hak_trace_module *module = &hak_reader_modules(reader, &modules)[number];
        hak_symbol symbol = hak_symbols_find(sites->symbols, module, pc);
        place.module = module_path(sites, module->path);
        place.offset = pc - module->bias;
        place.function = symbol.function;
        place.file = symbol.file;
        place.line = symbol.line;
        place.wrapper = symbol.function != NULL && hak_is_wrapper(symbol.function);
        if (place.module == NULL)
            return UINT32_MAX;
    }
    return intern_place(sites, &place);
}

/* ---- sites ---- */

static hak_site *intern_site(hak_sites *sites, const uint32_t *frames, uint32_t count)
{
    uint64_t hash = count;
    for (uint32_t i = 0; i < count; i++)
        hash = hak_mix64(hash * 31 + frames[i]);
    table *t = &sites->sites_table;
    size_t at = hash & t->mask;
    for (; t->numbers[at] != 0; at = (at + 1) & t->mask) {
        hak_site *site = &sites->sites[t->numbers[at] - 1];
        if (t->hashes[at] == hash && site->frames_count == count &&
            memcmp(site->frames, frames, count * sizeof *frames) == 0)
            return site;
    }
    uint32_t number = (uint32_t)t->count;
    if (!HAK_GROW(&sites->sites, &sites->sites_room, (size_t)number + 1))
        return NULL;
    hak_site *site = &sites->sites[number];
    *site = (hak_site){.frames_count = count};
    if (count != 0)
        memcpy(site->frames, frames, count * sizeof *frames);
    return table_put(t, at, hash, number) ? site : NULL;
}

hak_sites *hak_sites_new(unsigned frames, bool wrappers)
{
    hak_sites *sites = calloc(1, sizeof *sites);
    if (sites == NULL)
        return NULL;
    sites->frames = frames < 1 ? 1 : frames > HAK_SITE_MAX_FRAMES ? HAK_SITE_MAX_FRAMES : frames;
    sites->wrappers = wrappers;
    sites->symbols = hak_symbols_new();
    bool ok = table_init(&sites->places_table);
    ok &= table_init(&sites->sites_table);
    if (ok && sites->symbols != NULL)
        return sites;
    hak_sites_free(sites);
    return NULL;
}

void hak_sites_free(hak_sites *sites)
{
    if (sites == NULL)
        return;
    table_done(&sites->places_table);
    table_done(&sites->sites_table);
    hak_symbols_free(sites->symbols);
    for (size_t i = 0; i < sites->modules_count; i++)
        free(sites->modules[i]);
    free(sites->modules);
    free(sites->places);
    free(sites->sites);
    free(sites);
}

/* The chain of a context as places: wrappers next to the allocator left out, unless all are. False: no
 * memory. */
static bool chain_of(hak_sites *sites, const hak_reader *reader, uint32_t *places, uint32_t context,
                     uint64_t time_ns, uint32_t *frames, uint32_t *count)
{
    uint32_t nodes;
    const hak_trace_node *tree = hak_reader_nodes(reader, &nodes);
    bool skipping = !sites->wrappers;
    *count = 0;
    for (int pass = 0; pass < 2 && *count == 0; pass++) {
        for (uint32_t node = context; node != 0 && *count < sites->frames; node = tree[node].parent) {
            if (places[node] == 0) {
                uint32_t place = find_place(sites, reader, tree[node].pc, time_ns);
                if (place == UINT32_MAX)
                    return false;
                places[node] = place + 1;
            }
            uint32_t place = places[node] - 1;
            skipping = skipping && sites->places[place].wrapper;
            if (!skipping)
                frames[(*count)++] = place;
        }
        skipping = false; /* nothing but wrappers: show them */
    }
    return true;
}

int hak_sites_add(hak_sites *sites, const hak_reader *reader, const hak_profile *profile,
                  hak_trace_error *error)
{
    uint32_t *places = calloc(profile->contexts_count, sizeof *places); /* by node: number + 1 */
    bool ok = places != NULL || profile->contexts_count == 0;
    for (uint32_t i = 0; ok && i < profile->contexts_count; i++) {
        const hak_profile_context *context = &profile->contexts[i];
        if (context->usage.calls == 0 && context->usage.failed == 0)
            continue;
        uint32_t frames[HAK_SITE_MAX_FRAMES];
        uint32_t count;
        ok = chain_of(sites, reader, places, i, context->first_ns, frames, &count);
        hak_site *site = ok ? intern_site(sites, frames, count) : NULL;
        ok = site != NULL;
        if (!ok)
            break;
        site->contexts++;
        hak_usage_add(&site->usage, &context->usage);
        if (context->life != NULL)
            hak_life_add(&site->life, context->life);
    }
    free(places);
    return ok ? 0 : hak_trace_fail(error, "out of memory");
}

hak_site *hak_sites_list(hak_sites *sites, size_t *count)
{
    *count = sites->sites_table.count;
    return sites->sites;
}

const hak_place *hak_sites_place(const hak_sites *sites, uint32_t number)
{
    return &sites->places[number];
}

unsigned hak_sites_changed_modules(const hak_sites *sites)
{
    return hak_symbols_changed(sites->symbols);
}
