/* record_walk.c: see record_walk.h. */
#include "trace/record_walk.h"

#include <dlfcn.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/callsite/cfi.h"
#include "trace/record_unwinder.h"

#define CHECK_MEAN   4096 /* allocations between comparisons with the unwinder, on average, at first; */
#define CHECK_EACH   32   /* twice as many after so many comparisons, */
#define CHECK_SHIFTS 3    /* and no more often than so */
#define CHECK_FRAMES 64
#define PROBE_PAGES  8 /* of a stack that is not the thread's own */
#define CODE_PC_MAX  HAK_ADDRESS_MASK
#define SIGNAL_PC_AT (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * REG_RIP)
#define SIGNAL_SP_AT (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * REG_RSP)
#define SIGNAL_BP_AT (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * REG_RBP)

/* The frame that a walk stands on. */
typedef struct position {
    hak_frame frame;
    uintptr_t bp_at; /* as in hak_walk_mark */
    unsigned bp_age;
    bool bp_entry;
    bool exact; /* pc is where a signal came, not a return address */
} position;

typedef struct context {
    hak_walk *walk;
    hak_stack stack;
    bool own_stack;  /* the thread's: the unwinder may be asked */
    unsigned extras; /* words beside return addresses, kept at the end of the arrays during the walk */
    unsigned words;  /* return addresses */
    unsigned next;   /* frames of the last walk before this one are not met any more */
} context;

_Atomic uint32_t hak_walk_age = 1;

static uintptr_t load(uintptr_t at)
{
    return *(const uintptr_t *)at;
}

static bool unwinder_fits(const context *c)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    return c->own_stack && hak_unwinder_ready() && here > c->stack.low &&
           here - c->stack.low > HAK_UNWINDER_STACK_BYTES;
}

static uintptr_t *lay_out(hak_walk_path *path, uintptr_t *at, unsigned depth)
{
    size_t words = HAK_WALK_WORDS_MAX(depth);
    path->pcs = at;
    path->places = path->pcs + depth;
    path->values = path->places + words;
    path->marks = (hak_walk_mark *)(path->values + words);
    path->hashes = (uint32_t *)(path->marks + depth);
    return (uintptr_t *)(path->hashes + hak_align_up(depth, 2));
}

static void use_path(hak_walk *walk, unsigned now)
{
    walk->now = now;
    walk->pcs = walk->paths[now].pcs;
    walk->places = walk->paths[now].places;
    walk->values = walk->paths[now].values;
}

size_t hak_walk_bytes(unsigned depth)
{
    size_t path_words = depth + 2 * HAK_WALK_WORDS_MAX(depth);
    size_t path_bytes = path_words * sizeof(uintptr_t) + depth * sizeof(hak_walk_mark) +
                        hak_align_up(depth, 2) * sizeof(uint32_t);
    size_t size_bytes = sizeof(hak_walk) + 2 * path_bytes + depth * sizeof(uintptr_t);
    return hak_align_up(size_bytes, HAK_OS_PAGE_BYTES);
}

hak_walk *hak_walk_new(unsigned depth, uint32_t seed)
{
    hak_walk *walk = hak_os_reserve(hak_walk_bytes(depth), HAK_OS_PAGE_BYTES);
    if (walk == NULL)
        return NULL;
    walk->told = lay_out(&walk->paths[1], lay_out(&walk->paths[0], (uintptr_t *)(walk + 1), depth), depth);
    use_path(walk, 0);
    walk->depth = depth;
    walk->random = seed | 1;
    walk->until_check = 1;
    return walk;
}

static uint32_t next_check(hak_walk *walk)
{
    uint32_t x = walk->random; /* xorshift32 (Marsaglia, 2003) */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    walk->random = x;
    unsigned shift = walk->checks / CHECK_EACH;
    uint32_t mean = (uint32_t)CHECK_MEAN << (shift < CHECK_SHIFTS ? shift : CHECK_SHIFTS);
    return 1 + x % (2 * mean);
}

/* First use of a row: compared with the unwinder's answer for the same frame. */
static HAK_COLD hak_frame_row learn(context *c, uintptr_t pc, const position *at)
{
    hak_frame_row row = hak_memo_learn(pc);
    hak_frame ours = at->frame;
    hak_frame theirs = at->frame;
    if (!at->exact && unwinder_fits(c) && hak_frame_up(&ours, row, c->stack)) {
        bool stepped = hak_unwinder_step(&theirs);
        if (stepped && (ours.pc != theirs.pc || ours.sp != theirs.sp)) {
            row = (hak_frame_row){.kind = HAK_FRAME_DYNAMIC};
            hak_memo_set(pc, row);
        }
    }
    hak_walk *walk = c->walk;
    if (!at->exact && walk->learned < HAK_COUNT_OF(walk->learned_pcs))
        walk->learned_pcs[walk->learned++] = pc;
    return row;
}

/* mov $15, %rax; syscall: what a signal handler returns to. */
static bool is_signal_return(uintptr_t pc)
{
    static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
    bool in_page =
        hak_align_down(pc, HAK_OS_PAGE_BYTES) == hak_align_down(pc + sizeof code, HAK_OS_PAGE_BYTES);
    return in_page && memcmp((const void *)pc, code, sizeof code) == 0;
}

/* A word that BP came from, or that it points at. */
static void note(context *c, uintptr_t at)
{
    hak_walk *walk = c->walk;
    size_t last = HAK_WALK_WORDS_MAX(walk->depth) - 1;
    walk->places[last - c->extras] = at;
    walk->values[last - c->extras] = load(at);
    c->extras++;
}

/* The frames from where BP was loaded up to this one lead where they do by that BP. */
static void need_bp(hak_walk_mark *mark, const position *at)
{
    for (unsigned i = 0; i <= at->bp_age; i++)
        mark[-(ptrdiff_t)i].bp_needed = true;
}

/* The next step goes by BP. */
static void note_bp(context *c, position *at)
{
    need_bp(&c->walk->paths[c->walk->now].marks[c->walk->count - 1], at);
    if (at->bp_entry)
        c->walk->entry_bp = true;
    else if (at->bp_at != 0)
        note(c, at->bp_at);
    at->bp_at = 0;
}

/* Through a signal frame: the interrupted registers lie in the ucontext that SP points at. The interrupted
 * code may run on another stack than the handler. */
static bool up_signal(context *c, position *at)
{
    uintptr_t base = at->frame.sp;
    if (!hak_stack_holds(c->stack, base, SIGNAL_PC_AT + 8))
        return false;
    hak_frame up = {load(base + SIGNAL_PC_AT), load(base + SIGNAL_SP_AT), load(base + SIGNAL_BP_AT)};
    if (!hak_stack_holds(c->stack, up.sp, 8)) {
        hak_stack other = hak_stack_of(up.sp);
        if (other.high == 0 || c->own_stack)
            return false;
        c->stack = other;
    } else if (up.sp <= at->frame.sp) {
        return false;
    }
    *at = (position){.frame = up, .exact = true};
    return true;
}

/* A step that no row describes. False: the walk ends here. */
static HAK_COLD bool up_dynamic(context *c, position *at)
{
    c->walk->counts.dynamic++;
    if (!hak_cfi_covers(
            at->frame.pc)) { /* generated code: engines keep frame pointers for their own unwinders */
        const hak_frame_row chain = {.cfa_offset = 16, .bp_slot = -2, .kind = HAK_FRAME_BP};
        note_bp(c, at);
        if (!hak_frame_up(&at->frame, chain, c->stack))
            return false;
        *at = (position){.frame = at->frame, .bp_at = at->frame.sp - 16};
        return true;
    }
    c->walk->lasting = false;
    if (is_signal_return(at->frame.pc))
        return up_signal(c, at);
    if (!unwinder_fits(c))
        return false;
    hak_frame up = at->frame;
    if (!hak_unwinder_step(&up) || !hak_stack_holds(c->stack, up.sp - 8, 8) || load(up.sp - 8) != up.pc)
        return false;
    *at = (position){.frame = up};
    return true;
}

static bool step(context *c, position *at)
{
    uintptr_t pc = at->frame.pc + (at->exact ? 1 : 0);
    hak_frame_row row;
    if (HAK_UNLIKELY(!hak_memo_find(pc, &row)))
        row = learn(c, pc, at);
    bool deref = row.kind == HAK_FRAME_BP_DEREF;
    uintptr_t bp = at->frame.bp;
    if (HAK_UNLIKELY(row.kind == HAK_FRAME_BP || deref))
        note_bp(c, at);
    if (HAK_UNLIKELY(!hak_frame_up(&at->frame, row, c->stack)))
        return row.kind != HAK_FRAME_END && up_dynamic(c, at);
    at->exact = false;
    at->bp_age++;
    if (row.bp_slot == 0 && !deref)
        return true;
    if (HAK_UNLIKELY(deref))
        note(c, bp + (uintptr_t)(intptr_t)row.cfa_offset);
    at->bp_at = (deref ? bp : at->frame.sp) + (uintptr_t)(8 * (intptr_t)row.bp_slot);
    at->bp_entry = false;
    at->bp_age = 0;
    return true;
}

static void mark(const context *c, unsigned frame, const position *at)
{
    c->walk->paths[c->walk->now].marks[frame] = (hak_walk_mark){.sp = at->frame.sp,
                                                                .bp = at->frame.bp,
                                                                .bp_at = at->bp_at,
                                                                .extras = (uint16_t)c->extras,
                                                                .bp_age = (uint16_t)at->bp_age,
                                                                .bp_entry = at->bp_entry};
}

/* The words from frame `from` of the last walk outwards are as they were. */
static bool words_hold(context *c, const hak_walk_path *last, unsigned from)
{
    if (from < last->steps && !hak_stack_holds(c->stack, last->places[last->steps - 1], 8)) {
        c->next = last->count; /* of another thread, whose ring this was */
        return false;
    }
    for (unsigned i = from; i < last->steps; i++) /* from above SP to the outermost */
        if (load(last->places[i]) != last->values[i]) {
            c->next = i + 1;
            return false;
        }
    unsigned later = last->steps + last->extras - last->marks[from].extras;
    for (unsigned i = last->steps; i < later; i++)
        if (!hak_stack_holds(c->stack, last->places[i], 8) || load(last->places[i]) != last->values[i]) {
            c->next = last->count;
            return false;
        }
    return true;
}

/* The frames behind `from` of the last walk, as far as depth allows. */
static void take_over(context *c, const hak_walk_path *last, unsigned from, position *at)
{
    hak_walk *walk = c->walk;
    hak_walk_mark *marks = walk->paths[walk->now].marks;
    unsigned room = walk->depth - walk->count;
    unsigned frames = last->count - from - 1 < room ? last->count - from - 1 : room;
    unsigned words = last->steps - from < room ? last->steps - from : room;
    unsigned base = c->extras;
    unsigned before = last->marks[from].extras;
    unsigned behind = frames < last->count - from - 1 ? last->marks[from + frames].extras : last->extras;
    for (unsigned i = before; i < behind; i++)
        note(c, last->places[last->steps + last->extras - 1 - i]);
    memcpy(walk->places + c->words, last->places + from, words * sizeof(uintptr_t));
    memcpy(walk->values + c->words, last->values + from, words * sizeof(uintptr_t));
    memcpy(walk->pcs + walk->count, last->pcs + from + 1, frames * sizeof(uintptr_t));
    memcpy(marks + walk->count, last->marks + from + 1, frames * sizeof *marks);
    memcpy(walk->paths[walk->now].hashes + walk->count - 1, last->hashes + from,
           (frames + 1) * sizeof *last->hashes);
    marks += walk->count;
    for (unsigned i = 0; base != before && i < frames; i++)
        marks[i].extras = (uint16_t)(marks[i].extras + base - before);
    for (unsigned i = 0; i < frames && marks[i].bp_age > i; i++) { /* BP is still what it is here */
        marks[i].bp = at->frame.bp;
        marks[i].bp_at = at->bp_at;
        marks[i].bp_entry = at->bp_entry;
        marks[i].bp_age = (uint16_t)(at->bp_age + i + 1);
    }
    if (last->marks[from].bp_needed) {
        need_bp(&marks[-1], at);
        walk->entry_bp |= at->bp_entry;
    }
    c->words += words;
    walk->count += frames;
    if (frames == 0)
        return;
    const hak_walk_mark *end = &marks[frames - 1];
    *at = (position){.frame = {walk->pcs[walk->count - 1], end->sp, end->bp},
                     .bp_at = end->bp_at,
                     .bp_age = end->bp_age,
                     .bp_entry = end->bp_entry};
}

typedef enum meeting { MEETS_NOT, MEETS, MEETS_TO_THE_END } meeting;

/* Has the walk come to a frame of the last one? Then it is taken over from there on. */
static meeting meet(context *c, position *at)
{
    const hak_walk_path *last = &c->walk->paths[c->walk->now ^ 1];
    while (c->next < last->count && last->marks[c->next].sp < at->frame.sp)
        c->next++;
    if (c->next >= last->count)
        return MEETS_NOT;
    unsigned from = c->next;
    const hak_walk_mark *known = &last->marks[from];
    if (known->sp != at->frame.sp || last->pcs[from] != at->frame.pc || at->exact ||
        (known->bp_needed &&
         (known->bp != at->frame.bp || known->bp_at != at->bp_at || known->bp_entry != at->bp_entry)) ||
        !words_hold(c, last, from))
        return MEETS_NOT;
    take_over(c, last, from, at);
    c->next = last->count;
    if (last->count == c->walk->depth || c->walk->count == c->walk->depth)
        return MEETS;
    if (c->walk->told_same > last->count - from)
        c->walk->told_same = last->count - from;
    return MEETS_TO_THE_END;
}

/* Whoever walks the same way has the same hashes, whether he takes frames over or not. */
static void hash_frames(const context *c, unsigned fresh)
{
    const hak_walk *walk = c->walk;
    uint32_t *hashes = walk->paths[walk->now].hashes;
    uint64_t hash = fresh < walk->count ? hashes[fresh] : 0;
    for (unsigned i = fresh; i-- > 0;) {
        hash = ((hash ^ walk->pcs[i]) * UINT64_C(0x9e3779b97f4a7c15)) >> 32;
        hashes[i] = (uint32_t)hash;
    }
}

static void walk_out(context *c, hak_frame start)
{
    meeting met = MEETS_NOT;
    hak_walk *walk = c->walk;
    position at = {.frame = start, .bp_entry = true};
    walk->pcs[0] = start.pc;
    walk->count = 1;
    mark(c, 0, &at);
    while (walk->count < walk->depth && step(c, &at)) {
        walk->places[c->words] = at.frame.sp - 8;
        walk->values[c->words++] = at.frame.pc; /* not lasting where that is not so */
        if (at.frame.pc == 0 || at.frame.pc > CODE_PC_MAX)
            break;
        mark(c, walk->count, &at);
        walk->pcs[walk->count++] = at.frame.pc;
        unsigned before = walk->count;
        met = meet(c, &at);
        if (met == MEETS_TO_THE_END) {
            hash_frames(c, before);
            break;
        }
    }
    if (met != MEETS_TO_THE_END) {
        walk->told_same = 0;
        hash_frames(c, walk->count);
    }
    size_t last = HAK_WALK_WORDS_MAX(walk->depth) - 1;
    memmove(walk->places + c->words, walk->places + last + 1 - c->extras, c->extras * sizeof(uintptr_t));
    memmove(walk->values + c->words, walk->values + last + 1 - c->extras, c->extras * sizeof(uintptr_t));
    walk->words = c->words + c->extras;
}

/* Readable bytes from sp up, on a stack that nobody told us about. */
static hak_stack probe(uintptr_t sp)
{
    uintptr_t page = hak_align_down(sp, HAK_OS_PAGE_BYTES) + HAK_OS_PAGE_BYTES;
    for (unsigned i = 0; i < PROBE_PAGES && hak_word_readable(page); i++)
        page += HAK_OS_PAGE_BYTES;
    return (hak_stack){hak_align_down(sp, 8), page};
}

void hak_walk_take(hak_walk *walk, hak_frame frame)
{
    context c = {.walk = walk, .stack = hak_stack_of(frame.sp)};
    uint32_t age = atomic_load_explicit(&hak_walk_age, memory_order_relaxed);
    const hak_walk_path *last = &walk->paths[walk->now];
    use_path(walk, walk->now ^ 1);
    hak_walk_path *path = &walk->paths[walk->now];
    path->usable = false;
    atomic_signal_fence(memory_order_seq_cst); /* a signal's handler may jump out of here for good */
    c.own_stack = c.stack.high != 0;
    walk->lasting = c.own_stack;
    walk->entry_bp = false;
    if (HAK_UNLIKELY(!c.own_stack))
        c.stack = probe(frame.sp);
    c.next = c.own_stack && last->usable && last->age == age ? 1 : UINT32_MAX;
    walk_out(&c, frame);
    path->count = walk->count;
    path->steps = c.words;
    path->extras = c.extras;
    path->age = age;
    path->entry_bp = walk->entry_bp;
    atomic_signal_fence(memory_order_seq_cst);
    path->usable = walk->lasting;
}

bool hak_walk_is_second(hak_walk *walk, uintptr_t sp)
{
    uint64_t hash = hak_walk_hash(walk, sp);
    uint16_t *at = &walk->once[hash >> (64 - HAK_WALK_ONCE_BITS)];
    uint16_t left = (uint16_t)(hash >> 32 | 1);
    bool second = *at == left;
    *at = left;
    return second;
}

bool hak_walk_check(hak_walk *walk, hak_frame frame, const uintptr_t *pcs, unsigned count)
{
    uintptr_t theirs[CHECK_FRAMES];
    const context here = {.walk = walk, .stack = hak_stack_of(frame.sp), .own_stack = true};
    walk->checks++;
    walk->until_check = next_check(walk);
    if (here.stack.high == 0 || !unwinder_fits(&here))
        return true;
    unsigned max = walk->depth < CHECK_FRAMES ? walk->depth : CHECK_FRAMES;
    unsigned theirs_count = hak_unwinder_walk(frame.pc, theirs, max);
    if (theirs_count == 0)
        return true;
    unsigned ours_count = count < max ? count : max;
    unsigned common = ours_count < theirs_count ? ours_count : theirs_count;
    unsigned i = 0;
    walk->counts.checked++;
    while (i < common && pcs[i] == theirs[i])
        i++;
    if (i == common && ours_count == theirs_count)
        return true;
    walk->counts.wrong++;
    if (i < common && i > 0) /* a pc that a signal interrupted has its row one further on: no harm done */
        hak_memo_set(pcs[i - 1], (hak_frame_row){.kind = HAK_FRAME_DYNAMIC});
    atomic_fetch_add_explicit(&hak_walk_age, 1, memory_order_relaxed);
    return false;
}
