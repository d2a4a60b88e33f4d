/* memory.c: what stays resident. The bounds are far from what a sound allocator needs, and far below what a
 * leak or a burst that is never returned costs. */
#include "rows.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB         ((size_t)1 << 20)
#define BURST_BYTES (500 * MIB)
#define IDLE_MS     2000

static size_t at_start;

/* An array that is not part of the heap under test. */
static void *array_of(size_t count)
{
    void *at = mmap(NULL, count * sizeof(void *), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(at != MAP_FAILED);
    return at;
}

static size_t grown(void)
{
    size_t now = resident_bytes();
    return now > at_start ? now - at_start : 0;
}

static void burst(size_t size, bool reversed)
{
    size_t count = BURST_BYTES / size;
    void **blocks = array_of(count);
    for (size_t i = 0; i < count; i++) {
        EXPECT((blocks[i] = malloc(size)) != NULL);
        memset(blocks[i], 1, size);
    }
    for (size_t i = 0; i < count; i++)
        free(blocks[reversed ? count - 1 - i : i]);
    munmap(blocks, count * sizeof(void *));
}

static void returned_after(size_t size)
{
    free(malloc(10));
    at_start = resident_bytes();
    burst(size, false);
    sleep_ms(IDLE_MS);
    EXPECT_OF(grown() < BURST_BYTES / 10, grown() / MIB);
}

static void burst_small(void)
{
    returned_after(200);
}

static void burst_page(void)
{
    returned_after(4096);
}

static void burst_mid(void)
{
    returned_after(50000);
}

static void burst_large(void)
{
    returned_after(3 * MIB);
}

static void burst_huge(void)
{
    returned_after(100 * MIB);
}

static pthread_barrier_t barrier;

static void *bursting_thread(void *context)
{
    burst(*(size_t *)context, true);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* The thread that burst stays, and does nothing; then it goes. */
static void burst_in_a_thread(void)
{
    size_t size = 1000;
    pthread_barrier_init(&barrier, NULL, 2);
    at_start = resident_bytes();
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, bursting_thread, &size) == 0);
    pthread_barrier_wait(&barrier);
    sleep_ms(IDLE_MS);
    size_t idle = grown();
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    EXPECT_OF(idle < BURST_BYTES / 10, idle / MIB);
    EXPECT_OF(grown() < BURST_BYTES / 10, grown() / MIB);
}

static void *handing_thread(void *context)
{
    void **blocks = context;
    for (size_t i = 0; i < BURST_BYTES / 1000; i++) {
        blocks[i] = malloc(1000);
        memset(blocks[i], 1, 1000);
    }
    return NULL;
}

/* Allocated by a thread that has ended, freed by another. */
static void burst_handed_over(void)
{
    free(malloc(10));
    at_start = resident_bytes();
    void **blocks = array_of(BURST_BYTES / 1000);
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, handing_thread, blocks) == 0);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < BURST_BYTES / 1000; i++)
        free(blocks[i]);
    munmap(blocks, BURST_BYTES / 1000 * sizeof(void *));
    sleep_ms(IDLE_MS);
    EXPECT_OF(grown() < BURST_BYTES / 10, grown() / MIB);
}

/* A window of live blocks whose sizes slide upwards: memory of one size must serve the next. */
static void sliding_sizes(void)
{
    enum { WINDOW_BYTES = 32 << 20 };
    size_t most = WINDOW_BYTES / 16;
    void **blocks = array_of(most);
    size_t *sizes = array_of(most), live = 0, first = 0, last = 0, top = 0;
    uint64_t random = 3;
    at_start = resident_bytes();
    for (double mean = 24; mean < 20000; mean *= 1.0 + 0.0002 * (mean < 200 ? 0.02 : mean < 2000 ? 0.2 : 2)) {
        size_t size = (size_t)mean / 2 + random_next(&random) % (size_t)mean;
        while (live + size > WINDOW_BYTES) {
            free(blocks[first % most]);
            live -= sizes[first % most];
            first++;
        }
        EXPECT((blocks[last % most] = malloc(size)) != NULL);
        memset(blocks[last % most], 1, size);
        sizes[last % most] = size;
        live += size;
        last++;
        if (last % 100000 == 0 && grown() > top)
            top = grown();
    }
    EXPECT_OF(grown() < 3 * (size_t)WINDOW_BYTES, grown() / MIB);
    EXPECT_OF(top < 3 * (size_t)WINDOW_BYTES + 2 * most * 8, top / MIB);
}

/* Of every burst one block in 64 survives and pins what it lies in; the next burst must use the holes. */
static void one_survivor_in_64(void)
{
    enum { ROUNDS = 30, ROUND_BYTES = 16 << 20 };
    uint64_t random = 7;
    size_t survivors = 0, after_ten = 0;
    static void *blocks[ROUND_BYTES / 16];
    free(malloc(10));
    memset(blocks, 0, sizeof blocks);
    at_start = resident_bytes();
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t count = 0;
        for (size_t bytes = 0; bytes < ROUND_BYTES; count++) {
            size_t size = 16 + random_next(&random) % 240;
            blocks[count] = malloc(size);
            memset(blocks[count], 1, size);
            bytes += size;
        }
        for (size_t i = 0; i < count; i++)
            if (i % 64 != 0)
                free(blocks[i]);
            else
                survivors++;
        if (round == 9)
            after_ten = grown();
    }
    /* Live: one round, and survivors of 256 bytes at most: 15 MiB at the end. */
    EXPECT_OF(survivors * 256 < 15 * MIB, survivors);
    EXPECT_OF(after_ten < 60 * MIB, after_ten / MIB);
    EXPECT_OF(grown() < after_ten + 30 * MIB, grown() / MIB);
}

/* 90% freed at random, then larger sizes. */
static void refill_with_larger(void)
{
    enum { COUNT = 800000 };
    static void *blocks[COUNT];
    uint64_t random = 9;
    memset(blocks, 0, sizeof blocks);
    at_start = resident_bytes();
    for (unsigned i = 0; i < COUNT; i++)
        memset(blocks[i] = malloc(100), 1, 100);
    size_t full = grown();
    for (unsigned i = 0; i < COUNT; i++)
        if (random_next(&random) % 10 != 0) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    size_t bytes = 0;
    for (unsigned i = 0; i < COUNT && bytes < 70 * MIB; i++)
        if (blocks[i] == NULL) {
            memset(blocks[i] = malloc(1000), 1, 1000);
            bytes += 1000;
        }
    EXPECT_OF(grown() < full * 9 / 4, grown() / MIB);
}

/* Under a limit that the kernel enforces by killing: what is kept of one size must not stand in another's
 * way. */
#define CGROUP_LIMIT (192 * MIB)

static void bursts_within_the_limit(void)
{
    static const size_t sizes[] = {100, 3000, 50000, 700000, 5 * MIB};
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t count = 96 * MIB / sizes[i];
            void **blocks = array_of(count);
            for (size_t k = 0; k < count; k++) {
                EXPECT((blocks[k] = malloc(sizes[i])) != NULL);
                memset(blocks[k], 1, sizes[i]);
            }
            for (size_t k = 0; k < count; k++)
                free(blocks[k]);
            munmap(blocks, count * sizeof(void *));
        }
}

static bool write_to(const char *folder, const char *file, size_t number)
{
    char path[128], text[32];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int len = snprintf(text, sizeof text, "%zu", number);
    bool done = fd >= 0 && write(fd, text, (size_t)len) == len;
    close(fd);
    return done;
}

static void cgroup_limit(void)
{
    char folder[64];
    snprintf(folder, sizeof folder, "/sys/fs/cgroup/memory/stress.%d", (int)getpid());
    if (mkdir(folder, 0700) != 0)
        row_skip("no memory cgroup may be made");
    int status = -1;
    if (write_to(folder, "memory.limit_in_bytes", CGROUP_LIMIT)) {
        pid_t pid = fork();
        if (pid == 0) {
            if (!write_to(folder, "tasks", (size_t)getpid()))
                _exit(9);
            execl("/proc/self/exe", "stress", "--row", ".bursts_within_the_limit", (char *)NULL);
            _exit(127);
        }
        EXPECT(waitpid(pid, &status, 0) == pid);
    }
    rmdir(folder);
    EXPECT_OF(status == 0, status);
}

static void few_mappings(void)
{
    size_t count = 512 * MIB / 1000, before = mapping_count();
    void **blocks = array_of(count);
    for (size_t i = 0; i < count; i++)
        EXPECT((blocks[i] = malloc(1000)) != NULL);
    size_t most = mapping_count();
    EXPECT_OF(most < before + 60, most); /* 1,000 for 10 GiB */
    for (size_t i = 0; i < count; i++)
        if (i % 3 != 0)
            free(blocks[i]);
    sleep_ms(600);
    for (size_t i = 0; i < 100000; i++)
        free(malloc(i));
    EXPECT_OF(mapping_count() < before + 400, mapping_count());
}

/* Large and mid blocks come and go for long: neither bytes nor mappings pile up. */
static void large_churn(void)
{
    enum { COUNT = 64 };
    void *blocks[COUNT] = {NULL};
    uint64_t random = 21;
    size_t settled = 0, mapped = 0, rounds = scaled(30000);
    for (size_t i = 0; i < rounds; i++) {
        unsigned which = (unsigned)(random_next(&random) % COUNT);
        free(blocks[which]);
        size_t size = 30000 + random_size(&random, i % 4 ? 400000 : 6 * MIB);
        EXPECT((blocks[which] = malloc(size)) != NULL);
        *(char *)blocks[which] = 1;
        ((char *)blocks[which])[size - 1] = 1;
        if (i == rounds / 5) {
            settled = resident_bytes();
            mapped = mapped_bytes();
        }
    }
    EXPECT_OF(resident_bytes() < settled + 100 * MIB, resident_bytes() / MIB);
    EXPECT_OF(mapped_bytes() < mapped + 1000 * MIB, mapped_bytes() / MIB);
    EXPECT_OF(mapping_count() < 1000, mapping_count());
}

static void growing_by_realloc(void)
{
    char *at = malloc(1);
    at_start = resident_bytes();
    for (size_t size = 4096; size <= 200 * MIB; size += size / 16 + 4096) {
        EXPECT_OF((at = realloc(at, size)) != NULL, size);
        memset(at + size * 15 / 16, 1, size - size * 15 / 16);
        EXPECT_OF(grown() < size * 5 / 2 + 32 * MIB, size / MIB);
    }
    at = realloc(at, 100);
    sleep_ms(IDLE_MS);
    EXPECT_OF(grown() < 40 * MIB, grown() / MIB);
    free(at);
}

/* The program itself takes 1-2 MiB; what a small program pays for us. */
static void small_program(void)
{
    for (unsigned i = 0; i < 1000; i++)
        free(malloc(i));
    EXPECT_OF(resident_bytes() < 6 * MIB, resident_bytes() / 1024);
}

/* The same block again and again, in each size: nothing piles up. */
static void same_again(void)
{
    static const size_t sizes[] = {8, 100, 1000, 5000, 40000, 300000, 2 * MIB, 70 * MIB};
    size_t settled = 0;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t k = 0; k < (sizes[i] > MIB ? 200 : scaled(20000)); k++) {
                char *at = memalign(k % 2 ? 16 : 64, sizes[i]);
                at[0] = 1;
                free(at);
            }
        if (round == 0)
            settled = resident_bytes();
    }
    EXPECT_OF(resident_bytes() < settled + 8 * MIB, resident_bytes() / 1024);
}

static const stress_row table[] = {
    {"burst_small", burst_small, 60},
    {"burst_page", burst_page, 60},
    {"burst_mid", burst_mid, 60},
    {"burst_large", burst_large, 60},
    {"burst_huge", burst_huge, 60},
    {"burst_in_a_thread", burst_in_a_thread, 60},
    {"burst_handed_over", burst_handed_over, 60},
    {"sliding_sizes", sliding_sizes, 60},
    {"one_survivor_in_64", one_survivor_in_64, 60},
    {"refill_with_larger", refill_with_larger, 60},
    {".bursts_within_the_limit", bursts_within_the_limit, 60},
    {"cgroup_limit", cgroup_limit, 60},
    {"few_mappings", few_mappings, 60},
    {"large_churn", large_churn, 60},
    {"growing_by_realloc", growing_by_realloc, 60},
    {"small_program", small_program, 0},
    {"same_again", same_again, 60},
};

ROWS_MAIN(table)
