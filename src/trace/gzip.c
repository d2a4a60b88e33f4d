/* gzip.c: gzip members by libdeflate where it was found at build time, else by zlib. Never touches files. */
#include "trace/gzip.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/wire.h"

#if HAKMEM_HAVE_LIBDEFLATE
#include <libdeflate.h>

struct hak_packer {
    struct libdeflate_compressor *deflate;
};
struct hak_unpacker {
    struct libdeflate_decompressor *inflate;
};

static bool packer_init(hak_packer *packer, int level)
{
    packer->deflate = libdeflate_alloc_compressor(level);
    return packer->deflate != NULL;
}

static void packer_done(hak_packer *packer)
{
    libdeflate_free_compressor(packer->deflate);
}

static size_t deflate_bound(hak_packer *packer, size_t raw_bytes)
{
    return libdeflate_deflate_compress_bound(packer->deflate, raw_bytes);
}

static size_t deflate_all(hak_packer *packer, const void *raw, size_t raw_bytes, uint8_t *out, size_t room)
{
    return libdeflate_deflate_compress(packer->deflate, raw, raw_bytes, out, room);
}

static bool unpacker_init(hak_unpacker *unpacker)
{
    unpacker->inflate = libdeflate_alloc_decompressor();
    return unpacker->inflate != NULL;
}

static void unpacker_done(hak_unpacker *unpacker)
{
    libdeflate_free_decompressor(unpacker->inflate);
}

static bool inflate_all(hak_unpacker *unpacker, const uint8_t *in, size_t in_bytes, uint8_t *raw,
                        size_t raw_bytes)
{
    size_t used = 0;
    return libdeflate_deflate_decompress_ex(unpacker->inflate, in, in_bytes, raw, raw_bytes, &used, NULL) ==
               LIBDEFLATE_SUCCESS &&
           used == in_bytes;
}

static uint32_t crc_of(const void *raw, size_t raw_bytes)
{
    return libdeflate_crc32(0, raw, raw_bytes);
}

#else
#include <zlib.h>

struct hak_packer {
    z_stream z;
};
struct hak_unpacker {
    z_stream z;
};

enum { RAW_WINDOW_BITS = -15, MEMORY_LEVEL = 8 }; /* negative: no zlib header, RFC 1951 only */

static bool packer_init(hak_packer *packer, int level)
{
    memset(&packer->z, 0, sizeof packer->z);
    return deflateInit2(&packer->z, level, Z_DEFLATED, RAW_WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) ==
           Z_OK;
}

static void packer_done(hak_packer *packer)
{
    deflateEnd(&packer->z);
}

static size_t deflate_bound(hak_packer *packer, size_t raw_bytes)
{
    return deflateBound(&packer->z, raw_bytes);
}

static size_t deflate_all(hak_packer *packer, const void *raw, size_t raw_bytes, uint8_t *out, size_t room)
{
    z_stream *z = &packer->z;
    if (deflateReset(z) != Z_OK)
        return 0;
    z->next_in = (Bytef *)(uintptr_t)raw;
    z->avail_in = (uInt)raw_bytes;
    z->next_out = out;
    z->avail_out = (uInt)room;
    return deflate(z, Z_FINISH) == Z_STREAM_END ? room - z->avail_out : 0;
}

static bool unpacker_init(hak_unpacker *unpacker)
{
    memset(&unpacker->z, 0, sizeof unpacker->z);
    return inflateInit2(&unpacker->z, RAW_WINDOW_BITS) == Z_OK;
}

static void unpacker_done(hak_unpacker *unpacker)
{
    inflateEnd(&unpacker->z);
}

static bool inflate_all(hak_unpacker *unpacker, const uint8_t *in, size_t in_bytes, uint8_t *raw,
                        size_t raw_bytes)
{
    z_stream *z = &unpacker->z;
    if (inflateReset(z) != Z_OK)
        return false;
    z->next_in = (Bytef *)(uintptr_t)in;
    z->avail_in = (uInt)in_bytes;
    z->next_out = raw;
    z->avail_out = (uInt)raw_bytes;
    return inflate(z, Z_FINISH) == Z_STREAM_END && z->avail_in == 0 && z->avail_out == 0;
}

static uint32_t crc_of(const void *raw, size_t raw_bytes)
{
    return (uint32_t)crc32_z(0, raw, raw_bytes);
}
#endif

/* ID1 ID2 CM FLG(FEXTRA) MTIME×4 XFL OS(unknown) XLEN×2 'H' 'K' LEN×2; member length, raw length and the
 * CRC-32 of all that follows the header. gzip's own CRC is of the inflated bytes only, and deflate has more
 * than one spelling for the same bytes: flips in it would go unnoticed. */
static const uint8_t fixed_header[16] = {0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 16, 0, 'H', 'K', 12, 0};

hak_packer *hak_packer_new(int level)
{
    hak_packer *packer = malloc(sizeof *packer);
    if (packer != NULL && !packer_init(packer, level)) {
        free(packer);
        return NULL;
    }
    return packer;
}

void hak_packer_free(hak_packer *packer)
{
    if (packer == NULL)
        return;
    packer_done(packer);
    free(packer);
}

size_t hak_packer_bound(hak_packer *packer, size_t raw_bytes)
{
    return HAK_GZIP_HEADER_BYTES + deflate_bound(packer, raw_bytes) + HAK_GZIP_TRAILER_BYTES;
}

size_t hak_packer_pack(hak_packer *packer, const void *raw, size_t raw_bytes, uint8_t *out, size_t room_bytes)
{
    if (room_bytes < hak_packer_bound(packer, raw_bytes))
        return 0;
    size_t room = room_bytes - HAK_GZIP_HEADER_BYTES - HAK_GZIP_TRAILER_BYTES;
    size_t packed = deflate_all(packer, raw, raw_bytes, out + HAK_GZIP_HEADER_BYTES, room);
    if (packed == 0)
        return 0;
    size_t member_bytes = HAK_GZIP_HEADER_BYTES + packed + HAK_GZIP_TRAILER_BYTES;
    memcpy(out, fixed_header, sizeof fixed_header);
    hak_put_fixed(out + 16, member_bytes, 4);
    hak_put_fixed(out + 20, raw_bytes, 4);
    uint8_t *trailer = out + HAK_GZIP_HEADER_BYTES + packed;
    hak_put_fixed(trailer, crc_of(raw, raw_bytes), 4);
    hak_put_fixed(trailer + 4, raw_bytes, 4);
    hak_put_fixed(out + 24, crc_of(out + HAK_GZIP_HEADER_BYTES, member_bytes - HAK_GZIP_HEADER_BYTES), 4);
    return member_bytes;
}

bool hak_gzip_header(const uint8_t *header, size_t *member_bytes, size_t *raw_bytes)
{
    if (memcmp(header, fixed_header, sizeof fixed_header) != 0)
        return false;
    hak_wire_in in = hak_wire_in_of(header + sizeof fixed_header, 8);
    *member_bytes = (size_t)hak_get_fixed(&in, 4);
    *raw_bytes = (size_t)hak_get_fixed(&in, 4);
    return *member_bytes > HAK_GZIP_HEADER_BYTES + HAK_GZIP_TRAILER_BYTES;
}

hak_unpacker *hak_unpacker_new(void)
{
    hak_unpacker *unpacker = malloc(sizeof *unpacker);
    if (unpacker != NULL && !unpacker_init(unpacker)) {
        free(unpacker);
        return NULL;
    }
    return unpacker;
}

void hak_unpacker_free(hak_unpacker *unpacker)
{
    if (unpacker == NULL)
        return;
    unpacker_done(unpacker);
    free(unpacker);
}

bool hak_unpacker_unpack(hak_unpacker *unpacker, const uint8_t *member, size_t member_bytes, uint8_t *raw,
                         size_t raw_bytes)
{
    if (member_bytes <= HAK_GZIP_HEADER_BYTES + HAK_GZIP_TRAILER_BYTES)
        return false;
    size_t packed = member_bytes - HAK_GZIP_HEADER_BYTES - HAK_GZIP_TRAILER_BYTES;
    hak_wire_in sum = hak_wire_in_of(member + 24, 4);
    if (hak_get_fixed(&sum, 4) !=
        crc_of(member + HAK_GZIP_HEADER_BYTES, member_bytes - HAK_GZIP_HEADER_BYTES))
        return false;
    if (!inflate_all(unpacker, member + HAK_GZIP_HEADER_BYTES, packed, raw, raw_bytes))
        return false;
    hak_wire_in in = hak_wire_in_of(member + HAK_GZIP_HEADER_BYTES + packed, HAK_GZIP_TRAILER_BYTES);
    uint32_t crc = (uint32_t)hak_get_fixed(&in, 4);
    uint32_t length = (uint32_t)hak_get_fixed(&in, 4);
    return length == (uint32_t)raw_bytes && crc == crc_of(raw, raw_bytes);
}
