/* secure.c: a program linked with libhakmem that gains a group by being started (AT_SECURE) believes nothing
 * of what its environment says: a caller could otherwise make it write files or run in an odd state. */
#include "rows.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHER_GROUP 65534
#define NOT_GAINED  9

/* What runs with the group gained. */
static void gained(void)
{
    if (getauxval(AT_SECURE) == 0)
        _exit(NOT_GAINED);
    const char *mode = hakmem_mode_running();
    EXPECT(mode != NULL && strcmp(mode, "balanced") == 0);
    for (unsigned i = 0; i < 1000; i++)
        free(malloc(i * 100));
}

static void copy_to(int out)
{
    static char data[1 << 16];
    int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    EXPECT(in >= 0);
    for (ssize_t got; (got = read(in, data, sizeof data)) > 0;)
        EXPECT(write(out, data, (size_t)got) == got);
    close(in);
    close(out);
}

static int run_copy(const char *path, const char *must_not_be, int log)
{
    char stats[64], learned[64];
    snprintf(stats, sizeof stats, "HAKMEM_STATS_FILE=%s", must_not_be);
    snprintf(learned, sizeof learned, "HAKMEM_POLICY_OUT=%s", must_not_be);
    char *environment[] = {(char *)"HAKMEM_MODE=learning",
                           (char *)"HAKMEM_STATS=1",
                           (char *)"HAKMEM_SHOW_CONFIG=1",
                           (char *)"HAKMEM_POLICY=/etc/passwd",
                           stats,
                           learned,
                           NULL};
    pid_t pid = fork();
    if (pid == 0) {
        dup2(log, STDERR_FILENO);
        execle(path, "stress", "--row", ".gained", (char *)NULL, environment);
        _exit(127);
    }
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid);
    return status;
}

static void secure_execution(void)
{
    char path[] = "/tmp/stress.XXXXXX", must_not_be[32];
    snprintf(must_not_be, sizeof must_not_be, "/tmp/stress.%d.stats", (int)getpid());
    int out = mkostemp(path, O_CLOEXEC);
    EXPECT(out >= 0);
    bool ready = fchown(out, (uid_t)-1, OTHER_GROUP) == 0 && fchmod(out, 02755) == 0;
    copy_to(out);
    ready = ready && chmod(path, 02755) == 0; /* writing takes the bit away */
    int log = memfd_create("log", MFD_CLOEXEC);
    int status = ready ? run_copy(path, must_not_be, log) : 0;
    unlink(path);
    if (!ready || (WIFEXITED(status) && WEXITSTATUS(status) == NOT_GAINED))
        row_skip("may not give a program a group");
    char text[200] = "";
    ssize_t len = pread(log, text, sizeof text - 1, 0);
    EXPECT_OF(status == 0, status);
    EXPECT_OF(len == 0, len);
    EXPECT(access(must_not_be, F_OK) != 0);
}

static const stress_row table[] = {
    {".gained", gained, 0},
    {"secure_execution", secure_execution, 0},
};

ROWS_MAIN(table)
