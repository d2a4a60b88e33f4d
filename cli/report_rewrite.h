/* report_rewrite.h: a trace written once more: with names in it, or without any. */
#ifndef HAK_CLI_REPORT_REWRITE_H
#define HAK_CLI_REPORT_REWRITE_H

#include "cli/report.h"

/* Puts functions, files and lines into the trace, so that it can be read where the program is not. */
int report_symbolize(const report *r, const char *path);
/* Takes names of programs, modules, threads, functions and files out; who is equal stays equal. */
int report_anonymize(const report *r, const char *path);

#endif
