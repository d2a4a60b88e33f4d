/* stats.c: see stats.h. */
#include "replay/stats.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/bits.h"

#define RESAMPLES 1000u
#define PAIRS_MAX 200u /* more rounds than that are thinned out: Walsh averages are quadratic */

uint64_t hak_random_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return hak_mix64(*state);
}

uint32_t hak_random_below(uint64_t *state, uint32_t end)
{
    return (uint32_t)((hak_random_next(state) >> 32) * end >> 32);
}

static int order_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double hak_stats_median(double *values, size_t count)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, order_doubles);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* Hodges-Lehmann: the median of the averages of all pairs. `scratch` holds count * (count + 1) / 2. */
static double centre(const double *values, size_t count, double *scratch)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = i; k < count; k++)
            scratch[n++] = (values[i] + values[k]) / 2;
    return hak_stats_median(scratch, n);
}

hak_ratio hak_stats_ratio(const double *values, const double *base, size_t count, uint64_t seed)
{
    hak_ratio result = {0, 0, 0, false};
    double logs[PAIRS_MAX], sample[PAIRS_MAX];
    size_t step = count / PAIRS_MAX + 1, n = 0;
    for (size_t i = 0; i < count && n < PAIRS_MAX; i += step) {
        if (!(values[i] > 0) || !(base[i] > 0))
            return result;
        logs[n++] = log(values[i] / base[i]);
    }
    double *scratch = malloc((n * (n + 1) / 2 + RESAMPLES) * sizeof *scratch);
    if (n == 0 || scratch == NULL) {
        free(scratch);
        return result;
    }
    double *centres = scratch + n * (n + 1) / 2;
    result.ratio = result.low = result.high = exp(centre(logs, n, scratch));
    if (n >= HAK_STATS_MIN_PAIRS) {
        for (size_t r = 0; r < RESAMPLES; r++) {
            for (size_t i = 0; i < n; i++)
                sample[i] = logs[hak_random_below(&seed, (uint32_t)n)];
            centres[r] = centre(sample, n, scratch);
        }
        qsort(centres, RESAMPLES, sizeof *centres, order_doubles);
        result.low = exp(centres[RESAMPLES / 40]);
        result.high = exp(centres[RESAMPLES - 1 - RESAMPLES / 40]);
        result.known = true;
    }
    free(scratch);
    return result;
}

bool hak_ratio_significant(const hak_ratio *ratio)
{
    return ratio->known && (ratio->low > 1 || ratio->high < 1);
}

double hak_stats_tau(const double *a, const double *b, size_t count)
{
    double same = 0, pairs_a = 0, pairs_b = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = i + 1; k < count; k++) {
            int x = (a[i] > a[k]) - (a[i] < a[k]), y = (b[i] > b[k]) - (b[i] < b[k]);
            same += x * y;
            pairs_a += x != 0;
            pairs_b += y != 0;
        }
    return pairs_a > 0 && pairs_b > 0 ? same / sqrt(pairs_a * pairs_b) : 0;
}
