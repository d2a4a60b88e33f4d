/* scenes.c: see scenes.h. Here: ends, forks, execs, surroundings, and work for limits. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenes.h"

static char *self_path;

int scene_number(int argc, char **argv, int index, int otherwise)
{
    return argc > index ? atoi(argv[index]) : otherwise;
}

void scene_mark(int count)
{
    for (int i = 0; i < count; i++) {
        void *block = valloc(100);
        if (i % 2 == 0)
            free(block);
    }
}

void scene_churn(int count)
{
    void *kept[256] = {NULL};
    unsigned state = 1;
    for (int i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        unsigned at = state >> 24;
        free(kept[at]);
        kept[at] = malloc(state >> 8 & 0xfff);
    }
    for (unsigned i = 0; i < 256; i++)
        free(kept[i]);
}

/* ---- ends ---- */

static int end_kill(int argc, char **argv)
{
    scene_mark(scene_number(argc, argv, 0, 1000));
    return raise(SIGKILL);
}

static int end_segv(int argc, char **argv)
{
    scene_mark(scene_number(argc, argv, 0, 1000));
    return raise(SIGSEGV);
}

static int end_fault(int argc, char **argv)
{
    int *volatile nowhere = NULL;
    scene_mark(scene_number(argc, argv, 0, 1000));
    return *nowhere;
}

static int end_abort(int argc, char **argv)
{
    scene_mark(scene_number(argc, argv, 0, 1000));
    abort();
}

static int end_at_once(int argc, char **argv)
{
    scene_mark(scene_number(argc, argv, 0, 1000));
    _exit(7);
}

static void last_word(void)
{
    scene_mark(10);
}

static int end_quick(int argc, char **argv)
{
    at_quick_exit(last_word);
    scene_mark(scene_number(argc, argv, 0, 1000));
    quick_exit(8);
}

static void *exit_from_thread(void *unused)
{
    (void)unused;
    scene_mark(100);
    exit(9);
}

static int end_in_thread(int argc, char **argv)
{
    pthread_t thread;
    atexit(last_word);
    scene_mark(scene_number(argc, argv, 0, 1000));
    pthread_create(&thread, NULL, exit_from_thread, NULL);
    pthread_join(thread, NULL);
    return 1;
}

/* ---- exec and fork ---- */

static void *busy(void *unused)
{
    (void)unused;
    for (;;)
        free(malloc(50));
    return NULL;
}

/* An exec out of the midst of threads that allocate, again and again. */
static int do_exec(int argc, char **argv)
{
    int left = scene_number(argc, argv, 0, 3);
    char text[16];
    pthread_t thread;
    scene_mark(100);
    if (left == 0)
        return 4;
    for (int i = 0; i < 3; i++)
        pthread_create(&thread, NULL, busy, NULL);
    usleep(left % 2 == 0 ? 0 : 2000);
    snprintf(text, sizeof text, "%d", left - 1);
    execl(self_path, self_path, "exec", text, (char *)NULL);
    return 1;
}

static int fork_tree(int argc, char **argv)
{
    int depth = scene_number(argc, argv, 0, 2);
    int fan = scene_number(argc, argv, 1, 3);
    scene_mark(10);
    for (int i = 0; depth > 0 && i < fan; i++) {
        pid_t child = fork();
        if (child != 0)
            continue;
        scene_mark(5);
        depth--;
        i = -1;
    }
    int bad = 0;
    for (int status; wait(&status) > 0;)
        bad |= status;
    return bad != 0;
}

/* Children that die by signal and at once, while threads of the parent allocate. */
static int fork_many(int argc, char **argv)
{
    pthread_t thread;
    int count = scene_number(argc, argv, 0, 100);
    int sum = 0;
    pthread_create(&thread, NULL, busy, NULL);
    for (int i = 0; i < count; i++) {
        pid_t child = i % 4 == 0 ? vfork() : fork();
        if (child == 0) {
            if (i % 4 == 0)
                _exit(3);
            scene_mark(2);
            if (i % 4 == 1)
                kill(getpid(), SIGKILL);
            _exit(3);
        }
        int status = 0;
        waitpid(child, &status, 0);
        sum += WIFEXITED(status) ? WEXITSTATUS(status) : 100;
    }
    printf("%d\n", sum);
    return 0;
}

static void list_descriptors(FILE *out)
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(folder))
            fprintf(out, "%d\n", fd);
    }
    closedir(folder);
}

/* Twice forked, own session, nothing open, another folder. What it finds goes to the file named. */
static int daemonise(int argc, char **argv)
{
    const char *result = argc > 0 ? argv[0] : "/dev/null";
    scene_mark(10);
    if (fork() != 0)
        _exit(0);
    setsid();
    if (fork() != 0)
        _exit(0);
    for (int fd = 0; fd < 1024; fd++)
        close(fd);
    if (chdir("/") != 0)
        _exit(1);
    scene_mark(1000);
    usleep(200000);
    scene_churn(20000);
    char part[4096];
    snprintf(part, sizeof part, "%s.part", result);
    FILE *out = fopen(part, "w");
    if (out == NULL)
        _exit(1);
    fprintf(out, "stream %d\n", fileno(out));
    list_descriptors(out);
    scene_mark(1);
    fclose(out);
    rename(part, result);
    return 0;
}

/* ---- surroundings ---- */

/* Every descriptor closed, numbers used again: the file must hold what the program wrote and nothing else. */
static int reuse_numbers(int argc, char **argv)
{
    const char *path = argc > 0 ? argv[0] : "/dev/null";
    scene_mark(500);
    closefrom(3);
    for (int i = 0; i < 20; i++) {
        int fd = open(path, O_CREAT | O_RDWR | O_APPEND, 0600);
        if (fd != 3 + i)
            return 1;
    }
    scene_churn(200000);
    if (write(3, "mine\n", 5) != 5)
        return 2;
    scene_mark(500);
    list_descriptors(stdout);
    return 0;
}

static int change_root(int argc, char **argv)
{
    scene_mark(10);
    if (chroot(argc > 0 ? argv[0] : "/") != 0 || chdir("/") != 0)
        return 77;
    scene_mark(10);
    pid_t child = fork();
    if (child == 0) {
        scene_mark(33);
        _exit(0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    return status;
}

static int drop_user(int argc, char **argv)
{
    (void)argc, (void)argv;
    scene_mark(10);
    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return 77;
    scene_churn(100000);
    scene_mark(10);
    pid_t child = fork();
    if (child == 0) {
        scene_mark(33);
        _exit(0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    printf("%d %d\n", (int)getuid(), status);
    return 0;
}

static int change_folder(int argc, char **argv)
{
    scene_mark(10);
    if (chdir(argc > 0 ? argv[0] : "/") != 0)
        return 1;
    scene_mark(10);
    return 0;
}

/* Descriptors, signal masks and dispositions, limits, umask, session, environment that matters, threads. */
static int surroundings(int argc, char **argv)
{
    (void)argc, (void)argv;
    char line[256];
    stack_t stack;
    struct rlimit limit;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "Sig", 3) == 0 || strncmp(line, "Shd", 3) == 0 || strncmp(line, "Umask", 5) == 0 ||
            strncmp(line, "Threads", 7) == 0 || strncmp(line, "NoNewPrivs", 10) == 0)
            fputs(strncmp(line, "SigQ", 4) == 0 ? "" : line, stdout);
    if (status != NULL)
        fclose(status);
    list_descriptors(stdout);
    sigaltstack(NULL, &stack);
    printf("alternate stack %d\n", stack.ss_flags);
    for (int which = 0; which < RLIM_NLIMITS; which++)
        if (getrlimit((__rlimit_resource_t)which, &limit) == 0)
            printf("limit %d %ld %ld\n", which, (long)limit.rlim_cur, (long)limit.rlim_max);
    struct itimerval timer;
    getitimer(ITIMER_PROF, &timer);
    printf("timer %ld, children %d\n", timer.it_value.tv_sec, wait(NULL));
    return 0;
}

/* ---- work for limits and control ---- */

static int work(int argc, char **argv)
{
    int rounds = scene_number(argc, argv, 0, 1);
    for (int i = 0; i < rounds; i++) {
        scene_churn(scene_number(argc, argv, 1, 100000));
        if (argc > 2)
            usleep((useconds_t)atoi(argv[2]));
    }
    scene_mark(100);
    puts("worked");
    return 6;
}

/* Blocks that stay. */
static int hoard(int argc, char **argv)
{
    int count = scene_number(argc, argv, 0, 1000);
    for (int i = 0; i < count; i++)
        if (malloc(16) == NULL)
            return 1;
    puts("hoarded");
    return 0;
}

static int write_big(int argc, char **argv)
{
    char block[4096] = "";
    int fd = open(argc > 0 ? argv[0] : "/dev/null", O_CREAT | O_WRONLY | O_TRUNC, 0600);
    scene_mark(100);
    scene_churn(200000);
    for (int i = 0; i < 100; i++)
        if (write(fd, block, sizeof block) < 0)
            return errno;
    return 0;
}

/* Marked blocks for as long as the file named exists; then prints how many. */
static int until_gone(int argc, char **argv)
{
    long count = 0;
    while (argc > 0 && access(argv[0], F_OK) == 0) {
        scene_mark(10);
        count += 10;
        usleep(1000);
    }
    scene_mark(10);
    printf("%s\n", count > 0 ? "served" : "not at all");
    return 0;
}

static const scene scenes_of_processes[] = {
    {"kill", end_kill},
    {"segv", end_segv},
    {"fault", end_fault},
    {"abort", end_abort},
    {"_exit", end_at_once},
    {"quick_exit", end_quick},
    {"thread_exit", end_in_thread},
    {"exec", do_exec},
    {"fork_tree", fork_tree},
    {"fork_many", fork_many},
    {"daemon", daemonise},
    {"reuse_numbers", reuse_numbers},
    {"chroot", change_root},
    {"setuid", drop_user},
    {"chdir", change_folder},
    {"surroundings", surroundings},
    {"work", work},
    {"hoard", hoard},
    {"write_big", write_big},
    {"until_gone", until_gone},
    {NULL, NULL},
};

static const scene *find(const scene *scenes, const char *name)
{
    while (scenes->name != NULL && strcmp(scenes->name, name) != 0)
        scenes++;
    return scenes->name != NULL ? scenes : NULL;
}

int main(int argc, char **argv)
{
    const scene *found = argc > 1 ? find(scenes_of_processes, argv[1]) : NULL;
    if (found == NULL && argc > 1)
        found = find(scenes_of_stacks, argv[1]);
    self_path = argv[0];
    if (found != NULL)
        return found->run(argc - 2, argv + 2);
    fprintf(stderr, "scenes: no such scene\n");
    return 99;
}
