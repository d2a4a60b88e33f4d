/* scenarios.h: what bench_worker runs. One row a scenario: name, iterations of its loop by default (per
 * thread), what it does. The driver lists them, the worker runs them. */
#ifndef BENCH_SCENARIOS_H
#define BENCH_SCENARIOS_H

#include <stdint.h>

#define BENCH_SCENARIOS(X)                                                                                   \
    X(tiny_hot, "tiny-hot", 20000000, "pairs of malloc and free at once, 16, 32, 48, 64 bytes in turn")      \
    X(tiny, "tiny", 5000000, "1024 blocks live, 8 to 256 bytes; one at random is replaced")                  \
    X(tiny_fifo, "tiny-fifo", 5000000, "1024 blocks live, 8 to 256 bytes; the oldest is replaced")           \
    X(json, "json", 100000, "a document: 64 blocks of 16 to 192 bytes, freed in reverse")                    \
    X(mir, "mir", 1000000, "256 blocks live, 1 to 32 KiB, both ends written; one at random is replaced")     \
    X(mixed, "mixed", 1000000,                                                                               \
      "1024 blocks live, 80% to 512 bytes, 15% to 8 KiB, 4% to 64 KiB, 1% to 1 MiB")                         \
    X(large, "large", 5000,                                                                                  \
      "24 blocks live, 64 KiB to 8 MiB, every OS page written; one at random is replaced")                   \
    X(vm, "vm", 3000, "2 MiB, every OS page written, freed")                                                 \
    X(vm_ends, "vm-ends", 500000, "2 MiB, both ends written, freed")                                         \
    X(vm16, "vm16", 300, "sixteen blocks of 2 MiB, every OS page written, then all freed")                   \
    X(vm_gap, "vm-gap", 100, "2 MiB, every OS page written, freed; 5 ms of rest before each (not timed)")    \
    X(larson, "larson", 3000000,                                                                             \
      "a server: 1000 blocks live, 10 to 500 bytes; now and then a thread hands all over")                   \
    X(xfree, "xfree", 3000000,                                                                               \
      "blocks of 16 to 256 bytes, freed by the next thread (threads - 1 of them make)")                      \
    X(sh, "sh", 300,                                                                                         \
      "runs of 5000 blocks of rising sizes to 1000 bytes; freed half in order, half backwards")              \
    X(refill, "refill", 10,                                                                                  \
      "200,000 blocks of 16 to 256 bytes; 90% at random are freed, and as many of four times the size "      \
      "taken")                                                                                               \
    X(realloc_grow, "realloc-grow", 300, "a buffer grows by a quarter from 1 KiB to 32 MiB, its end written")

typedef enum scenario {
#define X(name, text, iterations, help) SCENARIO_##name,
    BENCH_SCENARIOS(X)
#undef X
        SCENARIO_COUNT
} scenario;

/* What the worker leaves in the shared file that is its descriptor 3. */
typedef struct bench_result {
    uint64_t done;           /* 1 when the rest holds */
    uint64_t operations;     /* allocations (or reallocations), all threads */
    uint64_t time_ns;        /* elapsed; with one thread processor time */
    uint64_t peak_rss_bytes; /* less what was resident before */
    uint64_t minor_faults;
    char library[256]; /* that malloc comes from */
} bench_result;

#endif
