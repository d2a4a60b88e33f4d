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
/* Of D; a C function of such a name can be a clone, "core.part.0". */
static const char *const dotted_spaces[] = {"std.", "core.", "rt.", "object.", "gc."};

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool of_library(const char *name)
{
    for (size_t i = 0; i < HAK_COUNT_OF(spaces); i++) {
        if (starts_with(name, spaces[i]))
            return true;
    }
    return false;
}

/* Rust: "<alloc::vec::Vec<u8>>::push", "<str as core::fmt::Display>::fmt": the method of a type of the
 * library, or of a type without a name space by a trait of the library. A program's own "<app::Token as
 * core::clone::Clone>::clone" is its own; but what "alloc" implements for any type is not. */
static bool of_library_type(const char *name)
{
    static const char *const before[] = {"&", "mut ", "dyn ", "*const ", "*mut ", "[", "("};
    const char *type = name + 1;
    for (size_t i = 0; i < HAK_COUNT_OF(before); i++) {
        if (starts_with(type, before[i])) {
            type += strlen(before[i]);
            i = (size_t)-1; /* from the first again */
        }
    }
    const char *trait = strstr(type, " as ");
    if (of_library(type) || (trait != NULL && starts_with(trait + 4, "alloc::")))
        return true;
    const char *scope = strstr(type, "::");
    if (trait == NULL) /* "<str>::repeat": of no name space */
        return scope == NULL || (scope > type && scope[-1] == '>');
    return scope > trait && of_library(trait + 4);
}

static bool of_dotted_library(const char *start, const char *end)
{
    for (size_t i = 0; end > start && i < HAK_COUNT_OF(dotted_spaces); i++) {
        if (starts_with(start, dotted_spaces[i]) && hak_name_is_dotted(start, end))
            return true;
    }
    return false;
}

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
    if (of_library(start) || (start[0] == '<' && of_library_type(start)) || of_dotted_library(start, end))
        return true;
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
