/* report_html.h: one offline page of a report, or of a difference. */
#ifndef HAK_CLI_REPORT_HTML_H
#define HAK_CLI_REPORT_HTML_H

#include "cli/report.h"

/* What the reports must have been loaded with. */
enum { REPORT_HTML_NEEDS = REPORT_NEEDS_TREE | REPORT_NEEDS_NODES };

/* base may be NULL. REPORT_FINE or REPORT_TROUBLE, told on stderr. Reads the traces once more. */
int report_html_write(const report *base, const report *new, const char *path);

#endif
