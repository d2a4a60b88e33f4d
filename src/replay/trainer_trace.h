/* trainer_trace.h: what the closed form needs from one trace: sizes, and what became of the blocks of each
 * call context. Two passes over the reader; memory O(contexts + slots). One thread. */
#ifndef HAK_REPLAY_TRAINER_TRACE_H
#define HAK_REPLAY_TRAINER_TRACE_H

#include "core/policy_format.h"
#include "trace/reader.h"

#define HAK_CELL_BYTES 16 /* sizes are counted in cells: cell i holds sizes (16 i, 16 (i + 1)] */
#define HAK_CELLS      (HAK_POLICY_MAX_CLASS_BYTES / HAK_CELL_BYTES)
#define HAK_BIG_BYTES                                                                                        \
    ((uint64_t)1 << 20) /* from here on a block is large, and worth a decision of its own                    \
                         */
#define HAK_SLACK_BYTES (HAK_POLICY_MAX_CLASS_BYTES + 1) /* growing reallocs below are not looked at */

#define HAK_LIST_STEPS 17

/* Blocks of at most 32 KiB are `small`; of at least HAK_BIG_BYTES `big`. */
typedef struct hak_context_stats {
    uint64_t first_ns; /* of its first block */
    uint64_t bytes;    /* of all its blocks */
    uint64_t small, small_short, small_long;
    uint64_t big, big_short, big_long, big_bytes;
    uint64_t freed, freed_remote; /* by another thread than the one that allocated */
    uint64_t grown, grown_again;  /* reallocs here that grew a block; of these, grown by <= 25% right after */
    uint64_t blocks;
} hak_context_stats;

/* All pointers are owned. */
typedef struct hak_train_trace {
    uint64_t allocations;
    uint64_t total_bytes; /* allocated */
    uint64_t peak_bytes;  /* live at most */
    uint64_t short_bytes; /* a block is short-lived when at most so much is allocated before it is freed */
    uint64_t long_bytes;  /* long-lived: at least so much, or never freed */
    uint64_t small_allocations;
    uint64_t count[HAK_CELLS]; /* allocations */
    uint64_t peak[HAK_CELLS];  /* live blocks near the peak */
    uint64_t shorts[HAK_CELLS];
    uint64_t longs[HAK_CELLS];
    uint64_t remotes[HAK_CELLS]; /* freed by another thread than the one that allocated */
    /* By class of the standard ladder: frees onto a list of the own thread that held less than 2^i blocks,
     * had it no bound. */
    uint64_t list_lengths[HAK_POLICY_MAX_CLASSES][HAK_LIST_STEPS];
    uint32_t context_count;
    hak_context_stats *contexts; /* by context number of the trace */
} hak_train_trace;

/* Reads to the end (the reader's tables are complete then). 0, or -1 with *error filled. */
int hak_train_trace_read(hak_reader *reader, hak_train_trace *trace, hak_trace_error *error);
void hak_train_trace_clear(hak_train_trace *trace);

#endif
