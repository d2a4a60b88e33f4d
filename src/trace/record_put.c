/* record_put.c: see record_put.h. */
#include "trace/record_put.h"

#include <string.h>

#include "core/base/bits.h"
#include "trace/record_modules.h"
#include "trace/trace_format.h"

/* rdtsc may run ahead of what the allocation still waits for; another thread's free must not get the later
 * stamp. */
static inline void settle(void)
{
    __asm__ volatile("lfence" ::: "memory");
}

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
    atomic_store_explicit(&self->ring->walks, counts->walks, memory_order_relaxed);
    atomic_store_explicit(&self->ring->walks_checked, counts->checked, memory_order_relaxed);
    atomic_store_explicit(&self->ring->walks_wrong, counts->wrong, memory_order_relaxed);
    atomic_store_explicit(&self->ring->walks_dynamic, counts->dynamic, memory_order_relaxed);
}

void hak_put_alloc(hak_thread *self, hak_op op, unsigned flags, const void *block, size_t size,
                   unsigned align_log2, hak_frame caller)
{
    hak_walk *walk = self->walk;
    hak_walk_update(walk, caller);
    if (HAK_UNLIKELY(walk->learned != 0))
        put_learned(self);

    unsigned push = walk->count - walk->keep;
    bool moved = push != 0 || walk->keep != self->sent || walk->drop != 0;
    bool wide = size > HAK_SMALL_SIZE_MAX || align_log2 != 0;
    size_t words = 2 + wide + (moved ? 1 + push : 0);
    uint64_t *at = hak_reserve(self, words);
    if (HAK_UNLIKELY(at == NULL))
        return;
    uint64_t *next = at + 2;
    if (wide) {
        uint64_t stored = size < HAK_WIDE_SIZE_MASK ? size : HAK_WIDE_SIZE_MASK;
        *next++ = stored | (uint64_t)align_log2 << 56;
        flags |= HAK_RECORD_WIDE;
    }
    if (moved) {
        *next++ = hak_record_stack_word(walk->drop, walk->keep, push);
        for (unsigned i = walk->keep; i < walk->count; i++)
            *next++ = walk->frames[i].pc;
        flags |= HAK_RECORD_STACK;
        self->sent = walk->count;
    }
    at[1] = ((uint64_t)(uintptr_t)block & HAK_ADDRESS_MASK) | (wide ? 0 : (uint64_t)size << HAK_ADDRESS_BITS);
    store_counts(self);
    settle();
    at[0] = hak_record_word0(hak_begin_stamp(self), (unsigned)op, flags);
    hak_publish(self, words);
}

static void put_plain(hak_thread *self, unsigned kind, const uint64_t *body, size_t count)
{
    uint64_t *at = hak_reserve(self, 1 + count);
    if (at == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        at[1 + i] = body[i];
    at[0] = hak_record_word0(hak_begin_stamp(self), kind, 0);
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

void hak_put_module_load(hak_thread *self, const hak_module_seen *module)
{
    size_t path_bytes = strnlen(module->path, HAK_MODULE_PATH_MAX);
    size_t path_words = (path_bytes + 7) / 8;
    size_t words = HAK_RECORD_MODULE_WORDS + path_words;
    uint64_t *at = hak_reserve(self, words);
    if (at == NULL)
        return;
    uint32_t id_bytes =
        module->build_id_bytes < HAK_BUILD_ID_MAX_BYTES ? module->build_id_bytes : HAK_BUILD_ID_MAX_BYTES;
    memset(at, 0, words * sizeof *at);
    at[1] = module->start;
    at[2] = module->end;
    at[3] = module->bias;
    at[4] = path_bytes | (uint64_t)id_bytes << 32;
    if (id_bytes != 0)
        memcpy(&at[5], module->build_id, id_bytes);
    memcpy(&at[HAK_RECORD_MODULE_WORDS], module->path, path_bytes);
    at[0] = hak_record_word0(hak_begin_stamp(self), HAK_RECORD_MODULE_LOAD, 0);
    hak_publish(self, words);
}

void hak_put_module_unload(hak_thread *self, uint64_t start)
{
    put_plain(self, HAK_RECORD_MODULE_UNLOAD, &start, 1);
}
