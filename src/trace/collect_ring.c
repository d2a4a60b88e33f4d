/* collect_ring.c: see collect_ring.h. */
#include "trace/collect_ring.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "trace/event.h"

#define PART_WORDS (HAK_RING_WORDS / 32) /* used before the producer is told */
#define WAKE_WORDS (HAK_RING_WORDS / 4)  /* of room: a producer that waits is worth waking */

static bool is_alloc(uint32_t kind)
{
    return kind < HAK_OP_COUNT && (hak_op_class_of((hak_op)kind) == HAK_CLASS_ALLOC ||
                                   hak_op_class_of((hak_op)kind) == HAK_CLASS_REALLOC);
}

/* A number that is checked and then used: the program may change it in between. */
static uint64_t read_once(const uint64_t *word)
{
    return *(const volatile uint64_t *)word;
}

/* Length and fields of an allocation; false: it does not fit into `left` words. */
static bool decode_alloc(hak_record *record, uint64_t left)
{
    uint32_t words = 2;
    record->address = record->at[1] & HAK_ADDRESS_MASK;
    record->size = record->at[1] >> HAK_ADDRESS_BITS;
    if (HAK_UNLIKELY((record->form & HAK_RECORD_WIDE) != 0)) {
        if (left < 4)
            return false;
        record->size = record->at[2] < HAK_WIDE_SIZE_MASK ? record->at[2] : HAK_WIDE_SIZE_MASK;
        record->align_log2 = (uint32_t)record->at[3] & 63;
        record->flags = (uint32_t)record->at[3];
        words = 4;
    }
    if (HAK_UNLIKELY((record->form & HAK_RECORD_STACK) != 0)) {
        if (left <= words)
            return false;
        uint64_t counts = read_once(&record->at[words++]);
        uint32_t frames = (uint32_t)counts;
        record->same = (uint32_t)(counts >> 32);
        if (frames > HAK_RECORD_DEPTH_MAX || record->same > frames || frames - record->same > left - words)
            return false;
        record->frames = frames - record->same;
        record->pcs = record->at + words;
        words += record->frames;
    }
    record->words = words;
    return true;
}

static bool decode(hak_record *record, uint64_t left)
{
    switch (record->kind) {
    case HAK_RECORD_THREAD_END:
        record->words = 1;
        return true;
    case HAK_RECORD_THREAD_START:
    case HAK_RECORD_REALLOC_BEGIN:
    case HAK_RECORD_MODULE_UNLOAD:
        record->words = 2;
        break;
    case HAK_RECORD_ROW:
        record->words = 3;
        break;
    case HAK_RECORD_MODULE_LOAD:
        if (left < HAK_RECORD_MODULE_WORDS)
            return false;
        record->size = read_once(&record->at[4]);
        record->words = HAK_RECORD_MODULE_WORDS + (uint32_t)(((uint32_t)record->size + UINT64_C(7)) / 8);
        return (uint32_t)record->size <= HAK_MODULE_PATH_MAX && record->words <= left;
    default:
        if (HAK_UNLIKELY(record->kind >= HAK_OP_COUNT || left < 2))
            return false;
        if (is_alloc(record->kind))
            return decode_alloc(record, left);
        record->words = 2;
        break;
    }
    if (record->words > left)
        return false;
    record->address = record->at[1] & HAK_ADDRESS_MASK;
    return true;
}

/* Anything that is not an event of two words. False: nothing there, or nonsense. */
static HAK_NOINLINE bool decode_rare(hak_consumer *consumer, hak_record *record, uint64_t left, bool *again)
{
    *again = false;
    if (record->kind == HAK_RECORD_PAD) {
        consumer->tail = (consumer->tail | (HAK_RING_WORDS - 1)) + 1;
        *again = true;
        return false;
    }
    if (record->kind == HAK_RECORD_TIME && left >= HAK_RECORD_TIME_WORDS) {
        consumer->high = record->at[1] >> HAK_STAMP_BITS << HAK_STAMP_BITS;
        consumer->tail += HAK_RECORD_TIME_WORDS;
        *again = true;
        return false;
    }
    if (decode(record, left))
        return true;
    consumer->broken = true;
    consumer->tail = consumer->visible;
    return false;
}

bool hak_consumer_peek(hak_consumer *consumer, hak_record *record)
{
    bool again = true;
    while (again && consumer->tail < consumer->visible && !consumer->broken) {
        uint64_t at = consumer->tail & (HAK_RING_WORDS - 1);
        uint64_t left = consumer->visible - consumer->tail;
        if (HAK_UNLIKELY(left > HAK_RING_WORDS - at))
            left = HAK_RING_WORDS - at;
        const uint64_t *words = consumer->words + at;
        uint64_t word = words[0];
        uint32_t kind_form = (uint32_t)(word >> (HAK_STAMP_BITS + HAK_STACK_ID_BITS));
        record->at = words;
        record->kind = kind_form & ((1u << HAK_KIND_BITS) - 1);
        record->form = kind_form >> HAK_KIND_BITS;
        record->stack = (uint32_t)(word >> HAK_STAMP_BITS) & ((1u << HAK_STACK_ID_BITS) - 1);
        record->flags = record->align_log2 = record->frames = 0;
        record->words = 2;
        bool plain = record->kind < HAK_OP_COUNT && left >= 2 &&
                     (record->form & (HAK_RECORD_WIDE | HAK_RECORD_STACK)) == 0;
        if (HAK_LIKELY(plain)) {
            record->address = words[1] & HAK_ADDRESS_MASK;
            record->size = words[1] >> HAK_ADDRESS_BITS;
        } else {
            record->address = record->size = 0;
            if (!decode_rare(consumer, record, left, &again))
                continue;
        }
        record->stamp = consumer->high | (uint32_t)word;
        if (HAK_UNLIKELY(record->stamp < consumer->last))
            record->stamp = consumer->last;
        return true;
    }
    return false;
}

void hak_consumer_take(hak_consumer *consumer, const hak_record *record)
{
    consumer->tail += record->words;
    consumer->last = record->stamp;
}

static void wake_if_waiting(hak_ring *ring)
{
    /* Partner: the producer's store before it reads tail. */
    if (atomic_load(&ring->waiting) == 0 || atomic_exchange(&ring->waiting, 0) == 0)
        return;
    atomic_fetch_add(&ring->room, 1);
    syscall(SYS_futex, &ring->room, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void hak_consumer_release(hak_consumer *consumer)
{
    hak_ring *ring = consumer->ring;
    if (atomic_load_explicit(&ring->tail, memory_order_relaxed) != consumer->tail)
        atomic_store(&ring->tail, consumer->tail);
    wake_if_waiting(ring);
}

void hak_consumer_release_part(hak_consumer *consumer)
{
    hak_ring *ring = consumer->ring;
    if (consumer->tail - atomic_load_explicit(&ring->tail, memory_order_relaxed) < PART_WORDS)
        return;
    atomic_store(&ring->tail, consumer->tail);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed) >> 1;
    if (head - consumer->tail <= HAK_RING_WORDS - WAKE_WORDS)
        wake_if_waiting(ring);
}
