/* loop.h: replays a compiled workload on a set of entry points, as fast as it goes. Linked into the worker
 * program (and tests), never into a library: it asks nothing of malloc, but its threads are the C library's.
 *
 * One run at a time per process: hak_loop_new, then any number of hak_loop_pass, from the thread that is to
 * play the recording's first thread. Its memory is mapped and touched by hak_loop_new; a pass maps nothing.
 */
#ifndef HAK_REPLAY_LOOP_H
#define HAK_REPLAY_LOOP_H

#include "core/base/types.h"
#include "replay/latency.h"
#include "replay/workload_format.h"

/* Allocation entry points of a target. Every member is set; see hak_api_fill. */
typedef struct hak_api {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    void *(*new_plain)(size_t);
    void *(*new_array)(size_t);
    void (*delete_plain)(void *);
    void (*delete_array)(void *);
    void *(*new_aligned)(size_t, size_t);
    void *(*new_array_aligned)(size_t, size_t);
    void (*delete_aligned)(void *, size_t);
    void (*delete_array_aligned)(void *, size_t);
    void *(*new_nothrow)(size_t);
    void *(*new_array_nothrow)(size_t);
    void *(*memalign)(size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    void *(*reallocarray)(void *, size_t, size_t);
    void (*cfree)(void *);
    void (*free_sized)(void *, size_t);
    void (*free_aligned_sized)(void *, size_t, size_t);
    void (*replay_site)(
        const uint32_t *place); /* where this thread says which site of a policy its calls come from */
} hak_api;

/* malloc, calloc, realloc, free and memalign are given; what else is NULL is made of those. The operators
 * then have none of the C++ runtime's own cost. */
void hak_api_fill(hak_api *api);

typedef struct hak_loop hak_loop;

/* Live bytes by requested sizes, as the replay goes. */
typedef struct hak_loop_live {
    _Atomic uint64_t bytes, max;
} hak_loop_live;

#define HAK_LOOP_LATENCY_SETS 16u

typedef struct hak_loop_options {
    uint32_t touch;         /* hak_touch of measure.h */
    uint32_t pollute_bytes; /* of memory touched where the workload says so */
    bool kernel_threads;    /* even where they are more than processors: see fibers.h */
    bool streamed;          /* the region is large: what has been replayed leaves memory */
    hak_loop_live *live;    /* not NULL: publish live bytes and, one by one, the number of operations begun */
    _Atomic uint64_t *begun; /* with live: one counter per thread of the workload */
    hak_latency *latency; /* not NULL: time every call; HAK_LOOP_LATENCY_SETS times HAK_LATENCY_POINT_COUNT */
    const uint32_t *sites; /* per context of the workload, as hak_context_sites; NULL: none */
} hak_loop_options;

typedef struct hak_pass {
    uint64_t wall_ns;
    uint64_t first_cpu_ns; /* processor time of the calling thread, which played the first stream */
    uint64_t idle_ns;      /* processor time of all threads that went into waiting or polluting on purpose */
    uint64_t failed;       /* allocations that returned NULL where the recorded ones did not */
} hak_pass;

double hak_loop_ticks_per_ns(void); /* of the time stamp counter; takes 10 ms */

/* `region` is a workload's, mapped; it, `api` and what options point to must outlive the loop. NULL with
 * errno when memory runs out or the region is not a workload. */
hak_loop *hak_loop_new(const uint64_t *region, const hak_api *api, const hak_loop_options *options);

/* One pass. 0, or -1 with errno when a thread cannot be created (the process must then end: others wait). The
 * blocks that the recording never freed stay live until hak_loop_clean, which must come before another pass.
 */
int hak_loop_pass(hak_loop *loop, hak_pass *pass);
void hak_loop_clean(hak_loop *loop);

#endif
