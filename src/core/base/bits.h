/* bits.h: alignment and logarithms. Pure functions; arguments of zero are stated where they matter. */
#ifndef HAK_BASE_BITS_H
#define HAK_BASE_BITS_H

#include "core/base/types.h"

/* Largest k with 2^k <= x; x must not be 0. */
HAK_INLINE unsigned hak_log2_floor(uint64_t x)
{
    return 63u - (unsigned)__builtin_clzll(x);
}

/* Smallest k with 2^k >= x; 0 for x <= 1. */
HAK_INLINE unsigned hak_log2_ceil(uint64_t x)
{
    return x <= 1 ? 0 : 64u - (unsigned)__builtin_clzll(x - 1);
}

HAK_INLINE bool hak_is_pow2(uint64_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

/* `align` is a power of two; the caller has made sure that x + align does not overflow. */
HAK_INLINE uint64_t hak_align_up(uint64_t x, uint64_t align)
{
    return (x + align - 1) & ~(align - 1);
}

HAK_INLINE uint64_t hak_align_down(uint64_t x, uint64_t align)
{
    return x & ~(align - 1);
}

/* Finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection that spreads every input bit. */
HAK_INLINE uint64_t hak_mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#define HAK_HASH_SEED UINT64_C(0xcbf29ce484222325)

/* FNV-1a (Fowler, Noll, Vo) over a text, from HAK_HASH_SEED or what the last text gave; NULL is as "". The
 * low bits are weak: hak_mix64 before they choose a place in a table. */
HAK_INLINE uint64_t hak_hash_text(uint64_t hash, const char *text)
{
    for (; text != NULL && *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
