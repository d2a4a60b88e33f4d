/* loop.c: the replay itself. run_stream is the measured loop: it decodes a word, calls the target through a
 * pointer, keeps or hands over the block, and touches it; it is compiled once per way of touching, so that it
 * tests no option. It never hashes, parses, locks or maps. One loop per process; the functions of loop.h are
 * the first thread's. */
#include "replay/loop.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "replay/measure.h"
#include "replay/sync.h"
#include "trace/event.h"

/* Of a replay thread, guard page included. A sanitizer keeps its own state of a thread there. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STACK_BYTES (2 * HAK_MIB)
#else
#define STACK_BYTES (128 * HAK_KIB)
#endif
#define STACK_TOUCHED_BYTES ((size_t)16 << 10) /* holds its descriptor, static TLS and the loop's frames */
#define STACKS_MIN          4096u              /* kept even where fewer threads are alive at once */
#define SPINS_ALONE         2000u              /* before a thread sleeps: every thread has a core */
#define SPINS_CROWDED       20u                /* more threads than cores: whom we wait for needs ours */

typedef struct player {
    alignas(HAK_CACHE_LINE) hak_loop *loop;
    const hak_w_thread *thread;
    uint32_t index;
    uint32_t epoch;
    uint32_t stack;
    uint32_t next_exited; /* index of the player that exited before this one, plus one */
    bool created;
    pthread_t handle;
} player;

struct hak_loop {
    const uint64_t *region;
    const hak_w_header *head;
    const hak_w_thread *threads;
    const hak_api *api;
    hak_loop_options options;
    void (*run_stream)(player *);
    void **slots;
    hak_cell *cells;
    hak_epochs epochs;
    uint32_t spins;
    player *players;
    char *stacks;
    uint32_t *free_stacks;
    uint32_t free_stack_count;
    int error; /* errno of a thread that could not be created */
    uint64_t end_ns;
    alignas(HAK_CACHE_LINE) _Atomic uint32_t running; /* streams not at their end */
    _Atomic uint32_t released;                        /* the pass is over: parked threads go */
    _Atomic uint32_t exited;                          /* head of the list of players that exit, plus one */
    _Atomic uint64_t failed;
};

/* Entry points that a target lacks. */

static const hak_api *filled; /* by hak_api_fill; the fallbacks below have no room for a context */

static void *fall_new_aligned(size_t size, size_t align)
{
    return filled->memalign(align, size);
}

static void fall_delete_aligned(void *block, size_t align)
{
    (void)align;
    filled->free(block);
}

static int fall_posix_memalign(void **block, size_t align, size_t size)
{
    *block = filled->memalign(align, size);
    return *block != NULL ? 0 : ENOMEM;
}

static void *fall_valloc(size_t size)
{
    return filled->memalign(HAK_OS_PAGE_BYTES, size);
}

static void *fall_pvalloc(size_t size)
{
    return size > SIZE_MAX - HAK_OS_PAGE_BYTES
               ? NULL
               : filled->memalign(HAK_OS_PAGE_BYTES, hak_align_up(size, HAK_OS_PAGE_BYTES));
}

static void *fall_reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : filled->realloc(block, bytes);
}

static void fall_free_sized(void *block, size_t size)
{
    (void)size;
    filled->free(block);
}

static void fall_free_aligned_sized(void *block, size_t align, size_t size)
{
    (void)align;
    (void)size;
    filled->free(block);
}

static HAK_TLS_IE uint32_t unused_site;

static uint32_t *fall_replay_site(void)
{
    return &unused_site;
}

#define FILL(member, with)                                                                                   \
    do {                                                                                                     \
        if (api->member == NULL)                                                                             \
            api->member = (with);                                                                            \
    } while (0)

void hak_api_fill(hak_api *api)
{
    filled = api;
    FILL(new_plain, api->malloc);
    FILL(new_array, api->malloc);
    FILL(delete_plain, api->free);
    FILL(delete_array, api->free);
    FILL(new_aligned, fall_new_aligned);
    FILL(new_array_aligned, fall_new_aligned);
    FILL(delete_aligned, fall_delete_aligned);
    FILL(delete_array_aligned, fall_delete_aligned);
    FILL(new_nothrow, api->malloc);
    FILL(new_array_nothrow, api->malloc);
    FILL(aligned_alloc, api->memalign);
    FILL(posix_memalign, fall_posix_memalign);
    FILL(valloc, fall_valloc);
    FILL(pvalloc, fall_pvalloc);
    FILL(reallocarray, fall_reallocarray);
    FILL(replay_site, fall_replay_site);
    FILL(cfree, api->free);
    FILL(free_sized, fall_free_sized);
    FILL(free_aligned_sized, fall_free_aligned_sized);
}

/* What a program does with the part [old, size) of a block it just got. */
HAK_INLINE void touch_block(char *block, uint64_t old, uint64_t size, hak_touch touch)
{
    if (touch == HAK_TOUCH_NONE || old >= size)
        return;
    if (touch == HAK_TOUCH_WHOLE) {
        memset(block + old, 0x5a, size - old);
        return;
    }
    volatile char *at = block + old;
    volatile char *end = block + size;
    do {
        *at = 1;
        at = (volatile char *)hak_align_down((uintptr_t)at + HAK_OS_PAGE_BYTES, HAK_OS_PAGE_BYTES);
    } while (HAK_UNLIKELY(at < end));
}

/* Rare entry points, with everything spelled out. */

static void *generic_alloc(const hak_api *api, hak_op op, unsigned flags, size_t align, size_t size)
{
    bool nothrow = flags & HAK_W_NOTHROW;
    void *block = NULL;
    switch (op) {
    case HAK_OP_CALLOC:
        return api->calloc(1, size);
    case HAK_OP_MEMALIGN:
        return api->memalign(align, size);
    case HAK_OP_ALIGNED_ALLOC:
        return api->aligned_alloc(align, size);
    case HAK_OP_POSIX_MEMALIGN:
        return api->posix_memalign(&block, align < sizeof(void *) ? sizeof(void *) : align, size) == 0 ? block
                                                                                                       : NULL;
    case HAK_OP_VALLOC:
        return api->valloc(size);
    case HAK_OP_PVALLOC:
        return api->pvalloc(size);
    case HAK_OP_NEW:
        return align > 1 ? api->new_aligned(size, align)
               : nothrow ? api->new_nothrow(size)
                         : api->new_plain(size);
    case HAK_OP_NEW_ARRAY:
        return align > 1 ? api->new_array_aligned(size, align)
               : nothrow ? api->new_array_nothrow(size)
                         : api->new_array(size);
    default:
        return api->malloc(size);
    }
}

static void generic_free(const hak_api *api, hak_op op, void *block, size_t align, size_t old)
{
    switch (op) {
    case HAK_OP_CFREE:
        api->cfree(block);
        return;
    case HAK_OP_FREE_SIZED:
        api->free_sized(block, old);
        return;
    case HAK_OP_FREE_ALIGNED_SIZED:
        api->free_aligned_sized(block, align, old);
        return;
    case HAK_OP_DELETE:
        align > 1 ? api->delete_aligned(block, align) : api->delete_plain(block);
        return;
    case HAK_OP_DELETE_ARRAY:
        align > 1 ? api->delete_array_aligned(block, align) : api->delete_array(block);
        return;
    default:
        api->free(block);
    }
}

/* True when an allocation failed that had not. */
static HAK_NOINLINE bool generic(player *me, const uint64_t *words, void **slots, hak_touch touch)
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
        old = flags & HAK_W_FROM_X ? hak_cell_take(&loop->cells[from], loop->spins) : slots[from];
    if (op_class == HAK_CLASS_FREE) {
        generic_free(api, op, old, align, words[3]);
        return false;
    }
    void *block = op_class == HAK_CLASS_ALLOC ? generic_alloc(api, op, flags, align, size)
                  : op == HAK_OP_REALLOCARRAY ? api->reallocarray(old, 1, size)
                                              : api->realloc(old, size);
    if (flags & HAK_W_NO_BLOCK) {
        if (block != NULL)
            api->free(block);
        return false;
    }
    if (block != NULL)
        touch_block(block, words[3], size, touch);
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
        hak_epochs_wait(&loop->epochs, epoch - loop->head->skew);
}

static HAK_NOINLINE void epoch_change(player *me, uint32_t epoch)
{
    hak_epochs_leave(&me->loop->epochs, me->epoch);
    epoch_enter(me, epoch);
}

#define TAKE(word) hak_cell_take(&cells[hak_w_slot(word)], me->loop->spins)

/* Keeps, hands over, touches a block that `call` returned. */
#define GOT(call, put)                                                                                       \
    do {                                                                                                     \
        uint64_t size = hak_w_size(word);                                                                    \
        void *block = (call);                                                                                \
        if (HAK_LIKELY(block != NULL))                                                                       \
            touch_block(block, 0, size, touch);                                                              \
        else                                                                                                 \
            failed += size != 0;                                                                             \
        put;                                                                                                 \
    } while (0)
#define KEEP      (slots[hak_w_slot(word)] = block)
#define HAND_OVER (hak_cell_put(&cells[hak_w_slot(word)], block))

#define REGOT(source, put)                                                                                   \
    do {                                                                                                     \
        uint64_t size = hak_w_size(word);                                                                    \
        uint64_t second = *at++;                                                                             \
        uint32_t from = (uint32_t)(second & HAK_W_SLOT_MASK);                                                \
        void *block = api->realloc((source), size);                                                          \
        if (HAK_LIKELY(block != NULL))                                                                       \
            touch_block(block, second >> HAK_W_SLOT_BITS, size, touch);                                      \
        else                                                                                                 \
            failed += size != 0;                                                                             \
        put;                                                                                                 \
    } while (0)

HAK_INLINE void run(player *me, hak_touch touch, bool watched)
{
    hak_loop *loop = me->loop;
    const hak_api *const api = loop->api;
    const uint64_t *at = loop->region + me->thread->first_word;
    void **const slots = loop->slots + me->thread->slot_base;
    hak_cell *const cells = loop->cells;
    uint32_t *const site = api->replay_site();
    const uint32_t *const sites = loop->options.sites;
    uint64_t failed = 0, begun = 0;
    for (;;) {
        uint64_t word = *at++;
        if (watched && (word & 0xff) <= HAK_W_GENERIC)
            atomic_store_explicit(&loop->options.begun[me->index], ++begun, memory_order_relaxed);
        switch ((hak_w_code)(word & 0xff)) {
        case HAK_W_MALLOC:
            GOT(api->malloc(size), KEEP);
            break;
        case HAK_W_MALLOC_X:
            GOT(api->malloc(size), HAND_OVER);
            break;
        case HAK_W_CALLOC:
            GOT(api->calloc(1, size), KEEP);
            break;
        case HAK_W_CALLOC_X:
            GOT(api->calloc(1, size), HAND_OVER);
            break;
        case HAK_W_NEW:
            GOT(api->new_plain(size), KEEP);
            break;
        case HAK_W_NEW_X:
            GOT(api->new_plain(size), HAND_OVER);
            break;
        case HAK_W_NEW_ARRAY:
            GOT(api->new_array(size), KEEP);
            break;
        case HAK_W_NEW_ARRAY_X:
            GOT(api->new_array(size), HAND_OVER);
            break;
        case HAK_W_FREE:
            api->free(slots[hak_w_slot(word)]);
            break;
        case HAK_W_FREE_X:
            api->free(TAKE(word));
            break;
        case HAK_W_DELETE:
            api->delete_plain(slots[hak_w_slot(word)]);
            break;
        case HAK_W_DELETE_X:
            api->delete_plain(TAKE(word));
            break;
        case HAK_W_DELETE_ARRAY:
            api->delete_array(slots[hak_w_slot(word)]);
            break;
        case HAK_W_DELETE_ARRAY_X:
            api->delete_array(TAKE(word));
            break;
        case HAK_W_REALLOC:
            REGOT(slots[from], KEEP);
            break;
        case HAK_W_REALLOC_X:
            REGOT(slots[from], HAND_OVER);
            break;
        case HAK_W_REALLOC_FROM_X:
            REGOT(hak_cell_take(&cells[from], loop->spins), KEEP);
            break;
        case HAK_W_REALLOC_FROM_X_TO_X:
            REGOT(hak_cell_take(&cells[from], loop->spins), HAND_OVER);
            break;
        case HAK_W_GENERIC:
            failed += generic(me, at - 1, slots, touch);
            at += HAK_W_GENERIC_WORDS - 1;
            break;
        case HAK_W_CONTEXT:
            *site = sites[word >> 8];
            break;
        case HAK_W_EPOCH:
            epoch_change(me, (uint32_t)(word >> 8));
            break;
        case HAK_W_CREATE:
            player_create(loop, (uint32_t)(word >> 8));
            if (HAK_UNLIKELY(loop->error != 0))
                return;
            break;
        case HAK_W_JUMP:
            at = loop->region + (word >> 8);
            break;
        case HAK_W_END:
            if (failed != 0)
                atomic_fetch_add(&loop->failed, failed);
            return;
        default:
            __builtin_unreachable();
        }
    }
}

#define RUN(name, touch, watched)                                                                            \
    static HAK_NOINLINE void name(player *me)                                                                \
    {                                                                                                        \
        run(me, touch, watched);                                                                             \
    }
RUN(run_none, HAK_TOUCH_NONE, false)
RUN(run_pages, HAK_TOUCH_PAGES, false)
RUN(run_whole, HAK_TOUCH_WHOLE, false)
RUN(run_none_watched, HAK_TOUCH_NONE, true)
RUN(run_pages_watched, HAK_TOUCH_PAGES, true)
RUN(run_whole_watched, HAK_TOUCH_WHOLE, true)

/* A stream is at its end: the last of all stops the clock. */
static void stream_end(player *me)
{
    hak_loop *loop = me->loop;
    if (me->thread->first_epoch != HAK_W_EPOCH_NONE)
        hak_epochs_leave(&loop->epochs, me->epoch);
    uint32_t before = atomic_fetch_sub(&loop->running, 1);
    if (before == 1) {
        loop->end_ns = hak_os_monotonic_ns();
        atomic_store(&loop->running, 0);
        hak_futex_wake(&loop->running);
    }
}

static void *player_main(void *argument)
{
    player *me = argument;
    hak_loop *loop = me->loop;
    epoch_enter(me, me->thread->first_epoch);
    loop->run_stream(me);
    stream_end(me);
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
        if (head == 0)
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
    loop->error = pthread_attr_setstack(&attr, stack, STACK_BYTES - HAK_OS_PAGE_BYTES);
    if (loop->error == 0)
        loop->error = pthread_create(&it->handle, &attr, player_main, it);
    it->created = loop->error == 0;
    pthread_attr_destroy(&attr);
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
        loop->free_stacks[loop->free_stack_count++] = count - 1 - i;
    }
    return 0;
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
}

hak_loop *hak_loop_new(const uint64_t *region, const hak_api *api, const hak_loop_options *options)
{
    static void (*const streams[3][2])(player *) = {
        [HAK_TOUCH_PAGES] = {run_pages, run_pages_watched},
        [HAK_TOUCH_NONE] = {run_none, run_none_watched},
        [HAK_TOUCH_WHOLE] = {run_whole, run_whole_watched},
    };
    const hak_w_header *head = (const hak_w_header *)region;
    if (head->magic != HAK_W_MAGIC || options->touch > HAK_TOUCH_WHOLE) {
        errno = EINVAL;
        return NULL;
    }
    hak_loop *loop = own_map(sizeof *loop);
    if (loop == NULL)
        return NULL;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    loop->region = region;
    loop->head = head;
    loop->threads = (const hak_w_thread *)(region + head->threads_at);
    loop->api = api;
    loop->options = *options;
    loop->run_stream = streams[options->touch][options->watched];
    loop->spins = (long)head->threads_max <= cpus ? SPINS_ALONE : SPINS_CROWDED;
    if (loop->options.sites == NULL)
        loop->options.sites = own_map(head->context_count * sizeof *loop->options.sites);
    loop->slots = own_map(head->slot_count * sizeof *loop->slots);
    loop->cells = own_map(head->cell_count * sizeof *loop->cells);
    loop->epochs.left = own_map(head->epoch_count * sizeof *loop->epochs.left);
    loop->epochs.count = head->epoch_count;
    loop->epochs.spins = loop->spins;
    loop->players = own_map(head->thread_count * sizeof *loop->players);
    if (loop->options.sites == NULL || loop->slots == NULL || loop->cells == NULL ||
        loop->epochs.left == NULL || loop->players == NULL || stacks_new(loop) != 0)
        return NULL; /* the process ends: nothing to take back */
    for (uint32_t i = 0; i < head->thread_count; i++) {
        loop->players[i].loop = loop;
        loop->players[i].thread = &loop->threads[i];
        loop->players[i].index = i;
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

int hak_loop_pass(hak_loop *loop, hak_pass *pass)
{
    player *me = &loop->players[0];
    uint64_t start_cpu_ns = thread_cpu_ns();
    uint64_t start_ns = hak_os_monotonic_ns();
    epoch_enter(me, me->thread->first_epoch);
    loop->run_stream(me);
    if (loop->error != 0) {
        errno = loop->error;
        return -1;
    }
    stream_end(me);
    pass->first_cpu_ns = thread_cpu_ns() - start_cpu_ns;
    for (uint32_t left; (left = atomic_load(&loop->running)) != 0;)
        hak_futex_wait(&loop->running, left);
    pass->wall_ns = loop->end_ns - start_ns;
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
