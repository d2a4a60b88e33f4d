/* options.h: the three layers of configuration: environment, mode preset, feature flags; and what came out of
 * them. Decided once, before the second thread exists (hak_options_init), read-only afterwards. */
#ifndef HAK_CORE_OPTIONS_H
#define HAK_CORE_OPTIONS_H

#include "core/knobs.h"

typedef enum hak_mode {
    HAK_MODE_MINIMAL,
    HAK_MODE_FAST,
    HAK_MODE_BALANCED,
    HAK_MODE_LEARNING,
    HAK_MODE_RESEARCH,
    HAK_MODE_COUNT
} hak_mode;

/* Feature flags by category. Columns: CATEGORY, NAME, text, help. HAKMEM_FEATURES=+text,-text overrides. */
#define HAK_FEATURES(X)                                                                                      \
    X(ALLOC, POOL, "pool", "SuperSlab pool for blocks up to large_min_bytes (off: one plain locked heap)")   \
    X(CACHE, LISTS, "lists", "thread lists in front of the slabs")                                           \
    X(CACHE, BIGCACHE, "bigcache", "BigCache for large blocks")                                              \
    X(LEARNING, ELO, "elo", "ELO choice of the strategy for large blocks")                                   \
    X(LEARNING, EVOLUTION, "evolution", "online evolution LEARN, FROZEN, CANARY")                            \
    X(LEARNING, POLICY, "policy", "decisions of a frozen policy")                                            \
    X(LEARNING, SAMPLE, "sample", "call contexts, sampled")                                                  \
    X(LEARNING, EVERY, "every", "call contexts, every call")                                                 \
    X(MEMORY, BATCH, "batch", "purges collected into batches")                                               \
    X(MEMORY, THERMAL, "thermal", "frees of large blocks by thermal class")                                  \
    X(MEMORY, THP, "thp", "huge page policy")                                                                \
    X(DEBUG, HEADERS, "headers", "block headers with site and guard")                                        \
    X(DEBUG, SUMMARY, "summary", "counters at exit, a summary")                                              \
    X(DEBUG, DUMP, "dump", "counters at exit, all of them")                                                  \
    X(DEBUG, VERBOSE, "verbose", "notes about configuration and decisions on stderr")

typedef enum hak_feature {
#define X(category, name, text, help) HAK_FEATURE_##name,
    HAK_FEATURES(X)
#undef X
        HAK_FEATURE_COUNT
} hak_feature;

typedef enum hak_free_policy { HAK_FREE_ADAPTIVE, HAK_FREE_BATCH, HAK_FREE_KEEP } hak_free_policy;
typedef enum hak_thp_mode { HAK_THP_MODE_OFF, HAK_THP_MODE_AUTO, HAK_THP_MODE_ON } hak_thp_mode;
typedef enum hak_evo { HAK_EVO_LEARN, HAK_EVO_FROZEN, HAK_EVO_CANARY } hak_evo;
typedef enum hak_stats_form { HAK_STATS_NONE, HAK_STATS_TABLE, HAK_STATS_JSON } hak_stats_form;

typedef struct hak_options {
    hak_mode mode;
    uint32_t features; /* bit per hak_feature */
    hak_free_policy free_policy;
    hak_evo evo;
    hak_stats_form stats;
    bool show_config;
    const char *policy_path;  /* in the environment, or NULL */
    const char *canary_out;   /* where a process of a canary reports at exit, or NULL */
    const char *policy_out;   /* where the learner writes at exit, or NULL */
    int policy_signal;        /* on which it also writes; 0: none */
    const char *stats_path;   /* where counters go at exit instead of stderr, or NULL */
    const char *policy_error; /* why the policy is not in force, or NULL */
    int64_t knobs[HAK_KNOB_COUNT];
    uint64_t knobs_from_policy; /* bit per hak_knob */
} hak_options;

extern HAK_HIDDEN hak_options hak_opt;

HAK_INLINE bool hak_feature_on(hak_feature feature)
{
    return (hak_opt.features >> feature & 1) != 0;
}

HAK_INLINE size_t hak_knob_bytes(hak_knob knob)
{
    return (size_t)hak_opt.knobs[knob];
}

const char *hak_mode_name(hak_mode mode);

/* Reads the environment (ignored in secure execution) and fills hak_opt. Garbage in a variable leaves its
 * default, with one line on stderr in RESEARCH only. */
void hak_options_init(void);

#endif
