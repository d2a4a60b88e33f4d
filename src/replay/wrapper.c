/* wrapper.c: see wrapper.h. */
#include "replay/wrapper.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* Parts of the last component of a name, in lower case. */
static const char *const parts[] = {"malloc",   "calloc",        "realloc",        "strdup",
                                    "strndup",  "memdup",        "memalign",       "vasprintf",
                                    "obstack_", "aligned_alloc", "exchange_malloc"};
/* Whole last components, leading underscores and capital letters aside. */
static const char *const wholes[] = {"alloc",     "allocate",  "rust_alloc",   "rg_alloc",
                                     "rdl_alloc", "asprintf",  "new_object",   "alloc_impl",
                                     "do_alloc",  "mem_alloc", "memory_alloc", "alloc_zeroed"};
static const char *const spaces[] = {"std::",   "__gnu_cxx::", "operator new",
                                     "alloc::", "core::",      "hashbrown::"};

/* Start of the qualified name: past a return type, which templates have in front. */
static const char *qualified(const char *name, const char **end)
{
    int depth = 0;
    const char *start = name;
    const char *at = name;
    for (; *at != '\0'; at++) {
        if (*at == '<')
            depth++;
        else if (*at == '>')
            depth -= depth > 0;
        else if (depth == 0 && *at == '(')
            break;
        else if (depth == 0 && strncmp(at, "operator", 8) == 0 && (at[8] == ' ' || at[8] == '(')) {
            at += 8 + strcspn(at + 8, "(");
            break;
        } else if (depth == 0 && *at == ' ')
            start = at + 1;
    }
    *end = at;
    return start;
}

/* The last component of [start, end), without templates, lower case. */
static void last_component(const char *start, const char *end, char *out, size_t room)
{
    int depth = 0;
    const char *from = start;
    for (const char *at = start; at + 1 < end; at++) {
        if (*at == '<')
            depth++;
        else if (*at == '>')
            depth -= depth > 0;
        else if (depth == 0 && at[0] == ':' && at[1] == ':')
            from = at + 2;
    }
    while (from < end && *from == '_')
        from++;
    size_t n = 0;
    for (; from < end && *from != '<' && *from != '@' && n + 1 < room; from++)
        out[n++] = (char)tolower((unsigned char)*from);
    out[n] = '\0';
}

bool hak_is_wrapper(const char *function)
{
    const char *end;
    const char *start = qualified(function, &end);
    for (size_t i = 0; i < HAK_COUNT_OF(spaces); i++) {
        if (strncmp(start, spaces[i], strlen(spaces[i])) == 0 ||
            (start[0] == '<' && strstr(start, " as alloc::")))
            return true;
    }
    char last[256];
    last_component(start, end, last, sizeof last);
    for (size_t i = 0; i < HAK_COUNT_OF(parts); i++) {
        if (strstr(last, parts[i]) != NULL)
            return true;
    }
    for (size_t i = 0; i < HAK_COUNT_OF(wholes); i++) {
        if (strcmp(last, wholes[i]) == 0)
            return true;
    }
    return false;
}
