/* stats.h: the statistics a comparison rests on. Pure; deterministic for a given seed; scratch memory from
 * malloc. */
#ifndef HAK_REPLAY_STATS_H
#define HAK_REPLAY_STATS_H

#include "core/base/types.h"

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
uint64_t hak_random_next(uint64_t *state);
uint32_t hak_random_below(uint64_t *state, uint32_t end); /* end > 0 */

/* Sorts in place. 0 for no values. */
double hak_stats_median(double *values, size_t count);

/* How one series compares with another. A ratio with its 95% interval; `known` is false with fewer than
 * HAK_STATS_MIN_PAIRS pairs or where a value is not positive (then low and high equal ratio, or all are 0).
 */
typedef struct hak_ratio {
    double ratio, low, high;
    bool known;
} hak_ratio;

#define HAK_STATS_MIN_PAIRS 4

/* Paired: values[i] and base[i] were measured in the same round. The ratio is the Hodges-Lehmann estimate
 * over the log ratios (as sturdy as a median, nearly as sharp as a mean), the interval its bootstrap
 * percentile interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 13.3). */
hak_ratio hak_stats_ratio(const double *values, const double *base, size_t count, uint64_t seed);

/* The interval lies on one side of 1. */
bool hak_ratio_significant(const hak_ratio *ratio);

/* Kendall's tau-b (Biometrika 1945) of two columns: 1 for the same order, -1 for the opposite; 0 where one
 * has no order. */
double hak_stats_tau(const double *a, const double *b, size_t count);

#endif
