/* places.c: see places.h. Never prints. One thread.
 *
 * Two steps, each with its table: a (module, address) becomes a chain of places once; places that look the
 * same are one. */
#include "replay/places.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "replay/table.h"
#include "replay/wrapper.h"
#include "trace/grow.h"

/* A return address with what is inlined around its call. */
typedef struct chain {
    uint64_t pc;
    uint32_t first;       /* in links */
    uint32_t module : 24; /* number in the trace; NO_MODULE */
    uint32_t count : 8;
} chain;

#define NO_MODULE ((uint32_t)0xffffff)
_Static_assert(HAK_TRACE_MAX_MODULES < NO_MODULE && HAK_SYMBOL_MAX_FRAMES < 256,
               "a chain's fields hold them");

struct hak_places {
    unsigned flags;
    hak_symbols *symbols;
    hak_place *places;
    size_t places_room;
    hak_table table;
    char **texts; /* paths of modules, names from traces: each once */
    size_t texts_room;
    hak_table texts_table;
};

struct hak_stacks {
    hak_places *places;
    const hak_reader *reader;
    const hak_trace_node *nodes;
    const char **module_paths; /* by number in the trace: the places' copy */
    uint32_t nodes_count;
    uint32_t *chain_of; /* by node: number + 1; 0: not asked yet */
    chain *chains;
    size_t chains_room;
    hak_table table;
    hak_table known; /* symbols in the trace */
    uint32_t *links; /* numbers of places, chain by chain, innermost first */
    size_t links_room;
    size_t links_count;
};

/* ---- places ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* A known function is one place per line; an unknown one is where its address is. */
static bool same_place(const hak_places *places, const hak_place *a, const hak_place *b)
{
    if (!same_text(a->function, b->function) || a->inlined != b->inlined)
        return false;
    if ((places->flags & HAK_PLACES_BY_FUNCTION) != 0)
        return strcmp(base_name(a->module), base_name(b->module)) == 0 &&
               (a->function != NULL || a->offset == b->offset);
    return same_text(a->module, b->module) &&
           (a->function != NULL ? a->line == b->line && same_text(a->file, b->file) : a->offset == b->offset);
}

/* A path is kept once, so that its address tells it as well as its text, which would be read for each place.
 */
static uint64_t hash_module(const hak_places *places, const char *path)
{
    return (places->flags & HAK_PLACES_BY_FUNCTION) != 0 ? hak_hash_text(HAK_HASH_SEED, base_name(path))
                                                         : hak_mix64((uintptr_t)path);
}

static uint64_t hash_place(const hak_places *places, const hak_place *place)
{
    uint64_t hash = hash_module(places, place->module) + place->inlined;
    if (place->function == NULL)
        return hak_mix64(hash ^ place->offset);
    hash = hak_hash_text(hash, place->function);
    if ((places->flags & HAK_PLACES_BY_FUNCTION) == 0)
        hash = hak_hash_text(hash, place->file) ^ place->line;
    return hak_mix64(hash);
}

static uint64_t rehash_place(const void *context, uint32_t number)
{
    const hak_places *places = context;
    return hash_place(places, &places->places[number]);
}

/* Number of the place; UINT32_MAX: no memory. */
static uint32_t intern_place(hak_places *places, const hak_place *place)
{
    size_t at = hash_place(places, place);
    uint32_t number;
    for (; hak_table_next(&places->table, &at, &number); at++) {
        if (same_place(places, &places->places[number], place))
            return number;
    }
    number = (uint32_t)places->table.count;
    if (!HAK_GROW(&places->places, &places->places_room, (size_t)number + 1))
        return UINT32_MAX;
    places->places[number] = *place;
    return hak_table_put(&places->table, at, rehash_place, places) ? number : UINT32_MAX;
}

static uint64_t rehash_text(const void *context, uint32_t number)
{
    return hak_mix64(hak_hash_text(1, ((const hak_places *)context)->texts[number]));
}

/* The places' own copy; NULL: no memory. */
static const char *own_text(hak_places *places, const char *text)
{
    size_t at = hak_mix64(hak_hash_text(1, text));
    uint32_t number;
    for (; hak_table_next(&places->texts_table, &at, &number); at++) {
        if (strcmp(places->texts[number], text) == 0)
            return places->texts[number];
    }
    number = (uint32_t)places->texts_table.count;
    char *copy = strdup(text);
    if (copy == NULL || !HAK_GROW(&places->texts, &places->texts_room, (size_t)number + 1)) {
        free(copy);
        return NULL;
    }
    places->texts[number] = copy;
    return hak_table_put(&places->texts_table, at, rehash_text, places) ? copy : NULL;
}

hak_places *hak_places_new(unsigned flags)
{
    hak_places *places = calloc(1, sizeof *places);
    if (places == NULL)
        return NULL;
    places->flags = flags;
    places->symbols = hak_symbols_new();
    if (hak_table_init(&places->table) && hak_table_init(&places->texts_table) && places->symbols != NULL)
        return places;
    hak_places_free(places);
    return NULL;
}

void hak_places_free(hak_places *places)
{
    if (places == NULL)
        return;
    hak_table_done(&places->table);
    hak_symbols_free(places->symbols);
    for (size_t i = 0; i < places->texts_table.count; i++)
        free(places->texts[i]);
    hak_table_done(&places->texts_table);
    free(places->texts);
    free(places->places);
    free(places);
}

const hak_place *hak_places_at(const hak_places *places, uint32_t number)
{
    return &places->places[number];
}

uint32_t hak_places_count(const hak_places *places)
{
    return (uint32_t)places->table.count;
}

unsigned hak_places_changed_modules(const hak_places *places)
{
    return hak_symbols_changed(places->symbols);
}

/* ---- chains: what one return address stands for ---- */

static uint64_t hash_chain(uint64_t pc, uint32_t module)
{
    return hak_mix64(pc * UINT64_C(0x9e3779b97f4a7c15) + module);
}

static uint64_t rehash_chain(const void *context, uint32_t number)
{
    const hak_stacks *stacks = context;
    return hash_chain(stacks->chains[number].pc, stacks->chains[number].module);
}

static bool add_link(hak_stacks *stacks, chain *c, const hak_place *place)
{
    uint32_t number = intern_place(stacks->places, place);
    if (number == UINT32_MAX || !HAK_GROW(&stacks->links, &stacks->links_room, stacks->links_count + 1))
        return false;
    stacks->links[stacks->links_count++] = number;
    c->count++;
    return true;
}

static uint64_t rehash_known(const void *context, uint32_t number)
{
    hak_trace_symbol symbol = hak_reader_symbol(((const hak_stacks *)context)->reader, number);
    return hash_chain(symbol.pc, symbol.module);
}

/* Names that are in the trace itself come first: the files here may be others. */
static bool learn_known(hak_stacks *stacks)
{
    bool fine = hak_table_init(&stacks->known);
    for (uint32_t i = 0; fine && i < hak_reader_symbols(stacks->reader); i++) {
        size_t at = rehash_known(stacks, i);
        uint32_t ignored;
        while (hak_table_next(&stacks->known, &at, &ignored))
            at++;
        fine = hak_table_put(&stacks->known, at, rehash_known, stacks);
    }
    return fine;
}

/* The trace's own names; 0: it has none. Texts belong to the reader, which the places may outlive. */
static uint32_t known_symbols(hak_stacks *stacks, uint32_t module, uint64_t pc, hak_symbol *out)
{
    size_t at = hash_chain(pc, module);
    uint32_t number;
    for (; hak_table_next(&stacks->known, &at, &number); at++) {
        hak_trace_symbol symbol = hak_reader_symbol(stacks->reader, number);
        if (symbol.pc != pc || symbol.module != module)
            continue;
        uint32_t count = symbol.count < HAK_SYMBOL_MAX_FRAMES ? symbol.count : HAK_SYMBOL_MAX_FRAMES;
        for (uint32_t i = 0; i < count; i++) {
            const hak_trace_frame *frame = &symbol.frames[i];
            out[i].function = *frame->function != '\0' ? own_text(stacks->places, frame->function) : NULL;
            out[i].file = *frame->file != '\0' ? own_text(stacks->places, frame->file) : NULL;
            out[i].line = frame->line;
        }
        return count;
    }
    return 0;
}

static bool fill_chain(hak_stacks *stacks, chain *c)
{
    hak_place place = {.module = "", .offset = c->pc};
    if (c->module == NO_MODULE)
        return add_link(stacks, c, &place);
    uint32_t modules;
    const hak_trace_module *module = &hak_reader_modules(stacks->reader, &modules)[c->module];
    const char **path = &stacks->module_paths[c->module];
    if (*path == NULL && (*path = own_text(stacks->places, module->path)) == NULL)
        return false;
    place.module = *path;
    place.offset = c->pc - module->bias;
    hak_symbol symbols[HAK_SYMBOL_MAX_FRAMES];
    uint32_t count = known_symbols(stacks, c->module, c->pc, symbols);
    if (count == 0)
        count = hak_symbols_find(stacks->places->symbols, module, c->pc, symbols, HAK_SYMBOL_MAX_FRAMES);
    if (count == 0)
        return add_link(stacks, c, &place);
    for (uint32_t i = 0; i < count; i++) {
        place.function = symbols[i].function;
        place.file = symbols[i].file;
        place.line = symbols[i].line;
        place.inlined = i + 1 < count;
        place.wrapper = place.function != NULL && hak_is_wrapper(place.function);
        if (!add_link(stacks, c, &place))
            return false;
    }
    return true;
}

/* The module that held pc at that time; else the last that ever did: better than an address. */
static uint32_t module_of(const hak_stacks *stacks, uint64_t pc, uint64_t time_ns)
{
    uint32_t count;
    const hak_trace_module *modules = hak_reader_modules(stacks->reader, &count);
    uint32_t best = NO_MODULE;
    for (uint32_t i = count; i-- != 0;) {
        if (pc < modules[i].start || pc >= modules[i].end)
            continue;
        if (time_ns >= modules[i].from_ns && time_ns < modules[i].to_ns)
            return i;
        best = best == NO_MODULE ? i : best;
    }
    return best;
}

static uint32_t intern_chain(hak_stacks *stacks, uint64_t pc, uint64_t time_ns)
{
    uint32_t module = module_of(stacks, pc - 1, time_ns);
    size_t at = hash_chain(pc, module);
    uint32_t number;
    for (; hak_table_next(&stacks->table, &at, &number); at++) {
        if (stacks->chains[number].pc == pc && stacks->chains[number].module == module)
            return number;
    }
    number = (uint32_t)stacks->table.count;
    chain made = {.pc = pc, .module = module, .first = (uint32_t)stacks->links_count};
    if (stacks->links_count > UINT32_MAX - HAK_SYMBOL_MAX_FRAMES ||
        !HAK_GROW(&stacks->chains, &stacks->chains_room, (size_t)number + 1) || !fill_chain(stacks, &made))
        return UINT32_MAX;
    stacks->chains[number] = made;
    return hak_table_put(&stacks->table, at, rehash_chain, stacks) ? number : UINT32_MAX;
}

static const chain *chain_of(hak_stacks *stacks, uint32_t node, uint64_t time_ns)
{
    if (stacks->chain_of[node] == 0) {
        uint32_t number = intern_chain(stacks, stacks->nodes[node].pc, time_ns);
        if (number == UINT32_MAX)
            return NULL;
        stacks->chain_of[node] = number + 1;
    }
    return &stacks->chains[stacks->chain_of[node] - 1];
}

/* ---- stacks ---- */

hak_stacks *hak_stacks_new(hak_places *places, const hak_reader *reader)
{
    hak_stacks *stacks = calloc(1, sizeof *stacks);
    if (stacks == NULL)
        return NULL;
    uint32_t modules;
    stacks->places = places;
    stacks->reader = reader;
    stacks->nodes = hak_reader_nodes(reader, &stacks->nodes_count);
    hak_reader_modules(reader, &modules);
    stacks->chain_of = calloc(stacks->nodes_count, sizeof *stacks->chain_of);
    stacks->module_paths = calloc((size_t)modules + 1, sizeof *stacks->module_paths);
    if (hak_table_init(&stacks->table) && learn_known(stacks) && stacks->chain_of != NULL &&
        stacks->module_paths != NULL)
        return stacks;
    hak_stacks_free(stacks);
    return NULL;
}

void hak_stacks_free(hak_stacks *stacks)
{
    if (stacks == NULL)
        return;
    hak_table_done(&stacks->table);
    hak_table_done(&stacks->known);
    free(stacks->chain_of);
    free(stacks->module_paths);
    free(stacks->chains);
    free(stacks->links);
    free(stacks);
}

/* The inner end of a stack, from which wrappers are left out; what has no name between wrappers is one. */
enum { UNNAMED_MAX = 2 };

typedef struct inner_end {
    bool skipping;
    uint32_t unnamed[UNNAMED_MAX]; /* held back until it is known whether a wrapper called them */
    uint32_t unnamed_count;
} inner_end;

/* Takes the held-back frames back in; returns the count. */
static uint32_t give_back(inner_end *end, uint32_t *frames, uint32_t count, uint32_t max)
{
    for (uint32_t i = 0; i < end->unnamed_count && count < max; i++)
        frames[count++] = end->unnamed[i];
    *end = (inner_end){.skipping = false};
    return count;
}

/* Whether the place is left out, or held back. */
static bool is_skipped(inner_end *end, const hak_place *place, uint32_t number)
{
    if (!end->skipping)
        return false;
    if (place->wrapper) {
        end->unnamed_count = 0;
        return true;
    }
    if (place->function != NULL || end->unnamed_count == UNNAMED_MAX)
        return false;
    end->unnamed[end->unnamed_count++] = number;
    return true;
}

int hak_stacks_get(hak_stacks *stacks, uint32_t node, uint64_t time_ns, unsigned flags, uint32_t *frames,
                   uint32_t max)
{
    uint32_t count = 0;
    inner_end end = {.skipping = (flags & HAK_STACK_WRAPPERS) == 0};
    max = max < HAK_STACK_MAX_FRAMES ? max : HAK_STACK_MAX_FRAMES;
    for (int pass = 0; pass < 2 && count == 0; pass++) {
        for (uint32_t at = node; at != 0 && count < max; at = stacks->nodes[at].parent) {
            const chain *c = chain_of(stacks, at, time_ns);
            if (c == NULL)
                return -1;
            for (uint32_t i = 0; i < c->count && count < max; i++) {
                uint32_t place = stacks->links[c->first + i];
                if (is_skipped(&end, &stacks->places->places[place], place))
                    continue;
                count = give_back(&end, frames, count, max);
                if (count < max)
                    frames[count++] = place;
            }
        }
        count = give_back(&end, frames, count, max); /* nothing but wrappers: the second pass shows them */
    }
    return (int)count;
}

int hak_stacks_node(hak_stacks *stacks, uint32_t node, uint64_t time_ns, uint32_t *frames, uint32_t max)
{
    const chain *c = chain_of(stacks, node, time_ns);
    if (c == NULL)
        return -1;
    uint32_t count = c->count < max ? c->count : max;
    memcpy(frames, stacks->links + c->first, count * sizeof *frames);
    return (int)count;
}

bool hak_stacks_chains(hak_stacks *stacks, hak_chain_seen seen, void *context)
{
    for (uint32_t node = 1; node < stacks->nodes_count; node++) {
        if (chain_of(stacks, node, UINT64_MAX - 1) == NULL)
            return false;
    }
    for (size_t i = 0; i < stacks->table.count; i++) {
        const chain *c = &stacks->chains[i];
        if (c->module != NO_MODULE)
            seen(context, c->pc, c->module, stacks->links + c->first, c->count);
    }
    return true;
}

uint8_t *hak_stacks_mark(hak_stacks *stacks, hak_place_match matches, const void *context, uint32_t *count)
{
    uint8_t *keep = calloc(stacks->nodes_count, 1);
    *count = stacks->nodes_count;
    for (uint32_t node = 1; keep != NULL && node < stacks->nodes_count; node++) {
        keep[node] = keep[stacks->nodes[node].parent];
        const chain *c = keep[node] != 0 ? NULL : chain_of(stacks, node, UINT64_MAX - 1);
        if (keep[node] == 0 && c == NULL) {
            free(keep);
            return NULL;
        }
        for (uint32_t i = 0; keep[node] == 0 && i < c->count; i++)
            keep[node] = matches(context, &stacks->places->places[stacks->links[c->first + i]]);
    }
    return keep;
}
