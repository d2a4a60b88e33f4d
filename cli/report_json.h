/* report_json.h: pieces of JSON that several outputs are made of. */
#ifndef HAK_CLI_REPORT_JSON_H
#define HAK_CLI_REPORT_JSON_H

#include "cli/report.h"

enum { REPORT_SCHEMA = 1 }; /* fields are only ever added */

void json_number(FILE *out, const char *name, uint64_t value);      /* ,"name":value */
void json_place(FILE *out, const hak_place *place);                 /* an object's members, without braces */
void json_usage(FILE *out, const hak_usage *usage);                 /* an object, or null */
void json_frames(FILE *out, const report *r, const hak_site *site); /* ,"frames":[…] */

#endif
