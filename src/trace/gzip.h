/* gzip.h: one gzip member (RFC 1952) at a time, with its own length in an extra field, so that a reader can
 * step over a member without inflating it. A packer or unpacker belongs to one thread. The bytes on disk are
 * the same format with zlib and with libdeflate. */
#ifndef HAK_TRACE_GZIP_H
#define HAK_TRACE_GZIP_H

#include "core/base/types.h"

#define HAK_GZIP_HEADER_BYTES  28 /* 10 fixed, 2 length of extra, 16 extra */
#define HAK_GZIP_TRAILER_BYTES 8

typedef struct hak_packer hak_packer;
typedef struct hak_unpacker hak_unpacker;

hak_packer *hak_packer_new(int level); /* NULL: no memory */
void hak_packer_free(hak_packer *packer);

/* Room that a member of raw_bytes may need. */
size_t hak_packer_bound(hak_packer *packer, size_t raw_bytes);

/* Writes a whole member; returns its length, 0 when `room_bytes` is less than the bound. */
size_t hak_packer_pack(hak_packer *packer, const void *raw, size_t raw_bytes, uint8_t *out,
                       size_t room_bytes);

/* A member's lengths from its first HAK_GZIP_HEADER_BYTES. False when it is not such a header. */
bool hak_gzip_header(const uint8_t *header, size_t *member_bytes, size_t *raw_bytes);

hak_unpacker *hak_unpacker_new(void); /* NULL: no memory */
void hak_unpacker_free(hak_unpacker *unpacker);

/* Inflates a whole member into exactly raw_bytes; checks its length and both checksums. */
bool hak_unpacker_unpack(hak_unpacker *unpacker, const uint8_t *member, size_t member_bytes, uint8_t *raw,
                         size_t raw_bytes);

#endif
