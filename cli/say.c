/* say.c: see say.h. */
#include "cli/say.h"

#include <stdarg.h>
#include <stdio.h>

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
