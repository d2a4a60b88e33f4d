/* profile.h: what a trace says about its allocations, in one pass: totals, per call context, per thread,
 * sizes and heap over time. Owned by one thread. Memory: O(contexts + threads + blocks live at once); the
 * trace may be of any length. Bytes are bytes as requested, not what an allocator makes of them. */
#ifndef HAK_REPLAY_PROFILE_H
#define HAK_REPLAY_PROFILE_H

#include "trace/reader.h"

/* Lifetimes, in powers of two: bucket i holds [2^i, 2^(i+1)) units, 0 also what is less, the last also what
 * is more. The unit of time is 64 ns, that of events 1. */
#define HAK_LIFE_BUCKETS       40
#define HAK_LIFE_UNIT_NS       64
#define HAK_LIFE_EVENT_BUCKETS 32
#define HAK_SIZE_BUCKETS       65 /* bucket i holds sizes up to 2^i: 0 and 1, 2, 3-4, 5-8, 9-16 … */
#define HAK_TIMELINE_POINTS    2048

typedef struct hak_life {
    uint32_t time[HAK_LIFE_BUCKETS];
    uint32_t events[HAK_LIFE_EVENT_BUCKETS];
} hak_life;

/* What was allocated in one context (or, once merged, at one site). */
typedef struct hak_usage {
    uint64_t calls;      /* allocations and reallocs that gave a block */
    uint64_t bytes;      /* sum of their sizes */
    uint64_t live_bytes; /* never freed, at the end */
    uint64_t live_blocks;
    uint64_t max_bytes; /* own greatest sum of live bytes (when merged: the sum of these, an upper bound) */
    uint64_t at_peak_bytes; /* live when the whole heap was greatest */
    uint64_t at_peak_blocks;
    uint64_t temporary;      /* freed before the allocating thread allocated again */
    uint64_t freed;          /* by free; not those that a realloc ended */
    uint64_t freed_remotely; /* of these, by another thread than allocated them */
    uint64_t failed;
    uint64_t reallocs;     /* calls of realloc with a block */
    uint64_t moved;        /* of these, moved */
    uint64_t copied_bytes; /* by moving: the lesser of old and new size */
    uint64_t size_max_bytes;
} hak_usage;

typedef struct hak_profile_context {
    hak_usage usage;
    hak_life *life; /* of freed blocks; NULL: none was freed */
    uint64_t first_ns;
    uint64_t peak_number; /* internal: the peak that at_peak_* is about */
} hak_profile_context;

typedef struct hak_profile_thread {
    uint64_t calls;
    uint64_t bytes;
    uint64_t frees;
    uint64_t frees_of_others; /* blocks that another thread allocated */
    uint64_t live_bytes;      /* allocated here, never freed */
} hak_profile_thread;

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
    uint64_t live_bytes; /* never freed */
    uint64_t live_blocks;
    uint64_t rss_peak_bytes; /* 0: not sampled */
    uint64_t size_calls[HAK_SIZE_BUCKETS];
    uint64_t size_bytes[HAK_SIZE_BUCKETS];
    uint64_t op_calls[HAK_OP_COUNT];
    hak_profile_context *contexts; /* by the reader's context number */
    uint32_t contexts_count;
    hak_profile_thread *threads; /* by the reader's thread number */
    uint32_t threads_count;
    hak_profile_point timeline[HAK_TIMELINE_POINTS];
    uint32_t timeline_count;
    uint64_t timeline_step_ns;
} hak_profile;

/* Reads the trace to its end. NULL with *error filled. The reader's tables belong to the profile's numbers:
 * keep it open as long as they are needed. Free with hak_profile_free. */
hak_profile *hak_profile_build(hak_reader *reader, hak_trace_error *error);
void hak_profile_free(hak_profile *profile);

/* Adds b to a. */
void hak_usage_add(hak_usage *a, const hak_usage *b);
void hak_life_add(hak_life *a, const hak_life *b);

/* The quantile (0..1) of the lifetimes: middle of its bucket. "To exit" (UINT64_MAX) where it falls among the
 * `live` blocks that were never freed. 0 of 0 blocks is 0. */
uint64_t hak_life_time_ns(const hak_life *life, uint64_t live, double quantile);
uint64_t hak_life_events(const hak_life *life, uint64_t live, double quantile);

#endif
