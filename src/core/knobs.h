/* knobs.h: every number the allocator can be tuned by: one row gives its name, default, limits and family to
 * the allocator, the environment (HAKMEM_KNOB_<name>), the policy format, the trainer, the printers and the
 * manual. Numbers are written to policies: only ever append. */
#ifndef HAK_CORE_KNOBS_H
#define HAK_CORE_KNOBS_H

#include "core/base/types.h"

/* Columns: NAME, text, default, min, max, scale (how a search steps), family (what is coupled), help. */
#define HAK_KNOBS(X)                                                                                         \
    X(TINY_CACHE_BYTES, "tiny_cache_bytes", 16384, 0, 1 << 20, LOG, TINY,                                    \
      "bytes a thread keeps per tiny class, until its list proves too short")                                \
    X(TINY_CACHE_COUNT, "tiny_cache_count", 256, 1, 65535, LOG, TINY, "the same in blocks, at most")         \
    X(TINY_REFILL_COUNT, "tiny_refill_count", 64, 1, 4096, LOG, TINY, "blocks taken from a slab at once")    \
    X(SLAB_KEEP_COUNT, "slab_keep_count", 4, 0, 1024, LOG, TINY, "empty slabs a thread keeps")               \
    X(SUPERSLAB_KEEP_BYTES, "superslab_keep_bytes", 8 << 20, 0, 1 << 30, LOG, PURGE,                         \
      "empty SuperSlab bytes kept")                                                                          \
    X(MID_CACHE_BYTES, "mid_cache_bytes", 1 << 20, 0, 1 << 28, LOG, MID, "page-run bytes a thread keeps")    \
    X(LARGE_MIN_BYTES, "large_min_bytes", 1 << 20, 1 << 16, 1 << 24, LOG, LARGE,                             \
      "from here on blocks are large")                                                                       \
    X(MMAP_MIN_BYTES, "mmap_min_bytes", 64 << 20, 1 << 20, 1 << 30, LOG, LARGE,                              \
      "from here on blocks are mapped")                                                                      \
    X(BIGCACHE_BYTES, "bigcache_bytes", 256 << 20, 0, 1ll << 34, LOG, LARGE,                                 \
      "bytes the BigCache keeps, at most")                                                                   \
    X(BIGCACHE_WAYS, "bigcache_ways", 8, 1, 8, LINEAR, LARGE, "large blocks a thread keeps for itself")      \
    X(BIGCACHE_FIT_PERCENT, "bigcache_fit_percent", 25, 0, 100, LINEAR, LARGE,                               \
      "waste accepted on taking one of them")                                                                \
    X(PURGE_DELAY_MS, "purge_delay_ms", 500, 0, 60000, LOG, PURGE, "age at which idle memory is given back") \
    X(PURGE_DELAY_HOT_MS, "purge_delay_hot_ms", 0, 0, 60000, LOG, PURGE,                                     \
      "age at which the BigCache gives back what hot sizes leave idle")                                      \
    X(PURGE_BATCH_BYTES, "purge_batch_bytes", 16 << 20, 0, 1 << 30, LOG, PURGE,                              \
      "purges are collected up to here")                                                                     \
    X(PURGE_KEEP_PERCENT, "purge_keep_percent", 25, 0, 400, LINEAR, PURGE, "idle bytes kept, of live bytes") \
    X(THP, "thp", 1, 0, 2, ENUM, THP, "huge pages: 0 off, 1 auto, 2 on")                                     \
    X(THP_FIRST_BYTES, "thp_first_bytes", 64 << 20, 0, 1 << 30, LOG, THP,                                    \
      "bytes of SuperSlabs before auto uses huge pages for slabs of which there are many")                   \
    X(REALLOC_SLACK_PERCENT, "realloc_slack_percent", 0, 0, 25, LINEAR, SLACK,                               \
      "room left by a growing realloc")                                                                      \
    X(BIGCACHE_KEEP_PERCENT, "bigcache_keep_percent", 100, 0, 400, LINEAR, LARGE,                            \
      "BigCache bytes kept, of live large bytes")                                                            \
    X(GUARD_WRONG_PERCENT, "guard_wrong_percent", 10, 0, 100, LINEAR, GUARD,                                 \
      "sampled lifetimes foretold wrongly at which the sites retire; 100: never")                            \
    X(GUARD_UNKNOWN_PERCENT, "guard_unknown_percent", 100, 0, 100, LINEAR, GUARD,                            \
      "lookups from unknown contexts at which the sites retire; 100: never")                                 \
    X(GUARD_EARLY_BYTES, "guard_early_bytes", 64 << 10, 0, 1ll << 34, LOG, GUARD,                            \
      "consulted bytes before which the end of a long life is a surprise")                                   \
    X(GUARD_LATE_BYTES, "guard_late_bytes", 4 << 20, 0, 1ll << 34, LOG, GUARD,                               \
      "consulted bytes after which the end of a short life is a surprise")                                   \
    X(TINY_CACHE_TOTAL_BYTES, "tiny_cache_total_bytes", 16 << 20, 0, 1 << 28, LOG, TINY,                     \
      "bytes by which the lists of a thread may grow where they prove too short")                            \
    X(THP_KNOWN_BYTES, "thp_known_bytes", 0, 0, 1ll << 34, LOG, THP,                                         \
      "bytes of such slabs known to be wanted: auto uses huge pages there from the start")

typedef enum hak_knob {
#define X(name, text, def, min, max, scale, family, help) HAK_KNOB_##name,
    HAK_KNOBS(X)
#undef X
        HAK_KNOB_COUNT
} hak_knob;

typedef enum hak_knob_scale { HAK_SCALE_LOG, HAK_SCALE_LINEAR, HAK_SCALE_ENUM } hak_knob_scale;
typedef enum hak_knob_family {
    HAK_FAMILY_TINY,
    HAK_FAMILY_MID,
    HAK_FAMILY_LARGE,
    HAK_FAMILY_PURGE,
    HAK_FAMILY_THP,
    HAK_FAMILY_SLACK,
    HAK_FAMILY_COUNT,
    HAK_FAMILY_GUARD = HAK_FAMILY_COUNT, /* not searched: set by what the training traces showed */
} hak_knob_family;

typedef struct hak_knob_info {
    const char *text;
    int64_t def;
    int64_t min;
    int64_t max;
    uint8_t scale;  /* hak_knob_scale */
    uint8_t family; /* hak_knob_family */
    const char *help;
} hak_knob_info;

extern const hak_knob_info hak_knob_infos[HAK_KNOB_COUNT];

/* Whether a policy may set the knob to that. Earlier versions let some be set higher than could act: such a
 * value becomes the limit of today. Any thread. */
bool hak_knob_accept(hak_knob knob, int64_t *value);

#endif
