/* report.h: what hakmem-report's files share. Single-threaded program. */
#ifndef HAK_CLI_REPORT_H
#define HAK_CLI_REPORT_H

#include <stdio.h>

#include "replay/profile.h"
#include "replay/sites.h"

typedef enum report_sort {
    SORT_PEAK,
    SORT_CALLS,
    SORT_BYTES,
    SORT_LIVE,
    SORT_TEMPORARY,
    SORT_LIFETIME,
    SORT_COPIED,
    SORT_REMOTE,
} report_sort;

typedef struct report_options {
    report_sort sort;
    const char *sort_name;
    unsigned top; /* sites shown; 0: all */
    bool color;
    bool quiet;
    unsigned width; /* columns of the terminal; 0: no limit */
} report_options;

typedef struct report_trace {
    const char *path;
    hak_reader *reader;
    hak_profile *profile;
} report_trace;

typedef struct report {
    report_options options;
    report_trace *traces;
    size_t traces_count;
    hak_sites *sites;
    const hak_site *list; /* sorted */
    size_t list_count;
} report;

/* Each prints the whole report to out. */
void report_text(const report *r, FILE *out);
void report_json(const report *r, FILE *out);
void report_csv(const report *r, FILE *out);

/* report_format.c: numbers and names for people. Texts go to a caller's buffer, which is returned. */
enum { REPORT_NUMBER = 32 };
const char *format_count(char *out, uint64_t value); /* "3.11 M" */
const char *format_bytes(char *out, uint64_t value); /* "11.1 MiB" */
const char *format_time(char *out, uint64_t ns);     /* "5.1 s" */
const char *format_share(char *out, uint64_t part, uint64_t whole);

/* Copies text from a trace or a file so that it is harmless on a terminal: control characters and what is not
 * UTF-8 become \xNN. Cut to `columns` (0: no limit) with an ellipsis; the columns used are returned. */
size_t format_safe(char *out, size_t room, const char *text, size_t columns);

/* "function  file:line", or "module+0xoffset". Safe to print. */
void format_place(char *out, size_t room, const hak_place *place, bool with_line);

#endif
