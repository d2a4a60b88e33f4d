/* late.c: a library that a program is linked with: its constructor runs before that of a preloaded library,
 * its destructor after it. Both allocate; late_blocks are made before and freed after everybody else. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT 200

__attribute__((visibility("default"))) char *late_blocks[COUNT];

__attribute__((constructor)) static void start(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        late_blocks[i] = malloc(1 + i * i * 5);
        if (late_blocks[i] == NULL)
            _exit(3);
        memset(late_blocks[i], (int)i, 1 + i * i * 5);
    }
}

__attribute__((destructor)) static void end(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = 1 + i * i * 5;
        if (late_blocks[i][0] != (char)i || late_blocks[i][size - 1] != (char)i)
            _exit(4);
        late_blocks[i] = realloc(late_blocks[i], size + 4000);
        if (late_blocks[i] == NULL || late_blocks[i][size - 1] != (char)i)
            _exit(5);
        free(late_blocks[i]);
        free(calloc(i, 77));
    }
}
