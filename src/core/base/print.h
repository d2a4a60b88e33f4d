/* print.h: numbers and text without stdio, malloc or locale, for places where nothing else is safe
 * (inside an allocator, in a signal handler, after fork). A hak_out is a caller-owned line buffer; what does
 * not fit is cut, never overrun. Any thread may use its own hak_out; write(2) is the only system call. */
#ifndef HAK_BASE_PRINT_H
#define HAK_BASE_PRINT_H

#include "core/base/types.h"

#define HAK_OUT_BYTES 1024

typedef struct hak_out {
    int fd;
    size_t len_bytes;
    char text[HAK_OUT_BYTES];
} hak_out;

void hak_out_init(hak_out *out, int fd);
void hak_out_text(hak_out *out, const char *text); /* flushes when full */
void hak_out_bytes(hak_out *out, const char *text, size_t len_bytes);
void hak_out_u64(hak_out *out, uint64_t value);
void hak_out_i64(hak_out *out, int64_t value);
void hak_out_hex(hak_out *out, uint64_t value); /* with 0x */
void hak_out_pad_text(hak_out *out, const char *text, unsigned width);
void hak_out_pad_u64(hak_out *out, uint64_t value, unsigned width);
void hak_out_flush(hak_out *out); /* short writes and EINTR are retried, errors dropped; keeps errno */

/* Prints "hakmem: <text>[ 0x<address>]" in one write and aborts. Async-signal-safe. */
_Noreturn void hak_fatal(const char *text);
_Noreturn void hak_fatal_address(const char *text, const void *address);

/* Programmer errors: checked in every build, a fixed line, then abort. */
#define hak_assert(cond) ((cond) ? (void)0 : hak_fatal("assertion failed: " #cond))

#endif
