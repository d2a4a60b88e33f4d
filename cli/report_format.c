/* report_format.c: see report.h. Pure. */
#include "cli/report.h"

#include <inttypes.h>
#include <string.h>

#include "replay/names.h"

const char *format_count(char *out, uint64_t value)
{
    static const char units[] = " KMGTPE";
    double scaled = (double)value;
    unsigned unit = 0;
    while (scaled >= 999.5 && unit + 2 < sizeof units) {
        scaled /= 1000;
        unit++;
    }
    if (unit == 0)
        snprintf(out, REPORT_NUMBER, "%" PRIu64, value);
    else
        snprintf(out, REPORT_NUMBER, "%.*f %c",
                 scaled < 9.995   ? 2
                 : scaled < 99.95 ? 1
                                  : 0,
                 scaled, units[unit]);
    return out;
}

const char *format_bytes(char *out, uint64_t value)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double scaled = (double)value;
    unsigned unit = 0;
    while (scaled >= 1023.5 && unit + 1 < HAK_COUNT_OF(units)) {
        scaled /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(out, REPORT_NUMBER, "%" PRIu64 " B", value);
    else
        snprintf(out, REPORT_NUMBER, "%.*f %s",
                 scaled < 9.995   ? 2
                 : scaled < 99.95 ? 1
                                  : 0,
                 scaled, units[unit]);
    return out;
}

const char *format_time(char *out, uint64_t ns)
{
    double t = (double)ns;
    if (ns < 1000)
        snprintf(out, REPORT_NUMBER, "%" PRIu64 " ns", ns);
    else if (t < 999.5e3)
        snprintf(out, REPORT_NUMBER, "%.*f µs", t < 9.95e3 ? 1 : 0, t / 1e3);
    else if (t < 999.5e6)
        snprintf(out, REPORT_NUMBER, "%.*f ms", t < 9.95e6 ? 1 : 0, t / 1e6);
    else if (t < 600e9)
        snprintf(out, REPORT_NUMBER, "%.*f s", t < 99.5e9 ? 1 : 0, t / 1e9);
    else if (t < 7200e9)
        snprintf(out, REPORT_NUMBER, "%.0f min", t / 60e9);
    else
        snprintf(out, REPORT_NUMBER, "%.1f h", t / 3600e9);
    return out;
}

const char *format_share(char *out, uint64_t part, uint64_t whole)
{
    double percent = whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
    if (percent > 0 && percent < 0.5)
        snprintf(out, REPORT_NUMBER, "<1%%");
    else if (percent > 99.5 && part < whole)
        snprintf(out, REPORT_NUMBER, ">99%%");
    else
        snprintf(out, REPORT_NUMBER, "%.0f%%", percent);
    return out;
}

/* Length of the valid UTF-8 character at text (1 … 4) that a terminal only shows, else 0. */
static size_t shown_length(const unsigned char *text)
{
    unsigned char c = text[0];
    if (c < 0x80)
        return c >= 0x20 && c != 0x7f ? 1 : 0;
    size_t n = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (n == 0)
        return 0;
    uint32_t code = c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    bool overlong = (n == 3 && code < 0x800) || (n == 4 && code < 0x10000);
    bool control = code < 0xa0 || (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                   (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
    return overlong || control || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff ? 0 : n;
}

size_t format_safe(char *out, size_t room, const char *text, size_t columns)
{
    static const char ellipsis[] = "…";
    const unsigned char *at = (const unsigned char *)text;
    size_t used = 0;
    size_t shown = 0;
    size_t cut_used = 0; /* where the ellipsis would go */
    while (*at != '\0') {
        size_t n = shown_length(at);
        size_t wide = n == 0 ? 4 : 1;
        size_t bytes = n == 0 ? 4 : n;
        bool full = used + bytes + sizeof ellipsis > room;
        if (full || (columns != 0 && shown + wide > columns)) {
            memcpy(out + cut_used, ellipsis, sizeof ellipsis);
            return full ? shown + 1 : columns;
        }
        if (n == 0)
            snprintf(out + used, 5, "\\x%02x", *at);
        else
            memcpy(out + used, at, n);
        used += bytes;
        shown += wide;
        at += n == 0 ? 1 : n;
        if (columns == 0 || shown < columns)
            cut_used = used;
    }
    out[used] = '\0';
    return shown;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

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
