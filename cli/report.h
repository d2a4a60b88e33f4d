/* report.h: what hakmem-report's files share. Single-threaded program. */
#ifndef HAK_CLI_REPORT_H
#define HAK_CLI_REPORT_H

#include <stdio.h>

#include "cli/text.h"
#include "replay/profile.h"
#include "replay/sites.h"
#include "replay/tree.h"

enum { REPORT_FINE = 0, REPORT_BROKEN = 1, REPORT_TROUBLE = 2 }; /* exit statuses */

enum { REPORT_FILTERS_MAX = 32, REPORT_EXPORTS_MAX = 16, REPORT_CHECKS_MAX = 64 };

/* An order of sites: greatest key first. */
typedef struct report_order {
    const char *name;
    const char *title; /* of its column, where the table has none of it by itself; else NULL */
    uint64_t (*key)(const hak_site *site);
    void (*text)(char *out, const hak_site *site); /* with a title */
    hak_weight weight;                             /* the nearest figure of trees */
} report_order;

typedef struct report_filter {
    enum { FILTER_FUNCTION, FILTER_MODULE, FILTER_THREAD } kind;
    const char *pattern;
} report_filter;

typedef struct report_options {
    const report_order *order;
    unsigned top; /* rows shown; 0: all */
    unsigned frames;
    bool wrappers;
    bool partial;
    bool overview; /* no view was named: those that would be empty are left out */
    bool color;
    bool quiet;
    unsigned width; /* columns of the terminal; 0: no limit */
    uint64_t from_ns;
    uint64_t until_ns;
    bool at_peak;
    uint64_t temporary;
    double threshold_percent;                       /* of trees: smaller branches are not shown */
    const char *function;                           /* whose callers and callees are wanted */
    const struct report_suppressions *suppressions; /* NULL: none */
    report_filter filters[REPORT_FILTERS_MAX];
    unsigned filters_count;
} report_options;

typedef struct report_trace {
    const char *path;
    hak_reader *reader;
    hak_profile *profile;
    hak_stacks *stacks;
    uint32_t *tree_nodes; /* by the reader's context: node of the tree; with REPORT_NEEDS_NODES */
} report_trace;

/* Traces read and merged. */
typedef struct report {
    const report_options *options;
    report_trace *traces;
    size_t traces_count;
    hak_places *places; /* not owned: both sides of a difference have the same */
    hak_sites *sites;
    const hak_site *list; /* those that can be shown are sorted */
    size_t list_count;
    hak_tree *tree;     /* callers first, summed; NULL unless asked for */
    hak_tree *inverted; /* NULL unless asked for */
    hak_usage total;
    uint64_t peak_bytes; /* sum over the traces */
} report;

enum { REPORT_NEEDS_TREE = 1, REPORT_NEEDS_INVERTED = 2, REPORT_NEEDS_NODES = 4 };

/* report_load.c: reads and merges; REPORT_FINE or REPORT_TROUBLE, told on stderr. Free in both cases. */
int report_load(report *r, const report_options *options, hak_places *places, char **paths, size_t count,
                unsigned needs);
void report_free(report *r);
int report_verify(const char *path, bool partial);
int report_trouble(const char *path, const char *text); /* prints; REPORT_TROUBLE */

/* report_orders.c */
const report_order *report_order_named(const char *name); /* NULL: none */
/* Puts the `wanted` first sites in order; the others follow in the order that they had. False: no memory. */
bool report_sort(hak_site *list, size_t count, const report_order *order, size_t wanted);

/* Views for people, each in a file of its own: print to out. */
void report_summary(const report *r, FILE *out);
void report_sites_table(const report *r, FILE *out);
void report_growers(const report *r, FILE *out);
void report_sizes(const report *r, FILE *out);
void report_threads(const report *r, FILE *out);
void report_advice(const report *r, FILE *out);
void report_tree(const report *r, FILE *out);
void report_inverted(const report *r, FILE *out);
void report_function(const report *r, FILE *out);
void report_leaks(const report *r, FILE *out);
/* Bytes and blocks never freed and not suppressed, and the node of the tree with most. False: no memory. */
bool report_leaked(const report *r, uint64_t *bytes, uint64_t *blocks, uint32_t *worst);
void report_temporary(const report *r, FILE *out);
void report_lifetimes(const report *r, FILE *out);
void report_remarks(const report *r, FILE *out);
void report_diff(const report *base, const report *new, FILE *out);

/* For programs. */
enum { REPORT_JSON_TREE = 1, REPORT_JSON_INVERTED = 2, REPORT_JSON_LEAKS = 4 }; /* what is told besides */
void report_json(const report *r, unsigned views, FILE *out);
void report_tree_json(const report *r, hak_tree *tree, const char *name, FILE *out); /* a member */
void report_leaks_json(const report *r, FILE *out);
void report_advice_json(const report *r, FILE *out); /* elements of an array */
void report_csv(const report *r, FILE *out);
void report_diff_json(const report *base, const report *new, FILE *out);

/* report_format.c: places for people. */
enum { REPORT_NUMBER = TEXT_NUMBER, REPORT_LINE = 8192 };

/* "function  file:line", or "module+0xoffset". Safe to print. What is longer than so many columns (a name
 * alone: 48) loses its templates' arguments, then namespaces in the middle: "std::…::_M_realloc_append". */
void format_place(char *out, size_t room, const hak_place *place, bool with_line);
void format_place_within(char *out, size_t room, const hak_place *place, bool with_line, size_t columns);
size_t format_columns(const char *text); /* that a terminal shows of UTF-8 */

/* report_print.c. "place ← caller ← caller". Safe to print. columns: that it will be cut to; 0: no limit. */
bool report_is_outermost(const hak_place *place); /* main, or where a thread starts */
void format_site(char *out, size_t room, const report *r, const hak_site *site, unsigned columns);

/* report_print.c: pieces of tables. */
const char *report_bold(const report *r);
const char *report_dim(const report *r);
const char *report_plain(const report *r);
void report_cell(FILE *out, const char *text, int width); /* right-aligned by what is seen */
/* The last column: cut to what the terminal has left beside `before` columns, with the line's end. */
void report_last(const report *r, FILE *out, const char *text, unsigned before);
void report_last_site(const report *r, FILE *out, const hak_site *site, unsigned before);
bool report_fits(const report *r, unsigned columns);    /* the terminal has as many */
unsigned report_room(const report *r, unsigned before); /* columns of the last one; 0: no limit */
/* A place with its line, for behind `before` columns. */
void format_wide_place(char *out, size_t room, const report *r, const hak_place *place, unsigned before);
/* Words, broken to the terminal, each line behind so many blanks. */
void report_words(const report *r, FILE *out, const char *text, unsigned indent);
const char *report_s(uint64_t count);     /* "s" but for one */
const char *report_left(const report *r); /* "never freed"; with an end before the exit "live then" */
size_t report_shown(const report *r, size_t count); /* rows, by --top */
bool report_is_part(const report *r);               /* filters or a time leave something out */
/* A view that was asked for and is empty says so. */
void report_nothing(const report *r, FILE *out, const char *what);
/* "  12 more …" in dim, when rows were left out. */
void report_more(const report *r, FILE *out, size_t more, const char *what);

#endif
