/* interposed.c: a program with its own mmap, munmap, mremap, mprotect, madvise, getenv, open and
 * clock_gettime that allocate, as tracers, sandboxes and clock fakers have them. The allocator may call none
 * of them while it holds a lock, so it must not hang, recurse for ever, or break its heap. */
#include "rows.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static atomic_ulong calls;
static _Thread_local unsigned depth;

/* Small, mid and large, so that every part of the allocator is entered again. */
static void allocate(void)
{
    static const size_t sizes[] = {24, 5000, 100000, 3000000};
    if (depth >= 2)
        return;
    depth++;
    size_t size = sizes[atomic_fetch_add(&calls, 1) % 4];
    char *block = malloc(size);
    if (block != NULL)
        memset(block, 1, size < 64 ? size : 64);
    free(realloc(block, size * 2));
    depth--;
}

#pragma GCC visibility push(default)

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    allocate();
    return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}

int munmap(void *at, size_t size)
{
    allocate();
    return (int)syscall(SYS_munmap, at, size);
}

void *mremap(void *at, size_t old_size, size_t new_size, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    void *place = (flags & MREMAP_FIXED) != 0 ? va_arg(list, void *) : NULL;
    va_end(list);
    allocate();
    return (void *)syscall(SYS_mremap, at, old_size, new_size, flags, place);
}

int mprotect(void *at, size_t size, int prot)
{
    allocate();
    return (int)syscall(SYS_mprotect, at, size, prot);
}

int madvise(void *at, size_t size, int advice)
{
    allocate();
    return (int)syscall(SYS_madvise, at, size, advice);
}

int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
    va_end(list);
    allocate();
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    allocate();
    return (int)syscall(SYS_clock_gettime, clock, now);
}

char *getenv(const char *name)
{
    allocate();
    size_t len = strlen(name);
    for (char **at = environ; at != NULL && *at != NULL; at++)
        if (strncmp(*at, name, len) == 0 && (*at)[len] == '=')
            return *at + len + 1;
    return NULL;
}

#pragma GCC visibility pop

static void *churn(void *context)
{
    enum { LIVE = 200 };
    char *blocks[LIVE] = {NULL};
    uint64_t random = 99 + (uintptr_t)context;
    for (unsigned i = 0; i < scaled(6000); i++) {
        unsigned place = (unsigned)(random_next(&random) % LIVE);
        size_t size = random_size(&random, place % 16 == 0 ? 8000000 : 100000);
        if (i % 3 == 0) {
            blocks[place] = realloc(blocks[place], size);
        } else {
            free(blocks[place]);
            blocks[place] = malloc(size);
        }
        EXPECT_OF(blocks[place] != NULL, size);
        blocks[place][0] = blocks[place][size - 1] = 1;
    }
    for (unsigned i = 0; i < LIVE; i++)
        free(blocks[i]);
    return NULL;
}

static void one_thread(void)
{
    churn(NULL);
    malloc_trim(0);
    churn((void *)1);
}

static void many_threads(void)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        EXPECT(pthread_create(&threads[i], NULL, churn, (void *)i) == 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* They are what libraries call: else this program tests nothing. */
static void are_called(void)
{
    unsigned long before = calls;
    void *(*found)(void *, size_t, int, int, int, off_t) = mmap;
    void *at = found(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(at != MAP_FAILED && munmap(at, 4096) == 0);
    EXPECT_OF(calls >= before + 2, calls);
}

static const stress_row table[] = {
    {"are_called", are_called, 0},
    {"one_thread", one_thread, 0},
    {"many_threads", many_threads, 0},
};

ROWS_MAIN(table)
