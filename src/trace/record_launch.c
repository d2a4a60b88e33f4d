/* record_launch.c: see record_launch.h. Called once, while the program has one thread. Raw system calls:
 * neither the program's atfork handlers nor its SIGCHLD hear of it. */
#include "trace/record_launch.h"

#include <dlfcn.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/os.h"

#define START_TRIES   500
#define START_WAIT_NS 10000000
#define ENV_MAX       4096

static bool beside_library(char *path, size_t room)
{
    static const char *const places[] = {"/../bin/hakmem-trace", "/hakmem-trace", "/../../bin/hakmem-trace"};
    Dl_info info;
    if (dladdr((const void *)hak_launch_collector, &info) == 0 || info.dli_fname == NULL)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    size_t len = slash == NULL ? 1 : (size_t)(slash - info.dli_fname);
    for (size_t i = 0; i < HAK_COUNT_OF(places); i++) {
        size_t tail = strlen(places[i]) + 1;
        if (len + tail > room)
            return false;
        memcpy(path, slash == NULL ? "." : info.dli_fname, len);
        memcpy(path + len, places[i], tail);
        if (syscall(SYS_access, path, X_OK) == 0)
            return true;
    }
    return false;
}

static void make_name(char name[HAK_SOCKET_NAME_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    static const char prefix[] = HAK_SOCKET_PREFIX;
    uint64_t random[2] = {hak_tsc(), hak_os_monotonic_ns()};
    syscall(SYS_getrandom, random, sizeof random, GRND_NONBLOCK); /* only to be unique: the clocks would do */
    memcpy(name, prefix, sizeof prefix - 1);
    char *at = name + sizeof prefix - 1;
    for (unsigned i = 0; i < 32; i++)
        *at++ = digits[random[i / 16] >> (i % 16 * 4) & 15];
    *at = 0;
}

/* The collector must not be recorded. */
static char **clean_environment(void)
{
    static char *kept[ENV_MAX];
    size_t n = 0;
    for (char **at = environ; *at != NULL && n < ENV_MAX - 1; at++)
        if (strncmp(*at, "LD_PRELOAD=", 11) != 0)
            kept[n++] = *at;
    kept[n] = NULL;
    return kept;
}

static void run_collector(const char *path, const char *name)
{
    if (syscall(SYS_clone, 0UL, NULL, NULL, NULL, 0UL) != 0)
        syscall(SYS_exit_group, 0);
    char *const arguments[] = {(char *)path, (char *)"--collector", (char *)name, NULL};
    syscall(SYS_execve, path, arguments, clean_environment());
    syscall(SYS_exit_group, 127);
}

static bool listens(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    memcpy(address.sun_path + 1, name, len);
    long fd = syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    long failed = syscall(SYS_connect, fd, &address, offsetof(struct sockaddr_un, sun_path) + 1 + len);
    syscall(SYS_close, fd);
    return failed == 0;
}

bool hak_launch_collector(char name[HAK_SOCKET_NAME_BYTES])
{
    static char found[PATH_MAX];
    const char *path = getenv(HAK_ENV_COLLECTOR);
    if (path == NULL) {
        if (!beside_library(found, sizeof found))
            return false;
        path = found;
    }
    if (syscall(SYS_access, path, X_OK) != 0)
        return false;
    make_name(name);
    /* A child without an exit signal, whose own child is the collector: the program never has to wait for
     * either. */
    long child = syscall(SYS_clone, 0UL, NULL, NULL, NULL, 0UL);
    if (child == 0)
        run_collector(path, name);
    if (child > 0)
        syscall(SYS_wait4, child, NULL, __WALL, NULL);
    for (unsigned i = 0; child > 0 && i < START_TRIES; i++) {
        struct timespec pause = {.tv_nsec = START_WAIT_NS};
        if (listens(name))
            return true;
        syscall(SYS_nanosleep, &pause, NULL);
    }
    name[0] = 0;
    return false;
}
