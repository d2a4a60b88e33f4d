/* The frame memo against libunwind on real stacks: libc callbacks, recursion without frame pointers, alloca,
 * realigned stacks, signal frames, threads, foreign stacks. Built with -O2 -fomit-frame-pointer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define UNW_LOCAL_ONLY
#include <libunwind.h>

#include "core/callsite/memo.h"

#define MAX_DEPTH 256

typedef struct walk {
    unsigned count;
    bool complete;
    bool reached_end; /* the unwinder, too, came to the outermost frame */
    uintptr_t pcs[MAX_DEPTH];
    unsigned expected_count;
    uintptr_t expected[MAX_DEPTH];
} walk;

static walk seen;
static volatile int sink;

/* Both walks start at the caller of this function. */
static HAK_NOINLINE void take_walk(void)
{
    hak_frame frame = HAK_FRAME_OF_CALLER();
    hak_stack stack = hak_stack_of(frame.sp);
    memset(&seen, 0, sizeof seen);
    seen.count = hak_memo_walk(frame, stack, seen.pcs, MAX_DEPTH, &seen.complete);

    unw_context_t context;
    unw_cursor_t cursor;
    unw_getcontext(&context);
    unw_init_local(&cursor, &context);
    int left = 1;
    while (seen.expected_count < MAX_DEPTH && (left = unw_step(&cursor)) > 0) {
        unw_word_t pc = 0;
        unw_get_reg(&cursor, UNW_REG_IP, &pc);
        if (pc == 0)
            break;
        seen.expected[seen.expected_count++] = pc;
    }
    sink++;
}

static void assert_same(void)
{
    assert_true(seen.complete);
    assert_int_equal(seen.count, seen.expected_count);
    for (unsigned i = 0; i < seen.count; i++)
        assert_int_equal(seen.pcs[i], seen.expected[i]);
    assert_true(seen.count >= 4);
}

static void plain_call(void **state)
{
    (void)state;
    take_walk();
    assert_same();
    take_walk(); /* now from the table */
    assert_same();
}

static int compare(const void *a, const void *b)
{
    if (sink >= 0)
        take_walk();
    return *(const int *)a - *(const int *)b;
}

static void libc_callback(void **state)
{
    (void)state;
    int values[] = {3, 1, 2, 5, 4};
    qsort(values, HAK_COUNT_OF(values), sizeof values[0], compare);
    assert_same();
    int key = 3;
    assert_non_null(bsearch(&key, values, HAK_COUNT_OF(values), sizeof values[0], compare));
    assert_same();
}

static HAK_NOINLINE unsigned recurse(int depth, unsigned a, unsigned b, unsigned c)
{
    if (depth == 0)
        take_walk();
    else
        a += recurse(depth - 1, b, c, a);
    return a * b + c + (unsigned)sink;
}

static void recursion_without_frame_pointers(void **state)
{
    (void)state;
    recurse(100, 1, 2, 3);
    assert_same();
    assert_true(seen.count > 100);
}

static HAK_NOINLINE int with_alloca(int bytes)
{
    volatile char *room = alloca((size_t)bytes);
    room[0] = 1;
    take_walk();
    return room[0] + sink;
}

static void dynamic_stack_allocation(void **state)
{
    (void)state;
    for (int bytes = 16; bytes < 4096; bytes = bytes * 2 + 8) {
        with_alloca(bytes);
        assert_same();
    }
}

static HAK_NOINLINE __attribute__((force_align_arg_pointer)) int realigned(int n)
{
    alignas(64) volatile char block[128];
    char *more = alloca((size_t)n);
    more[0] = 0;
    block[n] = 1;
    take_walk();
    return block[n] + sink + more[0];
}

static void realigned_stack(void **state)
{
    (void)state;
    for (int n = 1; n < 100; n += 13) {
        realigned(n);
        assert_same();
    }
}

static void on_signal(int number)
{
    (void)number;
    take_walk();
}

static void signal_frame_is_dynamic(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    assert_false(seen.complete);
    assert_true(seen.count >= 2);
    assert_true(seen.expected_count > seen.count);
    for (unsigned i = 0; i < seen.count; i++)
        assert_int_equal(seen.pcs[i], seen.expected[i]);
    assert_int_equal(hak_memo_row(seen.pcs[seen.count - 1]).kind, HAK_FRAME_DYNAMIC);
}

static void *in_thread(void *arg)
{
    (void)arg;
    take_walk();
    hak_stack stack = hak_stack_of((uintptr_t)__builtin_frame_address(0));
    return (void *)(uintptr_t)(stack.high != 0 && stack.low < stack.high);
}

static void thread_ends_at_its_start(void **state)
{
    (void)state;
    pthread_t thread;
    void *known = NULL;
    assert_int_equal(pthread_create(&thread, NULL, in_thread, NULL), 0);
    pthread_join(thread, &known);
    assert_non_null(known);
    assert_true(seen.complete);
    assert_true(seen.count >= 2);
    assert_int_equal(seen.count, seen.expected_count);
}

static void *in_small_thread(void *arg)
{
    hak_stack stack = hak_stack_of((uintptr_t)__builtin_frame_address(0));
    *(size_t *)arg = stack.high - stack.low;
    return NULL;
}

static void small_stack_is_known_exactly(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* it gives threads larger stacks than they ask for */
#endif
    pthread_t thread;
    pthread_attr_t attributes;
    size_t size_bytes = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * HAK_KIB);
    assert_int_equal(pthread_create(&thread, &attributes, in_small_thread, &size_bytes), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    assert_true(size_bytes > 32 * HAK_KIB && size_bytes <= 64 * HAK_KIB);
}

static ucontext_t home;
static ucontext_t away;
static hak_stack away_stack;
static unsigned away_count;

static void coroutine(void)
{
    hak_frame frame = HAK_FRAME_OF_CALLER();
    uintptr_t pcs[8];
    bool complete;
    away_stack = hak_stack_of(frame.sp);
    away_count = hak_memo_walk(frame, away_stack, pcs, 8, &complete);
}

static void foreign_stack_is_not_read(void **state)
{
    (void)state;
    size_t size_bytes = 64 * HAK_KIB;
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    hak_stack_of((uintptr_t)__builtin_frame_address(0));
    away_stack.high = 1;
    getcontext(&away);
    away.uc_stack.ss_sp = memory;
    away.uc_stack.ss_size = size_bytes;
    away.uc_link = &home;
    makecontext(&away, coroutine, 0);
    swapcontext(&home, &away);
    assert_int_equal(away_stack.high, 0);
    assert_true(away_count <= 1);
    munmap(memory, size_bytes);
}

static void unknown_code_is_dynamic(void **state)
{
    (void)state;
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(code, MAP_FAILED);
    assert_int_equal(hak_memo_row((uintptr_t)code + 16).kind, HAK_FRAME_DYNAMIC);
    assert_int_equal(hak_memo_row(0).kind, HAK_FRAME_DYNAMIC);
    assert_int_equal(hak_memo_row(1).kind, HAK_FRAME_DYNAMIC);
    assert_int_equal(hak_memo_row(UINTPTR_MAX).kind, HAK_FRAME_DYNAMIC);
    munmap(code, 4096);
}

static void reset_forgets_and_set_replaces(void **state)
{
    (void)state;
    hak_frame_row row;
    uintptr_t pc = (uintptr_t)&reset_forgets_and_set_replaces + 4;
    hak_memo_set(pc, (hak_frame_row){.cfa_offset = 1234, .kind = HAK_FRAME_SP});
    assert_true(hak_memo_find(pc, &row));
    assert_int_equal(row.cfa_offset, 1234);
    assert_int_equal(row.reserved, 0);
    hak_memo_set(pc, (hak_frame_row){.kind = HAK_FRAME_DYNAMIC});
    assert_true(hak_memo_find(pc, &row));
    assert_int_equal(row.kind, HAK_FRAME_DYNAMIC);
    hak_memo_reset();
    assert_false(hak_memo_find(pc, &row));
}

static void full_table_still_answers(void **state)
{
    (void)state;
    hak_frame_row row;
    for (uintptr_t pc = 0x10000; pc < 0x10000 + 300000 * 16; pc += 16) {
        hak_memo_set(pc, (hak_frame_row){.cfa_offset = (int32_t)pc, .kind = HAK_FRAME_SP});
        assert_true(hak_memo_find(pc, &row));
        assert_int_equal(row.cfa_offset, (int32_t)pc);
    }
    take_walk();
    assert_same();
    hak_memo_reset();
}

/* Threads that replace each other's entries never read a row of another pc. */
static void *hammer(void *arg)
{
    uintptr_t seed = (uintptr_t)arg;
    uintptr_t wrong = 0;
    for (uintptr_t i = 0; i < 400000; i++) {
        uintptr_t pc = 0x1000 + 16 * ((i * 7919 + seed) % 200000);
        hak_frame_row row;
        if (hak_memo_find(pc, &row) && row.cfa_offset != (int32_t)pc)
            wrong++;
        hak_memo_set(pc, (hak_frame_row){.cfa_offset = (int32_t)pc, .bp_slot = -2, .kind = HAK_FRAME_BP});
    }
    return (void *)wrong;
}

static void concurrent_replacement_is_never_seen_torn(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (uintptr_t i = 0; i < HAK_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)(i * 31337)), 0);
    for (size_t i = 0; i < HAK_COUNT_OF(threads); i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    hak_memo_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_call),
        cmocka_unit_test(libc_callback),
        cmocka_unit_test(recursion_without_frame_pointers),
        cmocka_unit_test(dynamic_stack_allocation),
        cmocka_unit_test(realigned_stack),
        cmocka_unit_test(signal_frame_is_dynamic),
        cmocka_unit_test(thread_ends_at_its_start),
        cmocka_unit_test(small_stack_is_known_exactly),
        cmocka_unit_test(foreign_stack_is_not_read),
        cmocka_unit_test(unknown_code_is_dynamic),
        cmocka_unit_test(reset_forgets_and_set_replaces),
        cmocka_unit_test(full_table_still_answers),
        cmocka_unit_test(concurrent_replacement_is_never_seen_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
