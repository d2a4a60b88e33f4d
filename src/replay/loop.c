/* loop.c: the replay itself: threads, epochs, hand-overs and passes around the measured loop (loop_run.h). It
 * never hashes, parses, locks or maps while a pass runs. One loop per process; the functions of loop.h are
 * the first thread's. */
#include "replay/loop.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/base/os.h"
#include "replay/loop_parts.h"

/* Of a replay thread, guard page included. A sanitizer keeps its own state of a thread there. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STACK_BYTES (2 * HAK_MIB)
#else
#define STACK_BYTES (128 * HAK_KIB)
#endif
#define STACK_TOUCHED_BYTES (16 * HAK_KIB)  /* holds its descriptor, static TLS and the loop's frames */
#define FIRST_STACK_BYTES   (256 * HAK_KIB) /* of the first thread's stack, for its stream */
#define CARRIER_STACK_BYTES (64 * HAK_KIB)
#define STACKS_MIN          1024u     /* kept even where fewer threads are alive at once */
#define SPINS_ALONE         2000u     /* before a thread sleeps: every thread has a core */
#define TICKS_SPAN_NS       10000000u /* to compare the TSC with the clock */
#define SPINS_CROWDED       20u       /* more threads than cores: whom we wait for needs ours */

static hak_latency_point point_of(hak_op op)
{
    switch (op) {
    case HAK_OP_MALLOC:
        return HAK_LATENCY_MALLOC;
    case HAK_OP_CALLOC:
        return HAK_LATENCY_CALLOC;
    case HAK_OP_NEW:
    case HAK_OP_NEW_ARRAY:
        return HAK_LATENCY_NEW;
    case HAK_OP_REALLOC:
    case HAK_OP_REALLOCARRAY:
        return HAK_LATENCY_REALLOC;
    case HAK_OP_DELETE:
    case HAK_OP_DELETE_ARRAY:
        return HAK_LATENCY_DELETE;
    default:
        return hak_op_class_of(op) == HAK_CLASS_FREE ? HAK_LATENCY_FREE : HAK_LATENCY_ALIGNED;
    }
}

/* A rare entry point. True when an allocation failed that had not. */
static bool generic(player *me, const uint64_t *words, void **slots, hak_touch touch, run_mode mode)
{
    hak_loop *loop = me->loop;
    const hak_api *api = loop->api;
    hak_op op = (hak_op)(words[0] >> 8 & 0xff);
    unsigned flags = words[0] >> 16 & 0xff;
    size_t align = (size_t)1 << (words[0] >> 24 & 0x3f);
    uint32_t to = (uint32_t)words[1];
    uint32_t from = (uint32_t)(words[1] >> 32);
    size_t size = words[2];
    hak_op_class op_class = hak_op_class_of(op);
    void *old = NULL;
    if (op_class != HAK_CLASS_ALLOC)
        old = flags & HAK_W_FROM_X ? hak_cell_take(&loop->cells[from], &me->waiter) : slots[from];
    void *block = NULL;
    if (mode == MODE_OBSERVED) {
        begin_note(me);
        if (op_class != HAK_CLASS_ALLOC)
            live_sub(loop, words[3]);
    }
    if (op_class == HAK_CLASS_FREE)
        use_block(old, words[3], touch);
    uint64_t before = mode == MODE_LATENCY ? hak_ticks_before() : 0;
    if (op_class == HAK_CLASS_FREE)
        hak_api_free(api, op, old, align, words[3]);
    else
        block = op_class == HAK_CLASS_ALLOC ? hak_api_alloc(api, op, flags, align, size)
                : op == HAK_OP_REALLOCARRAY ? api->reallocarray(old, 1, size)
                                            : api->realloc(old, size);
    if (mode == MODE_LATENCY)
        hak_latency_note(&me->latency[point_of(op)], hak_ticks_after() - before);
    if (op_class == HAK_CLASS_FREE)
        return false;
    if (flags & HAK_W_NO_BLOCK) {
        if (block != NULL)
            api->free(block);
        return false;
    }
    if (block != NULL) {
        touch_block(block, words[3], size, touch);
        if (mode == MODE_OBSERVED)
            live_add(loop, size);
    }
    if (flags & HAK_W_TO_X)
        hak_cell_put(&loop->cells[to], block);
    else
        slots[to] = block;
    return block == NULL && size != 0;
}

static void player_create(hak_loop *loop, uint32_t index);

static void epoch_enter(player *me, uint32_t epoch)
{
    hak_loop *loop = me->loop;
    me->epoch = epoch;
    if (epoch != HAK_W_EPOCH_NONE && epoch > loop->head->skew)
        hak_epochs_wait(&loop->epochs, epoch - loop->head->skew, &me->waiter);
}

/* A stream's piece may have been begun that long before its last word was written, in the region's order. */
static uint64_t window_bytes(const hak_loop *loop)
{
    return ((uint64_t)loop->head->threads_max + 16) * HAK_W_CHUNK_WORDS * 8;
}

#define DROP_BYTES_MIN HAK_MIB /* fewer are not worth a call of the kernel */

/* Every HAK_W_MARK_EPOCHS epochs what lies behind all threads is let go: it is file-backed, so whoever still
 * needs some of it reads it again. Keeps what is resident of the region at about window_bytes, which
 * hak_loop_new touches beforehand. */
static HAK_NOINLINE void region_drop(hak_loop *loop, uint32_t epoch)
{
    const uint64_t *marks = loop->region + loop->head->marks_at;
    uint64_t reached = marks[epoch / HAK_W_MARK_EPOCHS] * 8, window = window_bytes(loop);
    uint64_t until = reached > window ? hak_align_down(reached - window, HAK_OS_PAGE_BYTES) : 0;
    uint64_t from = atomic_load_explicit(&loop->dropped_bytes, memory_order_relaxed);
    if (until >= from + DROP_BYTES_MIN &&
        atomic_compare_exchange_strong_explicit(&loop->dropped_bytes, &from, until, memory_order_relaxed,
                                                memory_order_relaxed))
        madvise((char *)(uintptr_t)loop->region + from, until - from, MADV_DONTNEED);
}

static HAK_NOINLINE void epoch_change(player *me, uint32_t epoch)
{
    if (HAK_UNLIKELY(epoch % HAK_W_MARK_EPOCHS == 0) && me->loop->options.streamed)
        region_drop(me->loop, epoch);
    hak_epochs_leave(&me->loop->epochs, me->epoch);
    epoch_enter(me, epoch);
}

#define SLEEP_FROM_NS 200000u /* shorter waits spin: waking up takes a while */

/* Waits for `until_ticks` of the TSC, asleep or spinning. */
static void ticks_wait(player *me, uint64_t until_ticks)
{
    uint64_t now = hak_ticks_now(), from = now;
    double sleep_ns = until_ticks > now ? (double)(until_ticks - now) / me->loop->ticks_per_ns : 0;
    if (sleep_ns > SLEEP_FROM_NS) {
        sleep_ns -= SLEEP_FROM_NS / 2.0;
        const struct timespec time = {(time_t)(sleep_ns / 1e9),
                                      (long)(sleep_ns - 1e9 * (double)(time_t)(sleep_ns / 1e9))};
        nanosleep(&time, NULL);
        from = hak_ticks_now();
    }
    while ((now = hak_ticks_now()) < until_ticks)
        __builtin_ia32_pause();
    me->idle_ticks += now - from;
}

/* PACE: `ns` is when the call was made, since the start. THINK: how long the thread had done other things
 * before it. */
static HAK_NOINLINE void time_wait(player *me, uint64_t ns)
{
    hak_loop *loop = me->loop;
    uint64_t ticks = (uint64_t)((double)ns * loop->ticks_per_ns);
    ticks_wait(me, (loop->head->timing == HAK_W_TIMING_PACE ? loop->start_ticks : hak_ticks_now()) + ticks);
}

/* What a program does to the caches between its calls: reads and writes memory of its own. */
static HAK_NOINLINE void cache_pollute(player *me)
{
    uint64_t from = hak_ticks_now();
    volatile char *memory = me->loop->pollution;
    for (uint64_t i = 0; i < me->loop->options.pollute_bytes; i += HAK_CACHE_LINE)
        memory[i]++;
    me->idle_ticks += hak_ticks_now() - from;
}

#define RUN_NAME  run_none
#define RUN_TOUCH HAK_TOUCH_NONE
#define RUN_MODE  MODE_PLAIN
#include "replay/loop_run.h"
#define RUN_NAME  run_pages
#define RUN_TOUCH HAK_TOUCH_PAGES
#define RUN_MODE  MODE_PLAIN
#include "replay/loop_run.h"
#define RUN_NAME  run_whole
#define RUN_TOUCH HAK_TOUCH_WHOLE
#define RUN_MODE  MODE_PLAIN
#include "replay/loop_run.h"
#define RUN_NAME  run_use
#define RUN_TOUCH HAK_TOUCH_USE
#define RUN_MODE  MODE_PLAIN
#include "replay/loop_run.h"
#define RUN_NAME  run_none_observed
#define RUN_TOUCH HAK_TOUCH_NONE
#define RUN_MODE  MODE_OBSERVED
#include "replay/loop_run.h"
#define RUN_NAME  run_pages_observed
#define RUN_TOUCH HAK_TOUCH_PAGES
#define RUN_MODE  MODE_OBSERVED
#include "replay/loop_run.h"
#define RUN_NAME  run_whole_observed
#define RUN_TOUCH HAK_TOUCH_WHOLE
#define RUN_MODE  MODE_OBSERVED
#include "replay/loop_run.h"
#define RUN_NAME  run_use_observed
#define RUN_TOUCH HAK_TOUCH_USE
#define RUN_MODE  MODE_OBSERVED
#include "replay/loop_run.h"
#define RUN_NAME  run_none_latency
#define RUN_TOUCH HAK_TOUCH_NONE
#define RUN_MODE  MODE_LATENCY
#include "replay/loop_run.h"
#define RUN_NAME  run_pages_latency
#define RUN_TOUCH HAK_TOUCH_PAGES
#define RUN_MODE  MODE_LATENCY
#include "replay/loop_run.h"
#define RUN_NAME  run_whole_latency
#define RUN_TOUCH HAK_TOUCH_WHOLE
#define RUN_MODE  MODE_LATENCY
#include "replay/loop_run.h"
#define RUN_NAME  run_use_latency
#define RUN_TOUCH HAK_TOUCH_USE
#define RUN_MODE  MODE_LATENCY
#include "replay/loop_run.h"

/* A stream is at its end: the last of all stops the clock. */
static void stream_end(player *me)
{
    hak_loop *loop = me->loop;
    if (me->thread->first_epoch != HAK_W_EPOCH_NONE)
        hak_epochs_leave(&loop->epochs, me->epoch);
    if (me->idle_ticks != 0) {
        atomic_fetch_add(&loop->idle_ticks, me->idle_ticks);
        me->idle_ticks = 0;
    }
    uint32_t before = atomic_fetch_sub(&loop->running, 1);
    if (before == 1) {
        loop->end_ns = hak_os_monotonic_ns();
        atomic_store(&loop->running, 0);
        hak_futex_wake(&loop->running);
    }
}

static void play(void *argument)
{
    player *me = argument;
    epoch_enter(me, me->thread->first_epoch);
    me->loop->run_stream(me);
    if (me->loop->error == 0)
        stream_end(me);
    else if (me->loop->fibers != NULL)
        hak_fibers_stop(me->loop->fibers);
}

static void *player_main(void *argument)
{
    player *me = argument;
    hak_loop *loop = me->loop;
    if (loop->fibers != NULL)
        hak_fiber_join(&me->fiber); /* player_create lets it run */
    else
        play(me);
    if (me->thread->exits) {
        uint32_t head = atomic_load(&loop->exited);
        do
            me->next_exited = head;
        while (!atomic_compare_exchange_weak(&loop->exited, &head, me->index + 1));
        hak_futex_wake(&loop->exited);
    } else {
        while (atomic_load(&loop->released) == 0)
            hak_futex_wait(&loop->released, 0);
    }
    return NULL;
}

static void player_join(hak_loop *loop, player *it)
{
    pthread_join(it->handle, NULL);
    it->created = false;
    loop->free_stacks[loop->free_stack_count++] = it->stack;
}

/* Every wait in a replay is for something recorded earlier, so a thread that has ended in the recording comes
 * to its end here too, without us. */
static void stacks_reclaim(hak_loop *loop)
{
    while (loop->free_stack_count == 0) {
        uint32_t head = atomic_exchange(&loop->exited, 0);
        if (head == 0 && loop->fibers != NULL)
            hak_fiber_yield(&loop->players[0].fiber); /* those who are to exit need this processor */
        else if (head == 0)
            hak_futex_wait(&loop->exited, 0);
        for (; head != 0; head = loop->players[head - 1].next_exited)
            player_join(loop, &loop->players[head - 1]);
    }
}

static HAK_NOINLINE void player_create(hak_loop *loop, uint32_t index)
{
    stacks_reclaim(loop);
    player *it = &loop->players[index];
    it->stack = loop->free_stacks[--loop->free_stack_count];
    char *stack = loop->stacks + it->stack * STACK_BYTES + HAK_OS_PAGE_BYTES;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    hak_fiber_reset(&it->fiber);
    int error = pthread_attr_setstack(&attr, stack, STACK_BYTES - HAK_OS_PAGE_BYTES);
    it->created = true; /* from its start on the thread reads what is here */
    if (error == 0)
        error = pthread_create(&it->handle, &attr, player_main, it);
    if (error != 0) {
        it->created = false;
        loop->error = error;
    }
    pthread_attr_destroy(&attr);
    if (loop->fibers != NULL && it->created)
        hak_fiber_make(&it->fiber, loop->fibers, it->handle,
                       stack + STACK_BYTES - HAK_OS_PAGE_BYTES - HAK_FIBER_BELOW_BYTES, play, it);
}

/* Mapped and touched; size 0 gives a page. NULL with errno. */
static void *own_map(size_t size_bytes)
{
    void *at =
        mmap(NULL, size_bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static int stacks_new(hak_loop *loop)
{
    uint32_t count = loop->head->threads_max + 64;
    if (count < STACKS_MIN)
        count = STACKS_MIN;
    if (count > loop->head->thread_count)
        count = loop->head->thread_count;
    void *at = mmap(NULL, count * STACK_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    loop->free_stacks = own_map(count * sizeof *loop->free_stacks);
    if (at == MAP_FAILED || loop->free_stacks == NULL)
        return -1;
    loop->stacks = at;
    for (uint32_t i = 0; i < count; i++) {
        char *stack = loop->stacks + i * STACK_BYTES;
        if (mprotect(stack, HAK_OS_PAGE_BYTES, PROT_NONE) != 0)
            return -1;
        memset(stack + STACK_BYTES - STACK_TOUCHED_BYTES, 0, STACK_TOUCHED_BYTES);
        memset(stack + STACK_BYTES - HAK_FIBER_BELOW_BYTES - STACK_TOUCHED_BYTES, 0, STACK_TOUCHED_BYTES);
        loop->free_stacks[loop->free_stack_count++] = count - 1 - i;
    }
    return 0;
}

static uint32_t cpu_count(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

/* More threads than processors are carried, except where they wait for the clock. 0, or -1 with errno. */
static int carriers_new(hak_loop *loop)
{
    uint32_t cpus = cpu_count();
    if (loop->head->threads_max <= cpus || loop->head->timing != HAK_W_TIMING_NONE ||
        loop->options.kernel_threads || !hak_fibers_possible())
        return 0;
    char *stacks = own_map(cpus * CARRIER_STACK_BYTES);
    loop->fibers = own_map(sizeof *loop->fibers);
    loop->epochs.fibers = loop->fibers;
    if (stacks == NULL || loop->fibers == NULL)
        return -1;
    errno = hak_fibers_start(loop->fibers, cpus, stacks, CARRIER_STACK_BYTES);
    return errno == 0 ? 0 : -1;
}

static void pass_prepare(hak_loop *loop)
{
    const hak_w_header *head = loop->head;
    if (head->epoch_count != 0)
        memcpy((void *)loop->epochs.left, loop->region + head->epochs_at,
               head->epoch_count * sizeof *loop->epochs.left);
    hak_epochs_start(&loop->epochs);
    atomic_store(&loop->running, head->thread_count);
    atomic_store(&loop->released, 0);
    atomic_store(&loop->failed, 0);
    atomic_store(&loop->exited, 0);
    atomic_store(&loop->idle_ticks, 0);
    if (loop->options.streamed) {
        uint64_t first = window_bytes(loop), all = head->word_count * 8;
        madvise((void *)(uintptr_t)loop->region, all, MADV_DONTNEED);
        madvise((void *)(uintptr_t)loop->region, first < all ? first : all, MADV_POPULATE_READ);
        madvise((void *)(uintptr_t)loop->region, all, MADV_SEQUENTIAL);
        atomic_store(&loop->dropped_bytes, 0);
    }
}

double hak_loop_ticks_per_ns(void)
{
    uint64_t from_ns = hak_os_monotonic_ns(), from_ticks = hak_ticks_now(), now_ns;
    do
        now_ns = hak_os_monotonic_ns();
    while (now_ns - from_ns < TICKS_SPAN_NS);
    return (double)(hak_ticks_now() - from_ticks) / (double)(now_ns - from_ns);
}

hak_loop *hak_loop_new(const uint64_t *region, const hak_api *api, const hak_loop_options *options)
{
    static void (*const streams[HAK_TOUCH_USE + 1][MODE_COUNT])(player *) = {
        [HAK_TOUCH_PAGES] = {run_pages, run_pages_observed, run_pages_latency},
        [HAK_TOUCH_NONE] = {run_none, run_none_observed, run_none_latency},
        [HAK_TOUCH_WHOLE] = {run_whole, run_whole_observed, run_whole_latency},
        [HAK_TOUCH_USE] = {run_use, run_use_observed, run_use_latency},
    };
    run_mode mode = options->latency != NULL ? MODE_LATENCY
                    : options->live != NULL  ? MODE_OBSERVED
                                             : MODE_PLAIN;
    const hak_w_header *head = (const hak_w_header *)region;
    if (head->magic != HAK_W_MAGIC || options->touch > HAK_TOUCH_USE) {
        errno = EINVAL;
        return NULL;
    }
    hak_loop *loop = own_map(sizeof *loop);
    if (loop == NULL)
        return NULL;
    loop->region = region;
    loop->head = head;
    loop->threads = (const hak_w_thread *)(region + head->threads_at);
    loop->api = api;
    loop->options = *options;
    loop->run_stream = streams[options->touch][mode];
    if (loop->options.sites == NULL)
        loop->options.sites = own_map(head->context_count * sizeof *loop->options.sites);
    loop->slots = own_map(head->slot_count * sizeof *loop->slots);
    loop->cells = own_map(head->cell_count * sizeof *loop->cells);
    loop->epochs.left = own_map(head->epoch_count * sizeof *loop->epochs.left);
    loop->epochs.count = head->epoch_count;
    loop->pollution = own_map(options->pollute_bytes);
    loop->ticks_per_ns = head->timing != 0 || options->pollute_bytes != 0 ? hak_loop_ticks_per_ns() : 1;
    loop->players = own_map(head->thread_count * sizeof *loop->players);
    if (loop->options.sites == NULL || loop->slots == NULL || loop->cells == NULL ||
        loop->epochs.left == NULL || loop->players == NULL || loop->pollution == NULL ||
        stacks_new(loop) != 0 || carriers_new(loop) != 0)
        return NULL; /* the process ends: nothing to take back */
    for (uint32_t i = 0; i < head->thread_count; i++) {
        loop->players[i].loop = loop;
        loop->players[i].thread = &loop->threads[i];
        loop->players[i].index = i;
        loop->players[i].waiter.spins = head->threads_max <= cpu_count() ? SPINS_ALONE : SPINS_CROWDED;
        loop->players[i].waiter.fiber = loop->fibers != NULL ? &loop->players[i].fiber : NULL;
        if (mode == MODE_LATENCY)
            loop->players[i].latency =
                options->latency + (size_t)(i % HAK_LOOP_LATENCY_SETS) * HAK_LATENCY_POINT_COUNT;
    }
    pass_prepare(loop);
    return loop;
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The first thread is the first carrier, too; its stream gets a part of its stack. */
static HAK_NOINLINE void carry_all(hak_loop *loop, player *first)
{
    alignas(HAK_CACHE_LINE) volatile char stack[FIRST_STACK_BYTES];
    for (size_t i = 0; i < sizeof stack; i += HAK_OS_PAGE_BYTES)
        stack[i] = 0;
    hak_fiber_reset(&first->fiber);
    hak_fiber_make(&first->fiber, loop->fibers, pthread_self(), (void *)(uintptr_t)(stack + sizeof stack),
                   play, first);
    hak_fibers_run(loop->fibers, loop->head->thread_count);
}

int hak_loop_pass(hak_loop *loop, hak_pass *pass)
{
    player *me = &loop->players[0];
    uint64_t start_cpu_ns = thread_cpu_ns();
    loop->start_ns = hak_os_monotonic_ns();
    loop->start_ticks = hak_ticks_now();
    if (loop->fibers != NULL)
        carry_all(loop, me);
    else
        play(me);
    if (loop->error != 0) {
        errno = loop->error;
        return -1;
    }
    pass->first_cpu_ns = thread_cpu_ns() - start_cpu_ns;
    for (uint32_t left; (left = atomic_load(&loop->running)) != 0;)
        hak_futex_wait(&loop->running, left);
    pass->wall_ns = loop->end_ns - loop->start_ns;
    pass->idle_ns = (uint64_t)((double)atomic_load(&loop->idle_ticks) / loop->ticks_per_ns);
    pass->failed = atomic_load(&loop->failed);
    return 0;
}

void hak_loop_clean(hak_loop *loop)
{
    const uint64_t *left = loop->region + loop->head->left_at;
    for (uint64_t i = 0; i < loop->head->left_count; i++)
        loop->api->free(loop->slots[left[i]]);
    atomic_store(&loop->released, 1);
    hak_futex_wake(&loop->released);
    for (uint32_t i = 1; i < loop->head->thread_count; i++)
        if (loop->players[i].created)
            player_join(loop, &loop->players[i]);
    pass_prepare(loop);
}
