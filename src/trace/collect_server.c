/* collect_server.c: the rendezvous: processes come, get a segment, and a thread that drains it. The list of
 * sessions is under one mutex; nothing waits while holding it. */
#include "trace/collect.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "trace/collect_proc.h"
#include "trace/collect_session.h"

#define BACKLOG       1024
#define HELLO_WAIT_S  2
#define TICK_MS       20
#define FIRST_WAIT_NS UINT64_C(30000000000) /* for the first process, when nobody owns the collector */
#define LINGER_NS     UINT64_C(3000000000)  /* after the last process: a forked child may not have come yet */
#define PEER_STACK    (512 * HAK_KIB)

/* A process that was or is recorded. Never removed: later ones name it as their parent. */
typedef struct member {
    struct member *next;
    struct server *server;
    const struct member *parent; /* NULL: unknown, or not of this recording */
    hak_session *session;        /* NULL once finished */
    uint64_t id;
    uint64_t pid;
    uint64_t start_ns;
    int pid_fd; /* own duplicate; -1: unknown */
    char *path; /* of its trace; NULL: no memory for it */
    bool is_main;
    bool resting; /* its trace is finished, or not begun; the process lives */
    bool
        quiet; /* stopped, or not started, on request: so are the programs that it becomes and its children */
    int asker_fd; /* who waits for an answer about it; -1: nobody */
    sem_t gate;   /* its thread waits here until it is clear whether it is admitted */
    bool admitted;
} member;

typedef struct server {
    hak_collect_options options;
    pthread_mutex_t lock;
    member *members; /* latest first */
    uint64_t last_id;
    uint32_t live;
    uint32_t written;
    uint64_t main_pid;
    bool main_met;
    bool status_known;
    uint32_t status;
    bool finished_told;
    int control_fd;
    uint64_t empty_since_ns;
} server;

static void tell(server *s, hak_collect_message *message)
{
    if (s->control_fd >= 0)
        send(s->control_fd, message, sizeof *message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void answer(member *m, hak_collect_message *message)
{
    if (m->asker_fd < 0)
        return;
    send(m->asker_fd, message, sizeof *message, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(m->asker_fd);
    m->asker_fd = -1;
}

/* Of one that is in no list. */
static void member_free(member *m)
{
    if (m->session != NULL)
        hak_session_free(m->session);
    if (m->pid_fd >= 0)
        close(m->pid_fd);
    sem_destroy(&m->gate);
    free(m);
}

static void *run_member(void *arg)
{
    member *m = arg;
    server *s = m->server;
    while (sem_wait(&m->gate) != 0) /* EINTR */
        continue;
    if (!m->admitted) {
        member_free(m);
        return NULL;
    }
    hak_collect_message *report = calloc(1, sizeof *report);
    hak_collect_message spare; /* without memory the figures are lost, not the trace */
    if (!m->resting) {
        hak_session_run(m->session, report != NULL ? report : &spare);
        pthread_mutex_lock(&s->lock);
        m->resting = true;
        s->written++;
        if (report != NULL) {
            report->processes = s->written;
            answer(m, report);
            if (m->is_main)
                tell(s, report);
        }
        pthread_mutex_unlock(&s->lock);
    }
    hak_session_rest(m->session);
    pthread_mutex_lock(&s->lock);
    hak_session_free(m->session);
    m->session = NULL;
    s->live--;
    s->empty_since_ns = hak_os_monotonic_ns();
    if (m->pid_fd >= 0)
        close(m->pid_fd);
    m->pid_fd = -1;
    if (report != NULL) {
        report->kind = HAK_COLLECT_UNKNOWN;
        answer(m, report);
    }
    pthread_mutex_unlock(&s->lock);
    free(report);
    return NULL;
}

static const member *find_id(const server *s, uint64_t id)
{
    for (const member *m = s->members; m != NULL; m = m->next)
        if (m->id == id)
            return m;
    return NULL;
}

static member *find_pid(server *s, uint64_t pid)
{
    for (member *m = s->members; m != NULL; m = m->next)
        if (m->pid == pid)
            return m;
    return NULL;
}

/* One that lives, comes from this process, and has not been told this yet. */
static member *find_child(server *s, uint64_t pid, bool stop)
{
    for (member *m = s->members; m != NULL; m = m->next) {
        if (m->session == NULL || m->quiet == stop || m->pid == pid)
            continue;
        for (const member *up = m->parent; up != NULL; up = up->parent)
            if (up->pid == pid)
                return m;
    }
    return NULL;
}

static bool is_taken(void *arg, const char *path)
{
    server *s = arg;
    bool taken = false;
    pthread_mutex_lock(&s->lock);
    for (const member *m = s->members; m != NULL && !taken; m = m->next)
        taken = m->path != NULL && strcmp(m->path, path) == 0;
    pthread_mutex_unlock(&s->lock);
    return taken;
}

/* Who this process comes from: a fork says so itself, a new image replaces the old one of the same pid, else
 * the parent by pid. Called with the lock. */
static void set_origin(server *s, const hak_hello *hello, hak_session_origin *origin, member *m)
{
    origin->parent_pid = hak_proc_parent(origin->pid);
    member *before = find_pid(s, origin->pid);
    const member *parent = hello->parent_session != 0 ? find_id(s, hello->parent_session) : NULL;
    m->quiet = s->options.paused;
    if (parent == NULL && before != NULL) {
        parent = before;
        if (before->session != NULL) {
            hak_session_replaced(before->session);
            m->asker_fd = before->asker_fd; /* who has started it waits for this */
            before->asker_fd = -1;
        }
    }
    if (parent == NULL)
        parent = find_pid(s, origin->parent_pid);
    m->parent = parent;
    if (parent != NULL) {
        m->quiet = parent->quiet;
        origin->parent_pid = parent->pid;
        origin->parent_start_ns = parent->start_ns;
    }
    origin->plain_name = origin->pid == s->main_pid && !s->main_met;
}

static void welcome(int fd, uint64_t id, int segment)
{
    hak_welcome reply = {.magic = HAK_HELLO_MAGIC, .session = segment >= 0 ? id : 0};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec io = {&reply, sizeof reply};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
    if (segment >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &segment, sizeof segment);
    }
    sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* Not listed yet. Called without the lock. NULL: no memory. */
static member *member_new(server *s, const hak_hello *hello, uint64_t pid, hak_session_origin *origin)
{
    member *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    *m = (member){.server = s, .pid = pid, .pid_fd = (int)syscall(SYS_pidfd_open, pid, 0), .asker_fd = -1};
    sem_init(&m->gate, 0, 0);
    *origin = (hak_session_origin){
        .pid = pid, .pid_fd = m->pid_fd >= 0 ? dup(m->pid_fd) : -1, .is_taken = is_taken, .server = s};
    origin->same_ids = hello->own_pid == pid;
    pthread_mutex_lock(&s->lock);
    set_origin(s, hello, origin, m);
    m->id = origin->id = ++s->last_id;
    m->is_main = pid == s->main_pid;
    s->main_met |= m->is_main && !m->quiet;
    m->resting = m->quiet;
    pthread_mutex_unlock(&s->lock);
    return m;
}

/* The session, and the segment's descriptor for the program: the session may be over before the program has
 * its copy. 0, or what failed. */
static int make_session(member *m, const hak_session_origin *origin, int *kept)
{
    int segment;
    m->session = hak_session_new(&m->server->options, origin, &segment);
    if (m->session == NULL) {
        int failed = errno;
        if (origin->pid_fd >= 0)
            close(origin->pid_fd);
        return failed;
    }
    m->start_ns = hak_session_start_ns(m->session);
    *kept = dup(segment);
    return *kept >= 0 ? 0 : errno;
}

/* The member's thread, which waits at the gate. 0, or what failed. */
static int make_thread(member *m)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, PEER_STACK);
    int failed = pthread_create(&thread, &attributes, run_member, m);
    pthread_attr_destroy(&attributes);
    return failed;
}

/* Lists the member, or has it refused, and says so to whoever waits for it. */
static void settle(member *m, bool admitted, hak_collect_message *report)
{
    server *s = m->server;
    report->kind = !admitted ? HAK_COLLECT_REFUSED : m->resting ? HAK_COLLECT_RESTING : HAK_COLLECT_STARTED;
    pthread_mutex_lock(&s->lock);
    m->admitted = admitted;
    if (admitted) {
        m->path = m->resting ? NULL : strdup(report->path);
        m->next = s->members;
        s->members = m;
        s->live++;
        if (s->status_known && m->is_main)
            hak_session_exit_status(m->session, s->status);
    }
    answer(m, report);
    if (m->is_main || (!admitted && s->main_pid == 0))
        tell(s, report);
    pthread_mutex_unlock(&s->lock);
}

/* Makes the session and its thread. Returns the segment's descriptor, or -1. Called without the lock.
 * Whatever can fail fails before the program is told: a member never runs on this thread, which all others
 * wait for. */
static int admit(server *s, const hak_hello *hello, uint64_t pid, uint64_t *id)
{
    hak_session_origin origin;
    int kept = -1;
    hak_collect_message *report = calloc(1, sizeof *report);
    member *m = report != NULL ? member_new(s, hello, pid, &origin) : NULL;
    if (m == NULL) {
        free(report);
        return -1;
    }
    int failed = make_session(m, &origin, &kept);
    if (failed == 0)
        failed = make_thread(m);
    if (failed != 0)
        snprintf(report->note, sizeof report->note,
                 failed == EFBIG ? "the limit on file sizes (ulimit -f) binds the shared memory, too"
                                 : "out of memory, descriptors or threads");
    bool admitted = failed == 0 && (m->resting || hak_session_open(m->session, report));
    *id = m->id;
    settle(m, admitted, report);
    if (failed != 0)
        member_free(m);
    else
        sem_post(&m->gate); /* from here on it is its thread's */
    free(report);
    if (!admitted && kept >= 0) {
        close(kept);
        kept = -1;
    }
    return kept;
}

/* Stop and start. The answer comes now, or when the trace is finished, or when the process has joined anew:
 * then the descriptor is kept. */
static bool obey(server *s, const hak_command *command, int fd, hak_collect_message *reply)
{
    bool kept = false;
    pthread_mutex_lock(&s->lock);
    bool stop = command->kind == HAK_COMMAND_STOP;
    member *m = command->child != 0 ? find_child(s, command->pid, stop) : find_pid(s, command->pid);
    reply->kind = HAK_COLLECT_UNKNOWN;
    reply->pid = m != NULL ? (uint32_t)m->pid : 0;
    bool known = m != NULL && m->session != NULL;
    if (known && m->resting == stop) {
        m->quiet = stop; /* takes back a start that the process has not noticed yet */
        reply->kind = HAK_COLLECT_REFUSED;
        snprintf(reply->note, sizeof reply->note, stop ? "it is not being recorded" : "it is being recorded");
    } else if (known) {
        m->quiet = stop;
        if (m->asker_fd >= 0) /* who asked for the same before has gone, or need not know */
            close(m->asker_fd);
        m->asker_fd = fd;
        reply->kind = HAK_COLLECT_ACCEPTED;
        send(fd, reply, sizeof *reply, MSG_NOSIGNAL | MSG_DONTWAIT);
        kept = true;
        if (stop)
            hak_session_stop(m->session);
        else
            hak_session_restart(m->session);
    }
    pthread_mutex_unlock(&s->lock);
    return kept;
}

static bool take_command(server *s, const hak_command *command, int fd)
{
    hak_collect_message *reply = calloc(1, sizeof *reply);
    if (reply == NULL)
        return false;
    bool kept = obey(s, command, fd, reply);
    if (!kept)
        send(fd, reply, sizeof *reply, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(reply);
    return kept;
}

static void serve(server *s)
{
    struct timeval patience = {.tv_sec = HELLO_WAIT_S};
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    union {
        hak_hello hello;
        hak_command command;
    } said;
    int fd = accept4(s->options.listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0;
    bool allowed = peer.uid == geteuid() || geteuid() == 0;
    /* A stranger is not waited for. */
    ssize_t n = recv(fd, &said, sizeof said, allowed ? 0 : MSG_DONTWAIT);
    if (n == sizeof said.command && said.command.magic == HAK_COMMAND_MAGIC && known && allowed &&
        take_command(s, &said.command, fd))
        return;
    if (n == sizeof said.hello && said.hello.magic == HAK_HELLO_MAGIC && known) {
        uint64_t id = 0;
        int segment = allowed ? admit(s, &said.hello, (uint64_t)peer.pid, &id) : -1;
        welcome(fd, id, segment);
        if (segment >= 0)
            close(segment);
    }
    close(fd);
}

static void read_control(server *s)
{
    hak_collect_message message;
    ssize_t n = recv(s->control_fd, &message, sizeof message, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    pthread_mutex_lock(&s->lock);
    if (n != sizeof message) { /* the owner is gone */
        close(s->control_fd);
        s->control_fd = -1;
        s->empty_since_ns = hak_os_monotonic_ns();
    } else if (message.kind == HAK_COLLECT_MAIN) {
        s->main_pid = message.pid;
    } else if (message.kind == HAK_COLLECT_STATUS) {
        s->status_known = true;
        s->status = message.status;
        for (member *m = s->members; m != NULL; m = m->next)
            if (m->is_main && m->session != NULL)
                hak_session_exit_status(m->session, message.status);
    }
    pthread_mutex_unlock(&s->lock);
}

/* After the main process: is a trace of a process that has ended still being written? */
static void tell_when_finished(server *s)
{
    pthread_mutex_lock(&s->lock);
    bool finished = s->status_known && !s->finished_told;
    for (const member *m = s->members; finished && m != NULL; m = m->next) {
        struct pollfd process = {.fd = m->pid_fd, .events = POLLIN};
        if (m->session != NULL && (m->is_main || (m->pid_fd >= 0 && poll(&process, 1, 0) > 0)))
            finished = false;
    }
    if (finished) {
        hak_collect_message *message = calloc(1, sizeof *message);
        if (message != NULL) {
            message->kind = HAK_COLLECT_FINISHED;
            message->processes = s->written;
            tell(s, message);
        }
        s->finished_told = true;
        free(message);
    }
    pthread_mutex_unlock(&s->lock);
}

static bool is_over(server *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t patience = s->members == NULL && s->options.control_fd < 0 ? FIRST_WAIT_NS : LINGER_NS;
    bool over = s->control_fd < 0 && s->live == 0 && hak_os_monotonic_ns() - s->empty_since_ns > patience;
    pthread_mutex_unlock(&s->lock);
    return over;
}

static void raise_limit(int which)
{
    struct rlimit limit;
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    if (which == RLIMIT_FSIZE &&
        setrlimit(which, &none) == 0) /* privileged: the program's limit is not ours */
        return;
    if (getrlimit(which, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(which, &limit);
    }
}

int hak_collect_run(const hak_collect_options *options)
{
    static const int ignored[] = {SIGPIPE, SIGXFSZ, SIGINT, SIGHUP, SIGTERM, SIGQUIT, SIGTTOU};
    server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -1;
    for (size_t i = 0; i < HAK_COUNT_OF(ignored); i++)
        signal(ignored[i], SIG_IGN);
    raise_limit(RLIMIT_FSIZE);
    raise_limit(RLIMIT_NOFILE);
    s->options = *options;
    s->control_fd = options->control_fd;
    s->empty_since_ns = hak_os_monotonic_ns();
    pthread_mutex_init(&s->lock, NULL);
    while (!is_over(s)) {
        struct pollfd watched[2] = {{.fd = options->listen_fd, .events = POLLIN},
                                    {.fd = s->control_fd, .events = POLLIN}};
        if (poll(watched, 2, TICK_MS) < 0 && errno != EINTR)
            break;
        if (watched[1].revents != 0)
            read_control(s);
        if (watched[0].revents != 0)
            serve(s);
        tell_when_finished(s);
    }
    return 0; /* the list goes with the process */
}

int hak_collect_listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if (len == 0 || len >= HAK_SOCKET_NAME_BYTES)
        return -1;
    memcpy(address.sun_path + 1, name, len);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
    if (bind(fd, (const struct sockaddr *)&address, size) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    close(fd);
    return -1;
}

int hak_collect_listen(char name[HAK_SOCKET_NAME_BYTES])
{
    uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return -1;
    snprintf(name, HAK_SOCKET_NAME_BYTES, HAK_SOCKET_PREFIX "%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
    return hak_collect_listen_at(name);
}
