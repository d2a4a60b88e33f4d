/* best.h: which target serves a trace best, and which cannot be told apart from it. Pure; one thread per
 * call. */
#ifndef HAK_REPLAY_BEST_H
#define HAK_REPLAY_BEST_H

#include "replay/compare.h"

typedef enum hak_best_by {
    HAK_BEST_TIME,
    HAK_BEST_RSS,
    HAK_BEST_BOTH, /* geometric mean of time and memory */
    HAK_BEST_MODE, /* the same among hakmem's modes for production: what HAKMEM_MODE should say */
    HAK_BEST_COUNT
} hak_best_by;

typedef struct hak_best {
    bool found;      /* false: no target was measured that may be chosen */
    bool known;      /* false: too few rounds to tell others from it, or there are none */
    size_t row;      /* of compare->rows */
    hak_ratio ratio; /* to the baseline; HAK_BEST_MODE: to hakmem:balanced */
    uint64_t ties;   /* bit n: row n is no worse beyond noise */
} hak_best;

/* The null target, repeats of the baseline and hakmem's modes for development (learning, research) are never
 * chosen. HAK_BEST_MODE is balanced, the default, unless another one is better beyond noise. with_rss false
 * (blocks were not touched): RSS and BOTH are not found, MODE goes by time. 0, or -1 without memory. */
int hak_best_find(const hak_compare *compare, size_t baseline, bool with_rss, uint64_t seed,
                  hak_best best[HAK_BEST_COUNT]);

#endif
