/* memo.c: the table of rows, and the walk over it. Never unwinds with a library, never allocates from malloc.
 *
 * An entry is two words, {pc ^ scrambled row, row}, stored without order or lock: a reader that meets two
 * halves of different entries finds a pc that is not its own and evaluates for itself (Hyatt, "A lockless
 * transposition table", 2002). A generation in the unused top bits of pc makes forgetting everything one
 * increment. Concurrency: any thread, signal handlers included. */
#include "core/callsite/memo.h"

#include <string.h>

#include "core/base/os.h"
#include "core/callsite/cfi.h"

#define LINE_BITS  14 /* 64 Ki rows, 1 MiB, touched as it fills */
#define LINE_ROWS  4  /* rows to a cache line */
#define LINE_COUNT ((size_t)1 << LINE_BITS)
#define PC_BITS    48
#define SCRAMBLE   UINT64_C(0x9e3779b97f4a7c15)
#define PRESENT    1 /* in hak_frame_row.reserved, inside the table only: no stored row is all zero */

typedef struct memo_entry {
    _Atomic uint64_t key;
    _Atomic uint64_t row;
} memo_entry;

typedef struct memo_line {
    memo_entry entries[LINE_ROWS];
} memo_line;

static _Atomic(memo_line *) table;
static _Atomic uint64_t generation;

/* NULL without memory: then every row is evaluated anew. */
static memo_line *table_get(void)
{
    memo_line *lines = atomic_load_explicit(&table, memory_order_acquire);
    if (HAK_LIKELY(lines != NULL))
        return lines;
    memo_line *fresh = hak_os_map(LINE_COUNT * sizeof *fresh, HAK_OS_PAGE_BYTES);
    if (fresh == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(&table, &lines, fresh))
        return fresh;
    hak_os_unmap(fresh, LINE_COUNT * sizeof *fresh);
    return lines;
}

static memo_line *line_of(memo_line *lines, uintptr_t pc)
{
    return &lines[(uint64_t)pc * SCRAMBLE >> (64 - LINE_BITS)];
}

static uint64_t tagged(uintptr_t pc)
{
    return (uint64_t)pc ^ atomic_load_explicit(&generation, memory_order_relaxed) << PC_BITS;
}

bool hak_memo_find(uintptr_t pc, hak_frame_row *row)
{
    memo_line *lines = table_get();
    if (HAK_UNLIKELY(lines == NULL))
        return false;
    memo_line *line = line_of(lines, pc);
    uint64_t wanted = tagged(pc);
    for (unsigned i = 0; i < LINE_ROWS; i++) {
        uint64_t packed = atomic_load_explicit(&line->entries[i].row, memory_order_relaxed);
        uint64_t key = atomic_load_explicit(&line->entries[i].key, memory_order_relaxed);
        if ((key ^ packed * SCRAMBLE) == wanted && packed != 0) {
            memcpy(row, &packed, sizeof packed);
            row->reserved = 0;
            return true;
        }
    }
    return false;
}

/* The entry that holds the pc, an empty one, or one to give up: picked by the pc's own bits. */
static memo_entry *entry_for(memo_line *line, uint64_t wanted)
{
    memo_entry *empty = NULL;
    for (unsigned i = 0; i < LINE_ROWS; i++) {
        memo_entry *entry = &line->entries[i];
        uint64_t packed = atomic_load_explicit(&entry->row, memory_order_relaxed);
        uint64_t key = atomic_load_explicit(&entry->key, memory_order_relaxed);
        if (packed != 0 && (key ^ packed * SCRAMBLE) == wanted)
            return entry;
        if (packed == 0 && empty == NULL)
            empty = entry;
    }
    return empty != NULL ? empty : &line->entries[(wanted * SCRAMBLE >> 32) % LINE_ROWS];
}

void hak_memo_set(uintptr_t pc, hak_frame_row row)
{
    memo_line *lines = table_get();
    if (lines == NULL)
        return;
    uint64_t packed;
    uint64_t wanted = tagged(pc);
    row.reserved = PRESENT;
    _Static_assert(sizeof row == sizeof packed, "a row is one word");
    memcpy(&packed, &row, sizeof packed);
    memo_entry *entry = entry_for(line_of(lines, pc), wanted);
    atomic_store_explicit(&entry->key, wanted ^ packed * SCRAMBLE, memory_order_relaxed);
    atomic_store_explicit(&entry->row, packed, memory_order_relaxed);
}

hak_frame_row hak_memo_learn(uintptr_t pc)
{
    hak_frame_row row = hak_cfi_row(pc);
    hak_memo_set(pc, row);
    return row;
}

hak_frame_row hak_memo_row(uintptr_t pc)
{
    hak_frame_row row;
    return HAK_LIKELY(hak_memo_find(pc, &row)) ? row : hak_memo_learn(pc);
}

void hak_memo_reset(void)
{
    uint64_t next = atomic_fetch_add(&generation, 1) + 1;
    memo_line *lines = atomic_load_explicit(&table, memory_order_acquire);
    if ((next & 0xffff) != 0 || lines == NULL)
        return;
    for (size_t i = 0; i < LINE_COUNT; i++) /* the tag came round: rows of 65536 resets ago would match */
        for (unsigned j = 0; j < LINE_ROWS; j++)
            atomic_store_explicit(&lines[i].entries[j].row, 0, memory_order_relaxed);
}

unsigned hak_memo_walk(hak_frame frame, hak_stack stack, uintptr_t *pcs, unsigned max, bool *complete)
{
    unsigned count = 0;
    *complete = true;
    while (count < max && frame.pc != 0) {
        pcs[count++] = frame.pc;
        if (count == max)
            break;
        hak_frame_row row = hak_memo_row(frame.pc);
        if (!hak_frame_up(&frame, row, stack)) {
            *complete = row.kind == HAK_FRAME_END;
            break;
        }
    }
    return count;
}
