/* measure.h: one workload on one target, measured in a fresh process. The caller interleaves and repeats.
 * Blocking; several measurements may run at once from several threads, at the price of their noise. */
#ifndef HAK_REPLAY_MEASURE_H
#define HAK_REPLAY_MEASURE_H

#include "replay/latency.h"
#include "replay/workload.h"

#define HAK_TARGET_MAX_ENV       16
#define HAK_MEASURE_MAX_COUNTERS 128

/* An allocator under replay: what is preloaded into the worker, with which environment. */
typedef struct hak_target {
    char name[64];                     /* "glibc", "hakmem:fast", … as shown */
    char library[4096];                /* LD_PRELOAD; "" for the C library and for null */
    bool null;                         /* bump pointer, prices the replayer */
    char env[HAK_TARGET_MAX_ENV][256]; /* "NAME=value"; "" ends */
} hak_target;

/* "null", "glibc", "mimalloc", "jemalloc", "tcmalloc", "hakmem:MODE", "hakmem:fast+POLICYFILE",
 * "/path/to.so". 0, or -1 with *error filled (unknown name, library not installed). */
int hak_target_parse(const char *text, hak_target *target, hak_trace_error *error);

/* The policy file in the target's environment, or NULL. Workloads for it want HAK_WORKLOAD_CONTEXTS. */
const char *hak_target_policy(const hak_target *target);

/* Every installed target, in the order they are shown (null, glibc, peers, hakmem modes). Returns the count.
 */
size_t hak_targets_installed(hak_target *targets, size_t max);

typedef enum hak_touch { HAK_TOUCH_PAGES, HAK_TOUCH_NONE, HAK_TOUCH_WHOLE, HAK_TOUCH_USE } hak_touch;

typedef struct hak_measure_options {
    hak_touch touch;
    uint32_t repeats;       /* passes over the workload inside the process; the first is cold. 0 means 1 */
    uint32_t timeout_s;     /* 0: none */
    int cpu;                /* pin to it; -1: no */
    uint32_t pollute_bytes; /* touched between calls, where the workload was built for it */
} hak_measure_options;

typedef struct hak_counter {
    char name[32];
    uint64_t value;
} hak_counter;

typedef struct hak_measure {
    double ns_per_op;         /* raw, all passes */
    double ns_per_op_cold;    /* first pass */
    double ns_per_op_warm;    /* the others; equal to cold when there are none */
    uint64_t wall_ns;         /* of the timed part */
    uint64_t cpu_ns;          /* of the timed part, all threads, without waiting on purpose */
    uint64_t peak_rss_bytes;  /* first pass: high-water mark minus what was resident before it */
    uint64_t start_rss_bytes; /* private memory before the first pass: the worker's own and what the allocator
                                 took to start */
    uint64_t end_rss_bytes;   /* first pass: when all threads are done, minus the same */
    uint64_t minor_faults;    /* first pass; so the next two */
    uint64_t major_faults;
    uint64_t context_switches;
    uint64_t operations;         /* all passes */
    uint64_t failed_allocations; /* returned NULL where the recorded ones did not; all passes */
    uint32_t peak_rss_marked;    /* 1: the kernel's mark was reset before the run; 0: it may be set-up's */
    char version[32];            /* of the allocator, "" if it does not say */
    uint32_t counter_count;      /* hakmem's own counters, when the target has them */
    hak_counter counters[HAK_MEASURE_MAX_COUNTERS];
} hak_measure;

/* Memory calls of the kernel, counted in the observed pass. Columns: name. */
#define HAK_SYSTEM_CALLS(X)                                                                                  \
    X(mmap)                                                                                                  \
    X(munmap) X(mremap) X(madvise) X(mprotect) X(brk)
typedef enum hak_system_call {
#define X(name) HAK_SYSTEM_##name,
    HAK_SYSTEM_CALLS(X)
#undef X
        HAK_SYSTEM_CALL_COUNT
} hak_system_call;

#define HAK_DETAIL_SAMPLES 2048u

typedef struct hak_sample {
    uint64_t time_ns;    /* since the start of the pass */
    uint64_t rss_bytes;  /* less what was resident before it */
    uint64_t live_bytes; /* requested */
} hak_sample;

/* Two further passes, each in its own process and never mixed with the measured ones: one observed (live
 * bytes are published, resident memory is sampled, system calls are counted), one with every call timed. */
typedef struct hak_detail {
    uint64_t live_max_bytes; /* in the order in which the replay really went */
    double rss_mean_bytes;   /* over the time of the pass */
    double waste_mean_bytes; /* RSS less live bytes, the same */
    uint64_t waste_max_bytes;
    uint32_t system_calls_known; /* 0: the kernel or its configuration does not let us count them */
    _Atomic uint64_t system_calls[HAK_SYSTEM_CALL_COUNT];
    uint64_t voluntary_switches, involuntary_switches; /* of the observed pass */
    uint32_t sample_count;
    hak_sample samples[HAK_DETAIL_SAMPLES];
    double ns_per_tick; /* histograms are in ticks of the time stamp counter */
    double quantum_ns;  /* smallest difference the counter shows here */
    double timer_ns;    /* what an empty measurement shows: in every value, not taken off */
    hak_latency latency[HAK_LATENCY_POINT_COUNT];
} hak_detail;

/* As hak_measure_run, into *detail. `repeats` is 1 here. */
int hak_measure_detail(const hak_workload *workload, const hak_target *target,
                       const hak_measure_options *options, hak_detail *detail, hak_trace_error *error);

/* 0, or -1 with *error filled: the target could not be preloaded, crashed (signal and operation; what it last
 * wrote to stderr), timed out, or no worker could be started. Thread-safe. The worker's environment holds
 * LD_PRELOAD, target->env and LD_LIBRARY_PATH, nothing else of the caller's. */
int hak_measure_run(const hak_workload *workload, const hak_target *target,
                    const hak_measure_options *options, hak_measure *result, hak_trace_error *error);

#endif
