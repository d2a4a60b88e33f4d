/* decode.c: sections, tables and columns of one payload. Never touches files. One thread per decoder. */
#include "trace/decode.h"

#include <stdlib.h>

#include "trace/grow.h"

static const char out_of_memory[] = "out of memory";
static const char bad_number[] = "bad number or record cut short";

void hak_decoder_init(hak_decoder *decoder)
{
    *decoder = (hak_decoder){.contexts = NULL};
}

void hak_decoder_done(hak_decoder *decoder)
{
    free(decoder->contexts);
    free(decoder->listed);
    free(decoder->threads);
    free(decoder->kinds);
    free(decoder->model.contexts);
    free(decoder->model.threads);
    free(decoder->model.stack);
    hak_decoder_init(decoder);
}

/* ---- sections ---- */

unsigned hak_decode_prefix(const uint8_t *raw, size_t raw_bytes, const char **fault)
{
    if (raw_bytes < HAK_LAYOUT_PREFIX_BYTES || memcmp(raw, HAK_LAYOUT_MAGIC, HAK_LAYOUT_MAGIC_BYTES) != 0) {
        *fault = "not a hakmem trace";
        return 0;
    }
    if (raw[HAK_LAYOUT_MAGIC_BYTES] != HAK_TRACE_VERSION) {
        *fault = "format version is not known; use a newer hakmem";
        return 0;
    }
    unsigned kind = raw[HAK_LAYOUT_MAGIC_BYTES + 1];
    if (kind < HAK_PAYLOAD_HEAD || kind > HAK_PAYLOAD_TAIL) {
        *fault = "unknown kind of member";
        return 0;
    }
    return kind;
}

/* The next section's tag; 0 at the end or when bad. */
static unsigned next_section(hak_wire_in *in, hak_wire_in *body)
{
    if (hak_wire_left(in) == 0)
        return 0;
    unsigned tag = (unsigned)hak_get_fixed(in, 1);
    size_t body_bytes;
    const uint8_t *at = hak_get_bytes(in, &body_bytes);
    if (in->bad)
        return 0;
    *body = hak_wire_in_of(at, body_bytes);
    if (tag == 0)
        in->bad = true;
    return tag;
}

static hak_wire_in sections_of(const uint8_t *raw, size_t raw_bytes)
{
    return hak_wire_in_of(raw + HAK_LAYOUT_PREFIX_BYTES, raw_bytes - HAK_LAYOUT_PREFIX_BYTES);
}

/* A string into the tables; NULL sets *fault. */
static const char *get_text(hak_wire_in *in, hak_tables *tables, size_t max_bytes, size_t *text_bytes,
                            const char **fault)
{
    size_t n;
    const uint8_t *at = hak_get_bytes(in, &n);
    if (at == NULL || n > max_bytes) {
        *fault = at == NULL ? bad_number : "name too long";
        return NULL;
    }
    const char *copy = hak_tables_text(tables, at, n);
    if (copy == NULL)
        *fault = "too much text";
    if (text_bytes != NULL)
        *text_bytes = n;
    return copy;
}

/* ---- head and tail ---- */

static const char *get_head(hak_wire_in in, hak_tables *tables)
{
    hak_trace_head head = {.start_unix_ns = hak_get_varint(&in)};
    head.pid = hak_get_varint(&in);
    head.parent_pid = hak_get_varint(&in);
    head.parent_start_ns = hak_get_varint(&in);
    uint64_t clock = hak_get_varint(&in);
    uint64_t depth_max = hak_get_varint(&in);
    head.sample_bytes = hak_get_varint(&in);
    const char *fault = NULL;
    head.program = get_text(&in, tables, HAK_PATH_MAX_BYTES, NULL, &fault);
    if (fault == NULL)
        head.command = get_text(&in, tables, HAK_COMMAND_MAX_BYTES, &head.command_bytes, &fault);
    if (fault == NULL)
        head.recorder = get_text(&in, tables, HAK_NAME_MAX_BYTES, NULL, &fault);
    if (fault != NULL || in.bad)
        return fault != NULL ? fault : bad_number;
    if (clock > HAK_CLOCK_NONE || depth_max > HAK_TRACE_MAX_DEPTH)
        return "head out of range";
    head.clock = (uint32_t)clock;
    head.depth_max = (uint32_t)depth_max;
    tables->head = head;
    return NULL;
}

const char *hak_decode_head(const uint8_t *raw, size_t raw_bytes, hak_tables *tables)
{
    hak_wire_in in = sections_of(raw, raw_bytes);
    hak_wire_in body;
    bool seen = false;
    for (unsigned tag; (tag = next_section(&in, &body)) != 0;) {
        if (tag == HAK_SECTION_HEAD && !seen) {
            const char *fault = get_head(body, tables);
            if (fault != NULL)
                return fault;
            seen = true;
        } else if (tag < HAK_SECTION_OPTIONAL) {
            return "unexpected section in the head";
        }
    }
    return in.bad || !seen ? "head is damaged" : NULL;
}

const char *hak_decode_tail(const uint8_t *raw, size_t raw_bytes, hak_trace_tail *tail, uint64_t *events,
                            hak_wire_in *index)
{
    hak_wire_in in = sections_of(raw, raw_bytes);
    hak_wire_in body;
    unsigned seen = 0;
    for (unsigned tag; (tag = next_section(&in, &body)) != 0;) {
        if (tag == HAK_SECTION_TAIL && (seen & 1) == 0) {
            uint64_t *const fields[] = {events,
                                        &tail->duration_ns,
                                        &tail->events_lost,
                                        &tail->walks,
                                        &tail->walks_checked,
                                        &tail->walks_wrong,
                                        &tail->walks_dynamic,
                                        &tail->exit_status};
            for (size_t i = 0; i < HAK_COUNT_OF(fields); i++)
                *fields[i] = hak_get_varint(&body);
            if (!body.bad && hak_wire_left(&body) != 0)
                tail->end = hak_get_varint(&body);
            if (!body.bad && hak_wire_left(&body) != 0)
                tail->cpu_ns = hak_get_varint(&body);
            if (body.bad)
                return bad_number;
            seen |= 1;
        } else if (tag == HAK_SECTION_INDEX && (seen & 2) == 0) {
            *index = body;
            seen |= 2;
        } else if (tag < HAK_SECTION_OPTIONAL) {
            return "unexpected section in the tail";
        }
    }
    return in.bad || seen != 3 ? "tail is damaged" : NULL;
}

/* ---- tables of a data member ---- */

static const char *get_threads(hak_wire_in in, hak_tables *tables)
{
    while (hak_wire_left(&in) != 0) {
        uint64_t index = hak_get_varint(&in);
        uint64_t tid = hak_get_varint(&in);
        const char *fault = NULL;
        const char *name = get_text(&in, tables, HAK_NAME_MAX_BYTES, NULL, &fault);
        if (fault == NULL)
            fault = hak_tables_thread(tables, index, tid, name);
        if (fault != NULL)
            return fault;
    }
    return in.bad ? bad_number : NULL;
}

/* again: the tables have the module; only whose addresses they are is followed once more. */
static const char *get_module(hak_wire_in *in, hak_tables *tables, bool again)
{
    hak_trace_module module = {.start = hak_get_varint(in)};
    module.end = hak_get_varint(in);
    module.bias = hak_get_varint(in);
    module.from_ns = hak_get_varint(in);
    size_t path_bytes, id_bytes;
    const uint8_t *path = hak_get_bytes(in, &path_bytes);
    const uint8_t *id = hak_get_bytes(in, &id_bytes);
    if (path == NULL || path_bytes > HAK_PATH_MAX_BYTES)
        return "bad path of a module";
    if (id == NULL || id_bytes > HAK_BUILD_ID_MAX_BYTES)
        return "bad build-id";
    if (module.start < module.end)
        hak_reuse_load(&tables->reuse, module.start, module.end,
                       hak_reuse_identity(path, path_bytes, id, id_bytes));
    if (again)
        return NULL;
    module.path = hak_tables_text(tables, path, path_bytes);
    if (module.path == NULL)
        return out_of_memory;
    memcpy(module.build_id, id, id_bytes);
    module.build_id_bytes = (uint8_t)id_bytes;
    return hak_tables_module_load(tables, &module);
}

static const char *get_modules(hak_wire_in in, hak_tables *tables, bool again)
{
    while (hak_wire_left(&in) != 0) {
        uint64_t type = hak_get_varint(&in);
        const char *fault = NULL;
        if (type == HAK_MODULE_LOAD) {
            fault = get_module(&in, tables, again);
        } else if (type == HAK_MODULE_UNLOAD) {
            uint64_t start = hak_get_varint(&in);
            uint64_t time_ns = hak_get_varint(&in);
            fault = in.bad ? bad_number : again ? NULL : hak_tables_module_unload(tables, start, time_ns);
        } else {
            fault = "unknown module record";
        }
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

static const char *get_rows(hak_wire_in in, hak_tables *tables)
{
    while (hak_wire_left(&in) != 0) {
        uint64_t pc = hak_get_varint(&in);
        int64_t offset = hak_unzigzag(hak_get_varint(&in));
        int64_t slot = hak_unzigzag(hak_get_varint(&in));
        uint64_t kind = hak_get_varint(&in);
        if (in.bad || offset < INT32_MIN || offset > INT32_MAX || slot < INT16_MIN || slot > INT16_MAX ||
            kind > HAK_FRAME_BP_DEREF)
            return "bad frame row";
        hak_frame_row row = {.cfa_offset = (int32_t)offset, .bp_slot = (int16_t)slot, .kind = (uint8_t)kind};
        const char *fault = hak_tables_row(tables, (hak_trace_row){pc, row});
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

static const char *get_rss(hak_wire_in in, hak_tables *tables)
{
    while (hak_wire_left(&in) != 0) {
        hak_trace_rss rss = {.time_ns = hak_get_varint(&in)};
        rss.rss_bytes = hak_get_varint(&in);
        const char *fault = in.bad ? bad_number : hak_tables_rss(tables, rss);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

static const char *get_symbols(hak_wire_in in, hak_tables *tables)
{
    while (hak_wire_left(&in) != 0) {
        uint64_t module = hak_get_varint(&in);
        hak_trace_symbol symbol = {.pc = hak_get_varint(&in)};
        uint64_t count = hak_get_varint(&in);
        if (in.bad || module >= tables->modules_count || count == 0 || count > HAK_TRACE_MAX_FRAMES)
            return "bad symbol";
        symbol.module = (uint32_t)module;
        symbol.count = (uint32_t)count;
        const char *fault = hak_tables_symbol(tables, symbol);
        for (uint64_t i = 0; fault == NULL && i < count; i++) {
            hak_trace_frame frame = {.function = get_text(&in, tables, HAK_PATH_MAX_BYTES, NULL, &fault)};
            if (fault == NULL)
                frame.file = get_text(&in, tables, HAK_PATH_MAX_BYTES, NULL, &fault);
            frame.line = (uint32_t)hak_get_varint(&in);
            if (fault == NULL)
                fault = in.bad ? bad_number : hak_tables_frame(tables, frame);
        }
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

/* The section as it stands; *count: how many are listed. It is the member's only one. */
static const char *list_contexts(hak_decoder *decoder, hak_wire_in in, const hak_tables *tables,
                                 uint32_t *count)
{
    uint64_t pc = 0;
    for (*count = 0; hak_wire_left(&in) != 0; (*count)++) {
        uint32_t own = *count + 1;
        uint64_t up = hak_get_varint(&in);
        pc += (uint64_t)hak_unzigzag(hak_get_varint(&in));
        if (in.bad || up == 0 || up > own)
            return "bad context: its parent does not come before it";
        if (!HAK_GROW(&decoder->listed, &decoder->listed_room, own))
            return out_of_memory;
        uint32_t parent = own - (uint32_t)up;
        uint32_t generation = hak_reuse_generation(&tables->reuse, pc);
        uint32_t above = parent == 0 ? 0 : decoder->listed[parent - 1].hash;
        decoder->listed[*count] =
            (hak_decode_context){pc, parent, generation, hak_context_hash(above, pc, generation)};
    }
    return NULL;
}

/* Each member lists its contexts anew, so with many of them this is where time goes: to looks into tables
 * larger than the caches. */
HAK_INLINE void foresee_contexts(const hak_decoder *decoder, uint32_t at, uint32_t count,
                                 const hak_context_map *map)
{
    enum { FAR = 24, NEAR = 12 };
    if (at + FAR < count)
        hak_context_map_foresee(map, decoder->listed[at + FAR].hash);
    if (at + NEAR < count)
        hak_context_map_foresee_node(map, decoder->listed[at + NEAR].hash);
}

static const char *get_contexts(hak_decoder *decoder, hak_wire_in in, hak_tables *tables)
{
    uint32_t count;
    const char *fault = list_contexts(decoder, in, tables, &count);
    if (fault != NULL)
        return fault;
    if (!HAK_GROW(&decoder->contexts, &decoder->contexts_room, (size_t)decoder->contexts_count + count))
        return out_of_memory;
    for (uint32_t i = 0; i < count; i++) {
        const hak_decode_context *c = &decoder->listed[i];
        foresee_contexts(decoder, i, count, &tables->contexts);
        uint32_t node = hak_context_map_add_hashed(&tables->contexts, decoder->contexts[c->parent], c->pc,
                                                   c->generation, c->hash);
        if (node == 0)
            return "too many or too deep contexts";
        decoder->contexts[decoder->contexts_count++] = node;
    }
    return NULL;
}

/* What the columns of an event with this operation can be. */
static bool shape_fits(uint8_t op, uint8_t shape)
{
    switch (hak_op_class_of((hak_op)op)) {
    case HAK_CLASS_ALLOC:
        return (shape & HAK_SHAPE_SIZE) != 0 && (shape & HAK_SHAPE_OLD) == 0;
    case HAK_CLASS_REALLOC:
        return (shape & HAK_SHAPE_SIZE) != 0;
    case HAK_CLASS_FREE:
        return (shape & HAK_SHAPE_SLOT) == 0;
    case HAK_CLASS_THREAD:
        return (shape & (HAK_SHAPE_SLOT | HAK_SHAPE_OLD)) == 0;
    }
    return false;
}

static const char *get_kind(hak_decoder *decoder, hak_wire_in *in)
{
    uint64_t thread = hak_get_varint(in);
    uint8_t op = (uint8_t)hak_get_fixed(in, 1);
    uint8_t flags = (uint8_t)hak_get_fixed(in, 1);
    uint8_t align_log2 = (uint8_t)hak_get_fixed(in, 1);
    uint8_t shape = (uint8_t)hak_get_fixed(in, 1);
    const unsigned shapes = HAK_SHAPE_CONTEXT | HAK_SHAPE_SIZE | HAK_SHAPE_SLOT | HAK_SHAPE_OLD;
    if (in->bad || thread >= decoder->threads_count || op >= HAK_OP_COUNT || (shape & ~shapes) != 0 ||
        !shape_fits(op, shape))
        return "bad kind of event";
    if (!HAK_GROW(&decoder->kinds, &decoder->kinds_room, (size_t)decoder->kinds_count + 1))
        return out_of_memory;
    decoder->kinds[decoder->kinds_count++] = (hak_decode_kind){
        .event = {.thread = decoder->threads[thread], .op = op, .align_log2 = align_log2, .flags = flags},
        .thread = (uint32_t)thread,
        .shape = shape,
    };
    return NULL;
}

static const char *get_kinds(hak_decoder *decoder, hak_wire_in in, const hak_tables *tables)
{
    uint64_t threads = hak_get_varint(&in);
    for (uint64_t i = 0; i < threads && !in.bad; i++) {
        uint64_t thread = hak_get_varint(&in);
        if (in.bad || thread >= tables->threads_count)
            return "event of an undeclared thread";
        if (!HAK_GROW(&decoder->threads, &decoder->threads_room, (size_t)i + 1))
            return out_of_memory;
        decoder->threads[i] = (uint32_t)thread;
        decoder->threads_count++;
    }
    uint64_t kinds = hak_get_varint(&in);
    for (uint64_t i = 0; i < kinds && !in.bad; i++) {
        const char *fault = get_kind(decoder, &in);
        if (fault != NULL)
            return fault;
    }
    return in.bad || hak_wire_left(&in) != 0 ? bad_number : NULL;
}

static const char *get_events(hak_decoder *decoder, hak_wire_in in)
{
    uint64_t events = hak_get_varint(&in);
    decoder->first_index = hak_get_varint(&in);
    decoder->time_ns = hak_get_varint(&in);
    if (in.bad || events == 0 || events > HAK_TRACE_MEMBER_MAX_BYTES || decoder->time_ns > INT64_MAX)
        return "bad number of events";
    decoder->events = decoder->left = (uint32_t)events;
    return NULL;
}

/* ---- a data member ---- */

static const char *get_section(hak_decoder *decoder, unsigned tag, hak_wire_in body, hak_tables *tables)
{
    switch (tag) {
    case HAK_SECTION_THREADS:
        return get_threads(body, tables);
    case HAK_SECTION_MODULES:
        return get_modules(body, tables, false);
    case HAK_SECTION_ROWS:
        return get_rows(body, tables);
    case HAK_SECTION_RSS:
        return get_rss(body, tables);
    case HAK_SECTION_SYMBOLS:
        return get_symbols(body, tables);
    case HAK_SECTION_CONTEXTS:
        return get_contexts(decoder, body, tables);
    case HAK_SECTION_KINDS:
        return get_kinds(decoder, body, tables);
    case HAK_SECTION_EVENTS:
        return get_events(decoder, body);
    default:
        break;
    }
    if (tag >= HAK_SECTION_COLUMN_KIND && tag < HAK_SECTION_COLUMN_KIND + HAK_COLUMN_COUNT) {
        decoder->columns[tag - HAK_SECTION_COLUMN_KIND] = body;
        return NULL;
    }
    return tag < HAK_SECTION_OPTIONAL ? "unexpected section" : NULL;
}

static const char *begin_events(hak_decoder *decoder)
{
    hak_model *model = &decoder->model;
    if (decoder->events == 0)
        return NULL;
    /* Each event has a byte in these two, so that `events` is what the payload fills. */
    if (hak_wire_left(&decoder->columns[HAK_COLUMN_KIND]) < decoder->events ||
        hak_wire_left(&decoder->columns[HAK_COLUMN_TIME]) < decoder->events)
        return "fewer events than announced";
    if (!HAK_GROW(&model->contexts, &model->contexts_room, decoder->contexts_count + 1) ||
        !HAK_GROW(&model->threads, &model->threads_room, decoder->threads_count + 1) ||
        !HAK_GROW(&model->stack, &model->stack_room, decoder->events))
        return out_of_memory;
    memset(model->contexts, 0, decoder->contexts_count * sizeof *model->contexts);
    memset(model->threads, 0, decoder->threads_count * sizeof *model->threads);
    model->stack_count = 0;
    model->fresh = 0;
    return NULL;
}

const char *hak_decode_data(hak_decoder *decoder, const uint8_t *raw, size_t raw_bytes, hak_tables *tables,
                            bool again)
{
    if (!HAK_GROW(&decoder->contexts, &decoder->contexts_room, 1))
        return out_of_memory;
    decoder->contexts[0] = HAK_CONTEXT_NONE;
    decoder->contexts_count = 1;
    decoder->threads_count = decoder->kinds_count = decoder->events = decoder->left = 0;
    for (unsigned i = 0; i < HAK_COLUMN_COUNT; i++)
        decoder->columns[i] = hak_wire_in_of(raw, 0);
    hak_wire_in in = sections_of(raw, raw_bytes);
    hak_wire_in body;
    bool seen[HAK_SECTION_OPTIONAL] = {false};
    for (unsigned tag; (tag = next_section(&in, &body)) != 0;) {
        if (tag < HAK_SECTION_OPTIONAL && seen[tag])
            return "section twice";
        if (tag < HAK_SECTION_OPTIONAL)
            seen[tag] = true;
        if (again && (tag == HAK_SECTION_SYMBOLS ||
                      (tag >= HAK_SECTION_THREADS && tag <= HAK_SECTION_RSS && tag != HAK_SECTION_MODULES)))
            continue;
        const char *fault = again && tag == HAK_SECTION_MODULES ? get_modules(body, tables, true)
                                                                : get_section(decoder, tag, body, tables);
        if (fault != NULL)
            return fault;
    }
    return in.bad ? "section cut short" : begin_events(decoder);
}

/* ---- events ---- */

HAK_INLINE uint64_t get_size(hak_wire_in *in, hak_model_context *context)
{
    uint64_t code = hak_get_varint(in);
    if (code != HAK_SIZE_SAME)
        context->size_bytes = code == HAK_SIZE_LITERAL ? hak_get_varint(in) : code - HAK_SIZE_BASE;
    return context->size_bytes;
}

HAK_INLINE uint32_t get_near(hak_wire_in *in, uint32_t expected)
{
    int64_t slot = (int64_t)expected + hak_unzigzag(hak_get_varint(in));
    if (HAK_UNLIKELY(slot <= 0 || slot >= HAK_TRACE_MAX_SLOTS)) {
        in->bad = true;
        return HAK_SLOT_NONE;
    }
    return (uint32_t)slot;
}

HAK_INLINE void get_slots(hak_decoder *decoder, const hak_decode_kind *kind, hak_event *event)
{
    hak_model_thread *thread = &decoder->model.threads[kind->thread];
    if ((kind->shape & HAK_SHAPE_OLD) != 0) {
        event->slot_old = thread->slot = get_near(&decoder->columns[HAK_COLUMN_OLD], thread->slot);
        if ((event->flags & HAK_EVENT_FAILED) == 0)
            hak_model_saw_free(&decoder->model, event->slot_old);
    }
    if ((kind->shape & HAK_SHAPE_SLOT) != 0) {
        uint32_t expected = hak_model_expect_slot(&decoder->model);
        event->slot = thread->slot = get_near(&decoder->columns[HAK_COLUMN_SLOT], expected);
        hak_model_saw_slot(&decoder->model, event->slot, expected);
    }
}

/* Local number of the event's context; contexts_count when it is out of range. */
HAK_INLINE uint32_t get_context(hak_decoder *decoder, const hak_decode_kind *kind)
{
    hak_model_thread *thread = &decoder->model.threads[kind->thread];
    hak_model_context *before = &decoder->model.contexts[thread->context];
    uint64_t code = hak_get_varint(&decoder->columns[HAK_COLUMN_CONTEXT]);
    uint64_t context = code == 0 ? before->next : code;
    if (HAK_UNLIKELY(context >= decoder->contexts_count))
        return decoder->contexts_count;
    before->next = thread->context = (uint32_t)context;
    return (uint32_t)context;
}

static const char *finish_events(const hak_decoder *decoder)
{
    for (unsigned i = 0; i < HAK_COLUMN_COUNT; i++) {
        if (decoder->columns[i].bad)
            return "bad number in a column";
        if (decoder->left == 0 && hak_wire_left(&decoder->columns[i]) != 0)
            return "more in a column than events";
    }
    return NULL;
}

const char *hak_decode_events(hak_decoder *decoder, hak_event *events, size_t max, size_t *count)
{
    hak_wire_in *columns = decoder->columns;
    size_t n = decoder->left < max ? decoder->left : max;
    for (size_t i = 0; i < n; i++) {
        *count = i;
        uint64_t number = hak_get_varint(&columns[HAK_COLUMN_KIND]);
        if (HAK_UNLIKELY(number >= decoder->kinds_count))
            return "unknown kind of event";
        const hak_decode_kind *kind = &decoder->kinds[number];
        hak_event *event = &events[i];
        *event = kind->event;
        uint64_t delta = hak_get_varint(&columns[HAK_COLUMN_TIME]);
        if (HAK_UNLIKELY(delta > INT64_MAX - decoder->time_ns))
            return "time out of range";
        event->time_ns = decoder->time_ns += delta;
        uint32_t context = 0;
        if ((kind->shape & HAK_SHAPE_CONTEXT) != 0) {
            context = get_context(decoder, kind);
            if (HAK_UNLIKELY(context == decoder->contexts_count))
                return "context out of range";
            event->context = decoder->contexts[context];
        }
        if ((kind->shape & HAK_SHAPE_SIZE) != 0)
            event->size_bytes = get_size(&columns[HAK_COLUMN_SIZE], &decoder->model.contexts[context]);
        get_slots(decoder, kind, event);
        if (HAK_UNLIKELY(columns[HAK_COLUMN_OLD].bad || columns[HAK_COLUMN_SLOT].bad))
            return "slot out of range";
    }
    decoder->left -= (uint32_t)n;
    const char *fault = finish_events(decoder);
    *count = fault == NULL ? n : 0;
    return fault;
}
