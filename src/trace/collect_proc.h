/* collect_proc.h: what /proc says about a recorded process. Failures give 0 or "": a process may be gone, or
 * /proc absent. Any thread. */
#ifndef HAK_TRACE_COLLECT_PROC_H
#define HAK_TRACE_COLLECT_PROC_H

#include "core/base/types.h"

uint64_t hak_proc_rss_bytes(uint64_t pid);
uint64_t hak_proc_cpu_ns(uint64_t pid); /* all threads, in steps of the kernel's clock tick */
uint64_t hak_proc_parent(uint64_t pid);
bool hak_proc_thread_gone(uint64_t pid, uint64_t tid); /* known for certain: of a process that lives */
void hak_proc_executable(uint64_t pid, char *path, size_t room);
void hak_proc_comm(uint64_t pid, char *comm, size_t room);

/* Arguments, NUL between them; returns how many bytes. */
size_t hak_proc_command(uint64_t pid, char *text, size_t room);

#endif
