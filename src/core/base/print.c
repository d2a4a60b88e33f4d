/* print.c: see print.h. Never allocates, never locks. */
#include "core/base/print.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void hak_out_init(hak_out *out, int fd)
{
    out->fd = fd;
    out->len_bytes = 0;
}

void hak_out_flush(hak_out *out)
{
    int saved = errno;
    size_t done = 0;
    while (done < out->len_bytes) {
        ssize_t n = write(out->fd, out->text + done, out->len_bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    out->len_bytes = 0;
    errno = saved;
}

void hak_out_bytes(hak_out *out, const char *text, size_t len_bytes)
{
    while (len_bytes > 0) {
        if (out->len_bytes == HAK_OUT_BYTES)
            hak_out_flush(out);
        size_t room = HAK_OUT_BYTES - out->len_bytes;
        size_t n = len_bytes < room ? len_bytes : room;
        memcpy(out->text + out->len_bytes, text, n);
        out->len_bytes += n;
        text += n;
        len_bytes -= n;
    }
}

void hak_out_text(hak_out *out, const char *text)
{
    hak_out_bytes(out, text, strlen(text));
}

static size_t digits_of(uint64_t value, char digits[20])
{
    size_t n = 0;
    do {
        digits[19 - n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return n;
}

static void spaces(hak_out *out, size_t n)
{
    while (n-- > 0)
        hak_out_bytes(out, " ", 1);
}

void hak_out_u64(hak_out *out, uint64_t value)
{
    char digits[20];
    size_t n = digits_of(value, digits);
    hak_out_bytes(out, digits + 20 - n, n);
}

void hak_out_i64(hak_out *out, int64_t value)
{
    if (value < 0)
        hak_out_bytes(out, "-", 1);
    hak_out_u64(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void hak_out_hex(hak_out *out, uint64_t value)
{
    char digits[16];
    size_t n = 0;
    do {
        digits[15 - n++] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value != 0);
    hak_out_bytes(out, "0x", 2);
    hak_out_bytes(out, digits + 16 - n, n);
}

void hak_out_pad_text(hak_out *out, const char *text, unsigned width)
{
    size_t n = strlen(text);
    hak_out_bytes(out, text, n);
    if (n < width)
        spaces(out, width - n);
}

void hak_out_pad_u64(hak_out *out, uint64_t value, unsigned width)
{
    char digits[20];
    size_t n = digits_of(value, digits);
    if (n < width)
        spaces(out, width - n);
    hak_out_bytes(out, digits + 20 - n, n);
}

static _Noreturn void fatal(const char *text, const void *address, bool with_address)
{
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem: ");
    hak_out_text(&out, text);
    if (with_address) {
        hak_out_text(&out, " ");
        hak_out_hex(&out, (uint64_t)(uintptr_t)address);
    }
    hak_out_text(&out, "\n");
    hak_out_flush(&out);
    abort();
}

void hak_fatal(const char *text)
{
    fatal(text, NULL, false);
}

void hak_fatal_address(const char *text, const void *address)
{
    fatal(text, address, true);
}
