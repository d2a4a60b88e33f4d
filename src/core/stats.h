/* stats.h: the counters, one list for the struct, the names, the printers and hakmem_counter_*.
 *
 * Two kinds: a heap's own (plain adds by its thread, summed on reading) and the process's (relaxed atomic
 * adds in places that are slow anyway). No counter is touched on the fast paths of malloc and free: how often
 * those ran is known from the room they were granted (heap.h). Names are stable: only ever append. */
#ifndef HAK_CORE_STATS_H
#define HAK_CORE_STATS_H

#include "core/base/types.h"

/* Counted by the owner of a heap. NAME, text, help. */
#define HAK_HEAP_COUNTERS(X)                                                                                 \
    X(FREE_TLS_SLL, "free_tls_sll", "frees onto the thread's own list")                                      \
    X(FREE_SS_LOCAL, "free_ss_local", "blocks that went from a thread's list to their slab's local list")    \
    X(FREE_SS_REMOTE, "free_ss_remote", "frees by another thread, on their way to the owner")                \
    X(REFILL_LOCAL, "refill_local", "refills from a slab's local list")                                      \
    X(REFILL_REMOTE, "refill_remote", "refills from a slab's remote list")                                   \
    X(REFILL_FRESH, "refill_fresh", "refills with blocks never used before")                                 \
    X(REFILL_PARTIAL, "refill_partial", "refills that went on to another partly used slab")                  \
    X(REFILL_ADOPTED, "refill_adopted", "slabs adopted from threads that ended")                             \
    X(REFILL_SLAB, "refill_slab", "new slabs")                                                               \
    X(REFILL_BLOCKS, "refill_blocks", "blocks given to thread lists by refills")                             \
    X(RETURN_NULL, "return_null", "early returns: free(NULL)")                                               \
    X(RETURN_IN_PLACE, "return_in_place", "early returns: realloc that fitted where it was")                 \
    X(MID_ALLOC, "mid_alloc", "page runs handed out")                                                        \
    X(MID_CACHE_HIT, "mid_cache_hit", "page runs from the thread's cache")                                   \
    X(MID_FREE, "mid_free", "page runs freed")                                                               \
    X(POLICY_LOOKUP, "policy_lookup", "call contexts looked up in the policy")                               \
    X(POLICY_UNKNOWN, "policy_unknown", "lookups from contexts the policy does not know")                    \
    X(POLICY_KNOWN, "policy_known", "small blocks of known contexts that stay with the others")              \
    X(POLICY_SHORT, "policy_short", "blocks placed with the short-lived")                                    \
    X(POLICY_LONG, "policy_long", "blocks placed with the long-lived")                                       \
    X(POLICY_REMOTE, "policy_remote", "blocks placed as freed by other threads")                             \
    X(GUARD_SAMPLED, "guard_sampled", "lookups that the guard looked at more closely")                       \
    X(POLICY_SLACK, "policy_slack", "reallocs given room to grow by the policy")                             \
    X(POLICY_KEEP, "policy_keep", "large blocks marked keep")                                                \
    X(POLICY_ADAPTIVE, "policy_adaptive", "large blocks marked adaptive")                                    \
    X(POLICY_BATCH, "policy_batch", "large blocks marked batch")                                             \
    X(POLICY_THP, "policy_thp", "large blocks with huge pages decided by the policy")                        \
    X(CONTEXT_SAMPLED, "context_sampled", "call contexts sampled for learning")                              \
    X(CONTEXT_EVERY, "context_every", "call contexts taken for every call (research)")                       \
    X(HEADER_WRITTEN, "header_written", "blocks given a header with site and guard")                         \
    X(HEADER_CHECKED, "header_checked", "headers checked on free and realloc")                               \
    X(FRONT_TAKEN, "front_taken", "large blocks from the thread's front of the BigCache")                    \
    X(FRONT_KEPT, "front_kept", "large blocks put into the thread's front")                                  \
    X(FRONT_FLUSHED, "front_flushed", "large blocks that went from a front to the BigCache")                 \
    X(POLICY_RECALLED, "policy_recalled", "lookups answered by a call that was looked up before")            \
    X(POLICY_REFILL, "policy_refill", "refills of a size that the policy sets for the class")                \
    X(FREE_KEPT, "free_kept",                                                                                \
      "blocks of other threads' heaps that a thread in want of such put onto its own list")

/* Counted by the process. */
#define HAK_PROCESS_COUNTERS(X)                                                                              \
    X(SUPERSLAB_NEW, "superslab_new", "SuperSlabs mapped")                                                   \
    X(SUPERSLAB_FREED, "superslab_freed", "SuperSlabs unmapped")                                             \
    X(PURGE_PUT_OFF, "purge_put_off", "purges of large blocks put off because their sizes are hot")          \
    X(UNIT_PURGE, "unit_purge", "purges of pool memory, one call each")                                      \
    X(PURGE_BATCH, "purge_batch", "batches of purges")                                                       \
    X(PURGE_BYTES, "purge_bytes", "bytes given back to the system by purges")                                \
    X(BIGCACHE_HIT, "bigcache_hit", "large blocks from the BigCache")                                        \
    X(BIGCACHE_MISS, "bigcache_miss", "large blocks the BigCache did not have")                              \
    X(BIGCACHE_KEPT, "bigcache_kept", "large blocks put into the BigCache")                                  \
    X(BIGCACHE_EVICTED, "bigcache_evicted", "large blocks evicted from the BigCache")                        \
    X(LARGE_ALLOC, "large_alloc", "large blocks handed out")                                                 \
    X(LARGE_FREE, "large_free", "large blocks freed")                                                        \
    X(FREE_HOT, "free_hot", "large frees of a hot size")                                                     \
    X(FREE_WARM, "free_warm", "large frees of a warm size")                                                  \
    X(FREE_COLD, "free_cold", "large frees of a cold size")                                                  \
    X(THP_ON, "thp_on", "spans advised to use huge pages")                                                   \
    X(THP_OFF, "thp_off", "spans advised not to use huge pages")                                             \
    X(OS_MAP, "os_map", "mappings made")                                                                     \
    X(OS_UNMAP, "os_unmap", "mappings removed")                                                              \
    X(OS_REMAP, "os_remap", "mappings grown or moved")                                                       \
    X(HEAP_NEW, "heap_new", "thread heaps created")                                                          \
    X(HEAP_REUSED, "heap_reused", "thread heaps taken over from threads that ended")                         \
    X(HEAP_ABANDONED, "heap_abandoned", "thread heaps left by threads that ended")                           \
    X(TRACKED_ALLOC, "tracked_alloc", "blocks whose free will be seen by the learner")                       \
    X(TRACKED_FREE, "tracked_free", "tracked blocks freed")                                                  \
    X(STRATEGY_CHOSEN, "strategy_chosen", "large blocks whose strategy the ELO ratings chose")               \
    X(POLICY_SETTINGS, "policy_settings", "settings taken from the policy")                                  \
    X(POLICY_CLASSES, "policy_classes", "size classes taken from the policy")                                \
    X(GUARD_RIGHT, "guard_right", "sampled blocks that lived as the policy foretold")                        \
    X(GUARD_WRONG, "guard_wrong", "sampled blocks that did not")                                             \
    X(POLICY_RETIRED, "policy_retired", "families of decisions that the guard switched off in this process") \
    X(PLAIN_ALLOC, "plain_alloc", "blocks from the plain heap of MINIMAL")                                   \
    X(PLAIN_FREE, "plain_free", "blocks freed to the plain heap of MINIMAL")                                 \
    X(MISUSE, "misuse", "misuses reported")                                                                  \
    X(GROW_PLACED, "grow_placed", "growing blocks placed where there is room to grow")                       \
    X(POLICY_CACHES, "policy_caches", "size classes whose lists and refills the policy sets")                \
    X(PURGE_REGRET, "purge_regret", "bytes given back by purges that were soon asked for again")

typedef enum hak_heap_counter {
#define X(name, text, help) HAK_COUNT_##name,
    HAK_HEAP_COUNTERS(X)
#undef X
        HAK_HEAP_COUNTER_COUNT
} hak_heap_counter;

typedef enum hak_process_counter {
#define X(name, text, help) HAK_COUNT_##name,
    HAK_PROCESS_COUNTERS(X)
#undef X
        HAK_PROCESS_COUNTER_COUNT
} hak_process_counter;

extern _Atomic uint64_t hak_process_counters[HAK_PROCESS_COUNTER_COUNT];

HAK_INLINE void hak_count(hak_process_counter counter, uint64_t by)
{
    atomic_fetch_add_explicit(&hak_process_counters[counter], by, memory_order_relaxed);
}

typedef enum hak_stats_shape {
    HAK_STATS_SHAPE_SUMMARY, /* one line */
    HAK_STATS_SHAPE_TABLE,   /* a line per counter that is not 0 */
    HAK_STATS_SHAPE_JSON     /* one object with all of them */
} hak_stats_shape;

/* Prints to stderr, or appends to the file HAKMEM_STATS_FILE names (%p: the pid), which is opened and closed
 * here: programs like those of coreutils have closed their stderr by the time the process ends. Does not
 * allocate. */
void hak_stats_print(hak_stats_shape shape);

#endif
