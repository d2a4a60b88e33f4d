/* collect_proc.c: see collect_proc.h. */
#include "trace/collect_proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELD_UTIME 14 /* of /proc/PID/stat, 1-based; stime follows */
#define NS_PER_S    UINT64_C(1000000000)

static size_t read_file(uint64_t pid, const char *name, char *text, size_t room)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%llu/%s", (unsigned long long)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    text[0] = 0;
    if (fd < 0)
        return 0;
    while (len < room - 1) {
        ssize_t n = read(fd, text + len, room - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(fd);
    text[len] = 0;
    return len;
}

uint64_t hak_proc_rss_bytes(uint64_t pid)
{
    char text[128];
    char *end;
    if (read_file(pid, "statm", text, sizeof text) == 0)
        return 0;
    strtoull(text, &end, 10); /* size; resident follows */
    return strtoull(end, NULL, 10) * HAK_OS_PAGE_BYTES;
}

uint64_t hak_proc_cpu_ns(uint64_t pid)
{
    char text[512];
    long ticks_per_s = sysconf(_SC_CLK_TCK);
    if (read_file(pid, "stat", text, sizeof text) == 0 || ticks_per_s <= 0)
        return 0;
    char *at = strrchr(text, ')'); /* the name may hold anything */
    for (unsigned field = 2; at != NULL && field < FIELD_UTIME; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return 0;
    uint64_t user = strtoull(at, &at, 10), system = strtoull(at, NULL, 10);
    return (user + system) * (NS_PER_S / (uint64_t)ticks_per_s);
}

uint64_t hak_proc_parent(uint64_t pid)
{
    char text[512];
    if (read_file(pid, "stat", text, sizeof text) == 0)
        return 0;
    const char *at = strrchr(text, ')'); /* the name may hold anything */
    if (at == NULL || strlen(at) < 4)
        return 0;
    return strtoull(at + 4, NULL, 10); /* ") S ppid" */
}

static bool lives(uint64_t pid, uint64_t tid)
{
    char path[80];
    snprintf(path, sizeof path, "/proc/%llu/task/%llu", (unsigned long long)pid, (unsigned long long)tid);
    return access(path, F_OK) == 0;
}

bool hak_proc_thread_gone(uint64_t pid, uint64_t tid)
{
    return lives(pid, pid) && !lives(pid, tid);
}

void hak_proc_executable(uint64_t pid, char *path, size_t room)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/%llu/exe", (unsigned long long)pid);
    ssize_t n = readlink(link, path, room - 1);
    path[n > 0 ? n : 0] = 0;
}

void hak_proc_comm(uint64_t pid, char *comm, size_t room)
{
    size_t len = read_file(pid, "comm", comm, room);
    if (len > 0 && comm[len - 1] == '\n')
        comm[len - 1] = 0;
}

size_t hak_proc_command(uint64_t pid, char *text, size_t room)
{
    return read_file(pid, "cmdline", text, room);
}
