/* collect_merge.c: see collect_merge.h. */
#include "trace/collect_merge.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "trace/collect_run.h"

#define FIRST_DEPTH 64    /* rings that wait for each other's records, at most */
#define OWNER_TRIES 20000 /* of 50 us: how long the end of another thread's realloc is waited for */

bool hak_merge_reserve(hak_merge *merge, size_t count)
{
    hak_consumer *consumers = realloc(merge->consumers, count * sizeof *consumers);
    if (consumers != NULL)
        merge->consumers = consumers;
    hak_consumer **heap = realloc(merge->heap, count * sizeof(hak_consumer *));
    if (heap != NULL)
        merge->heap = heap;
    hak_record *next = realloc(merge->next, count * sizeof *next);
    if (next != NULL)
        merge->next = next;
    return consumers != NULL && heap != NULL && next != NULL;
}

void hak_merge_done(hak_merge *merge)
{
    free(merge->consumers);
    free(merge->heap);
    free(merge->next);
    merge->consumers = NULL;
    merge->heap = NULL;
    merge->next = NULL;
    merge->count = 0;
}

static bool earlier(const hak_merge *merge, size_t a, size_t b)
{
    const hak_consumer *base = merge->consumers;
    return merge->next[merge->heap[a] - base].stamp < merge->next[merge->heap[b] - base].stamp;
}

static void swap(hak_merge *merge, size_t a, size_t b)
{
    hak_consumer *moved = merge->heap[a];
    merge->heap[a] = merge->heap[b];
    merge->heap[b] = moved;
}

static void sift_down(hak_merge *merge, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < merge->heap_count; child++)
            if (earlier(merge, child, least))
                least = child;
        if (least == at)
            return;
        swap(merge, at, least);
        at = least;
    }
}

static void sift_up(hak_merge *merge, size_t at)
{
    while (at > 0 && earlier(merge, at, (at - 1) / 2)) {
        swap(merge, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static bool peek(hak_merge *merge, hak_consumer *consumer, uint64_t limit)
{
    hak_record *next = &merge->next[consumer - merge->consumers];
    return hak_consumer_peek(consumer, next) && next->stamp <= limit;
}

/* What its producer has appended by now. */
static void look_again(hak_consumer *consumer)
{
    uint64_t visible = atomic_load_explicit(&consumer->ring->head, memory_order_acquire) >> 1;
    if (visible >= consumer->visible && visible - consumer->tail <= HAK_RING_WORDS)
        consumer->visible = visible;
}

static void use(hak_merge *merge, hak_consumer *consumer, const hak_record *record, unsigned depth);

/* An address that another ring's record allocates or frees is still in the hands of the owner's realloc: its
 * end comes first, if need be from beyond the moment. */
static void let_owner_end(hak_merge *merge, hak_consumer *owner, unsigned depth)
{
    hak_record end;
    merge->disturbed = true;
    for (unsigned tries = 0; tries < OWNER_TRIES; tries++) {
        look_again(owner);
        if (hak_consumer_peek(owner, &end)) {
            bool ends = end.kind == HAK_OP_REALLOC || end.kind == HAK_OP_REALLOCARRAY;
            bool before = end.kind == HAK_RECORD_ROW || end.kind == HAK_RECORD_MODULE_LOAD;
            if (!ends && !before)
                break;
            use(merge, owner, &end, depth);
            if (before) /* its walk met new code */
                continue;
            return;
        }
        hak_consumer_release(owner); /* its ring may be full */
        struct pollfd dead = {.fd = merge->pid_fd, .events = POLLIN};
        struct timespec pause = {.tv_nsec = 50000};
        if (merge->pid_fd >= 0 && poll(&dead, 1, 0) > 0)
            break;
        nanosleep(&pause, NULL);
    }
    owner->pending_gone = true;
}

static bool gives_up(const hak_record *record)
{
    return record->kind == HAK_RECORD_REALLOC_BEGIN ||
           (record->kind < HAK_OP_COUNT && hak_op_class_of((hak_op)record->kind) == HAK_CLASS_FREE);
}

static bool takes(const hak_record *record)
{
    if (record->kind >= HAK_OP_COUNT || (record->flags & HAK_RECORD_FAILED) != 0)
        return false;
    hak_op_class does = hak_op_class_of((hak_op)record->kind);
    return does == HAK_CLASS_ALLOC || does == HAK_CLASS_REALLOC;
}

/* The ring that has the earliest record that does so with the address, by `until`; NULL: none has. *end:
 * where the ring is behind that record. */
static hak_consumer *earliest(hak_merge *merge, bool (*does)(const hak_record *), uint64_t address,
                              uint64_t until, uint64_t *end)
{
    hak_consumer *found = NULL;
    for (size_t i = 0; i < merge->count; i++) {
        hak_consumer *other = &merge->consumers[i];
        if (other->busy || other->broken)
            continue;
        look_again(other);
        hak_consumer ahead = *other;
        hak_record record;
        for (bool here = false; !here && hak_consumer_peek(&ahead, &record) && record.stamp <= until;) {
            hak_consumer_take(&ahead, &record);
            here = does(&record) && record.address == address;
            if (here) {
                found = other;
                *end = ahead.tail;
                until = record.stamp;
            }
        }
    }
    return found;
}

/* The earliest record among the next one of this ring and those of the others; NULL: this ring has none. A
 * ring that waits is left out: what stands behind its next record came, in truth, after what it waits for. */
static hak_consumer *next_ahead(hak_merge *merge, hak_consumer *consumer, hak_record *record)
{
    hak_consumer *found = consumer;
    if (!hak_consumer_peek(consumer, record))
        return NULL;
    for (size_t i = 0; i < merge->count; i++) {
        hak_consumer *other = &merge->consumers[i];
        hak_record next;
        if (other != consumer && !other->busy && !other->broken && hak_consumer_peek(other, &next) &&
            next.stamp < record->stamp) {
            *record = next;
            found = other;
        }
    }
    return found;
}

/* Uses this ring's records up to `end`, ahead of the moment, and on the way what the other rings have
 * earlier: records of one address keep their order. */
static void use_up_to(hak_merge *merge, hak_consumer *consumer, uint64_t end, unsigned depth)
{
    hak_record record;
    merge->disturbed = true;
    while (consumer->tail < end) {
        hak_consumer *next = next_ahead(merge, consumer, &record);
        if (next == NULL)
            break;
        use(merge, next, &record, depth);
    }
}

/* `record` allocates an address that is still live here. Its stamp may have been read before the block was
 * there (ring.h), so the free that made it may be stamped a little later, in another ring: that comes first.
 * It has been published before the block could be handed out. */
static void free_first(hak_merge *merge, const hak_record *record, unsigned depth)
{
    uint64_t end;
    hak_consumer *other =
        earliest(merge, gives_up, record->address, record->stamp + HAK_RING_SLACK_TICKS, &end);
    if (other == NULL)
        return;
    use_up_to(merge, other, end, depth);
    if (other->pending == record->address)
        let_owner_end(merge, other, depth);
}

/* `record` gives up an address that is not live here: its ring was used ahead of others, for the sake of a
 * later record, or its stamp was read early. The allocation has been published before. */
static void alloc_first(hak_merge *merge, const hak_record *record, unsigned depth)
{
    uint64_t end;
    hak_consumer *other = earliest(merge, takes, record->address, record->stamp + HAK_RING_SLACK_TICKS, &end);
    if (other != NULL)
        use_up_to(merge, other, end, depth);
}

/* When a sample is recorded, most frees are of blocks that were not. */
static bool lacks_alloc(const hak_merge *merge, const hak_record *record, unsigned depth)
{
    bool expected = depth > 0 || merge->events->weigher.mean_bytes == 0;
    return expected && gives_up(record) && record->address != 0 &&
           hak_slots_find(merge->events->slots, record->address) == HAK_SLOT_NONE;
}

/* What must come before the record although its stamp is later; `depth` as in use. */
static void use_first(hak_merge *merge, hak_consumer *consumer, const hak_record *record, unsigned depth)
{
    hak_consumer *owner = hak_events_owner(merge->events, merge->consumers, merge->count, consumer, record);
    consumer->busy = true;
    if (HAK_UNLIKELY(owner != NULL && !owner->busy))
        let_owner_end(merge, owner, depth + 1);
    if (HAK_UNLIKELY(lacks_alloc(merge, record, depth)))
        alloc_first(merge, record, depth + 1);
    consumer->busy = false;
}

/* depth: how many rings are waiting for this one. */
static void use(hak_merge *merge, hak_consumer *consumer, const hak_record *record, unsigned depth)
{
    if (HAK_LIKELY(depth < FIRST_DEPTH))
        use_first(merge, consumer, record, depth);
    uint64_t time_ns = hak_clock_ns(merge->clock, record->stamp);
    if (HAK_UNLIKELY(!hak_events_record(merge->events, consumer, record, time_ns, depth == FIRST_DEPTH))) {
        consumer->busy = true;
        free_first(merge, record, depth + 1);
        consumer->busy = false;
        time_ns = hak_clock_ns(merge->clock, record->stamp);
        hak_events_record(merge->events, consumer, record, time_ns, true);
    }
    hak_consumer_take(consumer, record);
}

/* Events of one ring while no other has an earlier one: the usual case costs no heap work. */
static uint64_t drain_top(hak_merge *merge, uint64_t limit)
{
    hak_consumer *top = merge->heap[0];
    hak_record *next = &merge->next[top - merge->consumers];
    uint64_t until = limit;
    for (size_t child = 1; child <= 2 && child < merge->heap_count; child++) {
        uint64_t stamp = merge->next[merge->heap[child] - merge->consumers].stamp;
        if (stamp < until)
            until = stamp;
    }
    uint64_t used = 0;
    do {
        used += hak_events_run(merge->events, top, merge->clock, until);
        if (!peek(merge, top, limit) || next->stamp > until)
            break;
        use(merge, top, next, 0);
        used++;
        hak_consumer_release_part(top);
    } while (!merge->disturbed && peek(merge, top, limit) && next->stamp <= until);
    if (hak_consumer_peek(top, next) && next->stamp <= limit) {
        sift_down(merge, 0);
    } else {
        merge->heap[0] = merge->heap[--merge->heap_count];
        sift_down(merge, 0);
    }
    return used;
}

static void build_heap(hak_merge *merge, uint64_t limit)
{
    merge->disturbed = false;
    merge->heap_count = 0;
    for (size_t i = 0; i < merge->count; i++)
        if (peek(merge, &merge->consumers[i], limit)) {
            merge->heap[merge->heap_count] = &merge->consumers[i];
            sift_up(merge, merge->heap_count++);
        }
}

uint64_t hak_merge_run(hak_merge *merge, uint64_t limit)
{
    uint64_t used = 0;
    build_heap(merge, limit);
    while (merge->heap_count > 0) {
        used += drain_top(merge, limit);
        if (HAK_UNLIKELY(merge->disturbed))
            build_heap(merge, limit);
    }
    for (size_t i = 0; i < merge->count; i++)
        hak_consumer_release(&merge->consumers[i]);
    return used;
}
