/* report_suppress.h: suppressions of leaks in the syntax of LeakSanitizer: lines "leak:TEMPLATE", comments
 * with '#'. A template is found anywhere in the name of a function, a source file or a module of the stack;
 * '*' is any text, '^' in front and '$' behind anchor it. Lines of other kinds (race:, …) are passed over.
 * One thread. */
#ifndef HAK_CLI_REPORT_SUPPRESS_H
#define HAK_CLI_REPORT_SUPPRESS_H

#include <stdio.h>

#include "replay/places.h"

typedef struct report_suppressions report_suppressions;

/* NULL: *fault says why (static text) and *line where (0: the file itself). */
report_suppressions *report_suppressions_load(const char *path, const char **fault, unsigned *line);
void report_suppressions_free(report_suppressions *suppressions);

/* Whether one matches a place; its number goes to *which. */
bool report_suppressions_match(const report_suppressions *suppressions, const hak_place *place,
                               size_t *which);

size_t report_suppressions_count(const report_suppressions *suppressions);
const char *report_suppressions_text(const report_suppressions *suppressions, size_t which);

#endif
