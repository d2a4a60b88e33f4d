/* wrapper.h: which functions only pass an allocation on. A rule of thumb by name: it decides what a report
 * shows first, never what a policy does. Pure, any thread. */
#ifndef HAK_REPLAY_WRAPPER_H
#define HAK_REPLAY_WRAPPER_H

#include "core/base/types.h"

/* A demangled name: xmalloc, sqlite3DbMallocRaw, g_strdup, operator new, and whatever lives in the C++
 * library's own name spaces. */
bool hak_is_wrapper(const char *function);

#endif
