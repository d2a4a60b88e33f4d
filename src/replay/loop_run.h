/* loop_run.h: the measured loop, as text: loop.c includes it once per way of running (RUN_NAME, RUN_TOUCH,
 * RUN_MODE), so that it tests no option. Each operation jumps to the next by itself: one shared jump would be
 * foretold worse, which cost a fifth of the null target's time. It never hashes, parses, locks or maps. */
#ifndef HAK_REPLAY_LOOP_RUN_H
#define HAK_REPLAY_LOOP_RUN_H

#include "replay/loop_parts.h"

/* Up to four calls in a row that are malloc or free, which most are, share a jump. */
#define NEXT                                                                                                 \
    do {                                                                                                     \
        word = *at++;                                                                                        \
        goto *(mode == MODE_PLAIN ? rows : codes)[word & 0xff];                                              \
    } while (0)

/* A call of the target, noted or timed where the mode says so. */
#define CALL(point, call)                                                                                    \
    do {                                                                                                     \
        if (mode == MODE_OBSERVED)                                                                           \
            begin_note(me);                                                                                  \
        uint64_t before = mode == MODE_LATENCY ? hak_ticks_before() : 0;                                     \
        call;                                                                                                \
        if (mode == MODE_LATENCY)                                                                            \
            hak_latency_note(&me->latency[point], hak_ticks_after() - before);                               \
    } while (0)

/* Keeps, hands over, touches a block that a call returned. */
#define GOT(point, call, put)                                                                                \
    do {                                                                                                     \
        uint64_t size = hak_w_size(word);                                                                    \
        if (size == 0) /* such calls are generic ones */                                                     \
            __builtin_unreachable();                                                                         \
        void *block;                                                                                         \
        CALL(point, block = (call));                                                                         \
        if (HAK_LIKELY(block != NULL)) {                                                                     \
            touch_block(block, 0, size, touch);                                                              \
            if (mode == MODE_OBSERVED)                                                                       \
                live_add(me->loop, size);                                                                    \
        } else {                                                                                             \
            failed++;                                                                                        \
        }                                                                                                    \
        (put);                                                                                               \
    } while (0)
#define KEEP      (slots[hak_w_slot(word)] = block)
#define HAND_OVER (hak_cell_put(&cells[hak_w_slot(word)], block))

#define GIVE(point, function, source)                                                                        \
    do {                                                                                                     \
        void *block = (source);                                                                              \
        use_block(block, hak_w_size(word), touch);                                                           \
        if (mode == MODE_OBSERVED)                                                                           \
            live_sub(me->loop, hak_w_size(word));                                                            \
        CALL(point, function(block));                                                                        \
    } while (0)
#define OWN  (slots[hak_w_slot(word)])
#define TAKE (hak_cell_take(&cells[hak_w_slot(word)], &me->waiter))

#define REGOT(source, put)                                                                                   \
    do {                                                                                                     \
        uint64_t size = hak_w_size(word);                                                                    \
        if (size == 0) /* such calls are generic ones */                                                     \
            __builtin_unreachable();                                                                         \
        uint64_t second = *at++;                                                                             \
        uint32_t from = (uint32_t)(second & HAK_W_SLOT_MASK);                                                \
        void *old = (source), *block;                                                                        \
        if (mode == MODE_OBSERVED)                                                                           \
            live_sub(me->loop, second >> HAK_W_SLOT_BITS);                                                   \
        CALL(HAK_LATENCY_REALLOC, block = api->realloc(old, size));                                          \
        if (HAK_LIKELY(block != NULL)) {                                                                     \
            touch_block(block, second >> HAK_W_SLOT_BITS, size, touch);                                      \
            if (mode == MODE_OBSERVED)                                                                       \
                live_add(me->loop, size);                                                                    \
        } else {                                                                                             \
            failed++;                                                                                        \
        }                                                                                                    \
        (put);                                                                                               \
    } while (0)

/* malloc and free, and rows of them. */
#define DO_M GOT(HAK_LATENCY_MALLOC, api->malloc(size), KEEP)
#define DO_F GIVE(HAK_LATENCY_FREE, api->free, OWN)
#define THEN                                                                                                 \
    do {                                                                                                     \
        word = *at++;                                                                                        \
    } while (0)
#define DO_2(a, b)                                                                                           \
    DO_##a;                                                                                                  \
    THEN;                                                                                                    \
    DO_##b
#define DO_3(a, b, c)                                                                                        \
    DO_2(a, b);                                                                                              \
    THEN;                                                                                                    \
    DO_##c
#define DO_4(a, b, c, d)                                                                                     \
    DO_3(a, b, c);                                                                                           \
    THEN;                                                                                                    \
    DO_##d
/* The rows that begin with a and b, and their entries in the table: `at` is that of the first. */
#define ROWS(a, b)                                                                                           \
    do_##a##b : DO_2(a, b);                                                                                  \
    NEXT;                                                                                                    \
    do_##a##b##M : DO_3(a, b, M);                                                                            \
    NEXT;                                                                                                    \
    do_##a##b##F : DO_3(a, b, F);                                                                            \
    NEXT;                                                                                                    \
    do_##a##b##MM : DO_4(a, b, M, M);                                                                        \
    NEXT;                                                                                                    \
    do_##a##b##MF : DO_4(a, b, M, F);                                                                        \
    NEXT;                                                                                                    \
    do_##a##b##FM : DO_4(a, b, F, M);                                                                        \
    NEXT;                                                                                                    \
    do_##a##b##FF : DO_4(a, b, F, F);                                                                        \
    NEXT
#define ENTRIES(first, a, b)                                                                                 \
    [(first) + 0] = &&do_##a##b##MM, [(first) + 1] = &&do_##a##b##MF,                                        \
               [(first) + 2 ...(first) + 3] = &&do_##a##b##M, [(first) + 4] = &&do_##a##b##FM,               \
               [(first) + 5] = &&do_##a##b##FF, [(first) + 6 ...(first) + 7] = &&do_##a##b##F,               \
               [(first) + 8 ...(first) + 15] = &&do_##a##b

/* What is no plain malloc or free. */
#define OTHERS                                                                                               \
    [HAK_W_MALLOC_X] = &&do_malloc_x, [HAK_W_CALLOC] = &&do_calloc, [HAK_W_CALLOC_X] = &&do_calloc_x,        \
    [HAK_W_NEW] = &&do_new, [HAK_W_NEW_X] = &&do_new_x, [HAK_W_NEW_ARRAY] = &&do_new_array,                  \
    [HAK_W_NEW_ARRAY_X] = &&do_new_array_x, [HAK_W_FREE_X] = &&do_free_x, [HAK_W_DELETE] = &&do_delete,      \
    [HAK_W_DELETE_X] = &&do_delete_x, [HAK_W_DELETE_ARRAY] = &&do_delete_array,                              \
    [HAK_W_DELETE_ARRAY_X] = &&do_delete_array_x, [HAK_W_REALLOC] = &&do_realloc,                            \
    [HAK_W_REALLOC_X] = &&do_realloc_x, [HAK_W_REALLOC_FROM_X] = &&do_realloc_from_x,                        \
    [HAK_W_REALLOC_FROM_X_TO_X] = &&do_realloc_from_x_to_x, [HAK_W_GENERIC] = &&do_generic,                  \
    [HAK_W_CONTEXT] = &&do_context, [HAK_W_EPOCH] = &&do_epoch, [HAK_W_CREATE] = &&do_create,                \
    [HAK_W_TIME] = &&do_time, [HAK_W_POLLUTE] = &&do_pollute, [HAK_W_JUMP] = &&do_jump,                      \
    [HAK_W_END] = &&do_end

#endif

static HAK_NOINLINE void RUN_NAME(player *me)
{
    static const void *const codes[256] = {
        [0x00 ... 0x3f] = &&do_malloc, [0x40 ... 0x7f] = &&do_free, OTHERS};
    static const void *const rows[256] = {ENTRIES(0x00, M, M),
                                          ENTRIES(0x10, M, F),
                                          [0x20 ... 0x3f] = &&do_malloc,
                                          ENTRIES(0x40, F, M),
                                          ENTRIES(0x50, F, F),
                                          [0x60 ... 0x7f] = &&do_free,
                                          OTHERS};
    const hak_touch touch = RUN_TOUCH;
    const run_mode mode = RUN_MODE;
    const hak_api *const api = me->loop->api;
    const uint64_t *at = me->loop->region + me->thread->first_word;
    void **const slots = me->loop->slots + me->thread->slot_base;
    hak_cell *const cells = me->loop->cells;
    alignas(8) uint32_t site = 0;
    api->replay_site(&site);
    uint64_t failed = 0, word;
    NEXT;
    ROWS(M, M);
    ROWS(M, F);
    ROWS(F, M);
    ROWS(F, F);
do_malloc:
    DO_M;
    NEXT;
do_free:
    DO_F;
    NEXT;
do_malloc_x:
    GOT(HAK_LATENCY_MALLOC, api->malloc(size), HAND_OVER);
    NEXT;
do_free_x:
    GIVE(HAK_LATENCY_FREE, api->free, TAKE);
    NEXT;
do_calloc:
    GOT(HAK_LATENCY_CALLOC, api->calloc(1, size), KEEP);
    NEXT;
do_calloc_x:
    GOT(HAK_LATENCY_CALLOC, api->calloc(1, size), HAND_OVER);
    NEXT;
do_new:
    GOT(HAK_LATENCY_NEW, api->new_plain(size), KEEP);
    NEXT;
do_new_x:
    GOT(HAK_LATENCY_NEW, api->new_plain(size), HAND_OVER);
    NEXT;
do_new_array:
    GOT(HAK_LATENCY_NEW, api->new_array(size), KEEP);
    NEXT;
do_new_array_x:
    GOT(HAK_LATENCY_NEW, api->new_array(size), HAND_OVER);
    NEXT;
do_delete:
    GIVE(HAK_LATENCY_DELETE, api->delete_plain, OWN);
    NEXT;
do_delete_x:
    GIVE(HAK_LATENCY_DELETE, api->delete_plain, TAKE);
    NEXT;
do_delete_array:
    GIVE(HAK_LATENCY_DELETE, api->delete_array, OWN);
    NEXT;
do_delete_array_x:
    GIVE(HAK_LATENCY_DELETE, api->delete_array, TAKE);
    NEXT;
do_realloc:
    REGOT(slots[from], KEEP);
    NEXT;
do_realloc_x:
    REGOT(slots[from], HAND_OVER);
    NEXT;
do_realloc_from_x:
    REGOT(hak_cell_take(&cells[from], &me->waiter), KEEP);
    NEXT;
do_realloc_from_x_to_x:
    REGOT(hak_cell_take(&cells[from], &me->waiter), HAND_OVER);
    NEXT;
do_generic:
    failed += generic(me, at - 1, slots, touch, mode);
    at += HAK_W_GENERIC_WORDS - 1;
    NEXT;
do_context:
    site = me->loop->options.sites[word >> 8];
    NEXT;
do_epoch:
    epoch_change(me, (uint32_t)(word >> 8));
    NEXT;
do_time:
    time_wait(me, word >> 8);
    NEXT;
do_pollute:
    cache_pollute(me);
    NEXT;
do_jump:
    at = me->loop->region + (word >> 8);
    NEXT;
do_create:
    player_create(me->loop, (uint32_t)(word >> 8));
    if (HAK_UNLIKELY(me->loop->error != 0))
        return;
    NEXT;
do_end:
    if (failed != 0)
        atomic_fetch_add(&me->loop->failed, failed);
}

#undef RUN_NAME
#undef RUN_TOUCH
#undef RUN_MODE
