/* trace_read.h: reads bytes as a trace file and checks what a reader promises. One thread. */
#ifndef TESTS_FUZZ_TRACE_READ_H
#define TESTS_FUZZ_TRACE_READ_H

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/print.h"
#include "trace/check.h"
#include "trace/reader.h"

static inline void fuzz_check_event(const hak_reader *reader, const hak_event *event, uint64_t *last_ns)
{
    uint32_t threads, contexts;
    hak_reader_threads(reader, &threads);
    const hak_trace_node *nodes = hak_reader_nodes(reader, &contexts);
    hak_assert(event->op < HAK_OP_COUNT);
    hak_assert(event->thread < threads);
    hak_assert(event->context < contexts);
    hak_assert(event->context == 0 || nodes[event->context].parent < event->context);
    hak_assert(event->slot <= hak_reader_slots(reader) && event->slot_old <= hak_reader_slots(reader));
    hak_assert(event->time_ns >= *last_ns);
    *last_ns = event->time_ns;
}

static inline uint64_t fuzz_read_events(hak_reader *reader)
{
    hak_trace_error error = {.text = ""};
    const hak_event *events;
    size_t count;
    uint64_t seen = 0;
    uint64_t last_ns = 0;
    int got;
    while ((got = hak_reader_next(reader, &events, &count, &error)) == 1) {
        for (size_t i = 0; i < count; i++)
            fuzz_check_event(reader, &events[i], &last_ns);
        seen += count;
    }
    hak_assert(got == 0 || error.text[0] != '\0');
    hak_assert(memchr(error.text, '\n', sizeof error.text) == NULL);
    return seen;
}

/* Names in the trace: every text is there to its end, every count true. */
static inline void fuzz_check_symbols(const hak_reader *reader)
{
    size_t text_bytes = 0;
    for (uint32_t i = 0; i < hak_reader_symbols(reader); i++) {
        hak_trace_symbol symbol = hak_reader_symbol(reader, i);
        hak_assert(symbol.count <= HAK_TRACE_MAX_FRAMES);
        for (uint32_t k = 0; k < symbol.count; k++)
            text_bytes += strlen(symbol.frames[k].function) + strlen(symbol.frames[k].file);
    }
    hak_assert(text_bytes <= 2 * (size_t)HAK_TRACE_MAX_TEXT_BYTES);
}

static inline void fuzz_read_file(const uint8_t *data, size_t size)
{
    int fd = memfd_create("trace", MFD_CLOEXEC);
    hak_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (unsigned flags = 0; flags <= HAK_READER_PARTIAL; flags++) {
        hak_trace_error error;
        hak_reader *reader = hak_reader_open(path, flags, &error);
        if (reader == NULL)
            continue;
        uint64_t first = fuzz_read_events(reader);
        fuzz_check_symbols(reader);
        hak_assert(hak_reader_rewind(reader, &error) == 0);
        hak_assert(fuzz_read_events(reader) == first);
        hak_reader_close(reader);
    }
    close(fd);
}

#endif
