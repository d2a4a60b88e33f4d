/* bench_pair.c: what tests/bench/instructions counts under callgrind: measured_pairs, one malloc and free of
 * 16 bytes after another, once everything is warm. bench_pair N runs it with the program's malloc, bench_pair
 * N empty with two functions that only return, whose cost is that of the calls and the loop. One thread. */
#include <stdlib.h>
#include <string.h>

#define WARM_PAIRS 100000
#define PAIR_BYTES 16

typedef void *take_function(size_t bytes);
typedef void give_function(void *at);

void measured_pairs(long pairs, take_function *take, give_function *give);

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
    for (long i = 0; i < pairs; i++)
        give(take(PAIR_BYTES));
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
    int empty = argc > 2 && strcmp(argv[2], "empty") == 0;
    take_function *volatile take = empty ? empty_take : malloc;
    give_function *volatile give = empty ? empty_give : free;
    run(WARM_PAIRS, take, give);
    measured_pairs(pairs, take, give);
    return 0;
}
