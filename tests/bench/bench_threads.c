/* bench_threads: threads that allocate as parsers do: each builds trees by recursion through a few kinds of
 * node, over and over, sums them up and frees them. For tests/bench/recorder.
 *
 *   bench_threads THREADS TREES
 *
 * TREES is per thread. Prints a sum that depends on nothing but the arguments. */
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 256
#define DEPTH       9

typedef struct node {
    struct node *left, *right;
    char *name;
    uint64_t value;
} node;

typedef struct worker {
    pthread_t thread;
    uint64_t random;
    uint64_t trees;
    uint64_t sum;
} worker;

typedef node *(*make)(worker *job, unsigned depth);
static node *any(worker *job, unsigned depth);

static uint64_t next(worker *job)
{
    job->random = job->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return job->random >> 33;
}

static void *take(size_t size)
{
    void *block = malloc(size);
    if (block == NULL)
        abort();
    return block;
}

static char *name_of(uint64_t value)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%" PRIu64, value);
    char *name = take((size_t)length + 1);
    memcpy(name, text, (size_t)length + 1);
    return name;
}

static node *leaf(worker *job, unsigned depth)
{
    node *made = take(sizeof *made);
    *made = (node){.value = next(job) % 1000 + depth};
    made->name = name_of(made->value);
    return made;
}

static node *pair(worker *job, unsigned depth)
{
    node *made = take(sizeof *made);
    *made = (node){.left = any(job, depth - 1), .right = any(job, depth - 1), .value = depth};
    return made;
}

static node *chain(worker *job, unsigned depth)
{
    node *below = any(job, depth - 1);
    node *made = take(sizeof *made);
    *made = (node){.left = below, .value = below->value + 1};
    return made;
}

static node *list(worker *job, unsigned depth)
{
    node *made = pair(job, depth);
    made->name = calloc(1, 16 + next(job) % 100);
    return made;
}

static node *any(worker *job, unsigned depth)
{
    static const make kinds[] = {pair, chain, list, pair, leaf, chain, list, pair};
    return depth == 0 ? leaf(job, depth) : kinds[next(job) % 8](job, depth);
}

static uint64_t take_down(node *at)
{
    if (at == NULL)
        return 0;
    uint64_t sum = at->value + take_down(at->left) + take_down(at->right);
    free(at->name);
    free(at);
    return sum;
}

static void *work(void *arg)
{
    worker *job = arg;
    for (uint64_t i = 0; i < job->trees; i++)
        job->sum += take_down(any(job, DEPTH));
    return NULL;
}

int main(int argc, char **argv)
{
    static worker jobs[MAX_THREADS];
    unsigned long threads = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    uint64_t trees = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (threads == 0 || threads > MAX_THREADS || trees == 0) {
        fprintf(stderr, "usage: bench_threads THREADS TREES\n");
        return 2;
    }
    uint64_t sum = 0;
    for (unsigned long i = 0; i < threads; i++) {
        jobs[i].random = i + 1;
        jobs[i].trees = trees;
        if (pthread_create(&jobs[i].thread, NULL, work, &jobs[i]) != 0)
            return 1;
    }
    for (unsigned long i = 0; i < threads; i++) {
        pthread_join(jobs[i].thread, NULL);
        sum += jobs[i].sum;
    }
    printf("%" PRIu64 "\n", sum);
    return 0;
}
