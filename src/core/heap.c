/* heap.c: slabs, refill and flush of one heap; see heap.h. Never calls malloc, never looks at a policy.
 * Functions run on the heap's own thread unless heap.h says otherwise. */
#include "core/heap.h"

#include <errno.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/print.h"
#include "core/options.h"
#include "core/policy.h"
#include "core/secure.h"

#define FRESH_FIRST_COUNT 4 /* blocks the first refill from a new slab carves; then it doubles */
#define GROWN_HEAPS       4 /* heaps whose lists may have grown to the full, or more heaps by less */
#define COLOURS           8
#define LIST_MIN_COUNT    2
#define PAST_MIN_COUNT    16 /* blocks of a list that say whether they lie scattered */
#define PAST_LIMITS       8  /* limits of a list that go home past it before it is cut again */
#define LIST_MAX_COUNT    UINT16_MAX
#define KEEP_COUNT        32 /* blocks of other heaps that are kept, of each class, at most */
#define LIST_POLICY_BYTES                                                                                    \
    (256u << 10) /* what a policy may let a list of one class hold at first, at most                         \
                  */
#define BULK_SLABS                                                                                           \
    4 /* a class that takes more will fill what it takes; what is half used is a small part then */
#define CALM_MAX 4 /* a list may outgrow its limit up to 2^this times before the next look */

alignas(HAK_OS_PAGE_BYTES) hak_thread_heap hak_no_heap;
uintptr_t hak_window;
hak_heap hak_heap_shared;
hak_heap hak_heap_tracked;
HAK_TLS_IE hak_heap *hak_tls_heap = &hak_heap_none;
hak_lock hak_shared_lock = HAK_LOCK_INIT(HAK_RANK_SHARED);
uint8_t hak_class_routes[HAK_CLASS_MAX];
uint8_t hak_class_bins[HAK_CLASS_SLOTS];

static uint16_t first_limits[HAK_CLASS_MAX]; /* blocks a list may hold before it has grown; 0: no lists */
static uint16_t own_refills[HAK_CLASS_MAX];  /* blocks of a refill, where the policy sets it for the class */
static _Atomic size_t grown_bytes;           /* of all heaps */
static bool frees_seen;                      /* every free takes the slow path */

/* Whatever a policy says, a list begins with no more than LIST_POLICY_BYTES. */
static void take_class_settings(void)
{
    uint32_t low = 0;
    for (unsigned i = 0; i < hak_classes.count; i++) {
        uint32_t high = hak_classes.of[i].block_bytes;
        uint32_t keep = hak_policy_class_knob(HAK_KNOB_TINY_CACHE_COUNT, low, high);
        uint32_t most = LIST_POLICY_BYTES / high;
        if (keep != 0)
            first_limits[i] = (uint16_t)(keep < LIST_MIN_COUNT ? LIST_MIN_COUNT : keep < most ? keep : most);
        own_refills[i] = (uint16_t)hak_policy_class_knob(HAK_KNOB_TINY_REFILL_COUNT, low, high);
        hak_count(HAK_COUNT_POLICY_CACHES, keep != 0 || own_refills[i] != 0);
        low = high;
    }
}

void hak_heap_init(void)
{
    size_t cache_bytes = hak_knob_bytes(HAK_KNOB_TINY_CACHE_BYTES);
    size_t cache_count = hak_knob_bytes(HAK_KNOB_TINY_CACHE_COUNT);
    frees_seen = hak_feature_on(HAK_FEATURE_HEADERS) || !hak_feature_on(HAK_FEATURE_LISTS);
    for (unsigned i = 0; i < hak_classes.count && hak_feature_on(HAK_FEATURE_LISTS); i++) {
        size_t limit = cache_bytes / hak_classes.of[i].block_bytes;
        limit = limit < cache_count ? limit : cache_count;
        first_limits[i] = (uint16_t)(limit < LIST_MIN_COUNT ? LIST_MIN_COUNT : limit);
    }
    if (hak_feature_on(HAK_FEATURE_POLICY) && hak_feature_on(HAK_FEATURE_LISTS))
        take_class_settings();
    for (size_t slot = 0; slot < HAK_CLASS_SLOTS; slot++)
        hak_class_bins[slot] = (uint8_t)(offsetof(hak_heap, bins[hak_classes.index[slot]]) / HAK_BIN_STEP);
}

static uint32_t place_of_bin(hak_place place, unsigned class_index)
{
    bool unseen = place == HAK_PLACE_DEFAULT && hak_class_routes[class_index] == HAK_ROUTE_LIST;
    size_t offset =
        unseen ? offsetof(hak_heap, bins[class_index]) : offsetof(hak_heap, placed[place][class_index]);
    return (uint32_t)(offset / HAK_BIN_STEP);
}

static hak_bin *bin_of(hak_heap *heap, hak_place place, unsigned class_index)
{
    hak_bin *bin = hak_bin_at(heap, place_of_bin(place, class_index));
    if (HAK_UNLIKELY(bin->limit == 0) && heap->owns)
        bin->limit = first_limits[class_index];
    return bin;
}

void hak_slab_link(hak_heap *heap, hak_slab *slab)
{
    hak_slab **first = &heap->partial[slab->lifetime][slab->class_index];
    slab->prev = NULL;
    slab->next = *first;
    if (*first != NULL)
        (*first)->prev = slab;
    *first = slab;
    slab->linked = true;
}

void hak_slab_unlink(hak_heap *heap, hak_slab *slab)
{
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        heap->partial[slab->lifetime][slab->class_index] = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
    slab->linked = false;
}

/* Linux maps downwards, so most of the window lies below the first slab. */
static void window_place(const hak_slab *first)
{
    const uintptr_t below = (HAK_WINDOW_UNITS << HAK_WINDOW_SHIFT) / 8 * 7;
    uintptr_t super = (uintptr_t)hak_superslab_of(first);
    uintptr_t none = 0;
    uintptr_t start = super > below ? super - below : HAK_CHUNK_BYTES;
    __atomic_compare_exchange_n(&hak_window, &none, start, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static void window_mark(hak_heap *heap, const hak_slab *slab, uint32_t place)
{
    if (!heap->owns)
        return;
    uintptr_t unit = hak_window_unit(slab->start);
    for (unsigned i = 0; i < slab->units && unit + i < HAK_WINDOW_UNITS; i++)
        ((hak_thread_heap *)heap)->place_of[unit + i] = (uint16_t)place;
}

void hak_slab_own(hak_heap *heap, hak_slab *slab)
{
    slab->bin = place_of_bin((hak_place)slab->lifetime, slab->class_index);
    heap->places |= (uint8_t)(1u << slab->lifetime);
    for (unsigned i = 0; i < slab->units; i++)
        atomic_store_explicit(&slab[i].owner, heap, memory_order_release);
    if (HAK_UNLIKELY(__atomic_load_n(&hak_window, __ATOMIC_RELAXED) == 0))
        window_place(slab);
    window_mark(heap, slab, frees_seen ? 0 : slab->bin);
}

void hak_slab_disown(hak_heap *heap, const hak_slab *slab)
{
    window_mark(heap, slab, 0);
}

static void give_back(hak_heap *heap, hak_slab *slab)
{
    hak_slab_disown(heap, slab);
    hak_pool_give(slab);
}

/* Where the first block of a class's slabs lies behind the start of their memory: processors tell loads and
 * stores apart by the low 12 bits of their addresses at first, and caches choose their sets by them, so the
 * first blocks of all classes are not to have the same ones. A multiple of what the class is aligned to. */
static size_t colour_of(unsigned class_index, uint32_t block_bytes)
{
    size_t colour = (class_index + class_index / COLOURS) % COLOURS * HAK_CACHE_LINE;
    return hak_align_down(colour, block_bytes & (~block_bytes + 1));
}

static hak_slab *slab_new(hak_heap *heap, hak_place place, unsigned class_index)
{
    const hak_class *entry = &hak_classes.of[class_index];
    bool zeroed;
    hak_run_use use = heap->slabs_taken[class_index] < BULK_SLABS ? HAK_RUN_SLAB : HAK_RUN_BULK;
    hak_slab *slab = hak_pool_take(entry->units, use, &zeroed);
    if (slab == NULL)
        return NULL;
    heap->slabs_taken[class_index] = (uint8_t)(heap->slabs_taken[class_index] + (use == HAK_RUN_SLAB));
    slab->start += colour_of(class_index, entry->block_bytes);
    size_t head_bytes = (size_t)(slab->start - (char *)hak_superslab_of(slab)) & (HAK_UNIT_BYTES - 1);
    slab->kind = HAK_SLAB_BLOCKS;
    slab->block_bytes = entry->block_bytes;
    slab->reciprocal = entry->reciprocal;
    slab->class_index = (uint8_t)class_index;
    slab->lifetime = (uint8_t)place;
    slab->capacity = (uint16_t)((entry->units * HAK_UNIT_BYTES - head_bytes) / entry->block_bytes);
    slab->blocks_bytes = slab->capacity * entry->block_bytes;
    hak_slab_own(heap, slab);
    hak_slab_link(heap, slab);
    hak_heap_count(heap, HAK_COUNT_REFILL_SLAB, 1);
    return slab;
}

/* All blocks are home. Kept while the heap keeps few, for a program that takes and frees in turns. */
void hak_slab_emptied(hak_heap *heap, hak_slab *slab)
{
    if (hak_slab_queued(slab))
        return; /* still on a pending stack: whoever drains it comes here again */
    uint32_t keep = heap->state == HAK_HEAP_LIVE ? (uint32_t)hak_opt.knobs[HAK_KNOB_SLAB_KEEP_COUNT] : 0;
    if (slab->linked && slab->units == 1 && heap->empty_kept < keep && slab->prev == NULL &&
        slab->next == NULL) {
        heap->empty_kept++;
        slab->reserved = true;
        return;
    }
    if (slab->linked)
        hak_slab_unlink(heap, slab);
    give_back(heap, slab);
}

static void slab_used_again(hak_heap *heap, hak_slab *slab)
{
    if (slab->reserved) {
        heap->empty_kept--;
        slab->reserved = false;
    }
}

_Noreturn HAK_COLD void hak_heap_corrupted(const void *at)
{
    hak_fatal_address("free list corrupted (write after free) near", at);
}

void *hak_slab_block_of(const hak_slab *slab, const void *at)
{
    size_t offset = (size_t)((const char *)at - slab->start);
    uint32_t number = hak_class_quotient(slab->reciprocal, offset);
    return (const char *)at < slab->start || number >= slab->fresh
               ? NULL
               : slab->start + (size_t)number * slab->block_bytes;
}

/* Moves up to `want` blocks of the local list out; they stay linked, the last one to NULL. */
static hak_block *take_local(hak_slab *slab, uint32_t want, uint32_t *count)
{
    uint32_t home = slab->fresh - slab->used;
    hak_block *first = slab->local;
    if (home <= want + want / 2) {
        slab->local = NULL;
        *count = home;
    } else {
        hak_block *last = first;
        for (uint32_t i = 1; i < want; i++) {
            last = hak_block_next(last);
            if (hak_superslab_of(last) != hak_superslab_of(slab))
                hak_heap_corrupted(slab->start);
        }
        slab->local = hak_block_next(last);
        hak_block_link(last, NULL);
        *count = want;
    }
    slab->used += *count;
    return first;
}

/* Links blocks that were never used. Few at first, and none behind the OS page in which the first one ends,
 * unless the policy says how many: what the program does not use stays untouched. */
static hak_block *take_fresh(hak_heap *heap, hak_slab *slab, uint32_t want, uint32_t *count)
{
    uint32_t ahead = slab->fresh > FRESH_FIRST_COUNT ? slab->fresh : FRESH_FIRST_COUNT;
    char *at = slab->start + (size_t)slab->fresh * slab->block_bytes;
    size_t page_bytes = hak_align_up((uintptr_t)at + slab->block_bytes, HAK_OS_PAGE_BYTES) - (uintptr_t)at;
    uint32_t in_page = (uint32_t)(page_bytes / slab->block_bytes);
    uint32_t n = (uint32_t)(slab->capacity - slab->fresh);
    n = n < want ? n : want;
    n = n < ahead ? n : ahead;
    if (own_refills[slab->class_index] == 0)
        n = n < in_page ? n : in_page;
    hak_block *first = (hak_block *)at;
    for (uint32_t i = 0; i < n; i++) {
        hak_block *block = (hak_block *)at;
        at += slab->block_bytes;
        hak_block_link(block, i + 1 < n ? (hak_block *)at : NULL);
        block->key = hak_block_key(block, heap);
    }
    slab->fresh = (uint16_t)(slab->fresh + n);
    slab->used += n;
    *count = n;
    return first;
}

/* One slab's blocks, by stage; NULL when it has none. */
static hak_block *take_from(hak_heap *heap, hak_slab *slab, uint32_t want)
{
    hak_heap_counter stage = HAK_COUNT_REFILL_LOCAL;
    uint32_t count = 0;
    hak_block *first = NULL;
    if (slab->local == NULL && hak_slab_take_remote(slab, false) != 0)
        stage = HAK_COUNT_REFILL_REMOTE;
    if (slab->local != NULL) {
        first = take_local(slab, want, &count);
    } else if (slab->fresh < slab->capacity) {
        stage = HAK_COUNT_REFILL_FRESH;
        first = take_fresh(heap, slab, want, &count);
    } else {
        return NULL;
    }
    slab_used_again(heap, slab);
    hak_heap_count(heap, stage, 1);
    hak_heap_count(heap, HAK_COUNT_REFILL_BLOCKS, count);
    return first;
}

static hak_block *refill(hak_heap *heap, hak_place place, unsigned class_index, uint32_t want)
{
    hak_slab **partial = &heap->partial[place][class_index];
    bool drained = false;
    for (;;) {
        hak_slab *slab = *partial;
        if (slab == NULL && !drained) {
            hak_heap_drain(heap);
            drained = true;
            continue;
        }
        if (slab == NULL && (slab = hak_heap_adopt(heap, place, class_index)) != NULL) {
            for (hak_block *block = slab->local; block != NULL; block = hak_block_next(block))
                block->key = hak_block_key(block, heap);
            hak_slab_link(heap, slab);
            hak_heap_count(heap, HAK_COUNT_REFILL_ADOPTED, 1);
        }
        if (slab == NULL && (slab = slab_new(heap, place, class_index)) == NULL) {
            errno = ENOMEM;
            return NULL;
        }
        hak_block *first = take_from(heap, slab, want);
        if (first != NULL)
            return first;
        hak_slab_unlink(heap, slab);
        if (*partial != NULL)
            hak_heap_count(heap, HAK_COUNT_REFILL_PARTIAL, 1);
    }
}

/* What was sent home is wanted again: a longer list would have kept it. */
static void bin_grow(hak_heap *heap, hak_bin *bin, unsigned class_index)
{
    size_t more = (size_t)bin->limit * hak_classes.of[class_index].block_bytes;
    size_t most = hak_knob_bytes(HAK_KNOB_TINY_CACHE_TOTAL_BYTES);
    bin->flushed = 0;
    if (bin->limit > LIST_MAX_COUNT / 2 || heap->grown_bytes + more > most ||
        atomic_load_explicit(&grown_bytes, memory_order_relaxed) + more > most * GROWN_HEAPS)
        return;
    atomic_fetch_add_explicit(&grown_bytes, more, memory_order_relaxed);
    heap->grown_bytes += more;
    bin->limit = (uint16_t)(bin->limit * 2);
}

static void forget_growth(hak_heap *heap)
{
    for (unsigned i = 0; i < hak_classes.count; i++) {
        heap->bins[i].limit = 0;
        for (unsigned place = 0; place < HAK_PLACE_COUNT; place++)
            heap->placed[place][i].limit = 0;
    }
    atomic_fetch_sub_explicit(&grown_bytes, heap->grown_bytes, memory_order_relaxed);
    heap->grown_bytes = 0;
}

/* The blocks of other heaps become the list, which is empty. */
static hak_block *take_kept(hak_heap *heap, unsigned class_index)
{
    hak_bin *bin = &heap->bins[class_index];
    hak_kept *kept = &heap->kept[class_index];
    bin->head = kept->head;
    *kept = (hak_kept){.most = bin->limit < KEEP_COUNT ? bin->limit : KEEP_COUNT};
    return bin->head;
}

void *hak_heap_take(hak_heap *heap, hak_place place, unsigned class_index)
{
    hak_bin *bin = bin_of(heap, place, class_index);
    hak_block *block = bin->head;
    if (block == NULL && bin == &heap->bins[class_index])
        block = take_kept(heap, class_index);
    if (block == NULL && hak_inbox_filled(heap, memory_order_acquire)) {
        hak_heap_empty_inbox(heap);
        block = bin->head;
        hak_heap_count(heap, HAK_COUNT_REFILL_REMOTE, block != NULL);
    }
    if (block == NULL) {
        if (bin->flushed != 0)
            bin_grow(heap, bin, class_index);
        uint32_t want = (uint32_t)hak_opt.knobs[HAK_KNOB_TINY_REFILL_COUNT];
        if (own_refills[class_index] != 0) {
            want = own_refills[class_index];
            hak_heap_count(heap, HAK_COUNT_POLICY_REFILL, 1);
        }
        uint32_t most = bin->limit / 2 + 1;
        block = refill(heap, place, class_index, want < most ? want : most);
        if (block == NULL)
            return NULL;
    }
    if (!hak_block_plausible(block) ||
        (block->key != hak_block_key(block, heap) && !hak_heap_any_key(block)) ||
        !hak_block_plausible(hak_block_next(block)))
        hak_heap_corrupted(block);
    bin->head = hak_block_next(block);
    block->key = 0;
    return block;
}

void *hak_heap_take_shared(bool tracked, unsigned class_index)
{
    hak_heap *heap = tracked ? &hak_heap_tracked : &hak_heap_shared;
    hak_lock_take(&hak_shared_lock);
    /* Not before: most processes never touch the two. Whoever frees blocks of theirs looks after this. */
    atomic_store_explicit(&heap->state, HAK_HEAP_SHARED, memory_order_relaxed);
    void *block = hak_heap_take(heap, HAK_PLACE_DEFAULT, class_index);
    hak_lock_give(&hak_shared_lock);
    return block;
}

/* Blocks of one slab, linked from first to last, go home to it. */
static void put_home(hak_heap *heap, hak_slab *slab, hak_block *first, hak_block *last, uint32_t count)
{
    if (slab->used < count || atomic_load_explicit(&slab->owner, memory_order_relaxed) != heap)
        hak_heap_corrupted(first);
    hak_block_link(last, slab->local);
    slab->local = first;
    slab->used -= count;
    if (!slab->linked)
        hak_slab_link(heap, slab);
    if (slab->used == 0)
        hak_slab_emptied(heap, slab);
}

/* Up to `count` blocks from `first` on, of another heap's slab. */
static void hand_over(hak_heap *heap, hak_slab *slab, hak_block *first, uint32_t count)
{
    for (hak_block *next; count-- > 0; first = next) {
        next = hak_block_next(first);
        first->key = 0; /* no longer on this list: nobody is to look for it there */
        hak_heap_put_remote(heap, slab, first);
    }
}

/* Sends all but the first `keep` blocks of the bin home: the first ones are those used last. Neighbours in a
 * list are often neighbours in a slab, so they go in runs: true when most had none. */
static bool bin_flush(hak_heap *heap, hak_bin *bin, uint32_t keep)
{
    hak_block *block = bin->head;
    for (uint32_t i = 1; i < keep && block != NULL; i++)
        block = hak_block_next(block);
    if (block == NULL)
        return false;
    hak_block *rest = hak_block_next(block);
    if (keep == 0) {
        rest = block;
        bin->head = NULL;
    } else {
        hak_block_link(block, NULL);
    }
    uint64_t flushed = 0, runs = 0;
    while (rest != NULL) {
        hak_slab *slab = hak_slab_of(rest);
        bool mine = atomic_load_explicit(&slab->owner, memory_order_relaxed) == heap;
        hak_block *first = rest, *last;
        uint32_t count = 0;
        do {
            last = rest;
            if (HAK_UNLIKELY(!(mine ? hak_slab_begins(slab, last) : hak_slab_may_begin(slab, last))))
                hak_fatal_address("free(): invalid pointer (inside a block)", last);
            rest = hak_block_next(last);
            count++;
        } while (rest != NULL && hak_slab_of(rest) == slab);
        if (mine)
            put_home(heap, slab, first, last, count);
        else
            hand_over(heap, slab, first, count);
        hak_heap_count(heap, HAK_COUNT_FREE_SS_LOCAL, mine ? count : 0);
        flushed += count;
        runs++;
    }
    return flushed >= PAST_MIN_COUNT && runs > flushed / 2;
}

static hak_bin_past *past_of(hak_heap *heap, const hak_bin *bin)
{
    size_t index = (size_t)(bin - heap->bins);
    return index < HAK_CLASS_MAX ? &heap->past[index] : &heap->placed_past[0][0] + (bin - heap->placed[0]);
}

/* Nobody counts what malloc takes, so now and then the list is walked, which costs a cache miss a block: the
 * more looks in a row found it short, the later the next one. */
static void bin_look(hak_heap *heap, hak_bin *bin)
{
    uint32_t count = 0;
    for (const hak_block *at = bin->head; at != NULL && count <= bin->limit; at = hak_block_next(at))
        count++;
    if (count > bin->limit) {
        bool scattered = bin_flush(heap, bin, bin->limit / 2);
        bin->flushed = 1;
        bin->calm = 0;
        if (scattered) {
            *past_of(heap, bin) = (hak_bin_past){bin->head, PAST_LIMITS * bin->limit};
            bin->room = 0;
            return;
        }
        count = bin->limit / 2;
    } else if (bin->calm < CALM_MAX) {
        bin->calm++;
    }
    uint32_t least = bin->limit / 2, free = bin->limit - count;
    bin->room = (int32_t)((free > least ? free : least) + 1) << bin->calm;
    heap->granted += (uint64_t)bin->room;
}

void hak_heap_put_home(hak_heap *heap, hak_slab *slab, hak_block *block)
{
    block->key = hak_block_key(block, heap);
    put_home(heap, slab, block, block, 1);
}

/* A full list sends its older half home, which costs three cache misses a block where they lie scattered.
 * Then, as long as nothing is taken from the list, blocks go home past it, while they are still in the cache.
 */
void hak_heap_put(hak_heap *heap, hak_slab *slab, hak_block *block)
{
    hak_bin *bin = bin_of(heap, (hak_place)slab->lifetime, slab->class_index);
    if (bin->limit == 0 || frees_seen) { /* no lists */
        hak_heap_count(heap, HAK_COUNT_FREE_SS_LOCAL, 1);
        hak_heap_put_home(heap, slab, block);
        return;
    }
    hak_bin_past *past = past_of(heap, bin);
    if (past->count != 0 && past->head == bin->head) {
        past->count--;
        hak_heap_count(heap, HAK_COUNT_FREE_SS_LOCAL, 1);
        hak_heap_put_home(heap, slab, block);
        return;
    }
    past->count = 0;
    block->key = hak_block_key(block, heap);
    hak_block_link(block, bin->head);
    bin->head = block;
    if ((int32_t)bin->room > 0) { /* not the list's length led here, but realloc, or where the block lies */
        bin->room--;
        return;
    }
    hak_heap_count(heap, HAK_COUNT_FREE_TLS_SLL, 1);
    bin_look(heap, bin);
}

/* Empty slabs that were kept. */
static void give_reserved(hak_heap *heap, hak_slab *first)
{
    for (hak_slab *slab = first, *next; slab != NULL; slab = next) {
        next = slab->next;
        if (slab->used != 0 || !slab->reserved)
            continue;
        slab_used_again(heap, slab);
        if (hak_slab_queued(slab))
            continue;
        hak_slab_unlink(heap, slab);
        give_back(heap, slab);
    }
}

/* The blocks of a class that are in no slab; what was never used of the heap is not looked at. */
static void flush_class(hak_heap *heap, unsigned class_index)
{
    bool seen = heap->places > 1u << HAK_PLACE_DEFAULT || hak_class_routes[class_index] != HAK_ROUTE_LIST;
    bin_flush(heap, &heap->bins[class_index], 0);
    if (heap->kept[class_index].most != 0) {
        if (take_kept(heap, class_index) != NULL)
            bin_flush(heap, &heap->bins[class_index], 0);
        heap->kept[class_index].most = 0; /* until it is known anew that such are wanted */
    }
    for (unsigned place = 0; place < HAK_PLACE_COUNT && seen; place++)
        bin_flush(heap, &heap->placed[place][class_index], 0);
}

void hak_heap_flush(hak_heap *heap)
{
    if (heap->grown_bytes != 0)
        forget_growth(heap);
    for (unsigned i = 0; i < hak_classes.count; i++)
        flush_class(heap, i);
    hak_heap_send_outboxes(heap);
    hak_heap_drain(heap);
    for (unsigned place = 0; place < HAK_PLACE_COUNT; place++)
        for (unsigned i = 0; i < hak_classes.count && (heap->places >> place & 1) != 0; i++)
            give_reserved(heap, heap->partial[place][i]);
}

void hak_heap_flush_shared(void)
{
    hak_lock_take(&hak_shared_lock);
    hak_heap_flush(&hak_heap_shared);
    hak_heap_flush(&hak_heap_tracked);
    hak_lock_give(&hak_shared_lock);
}
