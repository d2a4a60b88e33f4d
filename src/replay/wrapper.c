/* wrapper.c: see wrapper.h. */
#include "replay/wrapper.h"

#include <ctype.h>
#include <string.h>

#include "replay/names.h"

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

/* The last component in lower case, leading underscores aside. */
static void plain_name(const char *function, char *out, size_t room)
{
    char last[256];
    hak_name_last(function, last, sizeof last);
    const char *from = last + strspn(last, "_");
    size_t n = 0;
    for (; from[n] != '\0' && n + 1 < room; n++)
        out[n] = (char)tolower((unsigned char)from[n]);
    out[n] = '\0';
}

bool hak_is_wrapper(const char *function)
{
    const char *end;
    const char *start = hak_name_bare(function, &end);
    for (size_t i = 0; i < HAK_COUNT_OF(spaces); i++) {
        if (strncmp(start, spaces[i], strlen(spaces[i])) == 0 ||
            (start[0] == '<' && strstr(start, " as alloc::")))
            return true;
    }
    char last[256];
    plain_name(function, last, sizeof last);
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
