/* cache.h: the folder for what can be made again. One thread. */
#ifndef HAK_CLI_CACHE_H
#define HAK_CLI_CACHE_H

#include <stddef.h>

/* The user's cache folder ($XDG_CACHE_HOME/hakmem, ~/.cache/hakmem), made when it is missing; "": there is
 * none, or it cannot be written to. */
void cache_folder(char *folder, size_t folder_bytes);

#endif
