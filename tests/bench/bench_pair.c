/* bench_pair.c: what tests/bench/instructions counts under callgrind: measured_pairs, one malloc and free of
 * 16 bytes after another, once everything is warm. bench_pair N runs it with the program's malloc, bench_pair
 * N empty with two functions that only return, whose cost is that of the calls and the loop. bench_pair N
 * same and bench_pair N moved put a realloc in between: to a size that fits where the block is, and to one
 * that does not. bench_pair N sites DEPTH prints the lines of a policy that decides about these calls DEPTH
 * frames up. One thread. */
#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/callsite/cfi.h"
#include "core/callsite/memo.h"

#define WARM_PAIRS 100000
#define PAIR_BYTES 16
#define MAX_DEPTH  4 /* frames of this program around the call */

#define SAME_BYTES  12
#define MOVED_BYTES 48

typedef void *take_function(size_t bytes);
typedef void give_function(void *at);

void measured_pairs(long pairs, take_function *take, give_function *give);

static size_t resized_bytes; /* 0: no realloc */

/* naked: a return and nothing else, so that the difference is the allocator's instructions without its
 * returns. */
__attribute__((naked)) static void *empty_take(size_t bytes __attribute__((unused)))
{
    __asm__("ret");
}

__attribute__((naked)) static void empty_give(void *at __attribute__((unused)))
{
    __asm__("ret");
}

static unsigned site_depth;

/* In malloc's place, once: the frames around the call as a policy's text has them. */
__attribute__((noinline)) static void *print_sites(size_t bytes)
{
    hak_frame frame = HAK_FRAME_OF_CALLER();
    hak_stack stack = hak_stack_of(frame.sp);
    for (unsigned depth = 1; depth <= site_depth && bytes != 0; depth++) {
        Dl_info info;
        struct link_map *map = NULL;
        hak_frame_row row = hak_cfi_row(frame.pc);
        if (dladdr1((void *)frame.pc, &info, (void **)&map, RTLD_DL_LINKMAP) == 0)
            exit(1);
        printf("%*ssite m0+0x%lx", 2 * (int)(depth - 1), "", (unsigned long)(frame.pc - map->l_addr));
        if (depth == site_depth) {
            puts(" lifetime=long blocks=1000 purity=1000000 size=16");
            break;
        }
        printf(" up=%s%+d", row.kind == HAK_FRAME_SP ? "sp" : "bp", row.cfa_offset);
        if (row.bp_slot != 0)
            printf(",%d", row.bp_slot);
        puts("");
        if (!hak_frame_up(&frame, row, stack))
            exit(1);
    }
    return NULL;
}

__attribute__((noinline)) static void run(long pairs, take_function *take, give_function *give)
{
    for (long i = 0; i < pairs && resized_bytes == 0; i++)
        give(take(PAIR_BYTES));
    for (long i = 0; i < pairs && resized_bytes != 0; i++)
        give(realloc(take(PAIR_BYTES), resized_bytes));
}

/* A name of its own, which callgrind is told to look at; the barrier keeps it a call. */
__attribute__((noinline)) void measured_pairs(long pairs, take_function *take, give_function *give)
{
    run(pairs, take, give);
    __asm__ volatile("");
}

__attribute__((noinline)) static void caller(long pairs, take_function *take, give_function *give)
{
    measured_pairs(pairs, take, give);
    __asm__ volatile("");
}

int main(int argc, char **argv)
{
    long pairs = argc > 1 ? atol(argv[1]) : 1000;
    const char *what = argc > 2 ? argv[2] : "";
    bool empty = strcmp(what, "empty") == 0;
    resized_bytes = strcmp(what, "same") == 0 ? SAME_BYTES : strcmp(what, "moved") == 0 ? MOVED_BYTES : 0;
    take_function *volatile take = empty ? empty_take : malloc;
    give_function *volatile give = empty ? empty_give : free;
    if (argc > 3 && strcmp(argv[2], "sites") == 0) {
        site_depth = (unsigned)atoi(argv[3]) <= MAX_DEPTH ? (unsigned)atoi(argv[3]) : MAX_DEPTH;
        pairs = 1;
        take = print_sites;
    } else {
        run(WARM_PAIRS, take, give);
    }
    caller(pairs, take, give);
    return 0;
}
