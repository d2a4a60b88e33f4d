/* kind_workload.c: workloads of glibc-malloc-trace-utils (trace2wl makes them of its records, trace_run runs
 * them): one stream of operations per thread. An operation is a byte and numbers of seven bits a byte, the
 * highest first, a set top bit saying that more follow. The file begins with 8 POINTERS 9 SYNCS 10 THREADS,
 * then 11 OFFSET for each thread's stream, then 1. What a thread did after another is said by numbered
 * signals (6 sends, 7 waits), and the numbers grow in the order of the recording: so the thread that is least
 * far in them goes on. */
#include "import/kinds.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "trace/error.h"

enum {
    C_NOP,
    C_DONE,
    C_MALLOC,
    C_CALLOC,
    C_REALLOC,
    C_FREE,
    C_SYNC_W,
    C_SYNC_R,
    C_ALLOC_PTRS,
    C_ALLOC_SYNCS,
    C_NTHREADS,
    C_START_THREAD,
    C_MEMALIGN,
    C_VALLOC,
    C_PVALLOC,
    C_POSIX_MEMALIGN
};

enum { TURN_OPERATIONS = 64, MAX_THREADS = 65536, NUMBER_MAX_BYTES = 10 };

typedef struct stream {
    const uint8_t *at;
    uint64_t reached; /* the number of its last signal, and turns since */
    uint64_t wanted;  /* the signal that it waits for; 0: none */
    bool done;
} stream;

typedef struct workload {
    const uint8_t *bytes, *end;
    stream *streams;
    size_t count;
    uint8_t *sent; /* by number of the signal */
    uint64_t signals;
    const uint8_t *fault_at;
} workload;

/* False: cut off, or of more than 64 bits. */
static bool number(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < NUMBER_MAX_BYTES && *at < end; i++) {
        uint8_t byte = *(*at)++;
        if (*value >> 57 != 0)
            return false;
        *value = *value << 7 | (byte & 0x7f);
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

/* The numbers in front of the streams; *at is then behind THREADS. */
static bool head_take(const uint8_t **at, const uint8_t *end, uint64_t *signals, uint64_t *threads)
{
    uint64_t pointers;
    static const uint8_t wanted[] = {C_ALLOC_PTRS, C_ALLOC_SYNCS, C_NTHREADS};
    uint64_t *const values[] = {&pointers, signals, threads};
    for (size_t i = 0; i < HAK_COUNT_OF(wanted); i++) {
        while (*at < end && **at == C_NOP)
            ++*at;
        if (*at == end || *(*at)++ != wanted[i] || !number(at, end, values[i]))
            return false;
    }
    return *threads <= MAX_THREADS;
}

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    const uint8_t *at = (const uint8_t *)head, *end = at + len_bytes;
    uint64_t signals, threads;
    (void)im;
    return head_take(&at, end, &signals, &threads) && threads != 0 && at < end && *at == C_START_THREAD;
}

static const char *streams_find(workload *w)
{
    const uint8_t *at = w->bytes;
    uint64_t threads, offset;
    if (!head_take(&at, w->end, &w->signals, &threads) || threads == 0 ||
        w->signals > (uint64_t)(w->end - w->bytes)) {
        w->fault_at = at;
        return "no numbers of pointers, signals and threads at its start";
    }
    w->streams = calloc((size_t)threads, sizeof *w->streams);
    w->sent = calloc((size_t)w->signals + 1, 1);
    if (w->streams == NULL || w->sent == NULL)
        return "out of memory";
    while (w->count < threads) {
        w->fault_at = at;
        if (at < w->end && *at == C_NOP) {
            at++;
            continue;
        }
        if (at == w->end || *at++ != C_START_THREAD || !number(&at, w->end, &offset) ||
            offset >= (uint64_t)(w->end - w->bytes))
            return "no place of a thread's stream";
        w->streams[w->count++].at = w->bytes + offset;
    }
    return NULL;
}

static const char *operation_put(hak_import *im, stream *s, unsigned code, const uint8_t *end)
{
    static const char cut[] = "a cut off operation";
    uint64_t block, other = 0, size = 0;
    bool three = code == C_REALLOC || code == C_MEMALIGN || code == C_POSIX_MEMALIGN;
    if (code > C_POSIX_MEMALIGN || (code > C_FREE && code < C_MEMALIGN))
        return "an unknown operation";
    if (!number(&s->at, end, &block) || (three && !number(&s->at, end, &other)) ||
        (code != C_FREE && !number(&s->at, end, &size)))
        return cut;
    switch (code) {
    case C_MALLOC:
        hak_import_alloc(im, HAK_OP_MALLOC, block, size, 0);
        break;
    case C_CALLOC:
        hak_import_alloc(im, HAK_OP_CALLOC, block, size, 0);
        break;
    case C_REALLOC:
        hak_import_realloc(im, block, other, size);
        break;
    case C_FREE:
        hak_import_free(im, HAK_OP_FREE, block);
        break;
    case C_VALLOC:
        hak_import_alloc(im, HAK_OP_VALLOC, block, size, 0);
        break;
    case C_PVALLOC:
        hak_import_alloc(im, HAK_OP_PVALLOC, block, size, 0);
        break;
    default:
        hak_import_alloc(im, code == C_MEMALIGN ? HAK_OP_MEMALIGN : HAK_OP_POSIX_MEMALIGN, block, size,
                         other);
    }
    im->summary->records++;
    return NULL;
}

/* Until a signal, or for a while. */
static const char *turn(hak_import *im, workload *w, stream *s)
{
    const char *fault;
    hak_import_thread(im, (uint64_t)(s - w->streams) + 1);
    s->reached++;
    for (unsigned i = 0; i < TURN_OPERATIONS; i++) {
        w->fault_at = s->at;
        if (s->at == NULL || s->at >= w->end)
            return "a stream without an end";
        unsigned code = *s->at++;
        if (code == C_NOP)
            continue;
        if (code == C_DONE) {
            s->done = true;
            hak_import_thread_end(im);
            return NULL;
        }
        if (code == C_SYNC_W || code == C_SYNC_R) {
            uint64_t signal;
            if (!number(&s->at, w->end, &signal) || signal > w->signals)
                return "no number of a signal";
            s->reached = signal > s->reached ? signal : s->reached;
            if (code == C_SYNC_W)
                w->sent[signal] = 1;
            else
                s->wanted = signal;
            return NULL;
        }
        if ((fault = operation_put(im, s, code, w->end)) != NULL)
            return fault;
    }
    return NULL;
}

/* Who goes on; NULL: all are done, or all others wait. */
static stream *next_of(const workload *w, bool *waiting)
{
    stream *next = NULL;
    *waiting = false;
    for (stream *s = w->streams; s < w->streams + w->count; s++) {
        if (s->done)
            continue;
        *waiting = true;
        if ((s->wanted == 0 || w->sent[s->wanted]) && (next == NULL || s->reached < next->reached))
            next = s;
    }
    return next;
}

static const char *play(hak_import *im, workload *w)
{
    bool waiting = false;
    const char *fault = streams_find(w);
    for (stream *s; fault == NULL && !im->failed && (s = next_of(w, &waiting)) != NULL;) {
        s->wanted = 0;
        fault = turn(im, w, s);
    }
    if (fault == NULL && !im->failed && waiting)
        fault = "threads that wait for one another";
    return fault;
}

static int run(hak_import *im)
{
    size_t len = 0;
    workload w = {.bytes = hak_input_whole(&im->in, &len)};
    if (w.bytes == NULL)
        return hak_import_input_end(im);
    w.end = w.bytes + len;
    w.fault_at = w.bytes;
    const char *fault = play(im, &w);
    int status = hak_import_input_end(im);
    if (status == 0 && fault != NULL) {
        im->summary->cut_off = true;
        if (!(im->flags & HAK_READER_PARTIAL))
            status = hak_trace_fail(im->error, "byte %zu: %s; use --partial to take what is before it",
                                    (size_t)(w.fault_at - w.bytes), fault);
    }
    munmap((void *)(uintptr_t)w.bytes, len);
    free(w.streams);
    free(w.sent);
    return status;
}

const hak_import_kind hak_import_workload = {
    .format = {"workload", "glibc-malloc-trace-utils' workloads (.wl)"},
    .limits = "times, call contexts, the order of what threads did apart from handing blocks over",
    .detect = detect,
    .run = run,
};
