/* layout.h: the numbers of the byte layout, format version 1, that encoder and decoder share; hakmem-trace(5)
 * explains them. Numbers are written to files: only ever append. */
#ifndef HAK_TRACE_LAYOUT_H
#define HAK_TRACE_LAYOUT_H

#include "trace/event.h"
#include "trace/trace_format.h"

/* A payload (the raw bytes of one gzip member) starts with magic, version and kind; sections follow. */
#define HAK_LAYOUT_MAGIC        "HAKT"
#define HAK_LAYOUT_MAGIC_BYTES  4
#define HAK_LAYOUT_PREFIX_BYTES 6

enum { HAK_PAYLOAD_HEAD = 1, HAK_PAYLOAD_DATA = 2, HAK_PAYLOAD_TAIL = 3 };

/* Section: tag byte, varint length, body. An unknown tag from OPTIONAL on is skipped, a lower one refused. */
enum {
    HAK_SECTION_HEAD = 1,
    HAK_SECTION_THREADS = 2,
    HAK_SECTION_MODULES = 3,
    HAK_SECTION_ROWS = 4,
    HAK_SECTION_RSS = 5,
    HAK_SECTION_CONTEXTS = 6,
    HAK_SECTION_KINDS = 7,
    HAK_SECTION_EVENTS = 8,
    HAK_SECTION_COLUMN_KIND = 16,
    HAK_SECTION_COLUMN_TIME = 17,
    HAK_SECTION_COLUMN_CONTEXT = 18,
    HAK_SECTION_COLUMN_SIZE = 19,
    HAK_SECTION_COLUMN_SLOT = 20,
    HAK_SECTION_COLUMN_OLD = 21,
    HAK_SECTION_TAIL = 32,
    HAK_SECTION_INDEX = 33,
    HAK_SECTION_OPTIONAL = 128,
    HAK_SECTION_SYMBOLS = 128,
};

enum {
    HAK_COLUMN_KIND,
    HAK_COLUMN_TIME,
    HAK_COLUMN_CONTEXT,
    HAK_COLUMN_SIZE,
    HAK_COLUMN_SLOT,
    HAK_COLUMN_OLD,
    HAK_COLUMN_COUNT
};

/* Which columns an event of a kind has a value in. */
enum { HAK_SHAPE_CONTEXT = 1, HAK_SHAPE_SIZE = 2, HAK_SHAPE_SLOT = 4, HAK_SHAPE_OLD = 8 };

enum { HAK_MODULE_LOAD = 1, HAK_MODULE_UNLOAD = 2 };

/* A size code of 0 is "as last time in this context", 1 "a varint follows", else size + 2. */
#define HAK_SIZE_SAME    0
#define HAK_SIZE_LITERAL 1
#define HAK_SIZE_BASE    2
#define HAK_SIZE_DIRECT  ((uint64_t)1 << 62) /* sizes below have a code of their own */

/* What the writer keeps to; a reader takes anything within the limits of trace_format.h. */
#define HAK_MEMBER_EVENTS     131072
#define HAK_MEMBER_RAW_TARGET (1536 * HAK_KIB)
#define HAK_MEMBER_NODES      131072
#define HAK_NAME_MAX_BYTES    255
#define HAK_PATH_MAX_BYTES    4096
#define HAK_COMMAND_MAX_BYTES ((size_t)128 << 10) /* longer command lines are cut */

static inline uint8_t hak_shape_of(const hak_event *event)
{
    hak_op_class op_class = hak_op_class_of((hak_op)event->op);
    unsigned shape = 0;
    if (event->context != HAK_CONTEXT_NONE)
        shape |= HAK_SHAPE_CONTEXT;
    if (op_class == HAK_CLASS_ALLOC || op_class == HAK_CLASS_REALLOC || event->size_bytes != 0)
        shape |= HAK_SHAPE_SIZE;
    if (event->slot != HAK_SLOT_NONE)
        shape |= HAK_SHAPE_SLOT;
    if (event->slot_old != HAK_SLOT_NONE)
        shape |= HAK_SHAPE_OLD;
    return (uint8_t)shape;
}

#endif
