/* trace_summary.h: what came of a recording, in a few lines on stderr. A process that becomes other programs
 * (exec) has a trace for each; they are summed up as one. Single-threaded programs. */
#ifndef HAK_CLI_TRACE_SUMMARY_H
#define HAK_CLI_TRACE_SUMMARY_H

#include "trace/collect.h"

#define SUMMARY_PATHS 4 /* named in the last lines */

typedef struct trace_summary {
    uint32_t images;
    uint32_t threads;
    bool sampled;
    uint64_t allocations;
    uint64_t temporary;
    uint64_t peak_bytes; /* the greatest of the images */
    uint64_t left_bytes; /* of the last image */
    uint64_t file_bytes;
    uint64_t walks_checked;
    uint64_t walks_wrong;
    char paths[SUMMARY_PATHS][HAK_COLLECT_PATH_MAX];
} trace_summary;

/* A trace of the main process is done; says what it lacks. */
void summary_add(trace_summary *sum, const hak_collect_message *done);

void summary_print(const trace_summary *sum, uint32_t processes);

#endif
