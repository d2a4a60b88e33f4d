/* truth.c: see truth.h. The peak is the kernel's own mark (getrusage); which part of it is files is sampled:
 * that hardly changes once a program runs. */
#include "replay/truth.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/os.h"
#include "trace/error.h"

#define STEP_NS        500000
#define MAPPINGS_EVERY 16 /* steps: reading them stops the program for a moment */

extern char **environ;

typedef struct sampled {
    uint64_t most_file, peak;
    uint64_t most_private; /* changed pages of mapped files, and the stack: private memory that is no heap */
    unsigned turn;
} sampled;

static uint64_t field_bytes(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

static void sample(int fd, sampled *s)
{
    char text[4096];
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    if (len <= 0)
        return;
    text[len] = '\0';
    uint64_t file = field_bytes(text, "\nRssFile:");
    s->most_file = file > s->most_file ? file : s->most_file;
    uint64_t peak = field_bytes(text, "\nVmHWM:");
    s->peak = peak > s->peak ? peak : s->peak;
}

/* Adds up what smaps(5) says of mappings with a path, and of the stack. */
static void sample_mappings(FILE *maps, sampled *s)
{
    char line[4096];
    bool counted = false;
    uint64_t sum = 0;
    rewind(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long long kib;
        if (strchr(line, '-') != NULL && line[0] >= '0' && line[0] <= 'f' && strstr(line, "kB") == NULL)
            counted = strchr(line, '/') != NULL || strstr(line, "[stack]") != NULL;
        else if (counted && sscanf(line, "Anonymous: %llu kB", &kib) == 1)
            sum += kib * 1024;
    }
    s->most_private = sum > s->most_private ? sum : s->most_private;
}

static uint64_t wait_sampling(pid_t pid, sampled *s, struct rusage *usage, int *status)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC), pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd entry = {.fd = pidfd, .events = POLLIN};
    const struct timespec step = {0, STEP_NS};
    snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (pidfd >= 0 && fd >= 0 && ppoll(&entry, 1, &step, NULL) == 0) {
        sample(fd, s);
        if (maps != NULL && s->turn++ % MAPPINGS_EVERY == MAPPINGS_EVERY - 1)
            sample_mappings(maps, s);
    }
    if (maps != NULL)
        fclose(maps);
    while (wait4(pid, status, 0, usage) < 0 && errno == EINTR) {
    }
    if (fd >= 0)
        close(fd);
    if (pidfd >= 0)
        close(pidfd);
    return hak_os_monotonic_ns();
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

static int start(char *const *argv, const hak_target *target, pid_t *pid)
{
    char preload[sizeof target->library + 16] = "";
    posix_spawn_file_actions_t actions;
    if (target->library[0] != '\0')
        snprintf(preload, sizeof preload, "LD_PRELOAD=%s", target->library);
    char **env = environment(target, preload);
    if (env == NULL)
        return ENOMEM;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int status = posix_spawnp(pid, argv[0], &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    free(env);
    return status;
}

int hak_truth_run(char *const *argv, const hak_target *target, hak_truth *truth, hak_trace_error *error)
{
    sampled s = {0, 0, 0, 0};
    struct rusage usage;
    pid_t pid;
    int status = 0;
    uint64_t from_ns = hak_os_monotonic_ns();
    int failed = start(argv, target, &pid);
    if (failed != 0)
        return hak_trace_fail(error, "cannot start '%.100s': %s", argv[0], strerror(failed));
    truth->wall_ns = wait_sampling(pid, &s, &usage, &status) - from_ns;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return hak_trace_fail(error, "'%.100s' %s %d under %s", argv[0],
                              WIFSIGNALED(status) ? "was ended by signal" : "failed with status",
                              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), target->name);
    truth->cpu_ns = ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
                    ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
    uint64_t rest = s.most_file + s.most_private;
    truth->peak_bytes = s.peak > rest ? s.peak - rest : 0;
    return 0;
}
