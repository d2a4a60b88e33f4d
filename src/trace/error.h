/* error.h: filling a hak_trace_error. Any thread. */
#ifndef HAK_TRACE_ERROR_H
#define HAK_TRACE_ERROR_H

#include "trace/trace_format.h"

#include <stdarg.h>
#include <stdio.h>

/* Sets the text and clears the position. error may be NULL. Returns -1, so that a failure is one line. */
__attribute__((format(printf, 2, 3))) static inline int hak_trace_fail(hak_trace_error *error,
                                                                       const char *format, ...)
{
    if (error == NULL)
        return -1;
    *error = (hak_trace_error){.text = ""};
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return -1;
}

#endif
