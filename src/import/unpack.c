/* unpack.c: plain files, gzip (any number of members), zstd, xz, bzip2 and zip archives that hold one file.
 * Streams only: a small file that unpacks to a huge one costs time, not memory. */
#include "import/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#if HAKMEM_HAVE_BZIP2
#include <bzlib.h>
#endif
#if HAKMEM_HAVE_ZSTD
#include <zstd.h>
#endif
#if HAKMEM_HAVE_LZMA
#include <lzma.h>
#endif

#include "core/base/wire.h"
#include "trace/error.h"

#define PACKED_BYTES ((size_t)256 << 10)
#define XZ_MAX_BYTES ((uint64_t)192 << 20) /* of an xz decoder: three times what xz -9 asks for */

typedef enum packing {
    PACKING_PLAIN,
    PACKING_GZIP,
    PACKING_ZIP_DEFLATED,
    PACKING_ZSTD,
    PACKING_XZ,
    PACKING_BZIP2
} packing;

struct hak_unpack {
    int fd;
    packing kind;
    uint64_t left_bytes; /* of the packed file, not yet read */
    uint8_t *packed;
    size_t at, len; /* within packed */
    z_stream z;
    bool z_open;
    bool between; /* at the border of two members, frames or streams, where a file may end */
    bool ended;
#if HAKMEM_HAVE_BZIP2
    bz_stream bz;
    bool bz_open;
#endif
#if HAKMEM_HAVE_ZSTD
    ZSTD_DStream *zstd;
#endif
#if HAKMEM_HAVE_LZMA
    lzma_stream xz;
#endif
};

static const char io_fault[] = "the file cannot be read";
static const char cut_fault[] = "the compressed file is cut off";
static const char damage_fault[] = "the compressed file is damaged";

/* More packed bytes; false at their end or on a failure. */
static bool feed(hak_unpack *u, const char **fault)
{
    size_t want = PACKED_BYTES < u->left_bytes ? PACKED_BYTES : (size_t)u->left_bytes;
    ssize_t got;
    do
        got = want != 0 ? read(u->fd, u->packed, want) : 0;
    while (got < 0 && errno == EINTR);
    if (got < 0)
        *fault = io_fault;
    u->at = 0;
    u->len = got > 0 ? (size_t)got : 0;
    u->left_bytes -= u->len;
    return got > 0;
}

static size_t read_plain(hak_unpack *u, uint8_t *to, size_t room, const char **fault)
{
    size_t done = 0;
    while (done < room && (u->at < u->len || feed(u, fault))) {
        size_t part = u->len - u->at < room - done ? u->len - u->at : room - done;
        memcpy(to + done, u->packed + u->at, part);
        u->at += part;
        done += part;
    }
    return done;
}

static size_t read_deflated(hak_unpack *u, uint8_t *to, size_t room, const char **fault)
{
    z_stream *z = &u->z;
    z->next_out = to;
    z->avail_out = (uInt)room;
    while (z->avail_out != 0 && !u->ended && *fault == NULL) {
        if (u->at == u->len && !feed(u, fault)) {
            u->ended = true;
            if (!u->between && *fault == NULL)
                *fault = cut_fault;
            break;
        }
        if (u->between && u->kind == PACKING_GZIP)
            inflateReset(z);
        u->between = false;
        z->next_in = u->packed + u->at;
        z->avail_in = (uInt)(u->len - u->at);
        int status = inflate(z, Z_NO_FLUSH);
        u->at = u->len - z->avail_in;
        if (status == Z_STREAM_END) {
            u->between = true;
            u->ended = u->kind == PACKING_ZIP_DEFLATED;
        } else if (status != Z_OK && status != Z_BUF_ERROR) {
            *fault = damage_fault;
        }
    }
    return room - z->avail_out;
}

#if HAKMEM_HAVE_ZSTD
static size_t read_zstd(hak_unpack *u, uint8_t *to, size_t room, const char **fault)
{
    ZSTD_outBuffer out = {to, room, 0};
    while (out.pos < out.size && !u->ended && *fault == NULL) {
        if (u->at == u->len && !feed(u, fault)) {
            /* A frame's last bytes may still wait inside. */
            ZSTD_inBuffer none = {u->packed, 0, 0};
            size_t before = out.pos;
            size_t hint = u->between ? 0 : ZSTD_decompressStream(u->zstd, &out, &none);
            if (out.pos > before && !ZSTD_isError(hint))
                continue;
            u->ended = true;
            if (hint != 0 && *fault == NULL)
                *fault = cut_fault;
            break;
        }
        ZSTD_inBuffer in = {u->packed, u->len, u->at};
        size_t hint = ZSTD_decompressStream(u->zstd, &out, &in);
        u->at = in.pos;
        u->between = hint == 0;
        if (ZSTD_isError(hint))
            *fault = damage_fault;
    }
    return out.pos;
}

static int zstd_start(hak_unpack *u, hak_trace_error *error)
{
    u->between = true;
    u->zstd = ZSTD_createDStream();
    return u->zstd != NULL ? 0 : hak_trace_fail(error, "out of memory");
}
#else
static size_t read_zstd(hak_unpack *u, uint8_t *to, size_t room, const char **fault)
{
    (void)u;
    (void)to;
    (void)room;
    *fault = damage_fault;
    return 0;
}

static int zstd_start(hak_unpack *u, hak_trace_error *error)
{
    (void)u;
    return hak_trace_fail(error,
                          "is compressed with zstd, and this build has no libzstd; unpack it with: zstd -d");
}
#endif

#if HAKMEM_HAVE_LZMA
static size_t read_xz(hak_unpack *u, uint8_t *to, size_t room, const char **fault)
{
    lzma_stream *xz = &u->xz;
    xz->next_out = to;
    xz->avail_out = room;
    while (xz->avail_out != 0 && !u->ended && *fault == NULL) {
        bool more = u->at < u->len || feed(u, fault);
        xz->next_in = u->packed + u->at;
        xz->avail_in = u->len - u->at;
        lzma_ret status = lzma_code(xz, more ? LZMA_RUN : LZMA_FINISH);
        u->at = u->len - xz->avail_in;
        if (status == LZMA_STREAM_END)
            u->ended = true;
        else if (status == LZMA_BUF_ERROR && !more)
            *fault = *fault != NULL ? *fault : cut_fault;
        else if (status == LZMA_MEMLIMIT_ERROR)
            *fault = "the compressed file asks for too much memory to unpack";
        else if (status != LZMA_OK)
            *fault = damage_fault;
    }
    return room - xz->avail_out;
}

static int xz_start(hak_unpack *u, hak_trace_error *error)
{
    u->xz = (lzma_stream)LZMA_STREAM_INIT;
    return lzma_stream_decoder(&u->xz, XZ_MAX_BYTES, LZMA_CONCATENATED) == LZMA_OK
               ? 0
               : hak_trace_fail(error, "out of memory");
}
#else
static size_t read_xz(hak_unpack *u, uint8_t *to, size_t room, const char **fault)
{
    (void)u;
    (void)to;
    (void)room;
    *fault = damage_fault;
    return 0;
}

static int xz_start(hak_unpack *u, hak_trace_error *error)
{
    (void)u;
    return hak_trace_fail(error,
                          "is compressed with xz, and this build has no liblzma; unpack it first: xz -dk");
}
#endif

#if HAKMEM_HAVE_BZIP2
/* A file may hold several streams, as pbzip2 writes it; each has a decoder of its own. */
static size_t read_bzip2(hak_unpack *u, uint8_t *to, size_t room, const char **fault)
{
    bz_stream *bz = &u->bz;
    bz->next_out = (char *)to;
    bz->avail_out = (unsigned)room;
    while (bz->avail_out != 0 && !u->ended && *fault == NULL) {
        if (u->at == u->len && !feed(u, fault)) {
            u->ended = true;
            if (!u->between && *fault == NULL)
                *fault = cut_fault;
            break;
        }
        if (!u->bz_open && !(u->bz_open = BZ2_bzDecompressInit(bz, 0, 0) == BZ_OK)) {
            *fault = "out of memory";
            break;
        }
        u->between = false;
        bz->next_in = (char *)u->packed + u->at;
        bz->avail_in = (unsigned)(u->len - u->at);
        int status = BZ2_bzDecompress(bz);
        u->at = u->len - bz->avail_in;
        if (status == BZ_STREAM_END) {
            BZ2_bzDecompressEnd(bz);
            u->bz_open = false;
            u->between = true;
        } else if (status != BZ_OK) {
            *fault = damage_fault;
        }
    }
    return room - bz->avail_out;
}

static int bzip2_start(hak_unpack *u, hak_trace_error *error)
{
    (void)u;
    (void)error;
    return 0;
}
#else
static size_t read_bzip2(hak_unpack *u, uint8_t *to, size_t room, const char **fault)
{
    (void)u;
    (void)to;
    (void)room;
    *fault = damage_fault;
    return 0;
}

static int bzip2_start(hak_unpack *u, hak_trace_error *error)
{
    (void)u;
    return hak_trace_fail(error,
                          "is packed with bzip2, and this build has no libbz2; unpack it first: bzip2 -dk");
}
#endif

/* ---- zip: APPNOTE.TXT 6.3, without the 64-bit extensions, encryption and several files ---- */

enum { ZIP_END_BYTES = 22, ZIP_ENTRY_BYTES = 46, ZIP_LOCAL_BYTES = 30, ZIP_COMMENT_MAX_BYTES = 65535 };

static uint64_t le(const uint8_t *at, unsigned bytes)
{
    hak_wire_in in = hak_wire_in_of(at, bytes);
    return hak_get_fixed(&in, bytes);
}

/* The end record stands at the end, before a comment of any length. */
static int zip_end_find(hak_unpack *u, uint64_t file_bytes, uint8_t *record)
{
    size_t tail = ZIP_END_BYTES + ZIP_COMMENT_MAX_BYTES;
    if (tail > file_bytes)
        tail = (size_t)file_bytes;
    if (tail > PACKED_BYTES || pread(u->fd, u->packed, tail, (off_t)(file_bytes - tail)) != (ssize_t)tail)
        return -1;
    for (size_t at = tail; at-- > 0;)
        if (tail - at >= ZIP_END_BYTES && memcmp(u->packed + at, "PK\5\6", 4) == 0) {
            memcpy(record, u->packed + at, ZIP_END_BYTES);
            return 0;
        }
    return -1;
}

enum { ZIP_ENTRIES_MAX = 4096, ZIP_NAME_BYTES = 9 };

/* Folders, and what macOS puts beside each file, are no recordings. */
static bool zip_passed_over(const char *name, size_t len)
{
    return len == 0 || name[len - 1] == '/' || (len >= ZIP_NAME_BYTES && memcmp(name, "__MACOSX/", 9) == 0);
}

/* The directory's entry of the only file. NULL, or what is wrong. */
static const char *zip_entry_find(hak_unpack *u, const uint8_t *end, uint8_t *entry)
{
    static const char damaged[] = "a zip archive whose directory is damaged";
    uint64_t at = le(end + 16, 4), left = le(end + 10, 2);
    bool found = false;
    if (left > ZIP_ENTRIES_MAX)
        return "a zip archive of many files; unpack it and import them one by one";
    for (; left > 0; left--) {
        uint8_t next[ZIP_ENTRY_BYTES];
        char name[ZIP_COMMENT_MAX_BYTES];
        if (pread(u->fd, next, sizeof next, (off_t)at) != (ssize_t)sizeof next ||
            memcmp(next, "PK\1\2", 4) != 0)
            return damaged;
        size_t len = (size_t)le(next + 28, 2);
        if (pread(u->fd, name, len, (off_t)(at + sizeof next)) != (ssize_t)len)
            return damaged;
        at += sizeof next + len + le(next + 30, 2) + le(next + 32, 2);
        if (zip_passed_over(name, len))
            continue;
        if (found)
            return "a zip archive of several files; unpack it and import them one by one";
        memcpy(entry, next, sizeof next);
        found = true;
    }
    return found ? NULL : "a zip archive without a file";
}

static int zip_start(hak_unpack *u, uint64_t file_bytes, hak_trace_error *error)
{
    uint8_t end[ZIP_END_BYTES], entry[ZIP_ENTRY_BYTES], local[ZIP_LOCAL_BYTES];
    if (zip_end_find(u, file_bytes, end) != 0)
        return hak_trace_fail(error, "a zip archive without its directory: it is cut off");
    const char *wrong = zip_entry_find(u, end, entry);
    if (wrong != NULL)
        return hak_trace_fail(error, "%s", wrong);
    uint64_t method = le(entry + 10, 2), packed = le(entry + 20, 4), local_at = le(entry + 42, 4);
    if ((le(entry + 8, 2) & 1) != 0 || (method != 0 && method != 8) || packed == UINT32_MAX)
        return hak_trace_fail(error, "a zip archive of a kind that is not read here; unpack it first");
    if (pread(u->fd, local, sizeof local, (off_t)local_at) != (ssize_t)sizeof local ||
        memcmp(local, "PK\3\4", 4) != 0)
        return hak_trace_fail(error, "a zip archive whose file header is damaged");
    uint64_t data_at = local_at + sizeof local + le(local + 26, 2) + le(local + 28, 2);
    if (data_at > file_bytes || packed > file_bytes - data_at)
        return hak_trace_fail(error, "a zip archive that is cut off");
    u->left_bytes = packed;
    u->kind = method == 8 ? PACKING_ZIP_DEFLATED : PACKING_PLAIN;
    return lseek(u->fd, (off_t)data_at, SEEK_SET) >= 0 ? 0 : hak_trace_fail(error, "%s", io_fault);
}

/* ---- opening ---- */

static int start(hak_unpack *u, hak_trace_error *error)
{
    static const int gzip_window = 15 + 16, raw_window = -15;
    struct stat found;
    uint8_t magic[4] = {0};
    if (fstat(u->fd, &found) != 0)
        return hak_trace_fail(error, "%s", io_fault);
    u->left_bytes = (uint64_t)found.st_size;
    ssize_t got = pread(u->fd, magic, sizeof magic, 0);
    if (got < 0)
        return hak_trace_fail(error, "cannot be read: %s", strerror(errno));
    if (magic[0] == 0x1f && magic[1] == 0x8b)
        u->kind = PACKING_GZIP;
    else if (memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0)
        u->kind = PACKING_ZSTD;
    else if (memcmp(magic, "PK\3\4", 4) == 0 && zip_start(u, (uint64_t)found.st_size, error) != 0)
        return -1;
    else if (memcmp(magic, "\xfd\x37zX", 4) == 0)
        u->kind = PACKING_XZ;
    else if (memcmp(magic, "BZh", 3) == 0)
        u->kind = PACKING_BZIP2;
    if (u->kind == PACKING_BZIP2)
        return bzip2_start(u, error);
    if (u->kind == PACKING_ZSTD)
        return zstd_start(u, error);
    if (u->kind == PACKING_XZ)
        return xz_start(u, error);
    if (u->kind == PACKING_PLAIN)
        return 0;
    u->between = false;
    u->z_open = inflateInit2(&u->z, u->kind == PACKING_GZIP ? gzip_window : raw_window) == Z_OK;
    return u->z_open ? 0 : hak_trace_fail(error, "out of memory");
}

hak_unpack *hak_unpack_open(int fd, hak_trace_error *error)
{
    hak_unpack *u = calloc(1, sizeof *u);
    if (u == NULL) {
        close(fd);
        hak_trace_fail(error, "out of memory");
        return NULL;
    }
    u->fd = fd;
    u->packed = malloc(PACKED_BYTES);
    if (u->packed == NULL)
        hak_trace_fail(error, "out of memory");
    if (u->packed == NULL || start(u, error) != 0) {
        hak_unpack_close(u);
        return NULL;
    }
    return u;
}

void hak_unpack_close(hak_unpack *u)
{
    if (u == NULL)
        return;
    if (u->z_open)
        inflateEnd(&u->z);
#if HAKMEM_HAVE_BZIP2
    if (u->bz_open)
        BZ2_bzDecompressEnd(&u->bz);
#endif
#if HAKMEM_HAVE_ZSTD
    ZSTD_freeDStream(u->zstd);
#endif
#if HAKMEM_HAVE_LZMA
    lzma_end(&u->xz);
#endif
    close(u->fd);
    free(u->packed);
    free(u);
}

bool hak_unpack_is_gzip(const hak_unpack *u)
{
    return u->kind == PACKING_GZIP;
}

size_t hak_unpack_read(hak_unpack *u, uint8_t *to, size_t room_bytes, const char **fault)
{
    *fault = NULL;
    switch (u->kind) {
    case PACKING_PLAIN:
        return read_plain(u, to, room_bytes, fault);
    case PACKING_ZSTD:
        return read_zstd(u, to, room_bytes, fault);
    case PACKING_XZ:
        return read_xz(u, to, room_bytes, fault);
    case PACKING_BZIP2:
        return read_bzip2(u, to, room_bytes, fault);
    default:
        return read_deflated(u, to, room_bytes, fault);
    }
}
