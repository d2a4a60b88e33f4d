/* bench_pair.c: what tests/bench/instructions counts under callgrind: measured_pairs, one malloc and free of
 * 16 bytes after another, once everything is warm. bench_pair N runs it with the program's malloc, bench_pair
 * N empty with two functions that only return, whose cost is that of the calls and the loop. bench_pair N
 * same and bench_pair N moved put a realloc in between: to a size that fits where the block is, and to one
 * that does not. One thread. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define WARM_PAIRS 100000
#define PAIR_BYTES 16

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

int main(int argc, char **argv)
{
    long pairs = argc > 1 ? atol(argv[1]) : 1000;
    const char *what = argc > 2 ? argv[2] : "";
    bool empty = strcmp(what, "empty") == 0;
    resized_bytes = strcmp(what, "same") == 0 ? SAME_BYTES : strcmp(what, "moved") == 0 ? MOVED_BYTES : 0;
    take_function *volatile take = empty ? empty_take : malloc;
    give_function *volatile give = empty ? empty_give : free;
    run(WARM_PAIRS, take, give);
    measured_pairs(pairs, take, give);
    return 0;
}
