/* plugin.c: a library to be loaded hundreds of times: thread-local storage, a constructor and a destructor
 * that allocate, and blocks made and freed inside it. */
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static void *made_at_start;
static _Thread_local char local[64];

__attribute__((constructor)) static void start(void)
{
    made_at_start = malloc(500);
    if (made_at_start != NULL)
        memset(made_at_start, 1, 500);
}

__attribute__((destructor)) static void end(void)
{
    free(made_at_start);
    free(malloc(300));
}

EXPORT void *plugin_make(size_t size);
EXPORT void plugin_free(void *at);

void *plugin_make(size_t size)
{
    local[0]++;
    return malloc(size);
}

void plugin_free(void *at)
{
    local[1]++;
    free(at);
}
