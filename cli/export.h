/* export.h: profiles for other people's viewers. One format = one file + one row in export.c. */
#ifndef HAK_CLI_EXPORT_H
#define HAK_CLI_EXPORT_H

#include "cli/report.h"

typedef struct export_format {
    const char *name;
    unsigned needs;   /* REPORT_NEEDS_* */
    bool packed;      /* as one gzip stream */
    bool one_trace;   /* tells about one process */
    bool every_event; /* and all that it did: neither filters nor times apply */
    /* NULL, or what went wrong (static text). Faults of `out` are seen by the caller. */
    const char *(*write)(const report *r, FILE *out);
} export_format;

typedef struct export_request {
    const export_format *format;
    const char *path; /* "-": standard output */
} export_request;

/* "FORMAT:FILE". What is wrong with it (static text), or NULL. */
const char *export_parse(const char *text, export_request *out);
/* Writes to a temporary name in the same folder and renames. REPORT_FINE or REPORT_TROUBLE, told on stderr.
 */
int export_write(const report *r, const export_request *request);

/* The same for any writer; packed: as one gzip stream. */
int export_to(const char *path, bool packed, const char *(*write)(const void *context, FILE *out),
              const void *context);

const char *export_folded(const report *r, FILE *out);
const char *export_speedscope(const report *r, FILE *out);
const char *export_pprof(const report *r, FILE *out);
const char *export_heaptrack(const report *r, FILE *out);
const char *export_dhat(const report *r, FILE *out);
const char *export_callgrind(const report *r, FILE *out);
const char *export_massif(const report *r, FILE *out);

/* Pieces that formats share. */

/* A place's name without control characters and, with `without`, those replaced by '_'. */
void export_name(char *out, size_t room, const hak_place *place, const char *without);
/* The command line, arguments apart by blanks, on one line. */
void export_command(char *out, size_t room, const report_trace *t);
/* The weights of what was allocated right at the node. */
hak_weights export_own(const hak_tree *tree, uint32_t node);
extern const char *const export_weight_names[HAK_WEIGHT_COUNT];

#endif
