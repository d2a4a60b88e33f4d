/* names.c: see names.h. Never allocates. */
#include "replay/names.h"

#include <fnmatch.h>
#include <string.h>

enum { NAME_MAX_BYTES = 4096 };

static const char anonymous[] = "(anonymous namespace)";

/* Behind the parenthesis that closes the one at `at`. */
static const char *past_parenthesis(const char *at)
{
    int depth = 0;
    for (; *at != '\0'; at++) {
        depth += (*at == '(') - (*at == ')');
        if (depth == 0)
            return at + 1;
    }
    return at;
}

const char *hak_name_bare(const char *function, const char **end)
{
    int depth = 0;
    const char *start = function;
    const char *at = function;
    for (; *at != '\0'; at++) {
        if (*at == '<' || *at == '{')
            depth++;
        else if (*at == '>' || *at == '}')
            depth -= depth > 0 && !(at > function && at[-1] == '-'); /* Rust: "fn() -> u8" */
        else if (depth != 0)
            continue;
        else if (at[0] == '!' && at[1] == '(') /* D: "Array!(int).reserve(ulong)" */
            at = past_parenthesis(at + 1) - 1;
        else if (strncmp(at, anonymous, sizeof anonymous - 1) == 0)
            at += sizeof anonymous - 2;
        else if (*at == '(')
            break;
        else if (strncmp(at, "operator", 8) == 0 && strchr(" (<=+-*/%^&|~!>[,\"", at[8]) != NULL) {
            size_t past = at[8] == '(' ? 10 : 8; /* operator()() */
            at += past + strcspn(at + past, "(");
            break;
        } else if (*at == ' ')
            start = at + 1;
    }
    *end = at;
    return start;
}

/* Dots between components, and arguments behind them. (Clones of C functions, "f.part.0", have none.) */
bool hak_name_is_dotted(const char *start, const char *end)
{
    return *end == '(' && end[-1] != '.' && memchr(start, '.', (size_t)(end - start)) != NULL &&
           memchr(start, ':', (size_t)(end - start)) == NULL;
}

/* Starts of the last component and of the one before it, NULL without one. */
static const char *last_components(const char *start, const char *end, const char **owner)
{
    int depth = 0;
    const char *from = start;
    bool dotted = end > start && hak_name_is_dotted(start, end);
    *owner = NULL;
    for (const char *at = start; at + 1 < end; at++) {
        if (*at == '<' || (dotted && *at == '('))
            depth++;
        else if (*at == '>' || (dotted && *at == ')'))
            depth -= depth > 0 && !(at > start && at[-1] == '-');
        else if (depth == 0 && (dotted ? at[0] == '.' : at[0] == ':' && at[1] == ':')) {
            *owner = from;
            from = at + (dotted ? 1 : 2);
        }
    }
    return from;
}

void hak_name_owner(const char *function, char *out, size_t room)
{
    const char *end;
    const char *owner;
    const char *start = hak_name_bare(function, &end);
    const char *last = last_components(start, end, &owner);
    size_t n = 0;
    const char *past = last - (last > start && last[-1] == '.' ? 1 : 2);
    for (; owner != NULL && owner < past && *owner != '<' && *owner != '!' && n + 1 < room; owner++)
        out[n++] = *owner;
    out[n] = '\0';
}

void hak_name_last(const char *function, char *out, size_t room)
{
    const char *end;
    const char *owner;
    const char *start = hak_name_bare(function, &end);
    const char *from = last_components(start, end, &owner);
    size_t n = 0;
    for (; from < end && *from != '@' && n + 1 < room; from++) {
        if ((*from == '<' || *from == '!') && n != 0)
            break;
        out[n++] = *from;
    }
    out[n] = '\0';
}

bool hak_name_matches(const char *pattern, const char *function)
{
    char bare[NAME_MAX_BYTES];
    const char *end;
    const char *start = hak_name_bare(function, &end);
    size_t n = (size_t)(end - start) < sizeof bare - 1 ? (size_t)(end - start) : sizeof bare - 1;
    memcpy(bare, start, n);
    bare[n] = '\0';
    if (strcmp(pattern, function) == 0 || strcmp(pattern, bare) == 0)
        return true;
    if (strpbrk(pattern, "*?") != NULL)
        return fnmatch(pattern, bare, 0) == 0;
    hak_name_last(function, bare, sizeof bare);
    return strcmp(pattern, bare) == 0;
}
