/* input.h: a recording's bytes, whatever it is packed in (plain, gzip, zstd, xz, a zip archive of one file),
 * as lines or as records. Never holds a file whole. One thread per input. */
#ifndef HAK_IMPORT_INPUT_H
#define HAK_IMPORT_INPUT_H

#include "trace/trace_format.h"

#define HAK_INPUT_LINE_MAX_BYTES HAK_MIB /* a longer line is a fault */
#define HAK_INPUT_PEEK_BYTES     ((size_t)64 << 10)

typedef struct hak_input {
    const uint8_t *at, *end; /* unpacked and not yet taken */
    uint64_t line;           /* number of the line taken last, from 1 */
    uint64_t taken_bytes;    /* before `base`, unpacked */
    bool ended;              /* nothing follows `end` */
    const char *fault;       /* reading or unpacking failed: why; the rest counts as the end */
    uint8_t *base;
    size_t room;
    struct hak_unpack *unpack;
} hak_input;

/* 0, or -1 with *error filled. Regular files only. */
int hak_input_open(hak_input *in, const char *path, hak_trace_error *error);
void hak_input_close(hak_input *in);

bool hak_input_is_gzip(const hak_input *in);

/* Makes `want` bytes contiguous at in->at where the file still holds them; what is there is returned. want <=
 * HAK_INPUT_LINE_MAX_BYTES. */
size_t hak_input_need(hak_input *in, size_t want);

/* The slow half of hak_input_line. */
bool hak_input_line_more(hak_input *in, const char **line, size_t *len_bytes);

/* The next line without its end (\n or \r\n), valid until the next call; false at the end of the file or
 * after a fault. A last line without a newline counts. */
static inline bool hak_input_line(hak_input *in, const char **line, size_t *len_bytes)
{
    const uint8_t *stop =
        in->at < in->end ? __builtin_memchr(in->at, '\n', (size_t)(in->end - in->at)) : NULL;
    if (HAK_UNLIKELY(stop == NULL))
        return hak_input_line_more(in, line, len_bytes);
    *line = (const char *)in->at;
    *len_bytes = (size_t)(stop - in->at);
    if (HAK_UNLIKELY(*len_bytes != 0 && (*line)[*len_bytes - 1] == '\r'))
        --*len_bytes;
    in->at = stop + 1;
    in->line++;
    return true;
}

#define HAK_INPUT_WHOLE_MAX_BYTES ((uint64_t)16 * HAK_GIB)

/* All that is left, unpacked into an unnamed file in TMPDIR and mapped, for formats that must be read at
 * several places at once: munmap it. NULL with in->fault set: it is empty, too much, or has no room. */
const uint8_t *hak_input_whole(hak_input *in, size_t *len_bytes);

/* Takes what hak_input_need made contiguous. */
static inline void hak_input_take(hak_input *in, size_t len_bytes)
{
    in->at += len_bytes;
}

static inline uint64_t hak_input_position(const hak_input *in)
{
    return in->taken_bytes + (uint64_t)(in->at - in->base);
}

#endif
