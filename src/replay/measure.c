/* measure.c: starts a worker, waits for it, tells what became of it. A target that crashes or hangs costs its
 * own process only; after a crash the run is repeated with every operation counted, to tell where it was. */
#include "replay/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/os.h"
#include "replay/context_sites.h"
#include "replay/plan.h"
#include "replay/sampler.h"
#include "replay/workload_format.h"

#define WORKER      "hakmem-replay-worker"
#define POLL_NS     10000000u
#define ENV_ENTRIES (HAK_TARGET_MAX_ENV + 3)

/* A worker's other end. */
typedef struct session {
    hak_plan *plan;
    size_t plan_bytes;
    int plan_fd;
    int workload_fd;
    int output_fd; /* its stdout and stderr */
    pid_t pid;
} session;

static int fail(hak_trace_error *error, const char *what, const char *why)
{
    snprintf(error->text, sizeof error->text, "%s%s%s", what, why[0] != '\0' ? ": " : "", why);
    error->offset_bytes = 0;
    error->event_index = 0;
    return -1;
}

/* Beside this program, or where it is installed. */
static int worker_path(char *path, size_t path_bytes)
{
    static const char *const places[] = {"", "../libexec/hakmem/", "../bin/"};
    char self[2048];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0)
        return -1;
    self[len] = '\0';
    char *base = strrchr(self, '/');
    if (base == NULL)
        return -1;
    base[1] = '\0';
    for (size_t i = 0; i < HAK_COUNT_OF(places); i++) {
        int used = snprintf(path, path_bytes, "%s%s" WORKER, self, places[i]);
        if (used > 0 && (size_t)used < path_bytes && access(path, X_OK) == 0)
            return 0;
    }
    return -1;
}

/* Descriptors above those the worker is to have, so that moving them into place cannot clobber one another.
 */
static int high_fd(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 16);
    int saved = errno;
    close(fd);
    errno = saved;
    return high;
}

/* Does the library use restartable sequences? Their area belongs to the kernel's thread, not to TLS, so that
 * its recorded threads must be the kernel's. By the names that it imports from, or shares with, the C
 * library. */
static bool uses_rseq(const char *library)
{
    static const char name[] = "__rseq_";
    struct stat found;
    bool uses = false;
    int fd = library[0] != '\0' ? open(library, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd >= 0 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && found.st_size > 0) {
        void *at = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at != MAP_FAILED) {
            uses = memmem(at, (size_t)found.st_size, name, sizeof name - 1) != NULL;
            munmap(at, (size_t)found.st_size);
        }
    }
    if (fd >= 0)
        close(fd);
    return uses;
}

static int session_open(session *s, const hak_workload *workload, const hak_target *target,
                        const hak_measure_options *options, hak_run_kind kind, hak_trace_error *error)
{
    hak_workload_info info;
    hak_workload_info_get(workload, &info);
    const char *policy = hak_target_policy(target);
    uint32_t site_count = policy != NULL ? hak_context_count(workload) : 0;
    uint32_t begun_count = kind == HAK_RUN_OBSERVED ? info.threads : 0;
    *s = (session){.plan_fd = -1, .output_fd = -1, .workload_fd = -1, .pid = -1};
    s->plan_bytes = sizeof *s->plan + begun_count * sizeof(uint64_t) + site_count * sizeof(uint32_t);
    s->plan_fd = high_fd(memfd_create("hakmem-plan", MFD_CLOEXEC));
    s->output_fd = high_fd(memfd_create("hakmem-output", MFD_CLOEXEC));
    s->workload_fd = fcntl(hak_workload_fd(workload), F_DUPFD_CLOEXEC, 16);
    if (s->plan_fd < 0 || s->output_fd < 0 || s->workload_fd < 0 ||
        ftruncate(s->plan_fd, (off_t)s->plan_bytes) != 0)
        return fail(error, "cannot prepare a replay process", strerror(errno));
    s->plan = mmap(NULL, s->plan_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->plan_fd, 0);
    if (s->plan == MAP_FAILED) {
        s->plan = NULL;
        return fail(error, "cannot prepare a replay process", strerror(errno));
    }
    s->plan->magic = HAK_PLAN_MAGIC;
    s->plan->workload_bytes = (uint64_t)lseek(s->workload_fd, 0, SEEK_END);
    s->plan->options = *options;
    s->plan->null = target->null;
    s->plan->kernel_threads = info.threads_max > 1 && uses_rseq(target->library);
    s->plan->kind = kind;
    s->plan->begun_count = begun_count;
    s->plan->site_count = site_count;
    if (site_count != 0 && hak_context_sites(workload, policy, hak_plan_sites(s->plan), error) != 0)
        return -1;
    snprintf(s->plan->library, sizeof s->plan->library, "%s", target->library);
    return 0;
}

static void session_close(session *s)
{
    if (s->plan != NULL)
        munmap(s->plan, s->plan_bytes);
    if (s->plan_fd >= 0)
        close(s->plan_fd);
    if (s->output_fd >= 0)
        close(s->output_fd);
    if (s->workload_fd >= 0)
        close(s->workload_fd);
}

static int session_spawn(session *s, const hak_target *target, hak_trace_error *error)
{
    char path[4096], preload[sizeof target->library + 16], search[4096];
    char *argv[] = {(char *)WORKER, NULL};
    char *env[ENV_ENTRIES] = {NULL};
    size_t count = 0;
    if (worker_path(path, sizeof path) != 0)
        return fail(error, "cannot find " WORKER " beside this program; is hakmem installed completely?", "");
    if (target->library[0] != '\0') {
        snprintf(preload, sizeof preload, "LD_PRELOAD=%s", target->library);
        env[count++] = preload;
    }
    const char *libraries = getenv("LD_LIBRARY_PATH");
    if (libraries != NULL &&
        (size_t)snprintf(search, sizeof search, "LD_LIBRARY_PATH=%s", libraries) < sizeof search)
        env[count++] = search;
    for (size_t i = 0; i < HAK_TARGET_MAX_ENV && target->env[i][0] != '\0'; i++)
        env[count++] = (char *)target->env[i];

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, s->output_fd, 1);
    posix_spawn_file_actions_adddup2(&actions, s->output_fd, 2);
    posix_spawn_file_actions_adddup2(&actions, s->workload_fd, HAK_PLAN_WORKLOAD_FD);
    posix_spawn_file_actions_adddup2(&actions, s->plan_fd, HAK_PLAN_FD);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    int status = posix_spawn(&s->pid, path, &actions, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (status != 0)
        return fail(error, "cannot start " WORKER, strerror(status));
    return 0;
}

/* Its wait status; *late when it had to be killed. With `watch` its memory is sampled meanwhile. */
static int session_wait(session *s, uint32_t timeout_s, hak_sampler *watch, bool *late)
{
    int status = 0, pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
    uint64_t end_ns = hak_os_monotonic_ns() + (uint64_t)timeout_s * 1000000000u;
    struct pollfd entry = {.fd = pidfd, .events = POLLIN};
    *late = false;
    while (timeout_s != 0 || watch != NULL) {
        uint64_t now_ns = hak_os_monotonic_ns();
        if (timeout_s != 0 && now_ns >= end_ns) {
            *late = true;
            kill(s->pid, SIGKILL);
            break;
        }
        uint64_t wait_ns = watch != NULL ? hak_sampler_take(watch, s->plan, now_ns) : end_ns - now_ns;
        if (pidfd < 0 && wait_ns > POLL_NS) /* no pidfd: ask now and then */
            wait_ns = POLL_NS;
        const struct timespec wait = {(time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u)};
        int ready = ppoll(&entry, pidfd >= 0 ? 1 : 0, &wait, NULL);
        if (ready > 0)
            break;
        if (pidfd < 0 && waitpid(s->pid, &status, WNOHANG) == s->pid)
            return status;
    }
    if (pidfd >= 0)
        close(pidfd);
    while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* The last line the worker wrote, printable; "" if none. */
static void last_words(const session *s, char *text, size_t text_bytes)
{
    char tail[1024];
    off_t end = lseek(s->output_fd, 0, SEEK_END);
    off_t from = end > (off_t)sizeof tail ? end - (off_t)sizeof tail : 0;
    ssize_t len = end > 0 ? pread(s->output_fd, tail, sizeof tail, from) : 0;
    while (len > 0 && (tail[len - 1] == '\n' || tail[len - 1] == ' '))
        len--;
    ssize_t start = len > 0 ? len : 0;
    while (start > 0 && tail[start - 1] != '\n')
        start--;
    size_t out = 0;
    for (ssize_t i = start; i < len && out < text_bytes - 1; i++)
        text[out++] = tail[i] >= ' ' && tail[i] < 0x7f ? tail[i] : '?';
    text[out] = '\0';
}

static uint64_t begun_total(const session *s)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < s->plan->begun_count; i++)
        total += atomic_load(&s->plan->begun[i]);
    return total;
}

/* Each pass fills its own part. */
static void detail_take(hak_detail *detail, const hak_plan *plan)
{
    const hak_detail *found = &plan->detail;
    if (plan->kind == HAK_RUN_OBSERVED) {
        detail->live_max_bytes = atomic_load(&plan->live.max);
        detail->system_calls_known = found->system_calls_known;
        for (size_t i = 0; i < HAK_SYSTEM_CALL_COUNT; i++)
            atomic_store(&detail->system_calls[i], atomic_load(&found->system_calls[i]));
        detail->voluntary_switches = found->voluntary_switches;
        detail->involuntary_switches = found->involuntary_switches;
    } else {
        detail->ns_per_tick = found->ns_per_tick;
        detail->quantum_ns = found->quantum_ns;
        detail->timer_ns = found->timer_ns;
        memcpy(detail->latency, found->latency, sizeof detail->latency);
    }
}

static const char *signal_name(int number)
{
    const char *name = sigabbrev_np(number);
    return name != NULL ? name : "?";
}

/* One worker's whole life. 0; -1 with *error filled; *crash_signal when a signal ended it. `detail`: what the
 * kinds other than HAK_RUN_MEASURED find is added to it. */
static int run_once(const hak_workload *workload, const hak_target *target,
                    const hak_measure_options *options, hak_run_kind kind, hak_measure *result,
                    hak_detail *detail, int *crash_signal, hak_trace_error *error)
{
    bool watched = kind == HAK_RUN_OBSERVED;
    session s;
    bool late = false;
    int outcome = -1;
    *crash_signal = 0;
    if (session_open(&s, workload, target, options, kind, error) != 0 ||
        session_spawn(&s, target, error) != 0)
        goto done;
    hak_sampler sampler;
    if (detail != NULL && watched)
        hak_sampler_open(&sampler, s.pid, detail);
    int status = session_wait(&s, options->timeout_s, detail != NULL && watched ? &sampler : NULL, &late);
    if (detail != NULL && watched)
        hak_sampler_close(&sampler);
    uint32_t phase = atomic_load(&s.plan->phase);
    char words[120];
    last_words(&s, words, sizeof words);
    const char *said = words[0] != '\0' ? "; it said: " : "";
    if (late) {
        snprintf(error->text, sizeof error->text, "did not finish within %u s, in pass %u",
                 options->timeout_s, s.plan->pass);
    } else if (WIFSIGNALED(status)) {
        *crash_signal = WTERMSIG(status);
        error->event_index = watched ? begun_total(&s) : 0;
        if (phase == HAK_PHASE_START)
            snprintf(error->text, sizeof error->text, "crashed with SIG%s before the replay began%s%s",
                     signal_name(*crash_signal), said, words);
        else if (watched)
            snprintf(error->text, sizeof error->text, "crashed with SIG%s at operation %llu%s%s",
                     signal_name(*crash_signal), (unsigned long long)error->event_index, said, words);
        else
            snprintf(error->text, sizeof error->text, "crashed with SIG%s in pass %u%s%s",
                     signal_name(*crash_signal), s.plan->pass, said, words);
    } else if (phase == HAK_PHASE_ERROR) {
        fail(error, s.plan->problem, "");
    } else if (phase != HAK_PHASE_DONE) {
        snprintf(error->text, sizeof error->text, "the replay process ended early with status %d%s%s",
                 WEXITSTATUS(status), said, words);
    } else {
        *result = s.plan->result;
        if (detail != NULL)
            detail_take(detail, s.plan);
        outcome = 0;
    }
done:
    session_close(&s);
    return outcome;
}

int hak_measure_run(const hak_workload *workload, const hak_target *target,
                    const hak_measure_options *options, hak_measure *result, hak_trace_error *error)
{
    int crash_signal;
    if (run_once(workload, target, options, HAK_RUN_MEASURED, result, NULL, &crash_signal, error) == 0)
        return 0;
    if (crash_signal == 0 || crash_signal == SIGKILL)
        return -1;
    /* Where? A second run counts operations one by one; if it does not crash, the first message stands. */
    hak_trace_error second;
    hak_measure ignored;
    if (run_once(workload, target, options, HAK_RUN_OBSERVED, &ignored, NULL, &crash_signal, &second) != 0 &&
        crash_signal != 0)
        *error = second;
    return -1;
}

int hak_measure_detail(const hak_workload *workload, const hak_target *target,
                       const hak_measure_options *options, hak_detail *detail, hak_trace_error *error)
{
    hak_measure_options once = *options;
    hak_measure ignored;
    int crash_signal;
    once.repeats = 1;
    memset(detail, 0, sizeof *detail);
    if (run_once(workload, target, &once, HAK_RUN_OBSERVED, &ignored, detail, &crash_signal, error) != 0)
        return -1;
    return run_once(workload, target, &once, HAK_RUN_LATENCY, &ignored, detail, &crash_signal, error);
}
