/* trace_control.h: stopping and starting the recording of a running program. Single-threaded programs. */
#ifndef HAK_CLI_TRACE_CONTROL_H
#define HAK_CLI_TRACE_CONTROL_H

#include "trace/ring.h"

/* Finds the collector that has the process, tells it, and waits for what comes of it. children: then the same
 * for all that come from it. An exit code. */
int trace_control(uint32_t pid, hak_command_kind kind, bool children, bool quiet);

#endif
