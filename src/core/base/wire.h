/* wire.h: bytes on disk. Little endian, LEB128 varints of at most 10 bytes, zigzag for signed numbers.
 * A hak_wire_in never reads past its end: after the first fault `bad` stays set and every read yields 0, so a
 * parser may check once at the end of a record. Pure; no allocation. */
#ifndef HAK_BASE_WIRE_H
#define HAK_BASE_WIRE_H

#include "core/base/types.h"

#include <string.h>

#define HAK_VARINT_MAX_BYTES 10

typedef struct hak_wire_in {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
} hak_wire_in;

HAK_INLINE hak_wire_in hak_wire_in_of(const void *bytes, size_t len_bytes)
{
    return (hak_wire_in){(const uint8_t *)bytes, (const uint8_t *)bytes + len_bytes, false};
}

HAK_INLINE size_t hak_wire_left(const hak_wire_in *in)
{
    return (size_t)(in->end - in->at);
}

HAK_INLINE uint64_t hak_get_varint(hak_wire_in *in)
{
    if (HAK_LIKELY(in->at < in->end && *in->at < 0x80))
        return *in->at++;
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (in->at == in->end)
            break;
        uint8_t byte = *in->at++;
        if (shift == 63 && byte > 1)
            break; /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    in->bad = true;
    in->at = in->end;
    return 0;
}

HAK_INLINE uint64_t hak_get_fixed(hak_wire_in *in, unsigned len_bytes)
{
    if (hak_wire_left(in) < len_bytes) {
        in->bad = true;
        in->at = in->end;
        return 0;
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < len_bytes; i++)
        value |= (uint64_t)in->at[i] << (8 * i);
    in->at += len_bytes;
    return value;
}

/* A length-prefixed byte string; points into the input. Returns NULL (and sets bad) when it does not fit. */
HAK_INLINE const uint8_t *hak_get_bytes(hak_wire_in *in, size_t *len_bytes)
{
    uint64_t n = hak_get_varint(in);
    if (in->bad || n > hak_wire_left(in)) {
        in->bad = true;
        in->at = in->end;
        *len_bytes = 0;
        return NULL;
    }
    const uint8_t *bytes = in->at;
    in->at += n;
    *len_bytes = (size_t)n;
    return bytes;
}

/* Writers return the advanced pointer; the caller provides room (HAK_VARINT_MAX_BYTES for a varint). */
HAK_INLINE uint8_t *hak_put_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

HAK_INLINE uint8_t *hak_put_fixed(uint8_t *at, uint64_t value, unsigned len_bytes)
{
    for (unsigned i = 0; i < len_bytes; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

HAK_INLINE uint64_t hak_zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

HAK_INLINE int64_t hak_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* CRC-32 of IEEE 802.3 (the one gzip uses); `crc` is 0 for the first piece. */
uint32_t hak_crc32(uint32_t crc, const void *bytes, size_t len_bytes);

#endif
