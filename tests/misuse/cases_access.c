/* cases_access.c: reads and writes outside of live blocks; see cases.h. */
#include "cases.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 64
#define MID   ((size_t)100000)
#define LARGE ((size_t)3 << 20)

/* Writes `count` bytes behind the end of a block of `size`, keeps the block live or frees it. */
static void overflow(size_t size, size_t count)
{
    char *at = malloc(size), *neighbour = malloc(size);
    memset(neighbour, 1, size);
    memset((char *)hidden(at) + size, 0x41, count);
    free(at);
    free(neighbour);
    look_for_harm(size, NULL, 0);
}

static void overflow_small_1(void)
{
    overflow(SMALL - 8, 1);
}

static void overflow_small_8(void)
{
    overflow(SMALL, 8);
}

static void overflow_small_16(void)
{
    overflow(SMALL, 16);
}

static void overflow_small_32_behind(void)
{
    char *at = malloc(SMALL);
    ((char *)hidden(at))[SMALL + 31] = 0x41;
    free(at);
    look_for_harm(SMALL, NULL, 0);
}

static void overflow_string(void)
{
    static const char text[] = "one letter too many for its block, as strlen(text) forgets the end of the";
    char *at = malloc(sizeof text - 1);
    strcpy(hidden(at), text);
    ((char *)hidden(at))[sizeof text - 1] = '!';
    free(at);
    look_for_harm(sizeof text, NULL, 0);
}

static void overflow_zero_size(void)
{
    char *at = malloc(0);
    *(char *)hidden(at) = 1;
    free(at);
    look_for_harm(16, NULL, 0);
}

static void overflow_mid_1(void)
{
    overflow(MID, 1);
}

static void overflow_large_1(void)
{
    overflow(LARGE, 1);
}

static void overflow_large_8(void)
{
    overflow(LARGE, 8);
}

static void overflow_never_freed(void)
{
    char *at = malloc(SMALL);
    ((char *)hidden(at))[SMALL] = 1;
}

static void overflow_found_by_realloc(void)
{
    char *at = malloc(100);
    ((char *)hidden(at))[100] = 1;
    (void)!realloc(at, 200);
}

static void underflow(size_t size)
{
    char *before = malloc(size), *at = malloc(size);
    memset(before, 0, size);
    ((char *)hidden(at))[-1] ^= 0x41; /* not what is there: one time in 256 it would be */
    free(at);
    free(before);
    look_for_harm(size, NULL, 0);
}

static void underflow_small(void)
{
    underflow(SMALL);
}

static void underflow_mid(void)
{
    underflow(MID);
}

static void underflow_large(void)
{
    underflow(LARGE);
}

/* The freed block is written all over and then asked for again. */
static void write_after_free(size_t size)
{
    char *at = malloc(size);
    free(at);
    memset(hidden(at), 0x41, size);
    look_for_harm(size, NULL, 0);
}

static void write_after_free_small(void)
{
    write_after_free(SMALL);
}

static void write_after_free_mid(void)
{
    write_after_free(MID);
}

static void write_after_free_large(void)
{
    write_after_free(LARGE);
}

static void write_after_free_large_late(void)
{
    char *at = malloc(LARGE);
    memset(at, 1, LARGE);
    free(at);
    ((char *)hidden(at))[LARGE / 2 + 7] = 0x41;
    look_for_harm(LARGE, NULL, 0);
}

/* One byte far inside, where no list looks. */
static void write_after_free_inside(void)
{
    char *at = malloc(2000);
    free(at);
    ((char *)hidden(at))[1234] = 0x41;
    look_for_harm(2000, NULL, 0);
}

/* The attack: the first word of a free block is bent to where malloc is to go. */
static void bend(void *target, size_t size)
{
    void *first = malloc(size), *second = malloc(size);
    free(first);
    free(second);
    *(void **)hidden(second) = target;
}

static _Alignas(64) char target_global[4096];

static void free_list_to_global(void)
{
    bend(target_global, SMALL);
    look_for_harm(SMALL, target_global, sizeof target_global);
}

static void free_list_to_live_block(void)
{
    char *live = malloc(SMALL);
    memset(live, 0, SMALL);
    bend(live, SMALL);
    look_for_harm(SMALL, live, SMALL);
}

static void free_list_into_block(void)
{
    char *live = malloc(4096);
    memset(live, 0, 4096);
    bend(live + 1024, SMALL);
    look_for_harm(SMALL, live, 4096);
}

/* Blocks that have gone home to their slabs, or that other threads sent there. */
#define CROWD 2000
static char *crowd[CROWD];

static void *free_crowd(void *context)
{
    for (unsigned i = 0; i < CROWD; i++)
        if (i % 16 != 0)
            free(crowd[i]);
    return context;
}

static void bend_crowd(void)
{
    for (unsigned i = 1; i < CROWD; i++)
        if (i % 16 == 5)
            *(void **)hidden(crowd[i]) = target_global;
    look_for_harm(SMALL, target_global, sizeof target_global);
}

static void free_list_of_slab(void)
{
    for (unsigned i = 0; i < CROWD; i++)
        crowd[i] = malloc(SMALL);
    free_crowd(NULL);
    bend_crowd();
}

static void free_list_of_other_thread(void)
{
    for (unsigned i = 0; i < CROWD; i++)
        crowd[i] = malloc(SMALL);
    in_thread(free_crowd, NULL);
    bend_crowd();
}

static void read_after_free(size_t size)
{
    char *at = malloc(size);
    memset(at, 0x5a, size);
    free(at);
    const volatile char *old = hidden(at);
    size_t kept = 0;
    for (size_t i = 0; i < size; i += 64)
        kept += old[i] == 0x5a;
    if (kept == (size + 63) / 64)
        look_for_harm(size, NULL, 0); /* all of it is still readable: not noticed */
}

static void read_after_free_small(void)
{
    read_after_free(SMALL * 4);
}

static void read_after_free_large(void)
{
    read_after_free(LARGE);
}

/* Freed, written, and nothing more: only the end of the process is left to notice it. */
static void write_after_free_last(void)
{
    char *at = malloc(SMALL);
    free(at);
    ((char *)hidden(at))[SMALL / 2] = 1;
}

#define BENT    "free list corrupted (write after free) near"
#define PAST    "free(): overflow past the end of"
#define FRONT   "free(): header overwritten in front of"
#define WRITTEN "free(): write after free of"
#define TRAPPED MISUSE_TRAPPED
#define NONE    MISUSE_HARMLESS
#define OPEN    MISUSE_OPEN

/* Columns: plain, minimal, research, secure. */
const misuse_case misuse_accesses[] = {
    {"overflow_small_1", overflow_small_1, {NONE, NONE, PAST, NONE}},
    {"overflow_small_8", overflow_small_8, {NONE, OPEN, PAST, NONE}},
    {"overflow_small_16", overflow_small_16, {NONE, OPEN, PAST, NONE}},
    {"overflow_small_32_behind", overflow_small_32_behind, {NONE, OPEN, PAST, NONE}},
    {"overflow_string", overflow_string, {NONE, NONE, PAST, NONE}},
    {"overflow_zero_size", overflow_zero_size, {NONE, NONE, PAST, NONE}},
    {"overflow_mid_1", overflow_mid_1, {NONE, OPEN, PAST, NONE}},
    {"overflow_large_1", overflow_large_1, {NONE, NONE, PAST, NONE}},
    {"overflow_large_8", overflow_large_8, {NONE, NONE, PAST, NONE}},
    {"overflow_never_freed", overflow_never_freed, {NONE, NONE, "at exit: overflow past the end of", NONE}},
    {"overflow_found_by_realloc",
     overflow_found_by_realloc,
     {NONE, NONE, "realloc(): overflow past the end of", NONE}},
    {"underflow_small", underflow_small, {NONE, NONE, FRONT, NONE}},
    {"underflow_mid", underflow_mid, {NONE, NONE, FRONT, NONE}},
    {"underflow_large", underflow_large, {NONE, NONE, FRONT, NONE}},
    {"write_after_free_small", write_after_free_small, {BENT, OPEN, WRITTEN, BENT}},
    {"write_after_free_mid", write_after_free_mid, {NONE, OPEN, WRITTEN, NONE}},
    {"write_after_free_large", write_after_free_large, {NONE, OPEN, TRAPPED, NONE}},
    {"write_after_free_large_late", write_after_free_large_late, {NONE, OPEN, TRAPPED, NONE}},
    {"write_after_free_inside", write_after_free_inside, {NONE, NONE, WRITTEN, NONE}},
    {"free_list_to_global", free_list_to_global, {BENT, NONE, WRITTEN, BENT}},
    {"free_list_to_live_block", free_list_to_live_block, {BENT, NONE, WRITTEN, BENT}},
    {"free_list_into_block", free_list_into_block, {BENT, NONE, WRITTEN, BENT}},
    {"free_list_of_slab", free_list_of_slab, {BENT, NONE, WRITTEN, BENT}},
    {"free_list_of_other_thread", free_list_of_other_thread, {BENT, NONE, WRITTEN, BENT}},
    {"read_after_free_small", read_after_free_small, {NONE, NONE, NONE, NONE}},
    {"read_after_free_large", read_after_free_large, {NONE, OPEN, TRAPPED, NONE}},
    {"write_after_free_last", write_after_free_last, {NONE, NONE, "at exit: write after free of", NONE}},
};
const unsigned misuse_access_count = sizeof misuse_accesses / sizeof *misuse_accesses;
