/* kinds.h: one row and one file per format. A kind reads its records from im->in and says what happened
 * through events.h. For kinds.c and the kind_*.c files. */
#ifndef HAK_IMPORT_KINDS_H
#define HAK_IMPORT_KINDS_H

#include "import/events.h"
#include "import/scan.h"

typedef struct hak_import_kind {
    hak_import_format format;
    const char *limits; /* what the format has no place for; "" */
    /* Do the first bytes (of the unpacked file) look like it? Sets im->timed, im->late_events and
     * im->threads_unknown where they apply; called also when the format is given. */
    bool (*detect)(hak_import *im, const char *head, size_t len_bytes);
    int (*run)(hak_import *im); /* 0, or -1 with im->error filled */
} hak_import_kind;

/* What im->late_events is where threads write their events down by themselves, and where one lock orders them
 * but a realloc. */
#define HAK_IMPORT_LATE_THREADS 16384u
#define HAK_IMPORT_LATE_REALLOC 64u

extern const hak_import_kind hak_import_heaptrack, hak_import_android, hak_import_wee_alloc,
    hak_import_logalloc, hak_import_lttng, hak_import_calls, hak_import_rep, hak_import_script,
    hak_import_fleetbench, hak_import_protobuf, hak_import_mtrace, hak_import_webkit, hak_import_workload;

/* What is wrong with a line, or NULL. The line is not blank. */
typedef const char *(*hak_line_parser)(hak_import *im, hak_scan *line, void *state);

/* Gives every line to the parser. 0, or -1 with im->error filled. */
int hak_import_lines(hak_import *im, hak_line_parser parse, void *state);

/* The first line of the head that is neither blank nor begins with `comment` (0: no comments); empty if none.
 */
hak_scan hak_head_line(const char *head, size_t len_bytes, char comment);

/* One call as several tools print it: name(arguments) = result (kind_calls.c). `space`: whose addresses; ids:
 * '#n' is a number that stands for an address. NULL, or what is wrong. */
const char *hak_import_call(hak_import *im, hak_scan *line, uint32_t space);

#endif
