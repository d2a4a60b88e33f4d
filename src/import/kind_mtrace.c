/* kind_mtrace.c: glibc-malloc-trace-utils' buffers: an array of 64-byte records (its mtrace.h), little
 * endian: 0 thread:32  4 type:8, path bits:24  8 ptr1  16 ptr2  24 size  32 size2  40 size3  48 padding ptr1
 * is what free and realloc got, ptr2 the result; size2 the alignment. The first record is of type 255
 * (0x1234). Records are claimed before the call ends, so an allocation may stand before the free that made
 * room for it. */
#include "import/kinds.h"

#include "core/base/wire.h"

enum { RECORD_BYTES = 64, MAGIC_VALUE = 0x1234, DETECT_RECORDS = 64 };

enum {
    TYPE_UNUSED,
    TYPE_MALLOC,
    TYPE_CALLOC,
    TYPE_FREE,
    TYPE_REALLOC,
    TYPE_MEMALIGN,
    TYPE_VALLOC,
    TYPE_PVALLOC,
    TYPE_POSIX_MEMALIGN,
    TYPE_KNOWN_END,
    TYPE_MAGIC = 255
};

static uint64_t word(const uint8_t *record, unsigned at)
{
    hak_wire_in in = hak_wire_in_of(record + at, 8);
    return hak_get_fixed(&in, 8);
}

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    const uint8_t *record = (const uint8_t *)head;
    im->late_events = HAK_IMPORT_LATE_THREADS;
    if (len_bytes < RECORD_BYTES)
        return false;
    if (record[4] == TYPE_MAGIC && word(record, 8) == MAGIC_VALUE && word(record, 24) == sizeof(void *))
        return true;
    for (unsigned i = 0; i < DETECT_RECORDS && len_bytes >= RECORD_BYTES; i++) {
        if (record[4] == TYPE_UNUSED || record[4] >= TYPE_KNOWN_END || word(record, 48) != 0 ||
            word(record, 56) != 0)
            return false;
        record += RECORD_BYTES;
        len_bytes -= RECORD_BYTES;
    }
    return true;
}

static const char *take(hak_import *im, const uint8_t *record)
{
    uint64_t from = word(record, 8), to = word(record, 16), size = word(record, 24), align = word(record, 32);
    uint8_t type = record[4];
    if (type == TYPE_UNUSED || type == TYPE_MAGIC) {
        im->summary->ignored++;
        return NULL;
    }
    hak_import_thread(im, word(record, 0) & UINT32_MAX);
    switch (type) {
    case TYPE_MALLOC:
        hak_import_alloc(im, HAK_OP_MALLOC, to, size, 0);
        break;
    case TYPE_CALLOC:
        hak_import_alloc(im, HAK_OP_CALLOC, to, size, 0);
        break;
    case TYPE_FREE:
        hak_import_free(im, HAK_OP_FREE, from);
        break;
    case TYPE_REALLOC:
        hak_import_realloc(im, to, from, size);
        break;
    case TYPE_MEMALIGN:
        hak_import_alloc(im, HAK_OP_MEMALIGN, to, size, align);
        break;
    case TYPE_VALLOC:
        hak_import_alloc(im, HAK_OP_VALLOC, to, size, 0);
        break;
    case TYPE_PVALLOC:
        hak_import_alloc(im, HAK_OP_PVALLOC, to, size, 0);
        break;
    case TYPE_POSIX_MEMALIGN: /* ptr1 is the error */
        hak_import_alloc(im, HAK_OP_POSIX_MEMALIGN, from == 0 ? to : 0, size, align);
        break;
    default:
        return "a record of an unknown type";
    }
    return NULL;
}

static int run(hak_import *im)
{
    return hak_import_records(im, RECORD_BYTES, take);
}

const hak_import_kind hak_import_mtrace = {
    .format = {"mtrace", "glibc-malloc-trace-utils' 64-byte records"},
    .limits = "times, call contexts, ends of threads",
    .detect = detect,
    .run = run,
};
