/* kinds.c: the table of formats, telling them apart, and the run of an import from file to trace. */
#include "import/kinds.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trace/error.h"
#include "trace/gzip.h"

/* Tried in this order: what has a signature first, what is told by its grammar next, bare records last. */
static const hak_import_kind *const kinds[] = {
    &hak_import_heaptrack,  &hak_import_android, &hak_import_wee_alloc, &hak_import_logalloc,
    &hak_import_lttng,      &hak_import_calls,   &hak_import_rep,       &hak_import_script,
    &hak_import_fleetbench, &hak_import_mtrace,  &hak_import_protobuf,  &hak_import_webkit,
    &hak_import_workload,
};

size_t hak_import_format_count(void)
{
    return HAK_COUNT_OF(kinds);
}

const hak_import_format *hak_import_format_at(size_t index)
{
    return index < HAK_COUNT_OF(kinds) ? &kinds[index]->format : NULL;
}

bool hak_import_is_trace(const char *path)
{
    uint8_t header[HAK_GZIP_HEADER_BYTES];
    size_t member_bytes, raw_bytes;
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return true;
    bool own = fstat(fd, &found) == 0 && S_ISREG(found.st_mode) &&
               pread(fd, header, sizeof header, 0) == (ssize_t)sizeof header &&
               hak_gzip_header(header, &member_bytes, &raw_bytes);
    close(fd);
    return own;
}

hak_scan hak_head_line(const char *head, size_t len_bytes, char comment)
{
    const char *end = head + len_bytes;
    while (head < end) {
        const char *stop = memchr(head, '\n', (size_t)(end - head));
        hak_scan line = hak_scan_of(head, (size_t)((stop != NULL ? stop : end) - head));
        while (line.end > line.at && line.end[-1] == '\r')
            line.end--;
        hak_scan rest = line;
        if (!hak_scan_done(&rest) && (comment == 0 || *rest.at != comment))
            return line;
        head = stop != NULL ? stop + 1 : end;
    }
    return hak_scan_of(head, 0);
}

int hak_import_lines(hak_import *im, hak_line_parser parse, void *state)
{
    const char *text;
    size_t len;
    while (hak_input_line(&im->in, &text, &len)) {
        hak_scan line = hak_scan_of(text, len);
        if (hak_scan_done(&line) || *line.at == '#')
            continue; /* a comment, in every format that comes in lines */
        const char *fault = parse(im, &line, state);
        im->summary->records++;
        if (HAK_UNLIKELY(fault != NULL) && hak_import_broken_line(im, fault) != 0)
            return -1;
        if (HAK_UNLIKELY(im->failed))
            return hak_trace_fail(im->error, "out of memory");
    }
    return hak_import_input_end(im);
}

static const hak_import_kind *kind_choose(hak_import *im, const char *format)
{
    size_t len = hak_input_need(&im->in, HAK_INPUT_PEEK_BYTES);
    const char *head = (const char *)im->in.at;
    if (len > HAK_INPUT_PEEK_BYTES)
        len = HAK_INPUT_PEEK_BYTES;
    for (size_t i = 0; i < HAK_COUNT_OF(kinds); i++) {
        im->timed = im->threads_unknown = false;
        im->late_events = 0;
        bool looks = kinds[i]->detect(im, head, len);
        if (format != NULL ? strcmp(format, kinds[i]->format.name) == 0 : looks)
            return kinds[i];
    }
    if (format != NULL)
        hak_trace_fail(im->error, "unknown format '%.40s'; hakmem-replay import --help lists them", format);
    else if (len == 0)
        hak_trace_fail(im->error, "%s", im->in.fault != NULL ? im->in.fault : "is empty");
    else
        hak_trace_fail(
            im->error,
            "is neither a trace nor a recording of a known kind; hakmem-replay import --help lists them");
    return NULL;
}

int hak_import_file(const char *from, const char *to, const char *format, unsigned flags,
                    const hak_writer_options *options, hak_import_summary *summary, hak_trace_error *error)
{
    hak_import im = {.flags = flags, .summary = summary, .error = error};
    char recorder[64];
    *summary = (hak_import_summary){.limits = ""};
    if (hak_input_open(&im.in, from, error) != 0)
        return -1;
    const hak_import_kind *kind = kind_choose(&im, format);
    int status = -1;
    if (kind != NULL) {
        summary->format = kind->format.name;
        summary->limits = kind->limits;
        snprintf(recorder, sizeof recorder, "import:%s", kind->format.name);
        status = hak_import_begin(&im, to, recorder, options);
        if (status == 0)
            status = kind->run(&im);
        status = hak_import_end(&im, to, status);
    }
    hak_input_close(&im.in);
    return status;
}

hak_reader *hak_import_open(const char *path, const char *format, unsigned flags, hak_import_summary *summary,
                            hak_trace_error *error)
{
    const hak_writer_options options = {.background = true};
    char folder[4096], file[4200];
    *summary = (hak_import_summary){.limits = ""};
    if (format == NULL && hak_import_is_trace(path))
        return hak_reader_open(path, flags, error);
    const char *tmp = getenv("TMPDIR");
    int used = snprintf(folder, sizeof folder, "%s/hakmem-import.XXXXXX",
                        tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
    if (used < 0 || (size_t)used >= sizeof folder || mkdtemp(folder) == NULL) {
        hak_trace_fail(error, "no temporary folder '%.100s' can be made for importing it", folder);
        return NULL;
    }
    snprintf(file, sizeof file, "%s/trace.gz", folder);
    hak_reader *reader = NULL;
    if (hak_import_file(path, file, format, flags, &options, summary, error) == 0)
        reader = hak_reader_open(file, 0, error);
    unlink(file);
    rmdir(folder);
    return reader;
}
