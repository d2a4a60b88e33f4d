/* record_launch.h: the library, preloaded by hand, starts a collector of its own. */
#ifndef HAK_TRACE_RECORD_LAUNCH_H
#define HAK_TRACE_RECORD_LAUNCH_H

#include "trace/ring.h"

/* Starts `hakmem-trace --collector NAME`, found through HAKMEM_TRACE_COLLECTOR or beside the library, as
 * nobody's child, and waits until it listens. Fills in the name. False: no collector. */
bool hak_launch_collector(char name[HAK_SOCKET_NAME_BYTES]);

#endif
