/* report_print.c: pieces that all tables for people are made of. */
#include "cli/report.h"

#include <string.h>

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
    int seen = 0;
    for (const char *at = text; *at != '\0'; at++)
        seen += ((unsigned char)*at & 0xc0) != 0x80;
    fprintf(out, "%*s%s", width > seen ? width - seen : 0, "", text);
}

void report_last(const report *r, FILE *out, const char *text, unsigned before)
{
    enum { LEAST = 20 };
    char cut[REPORT_LINE];
    unsigned width = r->options->width;
    format_safe(cut, sizeof cut, text, width == 0 ? 0 : width > before + LEAST ? width - before : LEAST);
    fprintf(out, "%s\n", cut);
}

size_t report_shown(const report *r, size_t count)
{
    return r->options->top != 0 && r->options->top < count ? r->options->top : count;
}

void report_more(const report *r, FILE *out, size_t more, const char *what)
{
    if (more != 0)
        fprintf(out, "%s  %zu more %s (--top=0 shows all)%s\n", report_dim(r), more, what, report_plain(r));
}

/* What is further out is the C library's and the same for all. */
static bool is_outermost(const hak_place *place)
{
    return place->function != NULL &&
           (strcmp(place->function, "main") == 0 || strcmp(place->function, "start_thread") == 0);
}

void format_site(char *out, size_t room, const report *r, const hak_site *site)
{
    size_t used = 0;
    out[0] = '\0';
    if (site->frames_count == 0)
        snprintf(out, room, "(no call context)");
    const uint32_t *frames = hak_sites_frames(r->sites, site);
    for (uint32_t i = 0; i < site->frames_count && used + 8 < room; i++) {
        char place[2048];
        const hak_place *at = hak_places_at(r->places, frames[i]);
        format_place(place, sizeof place, at, i == 0);
        int n = snprintf(out + used, room - used, "%s%s", i == 0 ? "" : " ← ", place);
        used += (size_t)n < room - used ? (size_t)n : room - used - 1;
        if (is_outermost(at))
            break;
    }
}
