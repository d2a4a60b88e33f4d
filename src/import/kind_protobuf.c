/* kind_protobuf.c: malloc-bench's tracefile.proto, gzipped or plain (protobuf wire format: key = field << 3 |
 * type): Tracefile {1: repeated Line, 2: greatest number of blocks live at once} Line, one of {1 malloc {1
 * id, 2 size, 3 alignment}, 2 free {1 id, 2 size, 3 alignment}, 3 realloc {1 new id, 2 old id, 3 size}, 4
 * calloc {1 id, 2 count, 3 size}}. An id that is not written stands for NULL, another number for 0. Unknown
 * fields are stepped over. */
#include "import/kinds.h"

#include <stdio.h>

#include "core/base/wire.h"

enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
    LINE_MAX_BYTES = 4096,
    FIELDS = 4
};

/* A message's number fields 1 … 3; false when it is damaged. */
typedef struct numbers {
    uint64_t value[FIELDS];
    bool there[FIELDS];
} numbers;

static bool fields(hak_wire_in *in, numbers *n)
{
    while (hak_wire_left(in) != 0 && !in->bad) {
        uint64_t key = hak_get_varint(in), value = 0;
        size_t len;
        switch (key & 7) {
        case WIRE_VARINT:
            value = hak_get_varint(in);
            break;
        case WIRE_FIXED64:
            value = hak_get_fixed(in, 8);
            break;
        case WIRE_FIXED32:
            value = hak_get_fixed(in, 4);
            break;
        case WIRE_BYTES:
            hak_get_bytes(in, &len);
            break;
        default:
            return false;
        }
        if (key >> 3 < FIELDS && (key & 7) != WIRE_BYTES) {
            n->value[key >> 3] = value;
            n->there[key >> 3] = true;
        }
    }
    return !in->bad;
}

/* The block that a field names. */
static uint64_t block_key(const numbers *n, unsigned field)
{
    uint64_t id = n->value[field];
    return !n->there[field] ? 0 : id != UINT64_MAX ? id + 1 : id;
}

/* One Line. NULL, or what is wrong. */
static const char *line_take(hak_import *im, const uint8_t *bytes, size_t len_bytes)
{
    hak_wire_in in = hak_wire_in_of(bytes, len_bytes);
    while (hak_wire_left(&in) != 0) {
        uint64_t key = hak_get_varint(&in), size;
        numbers n = {.value = {0}};
        const uint64_t *v = n.value;
        size_t len = 0;
        if ((key & 7) != WIRE_BYTES)
            return "a line that is no message";
        const uint8_t *body = hak_get_bytes(&in, &len);
        hak_wire_in inner = hak_wire_in_of(body != NULL ? body : bytes, len);
        if (in.bad || !fields(&inner, &n))
            return "a damaged line";
        uint64_t id = block_key(&n, 1);
        hak_import_thread(im, 1);
        switch (key >> 3) {
        case 1:
            hak_import_alloc(im, v[3] > 1 ? HAK_OP_MEMALIGN : HAK_OP_MALLOC, id, v[2], v[3]);
            break;
        case 2:
            hak_import_free(im, HAK_OP_FREE, id);
            break;
        case 3:
            hak_import_realloc(im, id, block_key(&n, 2), v[3]);
            break;
        case 4:
            if (__builtin_mul_overflow(v[2], v[3], &size)) {
                if (id != 0)
                    return "calloc of more bytes than there are";
                size = UINT64_MAX;
            }
            hak_import_alloc(im, HAK_OP_CALLOC, id, size, 0);
            break;
        default:
            hak_import_ignore(im);
        }
    }
    return NULL;
}

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    (void)im;
    hak_wire_in in = hak_wire_in_of(head, len_bytes);
    size_t len = 0;
    if (len_bytes < 4 || (head[0] != 0x0a && head[0] != 0x10))
        return false;
    if (head[0] == 0x10) { /* the number of blocks comes first */
        hak_get_varint(&in);
        hak_get_varint(&in);
    }
    if (hak_get_varint(&in) != (1 << 3 | WIRE_BYTES))
        return false;
    const uint8_t *line = hak_get_bytes(&in, &len);
    if (line == NULL || len < 2 || len > LINE_MAX_BYTES)
        return false;
    return (line[0] & 7) == WIRE_BYTES && line[0] >> 3 >= 1 && line[0] >> 3 <= 4 && line[1] == len - 2;
}

static int run(hak_import *im)
{
    const size_t window = LINE_MAX_BYTES + 2 * HAK_VARINT_MAX_BYTES;
    uint64_t promised = 0;
    size_t have;
    while ((have = hak_input_need(&im->in, window)) != 0) {
        hak_wire_in in = hak_wire_in_of(im->in.at, have);
        uint64_t key = hak_get_varint(&in);
        size_t len = 0;
        const char *fault = NULL;
        if (key == (1 << 3 | WIRE_BYTES)) {
            const uint8_t *line = hak_get_bytes(&in, &len);
            fault = in.bad || len > LINE_MAX_BYTES ? "cut off, or a line of more than 4096 bytes"
                                                   : line_take(im, line, len);
        } else if ((key & 7) == WIRE_VARINT && !in.bad) {
            uint64_t value = hak_get_varint(&in);
            promised = key >> 3 == 2 ? value : promised;
            fault = in.bad ? "cut off" : NULL;
        } else {
            fault = "no field of a trace file";
        }
        if (fault != NULL)
            return hak_import_input_end(im) != 0 ? -1 : hak_import_broken_record(im, fault);
        hak_input_take(&im->in, (size_t)(in.at - im->in.at));
        im->summary->records++;
        if (im->failed)
            return 0;
    }
    if (promised != 0 && promised != im->summary->live_max_blocks)
        snprintf(im->summary->note, sizeof im->summary->note,
                 "the file says that %llu blocks were live at most; its lines say %llu",
                 (unsigned long long)promised, (unsigned long long)im->summary->live_max_blocks);
    return hak_import_input_end(im);
}

const hak_import_kind hak_import_protobuf = {
    .format = {"protobuf", "malloc-bench's tracefile.proto, gzipped"},
    .limits = "threads, times, call contexts, sizes and alignments given to free",
    .detect = detect,
    .run = run,
};
