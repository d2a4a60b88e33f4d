/* front.c: see front.h. Only the owner of the heap calls; grants are atomic. Never allocates. */
#include "core/front.h"

#include "core/base/os.h"
#include "core/decide.h"
#include "core/heap.h"
#include "core/options.h"
#include "core/span.h"

#define FRONT_BYTES (4 * HAK_MIB)  /* granted to a thread as it asks */
#define ALL_BYTES   (16 * HAK_MIB) /* so much by all, */
#define TURNS_BYTES (72 * HAK_MIB) /* and this where sizes come in turns */
#define TURNS_LEAST 2
#define STALE_MOST  64
#define PERCENT     100
#define LOOK_EVERY  32 /* at how a block is used, of those that are kept */
#define PACE_FREES  4  /* frees that come within PACE_NS, as often as it is looked, are worth a front */
#define PACE_NS     (UINT64_C(4) * 1000000)

static _Atomic size_t granted; /* by all heaps */

void hak_front_init(hak_heap *heap)
{
    bool seen = hak_feature_on(HAK_FEATURE_HEADERS) || hak_feature_on(HAK_FEATURE_POLICY) ||
                hak_learn_hooks.large_alloc != NULL;
    bool on = hak_feature_on(HAK_FEATURE_BIGCACHE) && hak_feature_on(HAK_FEATURE_LISTS) && !seen &&
              hak_opt.free_policy != HAK_FREE_BATCH;
    int64_t ways = hak_opt.knobs[HAK_KNOB_BIGCACHE_WAYS];
    heap->front.room_ways = !on ? 0 : ways < HAK_FRONT_WAYS ? (uint32_t)ways : HAK_FRONT_WAYS;
}

static bool grant(hak_front *front, size_t bytes, size_t most_all)
{
    size_t cap = hak_knob_bytes(HAK_KNOB_BIGCACHE_BYTES);
    most_all = most_all < cap ? most_all : cap;
    size_t all = atomic_load_explicit(&granted, memory_order_relaxed);
    do
        if (all + bytes > most_all)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&granted, &all, all + bytes, memory_order_relaxed,
                                                  memory_order_relaxed));
    front->granted_bytes += bytes;
    return true;
}

static void put_past(hak_heap *heap, hak_large *large)
{
    heap->front.held_bytes -= large->room_bytes;
    hak_heap_count(heap, HAK_COUNT_FRONT_FLUSHED, 1);
    large->state = HAK_LARGE_LIVE;
    hak_large_put(large);
}

void hak_front_flush(hak_heap *heap)
{
    hak_front *front = &heap->front;
    while (front->count != 0)
        put_past(heap, front->blocks[--front->count]);
    atomic_fetch_sub_explicit(&granted, front->granted_bytes, memory_order_relaxed);
    front->granted_bytes = 0;
    front->stale = 0;
}

/* What a thread that rests in between kept would lie idle, while others touch fresh memory. */
static bool is_busy(hak_front *front)
{
    if (++front->paced >= PACE_FREES) {
        uint64_t now_ns = hak_os_monotonic_ns();
        front->busy = now_ns - front->pace_ns < PACE_NS;
        front->pace_ns = now_ns;
        front->paced = 0;
    }
    return front->busy;
}

/* Room for `bytes` more by other means than those at hand: false where there are none. */
HAK_COLD static bool make_room(hak_heap *heap, size_t bytes)
{
    hak_front *front = &heap->front;
    if (++front->stale > STALE_MOST)
        hak_front_flush(heap);
    size_t lacking = bytes > front->granted_bytes ? bytes - front->granted_bytes : 0;
    bool turns = front->past_bytes == bytes && front->turns >= TURNS_LEAST;
    if (lacking != 0 && !(is_busy(front) && ((bytes <= FRONT_BYTES && grant(front, lacking, ALL_BYTES)) ||
                                             (turns && grant(front, lacking, TURNS_BYTES))))) {
        front->turns = front->past_bytes == bytes ? front->turns : 0;
        front->past_bytes = bytes;
        return false;
    }
    while (front->count != 0 &&
           (front->count >= front->room_ways || front->held_bytes + bytes > front->granted_bytes)) {
        put_past(heap, front->blocks[0]); /* the one longest here */
        front->count--;
        for (uint32_t i = 0; i < front->count; i++)
            front->blocks[i] = front->blocks[i + 1];
    }
    return true;
}

void *hak_front_take(hak_heap *heap, size_t bytes)
{
    hak_front *front = &heap->front;
    for (uint32_t i = front->count; i-- > 0;) {
        hak_large *large = front->blocks[i];
        size_t room = large->room_bytes;
        if (bytes > room || (room - bytes) * PERCENT > bytes * hak_knob_bytes(HAK_KNOB_BIGCACHE_FIT_PERCENT))
            continue;
        front->blocks[i] = front->blocks[--front->count];
        front->held_bytes -= room;
        front->stale = 0;
        large->bytes = bytes;
        large->state = HAK_LARGE_LIVE;
        hak_heap_count(heap, HAK_COUNT_FRONT_TAKEN, 1);
        return large->block;
    }
    if (front->past_bytes - bytes < HAK_UNIT_BYTES)
        front->turns++;
    return NULL;
}

bool hak_front_put(hak_heap *heap, void *at)
{
    hak_front *front = &heap->front;
    bool freed;
    hak_large *large = hak_large_of(at, &freed);
    if (large == NULL || large->growing || front->room_ways == 0)
        return false;
    size_t room = large->room_bytes;
    if (HAK_UNLIKELY(front->count >= front->room_ways || front->held_bytes + room > front->granted_bytes) &&
        !make_room(heap, room))
        return false;
    large->state = HAK_LARGE_CACHED;
    front->blocks[front->count++] = large;
    front->held_bytes += room;
    hak_heap_count(heap, HAK_COUNT_FRONT_KEPT, 1);
    if (HAK_UNLIKELY(heap->counters[HAK_COUNT_FRONT_KEPT] % LOOK_EVERY == 0) &&
        hak_large_look(large->block, large->bytes))
        hak_front_flush(heap); /* to come back with huge pages */
    return true;
}

typedef struct sum {
    size_t blocks, bytes;
} sum;

static void add(hak_heap *heap, void *context)
{
    sum *s = context;
    s->blocks += heap->front.count;
    s->bytes += heap->front.held_bytes;
}

void hak_front_sum(size_t *blocks, size_t *bytes)
{
    sum s = {0, 0};
    hak_heap_visit(add, &s);
    *blocks = s.blocks;
    *bytes = s.bytes;
}
