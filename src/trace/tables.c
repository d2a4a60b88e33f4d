/* tables.c: see tables.h. Never touches files. One thread. */
#include "trace/tables.h"

#include <string.h>

#include "trace/grow.h"

enum { TEXT_BLOCK_BYTES = 64 * 1024 };

struct hak_text_block {
    struct hak_text_block *next;
    size_t used;
    size_t room;
    char text[];
};

bool hak_tables_init(hak_tables *tables)
{
    *tables = (hak_tables){.head = {.program = "", .command = "", .recorder = ""}};
    return hak_context_map_init(&tables->contexts);
}

void hak_tables_done(hak_tables *tables)
{
    hak_context_map_done(&tables->contexts);
    hak_reuse_clear(&tables->reuse);
    free(tables->threads);
    free(tables->modules);
    free(tables->rows);
    free(tables->rss);
    free(tables->symbols);
    free(tables->symbol_frames);
    free(tables->frames);
    while (tables->text != NULL) {
        struct hak_text_block *next = tables->text->next;
        free(tables->text);
        tables->text = next;
    }
}

const char *hak_tables_text(hak_tables *tables, const void *text, size_t text_bytes)
{
    if (text_bytes >= HAK_TRACE_MAX_TEXT_BYTES - tables->text_bytes)
        return NULL;
    struct hak_text_block *block = tables->text;
    if (block == NULL || block->room - block->used <= text_bytes) {
        size_t room = text_bytes < TEXT_BLOCK_BYTES ? TEXT_BLOCK_BYTES : text_bytes + 1;
        block = malloc(sizeof *block + room);
        if (block == NULL)
            return NULL;
        *block = (struct hak_text_block){.next = tables->text, .room = room};
        tables->text = block;
    }
    char *copy = block->text + block->used;
    if (text_bytes != 0)
        memcpy(copy, text, text_bytes);
    copy[text_bytes] = '\0';
    block->used += text_bytes + 1;
    tables->text_bytes += text_bytes + 1;
    return copy;
}

const char *hak_tables_thread(hak_tables *tables, uint64_t index, uint64_t tid, const char *name)
{
    if (index < tables->threads_count) {
        if (tables->threads[index].tid != tid)
            return "thread renamed under another id";
        tables->threads[index].name = name;
        return NULL;
    }
    if (index != tables->threads_count || index >= HAK_TRACE_MAX_THREADS)
        return "thread number out of range";
    if (!HAK_GROW(&tables->threads, &tables->threads_room, (size_t)index + 1))
        return "out of memory";
    /* from_ns: no event seen yet. */
    tables->threads[index] =
        (hak_trace_thread){.tid = tid, .from_ns = UINT64_MAX, .to_ns = UINT64_MAX, .name = name};
    tables->threads_count++;
    return NULL;
}

const char *hak_tables_module_load(hak_tables *tables, const hak_trace_module *module)
{
    if (tables->modules_count >= HAK_TRACE_MAX_MODULES)
        return "too many modules";
    if (module->start >= module->end)
        return "module without addresses";
    if (!HAK_GROW(&tables->modules, &tables->modules_room, (size_t)tables->modules_count + 1))
        return "out of memory";
    tables->modules[tables->modules_count] = *module;
    tables->modules[tables->modules_count++].to_ns = UINT64_MAX;
    return NULL;
}

const char *hak_tables_module_unload(hak_tables *tables, uint64_t start, uint64_t time_ns)
{
    for (uint32_t i = tables->modules_count; i-- != 0;) {
        hak_trace_module *module = &tables->modules[i];
        if (module->start == start && module->to_ns == UINT64_MAX) {
            module->to_ns = time_ns;
            return NULL;
        }
    }
    return NULL; /* the recorder may have met it only on its way out */
}

const char *hak_tables_row(hak_tables *tables, hak_trace_row row)
{
    if (tables->rows_count >= HAK_TRACE_MAX_ROWS)
        return "too many frame rows";
    if (!HAK_GROW(&tables->rows, &tables->rows_room, (size_t)tables->rows_count + 1))
        return "out of memory";
    tables->rows[tables->rows_count++] = row;
    return NULL;
}

const char *hak_tables_rss(hak_tables *tables, hak_trace_rss rss)
{
    if (tables->rss_count >= HAK_TRACE_MAX_RSS)
        return "too many RSS samples";
    if (!HAK_GROW(&tables->rss, &tables->rss_room, (size_t)tables->rss_count + 1))
        return "out of memory";
    tables->rss[tables->rss_count++] = rss;
    return NULL;
}

const char *hak_tables_symbol(hak_tables *tables, hak_trace_symbol symbol)
{
    if (tables->symbols_count >= HAK_TRACE_MAX_SYMBOLS)
        return "too many symbols";
    if (!HAK_GROW(&tables->symbols, &tables->symbols_room, (size_t)tables->symbols_count + 1) ||
        !HAK_GROW(&tables->symbol_frames, &tables->symbol_frames_room, (size_t)tables->symbols_count + 1))
        return "out of memory";
    tables->symbol_frames[tables->symbols_count] = (uint32_t)tables->frames_count;
    tables->symbols[tables->symbols_count++] = symbol;
    return NULL;
}

const char *hak_tables_frame(hak_tables *tables, hak_trace_frame frame)
{
    if (!HAK_GROW(&tables->frames, &tables->frames_room, tables->frames_count + 1))
        return "out of memory";
    tables->frames[tables->frames_count++] = frame;
    return NULL;
}
