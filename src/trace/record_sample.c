/* record_sample.c: see record_sample.h. Holds no lock. */
#include "trace/record_sample.h"

#include <errno.h>

#include <string.h>

#include "core/base/bits.h"
#include "trace/interpose.h"
#include "trace/record_put.h"

/* Addresses of sampled blocks that live: buckets of one cache line. One that overflows lets every free
 * through; the collector knows which blocks it has seen. */
#define BUCKET_BITS  15
#define BUCKET_SLOTS 8
#define LEFT_MAX     ((double)(UINT64_C(1) << 50))

static struct {
    alignas(HAK_CACHE_LINE) _Atomic uintptr_t blocks[BUCKET_SLOTS];
} buckets[1 << BUCKET_BITS];
static _Atomic uint8_t overflowed[1 << BUCKET_BITS];
_Atomic uint8_t hak_sample_places[HAK_SAMPLE_PLACES];
HAK_TLS_IE uint64_t hak_sample_left;
static bool places_set;

static bool sampling(void)
{
    return (atomic_load_explicit(&hak_live_page->on, memory_order_relaxed) & HAK_ON_SAMPLED) != 0;
}

static size_t bucket_of(uintptr_t address)
{
    return (size_t)(hak_mix64(address) >> (64 - BUCKET_BITS));
}

static void add_to_place(uintptr_t address, int step)
{
    _Atomic uint8_t *place = hak_sample_place((const void *)address);
    uint8_t had = atomic_load(place);
    while (had != HAK_SAMPLE_MANY && !atomic_compare_exchange_weak(place, &had, (uint8_t)(had + step)))
        continue;
}

/* The place says so first, and longest. A block that finds no place keeps it for ever. */
static void keep(uintptr_t address)
{
    size_t bucket = bucket_of(address);
    add_to_place(address, 1);
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        uintptr_t unused = 0;
        if (atomic_compare_exchange_strong(&buckets[bucket].blocks[i], &unused, address))
            return;
    }
    atomic_store(&overflowed[bucket], 1);
}

static bool take(uintptr_t address)
{
    size_t bucket = bucket_of(address);
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        uintptr_t held = atomic_load_explicit(&buckets[bucket].blocks[i], memory_order_relaxed);
        if (HAK_UNLIKELY(held == address)) {
            bool taken = atomic_compare_exchange_strong(&buckets[bucket].blocks[i], &held, 0);
            if (taken)
                add_to_place(address, -1);
            return taken;
        }
    }
    return atomic_load_explicit(&overflowed[bucket], memory_order_relaxed) != 0;
}

/* Natural logarithm of x in (0, 1], to seven digits: the library is not to bring libm into the program. */
static double log_of(double x)
{
    union {
        double value;
        uint64_t bits;
    } parts = {x};
    int exponent = (int)(parts.bits >> 52) - 1023;
    parts.bits = (parts.bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1023) << 52;
    double t = (parts.value - 1) / (parts.value + 1);
    double square = t * t;
    double sum = 0;
    for (int k = 15; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return exponent * 0.6931471805599453 + 2 * t * sum;
}

/* Bytes up to the next sample: exponentially distributed. */
static uint64_t draw(hak_thread *self)
{
    uint64_t x = self->sample_random; /* xorshift64 (Marsaglia, 2003) */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    self->sample_random = x;
    double uniform = (double)((x >> 11) + 1) * 0x1p-53;
    double bytes = -log_of(uniform) * (double)hak_sample_bytes;
    return bytes < 1 ? 1 : bytes < LEFT_MAX ? (uint64_t)bytes : (uint64_t)LEFT_MAX;
}

/* Or when a signal's handler jumped out between a countdown's end and what follows it. */
static void seed_if_needed(hak_thread *self)
{
    if (HAK_LIKELY(self->sample_random != 0 && hak_sample_left <= (uint64_t)LEFT_MAX))
        return;
    self->sample_random = hak_mix64(hak_tsc() ^ (uintptr_t)self) | 1;
    hak_sample_left = draw(self);
}

/* The thread's next allocation comes here, and what its countdown stood at is forgotten. */
static void unseed(hak_thread *self)
{
    self->sample_random = 0;
    hak_sample_left = 0;
}

void hak_sample_forked(void)
{
    unseed(&hak_self);
}

void hak_sample_set(bool on)
{
    if (places_set != on) {
        memset((void *)hak_sample_places, on ? HAK_SAMPLE_NONE : HAK_SAMPLE_ASK, sizeof hak_sample_places);
        places_set = on;
    }
    for (size_t at = 0; on && at < HAK_NEXT_ARENA_BYTES; at += HAK_OS_PAGE_BYTES) /* not for free */
        atomic_store(hak_sample_place(hak_next_arena + at), HAK_SAMPLE_MANY);
    const hak_pass_table to_next = {hak_next.malloc, hak_next.calloc, hak_next.realloc, hak_next_new};
    hak_pass = on ? to_next : hak_pass_to_record;
}

bool hak_sample_enter(hak_thread *self, hak_hook hook)
{
    return sampling() && hak_thread_enter_sample(self, hak_hook_caller(hook));
}

static HAK_COLD void sample(hak_thread *self, hak_op op, unsigned flags, const void *block, size_t size,
                            unsigned align_log2, hak_hook hook)
{
    int saved = errno;
    hak_sample_left = draw(self);
    if (block != NULL && hak_thread_enter_sample(self, hak_hook_caller(hook))) {
        keep((uintptr_t)block);
        hak_put_alloc(self, op, flags, block, size, align_log2, hook);
        hak_leave(self);
    }
    errno = saved;
}

void hak_sample_alloc(hak_thread *self, hak_op op, unsigned flags, const void *block, size_t size,
                      unsigned align_log2, hak_hook hook)
{
    if (!sampling()) {
        unseed(self);
        return;
    }
    seed_if_needed(self);
    uint64_t counts = size != 0 ? size : 1;
    if (counts < hak_sample_left)
        hak_sample_left -= counts;
    else
        sample(self, op, flags, block, size, align_log2, hook);
}

void hak_sample_free(hak_thread *self, hak_op op, const void *block, hak_hook hook)
{
    if (!sampling() || block == NULL)
        return;
    if (!take((uintptr_t)block))
        return;
    int saved = errno;
    if (hak_thread_enter_sample(self, hak_hook_caller(hook))) {
        hak_put_free(self, op, block);
        hak_leave(self);
    }
    errno = saved;
}
