/* copy.h: a trace once more, with other names or with more of them: symbols put in, or names taken out. Same
 * events, contexts and times. One thread. Memory: as reader and writer. */
#ifndef HAK_TRACE_COPY_H
#define HAK_TRACE_COPY_H

#include "trace/reader.h"
#include "trace/writer.h"

typedef enum hak_copy_name {
    HAK_COPY_PROGRAM,
    HAK_COPY_COMMAND,
    HAK_COPY_MODULE,
    HAK_COPY_THREAD,
    HAK_COPY_FUNCTION,
    HAK_COPY_FILE
} hak_copy_name;

typedef struct hak_copy_options {
    /* NULL: names stay. Else what stands for one: a text that is good until the next call. */
    const char *(*rename)(void *context, hak_copy_name kind, const char *name);
    bool drop_build_ids;
    /* NULL: the trace's symbols are copied. Else adds others, once all else is written. */
    void (*add_symbols)(void *context, hak_writer *writer);
    void *context;
} hak_copy_options;

/* The reader is rewound first. `path` may be the trace itself: it is replaced when the copy is whole. 0 or -1
 * with *error filled. */
int hak_trace_copy(hak_reader *reader, const char *path, const hak_copy_options *options,
                   hak_trace_error *error);

#endif
