/* bytes.h: a growing byte string to encode into. The first failure (no memory) sticks in `failed`; later puts
 * do nothing, so that a caller may check once. One thread. */
#ifndef HAK_TRACE_BYTES_H
#define HAK_TRACE_BYTES_H

#include "core/base/wire.h"
#include "trace/grow.h"

typedef struct hak_bytes {
    uint8_t *at;
    size_t len_bytes;
    size_t room;
    bool failed;
} hak_bytes;

static inline void hak_bytes_done(hak_bytes *bytes)
{
    free(bytes->at);
    *bytes = (hak_bytes){.at = NULL};
}

/* Where extra_bytes may be written; NULL when there is no memory. */
static inline uint8_t *hak_bytes_reserve(hak_bytes *bytes, size_t extra_bytes)
{
    if (bytes->failed || !HAK_GROW(&bytes->at, &bytes->room, bytes->len_bytes + extra_bytes)) {
        bytes->failed = true;
        return NULL;
    }
    return bytes->at + bytes->len_bytes;
}

static inline void hak_bytes_varint(hak_bytes *bytes, uint64_t value)
{
    uint8_t *at = hak_bytes_reserve(bytes, HAK_VARINT_MAX_BYTES);
    if (at != NULL)
        bytes->len_bytes = (size_t)(hak_put_varint(at, value) - bytes->at);
}

static inline void hak_bytes_raw(hak_bytes *bytes, const void *raw, size_t raw_bytes)
{
    uint8_t *at = hak_bytes_reserve(bytes, raw_bytes);
    if (at != NULL && raw_bytes != 0) {
        memcpy(at, raw, raw_bytes);
        bytes->len_bytes += raw_bytes;
    }
}

/* Length first. */
static inline void hak_bytes_string(hak_bytes *bytes, const void *text, size_t text_bytes)
{
    hak_bytes_varint(bytes, text_bytes);
    hak_bytes_raw(bytes, text, text_bytes);
}

/* Tag, length, body. */
static inline void hak_bytes_section(hak_bytes *bytes, uint8_t tag, const void *body, size_t body_bytes)
{
    hak_bytes_raw(bytes, &tag, 1);
    hak_bytes_string(bytes, body, body_bytes);
}

#endif
