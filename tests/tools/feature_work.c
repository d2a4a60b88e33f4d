/* feature_work.c: what makes each feature of the allocator run: large blocks of many sizes, some asked for
 * once and some again and again, all written densely; bursts of small, mid and large blocks that are freed.
 * Exit status 3: no memory. One thread. */
#include <stdlib.h>
#include <string.h>

#define MIB   ((size_t)1 << 20)
#define COUNT 120000

static char *blocks[COUNT];

static char *take(size_t size)
{
    char *block = malloc(size);
    if (block == NULL)
        exit(3);
    memset(block, 1, size);
    return block;
}

static void burst(size_t size, size_t count)
{
    for (size_t i = 0; i < count; i++)
        blocks[i] = take(size);
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
}

int main(void)
{
    for (size_t size = 2 * MIB; size < 24 * MIB; size += size / 3) /* each once */
        free(take(size));
    for (unsigned i = 0; i < 300; i++) /* one size in turns */
        free(take(2 * MIB));
    for (unsigned round = 0; round < 3; round++) /* more than a thread keeps for itself */
        burst(3 * MIB, 40);
    burst(200000, 300);
    burst(900, COUNT);
    return 0;
}
