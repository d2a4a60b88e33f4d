/* record_seen.c: see record_seen.h. One thread per hak_seen; only the budget is shared. */
#include "trace/record_seen.h"

#include <string.h>

#include "core/base/bits.h"
#include "core/base/os.h"

#define FIRST_BYTES            (64 * HAK_KIB)
#define LEVEL_SHIFT            3 /* each level is eight times the one before, up to */
#define LAST_BYTES             (16 * HAK_MIB)
#define LEVEL_MAX              4
#define GUESS_SHARE            256                                  /* a pair of guesses for so many bytes */
#define INDEX_SHARE            128                                  /* a place in the index for so many */
#define LINE_WORDS             (HAK_CACHE_LINE / sizeof(uintptr_t)) /* a stack begins a line */
#define STACK_WORDS            (offsetof(hak_seen_stack, list) / sizeof(uint64_t))
#define INDEX_USED_MAX(places) ((places) / 2)

/* What is there before anything is remembered: any guess leads to a stack that nobody is on. */
static uint32_t no_guesses[4];
static hak_seen_stack no_stack;

static _Atomic size_t reserved;
static _Atomic size_t walks; /* bytes */

static size_t level_bytes(unsigned level)
{
    return level == LEVEL_MAX ? LAST_BYTES : FIRST_BYTES << (LEVEL_SHIFT * (level - 1));
}

static uint32_t pairs_of(unsigned level)
{
    return (uint32_t)(level_bytes(level) / GUESS_SHARE);
}

static uint32_t places_of(unsigned level)
{
    return (uint32_t)(level_bytes(level) / INDEX_SHARE);
}

/* Both tables. */
static size_t table_bytes(unsigned level)
{
    return (2 * pairs_of(level) + places_of(level)) * sizeof(uint32_t);
}

void hak_seen_init(hak_seen *seen)
{
    *seen = (hak_seen){.guesses = no_guesses, .memory = (uintptr_t *)&no_stack, .guess_shift = 63};
}

void hak_seen_process_starts(void)
{
    atomic_store_explicit(&reserved, 0, memory_order_relaxed);
}

void hak_seen_count_walk(size_t bytes)
{
    atomic_fetch_add_explicit(&walks, bytes, memory_order_relaxed);
}

void hak_seen_done(hak_seen *seen)
{
    if (seen->level != 0) {
        hak_os_unmap(seen->memory, level_bytes(seen->level));
        size_t had = atomic_load_explicit(&reserved, memory_order_relaxed);
        size_t bytes = level_bytes(seen->level);
        while (!atomic_compare_exchange_weak(&reserved, &had, had > bytes ? had - bytes : 0))
            continue;
    }
    hak_seen_init(seen);
}

/* Memory: one word that no stack has (offset 0 is none), an empty stack there, guesses, index, stacks. */
static void lay_out(hak_seen *seen, uintptr_t *memory, unsigned level)
{
    size_t head = STACK_WORDS + 1;
    seen->memory = memory;
    seen->level = level;
    seen->guesses = (uint32_t *)(memory + head);
    seen->index = seen->guesses + 2 * pairs_of(level);
    seen->guess_shift = 64 - hak_log2_floor(pairs_of(level));
    seen->used = (uint32_t)hak_align_up(head + table_bytes(level) / sizeof(uintptr_t), LINE_WORDS);
    seen->last = seen->count = 0;
}

void hak_seen_clear(hak_seen *seen)
{
    if (seen->level == 0)
        return;
    memset(seen->memory, 0, (STACK_WORDS + 1) * sizeof(uintptr_t));
    memset(seen->guesses, 0, table_bytes(seen->level));
    lay_out(seen, seen->memory, seen->level);
}

size_t hak_seen_bytes(const hak_seen *seen)
{
    return seen->level == 0 ? 0 : level_bytes(seen->level);
}

static bool reserve(size_t bytes)
{
    size_t had = atomic_load_explicit(&reserved, memory_order_relaxed);
    size_t beside = atomic_load_explicit(&walks, memory_order_relaxed);
    do
        if (had + beside + bytes > HAK_SEEN_BUDGET_BYTES)
            return false;
    while (!atomic_compare_exchange_weak(&reserved, &had, had + bytes));
    return true;
}

/* A larger memory, empty; else the same, emptied. False: there is none. */
static bool make_room(hak_seen *seen)
{
    if (seen->final)
        return false;
    unsigned level = seen->level + 1;
    uint32_t age = seen->age;
    if (level <= LEVEL_MAX && reserve(level_bytes(level))) {
        bool large = level_bytes(level) >= HAK_HUGE_PAGE_BYTES;
        uintptr_t *memory =
            hak_os_reserve(level_bytes(level), large ? HAK_HUGE_PAGE_BYTES : HAK_OS_PAGE_BYTES);
        if (memory != NULL) {
            if (large) /* looked into everywhere: what costs most is to find the page */
                hak_os_advise_huge(memory, level_bytes(level), true);
            hak_seen_done(seen);
            lay_out(seen, memory, level);
            seen->age = age;
            return true;
        }
        atomic_fetch_sub(&reserved, level_bytes(level));
    }
    hak_seen_clear(seen);
    return seen->level != 0;
}

/* The stack at this offset follows the last one, and is met where the caller is. */
static hak_seen_stack *follows(hak_seen *seen, hak_frame caller, uint32_t at)
{
    uint32_t *guess = hak_seen_guess(seen, caller);
    if (guess[0] != at) {
        guess[1] = guess[0];
        guess[0] = at;
    }
    return hak_seen_follows(seen, at);
}

hak_seen_stack *hak_seen_find_second(hak_seen *seen, hak_frame caller)
{
    const uint32_t *guess = hak_seen_guess(seen, caller);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t at = guess[i];
        if (hak_seen_holds(hak_seen_at(seen, at), caller))
            return follows(seen, caller, at);
    }
    return NULL;
}

bool hak_seen_holds_wide(const hak_seen_stack *stack)
{
    for (unsigned i = 0; i < stack->words; i++)
        if (*(const uintptr_t *)(stack->sp + stack->list[stack->words + i]) != stack->list[i])
            return false;
    return true;
}

/* A place needs more bits than a narrow one has. */
static bool is_wide(const hak_walk *walk, uintptr_t sp)
{
    uintptr_t high = 0;
    for (unsigned i = 0; i < walk->words; i++)
        high |= (walk->places[i] - sp) / sizeof(uintptr_t);
    return high >= HAK_SEEN_PLACES;
}

static void append(hak_seen *seen, const hak_walk *walk, hak_frame caller, uint32_t hash)
{
    unsigned words = (walk->words + HAK_SEEN_STRIDE - 1) / HAK_SEEN_STRIDE * HAK_SEEN_STRIDE;
    bool wide = is_wide(walk, caller.sp);
    hak_seen_stack *stack = (hak_seen_stack *)(seen->memory + seen->used);
    stack->sp = caller.sp;
    stack->pc = caller.pc;
    stack->bp = caller.bp;
    memset(stack->next, 0, sizeof stack->next);
    stack->hash = hash;
    stack->id = ++seen->count;
    stack->frames = (uint16_t)walk->count;
    stack->words = (uint16_t)words;
    stack->by_bp = walk->entry_bp;
    stack->wide = wide;
    stack->told = false;
    for (unsigned i = 0; i < words; i++) {
        unsigned from = i < walk->words ? i : walk->words - 1;
        uintptr_t above = walk->places[from] - caller.sp;
        stack->list[i] = walk->values[from];
        if (wide)
            stack->list[words + i] = above;
        else
            ((uint16_t *)(stack->list + words))[i] = (uint16_t)(above / sizeof(uintptr_t));
    }
    size_t used = STACK_WORDS + words + (wide ? words : words / HAK_SEEN_STRIDE);
    seen->used += (uint32_t)hak_align_up(used, LINE_WORDS);
}

hak_seen_stack *hak_seen_learn(hak_seen *seen, const hak_walk *walk, hak_frame caller)
{
    uint32_t hash = (uint32_t)(hak_walk_hash(walk, caller.sp) >> 32);
    size_t need = hak_align_up(STACK_WORDS + 2 * (walk->words + HAK_SEEN_STRIDE), LINE_WORDS);
    for (unsigned rounds = 0; rounds <= LEVEL_MAX; rounds++) {
        uint32_t places = seen->level == 0 ? 0 : places_of(seen->level);
        uint32_t at = hash & (places - 1);
        while (places != 0 && seen->index[at] != 0) {
            hak_seen_stack *known = (hak_seen_stack *)(seen->memory + seen->index[at]);
            if (known->hash == hash && hak_seen_holds(known, caller))
                return follows(seen, caller, seen->index[at]);
            at = (at + 1) & (places - 1);
        }
        if (places != 0 && seen->used + need <= level_bytes(seen->level) / sizeof(uintptr_t) &&
            seen->count < INDEX_USED_MAX(places) && seen->count < HAK_STACK_IDS_MAX - 1) {
            uint32_t fresh = seen->index[at] = seen->used;
            append(seen, walk, caller, hash);
            return follows(seen, caller, fresh);
        }
        if (!make_room(seen))
            return NULL;
    }
    return NULL;
}
