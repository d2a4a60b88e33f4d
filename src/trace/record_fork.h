/* record_fork.h: forks beside threads that read the loader's lists. dl_iterate_phdr(3), and libunwind by it,
 * hold a lock of the loader that the C library does not reset in a forked child: a child that is made
 * meanwhile finds it locked for ever. So a thread says when it is about to read them, and a fork waits until
 * nobody does. Any thread; not nested. */
#ifndef HAK_TRACE_RECORD_FORK_H
#define HAK_TRACE_RECORD_FORK_H

#include <stdbool.h>

/* Registers what fork(2) does before and after. Once, before other threads. */
void hak_fork_watch(void);

/* False: the lists must not be read, in a child that was made beside a reader that did not end, or while a
 * fork does not end. After true: hak_fork_release. Waits while another thread forks, for a fraction of a
 * second. */
bool hak_fork_hold(void);
void hak_fork_release(void);

#endif
