/* event.h: what happened, in memory. An event is one call of an allocation entry point, or a thread's start
 * or end. Plain data, owned by whoever holds the array. Encoded form: hakmem-trace(5). */
#ifndef HAK_TRACE_EVENT_H
#define HAK_TRACE_EVENT_H

#include "core/base/types.h"

/* Numbers are written to traces: only ever append. Columns: name, text, class. */
#define HAK_OPS(X)                                                                                           \
    X(MALLOC, "malloc", ALLOC)                                                                               \
    X(CALLOC, "calloc", ALLOC)                                                                               \
    X(MEMALIGN, "memalign", ALLOC)                                                                           \
    X(ALIGNED_ALLOC, "aligned_alloc", ALLOC)                                                                 \
    X(POSIX_MEMALIGN, "posix_memalign", ALLOC)                                                               \
    X(VALLOC, "valloc", ALLOC)                                                                               \
    X(PVALLOC, "pvalloc", ALLOC)                                                                             \
    X(NEW, "operator new", ALLOC)                                                                            \
    X(NEW_ARRAY, "operator new[]", ALLOC)                                                                    \
    X(REALLOC, "realloc", REALLOC)                                                                           \
    X(REALLOCARRAY, "reallocarray", REALLOC)                                                                 \
    X(FREE, "free", FREE)                                                                                    \
    X(CFREE, "cfree", FREE)                                                                                  \
    X(FREE_SIZED, "free_sized", FREE)                                                                        \
    X(FREE_ALIGNED_SIZED, "free_aligned_sized", FREE)                                                        \
    X(DELETE, "operator delete", FREE)                                                                       \
    X(DELETE_ARRAY, "operator delete[]", FREE)                                                               \
    X(THREAD_START, "thread start", THREAD)                                                                  \
    X(THREAD_END, "thread end", THREAD)

typedef enum hak_op {
#define X(name, text, op_class) HAK_OP_##name,
    HAK_OPS(X)
#undef X
        HAK_OP_COUNT
} hak_op;

typedef enum hak_op_class {
    HAK_CLASS_ALLOC,
    HAK_CLASS_REALLOC,
    HAK_CLASS_FREE,
    HAK_CLASS_THREAD
} hak_op_class;

const char *hak_op_text(hak_op op); /* "?" for an unknown number */

HAK_INLINE hak_op_class hak_op_class_of(hak_op op) /* op < HAK_OP_COUNT */
{
    static const uint8_t classes[HAK_OP_COUNT] = {
#define X(name, text, op_class) HAK_CLASS_##op_class,
        HAK_OPS(X)
#undef X
    };
    return (hak_op_class)classes[op];
}

enum {
    HAK_EVENT_FAILED = 1,  /* the call returned NULL (or an error); there is no block */
    HAK_EVENT_MOVED = 2,   /* realloc: the block has another address now */
    HAK_EVENT_NOTHROW = 4, /* operator new(std::nothrow) */
    HAK_EVENT_FOREIGN =
        8, /* free/realloc of a block the recording never saw being allocated; slot_old is 0 */
};

#define HAK_SLOT_NONE 0 /* NULL, or a block the recording does not know */
#define HAK_CONTEXT_NONE                                                                                     \
    0 /* no call context (frees, importers without stacks); also the root of the context tree */

/* One event, 48 bytes. Blocks are named by slot: a small number, unique among the blocks live at that time,
 * re-used last-in first-out. alloc: slot is the new block. free: slot_old is the freed block. realloc:
 * slot_old is the argument, slot the result (a realloc that keeps the block also ends slot_old and begins
 * slot; both may be equal). A failed realloc leaves slot_old live; one that is not FAILED and has slot 0
 * freed it (realloc(p, 0)). A slot never used before is one above the greatest so far. */
typedef struct hak_event {
    uint64_t time_ns;    /* since the start of the recording; never decreases along a trace */
    uint64_t size_bytes; /* as requested (count * size for calloc); 0 for frees */
    uint32_t slot;       /* 0 on failure and for frees */
    uint32_t slot_old;   /* 0 for allocs, realloc(NULL), free(NULL) */
    uint32_t context;    /* node of the context tree */
    uint32_t thread;     /* dense index into the trace's threads, in order of first appearance */
    uint8_t op;          /* hak_op */
    uint8_t align_log2;  /* 0: none requested */
    uint8_t flags;       /* HAK_EVENT_* */
    uint8_t reserved[5];
} hak_event;

#endif
