/* live_program.c: a random program that knows what is live. Test helper.
 *
 *     live_program THREADS CUTS SEED
 *
 * In each of CUTS rounds, THREADS threads allocate, reallocate and free blocks of one table, whoever made
 * them; every so often all threads end and new ones begin. Between rounds all stand still, and the first
 * thread allocates and frees a block whose size is the round's number, which so marks the cut in a recording,
 * and prints the number and the sum of a hash of the sizes of all live blocks. Sizes are 16 n + 7, a cut's
 * 16 n + 11: no other call in the process is likely to ask for such. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/bits.h"

enum { BLOCKS = 512, STEPS = 40, ROUNDS_OF_A_THREAD = 100, THREADS_MAX = 64 };

typedef struct block {
    pthread_mutex_t lock;
    void *at;
    size_t size;
} block;

static block blocks[BLOCKS];
static pthread_barrier_t begin, end;
static unsigned threads, seed;

static size_t draw_size(uint64_t random)
{
    unsigned bits = (unsigned)(random >> 32) % 100;
    return (random % (bits < 80 ? 32 : bits < 98 ? 1024 : 40000)) * 16 + 7;
}

static void step(uint64_t random)
{
    block *it = &blocks[random % BLOCKS];
    size_t size = draw_size(hak_mix64(random + 1));
    pthread_mutex_lock(&it->lock);
    if (it->at == NULL) {
        it->at = random >> 60 == 0 ? calloc(1, size) : malloc(size);
        it->size = size;
    } else if (random >> 61 == 0) {
        void *grown = realloc(it->at, size);
        it->at = grown != NULL ? grown : it->at;
        it->size = size;
    } else {
        free(it->at);
        it->at = NULL;
    }
    pthread_mutex_unlock(&it->lock);
}

static void *work(void *argument)
{
    uint64_t state = (uint64_t)(uintptr_t)argument;
    for (unsigned round = 0; round < ROUNDS_OF_A_THREAD; round++) {
        pthread_barrier_wait(&begin);
        for (unsigned i = 0; i < STEPS; i++)
            step(hak_mix64(state += UINT64_C(0x9e3779b97f4a7c15)));
        pthread_barrier_wait(&end);
    }
    return NULL;
}

static void cut(unsigned number)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[i].at != NULL)
            sum += hak_mix64(blocks[i].size);
    void *volatile mark =
        malloc((size_t)number * 16 + 11); /* volatile: the pair must not be optimised away */
    free(mark);
    printf("%u %llx\n", number, (unsigned long long)sum);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    threads = (unsigned)atoi(argv[1]) % (THREADS_MAX + 1);
    unsigned cuts = (unsigned)atoi(argv[2]);
    seed = (unsigned)atoi(argv[3]);
    pthread_t handles[THREADS_MAX];
    pthread_barrier_init(&begin, NULL, threads + 1);
    pthread_barrier_init(&end, NULL, threads + 1);
    for (unsigned i = 0; i < BLOCKS; i++)
        pthread_mutex_init(&blocks[i].lock, NULL);
    for (unsigned number = 0; number < cuts;) {
        for (unsigned i = 0; i < threads; i++) {
            uintptr_t own = hak_mix64(((uint64_t)seed << 40) + ((uint64_t)number << 8) + i);
            if (pthread_create(&handles[i], NULL, work, (void *)own) != 0)
                return 2;
        }
        for (unsigned round = 0; round < ROUNDS_OF_A_THREAD; round++) {
            pthread_barrier_wait(&begin);
            pthread_barrier_wait(&end);
            cut(++number);
        }
        for (unsigned i = 0; i < threads; i++)
            pthread_join(handles[i], NULL);
    }
    return 0;
}
