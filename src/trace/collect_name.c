/* collect_name.c: output file names. Looks whether files exist, creates none. */
#include "trace/collect.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define IMAGES_MAX 100000 /* names tried */

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

static bool ends_in_gz(const char *name, size_t len)
{
    return len > 3 && strcmp(name + len - 3, ".gz") == 0;
}

/* "a.gz" for another process than the main one: "a.comm.pid.gz". */
static bool name_beside(const hak_collect_choice *choice, const char *plain, char *path, size_t room)
{
    size_t len = strlen(plain);
    const char *tail = ends_in_gz(plain, len) ? ".gz" : "";
    char pattern[HAK_COLLECT_PATH_MAX];
    int n = snprintf(pattern, sizeof pattern, "%.*s.%%e.%%p%s", (int)(len - strlen(tail)), plain, tail);
    return n > 0 && (size_t)n < sizeof pattern &&
           hak_collect_name(pattern, choice->comm, choice->pid, path, room);
}

static bool is_there(const char *path)
{
    char part[HAK_COLLECT_PATH_MAX + 8];
    snprintf(part, sizeof part, "%s.part", path);
    return access(path, F_OK) == 0 || access(part, F_OK) == 0;
}

bool hak_collect_choose(const hak_collect_choice *choice, char *path, size_t room)
{
    const char *pattern = choice->pattern != NULL ? choice->pattern : HAK_COLLECT_DEFAULT_OUTPUT;
    bool fits = !choice->plain && strstr(pattern, "%p") == NULL
                    ? name_beside(choice, pattern, path, room)
                    : hak_collect_name(pattern, choice->comm, choice->pid, path, room);
    if (!fits || choice->plain)
        return fits;
    size_t len = strlen(path);
    size_t stem = ends_in_gz(path, len) ? len - 3 : len;
    char tail[4];
    memcpy(tail, path + stem, len - stem + 1);
    for (unsigned n = 2; n < IMAGES_MAX; n++) {
        if ((choice->force || !is_there(path)) && !choice->is_taken(choice->server, path))
            return true;
        snprintf(path + stem, room - stem, ".%u%s", n, tail);
    }
    return true;
}
