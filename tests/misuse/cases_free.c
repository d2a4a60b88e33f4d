/* cases_free.c: frees and resizes of what is not a live block; see cases.h. */
#include "cases.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SMALL 64
#define MID   ((size_t)100000)
#define LARGE ((size_t)3 << 20)
#define HUGE  ((size_t)100 << 20)
#define CROWD 3000

static void *free_it(void *at)
{
    free(at);
    return NULL;
}

static void twice(size_t size)
{
    void *at = hidden(malloc(size));
    free(at);
    free(at);
    look_for_harm(size, NULL, 0);
}

static void double_free_small(void)
{
    twice(SMALL);
}

static void double_free_mid(void)
{
    twice(MID);
}

static void double_free_large(void)
{
    twice(LARGE);
}

static void double_free_huge(void)
{
    twice(HUGE);
}

static void double_free_aligned_small(void)
{
    void *at = hidden(memalign(256, 100));
    free(at);
    free(at);
    look_for_harm(256, NULL, 0);
}

static void double_free_aligned_large(void)
{
    void *at = hidden(memalign((size_t)1 << 22, LARGE));
    free(at);
    free(at);
    look_for_harm(LARGE, NULL, 0);
}

static void double_free_around_another(void)
{
    void *at = hidden(malloc(SMALL)), *other = malloc(SMALL);
    free(at);
    free(other);
    free(at);
    look_for_harm(SMALL, NULL, 0);
}

static void double_free_after_others(void)
{
    void *at = hidden(malloc(SMALL));
    free(at);
    for (size_t size = 100; size < 100000; size += 77)
        free(malloc(size));
    free(at);
    look_for_harm(SMALL, NULL, 0);
}

/* So many that they have gone from the thread's list to their slabs. */
static void *crowd[CROWD];

static void crowd_make(void)
{
    for (unsigned i = 0; i < CROWD; i++)
        if ((crowd[i] = malloc(SMALL)) == NULL)
            abort();
}

static void double_free_after_flush(void)
{
    crowd_make();
    for (unsigned i = 1000; i < CROWD; i++) /* the rest keeps their slabs in use */
        if (i % 16 != 0)
            free(crowd[i]);
    free(hidden(crowd[1001]));
    look_for_harm(SMALL, NULL, 0);
}

static void double_free_in_another_thread(void)
{
    void *at = hidden(malloc(SMALL));
    in_thread(free_it, at);
    in_thread(free_it, at);
    look_for_harm(SMALL, NULL, 0);
}

static void double_free_owner_second(void)
{
    void *at = hidden(malloc(SMALL));
    in_thread(free_it, at);
    free(at);
    look_for_harm(SMALL, NULL, 0);
}

static void double_free_owner_first(void)
{
    void *at = hidden(malloc(SMALL));
    free(at);
    in_thread(free_it, at);
    look_for_harm(SMALL, NULL, 0);
}

static void *free_crowd(void *context)
{
    for (unsigned i = 0; i < CROWD; i++)
        free(crowd[i]);
    return context;
}

/* Freed elsewhere, taken home by the owner, freed elsewhere again. */
static void double_free_after_drain(void)
{
    crowd_make();
    in_thread(free_crowd, NULL);
    void *taken[10];
    for (unsigned i = 0; i < 10; i++)
        taken[i] = malloc(SMALL);
    for (unsigned i = 0; i < CROWD; i++) {
        unsigned k = 0;
        while (k < 10 && taken[k] != crowd[i])
            k++;
        if (k == 10) {
            in_thread(free_it, hidden(crowd[i]));
            break;
        }
    }
    look_for_harm(SMALL, NULL, 0);
}

static void *make_crowd(void *context)
{
    crowd_make();
    return context;
}

static void double_free_of_ended_thread(void)
{
    in_thread(make_crowd, NULL);
    free(hidden(crowd[7]));
    free(hidden(crowd[7]));
    look_for_harm(SMALL, NULL, 0);
}

static void double_free_mid_in_another_thread(void)
{
    void *at = hidden(malloc(MID));
    in_thread(free_it, at);
    free(at);
    look_for_harm(MID, NULL, 0);
}

static void invalid_free_stack(void)
{
    char place[256];
    memset(place, 0, sizeof place);
    free(hidden((char *)(((uintptr_t)place + 63) & ~(uintptr_t)63)));
}

static _Alignas(64) char global[4096];

static void invalid_free_global(void)
{
    free(hidden(global + 64));
}

static void invalid_free_code(void)
{
    free(hidden((void *)((uintptr_t)&look_for_harm & ~(uintptr_t)15)));
}

static void invalid_free_unaligned_small(void)
{
    char *at = malloc(SMALL);
    memset(at, 0, SMALL);
    free(hidden(at + 1));
    look_for_harm(SMALL, at, SMALL);
}

static void invalid_free_unaligned_large(void)
{
    char *at = malloc(LARGE);
    free(hidden(at + 8));
    look_for_harm(LARGE, at, LARGE);
}

static void interior(size_t size, size_t offset)
{
    char *at = malloc(size);
    memset(at, 0, size);
    free(hidden(at + offset));
    look_for_harm(size, at, size);
}

static void invalid_free_interior_small(void)
{
    interior(SMALL, 16);
}

/* The thread's list is warm: the free goes no slow way for another reason. */
static void warm_up(size_t size)
{
    void *blocks[20];
    for (unsigned i = 0; i < 20; i++)
        blocks[i] = malloc(size);
    for (unsigned i = 0; i < 20; i++)
        free(blocks[i]);
}

static void invalid_free_interior_warm(void)
{
    warm_up(SMALL);
    interior(SMALL, 16);
}

static void invalid_free_interior_warm_48(void)
{
    warm_up(1000);
    interior(1000, 48);
}

static void invalid_free_never_given_warm(void)
{
    warm_up(16);
    char *at = malloc(16);
    free(hidden(at + 16384));
    look_for_harm(16, NULL, 0);
}

static void invalid_free_interior_4k(void)
{
    interior(10000, 4096);
}

static void invalid_free_interior_mid(void)
{
    interior(MID, 65536);
}

static void invalid_free_interior_large(void)
{
    interior(LARGE, 4096);
}

static void invalid_free_interior_chunk(void) /* behind the first 2 MiB, where no header is */
{
    interior((size_t)7 << 20, ((size_t)5 << 20) + 128);
}

/* Inside the heap, where no block has been yet. */
static void invalid_free_never_given(void)
{
    char *at = malloc(16);
    free(hidden(at + 16384));
    look_for_harm(16, NULL, 0);
}

static void invalid_free_noncanonical(void)
{
    free(hidden((void *)UINT64_C(0xdeadbeefdeadbee0)));
}

static void invalid_free_near_null(void)
{
    free(hidden((void *)16));
}

static void invalid_free_mapping(void)
{
    char *map = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map != MAP_FAILED)
        free(hidden(map + 4096));
}

static void realloc_freed_small(void)
{
    void *at = hidden(malloc(SMALL));
    free(at);
    (void)!realloc(at, 5000);
    look_for_harm(SMALL, NULL, 0);
}

static void realloc_freed_large(void)
{
    void *at = hidden(malloc(LARGE));
    free(at);
    (void)!realloc(at, 3 * LARGE);
    look_for_harm(LARGE, NULL, 0);
}

static void realloc_interior(void)
{
    char *at = malloc(1000);
    memset(at, 0, 1000);
    (void)!realloc(hidden(at + 32), 5000);
    look_for_harm(1000, at, 1000);
}

static void realloc_stack(void)
{
    _Alignas(64) char place[64];
    memset(place, 0, sizeof place);
    (void)!realloc(hidden(place), 5000);
}

static void usable_size_freed(void)
{
    void *at = hidden(malloc(SMALL));
    free(at);
    (void)malloc_usable_size(at);
}

static void usable_size_global(void)
{
    (void)malloc_usable_size(hidden(global + 128));
}

extern void free_sized(void *at, size_t size) __attribute__((weak));

static void free_sized_too_small(void)
{
    void *at = malloc(100);
    if (free_sized != NULL)
        free_sized(at, 10);
}

static void free_sized_too_large(void)
{
    void *at = malloc(100);
    if (free_sized != NULL)
        free_sized(at, 5000);
}

#define TWICE   "free(): double free of"
#define INVALID "free(): invalid pointer"
#define WRONG   "free(): wrong size given for"
#define NONE    MISUSE_HARMLESS
#define OPEN    MISUSE_OPEN

/* Columns: plain, minimal, research, secure. */
const misuse_case misuse_frees[] = {
    {"double_free_small", double_free_small, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_mid", double_free_mid, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_large", double_free_large, {TWICE, INVALID, TWICE, TWICE}},
    {"double_free_huge", double_free_huge, {OPEN, INVALID, OPEN, OPEN}},
    {"double_free_aligned_small", double_free_aligned_small, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_aligned_large", double_free_aligned_large, {OPEN, INVALID, TWICE, OPEN}},
    {"double_free_around_another", double_free_around_another, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_after_others", double_free_after_others, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_after_flush", double_free_after_flush, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_in_another_thread", double_free_in_another_thread, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_owner_second", double_free_owner_second, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_owner_first", double_free_owner_first, {TWICE, OPEN, TWICE, TWICE}},
    {"double_free_after_drain", double_free_after_drain, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_of_ended_thread", double_free_of_ended_thread, {TWICE, TWICE, TWICE, TWICE}},
    {"double_free_mid_in_another_thread",
     double_free_mid_in_another_thread,
     {INVALID, TWICE, TWICE, INVALID}},
    {"invalid_free_stack", invalid_free_stack, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_global", invalid_free_global, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_code", invalid_free_code, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_unaligned_small", invalid_free_unaligned_small, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_unaligned_large", invalid_free_unaligned_large, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_interior_small", invalid_free_interior_small, {OPEN, INVALID, INVALID, INVALID}},
    {"invalid_free_interior_warm", invalid_free_interior_warm, {OPEN, INVALID, INVALID, INVALID}},
    {"invalid_free_interior_warm_48", invalid_free_interior_warm_48, {OPEN, INVALID, INVALID, INVALID}},
    {"invalid_free_never_given_warm", invalid_free_never_given_warm, {OPEN, INVALID, INVALID, INVALID}},
    {"invalid_free_interior_4k", invalid_free_interior_4k, {OPEN, INVALID, INVALID, INVALID}},
    {"invalid_free_interior_mid", invalid_free_interior_mid, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_interior_large", invalid_free_interior_large, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_interior_chunk", invalid_free_interior_chunk, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_never_given", invalid_free_never_given, {OPEN, INVALID, INVALID, INVALID}},
    {"invalid_free_noncanonical", invalid_free_noncanonical, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_near_null", invalid_free_near_null, {INVALID, INVALID, INVALID, INVALID}},
    {"invalid_free_mapping", invalid_free_mapping, {INVALID, INVALID, INVALID, INVALID}},
    {"realloc_freed_small",
     realloc_freed_small,
     {"realloc(): freed block", "realloc(): invalid pointer", "realloc(): freed block",
      "realloc(): freed block"}},
    {"realloc_freed_large",
     realloc_freed_large,
     {"realloc(): freed block", "realloc(): invalid pointer", "realloc(): freed block",
      "realloc(): freed block"}},
    {"realloc_interior",
     realloc_interior,
     {"realloc(): invalid pointer", "realloc(): invalid pointer", "realloc(): invalid pointer",
      "realloc(): invalid pointer"}},
    {"realloc_stack",
     realloc_stack,
     {"realloc(): invalid pointer", "realloc(): invalid pointer", "realloc(): invalid pointer",
      "realloc(): invalid pointer"}},
    {"usable_size_freed",
     usable_size_freed,
     {"malloc_usable_size(): freed block", "malloc_usable_size(): invalid pointer",
      "malloc_usable_size(): freed block", "malloc_usable_size(): freed block"}},
    {"usable_size_global",
     usable_size_global,
     {"malloc_usable_size(): invalid pointer", "malloc_usable_size(): invalid pointer",
      "malloc_usable_size(): invalid pointer", "malloc_usable_size(): invalid pointer"}},
    {"free_sized_too_small", free_sized_too_small, {NONE, NONE, WRONG, WRONG}},
    {"free_sized_too_large", free_sized_too_large, {NONE, NONE, WRONG, WRONG}},
};
const unsigned misuse_free_count = sizeof misuse_frees / sizeof *misuse_frees;
