/* report_format.c: see report.h. Pure. */
#include "cli/report.h"

#include <inttypes.h>
#include <string.h>

#include "replay/names.h"

/* The function's name without return type and arguments, those of templates as <…> once it gets long. */
static size_t short_name(char *out, size_t room, const char *function)
{
    enum { LONG = 48 };
    const char *end;
    const char *at = hak_name_bare(function, &end);
    bool elide = end - at > LONG;
    int depth = 0;
    size_t n = 0;
    for (; at < end && n + 8 < room && *at != '@'; at++) { /* '@': a version */
        bool operator_sign = n >= 8 && strncmp(out + n - 8, "operator", 8) == 0;
        depth += *at == '<' && !operator_sign;
        if (depth == 0 || !elide)
            out[n++] = *at;
        if (*at == '>' && depth > 0 && --depth == 0 && elide) {
            memcpy(out + n, "<…>", 5);
            n += 5;
        }
    }
    out[n] = '\0';
    return n;
}

void format_place(char *out, size_t room, const hak_place *place, bool with_line)
{
    char raw[4096];
    if (place->function == NULL && place->line == 0) {
        snprintf(raw, sizeof raw, "%s%s0x%" PRIx64, base_name(place->module),
                 *place->module != '\0' ? "+" : "", place->offset);
    } else {
        size_t n =
            short_name(raw, 2048, place->function != NULL ? place->function : base_name(place->module));
        if (with_line && place->file != NULL && place->line != 0)
            snprintf(raw + n, sizeof raw - n, "  %s:%u", base_name(place->file), place->line);
    }
    format_safe(out, room, raw, 0);
}
