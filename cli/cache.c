/* cache.c: see cache.h. */
#include "cli/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void cache_folder(char *folder, size_t folder_bytes)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    folder[0] = '\0';
    if (cache != NULL && cache[0] == '/')
        snprintf(folder, folder_bytes, "%s", cache);
    else if (home != NULL && home[0] == '/' && home[1] != '\0')
        snprintf(folder, folder_bytes, "%s/.cache", home);
    else
        return;
    mkdir(folder, 0700);
    size_t len = strlen(folder);
    snprintf(folder + len, folder_bytes - len, "/hakmem");
    if (mkdir(folder, 0700) != 0 && access(folder, W_OK) != 0)
        folder[0] = '\0';
}
