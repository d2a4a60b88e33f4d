/* say.c: see say.h. */
#include "cli/say.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/text.h"

static const char *name = "hakmem";

void say_as(const char *tool)
{
    name = tool;
}

void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

void say_about(const char *subject, const char *problem)
{
    fprintf(stderr, "%s: ", name);
    if (subject != NULL) {
        putc('\'', stderr);
        put_safe(stderr, subject);
        fputs("': ", stderr);
    }
    fprintf(stderr, "%s\n", problem);
}

/* Within a cluster of short options getopt has not moved on yet, so that only optopt knows the letter. */
const char *say_option(char *const *argv)
{
    static char letter[3] = "-";
    const char *last = argv[optind - 1];
    if (optopt <= ' ' || optopt >= 0x7f || strncmp(last, "--", 2) == 0)
        return last;
    letter[1] = (char)optopt;
    return letter;
}

bool say_flushed(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    if (errno != EPIPE) /* who reads no more wants no more */
        say("standard output: %s", errno != 0 ? strerror(errno) : "cannot be written");
    return false;
}
