/* workload.h: a trace compiled for replay, off the clock. A workload lives in one mapped region (a memfd, or
 * a file when it is large, that worker processes map too) and holds no pointers. Building: one thread.
 * Reading: any number. */
#ifndef HAK_REPLAY_WORKLOAD_H
#define HAK_REPLAY_WORKLOAD_H

#include "trace/reader.h"

typedef struct hak_workload hak_workload;

typedef enum hak_order { HAK_ORDER_WINDOW, HAK_ORDER_EDGES, HAK_ORDER_STRICT } hak_order;

typedef struct hak_workload_info {
    uint64_t operations; /* calls that a replay makes */
    uint64_t allocations;
    uint64_t live_max_bytes; /* greatest sum of requested sizes, in recorded order */
    uint64_t live_max_blocks;
    uint64_t cross_thread_frees;
    uint32_t threads;
    uint32_t threads_max; /* alive at once */
} hak_workload_info;

enum {
    HAK_WORKLOAD_CONTEXTS = 1, /* keep call contexts: needed by targets whose policy decides by site; each
                                  change of context costs the replay loop a word */
    HAK_WORKLOAD_PACE = 2,     /* calls wait until their recorded time */
    HAK_WORKLOAD_THINK = 4,    /* a thread spins between its calls as long as it did other things then, up to
                                  HAK_WORKLOAD_THINK_MAX_NS: longer gaps were waiting */
    HAK_WORKLOAD_POLLUTE =
        8, /* other memory is touched after every HAK_WORKLOAD_POLLUTE_OPS calls of a thread */
};

#define HAK_WORKLOAD_THINK_MAX_NS 1000000u
#define HAK_WORKLOAD_POLLUTE_OPS  64u

/* Reads the whole trace; NULL with *error filled. Free with hak_workload_free. */
hak_workload *hak_workload_build(hak_reader *reader, hak_order order, unsigned flags, hak_trace_error *error);

/* The same; a workload of more than HAK_WORKLOAD_SPILL_BYTES goes to an unnamed file in `folder` as it is
 * built, so that neither building nor replaying it takes much memory. folder NULL: as hak_workload_build. */
hak_workload *hak_workload_build_in(hak_reader *reader, hak_order order, unsigned flags, const char *folder,
                                    uint64_t spill_bytes, hak_trace_error *error);
#define HAK_WORKLOAD_SPILL_BYTES (256 * HAK_MIB)

/* Compiled workloads are kept in a folder under the hash of what they were made of: the recording's bytes,
 * order, flags, this version. key: 0, or -1 when the recording cannot be read. open: NULL when there is none
 * (or it is damaged, or of another version). save: 0 or -1; nothing half written stays. */
typedef struct hak_workload_key {
    uint64_t hash[2];
} hak_workload_key;
int hak_workload_key_of(const char *recording, const char *format, hak_order order, unsigned flags,
                        hak_workload_key *key);
hak_workload *hak_workload_open(const char *folder, const hak_workload_key *key);
int hak_workload_save(hak_workload *workload, const char *folder, const hak_workload_key *key);

uint64_t hak_workload_bytes(const hak_workload *workload);
const char *hak_workload_program(const hak_workload *workload); /* as the recording says, "" if it does not */
void hak_workload_free(hak_workload *workload);
void hak_workload_info_get(const hak_workload *workload, hak_workload_info *info);
int hak_workload_fd(const hak_workload *workload);                 /* for a worker to map */
const uint64_t *hak_workload_region(const hak_workload *workload); /* as workload_format.h; lives with it */

#endif
