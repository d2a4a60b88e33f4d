/* alloc.c: see alloc.h. Decides who serves a request and whose a block is; holds no state and takes no lock
 * of its own. */
#include "core/alloc.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/print.h"
#include "core/callsite/memo.h"
#include "core/decide.h"
#include "core/fast.h"
#include "core/large.h"
#include "core/mid.h"
#include "core/options.h"
#include "core/plain.h"
#include "core/policy.h"
#include "core/research.h"
#include "core/secure.h"

#define SMALL_ALIGN_MAX HAK_OS_PAGE_BYTES
/* A block that realloc has moved so often in a row, or that is so large, goes where there is room to grow. */
#define GROW_STEPS         3
#define GROW_LEAST_BYTES   2048
#define GROW_AT_ONCE_BYTES ((size_t)128 << 10)
#define COPY_SHRINK        2 /* a block that shrinks below 1/2 of its room moves to a smaller one */

typedef struct request {
    size_t bytes;
    size_t align;
    bool zero;
    bool sampled; /* the learner wants its free */
    hak_frame frame;
    hak_decision decision;
} request;

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

static _Noreturn HAK_COLD void misuse(const char *text, const void *at)
{
    hak_count(HAK_COUNT_MISUSE, 1);
    hak_fatal_address(text, at);
}

/* The thread's heap if it has one; never makes one: free must not need memory. */
static hak_heap *heap_or_null(void)
{
    return hak_tls_heap == &hak_heap_none ? NULL : hak_tls_heap;
}

static void count(hak_heap *heap, hak_heap_counter counter)
{
    if (heap != NULL)
        hak_heap_count(heap, counter, 1);
}

/* ---- taking ---- */

static void *take_small(hak_heap *heap, const request *r, unsigned class_index)
{
    if (r->sampled || heap == NULL)
        return hak_heap_take_shared(r->sampled, class_index);
    if (r->align <= HAK_CLASS_STEP && r->decision.place == HAK_PLACE_DEFAULT)
        class_index = hak_heap_class(heap, class_index);
    return hak_heap_take(heap, r->decision.place, class_index);
}

static void *take_large(const request *r, size_t bytes)
{
    hak_large_plan plan = r->decision.plan;
    if (hak_learn_hooks.large_alloc != NULL) {
        hak_learn_hooks.large_alloc(r->bytes, r->frame, &plan);
        hak_count(HAK_COUNT_STRATEGY_CHOSEN, 1);
    }
    return hak_large_take(bytes, r->align, r->zero, &plan);
}

static bool is_mid(size_t bytes, size_t align)
{
    return bytes < hak_knob_bytes(HAK_KNOB_LARGE_MIN_BYTES) && bytes <= HAK_MID_MAX_BYTES &&
           align <= HAK_UNIT_BYTES;
}

static void *take_pooled(hak_heap *heap, const request *r)
{
    unsigned class_index = r->align <= HAK_CLASS_STEP
                               ? (r->bytes <= HAK_SMALL_MAX_BYTES ? hak_class_of(r->bytes) : HAK_CLASS_NONE)
                           : r->align <= SMALL_ALIGN_MAX ? hak_class_aligned(r->bytes, r->align)
                                                         : HAK_CLASS_NONE;
    if (class_index != HAK_CLASS_NONE) {
        void *block = take_small(heap, r, class_index);
        if (block != NULL && r->zero)
            memset(block, 0, r->bytes);
        return block;
    }
    return is_mid(r->bytes, r->align) ? hak_mid_take(heap, r->bytes, r->zero) : take_large(r, r->bytes);
}

static void *take_dressed(hak_heap *heap, const request *r)
{
    size_t dressed_bytes = hak_research_dressed_bytes(r->bytes, r->align);
    uint32_t site = r->decision.site;
    count(heap, HAK_COUNT_HEADER_WRITTEN);
    if (hak_feature_on(HAK_FEATURE_EVERY)) {
        site = hak_research_site(r->frame);
        count(heap, HAK_COUNT_CONTEXT_EVERY);
    }
    if (dressed_bytes > HAK_SMALL_MAX_BYTES && !is_mid(dressed_bytes, 1)) {
        void *block = take_large(r, r->bytes + HAK_RESEARCH_TAIL_BYTES);
        bool freed;
        if (block != NULL)
            hak_research_dress_large(block, hak_large_usable(hak_large_of(block, &freed)), r->bytes, site);
        return block;
    }
    bool small = dressed_bytes <= HAK_SMALL_MAX_BYTES;
    void *base =
        small ? take_small(heap, r, hak_class_of(dressed_bytes)) : hak_mid_take(heap, dressed_bytes, false);
    if (base == NULL)
        return NULL;
    const hak_slab *slab = hak_slab_of(base);
    void *block =
        hak_research_dress(base, small ? slab->block_bytes : hak_mid_usable(slab), r->bytes, r->align, site);
    if (r->zero)
        memset(block, 0, r->bytes);
    return block;
}

static void *take_plain(const request *r)
{
    if (r->bytes > HAK_PLAIN_MAX_BYTES || r->align > SMALL_ALIGN_MAX)
        return take_large(r, r->bytes);
    void *block = hak_plain_take(r->bytes, r->align);
    if (block != NULL && r->zero)
        memset(block, 0, r->bytes);
    return block;
}

static bool empty_quarantine(bool all);

static bool sample(hak_heap *heap, const request *r)
{
    if (hak_learn_hooks.sampled == NULL || heap == NULL || heap->sample_credit-- != 0)
        return false;
    heap->sample_credit = hak_learn_hooks.sample_every;
    hak_heap_count(heap, HAK_COUNT_CONTEXT_SAMPLED, 1);
    return hak_learn_hooks.sampled(r->frame, r->bytes) && r->align <= HAK_CLASS_STEP &&
           r->bytes <= HAK_SMALL_MAX_BYTES;
}

void *hak_alloc(size_t bytes, size_t align, bool zero, hak_frame frame)
{
    if (HAK_UNLIKELY(bytes > PTRDIFF_MAX - HAK_GIB || align > PTRDIFF_MAX / 4))
        return no_memory();
    hak_heap *heap = hak_heap_get();
    request r = {.bytes = bytes, .align = align, .zero = zero, .frame = frame};
    if (!hak_feature_on(HAK_FEATURE_POOL) || (heap == NULL && hak_initializing()))
        return take_plain(&r);
    r.decision = hak_decide(heap, bytes, frame);
    r.sampled = sample(heap, &r);
    bool dressed = hak_feature_on(HAK_FEATURE_HEADERS);
    void *block = dressed ? take_dressed(heap, &r) : take_pooled(heap, &r);
    if (HAK_UNLIKELY(block == NULL)) {
        bool emptied = dressed && empty_quarantine(true);
        if (hak_trim() != 0 || emptied)
            block = dressed ? take_dressed(heap, &r) : take_pooled(heap, &r);
    }
    if (r.sampled && block != NULL) {
        hak_count(HAK_COUNT_TRACKED_ALLOC, 1);
        hak_learn_hooks.tracked_alloc(block, bytes, frame);
    }
    return block;
}

size_t hak_trim(void)
{
    hak_heap *heap = heap_or_null();
    if (heap != NULL) {
        hak_front_flush(heap);
        hak_heap_flush(heap);
        hak_mid_flush(heap);
    }
    hak_heap_flush_shared();
    return hak_bigcache_trim() + hak_pool_trim();
}

void *hak_malloc_general(size_t bytes)
{
    hak_frame frame = HAK_FRAME_OF_CALLER();
    if (HAK_LIKELY(bytes <= HAK_SMALL_MAX_BYTES) && hak_class_seen(hak_class_of(bytes))) {
        void *block = hak_decide_take(hak_class_of(bytes), frame);
        if (HAK_LIKELY(block != NULL))
            return block;
    }
    if (bytes > HAK_SMALL_MAX_BYTES && hak_tls_heap->front.room_ways != 0) {
        void *block =
            is_mid(bytes, 1) ? hak_mid_recall(hak_tls_heap, bytes) : hak_front_take(hak_tls_heap, bytes);
        if (block != NULL)
            return block;
    }
    return hak_alloc(bytes, HAK_CLASS_STEP, false, frame);
}

void *hak_calloc_general(size_t bytes)
{
    return hak_alloc(bytes, HAK_CLASS_STEP, true, HAK_FRAME_OF_CALLER());
}

/* ---- whose it is ---- */

typedef enum owner_kind { OWNER_SMALL, OWNER_MID, OWNER_LARGE, OWNER_PLAIN } owner_kind;

typedef struct owner {
    owner_kind kind;
    hak_slab *slab; /* small, mid */
    hak_large *large;
    size_t room_bytes; /* what the program may use */
} owner;

/* `caller`: for the line that is printed when `at` is no live block. */
static void find_small(owner *who, void *at, const char *invalid, const char *twice, const char *caller)
{
    hak_slab *slab = hak_slab_of(at);
    who->slab = slab;
    if (slab->kind == HAK_SLAB_MID) {
        who->kind = OWNER_MID;
        who->room_bytes = hak_mid_usable(slab);
        if (hak_feature_on(HAK_FEATURE_HEADERS))
            who->room_bytes = hak_research_check_mid(slab, at, caller);
        else if (at != slab->start)
            misuse(invalid, at);
        return;
    }
    who->kind = OWNER_SMALL;
    if (slab->kind != HAK_SLAB_BLOCKS)
        misuse(slab->kind == HAK_SLAB_MID_CACHED ? twice : invalid, at);
    if (hak_feature_on(HAK_FEATURE_HEADERS)) {
        count(heap_or_null(), HAK_COUNT_HEADER_CHECKED);
        who->room_bytes = hak_research_check_small(slab, at, caller);
        return;
    }
    who->room_bytes = slab->block_bytes;
    if (hak_slab_block_of(slab, at) != at)
        misuse(invalid, at);
    if (hak_heap_holds(slab, at))
        misuse(twice, at);
}

static owner find(void *at, const char *invalid, const char *twice, const char *caller)
{
    owner who = {.kind = OWNER_LARGE};
    hak_chunk_kind kind = hak_page_map_kind(at);
    if (kind == HAK_CHUNK_SUPERSLAB && ((uintptr_t)at & (HAK_CHUNK_BYTES - 1)) >= HAK_FIRST_UNIT_START) {
        find_small(&who, at, invalid, twice, caller);
    } else if (kind == HAK_CHUNK_PLAIN && (who.room_bytes = hak_plain_usable(at)) != 0) {
        who.kind = OWNER_PLAIN;
    } else {
        bool freed;
        who.large = hak_large_of(at, &freed);
        if (who.large == NULL)
            misuse(freed ? twice : invalid, at);
        who.room_bytes = hak_large_usable(who.large);
        if (hak_feature_on(HAK_FEATURE_HEADERS))
            who.room_bytes = hak_research_check_large(who.large, at, caller);
    }
    return who;
}

HAK_NOINLINE static void put_small(hak_heap *heap, hak_slab *slab, void *at)
{
    hak_heap *owner_heap = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    if (owner_heap == heap) {
        hak_heap_put(heap, slab, at);
        return;
    }
    if (HAK_UNLIKELY(owner_heap == &hak_heap_tracked)) {
        hak_count(HAK_COUNT_TRACKED_FREE, 1);
        hak_learn_hooks.tracked_free(at);
    }
    hak_heap_put_remote(heap, slab, at);
}

static void put_large(hak_large *large)
{
    hak_large_put(large);
}

/* `base`: of the allocator's block. */
static void put(const owner *who, void *base)
{
    hak_heap *heap = heap_or_null();
    switch (who->kind) {
    case OWNER_SMALL:
        put_small(heap, who->slab, base);
        break;
    case OWNER_MID:
        hak_mid_put(heap, who->slab);
        break;
    case OWNER_LARGE:
        put_large(who->large);
        break;
    case OWNER_PLAIN:
        hak_plain_put(base);
        break;
    }
}

/* Frees the place of a dressed block that has left the quarantine. */
static void put_left(void *at)
{
    owner who = {.kind = OWNER_LARGE};
    bool freed;
    if (hak_page_map_kind(at) == HAK_CHUNK_SUPERSLAB) {
        who.slab = hak_slab_of(at);
        who.kind = who.slab->kind == HAK_SLAB_MID ? OWNER_MID : OWNER_SMALL;
        at = who.kind == OWNER_SMALL ? hak_slab_block_of(who.slab, at) : at;
    } else {
        who.large = hak_large_of(at, &freed);
    }
    put(&who, at);
}

static bool empty_quarantine(bool all)
{
    bool any = false;
    for (void *at; (at = hak_quarantine_leave(all)) != NULL; any = true)
        put_left(at);
    return any;
}

static void put_live(const owner *who, void *at)
{
    if (!hak_feature_on(HAK_FEATURE_HEADERS) || who->kind == OWNER_PLAIN) {
        put(who, at);
        return;
    }
    bool more;
    void *out = hak_quarantine_put(at, who->room_bytes, &more);
    if (out != NULL)
        put_left(out);
    if (more)
        empty_quarantine(false);
}

/* A block of a list that blocks go home past, and of a slab that has others out: what a burst of scattered
 * frees is made of. Each touches a line that is in no cache, so the fewer instructions, the more of them are
 * under way at once. */
static bool put_past(hak_heap *heap, void *at)
{
    uintptr_t unit = hak_window_unit(at);
    if (unit >= HAK_WINDOW_UNITS)
        return false;
    size_t place = ((hak_thread_heap *)heap)->place_of[unit];
    size_t index = (place * HAK_BIN_STEP - offsetof(hak_heap, bins)) / sizeof(hak_bin);
    if (index >= HAK_CLASS_MAX || heap->past[index].count == 0 ||
        heap->past[index].head != heap->bins[index].head)
        return false;
    hak_slab *slab = hak_slab_of(at);
    hak_block *block = at;
    if (!hak_slab_begins(slab, at) || !slab->linked || slab->used <= 1 ||
        block->key == hak_block_key(block, heap))
        return false;
    heap->past[index].count--;
    hak_heap_count(heap, HAK_COUNT_FREE_SS_LOCAL, 1);
    block->key = hak_block_key(block, heap);
    hak_block_link(block, slab->local);
    slab->local = block;
    slab->used--;
    return true;
}

/* What hak_free_slow leaves over: what is large, headers, and what is no block at all. */
HAK_NOINLINE static void free_other(void *at)
{
    if (at == NULL) {
        count(heap_or_null(), HAK_COUNT_RETURN_NULL);
        return;
    }
    hak_chunk_kind kind = hak_page_map_kind(at);
    if (kind >= HAK_CHUNK_REGION && hak_front_put(hak_tls_heap, at))
        return;
    if (kind == HAK_CHUNK_SUPERSLAB && hak_tls_heap->front.room_ways != 0 && hak_mid_keep(hak_tls_heap, at))
        return;
    if (kind == HAK_CHUNK_PLAIN) {
        hak_plain_put(at);
        return;
    }
    owner who = find(at, "free(): invalid pointer", "free(): double free of", "free()");
    put_live(&who, at);
}

/* A block of the pool without a header, freed by its owner or by another thread: nearly all that come here.
 */
void hak_free_slow(void *at)
{
    hak_heap *heap = hak_tls_heap;
    if (put_past(heap, at))
        return;
    heap->nowhere.room = 0; /* free counts down whatever bin it was led to */
    hak_slab *slab;
    if (hak_page_map_kind(at) != HAK_CHUNK_SUPERSLAB || hak_feature_on(HAK_FEATURE_HEADERS) ||
        (slab = hak_slab_of(at))->kind != HAK_SLAB_BLOCKS || HAK_UNLIKELY(!hak_slab_may_begin(slab, at))) {
        free_other(at);
        return;
    }
    const hak_block *block = at;
    if (atomic_load_explicit(&slab->owner, memory_order_relaxed) != heap) {
        if (!hak_fast_keep(heap, slab, at))
            put_small(HAK_LIKELY(heap != &hak_heap_none) ? heap : hak_heap_get_to_free(), slab, at);
    } else if (hak_slab_begins(slab, at) && block->key != hak_block_key(block, heap)) {
        hak_heap_put(heap, slab, at);
    } else {
        free_other(at);
    }
}

/* Headers know what was asked for. Without them: a block that was resized where it is may be twice too large,
 * no more. */
static bool is_wrong_size(const owner *who, size_t bytes)
{
    if (hak_feature_on(HAK_FEATURE_HEADERS))
        return bytes != who->room_bytes;
    size_t rounded = bytes <= HAK_SMALL_MAX_BYTES ? hak_classes.of[hak_class_of(bytes)].block_bytes : bytes;
    return bytes > who->room_bytes || (who->kind == OWNER_SMALL && rounded < who->room_bytes / COPY_SHRINK);
}

void hak_free_sized_slow(void *at, size_t bytes)
{
    if (at != NULL && (HAK_SECURE || hak_feature_on(HAK_FEATURE_HEADERS))) {
        owner who = find(at, "free(): invalid pointer", "free(): double free of", "free()");
        if (is_wrong_size(&who, bytes))
            misuse("free(): wrong size given for", at);
    }
    if (!hak_fast_put(at))
        hak_free_slow(at);
}

size_t hak_usable(void *at)
{
    if (at == NULL)
        return 0;
    return find(at, "malloc_usable_size(): invalid pointer", "malloc_usable_size(): freed block",
                "malloc_usable_size()")
        .room_bytes;
}

/* ---- realloc ---- */

/* A large block whose header and guard behind move along. */
static void *resize_dressed(const owner *who, size_t bytes, hak_frame frame)
{
    void *at =
        who->kind == OWNER_LARGE ? hak_large_resize(who->large, bytes + HAK_RESEARCH_TAIL_BYTES) : NULL;
    bool freed;
    if (at != NULL)
        hak_research_dress_large(at, hak_large_usable(hak_large_of(at, &freed)), bytes,
                                 hak_feature_on(HAK_FEATURE_EVERY) ? hak_research_site(frame) : 0);
    return at;
}

/* The same block at its place, or pages moved; NULL: copy. */
static void *resize(hak_heap *heap, const owner *who, void *at, size_t bytes, hak_frame frame)
{
    if (hak_feature_on(HAK_FEATURE_HEADERS))
        return resize_dressed(who, bytes, frame);
    if (who->kind == OWNER_MID)
        return is_mid(bytes, 1) && hak_mid_resize(heap, who->slab, bytes) ? at : NULL;
    if (who->kind == OWNER_LARGE)
        return hak_large_resize(who->large, bytes);
    if (!hak_room_serves(who->room_bytes, bytes))
        return NULL;
    count(heap, HAK_COUNT_RETURN_IN_PLACE);
    return at;
}

/* A growing block gets room to grow again, by knob or policy, at most HAK_POLICY_MAX_SLACK percent. */
static size_t with_slack(hak_heap *heap, size_t bytes, hak_frame frame)
{
    size_t percent = (size_t)hak_opt.knobs[HAK_KNOB_REALLOC_SLACK_PERCENT];
    if (hak_feature_on(HAK_FEATURE_POLICY)) {
        hak_decision decision = hak_decide(heap, bytes, frame);
        if (decision.slack_percent > percent) {
            percent = decision.slack_percent;
            count(heap, HAK_COUNT_POLICY_SLACK);
        }
    }
    return bytes + bytes / 100 * percent;
}

/* How often in a row realloc has moved this block lately; it is forgotten. */
static uint32_t growth_of(hak_heap *heap, const void *at)
{
    for (unsigned i = 0; heap != NULL && i < HAK_GROWTH_WAYS; i++)
        if (heap->growth[i].block == at) {
            heap->growth[i].block = NULL;
            heap->growth_next = i;
            return heap->growth[i].steps;
        }
    return 0;
}

static void growth_note(hak_heap *heap, const void *block, uint32_t steps)
{
    if (heap == NULL)
        return;
    heap->growth[heap->growth_next] = (hak_growth){block, steps};
    heap->growth_next = (heap->growth_next + 1) % HAK_GROWTH_WAYS;
}

/* From list to list, where both are the thread's own. A block that grows over HAK_DIRECT_MAX may want room
 * behind it. NULL, nothing done: the long way. */
static void *move_small(void *at, size_t bytes, size_t room_bytes)
{
    bool grows = bytes > room_bytes;
    size_t slack_bytes = grows ? bytes / 100 * (size_t)hak_opt.knobs[HAK_KNOB_REALLOC_SLACK_PERCENT] : 0;
    if (room_bytes == 0 || bytes == 0 || bytes > HAK_DIRECT_MAX || bytes + slack_bytes > HAK_DIRECT_MAX)
        return NULL;
    void *block = hak_fast_take(bytes + slack_bytes);
    if (block == NULL)
        return NULL;
    memcpy(block, at, grows ? room_bytes : bytes);
    if (!hak_fast_put(at))
        hak_free_slow(at);
    return block;
}

void *hak_realloc_slow(void *at, size_t bytes, size_t room_bytes)
{
    hak_frame frame = HAK_FRAME_OF_CALLER();
    void *moved = move_small(at, bytes, room_bytes);
    if (HAK_LIKELY(moved != NULL))
        return moved;
    if (at == NULL)
        return hak_alloc(bytes, HAK_CLASS_STEP, false, frame);
    if (hak_page_map_kind(at) >= HAK_CHUNK_REGION && hak_large_grow_here(at, bytes))
        return at;
    owner who = find(at, "realloc(): invalid pointer", "realloc(): freed block", "realloc()");
    if (bytes == 0) {
        put_live(&who, at);
        return NULL;
    }
    if (bytes > PTRDIFF_MAX - HAK_GIB)
        return no_memory();
    hak_heap *heap = heap_or_null();
    void *same = resize(heap, &who, at, bytes, frame);
    if (same != NULL)
        return same;
    bool grows = bytes > who.room_bytes;
    uint32_t steps = grows ? growth_of(heap, at) + 1 : 0;
    bool goes_on = steps >= GROW_STEPS ? bytes >= GROW_LEAST_BYTES : grows && bytes >= GROW_AT_ONCE_BYTES;
    size_t ask = grows ? with_slack(heap, bytes, frame) : bytes;
    bool placed = goes_on && hak_feature_on(HAK_FEATURE_POOL) && !hak_feature_on(HAK_FEATURE_HEADERS);
    void *block = placed ? hak_large_take_growing(ask) : NULL;
    if (block == NULL)
        block = hak_alloc(ask, HAK_CLASS_STEP, false, frame);
    if (block == NULL && ask != bytes)
        block = hak_alloc(bytes, HAK_CLASS_STEP, false, frame);
    if (grows && block != NULL)
        growth_note(heap, block, steps);
    if (block == NULL)
        return !grows && !hak_feature_on(HAK_FEATURE_HEADERS) ? at : NULL;
    memcpy(block, at, bytes < who.room_bytes ? bytes : who.room_bytes);
    put_live(&who, at);
    return block;
}
