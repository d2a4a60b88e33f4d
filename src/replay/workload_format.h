/* workload_format.h: the region that a compiled workload is, shared by its builder (workload.c) and the loop
 * that replays it (loop.c). Words of eight bytes, addressed by their number from the start of the region; no
 * pointers. Built and read on one machine by one version: where it is kept in a file, its key holds the
 * version. Read-only once built.
 *
 * A thread's stream is a chain of words, ended by HAK_W_END; HAK_W_JUMP leads from chunk to chunk.
 *
 * - one word: code:8 slot:28 size:28 (sizes from 1 to below 256 MiB; of a free: the block's, or 0)
 * - realloc: code:8 to:28 size:28, from:28 old size:36
 * - generic: code:8 op:8 flags:8 align_log2:8, to:32 from:32, size, old size
 * - epoch, context, create, time, jump: code:8 number:56
 *
 * A slot is an index into the thread's own table, where entry 0 is always NULL. Codes that end in X name a
 * cell instead: one hand-over of a block from the thread that got it to the thread that frees or reallocates
 * it. */
#ifndef HAK_REPLAY_WORKLOAD_FORMAT_H
#define HAK_REPLAY_WORKLOAD_FORMAT_H

#include "core/base/types.h"

#define HAK_W_MAGIC       UINT64_C(0x35444c4f574b4148) /* "HAKWOLD5" */
#define HAK_W_SLOT_BITS   28
#define HAK_W_SIZE_BITS   28
#define HAK_W_MAX_SLOTS   ((uint32_t)1 << HAK_W_SLOT_BITS) /* per thread; cells likewise */
#define HAK_W_SMALL_END   ((uint64_t)1 << HAK_W_SIZE_BITS)
#define HAK_W_SLOT_MASK   ((uint64_t)HAK_W_MAX_SLOTS - 1)
#define HAK_W_EPOCH_NONE  UINT32_MAX
#define HAK_W_MARK_EPOCHS 128u
#define HAK_W_CHUNK_WORDS 8192u /* greatest piece of a stream */

/* The two upper bits of a code are its kind: malloc, free, or neither (10, 11). A malloc or free has in its
 * other six the kinds of the three words that follow, so that the loop jumps once for four calls. A kind of
 * 10 says that no further one belongs to the row, whatever comes behind it says. */
#define HAK_W_KIND_MASK 0xc0u
#define HAK_W_ROW_END   0x80u
#define HAK_W_ROW_ENDS  0x2au /* in the lower six bits: nothing of the row follows */
#define HAK_W_ROW_MAX   3u    /* words that follow the first of a row */

typedef enum hak_w_code {
    HAK_W_MALLOC = 0x00,
    HAK_W_FREE = 0x40,
    HAK_W_MALLOC_X = 0x80, /* see hak_w_code_x */
    HAK_W_FREE_X,
    HAK_W_CALLOC,
    HAK_W_CALLOC_X,
    HAK_W_NEW,
    HAK_W_NEW_X,
    HAK_W_NEW_ARRAY,
    HAK_W_NEW_ARRAY_X,
    HAK_W_DELETE,
    HAK_W_DELETE_X,
    HAK_W_DELETE_ARRAY,
    HAK_W_DELETE_ARRAY_X,
    HAK_W_REALLOC, /* +1: to a cell; +2: from a cell */
    HAK_W_REALLOC_X,
    HAK_W_REALLOC_FROM_X,
    HAK_W_REALLOC_FROM_X_TO_X,
    HAK_W_GENERIC,
    HAK_W_CONTEXT, /* the next allocations are from that call context */
    HAK_W_EPOCH,   /* leave the present epoch, enter that one */
    HAK_W_CREATE,  /* start that thread; only in the first thread's stream */
    HAK_W_TIME,    /* wait: see hak_w_timing */
    HAK_W_POLLUTE, /* touch other memory */
    HAK_W_JUMP,
    HAK_W_END
} hak_w_code;

HAK_INLINE unsigned hak_w_code_of(uint64_t word)
{
    return word & 0x80 ? word & 0xff : word & HAK_W_KIND_MASK;
}

/* Tells a malloc or free that the n-th word behind it (n from 1) is of that kind, where it thought that its
 * row had ended before. Others have no room for that. */
HAK_INLINE void hak_w_row_grow(uint64_t *word, unsigned n, unsigned kind)
{
    if ((*word & 0x80) == 0)
        *word ^= (HAK_W_ROW_END ^ kind) >> 2 * n;
}

/* Its row ends before the n-th word behind it. */
HAK_INLINE void hak_w_row_end(uint64_t *word, unsigned n)
{
    if ((*word & 0x80) == 0)
        *word = (*word & ~(uint64_t)(HAK_W_KIND_MASK >> 2 * n)) | HAK_W_ROW_END >> 2 * n;
}

/* The code of the same call with a cell in the place of its slot; of a realloc, of the one it returns. */
HAK_INLINE unsigned hak_w_code_x(unsigned code)
{
    return code == HAK_W_MALLOC ? (unsigned)HAK_W_MALLOC_X
           : code == HAK_W_FREE ? (unsigned)HAK_W_FREE_X
                                : code + 1;
}

enum {
    HAK_W_TO_X = 1,     /* `to` is a cell */
    HAK_W_FROM_X = 2,   /* `from` is a cell */
    HAK_W_NO_BLOCK = 4, /* the recorded call returned NULL: whatever comes back is freed at once */
    HAK_W_NOTHROW = 8,
};

#define HAK_W_GENERIC_WORDS 4

/* What the number of a HAK_W_TIME is. */
typedef enum hak_w_timing {
    HAK_W_TIMING_NONE,
    HAK_W_TIMING_PACE, /* nanoseconds since the start, when the next call was made */
    HAK_W_TIMING_THINK /* nanoseconds that the thread had spent between its last call and the next */
} hak_w_timing;

HAK_INLINE uint64_t hak_w_pack(unsigned code, uint64_t slot, uint64_t size)
{
    return code | slot << 8 | size << (8 + HAK_W_SLOT_BITS);
}

HAK_INLINE uint64_t hak_w_number(unsigned code, uint64_t number)
{
    return code | number << 8;
}

HAK_INLINE uint32_t hak_w_slot(uint64_t word)
{
    return (uint32_t)(word >> 8 & HAK_W_SLOT_MASK);
}

HAK_INLINE uint64_t hak_w_size(uint64_t word)
{
    return word >> (8 + HAK_W_SLOT_BITS);
}

typedef struct hak_w_thread {
    uint64_t first_word;
    uint64_t slot_base; /* of its table, in the table of all threads' slots */
    uint64_t operations;
    uint32_t slot_count;  /* entry 0 included */
    uint32_t first_epoch; /* HAK_W_EPOCH_NONE: it does nothing */
    uint32_t exits;       /* ends with its stream (1), or lives to the end of the run (0) */
    uint32_t reserved;
} hak_w_thread;

#define HAK_W_MODULE_NONE UINT32_MAX

typedef struct hak_w_context {
    uint64_t offset; /* return address - load bias of its module */
    uint32_t module;
    uint32_t parent; /* smaller than its own number; 0: outermost */
} hak_w_context;

typedef struct hak_w_module {
    uint64_t path; /* byte offset within paths */
    uint8_t build_id[20];
    uint8_t build_id_bytes;
    uint8_t reserved[3];
} hak_w_module;

typedef struct hak_w_header {
    uint64_t magic;
    uint64_t word_count;
    uint64_t operations;
    uint64_t slot_count; /* of all threads */
    uint64_t size_max;   /* greatest request */
    uint64_t threads_at; /* word number of hak_w_thread[thread_count] */
    uint64_t epochs_at;  /* of uint32_t[epoch_count]: threads that take part in each epoch */
    uint64_t left_at;    /* of uint64_t[left_count]: slots (over all threads) that are live at the end */
    uint64_t left_count;
    uint64_t contexts_at; /* of hak_w_context[context_count], hak_w_module[module_count], paths */
    uint64_t modules_at;
    uint64_t paths_at; /* NUL-terminated strings */
    uint64_t saved_at; /* of hak_w_saved (workload_build.h) */
    uint64_t marks_at; /* of uint64_t[mark_count]: how far the region reached when every HAK_W_MARK_EPOCHS-th
                          epoch began */
    uint64_t mark_count;
    uint64_t key[2]; /* of a kept workload; else 0 */
    uint32_t thread_count;
    uint32_t threads_max; /* alive at once, as recorded */
    uint32_t epoch_count;
    uint32_t skew; /* a thread may be in epoch e when all before e - skew are complete */
    uint32_t cell_count;
    uint32_t context_count; /* 0: built without; else context 0 is none */
    uint32_t module_count;
    uint32_t timing; /* hak_w_timing */
} hak_w_header;

#endif
