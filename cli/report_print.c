/* report_print.c: pieces that all tables for people are made of. */
#include "cli/report.h"

#include <string.h>

enum { NAME_MOST = 96 }; /* columns of one place with its line, where the terminal is wide */

const char *report_bold(const report *r)
{
    return r->options->color ? "\033[1m" : "";
}

const char *report_dim(const report *r)
{
    return r->options->color ? "\033[2m" : "";
}

const char *report_plain(const report *r)
{
    return r->options->color ? "\033[0m" : "";
}

/* µ and … are two and three bytes of one column. */
void report_cell(FILE *out, const char *text, int width)
{
    int seen = (int)format_columns(text);
    fprintf(out, "%*s%s", width > seen ? width - seen : 0, "", text);
}

bool report_fits(const report *r, unsigned columns)
{
    return r->options->width == 0 || r->options->width >= columns;
}

unsigned report_room(const report *r, unsigned before)
{
    enum { LEAST = 16 };
    unsigned width = r->options->width;
    return width == 0 ? 0 : width > before + LEAST ? width - before : LEAST;
}

void report_last(const report *r, FILE *out, const char *text, unsigned before)
{
    char cut[REPORT_LINE];
    format_safe(cut, sizeof cut, text, report_room(r, before));
    fprintf(out, "%s\n", cut);
}

void format_wide_place(char *out, size_t room, const report *r, const hak_place *place, unsigned before)
{
    unsigned columns = report_room(r, before);
    if (columns == 0)
        format_place(out, room, place, true);
    else
        format_place_within(out, room, place, true, columns < NAME_MOST ? columns : NAME_MOST);
}

void report_last_site(const report *r, FILE *out, const hak_site *site, unsigned before)
{
    char text[REPORT_LINE];
    format_site(text, sizeof text, r, site, report_room(r, before));
    report_last(r, out, text, before);
}

void report_words(const report *r, FILE *out, const char *text, unsigned indent)
{
    unsigned room = report_room(r, indent);
    unsigned used = 0;
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        char word[REPORT_LINE];
        snprintf(word, sizeof word, "%.*s", (int)n, text);
        unsigned wide = (unsigned)format_columns(word);
        bool fits = room == 0 || used + 1 + wide <= room;
        if (used == 0 || !fits)
            fprintf(out, "%s%*s", used == 0 ? "" : "\n", (int)indent, "");
        else
            fputc(' ', out);
        fputs(word, out);
        used = used == 0 || !fits ? wide : used + 1 + wide;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

const char *report_left(const report *r)
{
    return r->options->at_peak || r->options->until_ns != UINT64_MAX ? "live then" : "never freed";
}

const char *report_s(uint64_t count)
{
    return count == 1 ? "" : "s";
}

size_t report_shown(const report *r, size_t count)
{
    return r->options->top != 0 && r->options->top < count ? r->options->top : count;
}

bool report_is_part(const report *r)
{
    const report_options *o = r->options;
    return o->filters_count != 0 || o->from_ns != 0 || o->until_ns != UINT64_MAX || o->at_peak;
}

void report_nothing(const report *r, FILE *out, const char *what)
{
    bool part = report_is_part(r);
    char text[256];
    snprintf(text, sizeof text, "%s%s", what, part ? " in what --filter, --from, --to or --at leave" : "");
    fprintf(out, "\n%s", report_dim(r));
    report_words(r, out, text, 2);
    fputs(report_plain(r), out);
}

void report_more(const report *r, FILE *out, size_t more, const char *what)
{
    char text[128];
    int first = (int)strcspn(what, " "); /* a plural, but for "that" */
    if (more == 0)
        return;
    if (more == 1 && what[first - 1] == 's')
        snprintf(text, sizeof text, "1 more %.*s%s (--top=0 shows all)", first - 1, what, what + first);
    else
        snprintf(text, sizeof text, "%zu more %s (--top=0 shows all)", more, what);
    fputs(report_dim(r), out);
    report_words(r, out, text, 2);
    fputs(report_plain(r), out);
}

/* What is further out is the C library's, or Rust's, and the same for all. */
bool report_is_outermost(const hak_place *place)
{
    if (place->function == NULL)
        return false;
    size_t n = strlen(place->function);
    return strcmp(place->function, "main") == 0 || strcmp(place->function, "start_thread") == 0 ||
           (n > 6 && strcmp(place->function + n - 6, "::main") == 0); /* of Rust; C++ has arguments */
}

/* The first place is what a row is about, so it may take most of the room; its callers are cut first. */
void format_site(char *out, size_t room, const report *r, const hak_site *site, unsigned columns)
{
    size_t used = 0;
    out[0] = '\0';
    if (site->frames_count == 0)
        snprintf(out, room, "(no call context)");
    const uint32_t *frames = hak_sites_frames(r->sites, site);
    for (uint32_t i = 0; i < site->frames_count && used + 8 < room; i++) {
        char place[2048];
        const hak_place *at = hak_places_at(r->places, frames[i]);
        if (i == 0 && columns != 0)
            format_place_within(place, sizeof place, at, true, columns < NAME_MOST ? columns : NAME_MOST);
        else
            format_place(place, sizeof place, at, i == 0);
        int n = snprintf(out + used, room - used, "%s%s", i == 0 ? "" : " ← ", place);
        used += (size_t)n < room - used ? (size_t)n : room - used - 1;
        if (report_is_outermost(at))
            break;
    }
}
