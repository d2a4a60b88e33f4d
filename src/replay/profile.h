/* profile.h: what a trace says about its allocations, in one pass: totals, per call context, per thread,
 * sizes and heap over time. Owned by one thread. Memory: O(contexts that allocate + threads + blocks live at
 * once); the trace may be of any length. Bytes are bytes as requested, not what an allocator makes of them.
 */
#ifndef HAK_REPLAY_PROFILE_H
#define HAK_REPLAY_PROFILE_H

#include "replay/life.h"
#include "trace/reader.h"

#define HAK_SIZE_BUCKETS     65 /* bucket i holds sizes up to 2^i: 0 and 1, 2, 3-4, 5-8, 9-16 … */
#define HAK_TIMELINE_POINTS  2048
#define HAK_CONTEXT_CHUNK    512 /* contexts are kept in arrays of so many */
#define HAK_REMOTE_PAIRS_MAX 4096

/* What was allocated in one context (or, once merged, at one site). */
typedef struct hak_usage {
    uint64_t calls;      /* allocations and reallocs that gave a block */
    uint64_t bytes;      /* sum of their sizes */
    uint64_t live_bytes; /* never freed, at the end */
    uint64_t max_bytes;  /* own greatest sum of live bytes (when merged: the sum of these, an upper bound) */
    uint32_t live_blocks;
    uint32_t max_blocks;
    uint64_t size_max_bytes;
    uint64_t freed;             /* by free; not those that a realloc ended */
    uint64_t life_ns;           /* sum over freed blocks */
    uint64_t temporary;         /* freed before the allocating thread had allocated often enough again */
    uint64_t temporary_deleted; /* of these, by operator delete */
    uint64_t at_peak_bytes;     /* live when the whole heap was greatest */
    uint32_t at_peak_blocks;
    uint32_t failed;
    uint64_t freed_remotely; /* of the freed, by another thread than allocated them */
    uint64_t reallocs;       /* calls of realloc with a block */
    uint64_t moved;          /* of these, moved */
    uint64_t copied_bytes;   /* by moving: the lesser of old and new size */
    uint64_t grown;       /* blocks freed right after the same context had made one up to thrice as large */
    uint64_t grown_bytes; /* their sizes: what such a container copied */
    double pinned_bytes;  /* free space in the slabs that this context's blocks keep from being given back,
                             mean over the trace; see pins.h */
} hak_usage;

/* What most events change comes first: 192 bytes, three lines of the cache. */
typedef struct hak_profile_context {
    hak_lives lives;      /* of freed blocks */
    uint32_t peak_number; /* internal: the peak that at_peak_* is about */
    uint32_t node;        /* the reader's context */
    hak_usage usage;
    uint64_t first_ns;
} hak_profile_context;

typedef struct hak_profile_thread {
    uint64_t calls;
    uint64_t bytes;
    uint64_t frees;
    uint64_t frees_of_others; /* blocks that another thread allocated */
    uint64_t live_bytes;      /* allocated here, never freed */
} hak_profile_thread;

/* Frees of one thread's blocks by another. */
typedef struct hak_remote_pair {
    uint32_t from; /* allocated */
    uint32_t to;   /* freed */
    uint64_t frees;
    uint64_t bytes;
} hak_remote_pair;

typedef struct hak_profile_point {
    uint64_t time_ns;
    uint64_t live_max_bytes; /* greatest since the point before */
} hak_profile_point;

typedef struct hak_profile {
    uint64_t events;
    uint64_t duration_ns; /* as the tail says; else time of the last event */
    uint64_t allocations; /* calls that gave a block */
    uint64_t allocated_bytes;
    uint64_t frees; /* of known blocks */
    uint64_t null_frees;
    uint64_t foreign; /* frees and reallocs of blocks that the recording never saw */
    uint64_t failed;
    uint64_t temporary;
    uint64_t peak_bytes;
    uint64_t peak_blocks;
    uint64_t peak_ns;
    uint64_t peak_event; /* its number, from 0 */
    uint64_t live_bytes; /* never freed */
    uint64_t live_blocks;
    uint64_t rss_peak_bytes; /* 0: not sampled */
    uint64_t pinned_bytes;   /* sum over the contexts */
    uint64_t size_calls[HAK_SIZE_BUCKETS];
    uint64_t size_bytes[HAK_SIZE_BUCKETS];
    uint64_t op_calls[HAK_OP_COUNT];
    hak_profile_context **chunks; /* of HAK_CONTEXT_CHUNK */
    size_t chunks_room;
    hak_pieces pieces;           /* contexts and lives */
    uint32_t contexts_count;     /* that allocated, or failed to */
    hak_profile_thread *threads; /* by the reader's thread number */
    uint32_t threads_count;
    hak_remote_pair *pairs;
    uint32_t pairs_count;
    uint64_t pairs_lost; /* remote frees of pairs beyond HAK_REMOTE_PAIRS_MAX */
    hak_profile_point timeline[HAK_TIMELINE_POINTS];
    uint32_t timeline_count;
    uint64_t timeline_step_ns;
} hak_profile;

/* What counts. A block counts when its allocation does; it is live until it is freed, or until the end of the
 * range. All zero (with until_* UINT64_MAX): everything. */
typedef struct hak_profile_options {
    uint64_t from_ns;
    uint64_t until_ns;    /* events later than this are not looked at */
    uint64_t until_event; /* nor those with a greater number */
    uint64_t temporary;   /* freed before its thread had allocated more than this many again */
    const uint8_t
        *threads_keep; /* by thread; NULL: all. Threads and contexts beyond the counts do not count */
    uint32_t threads_count;
    const uint8_t *nodes_keep; /* by the reader's context; NULL: all */
    uint32_t nodes_count;
} hak_profile_options;

static inline hak_profile_options hak_profile_all(void)
{
    return (hak_profile_options){.until_ns = UINT64_MAX, .until_event = UINT64_MAX};
}

/* Reads the trace to its end. NULL with *error filled. The reader's tables belong to the profile's numbers:
 * keep it open as long as they are needed. Free with hak_profile_free. */
hak_profile *hak_profile_build(hak_reader *reader, const hak_profile_options *options,
                               hak_trace_error *error);
void hak_profile_free(hak_profile *profile);

/* index < contexts_count. */
static inline hak_profile_context *hak_profile_at(const hak_profile *profile, uint32_t index)
{
    return &profile->chunks[index / HAK_CONTEXT_CHUNK][index % HAK_CONTEXT_CHUNK];
}

/* Adds b to a. */
void hak_usage_add(hak_usage *a, const hak_usage *b);

#endif
