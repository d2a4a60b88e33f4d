/* misuse.c: commits each misuse in a process of its own and compares how that process ends with what is
 * promised for the allocator in force: its one line on stderr, and SIGABRT; or nothing and no harm.
 *
 *   misuse BUILD [CASE…]   BUILD: plain, minimal, research, secure; exit status 1 when one differs
 *   misuse --table         prints what becomes of each case under whatever allocator is in force
 *   misuse --case CASE     commits it */
#include "cases.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_HARM  3
#define STATUS_USAGE 2
#define SHOWN_BYTES  512 /* of what a case prints */
#define LIMIT_S      60
#define FILL_COUNT   3000

const char misuse_open[] = "(anything)", misuse_trapped[] = "(SIGSEGV)";

static const char *const build_names[BUILD_COUNT] = {"plain", "minimal", "research", "secure"};

typedef struct outcome {
    int status; /* as waitpid's */
    char text[SHOWN_BYTES];
} outcome;

void harm(const char *what)
{
    (void)!write(STDERR_FILENO, "harm: ", 6);
    (void)!write(STDERR_FILENO, what, strlen(what));
    (void)!write(STDERR_FILENO, "\n", 1);
    _exit(STATUS_HARM);
}

void *hidden(void *at)
{
    void *volatile place = at;
    return place;
}

void in_thread(void *(*run)(void *), void *context)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, context) != 0 || pthread_join(thread, NULL) != 0)
        _exit(STATUS_USAGE);
}

static bool inside(const char *at, size_t size, const char *keep, size_t keep_bytes)
{
    return keep != NULL && at < keep + keep_bytes && keep < at + size;
}

void look_for_harm(size_t size, const void *keep, size_t keep_bytes)
{
    unsigned count = size > 1 << 20 ? 12 : size > 32768 ? 100 : FILL_COUNT;
    static char *blocks[FILL_COUNT];
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = malloc(size);
        if (blocks[i] == NULL)
            return; /* refusing is no harm */
        if (inside(blocks[i], size, keep, keep_bytes))
            harm("malloc returned memory that is in use");
        for (size_t k = 0; k + sizeof i <= size; k += size > 4096 ? 4096 : sizeof i)
            memcpy(blocks[i] + k, &i, sizeof i);
    }
    for (unsigned i = 0; i < count; i++)
        for (size_t k = 0; k + sizeof i <= size; k += size > 4096 ? 4096 : sizeof i)
            if (memcmp(blocks[i] + k, &i, sizeof i) != 0)
                harm("two live blocks overlap");
    for (unsigned i = 0; i < count; i++)
        free(blocks[i]);
}

static const misuse_case *case_at(unsigned index)
{
    return index < misuse_free_count                         ? &misuse_frees[index]
           : index - misuse_free_count < misuse_access_count ? &misuse_accesses[index - misuse_free_count]
                                                             : NULL;
}

static int commit(const char *name)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(LIMIT_S);
    const misuse_case *c;
    for (unsigned i = 0; (c = case_at(i)) != NULL; i++)
        if (strcmp(c->name, name) == 0) {
            c->commit();
            return 0;
        }
    return STATUS_USAGE;
}

static outcome run(const misuse_case *c)
{
    outcome out = {0};
    int log = memfd_create("case", MFD_CLOEXEC);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(log, STDERR_FILENO);
        execl("/proc/self/exe", "misuse", "--case", c->name, (char *)NULL);
        _exit(127);
    }
    while (waitpid(pid, &out.status, 0) < 0 && errno == EINTR)
        ;
    ssize_t len = pread(log, out.text, sizeof out.text - 1, 0);
    out.text[len > 0 ? len : 0] = '\0';
    close(log);
    return out;
}

static const char *ending(const outcome *out)
{
    if (WIFSIGNALED(out->status))
        return WTERMSIG(out->status) == SIGABRT ? "abort" : strsignal(WTERMSIG(out->status));
    return WEXITSTATUS(out->status) == 0             ? "not noticed"
           : WEXITSTATUS(out->status) == STATUS_HARM ? "HARM"
                                                     : "failed";
}

/* The text begins with "hakmem: MESSAGE 0x…\n"; the length of that line, or 0. */
static size_t said(const char *text, const char *message)
{
    static const char prefix[] = "hakmem: ";
    size_t len = sizeof prefix - 1, message_len = strlen(message);
    if (strncmp(text, prefix, len) != 0 || strncmp(text + len, message, message_len) != 0)
        return 0;
    len += message_len;
    if (strncmp(text + len, " 0x", 3) != 0)
        return 0;
    size_t digits = strspn(text + len + 3, "0123456789abcdef");
    len += 3 + digits;
    return digits > 0 && text[len] == '\n' ? len + 1 : 0;
}

static bool as_promised(const misuse_case *c, misuse_build build, const outcome *out)
{
    const char *promise = c->promise[build];
    bool at_ease = WIFEXITED(out->status) && WEXITSTATUS(out->status) == 0;
    bool chatty = build == BUILD_RESEARCH; /* prints its counters at exit */
    if (promise == MISUSE_OPEN)
        return true;
    if (promise == MISUSE_TRAPPED)
        return WIFSIGNALED(out->status) && WTERMSIG(out->status) == SIGSEGV;
    if (promise == MISUSE_HARMLESS)
        return at_ease && (chatty ? strstr(out->text, "at exit:") == NULL : out->text[0] == '\0');
    if (strncmp(promise, "at exit:", 8) == 0)
        return at_ease && said(out->text, promise) != 0;
    return WIFSIGNALED(out->status) && WTERMSIG(out->status) == SIGABRT &&
           said(out->text, promise) == strlen(out->text);
}

static int table(void)
{
    unsigned noticed = 0, harmful = 0, count = 0;
    const misuse_case *c;
    for (; (c = case_at(count)) != NULL; count++) {
        outcome out = run(c);
        bool harmed = WIFEXITED(out.status) && WEXITSTATUS(out.status) == STATUS_HARM;
        bool aborted = WIFSIGNALED(out.status) && WTERMSIG(out.status) == SIGABRT;
        noticed += aborted;
        harmful += harmed;
        printf("%-28s %-22s %.*s\n", c->name, ending(&out), (int)strcspn(out.text, "\n"),
               aborted || harmed ? out.text : "");
    }
    printf("%u cases, %u noticed, %u with harm\n", count, noticed, harmful);
    return 0;
}

static int compare(misuse_build build, char **names)
{
    unsigned run_count = 0, failed = 0;
    const misuse_case *c;
    for (unsigned i = 0; (c = case_at(i)) != NULL; i++) {
        bool wanted = names[0] == NULL;
        for (char **name = names; *name != NULL; name++)
            wanted = wanted || strcmp(*name, c->name) == 0;
        if (!wanted)
            continue;
        outcome out = run(c);
        bool fine = as_promised(c, build, &out);
        run_count++;
        failed += !fine;
        printf("%s %s: %s\n", fine ? "ok  " : "FAIL", c->name, ending(&out));
        if (!fine)
            printf("  promised: %s\n  printed:  %s\n", c->promise[build] ? c->promise[build] : "(nothing)",
                   out.text);
    }
    printf("%u cases, %u failed\n", run_count, failed);
    return run_count == 0 ? STATUS_USAGE : failed != 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--case") == 0)
        return commit(argv[2]);
    if (argc == 2 && strcmp(argv[1], "--table") == 0)
        return table();
    for (unsigned i = 0; argc >= 2 && i < BUILD_COUNT; i++)
        if (strcmp(argv[1], build_names[i]) == 0)
            return compare((misuse_build)i, argv + 2);
    return STATUS_USAGE;
}
