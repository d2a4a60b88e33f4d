/* cases.h: one misuse each. A case commits its misuse and then looks for harm: it returns when nothing was
 * noticed and no two live blocks overlap, and calls harm() otherwise. Every case runs in a process of its own
 * (misuse.c).
 *
 * What a case promises, for each build: a text is the message that must be printed, and nothing else, before
 * the process aborts (a text that begins with "at exit": a first line at the end of a process that goes on);
 * MISUSE_HARMLESS says that nothing is noticed and nothing overlaps; MISUSE_TRAPPED that the access
 * itself ends the process (SIGSEGV); MISUSE_OPEN promises nothing, because
 * noticing it would cost the fast paths more than they may. */
#ifndef MISUSE_CASES_H
#define MISUSE_CASES_H

#include <stddef.h>

#define MISUSE_HARMLESS NULL
extern const char misuse_open[], misuse_trapped[];
#define MISUSE_OPEN    misuse_open
#define MISUSE_TRAPPED misuse_trapped

typedef enum misuse_build {
    BUILD_PLAIN,
    BUILD_MINIMAL,
    BUILD_RESEARCH,
    BUILD_SECURE,
    BUILD_COUNT
} misuse_build;

typedef struct misuse_case {
    const char *name;
    void (*commit)(void);
    const char *promise[BUILD_COUNT]; /* a message behind "hakmem: ", without the address, or one of below */
} misuse_case;

extern const misuse_case misuse_frees[];    /* second, foreign and crooked frees; cases_free.c */
extern const misuse_case misuse_accesses[]; /* reads and writes where nothing is; cases_access.c */
extern const unsigned misuse_free_count, misuse_access_count;

/* Two live blocks share bytes, or a block came from nowhere. Ends the process. */
void harm(const char *what);

/* Fills the heap with blocks of about that size, sees that they are disjoint and none of them lies in
 * [keep, keep + keep_bytes), and frees them again. */
void look_for_harm(size_t size, const void *keep, size_t keep_bytes);

/* Runs `run` in a thread of its own until it ends. */
void in_thread(void *(*run)(void *), void *context);

/* Hides from the compiler what a pointer is. */
void *hidden(void *at);

#endif
