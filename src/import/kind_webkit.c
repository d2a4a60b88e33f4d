/* kind_webkit.c: WebKit's MallocBench .ops files: 24-byte records, little endian: {u32 opcode, u16 thread,
 * u16 log2 of the alignment, u64 slot, u64 size}; opcode 0 malloc, 1 free, 2 realloc, 3 aligned malloc. The
 * first files (before 2017) have opcodes 0 to 2 only, and padding in the place of thread and alignment. */
#include "import/kinds.h"

#include "core/base/wire.h"

enum { RECORD_BYTES = 24, DETECT_RECORDS = 128, ALIGN_NONE = 0xffff, ALIGN_MAX_LOG2 = 40 };
enum { OP_MALLOC, OP_FREE, OP_REALLOC, OP_ALIGNED, OP_END };

typedef struct record {
    uint32_t op;
    uint32_t thread, align_log2;
    uint64_t slot, size;
} record;

static record decode(const uint8_t *at)
{
    hak_wire_in in = hak_wire_in_of(at, RECORD_BYTES);
    record r;
    r.op = (uint32_t)hak_get_fixed(&in, 4);
    r.thread = (uint32_t)hak_get_fixed(&in, 2);
    r.align_log2 = (uint32_t)hak_get_fixed(&in, 2);
    r.slot = hak_get_fixed(&in, 8);
    r.size = hak_get_fixed(&in, 8);
    return r;
}

static const char *fault_of(const record *r)
{
    if (r->op >= OP_END)
        return "an unknown operation";
    if (r->slot == UINT64_MAX)
        return "a slot out of range";
    if (r->op == OP_ALIGNED && r->align_log2 > ALIGN_MAX_LOG2 && r->align_log2 != ALIGN_NONE)
        return "an alignment out of range";
    return NULL;
}

/* No signature: the first records must all make sense and be small numbers, as slots are given out in order.
 */
static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    (void)im;
    unsigned count = 0;
    for (; count < DETECT_RECORDS && len_bytes >= RECORD_BYTES; count++) {
        record r = decode((const uint8_t *)head);
        if (fault_of(&r) != NULL || r.slot > UINT32_MAX || r.size > (uint64_t)1 << 40)
            return false;
        head += RECORD_BYTES;
        len_bytes -= RECORD_BYTES;
    }
    return count != 0;
}

static const char *take(hak_import *im, const uint8_t *at)
{
    record r = decode(at);
    const char *fault = fault_of(&r);
    if (fault != NULL)
        return fault;
    uint64_t key = r.slot + 1;
    hak_import_thread(im, im->threads_unknown ? 0 : r.thread);
    bool holds = r.op == OP_MALLOC || r.op == OP_ALIGNED || hak_slots_find(im->slots, key) != 0;
    if (!holds) { /* MallocBench steps over what is to be done to a slot that holds nothing */
        hak_import_ignore(im);
        return NULL;
    }
    switch (r.op) {
    case OP_MALLOC:
        hak_import_alloc(im, HAK_OP_MALLOC, key, r.size, 0);
        break;
    case OP_ALIGNED:
        hak_import_alloc(im, HAK_OP_MEMALIGN, key, r.size,
                         r.align_log2 <= ALIGN_MAX_LOG2 ? (uint64_t)1 << r.align_log2 : 0);
        break;
    case OP_REALLOC:
        hak_import_realloc(im, key, key, r.size);
        break;
    default:
        hak_import_free(im, HAK_OP_FREE, key);
    }
    return NULL;
}

/* An alignment where none belongs is padding. */
static bool has_padding(hak_import *im)
{
    size_t left = hak_input_need(&im->in, HAK_INPUT_PEEK_BYTES);
    for (const uint8_t *at = im->in.at; left >= RECORD_BYTES; at += RECORD_BYTES, left -= RECORD_BYTES) {
        record r = decode(at);
        if (r.op != OP_ALIGNED && r.align_log2 != 0 && r.align_log2 != ALIGN_NONE)
            return true;
    }
    return false;
}

static int run(hak_import *im)
{
    im->threads_unknown = has_padding(im);
    return hak_import_records(im, RECORD_BYTES, take);
}

const hak_import_kind hak_import_webkit = {
    .format = {"webkit", "WebKit MallocBench .ops records"},
    .limits = "times, call contexts, ends of threads, alignments that are no power of two",
    .detect = detect,
    .run = run,
};
