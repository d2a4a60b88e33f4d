/* ring.h: the memory that a recorded program and its collector share, and the records in it.
 *
 * One segment per recorded process: a header, a table of ring descriptions, then the rings, one per thread,
 * each with one producer (the thread) and one consumer (the collector). The program maps the first rings at
 * start and further ones as threads come; the collector maps everything. Neither side believes the other: the
 * collector checks every number it reads, the program never waits for a collector whose heart has stopped.
 *
 * Order. A producer sets HAK_RING_INSIDE in `head` before it takes a stamp and clears it by publishing the
 * new head, so a collector that sees a ring outside, some time after the moment T, has seen everything
 * stamped up to T. "Some time" (HAK_RING_SLACK_TICKS) covers the store buffer; it replaces a fence per event.
 * Frees are stamped and published before they happen, allocations after they have happened, a realloc
 * writes both. No fence holds an allocation's stamp back until the block is really there, so it may be a
 * little earlier than the stamp of another thread's free that made the block: the collector puts that right
 * (collect_session.c), which costs nothing where it does not happen. */
#ifndef HAK_TRACE_RING_H
#define HAK_TRACE_RING_H

#include "core/base/os.h"
#include "core/base/types.h"

#define HAK_SHARE_MAGIC       UINT64_C(0x48414b5348415231) /* "HAKSHAR1" */
#define HAK_RING_COUNT        4096                         /* threads at one time; more are counted as lost */
#define HAK_RING_BYTES        (512 * HAK_KIB)
#define HAK_RING_WORDS        (HAK_RING_BYTES / 8)
#define HAK_RING_CHUNK        16 /* rings that are mapped together in the program */
#define HAK_RING_SLACK_TICKS  UINT64_C(100000)
#define HAK_RING_INSIDE       UINT64_C(1) /* in head */
#define HAK_STAMP_BITS        32          /* in an event; HAK_RECORD_TIME tells the others */
#define HAK_STACK_ID_BITS     22
#define HAK_STACK_IDS_MAX     ((uint32_t)1 << 18) /* of one thread at one time */
#define HAK_KIND_BITS         6
#define HAK_ADDRESS_BITS      48
#define HAK_ADDRESS_MASK      ((UINT64_C(1) << HAK_ADDRESS_BITS) - 1)
#define HAK_SMALL_SIZE_MAX    UINT64_C(0xffff) /* sizes up to here fit beside the address */
#define HAK_WIDE_SIZE_MASK    ((UINT64_C(1) << 56) - 1)
#define HAK_RECORD_DEPTH_MAX  1024
#define HAK_RECORD_TIME_WORDS 2
#define HAK_MODULE_PATH_MAX   4000

/* ENDING: its thread has said THREAD_END but may still free what the C library kept for it; the collector
 * sees when it is gone. ENDED: nothing follows. */
typedef enum hak_ring_state {
    HAK_RING_FREE,
    HAK_RING_ACTIVE,
    HAK_RING_ENDING,
    HAK_RING_ENDED
} hak_ring_state;

/* What a thread writes, what the collector writes, and what both do, on lines of their own. */
typedef struct hak_ring {
    alignas(HAK_CACHE_LINE) _Atomic uint64_t head; /* words ever written, times two, plus HAK_RING_INSIDE */
    _Atomic uint64_t
        limit; /* head may grow up to here before the producer looks; 0 from a collector that stops */
    _Atomic uint64_t lost; /* events that were not appended */
    _Atomic uint64_t walks_checked;
    _Atomic uint64_t walks_wrong;
    _Atomic uint64_t walks_dynamic;
    _Atomic uint32_t waiting; /* the producer waits for room */

    alignas(HAK_CACHE_LINE) _Atomic uint64_t tail; /* words ever read */
    _Atomic uint32_t room; /* futex: changes when tail has moved for a waiting producer */

    alignas(HAK_CACHE_LINE) _Atomic uint32_t state; /* hak_ring_state */
    uint32_t tid;
    char name[16];
} hak_ring;

typedef struct hak_share {
    uint64_t magic;
    uint64_t size_bytes;
    uint64_t tsc_base;
    uint32_t depth;        /* frames kept per context, 1 … HAK_RECORD_DEPTH_MAX */
    uint32_t drop;         /* a full ring drops instead of waiting */
    uint32_t clock;        /* hak_clock_kind: TSC or COUNTER */
    uint64_t sample_bytes; /* mean of the sampling interval; 0: every call */
    uint32_t same_ids;     /* the collector sees by thread ids who is alive */
    alignas(HAK_CACHE_LINE) _Atomic uint64_t counter; /* the clock, where the TSC is not one */
    alignas(HAK_CACHE_LINE) _Atomic uint64_t beat;    /* the collector's heart: grows while it lives */
    _Atomic uint32_t stopped;      /* hak_trace_end: recording has ended, by whichever side */
    _Atomic uint32_t restarts;     /* grows when the process is to join anew */
    _Atomic uint32_t rings_high;   /* rings ever used are 0 … this number - 1 */
    _Atomic uint64_t lost;         /* events of threads that found no ring */
    _Atomic uint32_t rings_wanted; /* a thread waits for a ring */
    _Atomic uint32_t rings_looked; /* times that all rings were looked at for dead threads */
    hak_ring rings[HAK_RING_COUNT];
} hak_share;

#define HAK_SHARE_HEAD_BYTES ((sizeof(hak_share) + HAK_OS_PAGE_BYTES - 1) & ~(HAK_OS_PAGE_BYTES - 1))
#define HAK_SHARE_BYTES      (HAK_SHARE_HEAD_BYTES + (size_t)HAK_RING_COUNT * HAK_RING_BYTES)

/* Records are words of 64 bits. Word 0 of each, from the low end: stamp (32 bits), stack (22), kind (6), form
 * (4). Kinds below HAK_OP_COUNT are events:
 *   word 1   address, and the size where it is small
 *   [WIDE]   size; log2 of the alignment (8 bits), flags
 *   [STACK]  count of frames, and how many of the outermost ones (high half) are those of the stack that was
 *            told before it in this ring; then the return addresses of the others, innermost first: from here
 *            on the event's stack stands for them in this ring; stack 0 stands for nothing */
typedef enum hak_record_kind {
    HAK_RECORD_PAD = 0x20,    /* skip to the start of the ring */
    HAK_RECORD_TIME,          /* word 1: a full stamp; its high half is that of the events that follow */
    HAK_RECORD_THREAD_START,  /* word 1: tid, and 1 << 32 when the thread had ended already */
    HAK_RECORD_THREAD_END,    /* the name is in the ring's description */
    HAK_RECORD_REALLOC_BEGIN, /* word 1: address of the old block; the realloc event follows in this ring */
    HAK_RECORD_MODULE_LOAD,   /* start, end, bias, path bytes | id bytes << 32, id (3 words), path in whole
                                 words */
    HAK_RECORD_MODULE_UNLOAD, /* start */
    HAK_RECORD_ROW,           /* pc, row */
} hak_record_kind;

enum { /* forms */
       HAK_RECORD_STACK = 1,
       HAK_RECORD_WIDE = 2,
       HAK_RECORD_MOVED_FROM = 4, /* realloc: a REALLOC_BEGIN precedes; without it the old pointer was NULL */
};

enum { /* flags, in the second wide word */
       HAK_RECORD_FAILED = 1 << 8,
       HAK_RECORD_NOTHROW = 1 << 9,
};

#define HAK_RECORD_MODULE_WORDS 8 /* before the path */

HAK_INLINE uint64_t hak_record_word0(uint64_t stamp, unsigned kind, unsigned form, uint32_t stack)
{
    return (uint32_t)stamp | (uint64_t)stack << HAK_STAMP_BITS |
           (uint64_t)(kind | form << HAK_KIND_BITS) << (HAK_STAMP_BITS + HAK_STACK_ID_BITS);
}

HAK_INLINE uint64_t hak_share_stamp(hak_share *share)
{
    if (HAK_LIKELY(share->clock == 0))
        return hak_tsc() - share->tsc_base;
    return atomic_fetch_add_explicit(&share->counter, 1, memory_order_seq_cst) + 1;
}

/* Rendezvous: a new process connects to the collector's abstract Unix socket, says hello, and receives the
 * segment. */
#define HAK_HELLO_MAGIC       UINT64_C(0x48414b48454c4c31) /* "HAKHELL1" */
#define HAK_SOCKET_NAME_BYTES 48                           /* with the final NUL */
#define HAK_ENV_SOCKET        "HAKMEM_TRACE_SOCKET"
#define HAK_SOCKET_PREFIX     "hakmem-trace."
#define HAK_ENV_COLLECTOR     "HAKMEM_TRACE_COLLECTOR"

typedef struct hak_hello {
    uint64_t magic;
    uint64_t parent_session; /* of the process this one was forked from, 0: exec'ed or first */
    uint64_t rings_mapped;   /* what the program is going to map, for the RSS correction */
    uint32_t own_pid;        /* as the program sees itself; the kernel tells the collector its own view */
    uint32_t reserved;
} hak_hello;

/* hakmem-trace --pid: the same socket, another greeting. The answer is a hak_collect_message. */
#define HAK_COMMAND_MAGIC UINT64_C(0x48414b434d444e31) /* "HAKCMDN1" */

typedef enum hak_command_kind { HAK_COMMAND_STOP = 1, HAK_COMMAND_START } hak_command_kind;

typedef struct hak_command {
    uint64_t magic;
    uint32_t kind;
    uint32_t pid;
    uint32_t child; /* not the process: one of those that come from it, that has not been told yet */
    uint32_t reserved;
} hak_command;

typedef struct hak_welcome {
    uint64_t magic;
    uint64_t session; /* 0: not recorded; no descriptor comes with it */
} hak_welcome;

#endif
