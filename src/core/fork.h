/* fork.h: the allocator across fork(2). Once, at start; needs libc. */
#ifndef HAK_CORE_FORK_H
#define HAK_CORE_FORK_H

void hak_fork_register(void);

#endif
