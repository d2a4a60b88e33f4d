/* collect.h: the collector: a process that drains the rings of recorded programs into trace files.
 *
 * One thread per recorded process, one for the rendezvous. It runs detached from the recorded program: no
 * terminal, no shared descriptors. It ends when its owner (the other end of `control`) is gone or has
 * said so, every recorded process is dead and drained, and nobody new has come for a moment. */
#ifndef HAK_TRACE_COLLECT_H
#define HAK_TRACE_COLLECT_H

#include "core/base/types.h"
#include "trace/ring.h"

#define HAK_COLLECT_PATH_MAX 4096

typedef struct hak_collect_options {
    const char *output; /* pattern with %e, %p, %h, %%; NULL: HAK_COLLECT_DEFAULT_OUTPUT */
    bool force;         /* replace existing files */
    uint32_t depth;     /* 1 … HAK_RECORD_DEPTH_MAX */
    bool drop;
    uint64_t sample_bytes; /* mean of the sampling interval; 0: every call */
    bool paused;           /* nothing is recorded before HAK_COMMAND_START */
    uint64_t max_bytes;    /* per file, compressed; 0: no limit */
    uint64_t duration_ns;  /* of recording, per process; 0: to the end */
    int listen_fd;         /* from hak_collect_listen */
    int control_fd;        /* SOCK_SEQPACKET to the owner; -1: none */
} hak_collect_options;

#define HAK_COLLECT_DEFAULT_OUTPUT "hakmem-trace.%e.%p.gz"

/* Over control, one struct a packet. From the owner: MAIN, STATUS. To the owner: STARTED, REFUSED, DONE,
 * FINISHED. */
typedef enum hak_collect_kind {
    HAK_COLLECT_MAIN = 1, /* pid: this one's trace gets the plain output name; reports are about it */
    HAK_COLLECT_STATUS,   /* status: of the main process, as from waitpid(2) */
    HAK_COLLECT_STARTED,  /* path: where the main process is recorded to */
    HAK_COLLECT_RESTING,  /* the main process has joined, and waits to be started */
    HAK_COLLECT_REFUSED,  /* path: one line, why it is not */
    HAK_COLLECT_DONE,     /* everything; path: of a trace of the main process (each image has one) */
    HAK_COLLECT_ACCEPTED, /* answer to a command, at once; another follows when it is done */
    HAK_COLLECT_UNKNOWN,  /* answer to a command: no such process here */
    HAK_COLLECT_FINISHED, /* after STATUS: the traces of all processes that have ended are whole; processes */
} hak_collect_kind;

typedef struct hak_collect_message {
    uint32_t kind;
    uint32_t pid;
    uint32_t status;
    uint32_t processes; /* traces written so far, this one included */
    uint64_t allocations;
    uint64_t temporary; /* freed before the thread's next allocation */
    uint64_t peak_bytes;
    uint64_t left_bytes; /* never freed */
    uint64_t lost;
    uint64_t file_bytes;
    uint64_t walks_checked;
    uint64_t walks_wrong;
    uint32_t threads;
    uint32_t failed;  /* the file is not whole: note says why */
    uint32_t sampled; /* figures are estimates */
    uint32_t end;     /* hak_trace_end; WRITE: note says why */
    uint64_t duration_ns;
    char path[HAK_COLLECT_PATH_MAX];
    char note[256];
} hak_collect_message;

/* An abstract socket with a fresh name. Descriptor, or -1. */
int hak_collect_listen(char name[HAK_SOCKET_NAME_BYTES]);

/* The same under a given name, for a library that has chosen one. */
int hak_collect_listen_at(const char *name);

/* Collects until done. 0, or -1 when it could not start. Ignores SIGPIPE, SIGXFSZ, SIGINT, SIGHUP, SIGTERM.
 */
int hak_collect_run(const hak_collect_options *options);

/* Expands the pattern; false when it does not fit. comm may hold anything: '/' and control bytes become '_'.
 */
bool hak_collect_name(const char *pattern, const char *comm, uint64_t pid, char *path, size_t room);

typedef struct hak_collect_choice {
    const char *pattern; /* NULL: HAK_COLLECT_DEFAULT_OUTPUT */
    const char *comm;
    uint64_t pid;
    bool plain; /* the pattern as it is: the main process. Others get name and pid put in before .gz */
    bool force; /* files of earlier recordings may be replaced */
    bool (*is_taken)(void *server, const char *path); /* another trace of this recording has the name */
    void *server;
} hak_collect_choice;

/* The name of a trace; further images of a process are numbered. False: it does not fit. */
bool hak_collect_choose(const hak_collect_choice *choice, char *path, size_t room);

#endif
