/* put.h: text of others on its way to a terminal or into JSON. One thread a stream. */
#ifndef HAK_CLI_PUT_H
#define HAK_CLI_PUT_H

#include <stdio.h>

/* Without control characters: '?' for each. */
void hak_put_clean(FILE *out, const char *text);

/* As a JSON string, quotes included; bytes above ASCII become \u00xx. */
void hak_put_json(FILE *out, const char *text);

#endif
