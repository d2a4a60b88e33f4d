/* copy.c: see copy.h. Never prints. */
#include "trace/copy.h"

#include <stdlib.h>
#include <string.h>

#include "trace/error.h"
#include "trace/grow.h"

/* How far each table has been copied. */
typedef struct copier {
    hak_reader *reader;
    hak_writer *writer;
    const hak_copy_options *options;
    uint32_t threads;
    uint32_t modules;
    uint32_t open_modules; /* modules before this one have been unloaded */
    uint32_t rows;
    uint32_t rss;
    uint32_t *nodes; /* by the reader's context: the writer's */
    size_t nodes_room;
    uint32_t nodes_count;
    bool *unloaded; /* by module */
    size_t unloaded_room;
} copier;

static const char *rename_text(const copier *c, hak_copy_name kind, const char *name)
{
    return c->options->rename != NULL ? c->options->rename(c->options->context, kind, name) : name;
}

static bool copy_modules(copier *c)
{
    uint32_t count;
    const hak_trace_module *modules = hak_reader_modules(c->reader, &count);
    if (!HAK_GROW(&c->unloaded, &c->unloaded_room, (size_t)count + 1))
        return false;
    for (uint32_t i = c->open_modules; i < count; i++) {
        if (i >= c->modules) {
            hak_trace_module module = modules[i];
            module.path = rename_text(c, HAK_COPY_MODULE, module.path);
            module.build_id_bytes = c->options->drop_build_ids ? 0 : module.build_id_bytes;
            hak_writer_module_load(c->writer, &module);
            c->unloaded[i] = false;
            c->modules = i + 1;
        }
        if (modules[i].to_ns != UINT64_MAX && !c->unloaded[i]) {
            hak_writer_module_unload(c->writer, modules[i].start, modules[i].to_ns);
            c->unloaded[i] = true;
        }
    }
    while (c->open_modules < count && c->unloaded[c->open_modules])
        c->open_modules++;
    return true;
}

static bool copy_nodes(copier *c)
{
    uint32_t count;
    const hak_trace_node *nodes = hak_reader_nodes(c->reader, &count);
    if (!HAK_GROW(&c->nodes, &c->nodes_room, count))
        return false;
    for (uint32_t i = c->nodes_count; i < count; i++)
        c->nodes[i] = i == 0 ? 0 : hak_writer_context(c->writer, c->nodes[nodes[i].parent], nodes[i].pc);
    c->nodes_count = count > c->nodes_count ? count : c->nodes_count;
    return true;
}

static bool copy_tables(copier *c)
{
    uint32_t count;
    const hak_trace_thread *threads = hak_reader_threads(c->reader, &count);
    for (; c->threads < count; c->threads++)
        hak_writer_thread(c->writer, threads[c->threads].tid,
                          rename_text(c, HAK_COPY_THREAD, threads[c->threads].name));
    const hak_trace_row *rows = hak_reader_rows(c->reader, &count);
    for (; c->rows < count; c->rows++)
        hak_writer_row(c->writer, &rows[c->rows]);
    const hak_trace_rss *rss = hak_reader_rss(c->reader, &count);
    for (; c->rss < count; c->rss++)
        hak_writer_rss(c->writer, &rss[c->rss]);
    return copy_modules(c) && copy_nodes(c);
}

static void copy_symbols(copier *c)
{
    hak_trace_frame frames[HAK_TRACE_MAX_FRAMES];
    for (uint32_t i = 0; i < hak_reader_symbols(c->reader); i++) {
        hak_trace_symbol symbol = hak_reader_symbol(c->reader, i);
        char *texts[2 * HAK_TRACE_MAX_FRAMES] = {NULL};
        bool fine = true;
        for (uint32_t k = 0; k < symbol.count; k++) {
            texts[2 * k] = strdup(rename_text(c, HAK_COPY_FUNCTION, symbol.frames[k].function));
            texts[2 * k + 1] = strdup(rename_text(c, HAK_COPY_FILE, symbol.frames[k].file));
            fine = fine && texts[2 * k] != NULL && texts[2 * k + 1] != NULL;
            frames[k] = (hak_trace_frame){texts[2 * k], texts[2 * k + 1], symbol.frames[k].line};
        }
        symbol.frames = frames;
        if (fine)
            hak_writer_symbol(c->writer, &symbol);
        for (uint32_t k = 0; k < 2 * symbol.count; k++)
            free(texts[k]);
    }
}

static int copy_events(copier *c, hak_trace_error *error)
{
    const hak_event *events;
    size_t count;
    int got;
    while ((got = hak_reader_next(c->reader, &events, &count, error)) == 1) {
        if (!copy_tables(c))
            return hak_trace_fail(error, "out of memory");
        for (size_t i = 0; c->nodes != NULL && i < count; i++) {
            hak_event event = events[i];
            event.context = event.context < c->nodes_count ? c->nodes[event.context] : HAK_CONTEXT_NONE;
            hak_writer_event(c->writer, &event);
        }
    }
    return got == 0 && !copy_tables(c) ? hak_trace_fail(error, "out of memory") : got;
}

static hak_writer *open_copy(copier *c, const char *path, hak_trace_error *error)
{
    hak_trace_head head = *hak_reader_head(c->reader);
    char *program = strdup(rename_text(c, HAK_COPY_PROGRAM, head.program));
    char *command = NULL;
    if (c->options->rename != NULL) {
        command = strdup(c->options->rename(c->options->context, HAK_COPY_COMMAND, head.command));
        head.command = command;
        head.command_bytes = command != NULL ? strlen(command) : 0;
    }
    head.program = program;
    hak_writer *writer = NULL;
    if (program == NULL || head.command == NULL)
        hak_trace_fail(error, "out of memory");
    else
        writer =
            hak_writer_open(path, &head, &(hak_writer_options){.force = true, .background = true}, error);
    free(program);
    free(command);
    return writer;
}

int hak_trace_copy(hak_reader *reader, const char *path, const hak_copy_options *options,
                   hak_trace_error *error)
{
    copier c = {.reader = reader, .options = options};
    if (hak_reader_rewind(reader, error) != 0)
        return -1;
    c.writer = open_copy(&c, path, error);
    if (c.writer == NULL)
        return -1;
    int result = copy_events(&c, error);
    if (result == 0 && options->add_symbols != NULL)
        options->add_symbols(options->context, c.writer);
    else if (result == 0)
        copy_symbols(&c);
    hak_trace_tail tail = *hak_reader_tail(reader);
    hak_trace_error second;
    int finished = hak_writer_finish(c.writer, &tail, result == 0 ? error : &second);
    free(c.nodes);
    free(c.unloaded);
    return result == 0 ? finished : result;
}
