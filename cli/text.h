/* text.h: numbers for people, and text of others (names in traces, file names) on its way to a terminal or
 * into JSON. Texts go to a caller's buffer, which is returned. Pure, but for the writers to a stream; one
 * thread a stream. */
#ifndef HAK_CLI_TEXT_H
#define HAK_CLI_TEXT_H

#include <stdint.h>
#include <stdio.h>

enum { TEXT_NUMBER = 32 }; /* bytes that any number as text needs at most */

const char *format_count(char *out, uint64_t value); /* "3.11 M" */
const char *format_bytes(char *out, uint64_t value); /* "11.1 MiB" */
const char *format_time(char *out, uint64_t ns);     /* "5.1 s" */
const char *format_share(char *out, uint64_t part, uint64_t whole);

/* Copies text so that it is harmless on a terminal: control characters and what is not UTF-8 become \xNN. Cut
 * to `columns` (0: no limit) with an ellipsis; the columns used are returned. */
size_t format_safe(char *out, size_t room, const char *text, size_t columns);

/* The same to a stream, whatever its length. */
void put_safe(FILE *out, const char *text);

/* "  LEFT    help": the help begins at the column (on a line of its own where LEFT is too long) and is
 * wrapped between words to TEXT_HELP_COLUMNS. Both are ASCII. */
enum { TEXT_HELP_COLUMNS = 100 };
void put_row(FILE *out, const char *left, int column, const char *help);

/* A string of JSON in quotation marks, or null. Bytes that are not UTF-8 become U+FFFD; '<' is escaped, so
 * that it may stand in a page. */
void json_string(FILE *out, const char *text);

/* What is behind the last '/': part of the path. */
const char *base_name(const char *path);

#endif
