/* output.h: the files that commands write: whole under their name, or not there. They are written under a
 * temporary name in the same folder and renamed. A name that is no regular file (a device, a pipe,
 * /dev/stdout) is written to as it is: to rename over it would take it away. One thread. */
#ifndef HAK_CLI_OUTPUT_H
#define HAK_CLI_OUTPUT_H

#include <limits.h>
#include <stdbool.h>

typedef struct output_file {
    const char *path;             /* the caller's; must outlive the file */
    char temporary[PATH_MAX + 8]; /* "": written in place */
} output_file;

/* A descriptor to write to, which the caller closes before output_end; -1 with errno, nothing then to be
 * ended. */
int output_begin(output_file *file, const char *path);

/* Gives the file its name, or, when it is not whole, takes it away. 0, or -1 with errno (the file is gone
 * then). */
int output_end(output_file *file, bool whole);

#endif
