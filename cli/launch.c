/* launch.c: see launch.h. Reads files, sets our own environment; prints nothing. */
#include "cli/launch.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPT_DEPTH   4 /* an interpreter may be a script: the kernel stops here, too */
#define LINE_BYTES     256
#define SEGMENTS_MAX   128
#define DEFAULT_SEARCH "/usr/local/bin:/usr/bin:/bin"
#define RECORDER       "libhakmem-trace.so"

static int refuse(launch_program *program, int code, const char *why)
{
    snprintf(program->reason, sizeof program->reason, "%s", why);
    return code;
}

static int refuse_file(launch_program *program, const char *file, const char *why)
{
    snprintf(program->reason, sizeof program->reason, "'%s' %s", file, why);
    return LAUNCH_FAILED;
}

/* ---- finding ---- */

static bool is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static int check_access(const char *path, launch_program *program)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return refuse(program, errno == EACCES ? LAUNCH_NOT_EXECUTABLE : LAUNCH_NOT_FOUND, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return refuse(program, LAUNCH_NOT_EXECUTABLE, strerror(EISDIR));
    if (access(path, X_OK) != 0)
        return refuse(program, LAUNCH_NOT_EXECUTABLE, strerror(errno));
    return LAUNCH_OK;
}

static int search(const char *name, launch_program *program)
{
    const char *folders = getenv("PATH");
    bool denied = false;
    if (folders == NULL)
        folders = DEFAULT_SEARCH;
    while (true) {
        const char *end = strchrnul(folders, ':');
        int len = (int)(end - folders);
        int n = len == 0 ? snprintf(program->path, sizeof program->path, "./%s", name)
                         : snprintf(program->path, sizeof program->path, "%.*s/%s", len, folders, name);
        if (n > 0 && (size_t)n < sizeof program->path && is_file(program->path)) {
            if (access(program->path, X_OK) == 0)
                return LAUNCH_OK;
            denied = true;
        }
        if (*end == 0)
            break;
        folders = end + 1;
    }
    return denied ? refuse(program, LAUNCH_NOT_EXECUTABLE, "Permission denied")
                  : refuse(program, LAUNCH_NOT_FOUND, "command not found");
}

/* ---- looking inside ---- */

static bool read_exactly(int fd, void *to, size_t bytes, off_t offset)
{
    return pread(fd, to, bytes, offset) == (ssize_t)bytes;
}

static int check_elf(int fd, launch_program *program)
{
    Elf64_Ehdr header;
    Elf64_Phdr segments[SEGMENTS_MAX];
    const char *file = program->binary;
    if (!read_exactly(fd, header.e_ident, EI_NIDENT, 0) || header.e_ident[EI_CLASS] != ELFCLASS64)
        return refuse_file(program, file, "is a 32-bit program; only 64-bit x86 programs can be entered");
    if (!read_exactly(fd, &header, sizeof header, 0) || header.e_machine != EM_X86_64)
        return refuse_file(program, file, "is built for another processor");
    size_t count = header.e_phnum < SEGMENTS_MAX ? header.e_phnum : SEGMENTS_MAX;
    if (header.e_phentsize != sizeof segments[0] ||
        !read_exactly(fd, segments, count * sizeof segments[0], (off_t)header.e_phoff))
        return refuse_file(program, file, "has a damaged program header");
    program->loader[0] = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len = segments[i].p_filesz;
        if (segments[i].p_type != PT_INTERP || len == 0 || len >= sizeof program->loader)
            continue;
        if (read_exactly(fd, program->loader, len, (off_t)segments[i].p_offset))
            program->loader[len] = 0;
    }
    if (program->loader[0] == 0)
        return refuse_file(
            program, file,
            "is statically linked: no library can be preloaded into it; link it dynamically, or link "
            "the library in");
    if (strstr(program->loader, "ld-musl") != NULL)
        return refuse_file(program, file, "is linked with musl; the libraries here are for glibc programs");
    return LAUNCH_OK;
}

static int check_privilege(int fd, launch_program *program)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return LAUNCH_OK;
    bool other_user = (status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid();
    bool other_group =
        (status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && status.st_gid != getegid();
    if (other_user || other_group)
        return refuse_file(program, program->binary,
                           "is setuid or setgid: the loader ignores preloads there; run it as its owner");
    if (geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return refuse_file(program, program->binary,
                           "has file capabilities: the loader ignores preloads there; run it as root");
    return LAUNCH_OK;
}

/* "#! /path arg": the interpreter's path replaces `binary`. */
static bool script_interpreter(const char *line, size_t len, launch_program *program)
{
    const char *at = line + 2;
    const char *end = line + len;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    size_t n = 0;
    while (at + n < end && strchr(" \t\n", at[n]) == NULL && at[n] != 0)
        n++;
    if (n == 0)
        return false;
    snprintf(program->binary, sizeof program->binary, "%.*s", (int)n, at);
    return true;
}

static int check_file(launch_program *program)
{
    snprintf(program->binary, sizeof program->binary, "%s", program->path);
    for (unsigned depth = 0; depth < SCRIPT_DEPTH; depth++) {
        char line[LINE_BYTES];
        int fd = open(program->binary, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return errno == EACCES ? LAUNCH_OK /* execute-only: cannot be looked into */
                                   : refuse(program, LAUNCH_NOT_FOUND, strerror(errno));
        ssize_t n = pread(fd, line, sizeof line, 0);
        int result;
        if (n >= 4 && memcmp(line, ELFMAG, 4) == 0) {
            result = check_privilege(fd, program);
            if (result == LAUNCH_OK)
                result = check_elf(fd, program);
            close(fd);
            return result;
        }
        close(fd);
        if (n < 2 || memcmp(line, "#!", 2) != 0) /* execvp(3) hands it to the shell */
            snprintf(program->binary, sizeof program->binary, "/bin/sh");
        else if (!script_interpreter(line, (size_t)n, program))
            return refuse(program, LAUNCH_NOT_EXECUTABLE, strerror(ENOEXEC));
    }
    return refuse(program, LAUNCH_NOT_EXECUTABLE, strerror(ELOOP));
}

int launch_find(const char *name, launch_program *program)
{
    program->loader[0] = 0;
    if (*name == 0)
        return refuse(program, LAUNCH_NOT_FOUND, "command not found");
    int result;
    if (strchr(name, '/') != NULL) {
        if (strlen(name) >= sizeof program->path)
            return refuse(program, LAUNCH_NOT_FOUND, strerror(ENAMETOOLONG));
        snprintf(program->path, sizeof program->path, "%s", name);
        result = check_access(program->path, program);
    } else {
        result = search(name, program);
    }
    if (result == LAUNCH_OK)
        result = check_file(program);
    if (result == LAUNCH_NOT_FOUND || result == LAUNCH_NOT_EXECUTABLE) {
        char why[sizeof program->reason];
        memcpy(why, program->reason, sizeof why);
        snprintf(program->reason, sizeof program->reason, "'%.*s': %.128s", PATH_MAX, name, why);
    }
    return result;
}

/* ---- the library ---- */

/* Where this command lies; "" where nobody knows. Not everybody has /proc. */
static void find_self(char self[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", self, PATH_MAX - 1);
    self[n > 0 ? n : 0] = 0;
    const char *started_as = (const char *)getauxval(AT_EXECFN);
    if (n <= 0 && (started_as == NULL || realpath(started_as, self) == NULL))
        self[0] = 0;
}

static bool find_library(const char *file, char *path)
{
    static const char *const places[] = {"", "../lib", ("../" HAKMEM_LIBDIR)};
    char self[PATH_MAX];
    char candidate[PATH_MAX + 64];
    find_self(self);
    char *slash = strrchr(self, '/');
    if (slash != NULL)
        *slash = 0;
    for (size_t i = 0; i <= sizeof places / sizeof places[0]; i++) {
        if (i < sizeof places / sizeof places[0])
            snprintf(candidate, sizeof candidate, "%s/%s/%s", self, places[i], file);
        else
            snprintf(candidate, sizeof candidate, "%s/%s", HAKMEM_FULL_LIBDIR, file);
        char whole[PATH_MAX];
        if (realpath(candidate, whole) == NULL || access(whole, R_OK) != 0)
            continue;
        memcpy(path, whole, sizeof whole);
        return true;
    }
    return false;
}

/* How much of the list comes before the library: nothing, but for our recorder, which sees only the calls
 * that come to it before they come to an allocator. */
static size_t place_in(const char *list, const char *library)
{
    const char *recorder = strstr(list, RECORDER);
    return recorder == NULL || strstr(library, RECORDER) != NULL
               ? 0
               : (size_t)(recorder - list) + strcspn(recorder, " :");
}

/* Beside what is preloaded already. False: a path that LD_PRELOAD cannot hold, or no memory. */
static bool put_in(const char *library)
{
    const char *list = getenv("LD_PRELOAD");
    if (strpbrk(library, " :") != NULL)
        return false;
    if (list == NULL || *list == 0)
        return setenv("LD_PRELOAD", library, 1) == 0;
    size_t room = strlen(library) + strlen(list) + 2, place = place_in(list, library);
    char *both = malloc(room);
    if (both == NULL)
        return false;
    if (place == 0)
        snprintf(both, room, "%s:%s", library, list);
    else
        snprintf(both, room, "%.*s:%s%s", (int)place, list, library, list + place);
    bool done = setenv("LD_PRELOAD", both, 1) == 0;
    free(both);
    return done;
}

bool launch_preload(const char *file, launch_program *program)
{
    if (!find_library(file, program->library)) {
        snprintf(program->reason, sizeof program->reason,
                 "%s is missing; it belongs beside this command or into ../lib", file);
        return false;
    }
    if (!put_in(program->library)) {
        snprintf(program->reason, sizeof program->reason,
                 "'%s' cannot be preloaded: LD_PRELOAD takes no path with a space or colon in it",
                 program->library);
        return false;
    }
    return true;
}

/* Reads the listing to its end, so that the loader is never stopped by a full or closed pipe. Its lines are
 * "name => path (address)" and "path (address)". */
static bool listing_names(int fd, const char *library, launch_visit *visit, void *arg)
{
    FILE *listing = fdopen(fd, "r");
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    if (listing == NULL) {
        close(fd);
        return false;
    }
    while (getline(&line, &room, listing) > 0) {
        char *path = strchr(line, '/'), *end = strstr(line, " (0x");
        if (path == NULL || end == NULL || end < path)
            continue;
        *end = 0;
        found = found || strcmp(path, library) == 0;
        visit(path, arg);
    }
    free(line);
    fclose(listing);
    return found;
}

bool launch_would_map(const launch_program *program, launch_visit *visit, void *arg)
{
    if (program->loader[0] == 0)
        return true; /* could not be looked into */
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return true;
    pid_t child = fork();
    if (child == 0) {
        int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(quiet, STDERR_FILENO);
        dup2(pipes[1], STDOUT_FILENO);
        execl(program->loader, program->loader, "--list", program->binary, (char *)NULL);
        _exit(LAUNCH_FAILED);
    }
    close(pipes[1]);
    bool found = listing_names(pipes[0], program->library, visit, arg);
    int status = -1;
    bool listed =
        child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return found || !listed;
}
