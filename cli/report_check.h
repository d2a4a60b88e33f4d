/* report_check.h: budgets, "peak<200M" or "calls(parse)<1e6", for continuous integration. */
#ifndef HAK_CLI_REPORT_CHECK_H
#define HAK_CLI_REPORT_CHECK_H

#include "cli/report.h"

typedef struct report_check {
    const char *text; /* as given */
    const struct check_metric *metric;
    char function[256]; /* "": the whole program */
    int op;             /* see report_check.c */
    double limit;
    bool percent;
} report_check;

/* What is wrong with it (static text), or NULL. */
const char *report_check_parse(const char *text, report_check *out);

/* Whether it holds; when not, one line to stderr says what broke, where, by how much. The report has a tree.
 */
bool report_check_holds(const report *r, const report_check *check);

#endif
