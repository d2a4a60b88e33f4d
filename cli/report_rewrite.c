/* report_rewrite.c: see report_rewrite.h. */
#include "cli/report_rewrite.h"

#include <string.h>
#include <sys/random.h>

#include "core/base/bits.h"
#include "trace/copy.h"

/* ---- symbols ---- */

typedef struct adding {
    const report *r;
    hak_writer *writer;
    hak_stacks *stacks;
    bool failed;
} adding;

static void add_symbol(void *context, uint64_t pc, uint32_t module, const uint32_t *places, uint32_t count)
{
    const adding *a = context;
    hak_trace_frame frames[HAK_TRACE_MAX_FRAMES];
    hak_trace_symbol symbol = {.pc = pc, .module = module, .frames = frames};
    bool known = false;
    for (; symbol.count < count && symbol.count < HAK_TRACE_MAX_FRAMES; symbol.count++) {
        const hak_place *place = hak_places_at(a->r->places, places[symbol.count]);
        frames[symbol.count] = (hak_trace_frame){place->function != NULL ? place->function : "",
                                                 place->file != NULL ? place->file : "", place->line};
        known |= place->function != NULL || place->line != 0;
    }
    if (known)
        hak_writer_symbol(a->writer, &symbol);
}

static void add_symbols(void *context, hak_writer *writer)
{
    adding *a = context;
    a->writer = writer;
    a->failed = !hak_stacks_chains(a->stacks, add_symbol, a);
}

int report_symbolize(const report *r, const char *path)
{
    hak_trace_error error;
    const report_trace *t = &r->traces[0];
    adding a = {.r = r, .stacks = t->stacks};
    const hak_copy_options options = {.add_symbols = add_symbols, .context = &a};
    if (hak_trace_copy(t->reader, path, &options, &error) != 0)
        return report_trouble(path, error.text);
    return a.failed ? report_trouble(path, "out of memory") : REPORT_FINE;
}

/* ---- anonymous ---- */

typedef struct hiding {
    uint64_t salt; /* of this copy: names cannot be tried out, nor copies compared */
    char text[64];
} hiding;

static const char *hide(void *context, hak_copy_name kind, const char *name)
{
    static const char *const kinds[] = {"program", "program", "module", "thread", "function", "file"};
    hiding *h = context;
    uint64_t hash = h->salt;
    if (*name == '\0')
        return "";
    for (const char *at = name; *at != '\0'; at++)
        hash = hak_mix64(hash * 31 + (uint8_t)*at);
    if (kind == HAK_COPY_PROGRAM || kind == HAK_COPY_COMMAND)
        return kinds[kind];
    snprintf(h->text, sizeof h->text, "%s-%010llx", kinds[kind], (unsigned long long)(hash >> 24));
    return h->text;
}

int report_anonymize(const report *r, const char *path)
{
    hak_trace_error error;
    hiding h = {.salt = 0};
    if (getrandom(&h.salt, sizeof h.salt, 0) != (ssize_t)sizeof h.salt)
        return report_trouble(path, "no random numbers: names could be guessed");
    const hak_copy_options options = {.rename = hide, .drop_build_ids = true, .context = &h};
    return hak_trace_copy(r->traces[0].reader, path, &options, &error) == 0
               ? REPORT_FINE
               : report_trouble(path, error.text);
}
