/* text.c: see text.h. */
#include "cli/text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

/* ---- numbers ---- */

/* Three figures and the unit, which stands with its space. */
static const char *put_scaled(char *out, uint64_t value, double base, const char *const units[7])
{
    double scaled = (double)value;
    unsigned unit = 0;
    while (scaled >= base - 0.5 && unit < 6) {
        scaled /= base;
        unit++;
    }
    if (unit == 0)
        snprintf(out, TEXT_NUMBER, "%" PRIu64 "%s", value, units[0]);
    else
        snprintf(out, TEXT_NUMBER, "%.*f%s",
                 scaled < 9.995   ? 2
                 : scaled < 99.95 ? 1
                                  : 0,
                 scaled, units[unit]);
    return out;
}

const char *format_count(char *out, uint64_t value)
{
    static const char *const units[] = {"", " K", " M", " G", " T", " P", " E"};
    return put_scaled(out, value, 1000, units);
}

const char *format_bytes(char *out, uint64_t value)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    return put_scaled(out, value, 1024, units);
}

const char *format_time(char *out, uint64_t ns)
{
    double t = (double)ns;
    if (ns < 1000)
        snprintf(out, TEXT_NUMBER, "%" PRIu64 " ns", ns);
    else if (t < 999.5e3)
        snprintf(out, TEXT_NUMBER, "%.*f µs", t < 9.95e3 ? 1 : 0, t / 1e3);
    else if (t < 999.5e6)
        snprintf(out, TEXT_NUMBER, "%.*f ms", t < 9.95e6 ? 1 : 0, t / 1e6);
    else if (t < 600e9)
        snprintf(out, TEXT_NUMBER, "%.*f s", t < 99.5e9 ? 1 : 0, t / 1e9);
    else if (t < 7200e9)
        snprintf(out, TEXT_NUMBER, "%.0f min", t / 60e9);
    else
        snprintf(out, TEXT_NUMBER, "%.1f h", t / 3600e9);
    return out;
}

const char *format_share(char *out, uint64_t part, uint64_t whole)
{
    double percent = whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
    if (percent > 0 && percent < 0.5)
        snprintf(out, TEXT_NUMBER, "<1%%");
    else if (percent > 99.5 && part < whole)
        snprintf(out, TEXT_NUMBER, ">99%%");
    else
        snprintf(out, TEXT_NUMBER, "%.0f%%", percent);
    return out;
}

/* ---- text of others ---- */

/* Length of the valid UTF-8 character at text, 1 to 4; 0: none. Its code goes to *code. */
static size_t utf8_length(const unsigned char *text, uint32_t *code)
{
    unsigned char c = text[0];
    size_t n = c < 0x80                 ? 1
               : c >= 0xc2 && c <= 0xdf ? 2
               : (c & 0xf0) == 0xe0     ? 3
               : c >= 0xf0 && c <= 0xf4 ? 4
                                        : 0;
    *code = n <= 1 ? c : c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (text[i] & 0x3f);
    }
    bool overlong = (n == 3 && *code < 0x800) || (n == 4 && *code < 0x10000);
    bool surrogate = *code >= 0xd800 && *code < 0xe000;
    return overlong || surrogate || *code > 0x10ffff ? 0 : n;
}

/* Length of the character at text that a terminal only shows, else 0. */
static size_t shown_length(const unsigned char *text)
{
    uint32_t code;
    size_t n = utf8_length(text, &code);
    bool control = code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
                   (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
    return control ? 0 : n;
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

void put_safe(FILE *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        size_t n = shown_length(at);
        if (n == 0)
            fprintf(out, "\\x%02x", *at);
        else
            fwrite(at, 1, n, out);
        at += n == 0 ? 1 : n;
    }
}

void put_row(FILE *out, const char *left, int column, const char *help)
{
    int at = fprintf(out, "  %s", left);
    for (const char *word = help + strspn(help, " "); *word != '\0';) {
        int len = (int)strcspn(word, " ");
        bool first = word == help;
        if (first ? at >= column : at + 1 + len > TEXT_HELP_COLUMNS) {
            fputc('\n', out);
            at = 0;
            first = true;
        }
        if (first)
            at += fprintf(out, "%*s", column - at, "");
        else
            at += fprintf(out, " ");
        at += fprintf(out, "%.*s", len, word);
        word += len;
        word += strspn(word, " ");
    }
    fputc('\n', out);
}

void json_string(FILE *out, const char *text)
{
    if (text == NULL) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        uint32_t code;
        size_t n = utf8_length(at, &code);
        if (n == 0)
            fputs("\\ufffd", out);
        else if (*at < 0x20 || *at == 0x7f || *at == '<')
            fprintf(out, "\\u%04x", *at);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else
            fwrite(at, 1, n, out);
        at += n == 0 ? 1 : n;
    }
    fputc('"', out);
}

const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}
