/* Fuzz target: the first byte says as which format (or as any) and how strictly, the rest is the file.
 * Whatever is imported must be a whole trace whose events are consistent, and none of them lost. */
#include <stdlib.h>

#include "import/import.h"
#include "trace_read.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char out_path[64];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    snprintf(out_path, sizeof out_path, "/dev/shm/fuzz_import.%d", (int)getpid());
    return 0;
}

static void check_trace(const hak_import_summary *summary)
{
    hak_trace_error error;
    hak_reader *reader = hak_reader_open(out_path, 0, &error);
    hak_assert(reader != NULL);
    hak_assert(fuzz_read_events(reader) == summary->events);
    hak_assert(hak_reader_tail(reader)->events_lost == 0);
    hak_reader_close(reader);
    hak_assert(unlink(out_path) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t which = (data[0] & 0x7f) % (hak_import_format_count() + 1);
    const hak_import_format *format = hak_import_format_at(which);
    int fd = memfd_create("recording", MFD_CLOEXEC);
    hak_assert(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const hak_writer_options options = {.force = true};
    hak_import_summary summary;
    hak_trace_error error = {.text = ""};
    if (hak_import_file(path, out_path, format != NULL ? format->name : NULL,
                        data[0] & 0x80 ? HAK_READER_PARTIAL : 0, &options, &summary, &error) == 0)
        check_trace(&summary);
    else
        hak_assert(error.text[0] != '\0' && memchr(error.text, '\n', sizeof error.text) == NULL);
    hak_assert(access(out_path, F_OK) != 0);
    close(fd);
    return 0;
}
