/* workload_build.h: what the parts of the workload builder share: its state, and growing the region
 * (workload_store.c). For workload.c, workload_finish.c and workload_store.c only. One thread per build.
 * Functions return 0, or -1 (a word number: 0) with the builder's error filled. */
#ifndef HAK_REPLAY_WORKLOAD_BUILD_H
#define HAK_REPLAY_WORKLOAD_BUILD_H

#include "replay/workload.h"
#include "replay/workload_format.h"

struct hak_workload {
    int fd;
    uint64_t *words;
    uint64_t word_cap;
    uint64_t word_count;
    hak_workload_info info;
    bool in_file; /* not in memory */
};

/* What a reader of a kept workload wants to know of the recording. */
typedef struct hak_w_saved {
    hak_workload_info info;
    char program[256];
} hak_w_saved;

/* A block that is live where the builder stands. */
typedef struct hak_live_block {
    uint64_t word; /* of the call that made it */
    uint64_t size_bytes;
    uint32_t thread;
    uint32_t slot;
    uint32_t epoch;
    uint16_t used;   /* 0: no block */
    uint16_t behind; /* so many words directly before `word` may belong to its row */
} hak_live_block;

typedef struct hak_stream {
    uint64_t first, at, end; /* word numbers; the word at `end` is kept for the jump */
    uint64_t operations;
    uint32_t *spare; /* slots to use again, last in first out */
    uint32_t spare_count, spare_cap;
    uint32_t slot_count;
    uint32_t chunk_words;
    uint32_t row; /* words directly before `at` that are a malloc or free, up to HAK_W_ROW_MAX */
    uint32_t epoch, first_epoch;
    uint32_t context; /* of the last allocation */
    uint64_t last_ns; /* of the last call, or of the last HAK_W_TIME */
    bool started, exits;
} hak_stream;

typedef struct hak_spare_cell {
    uint32_t cell;
    uint32_t epoch; /* in which it was emptied */
} hak_spare_cell;

typedef struct hak_builder {
    hak_workload *w;
    hak_order order;
    unsigned flags;
    const hak_reader *reader;
    uint64_t *first_ns; /* per context: when it was first seen, plus one; 0: not */
    uint32_t first_cap;
    uint64_t budget_bytes;
    const char *folder; /* for what is large; NULL: memory only */
    uint64_t spill_bytes;
    uint64_t *marks;
    size_t mark_count, mark_cap;
    hak_live_block *lives;
    uint32_t live_cap;
    hak_stream *streams;
    uint32_t stream_count, stream_cap;
    uint32_t *epochs; /* threads that take part */
    uint32_t epoch_count, epoch_cap;
    hak_spare_cell *cells; /* queue: [cell_head, cell_tail) */
    size_t cell_head, cell_tail, cell_cap;
    uint32_t cell_count;
    uint32_t last_thread; /* HAK_ORDER_STRICT: whose turn it is */
    uint64_t live_bytes, live_blocks, size_max;
    uint32_t window_epoch, window_ops;    /* HAK_ORDER_WINDOW: the present epoch, calls in it */
    uint64_t window_bytes, window_budget; /* allocated and freed in it; when it is to end */
    uint32_t alive;
    uint64_t first_event_ns; /* UINT64_MAX: none yet */
    hak_trace_error *error;
} hak_builder;

int hak_builder_fail(hak_builder *b, const char *text); /* always -1 */

/* Grows a malloc'ed array, zeroed behind what it held, to at least `need` entries. */
int hak_array_grow(void **array, size_t *cap, size_t need, size_t entry_bytes);
int hak_builder_grow(hak_builder *b, void **array, uint32_t *cap, size_t need, size_t entry_bytes);
#define HAK_BUILDER_GROW(b, array, cap, need)                                                                \
    (HAK_LIKELY((need) <= (cap)) ? 0 : hak_builder_grow(b, (void **)&(array), &(cap), need, sizeof *(array)))

/* Word number of `count` fresh words on a cache line of their own. 0 on failure (word 0 is the header's). */
uint64_t hak_words_take(hak_builder *b, uint64_t count);

/* A further chunk for the stream, with room for count words. False on failure. */
bool hak_stream_grow(hak_builder *b, hak_stream *s, uint32_t count);

/* Word number for `count` consecutive words in the thread's stream. 0 on failure. */
HAK_INLINE uint64_t hak_stream_take(hak_builder *b, hak_stream *s, uint32_t count)
{
    if (HAK_UNLIKELY(s->at + count > s->end) && !hak_stream_grow(b, s, count))
        return 0;
    uint64_t at = s->at;
    s->at += count;
    s->row = 0;
    return at;
}
int hak_stream_put_number(hak_builder *b, hak_stream *s, unsigned code, uint64_t number);

/* After the last event: the tables behind the streams, and the header. */
int hak_builder_finish(hak_builder *b);

#endif
