/* hakmem-run.c: runs a program on libhakmem. Checks beforehand what can be checked (the program can be
 * entered, the loader maps the library, the policy is valid), sets the environment and becomes the program:
 * its exit status, signals, terminal and descriptors are its own, because no process of ours is left. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/launch.h"
#include "cli/run_policy.h"
#include "cli/say.h"

#define LIBRARY "libhakmem.so"

static const char help[] =
    "Examples:\n"
    "  hakmem-run ./app input                              balanced mode, no policy\n"
    "  hakmem-run --mode=fast --policy=app.policy ./app    what hakmem-replay learned for it\n"
    "  hakmem-run --stats ./app                            print the allocator's counters at exit\n"
    "\n"
    "Usage: hakmem-run [OPTIONS] [--] PROGRAM [ARGUMENTS]\n"
    "\n"
    "Runs a program on the hakmem allocator.\n"
    "\n"
    "  -m, --mode=MODE     minimal, fast, balanced, learning or research (balanced; fast with\n"
    "                      a policy)\n"
    "  -p, --policy=FILE   a compiled policy; it is checked first\n"
    "  -s, --stats         counters at exit, on the program's stderr\n"
    "  -h, --help          show this\n"
    "      --version       show version and features\n"
    "\n"
    "Exit status: the program's own; 125 hakmem-run failed, 126 PROGRAM cannot be executed,\n"
    "127 PROGRAM was not found.\n";

typedef struct settings {
    const char *mode;
    const char *policy;
    bool stats;
    char **program;
} settings;

static bool known_mode(const char *mode)
{
    static const char *const modes[] = {"minimal", "fast", "balanced", "learning", "research"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(mode, modes[i]) == 0)
            return true;
    return false;
}

static void parse(int argc, char **argv, settings *s)
{
    enum { OPT_VERSION = 256 };
    static const struct option options[] = {
        {"mode", required_argument, NULL, 'm'},      {"policy", required_argument, NULL, 'p'},
        {"stats", no_argument, NULL, 's'},           {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, OPT_VERSION}, {NULL, 0, NULL, 0}};
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "+m:p:sh", options, NULL)) != -1) {
        switch (option) {
        case 'm':
            s->mode = optarg;
            break;
        case 'p':
            s->policy = optarg;
            break;
        case 's':
            s->stats = true;
            break;
        case 'h':
            fputs(help, stdout);
            exit(say_flushed() ? 0 : LAUNCH_FAILED);
        case OPT_VERSION:
            puts("hakmem-run " HAKMEM_VERSION "\nfeatures: five modes, policies of format 1");
            exit(say_flushed() ? 0 : LAUNCH_FAILED);
        default:
            say_about(say_option(argv), "unknown option, or one that wants a value; see hakmem-run --help");
            exit(LAUNCH_FAILED);
        }
    }
    if (s->mode != NULL && !known_mode(s->mode)) {
        say("'%s' is no mode; there are minimal, fast, balanced, learning and research", s->mode);
        exit(LAUNCH_FAILED);
    }
    if (optind == argc) {
        say("no program to run; see hakmem-run --help");
        exit(LAUNCH_FAILED);
    }
    s->program = argv + optind;
}

static void meet(const char *library, void *arg)
{
    run_policy_meets(arg, library);
}

static bool set_environment(const settings *s, const run_policy *policy)
{
    const char *mode = s->mode != NULL ? s->mode : s->policy != NULL ? "fast" : NULL;
    return (mode == NULL || setenv("HAKMEM_MODE", mode, 1) == 0) &&
           (!s->stats || setenv("HAKMEM_STATS", "1", 1) == 0) &&
           (s->policy == NULL || setenv("HAKMEM_POLICY", policy->path, 1) == 0);
}

int main(int argc, char **argv)
{
    static launch_program program;
    static run_policy policy;
    settings s = {NULL, NULL, false, NULL};
    say_as("hakmem-run");
    parse(argc, argv, &s);
    int found = launch_find(s.program[0], &program);
    if (found != LAUNCH_OK) {
        say("%s", program.reason);
        return found;
    }
    if (s.policy != NULL && !run_policy_open(&policy, s.policy))
        return LAUNCH_FAILED;
    if (!launch_preload(LIBRARY, &program)) {
        say("%s", program.reason);
        return LAUNCH_FAILED;
    }
    run_policy_meets(&policy, program.binary);
    if (!launch_would_map(&program, meet, &policy)) {
        say("'%s': its loader does not map %s: the preload would have no effect", program.binary,
            program.library);
        return LAUNCH_FAILED;
    }
    run_policy_fit(&policy);
    if (!set_environment(&s, &policy)) {
        say("cannot set the program's environment: %s", strerror(errno));
        return LAUNCH_FAILED;
    }
    run_policy_close(&policy);
    execvp(program.path, s.program); /* a path, so nothing is searched for; it knows scripts without #! */
    int reason = errno;
    say("'%s': %s", s.program[0], strerror(reason));
    return reason == ENOENT ? LAUNCH_NOT_FOUND : LAUNCH_NOT_EXECUTABLE;
}
