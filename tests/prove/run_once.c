/* run_once.c: runs a program and says what it took: run_once COMMAND ARGS… -> "wall_s cpu_s peak_kib mean_kib
 * status" on descriptor 3. A process keeps the peak of whoever it was before exec, so a small one has to
 * start it: not a script's interpreter. One thread. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLE_NS 5000000

extern char **environ;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long resident_kib(pid_t pid)
{
    char path[64], text[128] = "";
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    long whole, resident = 0;
    if (read(fd, text, sizeof text - 1) <= 0 || sscanf(text, "%ld %ld", &whole, &resident) != 2)
        resident = 0;
    close(fd);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    const char *preload = getenv("RUN_ONCE_PRELOAD"); /* for the program, not for us */
    if (preload != NULL)
        setenv("LD_PRELOAD", preload, 1);
    fcntl(3, F_SETFD, FD_CLOEXEC);
    pid_t pid;
    double begun = now_s(), sum = 0, samples = 0;
    if (posix_spawnp(&pid, argv[1], NULL, NULL, argv + 1, environ) != 0)
        return 2;
    int status;
    struct rusage usage;
    while (wait4(pid, &status, WNOHANG, &usage) == 0) {
        long kib = resident_kib(pid);
        sum += (double)kib;
        samples += kib != 0;
        nanosleep(&(struct timespec){0, SAMPLE_NS}, NULL);
    }
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    dprintf(3, "%.6f %.6f %ld %.0f %d\n", now_s() - begun, cpu, usage.ru_maxrss,
            samples > 0 ? sum / samples : 0, status);
    return 0;
}
