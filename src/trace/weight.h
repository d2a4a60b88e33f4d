/* weight.h: what a sampled allocation stands for. Every byte that a program asks for is a sample with the
 * same small chance (a Poisson process over bytes), so a block of s bytes is seen with probability 1 - exp(-s
 * / mean) and stands for the inverse of that many of its like. Weights are whole numbers whose remainder is
 * carried on: sums are unbiased. One thread per weigher. */
#ifndef HAK_TRACE_WEIGHT_H
#define HAK_TRACE_WEIGHT_H

#include <math.h>

#include "core/base/types.h"

typedef struct hak_weigher {
    uint64_t mean_bytes; /* of the sampling interval; 0: every call was recorded, each weighs 1 */
    double carry;
} hak_weigher;

HAK_INLINE uint32_t hak_weigh(hak_weigher *weigher, uint64_t size_bytes)
{
    if (HAK_LIKELY(weigher->mean_bytes == 0))
        return 1;
    double size = size_bytes == 0 ? 1 : (double)size_bytes;
    double exact = -1 / expm1(-size / (double)weigher->mean_bytes) + weigher->carry;
    uint32_t weight = exact < (double)UINT32_MAX ? (uint32_t)exact : UINT32_MAX;
    weigher->carry = exact - weight < 1 ? exact - weight : 0;
    return weight;
}

#endif
