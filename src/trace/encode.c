/* encode.c: the columns of one data member. Each column gets what the model did not expect; the expected is a
 * zero byte. Never touches files. One thread per encoder. */
#include "trace/encode.h"

#include "core/base/bits.h"
#include "core/base/print.h"
#include "trace/encode_put.h"

/* Worst case of one event in any column: a size literal. */
enum { VALUE_MAX_BYTES = 1 + HAK_VARINT_MAX_BYTES, FIRST_KINDS = 1024, CHECK_EVENTS = 1024 };
enum { META_TARGET_BYTES = 256 * 1024 };

/* ---- one member's beginning ---- */

static void begin_member(hak_encoder *e)
{
    for (unsigned i = 0; i < HAK_COLUMN_COUNT; i++)
        e->columns[i].at = e->columns[i].start;
    e->generation++;
    e->count = e->contexts_count = e->threads_count = e->kinds_count = 0;
    e->last_pc = 0;
    memset(e->recent, 0, sizeof e->recent);
    memset(e->kinds, 0, (e->kinds_mask + 1) * sizeof *e->kinds);
    hak_bytes *all[] = {&e->context_bytes, &e->thread_numbers, &e->kind_bytes, &e->meta_threads,
                        &e->meta_modules,  &e->meta_rows,      &e->meta_rss,   &e->meta_symbols};
    for (size_t i = 0; i < HAK_COUNT_OF(all); i++) {
        all[i]->len_bytes = 0;
        all[i]->failed = false;
    }
    e->model.contexts[0] = (hak_model_context){0, 0};
    e->model.stack_count = 0;
    e->model.fresh = 0;
    e->failed = false;
}

hak_encoder *hak_encoder_new(void)
{
    hak_encoder *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    bool ok = true;
    for (unsigned i = 0; i < HAK_COLUMN_COUNT; i++) {
        e->columns[i].start = malloc((size_t)HAK_MEMBER_EVENTS * VALUE_MAX_BYTES);
        ok &= e->columns[i].start != NULL;
    }
    e->kinds = calloc(FIRST_KINDS, sizeof *e->kinds);
    e->kinds_mask = FIRST_KINDS - 1;
    ok &= e->kinds != NULL && HAK_GROW(&e->model.contexts, &e->model.contexts_room, 1);
    /* A free pushes at most one slot, so the stack needs no check per event. */
    ok &= HAK_GROW(&e->model.stack, &e->model.stack_room, HAK_MEMBER_EVENTS);
    if (!ok) {
        hak_encoder_free(e);
        return NULL;
    }
    begin_member(e);
    return e;
}

void hak_encoder_free(hak_encoder *e)
{
    if (e == NULL)
        return;
    for (unsigned i = 0; i < HAK_COLUMN_COUNT; i++)
        free(e->columns[i].start);
    free(e->model.contexts);
    free(e->model.threads);
    free(e->model.stack);
    free(e->contexts);
    free(e->threads);
    free(e->kinds);
    hak_bytes_done(&e->context_bytes);
    hak_bytes_done(&e->thread_numbers);
    hak_bytes_done(&e->kind_bytes);
    hak_bytes_done(&e->meta_threads);
    hak_bytes_done(&e->meta_modules);
    hak_bytes_done(&e->meta_rows);
    hak_bytes_done(&e->meta_rss);
    hak_bytes_done(&e->meta_symbols);
    free(e);
}

/* ---- numbers of the member's own ---- */

/* The entry for a number, made room for; NULL: no memory. New entries have generation 0, which no member has.
 */
static hak_local *local_at(hak_local **array, size_t *room, uint32_t number)
{
    size_t before = *room;
    if (HAK_UNLIKELY(number >= before)) {
        if (!HAK_GROW(array, room, (size_t)number + 1))
            return NULL;
        memset(*array + before, 0, (*room - before) * sizeof **array);
    }
    return *array + number;
}

uint32_t hak_encoder_new_context(hak_encoder *e, const hak_context_map *map, uint32_t node)
{
    uint32_t chain[HAK_TRACE_MAX_DEPTH];
    unsigned depth = 0;
    uint32_t parent = 0;
    if (local_at(&e->contexts, &e->contexts_room, (uint32_t)map->count - 1) == NULL)
        goto no_memory;
    for (uint32_t up = node; up != 0; up = map->nodes[up].parent) {
        if (e->contexts[up].generation == e->generation) {
            parent = e->contexts[up].number;
            break;
        }
        hak_assert(depth < HAK_TRACE_MAX_DEPTH);
        chain[depth++] = up;
    }
    if (!HAK_GROW(&e->model.contexts, &e->model.contexts_room, (size_t)e->contexts_count + depth + 1))
        goto no_memory;
    while (depth != 0) {
        uint32_t up = chain[--depth];
        uint32_t own = ++e->contexts_count;
        hak_bytes_varint(&e->context_bytes, own - parent);
        hak_bytes_varint(&e->context_bytes, hak_zigzag((int64_t)(map->nodes[up].pc - e->last_pc)));
        e->last_pc = map->nodes[up].pc;
        e->contexts[up] = (hak_local){e->generation, own};
        e->model.contexts[own] = (hak_model_context){0, 0};
        parent = own;
    }
    return parent;
no_memory:
    e->failed = true;
    return 0;
}

static HAK_NOINLINE uint32_t new_thread(hak_encoder *e, uint32_t thread)
{
    hak_local *at = local_at(&e->threads, &e->threads_room, thread);
    if (at == NULL || !HAK_GROW(&e->model.threads, &e->model.threads_room, (size_t)e->threads_count + 1)) {
        e->failed = true;
        return 0;
    }
    *at = (hak_local){e->generation, e->threads_count++};
    e->model.threads[at->number] = (hak_model_thread){0, 0};
    hak_bytes_varint(&e->thread_numbers, thread);
    return at->number;
}

static uint32_t thread_of(hak_encoder *e, uint32_t thread)
{
    if (HAK_LIKELY(thread < e->threads_room && e->threads[thread].generation == e->generation))
        return e->threads[thread].number;
    return new_thread(e, thread);
}

/* ---- kinds: thread, operation, flags, alignment and shape as one number ---- */

static bool widen_kinds(hak_encoder *e)
{
    size_t count = (e->kinds_mask + 1) * 2;
    hak_kind_entry *wide = calloc(count, sizeof *wide);
    if (wide == NULL)
        return false;
    for (size_t i = 0; i <= e->kinds_mask; i++) {
        if (e->kinds[i].key == 0)
            continue;
        size_t at = hak_mix64(e->kinds[i].key) & (count - 1);
        while (wide[at].key != 0)
            at = (at + 1) & (count - 1);
        wide[at] = e->kinds[i];
    }
    free(e->kinds);
    e->kinds = wide;
    e->kinds_mask = count - 1;
    return true;
}

static HAK_NOINLINE uint32_t find_kind(hak_encoder *e, uint64_t key, uint32_t thread, uint8_t shape,
                                       const hak_event *event)
{
    size_t at = hak_mix64(key) & e->kinds_mask;
    while (e->kinds[at].key != 0 && e->kinds[at].key != key)
        at = (at + 1) & e->kinds_mask;
    if (e->kinds[at].key == 0) {
        if ((size_t)e->kinds_count * 2 > e->kinds_mask) {
            if (!widen_kinds(e)) {
                e->failed = true;
                return 0;
            }
            return find_kind(e, key, thread, shape, event);
        }
        e->kinds[at] = (hak_kind_entry){key, e->kinds_count++};
        const uint8_t fixed[] = {event->op, event->flags, event->align_log2, shape};
        hak_bytes_varint(&e->kind_bytes, thread);
        hak_bytes_raw(&e->kind_bytes, fixed, sizeof fixed);
    }
    return e->kinds[at].number;
}

static uint32_t kind_of(hak_encoder *e, uint32_t thread, uint8_t shape, const hak_event *event)
{
    uint64_t key = (uint64_t)1 << 63 | (uint64_t)thread << 32 | (uint32_t)event->op << 24 |
                   (uint32_t)event->flags << 16 | (uint32_t)event->align_log2 << 8 | shape;
    hak_kind_entry *recent = &e->recent[(event->op + 5 * thread + shape) % HAK_RECENT_KINDS];
    if (HAK_UNLIKELY(key != recent->key))
        *recent = (hak_kind_entry){key, find_kind(e, key, thread, shape, event)};
    return recent->number;
}

/* ---- one event ---- */

static void put_slots(hak_encoder *e, hak_model_thread *thread, const hak_event *event)
{
    if (event->slot_old != HAK_SLOT_NONE) {
        hak_encoder_put_old(e, thread, event->slot_old);
        if ((event->flags & HAK_EVENT_FAILED) == 0)
            hak_model_saw_free(&e->model, event->slot_old);
    }
    if (event->slot != HAK_SLOT_NONE)
        hak_encoder_put_slot(e, thread, event->slot);
}

void hak_encoder_event(hak_encoder *e, const hak_context_map *map, const hak_event *event)
{
    hak_assert(e->count < HAK_MEMBER_EVENTS);
    uint8_t shape = hak_shape_of(event);
    uint32_t thread_number = thread_of(e, event->thread);
    uint32_t context = (shape & HAK_SHAPE_CONTEXT) != 0 ? hak_encoder_context(e, map, event->context) : 0;
    uint32_t kind = kind_of(e, thread_number, shape, event);
    if (HAK_UNLIKELY(e->failed))
        return;
    hak_encoder_put_start(e, kind, event->time_ns);
    hak_model_thread *thread = &e->model.threads[thread_number];
    if ((shape & HAK_SHAPE_CONTEXT) != 0)
        hak_encoder_put_context(e, thread, context);
    if ((shape & HAK_SHAPE_SIZE) != 0)
        hak_encoder_put_size(e, &e->model.contexts[context], event->size_bytes);
    put_slots(e, thread, event);
}

bool hak_encoder_enter(hak_encoder *e, hak_lane *lane, uint32_t thread)
{
    *lane = (hak_lane){.generation = e->generation, .of = thread, .thread = thread_of(e, thread)};
    return !e->failed;
}

bool hak_encoder_learn_kind(hak_encoder *e, hak_lane *lane, hak_op op, uint8_t shape)
{
    const hak_event plain = {.op = (uint8_t)op};
    uint32_t kind = kind_of(e, lane->thread, shape, &plain);
    if (e->failed)
        return false;
    lane->kinds[op] = kind + 1;
    return true;
}

/* ---- tables ---- */

void hak_encoder_thread(hak_encoder *e, uint32_t index, uint64_t tid, const char *name)
{
    hak_bytes_varint(&e->meta_threads, index);
    hak_bytes_varint(&e->meta_threads, tid);
    hak_bytes_string(&e->meta_threads, name, strnlen(name, HAK_NAME_MAX_BYTES));
}

void hak_encoder_module_load(hak_encoder *e, const hak_trace_module *module)
{
    hak_bytes *to = &e->meta_modules;
    hak_bytes_varint(to, HAK_MODULE_LOAD);
    hak_bytes_varint(to, module->start);
    hak_bytes_varint(to, module->end);
    hak_bytes_varint(to, module->bias);
    hak_bytes_varint(to, module->from_ns);
    hak_bytes_string(to, module->path, strnlen(module->path, HAK_PATH_MAX_BYTES));
    hak_bytes_string(to, module->build_id,
                     module->build_id_bytes < HAK_BUILD_ID_MAX_BYTES ? module->build_id_bytes
                                                                     : HAK_BUILD_ID_MAX_BYTES);
}

void hak_encoder_module_unload(hak_encoder *e, uint64_t start, uint64_t time_ns)
{
    hak_bytes_varint(&e->meta_modules, HAK_MODULE_UNLOAD);
    hak_bytes_varint(&e->meta_modules, start);
    hak_bytes_varint(&e->meta_modules, time_ns);
}

void hak_encoder_row(hak_encoder *e, const hak_trace_row *row)
{
    hak_bytes_varint(&e->meta_rows, row->pc);
    hak_bytes_varint(&e->meta_rows, hak_zigzag(row->row.cfa_offset));
    hak_bytes_varint(&e->meta_rows, hak_zigzag(row->row.bp_slot));
    hak_bytes_varint(&e->meta_rows, row->row.kind);
}

void hak_encoder_rss(hak_encoder *e, const hak_trace_rss *rss)
{
    hak_bytes_varint(&e->meta_rss, rss->time_ns);
    hak_bytes_varint(&e->meta_rss, rss->rss_bytes);
}

void hak_encoder_symbol(hak_encoder *e, const hak_trace_symbol *symbol)
{
    hak_bytes *to = &e->meta_symbols;
    hak_bytes_varint(to, symbol->module);
    hak_bytes_varint(to, symbol->pc);
    hak_bytes_varint(to, symbol->count);
    for (uint32_t i = 0; i < symbol->count; i++) {
        hak_bytes_string(to, symbol->frames[i].function,
                         strnlen(symbol->frames[i].function, HAK_PATH_MAX_BYTES));
        hak_bytes_string(to, symbol->frames[i].file, strnlen(symbol->frames[i].file, HAK_PATH_MAX_BYTES));
        hak_bytes_varint(to, symbol->frames[i].line);
    }
}

/* ---- one member's end ---- */

static size_t meta_bytes(const hak_encoder *e)
{
    return e->meta_threads.len_bytes + e->meta_modules.len_bytes + e->meta_rows.len_bytes +
           e->meta_rss.len_bytes + e->meta_symbols.len_bytes;
}

static size_t column_bytes(const hak_encoder *e)
{
    size_t sum = 0;
    for (unsigned i = 0; i < HAK_COLUMN_COUNT; i++)
        sum += (size_t)(e->columns[i].at - e->columns[i].start);
    return sum;
}

bool hak_encoder_full(const hak_encoder *e)
{
    return e->count >= HAK_MEMBER_EVENTS || e->contexts_count >= HAK_MEMBER_NODES ||
           meta_bytes(e) >= META_TARGET_BYTES ||
           (e->count % CHECK_EVENTS == 0 && column_bytes(e) >= HAK_MEMBER_RAW_TARGET);
}

size_t hak_encoder_bytes(const hak_encoder *e)
{
    return meta_bytes(e) + column_bytes(e);
}

bool hak_encoder_empty(const hak_encoder *e)
{
    return e->count == 0 && meta_bytes(e) == 0;
}

uint32_t hak_encoder_events(const hak_encoder *e)
{
    return e->count;
}

static uint8_t *put_section(uint8_t *at, uint8_t tag, const void *body, size_t body_bytes)
{
    *at++ = tag;
    at = hak_put_varint(at, body_bytes);
    if (body_bytes != 0)
        memcpy(at, body, body_bytes);
    return at + body_bytes;
}

static uint8_t *put_table(uint8_t *at, uint8_t tag, const hak_bytes *body)
{
    return body->len_bytes == 0 ? at : put_section(at, tag, body->at, body->len_bytes);
}

/* A count, then the records. */
static uint8_t *put_counted(uint8_t *at, uint32_t count, const hak_bytes *records)
{
    at = hak_put_varint(at, count);
    if (records->len_bytes != 0)
        memcpy(at, records->at, records->len_bytes);
    return at + records->len_bytes;
}

static uint8_t *put_kinds(const hak_encoder *e, uint8_t *at)
{
    uint8_t counts[2][HAK_VARINT_MAX_BYTES];
    size_t body = (size_t)(hak_put_varint(counts[0], e->threads_count) - counts[0]) +
                  (size_t)(hak_put_varint(counts[1], e->kinds_count) - counts[1]) +
                  e->thread_numbers.len_bytes + e->kind_bytes.len_bytes;
    *at++ = HAK_SECTION_KINDS;
    at = hak_put_varint(at, body);
    at = put_counted(at, e->threads_count, &e->thread_numbers);
    return put_counted(at, e->kinds_count, &e->kind_bytes);
}

static uint8_t *put_events(const hak_encoder *e, uint64_t first_index, uint8_t *at)
{
    at = put_table(at, HAK_SECTION_CONTEXTS, &e->context_bytes);
    at = put_kinds(e, at);
    uint8_t body[3 * HAK_VARINT_MAX_BYTES];
    uint8_t *end = hak_put_varint(body, e->count);
    end = hak_put_varint(end, first_index);
    end = hak_put_varint(end, e->base_ns);
    at = put_section(at, HAK_SECTION_EVENTS, body, (size_t)(end - body));
    for (unsigned i = 0; i < HAK_COLUMN_COUNT; i++) {
        const hak_column *from = &e->columns[i];
        if (from->at != from->start)
            at = put_section(at, (uint8_t)(HAK_SECTION_COLUMN_KIND + i), from->start,
                             (size_t)(from->at - from->start));
    }
    return at;
}

static uint8_t *put_prefix(uint8_t *at, uint8_t kind)
{
    memcpy(at, HAK_LAYOUT_MAGIC, HAK_LAYOUT_MAGIC_BYTES);
    at[HAK_LAYOUT_MAGIC_BYTES] = HAK_TRACE_VERSION;
    at[HAK_LAYOUT_MAGIC_BYTES + 1] = kind;
    return at + HAK_LAYOUT_PREFIX_BYTES;
}

size_t hak_encoder_end(hak_encoder *e, uint64_t first_index, uint8_t *raw)
{
    bool failed = e->failed || e->context_bytes.failed || e->thread_numbers.failed || e->kind_bytes.failed ||
                  e->meta_threads.failed || e->meta_modules.failed || e->meta_rows.failed ||
                  e->meta_rss.failed || e->meta_symbols.failed;
    uint8_t *at = raw;
    if (!failed) {
        at = put_prefix(at, HAK_PAYLOAD_DATA);
        at = put_table(at, HAK_SECTION_THREADS, &e->meta_threads);
        at = put_table(at, HAK_SECTION_MODULES, &e->meta_modules);
        at = put_table(at, HAK_SECTION_ROWS, &e->meta_rows);
        at = put_table(at, HAK_SECTION_RSS, &e->meta_rss);
        at = put_table(at, HAK_SECTION_SYMBOLS, &e->meta_symbols);
        if (e->count != 0)
            at = put_events(e, first_index, at);
    }
    begin_member(e);
    return (size_t)(at - raw);
}

void hak_encode_head(const hak_trace_head *head, hak_bytes *raw)
{
    uint8_t prefix[HAK_LAYOUT_PREFIX_BYTES];
    put_prefix(prefix, HAK_PAYLOAD_HEAD);
    hak_bytes_raw(raw, prefix, sizeof prefix);
    hak_bytes body = {.at = NULL};
    const uint64_t numbers[] = {head->start_unix_ns,   head->pid,   head->parent_pid,
                                head->parent_start_ns, head->clock, head->depth_max,
                                head->sample_bytes};
    for (size_t i = 0; i < HAK_COUNT_OF(numbers); i++)
        hak_bytes_varint(&body, numbers[i]);
    size_t command_bytes =
        head->command_bytes < HAK_COMMAND_MAX_BYTES ? head->command_bytes : HAK_COMMAND_MAX_BYTES;
    hak_bytes_string(&body, head->program, strnlen(head->program, HAK_PATH_MAX_BYTES));
    hak_bytes_string(&body, head->command, command_bytes);
    hak_bytes_string(&body, head->recorder, strnlen(head->recorder, HAK_NAME_MAX_BYTES));
    hak_bytes_section(raw, HAK_SECTION_HEAD, body.at, body.len_bytes);
    raw->failed |= body.failed;
    hak_bytes_done(&body);
}

void hak_encode_tail(const hak_trace_tail *tail, uint64_t events, const hak_bytes *index_body, hak_bytes *raw)
{
    uint8_t prefix[HAK_LAYOUT_PREFIX_BYTES];
    put_prefix(prefix, HAK_PAYLOAD_TAIL);
    hak_bytes_raw(raw, prefix, sizeof prefix);
    const uint64_t numbers[] = {events,
                                tail->duration_ns,
                                tail->events_lost,
                                tail->walks,
                                tail->walks_checked,
                                tail->walks_wrong,
                                tail->walks_dynamic,
                                tail->exit_status,
                                tail->end,
                                tail->cpu_ns};
    hak_bytes body = {.at = NULL};
    for (size_t i = 0; i < HAK_COUNT_OF(numbers); i++)
        hak_bytes_varint(&body, numbers[i]);
    hak_bytes_section(raw, HAK_SECTION_TAIL, body.at, body.len_bytes);
    hak_bytes_section(raw, HAK_SECTION_INDEX, index_body->at, index_body->len_bytes);
    raw->failed |= body.failed || index_body->failed;
    hak_bytes_done(&body);
}
