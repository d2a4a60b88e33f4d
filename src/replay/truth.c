/* truth.c: see truth.h. The program is stopped once, when it exits, and its memory is read there: the
 * kernel's own mark of the peak, and which part of it is no heap. Samples taken while it runs would miss a
 * short program on a busy machine, and stop it while its mappings are read. */
#include "replay/truth.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/os.h"
#include "trace/error.h"

extern char **environ;

/* What an exiting process shows. */
typedef struct exiting {
    uint64_t peak;
    uint64_t files;    /* resident pages of files */
    uint64_t privates; /* changed pages of mapped files, and the stack: private memory that is no heap */
} exiting;

static uint64_t field_bytes(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

static void read_status(pid_t pid, exiting *e)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return;
    text[len] = '\0';
    e->files = field_bytes(text, "\nRssFile:");
    e->peak = field_bytes(text, "\nVmHWM:");
}

/* Adds up what smaps(5) says of mappings with a path, and of the stack. */
static void read_mappings(pid_t pid, exiting *e)
{
    char line[4096];
    bool counted = false;
    snprintf(line, sizeof line, "/proc/%d/smaps", (int)pid);
    FILE *maps = fopen(line, "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long long kib;
        if (strchr(line, '-') != NULL && line[0] >= '0' && line[0] <= 'f' && strstr(line, "kB") == NULL)
            counted = strchr(line, '/') != NULL || strstr(line, "[stack]") != NULL;
        else if (counted && sscanf(line, "Anonymous: %llu kB", &kib) == 1)
            e->privates += kib * 1024;
    }
    if (maps != NULL)
        fclose(maps);
}

/* Waits for the program's end, from its start on. Signals that stop it because it is traced are passed on. */
static int wait_exit(pid_t pid, exiting *e, struct rusage *usage)
{
    int status;
    bool begun = false;
    for (;;) {
        if (wait4(pid, &status, 0, usage) < 0) {
            if (errno != EINTR)
                return 0;
            continue;
        }
        if (!WIFSTOPPED(status))
            return status;
        int event = status >> 16, number = WSTOPSIG(status);
        if (!begun) {
            ptrace(PTRACE_SETOPTIONS, pid, NULL,
                   (void *)(intptr_t)(PTRACE_O_TRACEEXIT | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL));
            number = 0; /* the trap of its exec */
            begun = true;
        } else if (event == PTRACE_EVENT_EXIT) {
            read_status(pid, e);
            read_mappings(pid, e);
        }
        ptrace(PTRACE_CONT, pid, NULL, (void *)(intptr_t)(event == 0 ? number : 0));
    }
}

/* The caller's environment with the target's in front. NULL without memory. */
static char **environment(const hak_target *target, char *preload)
{
    size_t count = 0, used = 0;
    while (environ[count] != NULL)
        count++;
    char **env = calloc(count + HAK_TARGET_MAX_ENV + 2, sizeof *env);
    if (env == NULL)
        return NULL;
    if (preload[0] != '\0')
        env[used++] = preload;
    for (size_t i = 0; i < HAK_TARGET_MAX_ENV && target->env[i][0] != '\0'; i++)
        env[used++] = (char *)(uintptr_t)target->env[i];
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0)
            env[used++] = environ[i];
    return env;
}

#define EXIT_NOT_STARTED 127 /* as shells have it */

/* In the child: what is called here must not allocate, as the caller may have threads. */
static void become(char *const *argv, char *const *env)
{
    int in = open("/dev/null", O_RDONLY), out = open("/dev/null", O_WRONLY);
    if (in >= 0 && out >= 0 && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2 &&
        ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
        execvpe(argv[0], argv, env);
    _exit(EXIT_NOT_STARTED);
}

/* Stopped at its first instruction, to be continued by wait_exit. 0 or errno. */
static int start(char *const *argv, const hak_target *target, pid_t *pid)
{
    char preload[sizeof target->library + 16] = "";
    if (target->library[0] != '\0')
        snprintf(preload, sizeof preload, "LD_PRELOAD=%s", target->library);
    char **env = environment(target, preload);
    if (env == NULL)
        return ENOMEM;
    *pid = fork();
    if (*pid == 0)
        become(argv, env);
    int failed = *pid < 0 ? errno : 0;
    free(env);
    return failed;
}

int hak_truth_run(char *const *argv, const hak_target *target, hak_truth *truth, hak_trace_error *error)
{
    exiting e = {0, 0, 0};
    struct rusage usage;
    pid_t pid;
    uint64_t from_ns = hak_os_monotonic_ns();
    int failed = start(argv, target, &pid);
    if (failed != 0)
        return hak_trace_fail(error, "cannot start '%.100s': %s", argv[0], strerror(failed));
    int status = wait_exit(pid, &e, &usage);
    truth->wall_ns = hak_os_monotonic_ns() - from_ns;
    if (e.peak == 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_STARTED)
        return hak_trace_fail(error, "'%.100s' cannot be started, or not be watched (ptrace)", argv[0]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return hak_trace_fail(error, "'%.100s' %s %d under %s", argv[0],
                              WIFSIGNALED(status) ? "was ended by signal" : "failed with status",
                              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), target->name);
    truth->cpu_ns = ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
                    ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
    uint64_t rest = e.files + e.privates;
    truth->peak_bytes = e.peak > rest ? e.peak - rest : 0;
    return 0;
}
