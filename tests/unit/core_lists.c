/* core_lists.c: where the blocks of lists come from and go to: lists that sizes share, frees past a full
 * list, blocks of others that a thread keeps, and what a forked child finds of all that. The program runs on
 * the allocator under test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/heap.h"
#include "core/include/hakmem.h"
#include "core/secure.h"

/* ---- lists that sizes share ---- */

#define SHARING       64
#define SHARING_BYTES 136 /* nothing else in this program asks for such by then */

static void *sharing_blocks[SHARING];
static size_t sharing_rooms[SHARING];

/* Before the first test: what a size is given changes with what was taken of it. */
static void take_first_blocks(void)
{
    for (unsigned i = 0; i < SHARING; i++) {
        sharing_blocks[i] = malloc(SHARING_BYTES);
        sharing_rooms[i] = malloc_usable_size(sharing_blocks[i]);
    }
}

static void sizes_share_lists_at_first(void **state)
{
    (void)state;
    size_t own = hak_classes.of[hak_class_of(SHARING_BYTES)].block_bytes, shared_bytes = 0;
    assert_in_range(own, SHARING_BYTES, 255);
    unsigned i = 0;
    for (; i < SHARING && sharing_rooms[i] == 256; i++)
        shared_bytes += 256;
    assert_in_range(shared_bytes, 256, 4096);
    for (; i < SHARING; i++)
        assert_int_equal(sharing_rooms[i], own);
    for (i = 0; i < SHARING; i++) { /* each kind at home, in whatever order */
        memset(sharing_blocks[i], 1, sharing_rooms[i]);
        sharing_blocks[i] = realloc(sharing_blocks[i], SHARING_BYTES + i % 8);
        free(sharing_blocks[i]);
    }
    assert_int_equal(hakmem_check(), 0);
}

static void *take_a_first_block(void *room)
{
    void *block = malloc(SHARING_BYTES);
    *(size_t *)room = malloc_usable_size(block);
    free(block);
    return room;
}

static void further_heaps_share_too(void **state)
{
    (void)state;
    size_t room = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_a_first_block, &room), 0);
    pthread_join(thread, NULL);
    assert_int_equal(room, 256);
}

/* Of every size, whatever the ladder: the list that serves it has blocks that are large enough. */
static void leaders_serve_their_sizes(void **state)
{
    (void)state;
    static hak_thread_heap fresh;
    hak_heap *heap = &fresh.heap;
    hak_heap_share(heap);
    for (size_t bytes = 0; bytes <= HAK_DIRECT_MAX; bytes++) {
        unsigned class_index = hak_class_of(bytes), leader = heap->leader[class_index];
        size_t room = hak_classes.of[leader].block_bytes;
        assert_ptr_equal(hak_bin_at(heap, heap->bin_of[bytes]), &heap->bins[leader]);
        assert_in_range(room, bytes, bytes <= HAK_CLASS_STEP ? HAK_CLASS_STEP : 2 * bytes - 1);
    }
    for (unsigned i = 0; i < hak_classes.count; i++) {
        size_t taken = 0; /* at most: a look into the slow path stands for a few blocks */
        for (; hak_heap_class(heap, i) != i; taken += hak_classes.of[heap->leader[i]].block_bytes)
            assert_in_range(taken, 0, 2048);
        assert_int_equal(hak_heap_class(heap, i), i);
    }
    for (size_t bytes = 0; bytes <= HAK_DIRECT_MAX; bytes++)
        assert_ptr_equal(hak_bin_at(heap, heap->bin_of[bytes]), &heap->bins[hak_class_of(bytes)]);
}

/* ---- past a full list ---- */

#define BURST       100000
#define BURST_BYTES 144

static void *burst[BURST];

static void take_burst(void)
{
    for (unsigned i = 0; i < BURST; i++) {
        burst[i] = malloc(BURST_BYTES);
        assert_non_null(burst[i]);
        memcpy(burst[i], &i, sizeof i);
    }
    unsigned random = 11;
    for (unsigned i = BURST - 1; i > 0; i--) {
        random = random * 1103515245u + 12345u;
        unsigned other = (unsigned)(((uint64_t)random * (i + 1)) >> 32);
        void *held = burst[i];
        burst[i] = burst[other];
        burst[other] = held;
    }
}

static bool goes_past(const hak_heap *heap, unsigned class_index)
{
    return heap->past[class_index].count != 0 && heap->past[class_index].head == heap->bins[class_index].head;
}

/* Most of them never see the list; all of them are free, and none is handed out twice. */
static void scattered_frees_go_past_the_list(void **state)
{
    (void)state;
    hak_heap *heap = hak_heap_get();
    hak_trim();
    size_t before = hak_pool_info_get().used_bytes;
    for (unsigned round = 0; round < 2; round++) {
        take_burst();
        unsigned past = 0;
        uint64_t home = hak_heap_counter_sum(HAK_COUNT_FREE_SS_LOCAL);
        for (unsigned i = 0; i < BURST; i++) {
            void *volatile freed = burst[i];
            unsigned class_index = hak_slab_of(burst[i])->class_index;
            bool goes = goes_past(heap, class_index);
            const hak_block *head = heap->bins[class_index].head;
            free(burst[i]);
            past += goes && heap->bins[class_index].head == head;
            if (i % 64 == 0 && hak_slab_of(freed)->kind == HAK_SLAB_BLOCKS) /* else it was the last one */
                assert_true(hak_heap_holds(hak_slab_of(freed), freed));
        }
        assert_in_range(past, BURST / 2, BURST);
        assert_in_range(hak_heap_counter_sum(HAK_COUNT_FREE_SS_LOCAL) - home, past, BURST);
        assert_int_equal(hakmem_check(), 0);
    }
    for (unsigned i = 0; i < BURST; i++) {
        burst[i] = malloc(BURST_BYTES);
        memcpy(burst[i], &i, sizeof i);
    }
    for (unsigned i = 0; i < BURST; i++) {
        assert_memory_equal(burst[i], &i, sizeof i);
        free(burst[i]);
    }
    hak_trim();
    assert_in_range(hak_pool_info_get().used_bytes, 0, before + 2 * HAK_UNIT_BYTES);
}

/* Status of a child of fork in which `work` runs. */
static int status_of(void (*work)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void free_one_twice_past_the_list(void)
{
    const hak_heap *heap = hak_heap_get();
    unsigned class_index = hak_class_of(BURST_BYTES), i = 0;
    close(STDERR_FILENO); /* the line it ends with */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    while (i < BURST && !goes_past(heap, class_index))
        free(burst[i++]);
    if (i > BURST - 2)
        _exit(1);
    void *volatile freed = burst[i];
    free(burst[i]);
    free(burst[i + 1]);
    free(freed);
}

static void double_frees_past_the_list_are_refused(void **state)
{
    (void)state;
    take_burst();
    int status = status_of(free_one_twice_past_the_list);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    for (unsigned i = 0; i < BURST; i++)
        free(burst[i]);
}

/* ---- what a forked child finds ---- */

#define FEW       16  /* both together no more than a thread keeps */
#define FEW_BYTES 512 /* a list of its own from the start, in every heap */
#define SEARCH    20000

static void *few_of_mine[FEW], *few_of_another[FEW];
static hak_heap *_Atomic keeper_heap;
static pthread_barrier_t kept, over;

static void *owner_thread(void *context)
{
    for (unsigned i = 0; i < FEW; i++)
        few_of_another[i] = malloc(FEW_BYTES);
    pthread_barrier_wait(&kept);
    pthread_barrier_wait(&over);
    return context;
}

/* Keeps most of what it frees, sends the rest, and has none of its own left. */
static void *keeper_thread(void *context)
{
    hak_heap *heap = hak_heap_get();
    void *own[256];
    unsigned taken = 0, class_index = hak_class_of(FEW_BYTES);
    do
        own[taken++] = malloc(FEW_BYTES);
    while (heap->bins[class_index].head != NULL && taken < 256);
    for (unsigned i = 0; i < FEW; i++) {
        free(few_of_mine[i]);
        free(few_of_another[i]);
    }
    atomic_store(&keeper_heap, heap);
    pthread_barrier_wait(&kept);
    pthread_barrier_wait(&over);
    while (taken > 0)
        free(own[--taken]);
    return context;
}

static int index_of(void *const *blocks, const void *block)
{
    int i = 0;
    while (i < FEW && blocks[i] != block)
        i++;
    return i < FEW ? i : -1;
}

/* The child: each of the blocks is handed out once, and the heap is sound. */
static void find_all(void)
{
    static void *taken[SEARCH];
    unsigned seen[2][FEW] = {{0}}, found = 0;
    for (unsigned i = 0; i < SEARCH; i++) {
        taken[i] = malloc(FEW_BYTES);
        int mine = index_of(few_of_mine, taken[i]), others = index_of(few_of_another, taken[i]);
        if (mine >= 0)
            found += seen[0][mine]++ == 0;
        if (others >= 0)
            found += seen[1][others]++ == 0;
    }
    for (unsigned i = 0; i < FEW; i++)
        if (seen[0][i] > 1 || seen[1][i] > 1)
            _exit(2);
    if (hakmem_check() != 0)
        _exit(3);
    for (unsigned i = 0; i < SEARCH; i++)
        free(taken[i]);
    _exit(hakmem_check() != 0 ? 4 : found == 2 * FEW ? 0 : 5);
}

/* `torn`: the keeper is between the two steps in which kept blocks become a list. */
static void fork_beside_a_keeper(bool torn)
{
    pthread_t owner, keeper;
    pthread_barrier_init(&kept, NULL, 2);
    pthread_barrier_init(&over, NULL, 3);
    for (unsigned i = 0; i < FEW; i++)
        few_of_mine[i] = malloc(FEW_BYTES);
    assert_int_equal(pthread_create(&owner, NULL, owner_thread, NULL), 0);
    pthread_barrier_wait(&kept);
    assert_int_equal(pthread_create(&keeper, NULL, keeper_thread, NULL), 0);
    pthread_barrier_wait(&kept);
    unsigned class_index = hak_class_of(FEW_BYTES);
    hak_heap *heap = atomic_load(&keeper_heap);
    assert_in_range(heap->kept[class_index].count, FEW, 2 * FEW - 1); /* of each owner some */
    assert_null(heap->bins[class_index].head);
    if (torn)
        heap->bins[class_index].head = heap->kept[class_index].head;
    int status = status_of(find_all);
    heap->bins[class_index].head = NULL;
    pthread_barrier_wait(&over);
    pthread_join(owner, NULL);
    pthread_join(keeper, NULL);
    pthread_barrier_destroy(&kept);
    pthread_barrier_destroy(&over);
    assert_int_equal(status, 0);
    assert_int_equal(hakmem_check(), 0);
}

static void a_child_finds_kept_blocks(void **state)
{
    (void)state;
    fork_beside_a_keeper(false);
}

static void a_child_finds_kept_blocks_once(void **state)
{
    (void)state;
    fork_beside_a_keeper(true);
}

int main(void)
{
    take_first_blocks();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_share_lists_at_first),
        cmocka_unit_test(further_heaps_share_too),
        cmocka_unit_test(leaders_serve_their_sizes),
        cmocka_unit_test(scattered_frees_go_past_the_list),
        cmocka_unit_test(double_frees_past_the_list_are_refused),
        cmocka_unit_test(a_child_finds_kept_blocks),
        cmocka_unit_test(a_child_finds_kept_blocks_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
