/* bench_worker.c: one scenario under whatever allocator is preloaded: bench_worker SCENARIO ITERATIONS
 * THREADS [LOW HIGH BLOCKS]. Started by bench_allocators, which gives it a shared file as descriptor 3. Its
 * own memory is mapped and touched before the clock starts; random numbers are drawn then too. Each thread
 * runs the scenario on its own state, except larson (threads hand their blocks to a successor) and xfree (to
 * a neighbour). */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "scenarios.h"

#define DRAWN       65536u /* random numbers per thread, used round and round */
#define BLOCKS_MAX  65536u
#define THREADS_MAX 256u
#define PAGE        4096u
#define MIB         (1024u * 1024u)
#define RING        64u /* batches under way between two threads of xfree */
#define BATCH       64u
#define HANDOVER    100000u /* larson: replacements after which a thread hands over */

typedef struct ring {
    _Alignas(64) _Atomic uint64_t head; /* batches taken */
    _Alignas(64) _Atomic uint64_t tail; /* batches put */
    char *blocks[RING][BATCH];
} ring;

typedef struct worker {
    _Alignas(64) uint32_t *sizes; /* [DRAWN] */
    uint16_t *places;             /* [DRAWN] */
    char **blocks;                /* [BLOCKS_MAX] */
    ring *in, *out;
    uint64_t iterations;
    uint64_t operations;
    uint64_t rest_ns; /* not to be counted */
    uint64_t start_ns, end_ns;
    uint64_t random;
    pthread_t handle;
    uint32_t live;
} worker;

static worker workers[THREADS_MAX];
static uint32_t thread_count;
static scenario chosen;
static uint32_t size_low, size_high, live_blocks; /* of larson; 0: its own */
static pthread_barrier_t start_line;

/* With one thread the processor time of the process: what elapsed on an idle machine, and undisturbed on a
 * busy one. */
static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(thread_count == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t draw(worker *w)
{
    w->random ^= w->random << 13; /* xorshift64 (Marsaglia 2003) */
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED)
        _exit(3);
    return at;
}

static char *get(size_t size)
{
    char *block = malloc(size);
    if (block == NULL)
        _exit(4);
    return block;
}

static void write_ends(char *block, size_t size)
{
    ((volatile char *)block)[0] = 1;
    ((volatile char *)block)[size - 1] = 1;
}

static void write_pages(char *block, size_t size)
{
    for (size_t at = 0; at < size; at += PAGE)
        ((volatile char *)block)[at] = 1;
    ((volatile char *)block)[size - 1] = 1;
}

static uint32_t draw_size(worker *w, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(draw(w) >> 20) % (high - low + 1);
}

static void prepare(worker *w, uint32_t index, uint64_t iterations)
{
    w->random = 0x9e3779b97f4a7c15u * (index + 1);
    w->iterations = iterations;
    w->sizes = map(DRAWN * sizeof *w->sizes);
    w->places = map(DRAWN * sizeof *w->places);
    w->blocks = map(BLOCKS_MAX * sizeof *w->blocks);
    uint32_t low = 8, high = 256;
    w->live = 1024;
    switch (chosen) {
    case SCENARIO_json:
        low = 16;
        high = 192;
        break;
    case SCENARIO_mir:
        low = 1024;
        high = 32768;
        w->live = 256;
        break;
    case SCENARIO_large:
        low = 64 * 1024;
        high = 8 * MIB;
        w->live = 24;
        break;
    case SCENARIO_larson:
        low = size_low != 0 ? size_low : 10;
        high = size_high != 0 ? size_high : 500;
        w->live = live_blocks != 0 ? live_blocks : 1000;
        break;
    case SCENARIO_xfree:
    case SCENARIO_refill:
        low = 16;
        break;
    default:
        break;
    }
    for (uint32_t i = 0; i < DRAWN; i++) {
        w->places[i] = (uint16_t)(draw(w) % w->live);
        w->sizes[i] = draw_size(w, low, high);
        if (chosen == SCENARIO_mixed) {
            uint32_t dice = (uint32_t)(draw(w) % 100);
            w->sizes[i] = dice < 80   ? draw_size(w, 8, 512)
                          : dice < 95 ? draw_size(w, 512, 8192)
                          : dice < 99 ? draw_size(w, 8192, 65536)
                                      : draw_size(w, 65536, MIB);
        }
    }
}

static void free_all(worker *w)
{
    for (uint32_t i = 0; i < w->live; i++) {
        free(w->blocks[i]);
        w->blocks[i] = NULL;
    }
}

static void run_tiny_hot(worker *w)
{
    for (uint64_t i = 0; i < w->iterations; i++) {
        char *block = get(16 + (i & 3) * 16);
        *(volatile char *)block = 1;
        free(block);
    }
    w->operations = w->iterations;
}

enum { ENDS, PAGES, FIRST };

static inline __attribute__((always_inline)) void replace(worker *w, bool fifo, int touch)
{
    for (uint64_t i = 0; i < w->iterations; i++) {
        uint32_t place = fifo ? (uint32_t)(i % w->live) : w->places[i % DRAWN];
        size_t size = w->sizes[(i * 7) % DRAWN];
        free(w->blocks[place]);
        char *block = get(size);
        if (touch == FIRST)
            *(volatile char *)block = 1;
        else if (touch == ENDS)
            write_ends(block, size);
        else
            write_pages(block, size);
        w->blocks[place] = block;
    }
    w->operations = w->iterations;
    free_all(w);
}

static void run_tiny(worker *w)
{
    replace(w, false, FIRST);
}

static void run_tiny_fifo(worker *w)
{
    replace(w, true, FIRST);
}

static void run_mir(worker *w)
{
    replace(w, false, ENDS);
}

static void run_mixed(worker *w)
{
    replace(w, false, ENDS);
}

static void run_large(worker *w)
{
    replace(w, false, PAGES);
}

static void run_json(worker *w)
{
    char *blocks[64];
    for (uint64_t i = 0; i < w->iterations; i++) {
        for (uint32_t k = 0; k < 64; k++) {
            blocks[k] = get(w->sizes[(i * 64 + k) % DRAWN]);
            *(volatile char *)blocks[k] = 1;
        }
        for (uint32_t k = 64; k-- > 0;)
            free(blocks[k]);
    }
    w->operations = w->iterations * 64;
}

static void run_vm(worker *w)
{
    for (uint64_t i = 0; i < w->iterations; i++) {
        char *block = get(2 * MIB);
        write_pages(block, 2 * MIB);
        free(block);
    }
    w->operations = w->iterations;
}

static void run_vm_ends(worker *w)
{
    for (uint64_t i = 0; i < w->iterations; i++) {
        char *block = get(2 * MIB);
        write_ends(block, 2 * MIB);
        free(block);
    }
    w->operations = w->iterations;
}

static void run_vm16(worker *w)
{
    char *blocks[16];
    for (uint64_t i = 0; i < w->iterations; i++) {
        for (uint32_t k = 0; k < 16; k++) {
            blocks[k] = get(2 * MIB);
            write_pages(blocks[k], 2 * MIB);
        }
        for (uint32_t k = 0; k < 16; k++)
            free(blocks[k]);
    }
    w->operations = w->iterations * 16;
}

static void run_vm_gap(worker *w)
{
    for (uint64_t i = 0; i < w->iterations; i++) {
        uint64_t before = now_ns();
        const struct timespec rest = {0, 5000000};
        nanosleep(&rest, NULL);
        w->rest_ns += now_ns() - before;
        char *block = get(2 * MIB);
        write_pages(block, 2 * MIB);
        free(block);
    }
    w->operations = w->iterations;
}

/* Replaces blocks; after HANDOVER of them a new thread goes on with what is live, and this one ends. */
static void *run_larson_on(void *argument)
{
    worker *w = argument;
    uint64_t end = w->operations + HANDOVER < w->iterations ? w->operations + HANDOVER : w->iterations;
    for (uint64_t i = w->operations; i < end; i++) {
        uint32_t place = w->places[i % DRAWN];
        size_t size = w->sizes[(i * 7) % DRAWN];
        free(w->blocks[place]);
        w->blocks[place] = get(size);
        write_ends(w->blocks[place], size);
    }
    w->operations = end;
    return NULL;
}

static void run_larson(worker *w)
{
    while (w->operations < w->iterations) {
        pthread_t next;
        if (pthread_create(&next, NULL, run_larson_on, w) != 0)
            _exit(5);
        pthread_join(next, NULL);
    }
    free_all(w);
}

static void wait_for(const _Atomic uint64_t *counter, uint64_t unlike)
{
    for (uint32_t spins = 0; atomic_load_explicit(counter, memory_order_acquire) == unlike; spins++)
        if (spins > 100)
            sched_yield();
}

static void batch_make(worker *w, uint64_t number)
{
    ring *out = w->out;
    while (number - atomic_load_explicit(&out->head, memory_order_acquire) >= RING)
        sched_yield();
    char **batch = out->blocks[number % RING];
    for (uint32_t k = 0; k < BATCH; k++) {
        batch[k] = get(w->sizes[(number * BATCH + k) % DRAWN]);
        *(volatile char *)batch[k] = 1;
    }
    atomic_store_explicit(&out->tail, number + 1, memory_order_release);
}

static void batch_free(worker *w, uint64_t number)
{
    ring *in = w->in;
    wait_for(&in->tail, number);
    char **batch = in->blocks[number % RING];
    for (uint32_t k = 0; k < BATCH; k++)
        free(batch[k]);
    atomic_store_explicit(&in->head, number + 1, memory_order_release);
}

/* Two threads: one makes, one frees. One, or more than two: each makes for the next and frees the last one's.
 */
static void run_xfree(worker *w)
{
    uint64_t batches = w->iterations / BATCH;
    bool makes = thread_count != 2 || w == &workers[0];
    bool frees = thread_count != 2 || w == &workers[1];
    for (uint64_t i = 0; i < batches; i++) {
        if (makes)
            batch_make(w, i);
        if (frees)
            batch_free(w, i);
    }
    w->operations = makes ? batches * BATCH : 0;
}

static void run_sh(worker *w)
{
    enum { RUN = 5000 };
    for (uint64_t i = 0; i < w->iterations; i++) {
        for (uint32_t k = 0; k < RUN; k++) {
            w->blocks[k] = get(1 + k / 5 + i % 7);
            *(volatile char *)w->blocks[k] = 1;
        }
        for (uint32_t k = 0; k < RUN; k += 2)
            free(w->blocks[k]);
        for (uint32_t k = RUN; k-- > 0;)
            if (k % 2 != 0)
                free(w->blocks[k]);
    }
    memset(w->blocks, 0, RUN * sizeof *w->blocks);
    w->operations = w->iterations * RUN;
}

/* What a heap full of holes costs: the memory is what counts here. */
static void run_refill(worker *w)
{
    enum { FILLED = 200000, TENTH = 10, LARGER = 4 };
    char **blocks = map(FILLED * sizeof *blocks);
    for (uint64_t i = 0; i < w->iterations; i++) {
        for (uint32_t k = 0; k < FILLED; k++) {
            size_t size = w->sizes[(i + k) % DRAWN];
            blocks[k] = get(size);
            write_ends(blocks[k], size);
        }
        for (uint32_t k = 0; k < FILLED; k++) {
            if (draw(w) % TENTH == 0)
                continue;
            free(blocks[k]);
            blocks[k] = NULL;
        }
        for (uint32_t k = 0; k < FILLED; k++) {
            if (blocks[k] != NULL)
                continue;
            size_t size = LARGER * w->sizes[(i + k) % DRAWN];
            blocks[k] = get(size);
            write_ends(blocks[k], size);
            w->operations++;
        }
        for (uint32_t k = 0; k < FILLED; k++)
            free(blocks[k]);
        w->operations += FILLED;
    }
    munmap(blocks, FILLED * sizeof *blocks);
}

static void run_realloc_grow(worker *w)
{
    for (uint64_t i = 0; i < w->iterations; i++) {
        char *block = NULL;
        for (size_t size = 1024; size <= 32 * (size_t)MIB; size += size / 4) {
            block = realloc(block, size);
            if (block == NULL)
                _exit(4);
            ((volatile char *)block)[size - 1] = 1;
            w->operations++;
        }
        free(block);
    }
}

static const struct {
    const char *text;
    void (*run)(worker *);
} scenarios[] = {
#define X(name, text, iterations, help) {text, run_##name},
    BENCH_SCENARIOS(X)
#undef X
};

/* Each thread reads the clock itself: on a machine whose processors all run threads of ours, another thread
 * would be let in to read it only when much of the work is done. */
static void *worker_main(void *argument)
{
    worker *w = argument;
    if (thread_count > 1)
        pthread_barrier_wait(&start_line);
    w->start_ns = now_ns();
    scenarios[chosen].run(w);
    w->end_ns = now_ns();
    return NULL;
}

/* A number of /proc/self/status in bytes. Plain system calls: stdio would call malloc. */
static uint64_t status_bytes(const char *key)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[len > 0 ? len : 0] = '\0';
    const char *at = strstr(text, key);
    return at != NULL ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

static void peak_reset(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "5", 1) != 1)
        _exit(6);
    close(fd);
}

static void run_threads(bench_result *result)
{
    struct rusage before, after;
    peak_reset();
    uint64_t base = status_bytes("\nVmRSS:");
    getrusage(RUSAGE_SELF, &before);
    if (thread_count == 1) {
        worker_main(&workers[0]);
    } else {
        pthread_barrier_init(&start_line, NULL, thread_count);
        for (uint32_t i = 0; i < thread_count; i++)
            if (pthread_create(&workers[i].handle, NULL, worker_main, &workers[i]) != 0)
                _exit(5);
        for (uint32_t i = 0; i < thread_count; i++)
            pthread_join(workers[i].handle, NULL);
    }
    getrusage(RUSAGE_SELF, &after);
    uint64_t peak = status_bytes("\nVmHWM:");
    uint64_t start = UINT64_MAX, end = 0, rest = 0;
    for (uint32_t i = 0; i < thread_count; i++) {
        result->operations += workers[i].operations;
        rest = workers[i].rest_ns > rest ? workers[i].rest_ns : rest;
        start = workers[i].start_ns < start ? workers[i].start_ns : start;
        end = workers[i].end_ns > end ? workers[i].end_ns : end;
    }
    result->time_ns = end - start - rest;
    result->peak_rss_bytes = peak > base ? peak - base : 0;
    result->minor_faults = (uint64_t)(after.ru_minflt - before.ru_minflt);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    bench_result *result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
    if (result == MAP_FAILED)
        return 2;
    for (chosen = 0; chosen < SCENARIO_COUNT && strcmp(argv[1], scenarios[chosen].text) != 0;)
        chosen++;
    uint64_t iterations = strtoull(argv[2], NULL, 10);
    thread_count = (uint32_t)strtoul(argv[3], NULL, 10);
    if (chosen == SCENARIO_COUNT || thread_count == 0 || thread_count > THREADS_MAX)
        return 2;
    if (argc > 6) {
        size_low = (uint32_t)strtoul(argv[4], NULL, 10);
        size_high = (uint32_t)strtoul(argv[5], NULL, 10);
        live_blocks = (uint32_t)strtoul(argv[6], NULL, 10);
        if (size_low == 0 || size_high < size_low || live_blocks == 0 || live_blocks > BLOCKS_MAX)
            return 2;
    }
    for (uint32_t i = 0; i < thread_count; i++) {
        prepare(&workers[i], i, iterations);
        workers[i].out = map(sizeof(ring));
    }
    for (uint32_t i = 0; i < thread_count; i++)
        workers[(i + 1) % thread_count].in = workers[i].out;
    run_threads(result);
    Dl_info info;
    if (dladdr((void *)malloc, &info) != 0 && info.dli_fname != NULL)
        strncpy(result->library, info.dli_fname, sizeof result->library - 1);
    result->done = 1;
    return 0;
}
