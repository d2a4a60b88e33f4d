/* recall.c: see recall.h; and the slow halves of malloc, calloc and operator new, which are jumped to where
 * the thread's list is empty: because the policy is consulted about these calls, or because it ran out.
 *
 * They build no frame, so that the program's is where their caller's should be, and read nothing but the
 * remembered calls, the stack and the list; all else is alloc.c's. Their length is a test
 * (tests/bench/instructions). Any thread. */
#include "core/recall.h"

#include <string.h>

#include "core/alloc.h"
#include "core/fast.h"
#include "core/policy.h"

/* The return address at hand and the stack pointer after the return to it, without a frame pointer. */
#define CALLER_PC() ((uintptr_t)__builtin_return_address(0))
#define CALLER_SP() ((uintptr_t)__builtin_dwarf_cfa())

HAK_INLINE bool same_words(const hak_recall *known, uintptr_t sp)
{
    unsigned i = 0;
    do /* the low half of a word comes first in memory */
        if (*(const uint32_t *)(sp + 8 * (uintptr_t)known->at[i]) != known->pcs[i])
            return false;
    while (++i < known->count);
    return true;
}

/* A block where the answer puts it; NULL: look it up. */
HAK_INLINE void *recall_take(size_t bytes, uintptr_t pc, uintptr_t sp)
{
    if (HAK_UNLIKELY(bytes > HAK_SMALL_MAX_BYTES))
        return NULL;
    hak_heap *heap = hak_tls_heap;
    hak_recall *known = hak_recall_set(heap->recall, pc, sp);
    if (known->pc != pc || known->sp != sp || (known->count != 0 && !same_words(known, sp))) {
        known++;
        if (known->pc != pc || known->sp != sp || (known->count != 0 && !same_words(known, sp)))
            return NULL;
    }
    hak_bin *bin = (hak_bin *)heap->placed + known->first_bin + hak_class_of(bytes);
    hak_block *block = bin->head;
    bool none;
    if (HAK_UNLIKELY(block == NULL) || HAK_UNLIKELY(block->key != hak_block_key(block, heap)))
        return NULL;
    HAK_DOWN(known->left, none);
    if (HAK_UNLIKELY(none))
        return NULL;
    hak_block *next = hak_block_next(block);
    if (HAK_SECURE && !hak_block_plausible(next))
        return NULL;
    bin->head = next;
    block->key = 0;
    return block;
}

void *hak_malloc_slow(size_t bytes)
{
    void *block = recall_take(bytes, CALLER_PC(), CALLER_SP());
    return HAK_LIKELY(block != NULL) ? block : hak_malloc_general(bytes);
}

void *hak_new_slow(size_t bytes)
{
    void *block = recall_take(bytes, CALLER_PC(), CALLER_SP());
    return HAK_LIKELY(block != NULL) ? block : hak_new_general(bytes);
}

void *hak_calloc_slow(size_t bytes)
{
    void *block = recall_take(bytes, CALLER_PC(), CALLER_SP());
    return HAK_LIKELY(block != NULL) ? memset(block, 0, bytes) : hak_calloc_general(bytes);
}

/* ---- remembering ---- */

static uint64_t hits(const hak_recall *known)
{
    int32_t left = __atomic_load_n(&known->left, __ATOMIC_RELAXED);
    return left < 0 ? HAK_RECALL_HITS : (uint64_t)(HAK_RECALL_HITS - left);
}

/* What it answered is counted, and brings the guard's next look nearer. */
static void settle(hak_heap *heap, hak_recall *known)
{
    if (known->pc == 0)
        return;
    uint64_t count = hits(known);
    known->left = HAK_RECALL_HITS;
    hak_heap_count(heap, HAK_COUNT_POLICY_LOOKUP, count);
    hak_heap_count(heap, HAK_COUNT_POLICY_RECALLED, count);
    hak_heap_count(heap, (hak_heap_counter)known->counter, count);
    heap->sample_credit = heap->sample_credit > count ? heap->sample_credit - (uint32_t)count : 0;
}

static bool same_path(const hak_recall *known, hak_frame frame, const hak_policy_path *path)
{
    return known->pc == frame.pc && known->sp == frame.sp && known->count == path->count &&
           memcmp(known->at, path->at, path->count * sizeof *path->at) == 0 &&
           memcmp(known->pcs, path->pcs, path->count * sizeof *path->pcs) == 0;
}

/* The entry of the same call, else the one that answered least lately. */
static hak_recall *entry_for(hak_recall *set, hak_frame frame, const hak_policy_path *path)
{
    for (unsigned i = 0; i < HAK_RECALL_WAYS; i++)
        if (same_path(&set[i], frame, path))
            return &set[i];
    return set[0].pc == 0 || (set[1].pc != 0 && hits(&set[0]) < hits(&set[1])) ? &set[0] : &set[1];
}

void hak_recall_note(hak_heap *heap, hak_frame frame, const hak_policy_path *path, const hak_site *site)
{
    hak_recall *set = hak_recall_set(heap->recall, frame.pc, frame.sp);
    if (!path->fixed)
        return;
    hak_recall *known = entry_for(set, frame, path);
    settle(heap, known);
    *known = (hak_recall){.pc = frame.pc,
                          .sp = frame.sp,
                          .left = HAK_RECALL_HITS,
                          .first_bin = (uint16_t)(site->place * HAK_CLASS_MAX),
                          .counter = site->counter,
                          .count = path->count};
    memcpy(known->at, path->at, sizeof known->at);
    memcpy(known->pcs, path->pcs, sizeof known->pcs);
}

void hak_recall_clear(hak_heap *heap)
{
    for (unsigned i = 0; i < HAK_RECALL_SETS * HAK_RECALL_WAYS && hak_policy_loaded(); i++) {
        hak_recall *known = &heap->recall[i / HAK_RECALL_WAYS][i % HAK_RECALL_WAYS];
        settle(heap, known);
        known->pc = 0;
    }
}

uint64_t hak_recall_count(const hak_heap *heap, hak_heap_counter counter)
{
    uint64_t sum = 0;
    bool any = counter == HAK_COUNT_POLICY_LOOKUP || counter == HAK_COUNT_POLICY_RECALLED;
    for (unsigned i = 0; i < HAK_RECALL_SETS * HAK_RECALL_WAYS && hak_policy_loaded(); i++) {
        const hak_recall *known = &heap->recall[i / HAK_RECALL_WAYS][i % HAK_RECALL_WAYS];
        if (__atomic_load_n(&known->pc, __ATOMIC_RELAXED) != 0 && (any || known->counter == counter))
            sum += hits(known);
    }
    return sum;
}
