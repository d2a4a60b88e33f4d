/* export.c: the table of formats, and files that are whole or not there. */
#include "cli/export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/output.h"

static const export_format formats[] = {
    {"folded", REPORT_NEEDS_TREE, false, false, false, export_folded},
    {"speedscope", REPORT_NEEDS_TREE, false, false, false, export_speedscope},
    {"pprof", REPORT_NEEDS_TREE, true, false, false, export_pprof},
    {"heaptrack", 0, true, true, true, export_heaptrack},
    {"dhat", REPORT_NEEDS_TREE, false, false, false, export_dhat},
    {"callgrind", REPORT_NEEDS_TREE, false, false, false, export_callgrind},
    {"massif", REPORT_NEEDS_INVERTED, false, true, false, export_massif},
};

const char *const export_weight_names[HAK_WEIGHT_COUNT] = {"bytes", "calls", "peak", "live", "temporary"};

const char *export_parse(const char *text, export_request *out)
{
    const char *colon = strchr(text, ':');
    if (colon == NULL || colon[1] == '\0')
        return "--export takes FORMAT:FILE";
    for (size_t i = 0; i < HAK_COUNT_OF(formats); i++) {
        if (strlen(formats[i].name) == (size_t)(colon - text) &&
            strncmp(formats[i].name, text, (size_t)(colon - text)) == 0) {
            *out = (export_request){&formats[i], colon + 1};
            return NULL;
        }
    }
    return "--export knows pprof, heaptrack, folded, speedscope, dhat, callgrind, massif";
}

/* ---- output ---- */

static ssize_t pack(void *cookie, const char *bytes, size_t count)
{
    return count == 0 ? 0 : gzwrite(cookie, bytes, count < 1u << 30 ? (unsigned)count : 1u << 30);
}

static int pack_close(void *cookie)
{
    return gzclose(cookie) == Z_OK ? 0 : EOF;
}

/* A stream over the descriptor, which it takes; NULL with errno. */
static FILE *open_stream(int fd, bool packed)
{
    if (!packed)
        return fdopen(fd, "w");
    enum { PACK_BYTES = 256 * 1024 };
    gzFile gz = gzdopen(fd, "wb1"); /* a viewer unpacks it once; denser took three times as long */
    if (gz == NULL)
        return NULL;
    gzbuffer(gz, PACK_BYTES);
    FILE *stream = fopencookie(gz, "w", (cookie_io_functions_t){.write = pack, .close = pack_close});
    if (stream == NULL)
        gzclose(gz);
    else
        setvbuf(stream, NULL, _IOFBF, PACK_BYTES);
    return stream;
}

typedef const char *(*writer)(const void *context, FILE *out);

static int write_to(const char *path, bool packed, writer write, const void *context, int fd)
{
    FILE *out = fd >= 0 ? open_stream(fd, packed) : NULL;
    if (out == NULL)
        return report_trouble(path, strerror(errno));
    const char *fault = write(context, out);
    bool failed = ferror(out) != 0;
    errno = 0;
    failed |= fclose(out) != 0;
    if (fault == NULL && failed)
        fault = errno != 0 ? strerror(errno) : "cannot be written";
    return fault == NULL ? REPORT_FINE : report_trouble(path, fault);
}

int export_to(const char *path, bool packed, writer write, const void *context)
{
    if (strcmp(path, "-") == 0) {
        fflush(stdout);
        return write_to(path, packed, write, context, dup(STDOUT_FILENO));
    }
    output_file file;
    int fd = output_begin(&file, path);
    int status = write_to(path, packed, write, context, fd);
    if (fd >= 0 && output_end(&file, status == REPORT_FINE) != 0)
        status = report_trouble(path, strerror(errno));
    return status;
}

typedef struct asked {
    const report *r;
    const export_format *format;
} asked;

static const char *write_format(const void *context, FILE *out)
{
    const asked *a = context;
    return a->format->write(a->r, out);
}

int export_write(const report *r, const export_request *request)
{
    if (request->format->one_trace && r->traces_count != 1)
        return report_trouble(request->path, "this format tells about one process: give one trace");
    if (request->format->every_event && report_is_part(r))
        return report_trouble(request->path,
                              "this format tells every event: it goes with neither --filter nor "
                              "--from, --to, --at");
    const asked a = {r, request->format};
    return export_to(request->path, request->format->packed, write_format, &a);
}

/* ---- pieces ---- */

void export_name(char *out, size_t room, const hak_place *place, const char *without)
{
    if (place->function != NULL)
        format_safe(out, room, place->function, 0);
    else
        format_place(out, room, place, false);
    for (char *at = out; (at = strpbrk(at, without)) != NULL;)
        *at = '_';
}

void export_command(char *out, size_t room, const report_trace *t)
{
    char raw[4096];
    const hak_trace_head *head = hak_reader_head(t->reader);
    size_t n = head->command_bytes < sizeof raw - 1 ? head->command_bytes : sizeof raw - 1;
    if (n != 0)
        memcpy(raw, head->command, n);
    while (n != 0 && raw[n - 1] == '\0')
        n--;
    for (size_t i = 0; i < n; i++)
        raw[i] = raw[i] == '\0' ? ' ' : raw[i];
    raw[n] = '\0';
    format_safe(out, room, n != 0 ? raw : head->program, 0);
}

hak_weights export_own(const hak_tree *tree, uint32_t node)
{
    uint32_t usage = tree->nodes[node].usage;
    return usage == HAK_TREE_NO_USAGE ? (hak_weights){{0}} : hak_weights_of(tree->usages[usage]);
}
