/* report_options.h: hakmem-report's command line. */
#ifndef HAK_CLI_REPORT_OPTIONS_H
#define HAK_CLI_REPORT_OPTIONS_H

#include "cli/export.h"
#include "cli/report.h"
#include "cli/report_check.h"

typedef enum report_form { FORM_TEXT, FORM_JSON, FORM_CSV } report_form;

/* A view for people, chosen by an option of its name. */
typedef struct report_view {
    const char *option;
    unsigned needs; /* REPORT_NEEDS_* */
    void (*print)(const report *r, FILE *out);
} report_view;

enum { REPORT_VIEWS_MAX = 16 };

typedef struct report_arguments {
    report_options options;
    report_form form;
    unsigned forms_count; /* that were asked for */
    bool verify;
    bool diff;
    bool at_given;
    bool to_given;
    bool help;
    bool version;
    const char *color;
    const char *suppressions; /* file */
    const report_view *views[REPORT_VIEWS_MAX];
    unsigned views_count;
    report_check checks[REPORT_CHECKS_MAX];
    unsigned checks_count;
    export_request exports[REPORT_EXPORTS_MAX];
    unsigned exports_count;
    const char *html; /* file; NULL: none */
    bool symbolize;
    const char *symbolized; /* file; NULL: in place */
    const char *anonymized; /* file; NULL: not asked for */
} report_arguments;

/* The views an option can choose, ended by one without a name. */
extern const report_view report_views[];
extern const char report_help[];

/* Fills *args; operands are argv[optind …]. REPORT_FINE, or REPORT_TROUBLE told on stderr. */
int report_parse(report_arguments *args, int argc, char **argv);

#endif
