/* collect_session.h: one recorded process: its rings merged in order of time into one trace.
 *
 * A session belongs to the thread that runs it, except for the functions that say otherwise. */
#ifndef HAK_TRACE_COLLECT_SESSION_H
#define HAK_TRACE_COLLECT_SESSION_H

#include "trace/collect.h"

typedef struct hak_session hak_session;

typedef struct hak_session_origin {
    uint64_t id;  /* never 0 */
    uint64_t pid; /* as the collector's /proc knows it */
    int pid_fd;   /* readable once the process is dead; owned by the session from here on; -1: unknown */
    uint64_t parent_pid;
    uint64_t parent_start_ns; /* of the parent's or predecessor's trace, 0: none */
    bool same_ids;            /* the program's ids are those of the collector's /proc: no other namespace */
    bool plain_name;          /* the output pattern is used as it is */
    bool (*is_taken)(void *server, const char *path); /* another trace of this recording has the name */
    void *server;
} hak_session_origin;

/* A session with its shared segment; *segment is the descriptor to hand to the program (owned by the
 * session). NULL: no memory, errno says more. */
hak_session *hak_session_new(const hak_collect_options *options, const hak_session_origin *origin,
                             int *segment);

/* Until the process is dead and drained. Fills in the report (kind DONE). */
void hak_session_run(hak_session *session, hak_collect_message *report);

/* The trace is finished, or was never begun: gives back all but what a restart needs, and waits until the
 * process is dead or has joined anew. */
void hak_session_rest(hak_session *session);

void hak_session_free(hak_session *session);

/* Any thread, while the session lives. */
uint64_t hak_session_start_ns(const hak_session *session);
void hak_session_replaced(hak_session *session); /* the process has exec'ed: this image is dead */
void hak_session_stop(hak_session *session);     /* on request: its trace is to be finished */
void hak_session_restart(hak_session *session);  /* one that rests: the process is to join anew */
void hak_session_exit_status(hak_session *session, uint32_t status);

/* Opens the file under its name. False: report->note says why not; the program is then not to be recorded. */
bool hak_session_open(hak_session *session, hak_collect_message *report);

#endif
