/* unpack.h: the file under an input: told by its first bytes, unpacked as a stream. One thread each. */
#ifndef HAK_IMPORT_UNPACK_H
#define HAK_IMPORT_UNPACK_H

#include "trace/trace_format.h"

typedef struct hak_unpack hak_unpack;

/* NULL with *error filled. Takes the descriptor over in any case. */
hak_unpack *hak_unpack_open(int fd, hak_trace_error *error);
void hak_unpack_close(hak_unpack *unpack);

bool hak_unpack_is_gzip(const hak_unpack *unpack);

/* Fills `to` as far as it can: its length, 0 at the end. *fault is set (static text) when the file is damaged
 * or cut off; what came out before is still returned. */
size_t hak_unpack_read(hak_unpack *unpack, uint8_t *to, size_t room_bytes, const char **fault);

#endif
