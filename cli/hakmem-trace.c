/* hakmem-trace.c: records what a program allocates. Starts the collector as a process of its own, then the
 * program with our library preloaded, waits, and says in one line what came of it. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/launch.h"
#include "cli/say.h"
#include "cli/text.h"
#include "cli/trace_control.h"
#include "cli/trace_summary.h"
#include "core/base/os.h"
#include "trace/collect.h"

/* FINISH_WAIT_MS: for the collector after the program's death: it reports, or is dead itself */
#define LIBRARY        "libhakmem-trace.so"
#define DEFAULT_DEPTH  64
#define SAMPLE_MAX     ((uint64_t)1 << 40)
#define FINISH_WAIT_MS 60000

static const char help[] =
    "Examples:\n"
    "  hakmem-trace sqlite3 app.db < work.sql       record to hakmem-trace.sqlite3.PID.gz\n"
    "  hakmem-trace -o app.trace.gz ./app input     choose the file\n"
    "  hakmem-trace -o /tmp/%e.%p.gz make -j8       a process tree: one file a process\n"
    "  hakmem-trace --max-size=1G ./server          stop recording at 1 GiB, the server runs on\n"
    "\n"
    "  hakmem-trace --pid=4711 --stop               finish the trace of a running program\n"
    "\n"
    "Usage: hakmem-trace [OPTIONS] [--] PROGRAM [ARGUMENTS]\n"
    "       hakmem-trace --pid=PID --stop|--start [--children]\n"
    "\n"
    "Records every allocation of a program, with its call stack, into a compressed trace.\n"
    "\n"
    "  -o, --output=FILE   trace file; %e program, %p pid, %h host, %% percent sign\n"
    "                      (default hakmem-trace.%e.%p.gz). Other processes of the tree\n"
    "                      get their name and pid put in before .gz\n"
    "  -f, --force         replace an existing file\n"
    "  -q, --quiet         only errors\n"
    "      --depth=N       frames kept of each call stack, 1 to 1024 (64)\n"
    "      --drop          drop events (and count them) rather than let the program wait\n"
    "      --max-size=SIZE stop recording when a file has this size (k, M, G)\n"
    "      --duration=S    stop recording after S seconds\n"
    "      --sample=SIZE   record an allocation every SIZE bytes on average, chosen at random;\n"
    "                      hakmem-report scales: its totals are unbiased estimates\n"
    "      --paused        record nothing until --start\n"
    "      --pid=PID       with --stop or --start: a running program that was started under\n"
    "                      hakmem-trace or has its library preloaded; each start is a new trace\n"
    "      --children      …and all processes that it has started, and theirs\n"
    "  -h, --help          show this\n"
    "      --version       show version and features\n"
    "\n"
    "Exit status: the program's; 128+N when signal N killed it; 125 hakmem-trace failed,\n"
    "126 PROGRAM cannot be executed, 127 PROGRAM was not found.\n";

typedef struct settings {
    hak_collect_options collect;
    bool quiet;
    uint32_t control_pid; /* --pid; 0: none */
    hak_command_kind command;
    bool children;        /* of control_pid, too */
    char *const *program; /* argv of the program */
} settings;

static volatile sig_atomic_t child_pid;

/* ---- options ---- */

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *text == '-' || *end != 0 || number == 0 || number > max)
        return false;
    *value = number;
    return true;
}

static bool parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "kmgt";
    char digits[24];
    size_t len = strlen(text);
    unsigned shift = 0;
    if (len == 0 || len >= sizeof digits)
        return false;
    memcpy(digits, text, len + 1);
    const char *unit = strchr(units, digits[len - 1] | 0x20);
    if (unit != NULL && digits[len - 1] > '9') {
        shift = 10 * (unsigned)(unit - units + 1);
        digits[len - 1] = 0;
    }
    if (!parse_number(digits, UINT64_MAX >> shift, bytes))
        return false;
    *bytes <<= shift;
    return true;
}

static void bad_usage(const char *what, const char *value)
{
    say("%s '%s'; see hakmem-trace --help", what, value);
    exit(LAUNCH_FAILED);
}

enum {
    OPT_DEPTH = 256,
    OPT_DROP,
    OPT_MAX_SIZE,
    OPT_DURATION,
    OPT_PAUSED,
    OPT_SAMPLE,
    OPT_PID,
    OPT_START,
    OPT_STOP,
    OPT_CHILDREN,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"force", no_argument, NULL, 'f'},
    {"quiet", no_argument, NULL, 'q'},
    {"depth", required_argument, NULL, OPT_DEPTH},
    {"drop", no_argument, NULL, OPT_DROP},
    {"max-size", required_argument, NULL, OPT_MAX_SIZE},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"sample", required_argument, NULL, OPT_SAMPLE},
    {"paused", no_argument, NULL, OPT_PAUSED},
    {"pid", required_argument, NULL, OPT_PID},
    {"start", no_argument, NULL, OPT_START},
    {"stop", no_argument, NULL, OPT_STOP},
    {"children", no_argument, NULL, OPT_CHILDREN},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static _Noreturn void show_version(void)
{
    printf("hakmem-trace %s\nfeatures: fork, exec, threads, call stacks by frame memo, libunwind checks\n",
           HAKMEM_VERSION);
    exit(say_flushed() ? 0 : LAUNCH_FAILED);
}

/* Takes one option that getopt_long(3) has found; ends the command where its value makes no sense. */
static void apply_option(settings *s, int option, char **argv)
{
    uint64_t number;
    switch (option) {
    case 'o':
        s->collect.output = optarg;
        break;
    case 'f':
        s->collect.force = true;
        break;
    case 'q':
        s->quiet = true;
        break;
    case OPT_DEPTH:
        if (!parse_number(optarg, HAK_RECORD_DEPTH_MAX, &number))
            bad_usage("no depth between 1 and 1024:", optarg);
        s->collect.depth = (uint32_t)number;
        break;
    case OPT_DROP:
        s->collect.drop = true;
        break;
    case OPT_MAX_SIZE:
        if (!parse_size(optarg, &s->collect.max_bytes))
            bad_usage("no size:", optarg);
        break;
    case OPT_DURATION:
        if (!parse_number(optarg, UINT64_MAX / 1000000000u, &number))
            bad_usage("no number of seconds:", optarg);
        s->collect.duration_ns = number * 1000000000u;
        break;
    case OPT_SAMPLE:
        if (!parse_size(optarg, &s->collect.sample_bytes) || s->collect.sample_bytes > SAMPLE_MAX)
            bad_usage("no size:", optarg);
        break;
    case OPT_PAUSED:
        s->collect.paused = true;
        break;
    case OPT_PID:
        if (!parse_number(optarg, INT32_MAX, &number))
            bad_usage("no process id:", optarg);
        s->control_pid = (uint32_t)number;
        break;
    case OPT_START:
        s->command = HAK_COMMAND_START;
        break;
    case OPT_STOP:
        s->command = HAK_COMMAND_STOP;
        break;
    case OPT_CHILDREN:
        s->children = true;
        break;
    case 'h':
        fputs(help, stdout);
        exit(say_flushed() ? 0 : LAUNCH_FAILED);
    case OPT_VERSION:
        show_version();
    default:
        say_about(say_option(argv), "unknown option, or one that wants a value; see hakmem-trace --help");
        exit(LAUNCH_FAILED);
    }
}

static void parse(int argc, char **argv, settings *s)
{
    int option;
    *s = (settings){.collect = {.depth = DEFAULT_DEPTH, .control_fd = -1}};
    opterr = 0;
    while ((option = getopt_long(argc, argv, "+o:fqh", long_options, NULL)) != -1)
        apply_option(s, option, argv);
    if ((s->control_pid != 0) != (s->command != 0) || (s->control_pid != 0 && optind != argc) ||
        (s->children && s->command == 0)) {
        say("--pid=PID goes with --stop or --start, and with no program; see hakmem-trace --help");
        exit(LAUNCH_FAILED);
    }
    if (s->control_pid == 0 && optind == argc) {
        say("no program to record; see hakmem-trace --help");
        exit(LAUNCH_FAILED);
    }
    s->program = argv + optind;
}

/* ---- before ---- */

/* The folder can be written to and the file is not there yet: better said now than after the program has
 * begun. */
static bool check_output(const settings *s, const char *comm)
{
    char path[HAK_COLLECT_PATH_MAX];
    char folder[HAK_COLLECT_PATH_MAX];
    const char *pattern = s->collect.output != NULL ? s->collect.output : HAK_COLLECT_DEFAULT_OUTPUT;
    if (!hak_collect_name(pattern, comm, (uint64_t)getpid(), path, sizeof path)) {
        say("'%s' is no file name pattern; %%e, %%p, %%h and %%%% may be used", pattern);
        return false;
    }
    struct stat status;
    if (strstr(pattern, "%p") == NULL && lstat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode)) {
            say("'%s' is a directory; choose a file with -o", path);
            return false;
        }
        if (!s->collect.force) {
            say("'%s' exists; choose another name with -o, or replace it with -f", path);
            return false;
        }
    }
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        snprintf(folder, sizeof folder, ".");
    else
        slash[slash == folder ? 1 : 0] = 0;
    if (access(folder, W_OK | X_OK) != 0) {
        say("cannot write to '%s': %s; choose another place with -o", folder, strerror(errno));
        return false;
    }
    return true;
}

/* ---- the two children ---- */

/* Detached: no terminal, none of our descriptors but the two it is given. */
static _Noreturn void be_collector(const settings *s, int listen_fd, int control_fd)
{
    hak_collect_options options = s->collect;
    options.listen_fd = listen_fd;
    options.control_fd = control_fd;
    setsid();
    int nothing = open("/dev/null", O_RDWR);
    for (int fd = 0; fd <= 2 && nothing >= 0; fd++)
        dup2(nothing, fd);
    int low = listen_fd < control_fd ? listen_fd : control_fd;
    int high = listen_fd < control_fd ? control_fd : listen_fd;
    if (low > 3)
        close_range(3, (unsigned)low - 1, 0);
    if (high > low + 1)
        close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    close_range((unsigned)high + 1, ~0U, 0);
    _exit(hak_collect_run(&options) == 0 ? 0 : 1);
}

static bool start_collector(const settings *s, int listen_fd, int *control_fd, pid_t *collector_pid)
{
    int pair[2];
    int told[2];
    if (pipe2(told, O_CLOEXEC) != 0)
        return false;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    pid_t middle =
        fork(); /* the collector is nobody's child: the program must not inherit it, nor wait for it */
    if (middle == 0) {
        pid_t collector = fork();
        if (collector == 0) {
            close(pair[0]);
            be_collector(s, listen_fd, pair[1]);
        }
        bool written = write(told[1], &collector, sizeof collector) == sizeof collector;
        _exit(collector > 0 && written ? 0 : 1);
    }
    close(pair[1]);
    close(told[1]);
    int status = 1;
    *control_fd = pair[0];
    bool started = middle > 0 && waitpid(middle, &status, 0) == middle && status == 0 &&
                   read(told[0], collector_pid, sizeof *collector_pid) == sizeof *collector_pid;
    close(told[0]);
    return started;
}

typedef struct running {
    pid_t pid;
    pid_t collector_pid;
    int error_fd; /* an errno comes here when execve fails */
} running;

static bool start_program(const settings *s, const launch_program *program, int control_fd, running *run)
{
    int go[2];
    int error[2];
    if (pipe2(go, O_CLOEXEC) != 0 || pipe2(error, O_CLOEXEC) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(go[1]);
        if (read(go[0], &byte, 1) == 1)        /* the collector knows our pid by now */
            execvp(program->path, s->program); /* a path; scripts without #! go to the shell */
        int reason = errno;
        ssize_t written = write(error[1], &reason, sizeof reason);
        _exit(written > 0 ? LAUNCH_NOT_EXECUTABLE : LAUNCH_FAILED);
    }
    close(go[0]);
    close(error[1]);
    run->pid = pid;
    run->error_fd = error[0];
    hak_collect_message *message = calloc(1, sizeof *message);
    bool told = false;
    if (pid > 0 && message != NULL) {
        message->kind = HAK_COLLECT_MAIN;
        message->pid = (uint32_t)pid;
        told = send(control_fd, message, sizeof *message, MSG_NOSIGNAL) == sizeof *message &&
               write(go[1], "", 1) == 1;
    }
    free(message);
    close(go[1]);
    return told;
}

/* ---- signals ---- */

/* From another process to us alone: meant for the program. The terminal's reach it anyway. */
static void forward(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code <= 0 && info->si_pid != child_pid && child_pid > 0)
        kill((pid_t)child_pid, number);
}

static void set_signals(void)
{
    static const int forwarded[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH};
    struct sigaction action = {.sa_sigaction = forward, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (size_t i = 0; i < HAK_COUNT_OF(forwarded); i++)
        sigaction(forwarded[i], &action, NULL);
}

/* ---- after ---- */

/* Reads what the collector says; true when it has said the last word, or is dead. */
static bool listen_to(const settings *s, int control_fd, int wait_ms, bool *joined, trace_summary *sum)
{
    static hak_collect_message message;
    struct pollfd control = {.fd = control_fd, .events = POLLIN};
    if (poll(&control, 1, wait_ms) <= 0)
        return false;
    ssize_t n = recv(control_fd, &message, sizeof message, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    if (n != sizeof message) {
        say("the collector has died; what it had written is in a .part file (hakmem-report --partial reads "
            "it)");
        *joined = true;
        return true;
    }
    switch (message.kind) {
    case HAK_COLLECT_STARTED:
        if (!s->quiet)
            say("recording to %s", message.path);
        *joined = true;
        return false;
    case HAK_COLLECT_RESTING:
        if (!*joined && !s->quiet)
            say("nothing is recorded yet; hakmem-trace --pid=%d --start begins", (int)child_pid);
        *joined = true;
        return false;
    case HAK_COLLECT_REFUSED:
        say("%s%s%s%s; the program runs without being recorded", message.path[0] != 0 ? "'" : "",
            message.path, message.path[0] != 0 ? "': " : "", message.note);
        *joined = true;
        return false;
    case HAK_COLLECT_DONE:
        summary_add(sum, &message);
        return false;
    default:
        if (!s->quiet)
            summary_print(sum, message.processes);
        return true;
    }
}

static void send_status(int control_fd, int status)
{
    static hak_collect_message message = {.kind = HAK_COLLECT_STATUS};
    message.status = (uint32_t)status;
    if (send(control_fd, &message, sizeof message, MSG_NOSIGNAL) < 0)
        return; /* dead: listen_to finds out */
}

/* Until the program ends. What the collector says meanwhile (images, stops and starts) must not pile up. */
static void wait_listening(const settings *s, int control_fd, const running *run, int *status, bool *joined,
                           trace_summary *sum)
{
    struct pollfd watched[2] = {{.fd = control_fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    watched[1].fd = (int)syscall(SYS_pidfd_open, run->pid, 0);
    while (watched[1].fd >= 0 && watched[0].fd >= 0 && (poll(watched, 2, -1) >= 0 || errno == EINTR)) {
        if (watched[1].revents != 0)
            break;
        if (watched[0].revents != 0 && listen_to(s, control_fd, 0, joined, sum))
            watched[0].fd = -1;
    }
    if (watched[1].fd >= 0)
        close(watched[1].fd);
    while (waitpid(run->pid, status, 0) != run->pid && errno == EINTR)
        continue;
}

static int wait_for(const settings *s, int control_fd, const running *run)
{
    int status = 0;
    bool joined = false;
    bool over = false;
    static trace_summary sum;
    while (!joined && !over) { /* until the library has joined, or the program has ended without */
        over = waitpid(run->pid, &status, WNOHANG) == run->pid;
        listen_to(s, control_fd, 10, &joined, &sum);
    }
    if (!over)
        wait_listening(s, control_fd, run, &status, &joined, &sum);
    child_pid = 0;

    int reason = 0;
    if (read(run->error_fd, &reason, sizeof reason) == sizeof reason) {
        say("'%s': %s", s->program[0], strerror(reason));
        return reason == ENOENT ? LAUNCH_NOT_FOUND : LAUNCH_NOT_EXECUTABLE;
    }
    send_status(control_fd, status);
    kill(run->collector_pid, SIGCONT); /* somebody may have stopped it: then it would never finish */
    uint64_t until = hak_os_monotonic_ns() + FINISH_WAIT_MS * UINT64_C(1000000);
    while (!listen_to(s, control_fd, 100, &joined, &sum) && hak_os_monotonic_ns() < until)
        continue;
    if (!joined)
        say("the preloaded library did not take effect: nothing was recorded");
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A caller may have closed descriptors 0 to 2: our own must not take their numbers, and the program must find
 * them closed. */
static void keep_low_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

/* Started by a library that was preloaded by hand; nobody waits for us. */
static int collect_for_library(const char *name)
{
    settings s = {.collect = {.depth = DEFAULT_DEPTH,
                              .control_fd = -1,
                              .output = getenv("HAKMEM_TRACE_OUTPUT"),
                              .paused = getenv("HAKMEM_TRACE_PAUSED") != NULL}};
    close_range(3, ~0U, 0); /* the program's: whoever waits for their end must not wait for us */
    keep_low_descriptors();
    const char *sample = getenv("HAKMEM_TRACE_SAMPLE");
    if (sample != NULL &&
        (!parse_size(sample, &s.collect.sample_bytes) || s.collect.sample_bytes > SAMPLE_MAX))
        s.collect.sample_bytes = 0;
    s.collect.listen_fd = hak_collect_listen_at(name);
    if (s.collect.listen_fd < 0)
        return LAUNCH_FAILED;
    setsid();
    int nothing = open("/dev/null", O_RDWR);
    for (int fd = 0; fd <= 2 && nothing >= 0; fd++)
        dup2(nothing, fd);
    return hak_collect_run(&s.collect) == 0 ? 0 : LAUNCH_FAILED;
}

int main(int argc, char **argv)
{
    static launch_program program;
    char name[HAK_SOCKET_NAME_BYTES];
    settings s;
    running run;
    int control_fd;
    if (argc == 3 && strcmp(argv[1], "--collector") == 0)
        return collect_for_library(argv[2]);
    keep_low_descriptors();
    say_as("hakmem-trace");
    parse(argc, argv, &s);
    if (s.control_pid != 0)
        return trace_control(s.control_pid, s.command, s.children, s.quiet);
    int found = launch_find(s.program[0], &program);
    if (found != LAUNCH_OK) {
        say("%s", program.reason);
        return found;
    }
    if (!check_output(&s, base_name(program.path)))
        return LAUNCH_FAILED;
    if (!launch_preload(LIBRARY, &program)) {
        say("%s", program.reason);
        return LAUNCH_FAILED;
    }
    int listen_fd = hak_collect_listen(name);
    if (listen_fd < 0 || setenv(HAK_ENV_SOCKET, name, 1) != 0) {
        say("cannot listen for the program: %s", strerror(errno));
        return LAUNCH_FAILED;
    }
    if (!start_collector(&s, listen_fd, &control_fd, &run.collector_pid)) {
        say("cannot start the collector: %s", strerror(errno));
        return LAUNCH_FAILED;
    }
    close(listen_fd);
    set_signals();
    if (!start_program(&s, &program, control_fd, &run)) {
        say("cannot start '%s': %s", s.program[0], strerror(errno));
        return LAUNCH_FAILED;
    }
    child_pid = run.pid;
    return wait_for(&s, control_fd, &run);
}
