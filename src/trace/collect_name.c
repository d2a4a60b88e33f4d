/* collect_name.c: output file names. Pure. */
#include "trace/collect.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool hak_collect_name(const char *pattern, const char *comm, uint64_t pid, char *path, size_t room)
{
    char host[65] = "";
    size_t len = 0;
    gethostname(host, sizeof host - 1);
    for (const char *at = pattern; *at != 0; at++) {
        char number[24];
        const char *piece = number;
        bool foreign = false;
        if (*at != '%') {
            number[0] = *at;
            number[1] = 0;
        } else if (*++at == 'e') {
            piece = comm;
            foreign = true;
        } else if (*at == 'p') {
            snprintf(number, sizeof number, "%llu", (unsigned long long)pid);
        } else if (*at == 'h') {
            piece = host;
            foreign = true;
        } else if (*at == '%') {
            piece = "%";
        } else {
            return false;
        }
        for (; *piece != 0; piece++) {
            if (len + 1 >= room)
                return false;
            bool bad = foreign && (*piece == '/' || (unsigned char)*piece < ' ' || *piece == 127);
            path[len++] = bad ? '_' : *piece;
        }
    }
    path[len] = 0;
    return len > 0;
}
