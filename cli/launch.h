/* launch.h: what hakmem-trace and hakmem-run share: finding the program and our library, seeing beforehand
 * that a preload can take effect, and the exit codes of a wrapper. Single-threaded programs. */
#ifndef HAK_CLI_LAUNCH_H
#define HAK_CLI_LAUNCH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit codes of wrappers, as env(1) and nohup(1) have them. */
enum { LAUNCH_OK = 0, LAUNCH_FAILED = 125, LAUNCH_NOT_EXECUTABLE = 126, LAUNCH_NOT_FOUND = 127 };

typedef struct launch_program {
    char path[PATH_MAX];         /* what execve(2) will be given */
    char binary[PATH_MAX];       /* the ELF file that will run: the interpreter, for a script */
    char loader[PATH_MAX];       /* its dynamic loader */
    char library[PATH_MAX];      /* what is preloaded into it */
    char reason[PATH_MAX + 256]; /* why not, one line: what is wrong and what can be done */
} launch_program;

/* Finds `name` as execvp(3) would and refuses what a preload cannot enter: static, setuid, other libc, other
 * architecture. LAUNCH_OK, or the exit code with the reason filled in. */
int launch_find(const char *name, launch_program *program);

/* Finds one of our libraries (beside this command, in the library folder next to it, or where it was
 * installed) and puts it in front of LD_PRELOAD in our environment, behind our recorder. False, with the
 * reason filled in: it is missing, or its path is one that LD_PRELOAD cannot hold. */
bool launch_preload(const char *file, launch_program *program);

/* Asks the program's loader what it would map (its listing mode runs nothing of the program) and shows each
 * library's path. False only when the loader listed the libraries and ours is not among them: where it
 * cannot list them (one is missing, no process left), running the program tells the reason best. */
typedef void launch_visit(const char *path, void *arg);
bool launch_would_map(const launch_program *program, launch_visit *visit, void *arg);

#endif
