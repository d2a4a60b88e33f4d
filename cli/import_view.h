/* import_view.h: what an import is said to have found; for hakmem-replay and hakmem-report. */
#ifndef HAK_CLI_IMPORT_VIEW_H
#define HAK_CLI_IMPORT_VIEW_H

#include <stdio.h>

#include "import/import.h"

/* A few lines for people; `indent` stands before each but the first. */
void hak_import_print(FILE *out, const hak_import_summary *summary, const char *indent);

/* Members of a JSON object, without the braces. */
void hak_import_print_json(FILE *out, const hak_import_summary *summary);

#endif
