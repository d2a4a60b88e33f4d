/* conform.c: entry points and values, as their manuals promise them. */
#include "rows.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ERRNO_MARK 4242
#define BIG        ((size_t)PTRDIFF_MAX + 1)

static bool aligned_to(const void *at, size_t align)
{
    return ((uintptr_t)at & (align - 1)) == 0;
}

/* Sizes on and beside every border a size class could have, to `max`. Returns 0 at the end. */
static size_t border_size(size_t *state, size_t max)
{
    size_t step = *state / 3, side = *state % 3;
    *state += 1;
    size_t base = step < 128 ? step * 16 : (size_t)(8 + (step - 128) % 8) << (8 + (step - 128) / 8);
    return base + side > max ? 0 : base + side;
}

static void size_zero(void)
{
    void *blocks[64];
    for (unsigned i = 0; i < 64; i++) {
        blocks[i] = i % 2 ? malloc(0) : calloc(i % 4 ? 0 : 8, i % 4 ? 8 : 0);
        EXPECT(blocks[i] != NULL);
        for (unsigned k = 0; k < i; k++)
            EXPECT(blocks[k] != blocks[i]);
    }
    for (unsigned i = 0; i < 64; i++)
        free(blocks[i]);
    void *at = NULL;
    EXPECT(posix_memalign(&at, 64, 0) == 0);
    free(at);
    free(NULL);
}

static void refuses(void *result, void *old)
{
    EXPECT(result == NULL);
    EXPECT(errno == ENOMEM);
    errno = 0;
    EXPECT(pattern_holds(old, 1000, 7));
}

static void too_large(void)
{
    static const size_t sizes[] = {BIG,
                                   SIZE_MAX,
                                   SIZE_MAX - 1,
                                   SIZE_MAX - 15,
                                   SIZE_MAX - 16,
                                   SIZE_MAX - 4095,
                                   SIZE_MAX - 4096,
                                   SIZE_MAX - (1 << 21),
                                   SIZE_MAX / 2 + 2,
                                   (size_t)1 << 62,
                                   PTRDIFF_MAX};
    void *old = malloc(1000);
    EXPECT(old != NULL);
    pattern_fill(old, 1000, 7);
    errno = 0;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        refuses(malloc(size), old);
        refuses(calloc(1, size), old);
        refuses(calloc(size, 1), old);
        refuses(realloc(old, size), old);
        refuses(realloc(NULL, size), old);
        refuses(memalign(64, size), old);
        refuses(memalign(1 << 20, size), old);
        refuses(aligned_alloc(4096, size), old);
        refuses(valloc(size), old);
        refuses(pvalloc(size), old);
        void *at = old;
        EXPECT(posix_memalign(&at, 64, size) == ENOMEM);
        EXPECT(at == old);
    }
    free(old);
}

/* What no address space holds is refused to blocks of every kind, not counted in units that overflow. */
static void realloc_beyond_memory(void)
{
    static const size_t starts[] = {100, 40000, 300000, 3 << 20, 20 << 20, 80 << 20};
    for (unsigned i = 0; i < sizeof starts / sizeof *starts; i++) {
        unsigned char *old = malloc(starts[i]);
        EXPECT(old != NULL);
        pattern_fill(old, 100, 7);
        for (unsigned shift = 47; shift < 63; shift++)
            for (size_t more = 0; more < 200000; more += 40000) {
                errno = 0;
                EXPECT_OF(realloc(old, ((size_t)1 << shift) + more) == NULL, shift);
                EXPECT(errno == ENOMEM && pattern_holds(old, 100, 7));
            }
        EXPECT(malloc_usable_size(old) < starts[i] * 3);
        free(old);
    }
}

static void multiply_overflow(void)
{
    static const size_t pairs[][2] = {{SIZE_MAX, 2},
                                      {2, SIZE_MAX},
                                      {(size_t)1 << 32, (size_t)1 << 32},
                                      {SIZE_MAX / 16 + 2, 16},
                                      {SIZE_MAX / 2, 3}};
    void *old = malloc(1000);
    pattern_fill(old, 1000, 7);
    errno = 0;
    for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        refuses(calloc(pairs[i][0], pairs[i][1]), old);
        refuses(reallocarray(old, pairs[i][0], pairs[i][1]), old);
        refuses(reallocarray(NULL, pairs[i][0], pairs[i][1]), old);
    }
    old = reallocarray(old, 500, 4);
    EXPECT(old != NULL && pattern_holds(old, 1000, 7));
    free(old);
}

static void errno_kept(void)
{
    for (size_t size = 1; size <= (size_t)96 << 20; size = size * 3 + 5) {
        errno = ERRNO_MARK;
        void *a = malloc(size);
        EXPECT_OF(errno == ERRNO_MARK, size);
        void *b = calloc(1, size);
        EXPECT_OF(errno == ERRNO_MARK, size);
        a = realloc(a, size + size / 2);
        EXPECT_OF(errno == ERRNO_MARK, size);
        void *c = memalign(4096, size);
        EXPECT_OF(errno == ERRNO_MARK, size);
        free(b);
        free(a);
        free(c);
        EXPECT_OF(errno == ERRNO_MARK, size);
        malloc_trim(0);
        EXPECT_OF(errno == ERRNO_MARK, size);
    }
}

static void alignment_natural(void)
{
    size_t state = 0;
    for (size_t size; (size = border_size(&state, 1 << 22)) != 0 || state < 3;) {
        void *a = malloc(size);
        void *b = calloc(1, size);
        void *c = realloc(malloc(1), size + 1);
        EXPECT_OF(a != NULL && aligned_to(a, 16), size);
        EXPECT_OF(b != NULL && aligned_to(b, 16), size);
        EXPECT_OF(c != NULL && aligned_to(c, 16), size);
        free(a);
        free(b);
        free(c);
    }
}

static void alignment_asked(void)
{
    for (size_t align = 16; align <= (size_t)1 << 30; align *= 2) {
        static const size_t sizes[] = {1, 8, 24, 100, 256, 1000, 4096, 5000, 40000, 1 << 20, 3 << 20};
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            if (align > (size_t)1 << 24 && sizes[i] > 5000)
                continue;
            void *blocks[4];
            blocks[0] = memalign(align, sizes[i]);
            blocks[1] = aligned_alloc(align, (sizes[i] + align - 1) & ~(align - 1));
            EXPECT_OF(posix_memalign(&blocks[2], align, sizes[i]) == 0, align);
            blocks[3] = memalign(align, align <= (size_t)1 << 24 ? align : 1);
            for (unsigned k = 0; k < 4; k++) {
                EXPECT_OF(blocks[k] != NULL && aligned_to(blocks[k], align), align);
                EXPECT_OF(malloc_usable_size(blocks[k]) >= (k == 3 ? 1 : sizes[i]), align);
                pattern_fill(blocks[k], k == 3 ? 1 : sizes[i], align + k);
            }
            for (unsigned k = 0; k < 4; k++)
                EXPECT_OF(k == 3 || pattern_holds(blocks[k], sizes[i], align + k), align);
            /* They are ordinary blocks afterwards. */
            blocks[0] = realloc(blocks[0], sizes[i] + 3000);
            EXPECT_OF(blocks[0] != NULL && pattern_holds(blocks[0], sizes[i], align), align);
            for (unsigned k = 0; k < 4; k++)
                free(blocks[k]);
        }
    }
}

/* Many at once: a misaligned one hides behind lucky addresses when each is freed at once. */
static void alignment_many(void)
{
    enum { COUNT = 400 };
    static void *blocks[COUNT];
    for (size_t align = 32; align <= 65536; align *= 2)
        for (unsigned shape = 0; shape < 4; shape++) {
            size_t size = shape == 0 ? align : shape == 1 ? align + 1 : shape == 2 ? align / 2 : 24;
            for (unsigned i = 0; i < COUNT; i++) {
                blocks[i] = memalign(align, size);
                EXPECT_OF(blocks[i] != NULL && aligned_to(blocks[i], align), align);
                pattern_fill(blocks[i], size, i);
            }
            for (unsigned i = 0; i < COUNT; i++) {
                EXPECT_OF(pattern_holds(blocks[i], size, i), align);
                free(blocks[i]);
            }
        }
}

static void alignment_refused(void)
{
    static const size_t bad[] = {0, 1, 2, 3, 4, 7, 9, 12, 24, 48, 100, 4095, SIZE_MAX, ((size_t)1 << 63) + 1};
    int mark;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *at = &mark;
        EXPECT_OF(posix_memalign(&at, bad[i], 100) == EINVAL, bad[i]);
        EXPECT_OF(at == &mark, bad[i]);
    }
    void *at = NULL;
    EXPECT(posix_memalign(&at, sizeof(void *), 100) == 0);
    free(at);
    at = &mark;
    errno = ERRNO_MARK;
    EXPECT(posix_memalign(&at, 64, BIG) == ENOMEM && at == &mark);
    at = NULL;
    EXPECT(posix_memalign(&at, (size_t)1 << 62, 100) == ENOMEM);
    EXPECT(memalign((size_t)1 << 62, 100) == NULL && errno == ENOMEM);
    /* memalign rounds small and crooked alignments up, as glibc's does. */
    static const size_t crooked[] = {1, 2, 8, 24, 100};
    for (unsigned i = 0; i < sizeof crooked / sizeof *crooked; i++) {
        char *block = memalign(crooked[i], 100);
        EXPECT_OF(block != NULL && (uintptr_t)block % 16 == 0, crooked[i]);
        free(block);
    }
}

static void usable_size(void)
{
    EXPECT(malloc_usable_size(NULL) == 0);
    size_t state = 0;
    for (size_t size; (size = border_size(&state, 5 << 20)) != 0 || state < 3;) {
        char *a = malloc(size), *b = malloc(size);
        size_t room = malloc_usable_size(a);
        EXPECT_OF(room >= size, size);
        EXPECT_OF(room <= size + size / 2 + 65536, size);
        pattern_fill(a, room, size);
        pattern_fill(b, malloc_usable_size(b), size + 1);
        EXPECT_OF(pattern_holds(a, room, size), size);
        a = realloc(a, room); /* stays put and whole */
        EXPECT_OF(pattern_holds(a, room, size), size);
        free(a);
        free(b);
    }
}

static void calloc_zero(void)
{
    size_t state = 0;
    for (size_t size; (size = border_size(&state, 20 << 20)) != 0 || state < 3;) {
        unsigned rounds = size > 1 << 20 ? 1 : 4;
        void *dirty[4];
        for (unsigned i = 0; i < rounds; i++) {
            dirty[i] = malloc(size);
            memset(dirty[i], 0xa5, malloc_usable_size(dirty[i]));
        }
        for (unsigned i = 0; i < rounds; i++)
            free(dirty[i]);
        for (unsigned i = 0; i < rounds; i++) {
            dirty[i] = calloc(size == 0 ? 1 : size, 1);
            EXPECT_OF(dirty[i] != NULL && all_zero(dirty[i], size), size);
        }
        for (unsigned i = 0; i < rounds; i++)
            free(dirty[i]);
    }
}

static void realloc_values(void)
{
    char *at = realloc(NULL, 100);
    EXPECT(at != NULL && malloc_usable_size(at) >= 100);
    pattern_fill(at, 100, 1);
    EXPECT(realloc(at, 0) == NULL);     /* glibc's: frees */
    for (unsigned i = 0; i < 1000; i++) /* and does not leak a block each time */
        EXPECT(realloc(realloc(NULL, 1 << 20), 0) == NULL);
    EXPECT(resident_bytes() < (size_t)200 << 20);
}

/* What a block that grew, shrank and grew a little left behind reads as zero in the next ones. */
static void calloc_after_growth(void)
{
    for (size_t top = 100000; top < (size_t)20 << 20; top *= 3) {
        char *at = NULL;
        for (size_t size = 1000; size < top; size += size / 3) {
            EXPECT((at = realloc(at, size)) != NULL);
            memset(at, 0x5a, size);
        }
        EXPECT((at = realloc(at, top / 2)) != NULL);
        EXPECT((at = realloc(at, top / 2 + 5000)) != NULL);
        EXPECT(at[top / 2 - 1] == 0x5a);
        free(at);
        char *all[4];
        for (unsigned i = 0; i < 4; i++)
            EXPECT_OF((all[i] = calloc(1, 2 * top)) != NULL && all_zero(all[i], 2 * top), top);
        for (unsigned i = 0; i < 4; i++)
            free(all[i]);
    }
}

static void realloc_borders(void)
{
    size_t state = 0;
    char *walker = malloc(1);
    size_t before = 1;
    pattern_fill(walker, before, 3);
    for (size_t size; (size = border_size(&state, 5 << 20)) != 0 || state < 3;) {
        if (size == 0)
            continue;
        walker = realloc(walker, size);
        EXPECT_OF(walker != NULL && aligned_to(walker, 16), size);
        size_t kept = size < before ? size : before;
        EXPECT_OF(pattern_holds(walker, kept & ~(size_t)7, 3), size);
        pattern_fill(walker, size, 3);
        before = size;
    }
    /* Down again, and from each size to a far smaller and a far larger one. */
    while (before > 1) {
        size_t size = before * 7 / 8;
        walker = realloc(walker, size);
        EXPECT_OF(walker != NULL && pattern_holds(walker, size & ~(size_t)7, 3), size);
        before = size;
    }
    free(walker);
    for (size_t from = 1; from <= (size_t)64 << 20; from = from * 9 + 3)
        for (size_t to = 1; to <= (size_t)64 << 20; to = to * 11 + 1) {
            char *at = malloc(from);
            size_t kept = (from < to ? from : to) & ~(size_t)7;
            pattern_fill(at, from & ~(size_t)7, from);
            at = realloc(at, to);
            EXPECT_OF(at != NULL && pattern_holds(at, kept, from), from);
            EXPECT_OF(malloc_usable_size(at) >= to, to);
            free(at);
        }
}

static void page_entries(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size < 5 * page; size += 997) {
        char *a = valloc(size), *b = pvalloc(size);
        EXPECT_OF(a != NULL && aligned_to(a, page), size);
        EXPECT_OF(b != NULL && aligned_to(b, page), size);
        EXPECT_OF(malloc_usable_size(b) >= (size + page - 1) / page * page, size);
        memset(b, 1, (size + page - 1) / page * page);
        free(a);
        free(b);
    }
}

/* Functions headers no longer declare, or not yet. */
static void old_and_new_entries(void)
{
    void (*release)(void *);
    *(void **)&release = dlsym(RTLD_DEFAULT, "cfree");
    if (release == NULL)
        *(void **)&release = dlvsym(RTLD_DEFAULT, "cfree", "GLIBC_2.2.5");
    EXPECT(release != NULL || hakmem_mode_running() == NULL);
    if (release != NULL)
        release(malloc(100));
    void (*sized)(void *, size_t);
    void (*aligned_sized)(void *, size_t, size_t);
    *(void **)&sized = dlsym(RTLD_DEFAULT, "free_sized");
    *(void **)&aligned_sized = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    if (hakmem_mode_running() == NULL)
        return; /* C23's are younger than this glibc */
    EXPECT(sized != NULL && aligned_sized != NULL);
    for (size_t size = 0; size < (size_t)128 << 20; size = size * 3 + 1) {
        sized(malloc(size), size);
        sized(calloc(1, size), size);
        aligned_sized(aligned_alloc(256, size), 256, size);
    }
    sized(NULL, 0);
    aligned_sized(NULL, 64, 10);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static void libc_names(void)
{
    for (size_t size = 1; size < (size_t)80 << 20; size = size * 3 + 1) {
        free(__libc_malloc(size));
        __libc_free(malloc(size));
        void *zero = __libc_calloc(1, size);
        EXPECT_OF(zero != NULL && all_zero(zero, size), size);
        free(zero);
        char *at = malloc(size);
        pattern_fill(at, size, size);
        at = __libc_realloc(at, size * 2);
        EXPECT_OF(at != NULL && pattern_holds(at, size & ~(size_t)7, size), size);
        at = realloc(at, size);
        __libc_free(at);
        at = __libc_memalign(512, size);
        EXPECT_OF(aligned_to(at, 512), size);
        free(at);
    }
}

static void information(void)
{
    void *keep = malloc(10 << 20);
    memset(keep, 1, 10 << 20);
    struct mallinfo2 info = mallinfo2();
    EXPECT_OF(info.uordblks + info.hblkhd >= (size_t)10 << 20, info.uordblks);
    EXPECT_OF(info.arena + info.hblkhd >= info.uordblks, info.arena);
    struct mallinfo old = mallinfo();
    EXPECT(old.uordblks + old.hblkhd >= 10 << 20);
    free(keep);
    EXPECT(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    EXPECT(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1);
    EXPECT(mallopt(M_ARENA_MAX, 1) == 1);
    malloc_trim(0);
    FILE *out = tmpfile();
    EXPECT(out != NULL);
    EXPECT(malloc_info(0, out) == 0);
    rewind(out);
    char line[200];
    EXPECT(fgets(line, sizeof line, out) != NULL && strncmp(line, "<malloc", 7) == 0);
    while (fgets(line, sizeof line, out) != NULL)
        ;
    EXPECT(strncmp(line, "</malloc>", 9) == 0);
    EXPECT(malloc_info(1, out) != 0);
    fclose(out);
}

/* Small blocks count as much as large ones, come and go. */
static void information_of_small_blocks(void)
{
    enum { COUNT = 50000, BYTES = 400 };
    static void *blocks[COUNT];
    size_t before = mallinfo2().uordblks;
    for (unsigned i = 0; i < COUNT; i++)
        EXPECT((blocks[i] = malloc(BYTES)) != NULL);
    struct mallinfo2 full = mallinfo2();
    EXPECT_OF(full.uordblks >= before + (size_t)COUNT * BYTES, full.uordblks);
    EXPECT_OF(full.uordblks <= before + (size_t)COUNT * BYTES * 2, full.uordblks);
    EXPECT_OF(full.arena + full.hblkhd >= full.uordblks, full.arena);
    for (unsigned i = 0; i < COUNT; i++)
        free(blocks[i]);
    malloc_trim(0);
    size_t after = mallinfo2().uordblks;
    EXPECT_OF(after < before + ((size_t)5 << 20), after - before);
}

/* One line on stderr or many, but something, without a change to the heap. */
static void statistics_are_printed(void)
{
    int ends[2], shown = dup(STDERR_FILENO);
    EXPECT(pipe(ends) == 0 && shown >= 0);
    size_t used = mallinfo2().uordblks;
    EXPECT(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
    malloc_stats();
    fflush(stderr);
    EXPECT(dup2(shown, STDERR_FILENO) == STDERR_FILENO);
    char text[4096];
    ssize_t len = read(ends[0], text, sizeof text);
    EXPECT_OF(len > 20, len);
    EXPECT(memmem(text, (size_t)len, "in use bytes", 12) != NULL);
    EXPECT(mallinfo2().uordblks == used);
    close(ends[0]);
    close(ends[1]);
    close(shown);
}

static void trim_returns(void)
{
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        memset(blocks[i] = malloc(5000), 1, 5000);
    size_t full = resident_bytes();
    for (unsigned i = 0; i < COUNT; i++)
        free(blocks[i]);
    malloc_trim(0);
    EXPECT_OF(resident_bytes() < full / 2, resident_bytes());
}

/* A block near the end of what is sensible, written only at its ends. */
static void one_huge(void)
{
    size_t size = (size_t)6 << 30;
    char *at = malloc(size);
    EXPECT(at != NULL && malloc_usable_size(at) >= size);
    at[0] = 1;
    at[size - 1] = 2;
    at = realloc(at, size + ((size_t)1 << 30));
    if (at == NULL)
        row_skip("address space or overcommit");
    EXPECT(at[0] == 1 && at[size - 1] == 2);
    free(at);
    at = calloc(3, (size_t)1 << 30);
    EXPECT(at != NULL && at[0] == 0 && at[((size_t)3 << 30) - 1] == 0);
    EXPECT_OF(resident_bytes() < (size_t)200 << 20, resident_bytes());
    free(at);
}

static const stress_row table[] = {
    {"size_zero", size_zero, 0},
    {"too_large", too_large, 0},
    {"realloc_beyond_memory", realloc_beyond_memory, 0},
    {"multiply_overflow", multiply_overflow, 0},
    {"errno_kept", errno_kept, 0},
    {"alignment_natural", alignment_natural, 0},
    {"alignment_asked", alignment_asked, 0},
    {"alignment_many", alignment_many, 0},
    {"alignment_refused", alignment_refused, 0},
    {"usable_size", usable_size, 0},
    {"calloc_zero", calloc_zero, 0},
    {"realloc_values", realloc_values, 0},
    {"calloc_after_growth", calloc_after_growth, 60},
    {"realloc_borders", realloc_borders, 0},
    {"page_entries", page_entries, 0},
    {"old_and_new_entries", old_and_new_entries, 0},
    {"libc_names", libc_names, 0},
    {"information", information, 0},
    {"information_of_small_blocks", information_of_small_blocks, 0},
    {"statistics_are_printed", statistics_are_printed, 0},
    {"trim_returns", trim_returns, 0},
    {"one_huge", one_huge, 0},
};

ROWS_MAIN(table)
