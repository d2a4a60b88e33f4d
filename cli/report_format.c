/* report_format.c: places for people: names no longer than there is room for, the telling end kept. Pure. */
#include "cli/report.h"

#include <inttypes.h>
#include <string.h>

#include "replay/names.h"

enum { NAME_ROOM = 4096, LINE_ROOM = 512, NAME_COLUMNS = 48, NAME_LEAST = 16 };

/* ---- names ---- */

/* What says the same at less length; in this order. */
static const struct {
    const char *from;
    const char *to;
} plainer[] = {
    {"std::__cxx11::", "std::"},
    {"std::__1::", "std::"},
    {"std::__ndk1::", "std::"},
    {"[abi:cxx11]", ""},
    {"std::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string"},
    {"(anonymous namespace)::", "{anonymous}::"},
};

static void replace_all(char *text, const char *from, const char *to)
{
    size_t len = strlen(from);
    size_t put = strlen(to); /* never longer */
    for (char *at = text; (at = strstr(at, from)) != NULL; at += put) {
        memcpy(at, to, put);
        memmove(at + put, at + len, strlen(at + len) + 1);
    }
}

/* Behind the arguments: "::{lambda…" of a function's lambdas, else "". */
static const char *lambda_behind(const char *arguments)
{
    int depth = 0;
    const char *at = arguments;
    for (; *at != '\0'; at++) {
        depth += (*at == '(') - (*at == ')');
        if (depth == 0)
            break;
    }
    at += *at == ')';
    at += strncmp(at, " const", 6) == 0 ? 6 : 0;
    return strncmp(at, "::{lambda", 9) == 0 ? "::{lambda}" : "";
}

/* Neither return type nor arguments nor a symbol's version. */
static void bare_name(char *out, size_t room, const char *function)
{
    const char *end;
    const char *start = hak_name_bare(function, &end);
    snprintf(out, room, "%.*s%s", (int)(end - start < NAME_ROOM / 2 ? end - start : NAME_ROOM / 2), start,
             *end == '(' ? lambda_behind(end) : "");
    char *version = strchr(out, '@');
    if (version != NULL && version != out)
        *version = '\0';
    for (size_t i = 0; i < HAK_COUNT_OF(plainer); i++)
        replace_all(out, plainer[i].from, plainer[i].to);
}

/* Whether an angle bracket at `at` belongs to an operator's name; looks at what is before it only. */
static bool of_operator(const char *name, const char *at)
{
    while (at > name && strchr("<>=-", at[-1]) != NULL)
        at--;
    return at - name >= 8 && strncmp(at - 8, "operator", 8) == 0;
}

/* "a!(…).b" of D's "a!(b, c!(d)).b". */
static void elide_parentheses(char *name)
{
    static const char elided[] = "!(…)";
    char *put = name;
    char *open = name;
    int depth = 0;
    for (char *at = name; *at != '\0'; at++) {
        if (*at == '(' && depth++ == 0)
            open = put;
        *put++ = *at; /* put <= at */
        if (*at == ')' && depth > 0 && --depth == 0 && open > name && open[-1] == '!' &&
            (size_t)(put - open) >= sizeof elided - 2) {
            memcpy(open - 1, elided, sizeof elided - 1);
            put = open - 1 + sizeof elided - 1;
        }
    }
    *put = '\0';
}

/* "a<…>::b" of "a<b, c<d> >::b". */
static void elide_templates(char *name)
{
    static const char elided[] = "<…>";
    char *put = name;
    int depth = 0;
    char *open = name;
    for (char *at = name; *at != '\0'; at++) {
        bool bracket = (*at == '<' || *at == '>') && !(depth == 0 && of_operator(name, put));
        if (bracket && *at == '<' && depth++ == 0)
            open = put;
        *put++ = *at; /* put <= at */
        if (bracket && *at == '>' && depth > 0 && --depth == 0 && (size_t)(put - open) >= sizeof elided - 1) {
            memcpy(open, elided, sizeof elided - 1);
            put = open + sizeof elided - 1;
        }
    }
    *put = '\0';
}

/* "std::…::f" of "std::a::b::f": the first component and the last `kept`. */
static void elide_middle(char *name, unsigned kept)
{
    enum { MOST = 64 };
    static const char elided[] = "…";
    char *starts[MOST]; /* of components behind the first */
    unsigned count = 0;
    int depth = 0;
    for (char *at = name; *at != '\0' && count < MOST; at++) {
        bool bracket = (*at == '<' || *at == '>') && !of_operator(name, at);
        if (bracket)
            depth += *at == '<' ? 1 : depth > 0 ? -1 : 0;
        else if (depth == 0 && at[0] == ':' && at[1] == ':' && at[2] != '\0')
            starts[count++] = ++at + 1;
    }
    if (count <= kept)
        return;
    char *from = starts[0];
    char *to = starts[count - kept] - 2; /* at its "::" */
    if ((size_t)(to - from) < sizeof elided)
        return;
    memcpy(from, elided, sizeof elided - 1);
    memmove(from + sizeof elided - 1, to, strlen(to) + 1);
}

/* The function's name, shortened in steps until it has no more than so many columns. Rust's "<Type<T> as
 * Trait<T>>::f" loses what is inside first. */
static void short_name(char *out, size_t room, const char *function, size_t columns)
{
    bare_name(out, room, function);
    for (unsigned step = 0; step < 4 && format_columns(out) > columns; step++) {
        if (step == 0)
            elide_parentheses(out);
        if (step <= 1)
            elide_templates(out + (step == 0 && *out == '<'));
        else
            elide_middle(out, 4 - step);
    }
}

/* ---- places ---- */

size_t format_columns(const char *text)
{
    size_t columns = 0;
    for (; *text != '\0'; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

/* "  file:line", or "". */
static const char *format_line(char *out, size_t room, const hak_place *place, bool wanted)
{
    out[0] = '\0';
    if (wanted && place->file != NULL && place->line != 0)
        snprintf(out, room, "  %s:%u", base_name(place->file), place->line);
    return out;
}

static void put_place(char *out, size_t room, const hak_place *place, const char *line, size_t columns)
{
    char raw[NAME_ROOM + LINE_ROOM];
    if (place->function == NULL && place->line == 0) {
        snprintf(raw, sizeof raw, "%s%s0x%" PRIx64, base_name(place->module),
                 *place->module != '\0' ? "+" : "", place->offset);
    } else {
        const char *name = place->function != NULL ? place->function : base_name(place->module);
        short_name(raw, NAME_ROOM, name, columns);
        snprintf(raw + strlen(raw), LINE_ROOM, "%s", line);
    }
    format_safe(out, room, raw, 0);
}

void format_place_within(char *out, size_t room, const hak_place *place, bool with_line, size_t columns)
{
    char line[LINE_ROOM];
    size_t seen = format_columns(format_line(line, sizeof line, place, with_line));
    put_place(out, room, place, line, columns > seen + NAME_LEAST ? columns - seen : NAME_LEAST);
}

void format_place(char *out, size_t room, const hak_place *place, bool with_line)
{
    char line[LINE_ROOM];
    put_place(out, room, place, format_line(line, sizeof line, place, with_line), NAME_COLUMNS);
}
