/* trace_format.h: the nouns of a trace that reader and writer share. The byte layout is hakmem-trace(5).
 * Strings in these structures are owned by the reader (or, for the writer, by the caller during the call). */
#ifndef HAK_TRACE_FORMAT_H
#define HAK_TRACE_FORMAT_H

#include "core/base/types.h"
#include "core/callsite/frame.h"

#define HAK_TRACE_VERSION      1
#define HAK_TRACE_MODULE_NONE  UINT32_MAX
#define HAK_BUILD_ID_MAX_BYTES 20

/* Hard limits of format version 1; a reader refuses what exceeds them. */
#define HAK_TRACE_MEMBER_MAX_BYTES (4 * HAK_MIB) /* raw bytes in one gzip member: the bound on expansion */
#define HAK_TRACE_MAX_CONTEXTS     ((uint32_t)1 << 24)
#define HAK_TRACE_MAX_THREADS      ((uint32_t)1 << 22)
#define HAK_TRACE_MAX_MODULES      ((uint32_t)1 << 20)
#define HAK_TRACE_MAX_SLOTS        ((uint32_t)1 << 31)
#define HAK_TRACE_MAX_DEPTH        1024
#define HAK_TRACE_MAX_ROWS         ((uint32_t)1 << 22)
#define HAK_TRACE_MAX_RSS          ((uint32_t)1 << 20)
#define HAK_TRACE_MAX_SYMBOLS      ((uint32_t)1 << 22)
#define HAK_TRACE_MAX_FRAMES       64              /* of one symbol */
#define HAK_TRACE_MAX_TEXT_BYTES   (256 * HAK_MIB) /* all names, paths and the command line together */

typedef enum hak_clock_kind { HAK_CLOCK_TSC = 0, HAK_CLOCK_COUNTER = 1, HAK_CLOCK_NONE = 2 } hak_clock_kind;

/* Known when recording starts. */
typedef struct hak_trace_head {
    const char *program; /* absolute path of the executable, "" if unknown */
    const char *command; /* arguments joined by NUL, see command_bytes; length-prefixed on disk */
    size_t command_bytes;
    const char *recorder;   /* "hakmem-trace 0.1.0", "import:android" … */
    uint64_t start_unix_ns; /* wall clock */
    uint64_t pid;
    uint64_t parent_pid;
    uint64_t parent_start_ns; /* start_unix_ns of the trace this process was forked or exec'ed from, 0 if
                                 none: links a tree */
    uint32_t clock;           /* hak_clock_kind */
    uint32_t depth_max;       /* frames kept per context */
    uint64_t sample_bytes;    /* 0: every event; else the mean of the Poisson sampling interval */
} hak_trace_head;

/* Known when recording ends; all zero with ended == false when the trace was cut off. */
/* Why a recording ended. Numbers are written to files: only ever append. */
#define HAK_TRACE_ENDS(X)                                                                                    \
    X(PROGRAM, "with the program")                                                                           \
    X(SIZE, "at its size limit")                                                                             \
    X(DURATION, "at its time limit")                                                                         \
    X(WRITE, "when writing failed")                                                                          \
    X(STALLED, "because the collector did not run")                                                          \
    X(ASKED, "on request")                                                                                   \
    X(MEMORY, "for want of memory")

typedef enum hak_trace_end {
#define X(name, text) HAK_END_##name,
    HAK_TRACE_ENDS(X)
#undef X
        HAK_END_COUNT
} hak_trace_end;

const char *hak_trace_end_text(uint64_t end); /* "?" for an unknown number */

typedef struct hak_trace_tail {
    bool ended;
    uint64_t duration_ns;
    uint64_t events_lost;   /* appended by nobody: dropped on request or after a failure, counted exactly */
    uint64_t walks;         /* call stacks taken, walked or proved to be one seen before */
    uint64_t walks_checked; /* of these, compared with the unwinder */
    uint64_t walks_wrong;   /* of these, disagreed */
    uint64_t walks_dynamic; /* handed to the unwinder because a frame was dynamic */
    uint64_t exit_status;   /* as from waitpid(2); 0 if unknown */
    uint64_t end;           /* hak_trace_end: other than PROGRAM, what followed was not recorded */
    uint64_t cpu_ns;        /* processor time of the process, when last looked at; 0: unknown */
} hak_trace_tail;

/* A loaded file, from its load to its unload. file offset of pc = pc - start + offset; the address to look up
 * in symbol tables is pc - bias. */
typedef struct hak_trace_module {
    uint64_t start; /* first mapped executable address */
    uint64_t end;   /* one past the last */
    uint64_t bias;  /* load bias (dlpi_addr) */
    uint64_t from_ns;
    uint64_t to_ns; /* UINT64_MAX while loaded */
    const char *path;
    uint8_t build_id[HAK_BUILD_ID_MAX_BYTES];
    uint8_t build_id_bytes;
} hak_trace_module;

typedef struct hak_trace_thread {
    uint64_t tid; /* kernel thread id, or the importer's */
    uint64_t from_ns;
    uint64_t to_ns;   /* UINT64_MAX: alive at the end */
    const char *name; /* "" if unknown */
} hak_trace_thread;

typedef struct hak_trace_node {
    uint32_t parent;     /* smaller than the node's own number; 0 is the root (outermost side) */
    uint32_t generation; /* tells modules apart that had the same addresses in turn; 0: the first */
    uint64_t pc;         /* return address */
} hak_trace_node;

/* A frame row the recorder learned: lets a trainer write policies without the binary. */
typedef struct hak_trace_row {
    uint64_t pc;
    hak_frame_row row;
} hak_trace_row;

typedef struct hak_trace_rss {
    uint64_t time_ns;
    uint64_t rss_bytes;
} hak_trace_rss;

/* One function around a return address: names that were put into the trace (hakmem-report --symbolize). */
typedef struct hak_trace_frame {
    const char *function; /* demangled; "": unknown */
    const char *file;     /* "": unknown */
    uint32_t line;        /* 0: unknown */
} hak_trace_frame;

/* All of them: the innermost inlined one first, the one that has the code last. */
typedef struct hak_trace_symbol {
    uint64_t pc;     /* return address */
    uint32_t module; /* number of the module that held it */
    uint32_t count;
    const hak_trace_frame *frames;
} hak_trace_symbol;

/* What went wrong, where, and what to do: filled by every function here that can fail. text is one line
 * without the file's name or a final newline, and safe to print. */
typedef struct hak_trace_error {
    char text[256];
    uint64_t offset_bytes; /* in the compressed file */
    uint64_t event_index;  /* events that are whole before the fault */
} hak_trace_error;

#endif
