/* record_put.c: see record_put.h. */
#include "trace/record_put.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "trace/record_modules.h"
#include "trace/trace_format.h"

enum { FOLDER_MAX = 512 }; /* of a folder's path: stacks are small; longer ones are left out */

static HAK_COLD void put_learned(hak_thread *self)
{
    hak_walk *walk = self->walk;
    for (unsigned i = 0; i < walk->learned; i++) {
        uintptr_t pc = walk->learned_pcs[i];
        hak_modules_know(self, pc);
        hak_put_row(self, pc, hak_memo_row(pc));
    }
    walk->learned = 0;
}

static void store_counts(const hak_thread *self)
{
    const hak_walk_counts *counts = &self->walk->counts;
    atomic_store_explicit(&self->ring->walks_checked, counts->checked, memory_order_relaxed);
    atomic_store_explicit(&self->ring->walks_wrong, counts->wrong, memory_order_relaxed);
    atomic_store_explicit(&self->ring->walks_dynamic, counts->dynamic, memory_order_relaxed);
}

static hak_seen_stack *walk_anew(hak_thread *self, hak_frame caller)
{
    hak_walk *walk = self->walk;
    walk->taken = true;
    hak_walk_take(walk, caller);
    if (HAK_UNLIKELY(walk->learned != 0))
        put_learned(self);
    if (!walk->lasting || !hak_walk_is_second(walk, caller.sp))
        return NULL;
    return hak_seen_learn(&self->seen, walk, caller);
}

/* Its frames are checked as they would be recorded: from the remembered stack where there is one. */
static HAK_COLD hak_seen_stack *check(hak_thread *self, hak_seen_stack *stack, hak_frame caller)
{
    hak_walk *walk = self->walk;
    if (stack != NULL) {
        hak_walk_forget(walk);
        walk->count = stack->frames;
        for (unsigned i = 0; i < stack->frames; i++)
            walk->pcs[i] = hak_seen_pc(stack, i);
    }
    if (hak_walk_check(walk, caller, walk->pcs, walk->count))
        return stack;
    hak_seen_clear(&self->seen);
    self->seen.age = atomic_load_explicit(&hak_walk_age, memory_order_relaxed);
    return walk_anew(self, caller);
}

/* The stack of an event; NULL: only the walk knows it. */
static hak_seen_stack *stack_of(hak_thread *self, hak_frame caller)
{
    uint32_t age = atomic_load_explicit(&hak_walk_age, memory_order_relaxed);
    self->walk->taken = false;
    if (HAK_UNLIKELY(self->seen.age != age)) {
        hak_seen_clear(&self->seen);
        self->seen.age = age;
    }
    hak_seen_stack *stack = hak_seen_find(&self->seen, caller);
    if (stack == NULL)
        stack = hak_seen_find_second(&self->seen, caller);
    if (stack == NULL)
        stack = walk_anew(self, caller);
    if (self->walk->until_check == 0)
        stack = check(self, stack, caller);
    store_counts(self);
    return stack;
}

/* How many of the outermost frames are those of the stack told last. callers: all frames but the innermost.
 * known: so many are, at least. */
static unsigned same_as_told(const hak_walk *walk, const uintptr_t *callers, unsigned count, unsigned known)
{
    unsigned max = count < walk->told_count ? count : walk->told_count;
    unsigned same = known < max ? known : max;
    while (same < max && walk->told[same] == callers[count - 1 - same])
        same++;
    return same;
}

HAK_NOINLINE void hak_put_rare_alloc(hak_thread *self, hak_op op, unsigned flags, const void *block,
                                     size_t size, unsigned align_log2, hak_frame caller)
{
    hak_walk *walk = self->walk;
    hak_seen_stack *stack = stack_of(self, caller);
    bool tell = stack == NULL || !stack->told;
    unsigned frames = !tell ? 0 : stack != NULL ? stack->frames : walk->count;
    const uintptr_t *callers = stack != NULL ? stack->list : walk->pcs + 1;
    unsigned same = tell ? same_as_told(walk, callers, frames - 1, walk->taken ? walk->told_same : 0) : 0;
    bool moved_from = (flags & HAK_RECORD_MOVED_FROM) != 0;
    bool wide =
        size > HAK_SMALL_SIZE_MAX || align_log2 != 0 || (flags & ~(unsigned)HAK_RECORD_MOVED_FROM) != 0;
    size_t words = 2 + (wide ? 2 : 0) + (tell ? 1 + frames - same : 0);
    unsigned form = (moved_from ? HAK_RECORD_MOVED_FROM : 0) | (wide ? HAK_RECORD_WIDE : 0) |
                    (tell ? HAK_RECORD_STACK : 0);
    uint64_t *at = hak_reserve(self, words, HAK_WEIGHT_EVENT);
    if (HAK_UNLIKELY(at == NULL))
        return;
    at = hak_put_word0(self, at, (unsigned)op, form, stack != NULL ? stack->id : 0);
    at[1] = ((uint64_t)(uintptr_t)block & HAK_ADDRESS_MASK) | (wide ? 0 : (uint64_t)size << HAK_ADDRESS_BITS);
    uint64_t *next = at + 2;
    if (wide) {
        *next++ = size;
        *next++ = align_log2 | (flags & (HAK_RECORD_FAILED | HAK_RECORD_NOTHROW));
    }
    if (tell) {
        *next++ = frames | (uint64_t)same << 32;
        for (unsigned i = 0; i < frames - same; i++)
            *next++ = walk->told[frames - 1 - i] = i == 0 ? caller.pc : callers[i - 1];
        walk->told_count = frames;
        walk->told_same = walk->taken ? frames : 0;
    }
    hak_publish(self, words);
    if (stack != NULL)
        stack->told = true;
}

static void put_plain(hak_thread *self, unsigned kind, const uint64_t *body, size_t count)
{
    uint64_t *at = hak_reserve(self, 1 + count, HAK_WEIGHT_TABLE);
    if (at == NULL)
        return;
    at = hak_put_word0(self, at, kind, 0, 0);
    for (size_t i = 0; i < count; i++)
        at[1 + i] = body[i];
    hak_publish(self, 1 + count);
}

void hak_put_thread_start(hak_thread *self, bool again)
{
    uint64_t body = self->ring->tid | (uint64_t)again << 32;
    put_plain(self, HAK_RECORD_THREAD_START, &body, 1);
}

void hak_put_thread_end(hak_thread *self)
{
    store_counts(self);
    put_plain(self, HAK_RECORD_THREAD_END, NULL, 0);
}

void hak_put_row(hak_thread *self, uintptr_t pc, hak_frame_row row)
{
    uint64_t body[2] = {pc, 0};
    memcpy(&body[1], &row, sizeof row);
    put_plain(self, HAK_RECORD_ROW, body, 2);
}

/* What stands before a path that the program gave relative to its folder, "./plugin.so", to be found later
 * and from elsewhere: the folder and "/"; its length, 0 where nothing does. */
static size_t folder_of(const char *path, char *out, size_t room)
{
    if (path[0] == '/' || strchr(path, '/') == NULL)
        return 0;
    int kept = errno;
    long n = syscall(SYS_getcwd, out, room); /* with its terminating zero */
    errno = kept;
    if (n < 2 || out[0] != '/')
        return 0;
    out[n - 1] = '/';
    return (size_t)n;
}

void hak_put_module_load(hak_thread *self, const hak_module_seen *module)
{
    char folder[FOLDER_MAX];
    size_t name_bytes = strnlen(module->path, HAK_MODULE_PATH_MAX);
    size_t folder_bytes = folder_of(module->path, folder, sizeof folder);
    if (folder_bytes + name_bytes > HAK_MODULE_PATH_MAX)
        folder_bytes = 0;
    size_t path_bytes = folder_bytes + name_bytes;
    size_t path_words = (path_bytes + 7) / 8;
    size_t words = HAK_RECORD_MODULE_WORDS + path_words;
    uint64_t *at = hak_reserve(self, words, HAK_WEIGHT_TABLE);
    if (at == NULL)
        return;
    uint32_t id_bytes =
        module->build_id_bytes < HAK_BUILD_ID_MAX_BYTES ? module->build_id_bytes : HAK_BUILD_ID_MAX_BYTES;
    at = hak_put_word0(self, at, HAK_RECORD_MODULE_LOAD, 0, 0);
    memset(at + 1, 0, (words - 1) * sizeof *at);
    at[1] = module->start;
    at[2] = module->end;
    at[3] = module->bias;
    at[4] = path_bytes | (uint64_t)id_bytes << 32;
    if (id_bytes != 0)
        memcpy(&at[5], module->build_id, id_bytes);
    char *path = (char *)&at[HAK_RECORD_MODULE_WORDS];
    memcpy(path, folder, folder_bytes);
    memcpy(path + folder_bytes, module->path, name_bytes);
    hak_publish(self, words);
}

void hak_put_module_unload(hak_thread *self, uint64_t start)
{
    put_plain(self, HAK_RECORD_MODULE_UNLOAD, &start, 1);
}
