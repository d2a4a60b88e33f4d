/* put.c: see put.h. */
#include "cli/put.h"

void hak_put_clean(FILE *out, const char *text)
{
    for (; *text != 0; text++)
        putc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
}

void hak_put_json(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text != 0; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == '"' || c == '\\' || c >= 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}
