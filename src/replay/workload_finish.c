/* workload_finish.c: what is known only at the end of a trace: the tables of threads, epochs, contexts and of
 * the blocks that stay live. One thread per build. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replay/workload_build.h"

static int finish_threads(hak_builder *b, hak_w_header *head)
{
    head->threads_at = hak_words_take(b, (uint64_t)b->stream_count * sizeof(hak_w_thread) / 8);
    if (head->threads_at == 0)
        return -1;
    for (uint32_t i = 0; i < b->stream_count; i++) {
        hak_stream *s = &b->streams[i];
        if (hak_stream_put_number(b, s, HAK_W_END, 0) != 0)
            return -1;
        hak_w_thread *thread = (hak_w_thread *)(b->w->words + head->threads_at) + i;
        *thread = (hak_w_thread){
            .first_word = s->first,
            .slot_base = head->slot_count,
            .operations = s->operations,
            .slot_count = s->slot_count,
            .first_epoch = s->first_epoch,
            .exits = s->exits,
        };
        head->slot_count += s->slot_count;
    }
    return 0;
}

static int finish_left(hak_builder *b, hak_w_header *head)
{
    head->left_at = hak_words_take(b, b->live_blocks + 1);
    if (head->left_at == 0)
        return -1;
    const hak_w_thread *threads = (const hak_w_thread *)(b->w->words + head->threads_at);
    for (uint32_t i = 0; i < b->live_cap; i++)
        if (b->lives[i].used)
            b->w->words[head->left_at + head->left_count++] =
                threads[b->lives[i].thread].slot_base + b->lives[i].slot;
    return 0;
}

static int finish_modules(hak_builder *b, hak_w_header *head)
{
    const hak_trace_module *modules = hak_reader_modules(b->reader, &head->module_count);
    uint64_t paths_bytes = 0;
    for (uint32_t i = 0; i < head->module_count; i++)
        paths_bytes += strlen(modules[i].path) + 1;
    head->modules_at = hak_words_take(b, head->module_count * sizeof(hak_w_module) / 8 + 1);
    head->paths_at = hak_words_take(b, paths_bytes / 8 + 1);
    if (head->modules_at == 0 || head->paths_at == 0)
        return -1;
    hak_w_module *to = (hak_w_module *)(b->w->words + head->modules_at);
    char *paths = (char *)(b->w->words + head->paths_at);
    uint64_t at = 0;
    for (uint32_t i = 0; i < head->module_count; i++) {
        to[i] = (hak_w_module){.path = at, .build_id_bytes = modules[i].build_id_bytes};
        memcpy(to[i].build_id, modules[i].build_id, sizeof to[i].build_id);
        size_t len = strlen(modules[i].path) + 1;
        memcpy(paths + at, modules[i].path, len);
        at += len;
    }
    return 0;
}

/* Contexts with their places in modules: a caller is looked up when its first callee was. */
static int finish_contexts(hak_builder *b, hak_w_header *head)
{
    uint32_t count;
    const hak_trace_node *nodes = hak_reader_nodes(b->reader, &count);
    const hak_trace_module *modules = hak_reader_modules(b->reader, &head->module_count);
    if (!(b->flags & HAK_WORKLOAD_CONTEXTS))
        return 0;
    if (finish_modules(b, head) != 0)
        return -1;
    head->contexts_at = hak_words_take(b, (uint64_t)count * sizeof(hak_w_context) / 8 + 1);
    if (head->contexts_at == 0 || HAK_BUILDER_GROW(b, b->first_ns, b->first_cap, count) != 0)
        return -1;
    hak_w_context *to = (hak_w_context *)(b->w->words + head->contexts_at);
    for (uint32_t i = count; i-- > 0;) {
        uint64_t first = b->first_ns[i];
        to[i] = (hak_w_context){.module = HAK_W_MODULE_NONE, .parent = nodes[i].parent};
        if (first == 0 || i == 0)
            continue;
        uint64_t *above = &b->first_ns[nodes[i].parent];
        if (*above == 0 || *above > first)
            *above = first;
        uint32_t module = hak_reader_module_of(b->reader, nodes[i].pc, first - 1);
        if (module != HAK_TRACE_MODULE_NONE) {
            to[i].module = module;
            to[i].offset = nodes[i].pc - modules[module].bias;
        }
    }
    head->context_count = count;
    return 0;
}

static int finish_saved(hak_builder *b, hak_w_header *head)
{
    head->marks_at = hak_words_take(b, b->mark_count + 1);
    head->saved_at = hak_words_take(b, sizeof(hak_w_saved) / 8 + 1);
    if (head->marks_at == 0 || head->saved_at == 0)
        return -1;
    head->mark_count = b->mark_count;
    if (b->mark_count != 0)
        memcpy(b->w->words + head->marks_at, b->marks, b->mark_count * sizeof *b->marks);
    hak_w_saved *saved = (hak_w_saved *)(b->w->words + head->saved_at);
    *saved = (hak_w_saved){.info = b->w->info};
    snprintf(saved->program, sizeof saved->program, "%s", hak_reader_head(b->reader)->program);
    return 0;
}

int hak_builder_finish(hak_builder *b)
{
    hak_w_header head = {
        .magic = HAK_W_MAGIC,
        .operations = b->w->info.operations,
        .size_max = b->size_max,
        .thread_count = b->stream_count,
        .threads_max = b->w->info.threads_max,
        .epoch_count = b->epoch_count,
        .skew = b->order == HAK_ORDER_WINDOW ? 1 : 0,
        .cell_count = b->cell_count,
        .timing = b->flags & HAK_WORKLOAD_PACE    ? HAK_W_TIMING_PACE
                  : b->flags & HAK_WORKLOAD_THINK ? HAK_W_TIMING_THINK
                                                  : HAK_W_TIMING_NONE,
    };
    if (finish_threads(b, &head) != 0 || finish_left(b, &head) != 0 || finish_contexts(b, &head) != 0)
        return -1;
    head.epochs_at = hak_words_take(b, b->epoch_count / 2 + 1);
    if (head.epochs_at == 0)
        return -1;
    if (b->epoch_count != 0)
        memcpy(b->w->words + head.epochs_at, b->epochs, b->epoch_count * sizeof *b->epochs);
    b->w->info.threads = b->stream_count;
    if (finish_saved(b, &head) != 0)
        return -1;
    head.word_count = b->w->word_count;
    memcpy(b->w->words, &head, sizeof head);
    if (ftruncate(b->w->fd, (off_t)(b->w->word_count * 8)) != 0)
        return hak_builder_fail(b, "cannot trim the compiled trace");
    void *trimmed = mremap(b->w->words, b->w->word_cap * 8, b->w->word_count * 8, MREMAP_MAYMOVE);
    if (trimmed == MAP_FAILED)
        return hak_builder_fail(b, "cannot trim the compiled trace");
    b->w->words = trimmed;
    b->w->word_cap = b->w->word_count;
    return 0;
}
