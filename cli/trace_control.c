/* trace_control.c: see trace_control.h. Collectors listen on abstract sockets, which /proc/net/unix lists:
 * each is asked until one knows the process. Of a tree, one process after the other is told: the first one
 * first, so that those it starts meanwhile do as it does. */
#include "cli/trace_control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/launch.h"
#include "cli/say.h"
#include "trace/collect.h"

/* ANSWER_S: for a collector to know a process or not. FINISH_S: for a trace to be finished. JOIN_S: for the
 * program's next call. */
enum { ANSWER_S = 2, FINISH_S = 60, JOIN_S = 3, LINE_BYTES = 512 };

/* False: the collector at that socket does not know the process, or is gone. A reply of kind
 * ACCEPTED: none followed in time. */
static bool ask(const char *name, const hak_command *command, hak_collect_message *reply)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval brief = {.tv_sec = ANSWER_S};
    struct timeval patience = {.tv_sec = command->kind == HAK_COMMAND_STOP ? FINISH_S : JOIN_S};
    bool waits =
        command->kind == HAK_COMMAND_STOP || command->child == 0; /* a tree may hold many that idle */
    size_t len = strlen(name);
    if (len >= HAK_SOCKET_NAME_BYTES)
        return false;
    memcpy(address.sun_path + 1, name, len);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &brief, sizeof brief);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
    bool known = false;
    if (connect(fd, (const struct sockaddr *)&address, size) == 0 &&
        send(fd, command, sizeof *command, MSG_NOSIGNAL) == sizeof *command) {
        known = recv(fd, reply, sizeof *reply, 0) == sizeof *reply && reply->kind != HAK_COLLECT_UNKNOWN;
        if (known && reply->kind == HAK_COLLECT_ACCEPTED && waits) {
            uint32_t pid = reply->pid;
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            if (recv(fd, reply, sizeof *reply, 0) != sizeof *reply)
                reply->kind = HAK_COLLECT_ACCEPTED;
            reply->pid = pid;
        }
    }
    close(fd);
    return known;
}

static bool ask_all(const hak_command *command, hak_collect_message *reply)
{
    char line[LINE_BYTES];
    bool known = false;
    FILE *sockets = fopen("/proc/net/unix", "r");
    while (sockets != NULL && !known && fgets(line, sizeof line, sockets) != NULL) {
        char *name = strstr(line, "@" HAK_SOCKET_PREFIX);
        if (name == NULL || strstr(line, " 00010000 ") == NULL) /* only who listens */
            continue;
        name[strcspn(name, "\n")] = 0;
        known = ask(name + 1, command, reply);
    }
    if (sockets != NULL)
        fclose(sockets);
    return known;
}

/* Says what has come of it. An exit code. */
static int conclude(const hak_command *command, const hak_collect_message *reply, bool quiet)
{
    bool start = command->kind == HAK_COMMAND_START;
    switch (reply->kind) {
    case HAK_COLLECT_REFUSED:
        say("process %u: %s", reply->pid, reply->note);
        return LAUNCH_FAILED;
    case HAK_COLLECT_STARTED:
        if (!quiet)
            say("recording to %s", reply->path);
        return 0;
    case HAK_COLLECT_DONE:
        if (reply->failed != 0)
            say("'%s': %s", reply->path, reply->note);
        else if (!quiet)
            say("wrote %s: %llu allocations; next: hakmem-report %s", reply->path,
                (unsigned long long)reply->allocations, reply->path);
        return reply->failed != 0 ? LAUNCH_FAILED : 0;
    default:
        if (start && !quiet)
            say("process %u: recording begins with its next allocation", reply->pid);
        else if (!start)
            say("process %u: the collector takes long to finish the trace; it goes on", reply->pid);
        return start ? 0 : LAUNCH_FAILED;
    }
}

int trace_control(uint32_t pid, hak_command_kind kind, bool children, bool quiet)
{
    static hak_collect_message reply;
    hak_command command = {.magic = HAK_COMMAND_MAGIC, .kind = kind, .pid = pid};
    int status = 0;
    unsigned told = 0;
    bool known = ask_all(&command, &reply);
    if (known && (!children || reply.kind != HAK_COLLECT_REFUSED)) {
        status = conclude(&command, &reply, quiet);
        told++;
    }
    /* One that is as wanted already, or has ended, may have children that are not. */
    for (command.child = 1; children && ask_all(&command, &reply); known = true) {
        if (reply.kind == HAK_COLLECT_REFUSED)
            continue;
        if (conclude(&command, &reply, quiet) != 0)
            status = LAUNCH_FAILED;
        told++;
    }
    if (told != 0)
        return status;
    if (known)
        say("process %u: it and what comes of it are as asked for already", pid);
    else
        say("process %u: no collector knows it; start it under hakmem-trace, or with libhakmem-trace.so "
            "preloaded",
            pid);
    return LAUNCH_FAILED;
}
