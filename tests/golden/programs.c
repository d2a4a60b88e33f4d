/* programs.c: what the golden traces were recorded from; see make. One program a word: `programs NAME`. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static __attribute__((noinline)) void *leaf(size_t size)
{
    return malloc(size);
}

/* Every entry point of C, failures, frees of NULL, alignments, moves. */
static int calls(void)
{
    void *aligned = NULL;
    for (int i = 0; i < 50; i++) {
        void *block = realloc(calloc((size_t)i + 1, 24), (size_t)i * 100 + 1);
        block = reallocarray(block, 7, (size_t)i + 1);
        free(block);
        free(NULL);
        free(memalign(64, 100));
        free(aligned_alloc(4096, 8192));
        if (posix_memalign(&aligned, 256, 300) == 0)
            free(aligned);
        free(valloc(10));
        free(pvalloc(10));
        free(realloc(NULL, 33));
    }
    void *volatile huge = malloc((size_t)1 << 60);
    for (size_t i = 0; i < 20; i++)
        if (leaf(i * i) == NULL)
            return 1;
    return huge != NULL;
}

static void *box[4][100];

static void *make_blocks(void *row)
{
    for (int i = 0; i < 100; i++)
        ((void **)row)[i] = leaf((size_t)i + 1);
    return NULL;
}

static int threads(void)
{
    pthread_t all[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&all[i], NULL, make_blocks, box[i]);
        pthread_setname_np(all[i], "golden");
    }
    for (int i = 0; i < 4; i++)
        pthread_join(all[i], NULL);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 100; k += 2)
            free(box[i][k]);
    return 0;
}

static int family(void)
{
    free(leaf(10));
    if (fork() == 0) {
        for (int i = 0; i < 30; i++)
            free(leaf(1000));
        _exit(3);
    }
    wait(NULL);
    return leaf(77) == NULL;
}

/* Enough for several members, sizes that do not repeat. */
static int many(void)
{
    unsigned state = 1;
    void *kept[64] = {NULL};
    for (int i = 0; i < 20000; i++) {
        state = state * 1664525u + 1013904223u;
        free(kept[state >> 26]);
        kept[state >> 26] = leaf(state >> 12 & 0xfff);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    return strcmp(name, "calls") == 0     ? calls()
           : strcmp(name, "threads") == 0 ? threads()
           : strcmp(name, "family") == 0  ? family()
           : strcmp(name, "many") == 0    ? many()
                                          : 2;
}
