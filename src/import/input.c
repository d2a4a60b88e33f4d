/* input.c: the window over an unpacked stream. Never looks at what the bytes mean. One thread per input. */
#include "import/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "import/unpack.h"
#include "trace/error.h"

#define WINDOW_BYTES (4 * HAK_MIB) /* a line fits several times over */

int hak_input_open(hak_input *in, const char *path, hak_trace_error *error)
{
    *in = (hak_input){.line = 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return hak_trace_fail(error, "cannot be opened: %s", strerror(errno));
    struct stat found;
    if (fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) {
        close(fd);
        return hak_trace_fail(
            error, "is not a regular file%s",
            S_ISDIR(found.st_mode)
                ? " but a folder; give it to babeltrace2 if it is an LTTng trace, and import its text"
                : "");
    }
    in->unpack = hak_unpack_open(fd, error);
    if (in->unpack == NULL)
        return -1;
    in->base = malloc(WINDOW_BYTES);
    if (in->base == NULL) {
        hak_input_close(in);
        return hak_trace_fail(error, "out of memory");
    }
    in->room = WINDOW_BYTES;
    in->at = in->end = in->base;
    return 0;
}

void hak_input_close(hak_input *in)
{
    hak_unpack_close(in->unpack);
    free(in->base);
    *in = (hak_input){.line = 0};
}

bool hak_input_is_gzip(const hak_input *in)
{
    return hak_unpack_is_gzip(in->unpack);
}

/* Moves what is left to the front and reads behind it. */
static void refill(hak_input *in)
{
    size_t left = (size_t)(in->end - in->at);
    in->taken_bytes += (uint64_t)(in->at - in->base);
    memmove(in->base, in->at, left);
    size_t got = hak_unpack_read(in->unpack, in->base + left, in->room - left, &in->fault);
    in->at = in->base;
    in->end = in->base + left + got;
    in->ended = in->fault != NULL || got < in->room - left;
}

size_t hak_input_need(hak_input *in, size_t want)
{
    if ((size_t)(in->end - in->at) < want && !in->ended)
        refill(in);
    return (size_t)(in->end - in->at);
}

static bool write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len != 0) {
        ssize_t done = write(fd, bytes, len);
        if (done < 0 && errno != EINTR)
            return false;
        bytes += done > 0 ? done : 0;
        len -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

const uint8_t *hak_input_whole(hak_input *in, size_t *len_bytes)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder != NULL && folder[0] == '/' ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    const char *fault = fd < 0 ? "no temporary file can be made for it" : NULL;
    const uint8_t *all = MAP_FAILED;
    *len_bytes = 0;
    for (size_t have; fault == NULL && (have = hak_input_need(in, HAK_INPUT_LINE_MAX_BYTES)) != 0;) {
        if (*len_bytes + have > HAK_INPUT_WHOLE_MAX_BYTES)
            fault = "more than 16 GiB";
        else if (!write_all(fd, in->at, have))
            fault = "the temporary file for it cannot be written";
        *len_bytes += have;
        hak_input_take(in, have);
    }
    if (fault == NULL && *len_bytes != 0)
        all = mmap(NULL, *len_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (all != MAP_FAILED)
        return all;
    if (in->fault == NULL)
        in->fault = fault != NULL ? fault : *len_bytes == 0 ? "is empty" : "out of memory";
    return NULL;
}

bool hak_input_line_more(hak_input *in, const char **line, size_t *len_bytes)
{
    hak_input_need(in, HAK_INPUT_LINE_MAX_BYTES);
    size_t left = (size_t)(in->end - in->at);
    const uint8_t *stop = left != 0 ? memchr(in->at, '\n', left) : NULL;
    if (stop != NULL && (size_t)(stop - in->at) <= HAK_INPUT_LINE_MAX_BYTES)
        return hak_input_line(in, line, len_bytes);
    if (left >= HAK_INPUT_LINE_MAX_BYTES) {
        in->fault = "a line of more than a MiB";
        in->ended = true;
        in->line++;
        return false;
    }
    if (left == 0 || in->fault != NULL) /* what a damaged file ends in is no line */
        return false;
    *line = (const char *)in->at;
    *len_bytes = left;
    if ((*line)[left - 1] == '\r')
        --*len_bytes;
    in->at = in->end;
    in->line++;
    return true;
}
