/* record_modules.h: which modules the collector has been told of.
 *
 * A module is announced when the process joins, or when a first return address in it is met; its end when
 * dlclose(3) returned. The list of modules is read in dl_iterate_phdr(3)'s callback without a lock of our
 * own, because others call allocators under the loader's lock. Callers are inside. */
#ifndef HAK_TRACE_RECORD_MODULES_H
#define HAK_TRACE_RECORD_MODULES_H

#include "trace/record_process.h"

/* After joining: all modules, as if none were known. */
void hak_modules_announce(hak_thread *self);

/* Announces the module of pc if it is new. */
void hak_modules_know(hak_thread *self, uintptr_t pc);

/* After dlclose: tells which are gone, and forgets all frame rows. */
void hak_modules_closed(hak_thread *self);

#endif
