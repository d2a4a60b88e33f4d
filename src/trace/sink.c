/* sink.c: compression and the file. Only here is a trace written to disk. The background thread owns packer,
 * index and file; the caller owns the queue's head; what both touch is under `lock`. */
#include "trace/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "trace/error.h"
#include "trace/gzip.h"

enum { QUEUE = 3, DEFAULT_LEVEL = 1 };

typedef struct job {
    uint8_t *raw;
    size_t raw_bytes;
    uint32_t events;
} job;

struct hak_sink {
    int fd;
    char *path;
    char *part_path;
    bool force;
    uint64_t max_bytes;

    hak_packer *packer;
    uint8_t *packed;
    size_t packed_room;
    hak_index index;

    bool background;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    job jobs[QUEUE];
    uint64_t submitted; /* jobs, ever */
    uint64_t done;
    bool closing;

    atomic_bool stopped; /* relaxed: a flag of its own, read as advice until the queue is drained */
    atomic_int failure;  /* errno of the first failed write; 0: stopped by max_bytes */
    atomic_uint_fast64_t bytes;
    atomic_uint_fast64_t written;
};

/* ---- the file ---- */

/* A full file system limit must not kill the process: SIGXFSZ is directed at the writing thread, so it can be
 * blocked here and taken back. */
static ssize_t write_quietly(int fd, const void *from, size_t len_bytes)
{
    sigset_t quiet, before;
    sigemptyset(&quiet);
    sigaddset(&quiet, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &quiet, &before);
    ssize_t n = write(fd, from, len_bytes);
    int saved = errno;
    if (n < 0 && saved == EFBIG && !sigismember(&before, SIGXFSZ)) {
        const struct timespec now = {0, 0};
        sigtimedwait(&quiet, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return n;
}

static bool write_all(hak_sink *sink, const uint8_t *from, size_t len_bytes)
{
    while (len_bytes != 0) {
        ssize_t n = write_quietly(sink->fd, from, len_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            sink->failure = n < 0 ? errno : EIO;
            return false;
        }
        from += n;
        len_bytes -= (size_t)n;
    }
    return true;
}

/* Compresses and appends one member. On failure the file is cut back to its last whole member. */
static bool append(hak_sink *sink, const uint8_t *raw, size_t raw_bytes, uint32_t events, bool limited)
{
    size_t bound = hak_packer_bound(sink->packer, raw_bytes);
    if (!HAK_GROW(&sink->packed, &sink->packed_room, bound)) {
        sink->failure = ENOMEM;
        return false;
    }
    size_t packed = hak_packer_pack(sink->packer, raw, raw_bytes, sink->packed, sink->packed_room);
    uint64_t bytes = atomic_load_explicit(&sink->bytes, memory_order_relaxed);
    if (packed == 0) {
        sink->failure = EIO;
        return false;
    }
    if (limited && sink->max_bytes != 0 && bytes + packed > sink->max_bytes)
        return false;
    if (!write_all(sink, sink->packed, packed) || !hak_index_add(&sink->index, packed, events)) {
        if (ftruncate(sink->fd, (off_t)bytes) == 0)
            lseek(sink->fd, (off_t)bytes, SEEK_SET);
        return false;
    }
    atomic_store_explicit(&sink->bytes, bytes + packed, memory_order_relaxed);
    atomic_fetch_add_explicit(&sink->written, events, memory_order_relaxed);
    return true;
}

static void run_job(hak_sink *sink, const job *todo)
{
    if (!hak_sink_stopped(sink) && !append(sink, todo->raw, todo->raw_bytes, todo->events, true))
        atomic_store_explicit(&sink->stopped, true, memory_order_relaxed);
}

static void *background(void *context)
{
    hak_sink *sink = context;
    pthread_mutex_lock(&sink->lock);
    for (;;) {
        while (sink->done == sink->submitted && !sink->closing)
            pthread_cond_wait(&sink->changed, &sink->lock);
        if (sink->done == sink->submitted)
            break;
        const job *todo = &sink->jobs[sink->done % QUEUE];
        pthread_mutex_unlock(&sink->lock);
        run_job(sink, todo);
        pthread_mutex_lock(&sink->lock);
        sink->done++;
        pthread_cond_broadcast(&sink->changed);
    }
    pthread_mutex_unlock(&sink->lock);
    return NULL;
}

/* The thread takes none of the process's signals. */
static bool start_background(hak_sink *sink)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&sink->thread, NULL, background, sink);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sink->background = failure == 0;
    return failure == 0;
}

/* ---- opening ---- */

static char *with_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path);
    size_t m = strlen(suffix);
    char *text = malloc(n + m + 1);
    if (text != NULL) {
        memcpy(text, path, n);
        memcpy(text + n, suffix, m + 1);
    }
    return text;
}

static int create_part(hak_sink *sink, hak_trace_error *error)
{
    struct stat status;
    if (lstat(sink->path, &status) == 0) {
        if (!sink->force)
            return hak_trace_fail(error, "exists; use -f to replace it");
        if (!S_ISREG(status.st_mode))
            return hak_trace_fail(error, "exists and is not a regular file");
    }
    if (sink->force)
        unlink(sink->part_path);
    sink->fd = open(sink->part_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (sink->fd >= 0)
        return 0;
    if (errno == EEXIST)
        return hak_trace_fail(error,
                              "its .part file exists: another recording runs, or one was killed; use -f "
                              "to replace it");
    return hak_trace_fail(error, "cannot be created: %s", strerror(errno));
}

static void free_sink(hak_sink *sink)
{
    if (sink->fd >= 0)
        close(sink->fd);
    hak_packer_free(sink->packer);
    for (unsigned i = 0; i < QUEUE; i++)
        free(sink->jobs[i].raw);
    free(sink->packed);
    free(sink->path);
    free(sink->part_path);
    hak_index_done(&sink->index);
    pthread_cond_destroy(&sink->changed);
    pthread_mutex_destroy(&sink->lock);
    free(sink);
}

static bool sink_parts(hak_sink *sink, const char *path, int level)
{
    sink->path = with_suffix(path, "");
    sink->part_path = with_suffix(path, ".part");
    sink->packer = hak_packer_new(level != 0 ? level : DEFAULT_LEVEL);
    bool ok = sink->path != NULL && sink->part_path != NULL && sink->packer != NULL;
    for (unsigned i = 0; i < QUEUE; i++) {
        sink->jobs[i].raw = malloc(HAK_TRACE_MEMBER_MAX_BYTES);
        ok &= sink->jobs[i].raw != NULL;
    }
    return ok;
}

hak_sink *hak_sink_open(const char *path, const hak_writer_options *options, hak_trace_error *error)
{
    hak_sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL) {
        hak_trace_fail(error, "out of memory");
        return NULL;
    }
    sink->fd = -1;
    pthread_mutex_init(&sink->lock, NULL);
    pthread_cond_init(&sink->changed, NULL);
    hak_index_init(&sink->index);
    sink->force = options->force;
    sink->max_bytes = options->max_bytes;
    if (!sink_parts(sink, path, options->level)) {
        hak_trace_fail(error, "out of memory");
    } else if (create_part(sink, error) == 0) {
        if (!options->background || start_background(sink))
            return sink;
        hak_trace_fail(error, "no thread could be started");
        unlink(sink->part_path);
    }
    free_sink(sink);
    return NULL;
}

/* ---- the queue ---- */

uint8_t *hak_sink_buffer(hak_sink *sink)
{
    if (sink->background) {
        pthread_mutex_lock(&sink->lock);
        while (sink->submitted - sink->done == QUEUE)
            pthread_cond_wait(&sink->changed, &sink->lock);
        pthread_mutex_unlock(&sink->lock);
    }
    return sink->jobs[sink->submitted % QUEUE].raw;
}

void hak_sink_submit(hak_sink *sink, size_t raw_bytes, uint32_t events)
{
    job *next = &sink->jobs[sink->submitted % QUEUE];
    next->raw_bytes = raw_bytes;
    next->events = events;
    if (!sink->background) {
        run_job(sink, next);
        sink->submitted = ++sink->done;
        return;
    }
    pthread_mutex_lock(&sink->lock);
    sink->submitted++;
    pthread_cond_broadcast(&sink->changed);
    pthread_mutex_unlock(&sink->lock);
}

void hak_sink_drain(hak_sink *sink)
{
    if (!sink->background)
        return;
    pthread_mutex_lock(&sink->lock);
    while (sink->done != sink->submitted)
        pthread_cond_wait(&sink->changed, &sink->lock);
    pthread_mutex_unlock(&sink->lock);
}

bool hak_sink_stopped(hak_sink *sink)
{
    return atomic_load_explicit(&sink->stopped, memory_order_relaxed);
}

int hak_sink_failure(hak_sink *sink)
{
    return atomic_load_explicit(&sink->failure, memory_order_relaxed);
}

uint64_t hak_sink_bytes(hak_sink *sink)
{
    return atomic_load_explicit(&sink->bytes, memory_order_relaxed);
}

uint64_t hak_sink_written(hak_sink *sink)
{
    return atomic_load_explicit(&sink->written, memory_order_relaxed);
}

const hak_index *hak_sink_index(hak_sink *sink)
{
    return &sink->index;
}

/* ---- the end ---- */

static void stop_background(hak_sink *sink)
{
    if (!sink->background)
        return;
    pthread_mutex_lock(&sink->lock);
    sink->closing = true;
    pthread_cond_broadcast(&sink->changed);
    pthread_mutex_unlock(&sink->lock);
    pthread_join(sink->thread, NULL);
    sink->background = false;
}

static int rename_part(const hak_sink *sink, hak_trace_error *error)
{
    unsigned flags = sink->force ? 0 : RENAME_NOREPLACE;
    int failed = renameat2(AT_FDCWD, sink->part_path, AT_FDCWD, sink->path, flags);
    if (failed != 0 && errno == EINVAL && flags != 0) {
        /* The file system knows no RENAME_NOREPLACE. link(2) does not replace either. */
        failed = link(sink->part_path, sink->path);
        if (failed == 0)
            unlink(sink->part_path);
    }
    if (failed != 0)
        return hak_trace_fail(error, "cannot be renamed from its .part file: %s", strerror(errno));
    return 0;
}

int hak_sink_finish(hak_sink *sink, const hak_bytes *tail, hak_trace_error *error)
{
    stop_background(sink);
    int result = -1;
    if (tail == NULL || tail->failed || tail->len_bytes == 0)
        hak_trace_fail(error, "out of memory; what was written stays in its .part file");
    else if (!append(sink, tail->at, tail->len_bytes, 0, false))
        hak_trace_fail(error, "writing the end failed: %s; what was written stays in its .part file",
                       strerror(sink->failure));
    else
        result = rename_part(sink, error);
    if (error != NULL && result != 0)
        error->offset_bytes = hak_sink_bytes(sink), error->event_index = hak_sink_written(sink);
    free_sink(sink);
    return result;
}
