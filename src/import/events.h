/* events.h: what an importer says happened, made into events of a trace. Names blocks by whatever the file
 * names them by (an address, a number), threads likewise; counts all that does not fit together. One thread
 * per import. */
#ifndef HAK_IMPORT_EVENTS_H
#define HAK_IMPORT_EVENTS_H

#include "import/import.h"
#include "import/input.h"
#include "trace/slots.h"

typedef struct hak_import {
    hak_input in;
    unsigned flags; /* HAK_READER_PARTIAL */
    hak_import_summary *summary;
    hak_trace_error *error;
    /* What the events that follow are of; set by the importer. */
    uint32_t thread;  /* from hak_import_thread */
    uint32_t context; /* from hak_writer_context */
    uint64_t time_ns; /* where timed is set; else events are numbered */
    bool timed;
    /* So many events later the free may stand that made room for a block; 0: never. */
    uint32_t late_events;
    bool threads_unknown; /* one thread stands for all */
    /* Private to events.c. */
    hak_writer *writer;
    hak_slots *slots;
    uint64_t *sizes; /* by slot */
    size_t sizes_room;
    uint64_t live_bytes;
    uint64_t live_blocks;
    struct hak_import_ghost *ghosts; /* a queue, oldest first */
    size_t ghost_count;
    uint64_t last_ns;
    struct hak_import_thread *threads; /* hash table */
    size_t threads_mask, threads_used;
    uint64_t last_tid; /* of `thread` */
    bool any_thread;
    bool failed; /* out of memory */
} hak_import;

/* Starts writing. 0, or -1 with *error filled. timed: the file has times. program may be "". */
int hak_import_begin(hak_import *im, const char *to, const char *recorder, const hak_writer_options *options);
/* Writes tail and index when status is 0, else removes what was written. Returns the final status. */
int hak_import_end(hak_import *im, const char *to, int status);

/* Makes `tid` the thread of what follows; a new one when it is unknown, or has ended before. */
void hak_import_thread_slow(hak_import *im, uint64_t tid);
static inline void hak_import_thread(hak_import *im, uint64_t tid)
{
    if (HAK_UNLIKELY(tid != im->last_tid || !im->any_thread))
        hak_import_thread_slow(im, tid);
}
/* The present thread ends. */
void hak_import_thread_end(hak_import *im);

/* Space 0 … of process number `space` (see hak_import_space): addresses of different processes do not meet.
 */
static inline uint64_t hak_import_key(uint64_t address, uint32_t space)
{
    return address ^ (uint64_t)space << 48;
}

/* key 0: the call returned NULL. `align`: as asked for; 0 and what is no power of two: none. */
void hak_import_alloc(hak_import *im, hak_op op, uint64_t key, uint64_t size_bytes, uint64_t align);
void hak_import_free(hak_import *im, hak_op op, uint64_t key);
void hak_import_realloc(hak_import *im, uint64_t to, uint64_t from, uint64_t size_bytes);

/* A record that is broken: counted and left out (0), or without PARTIAL an error that names the line (-1). */
int hak_import_broken_line(hak_import *im, const char *what);
/* The same for formats without lines: nothing behind the fault can be trusted. With PARTIAL it is the end
 * (0). */
int hak_import_broken_record(hak_import *im, const char *what);
/* To be called at the end of a file: was it damaged or cut off? 0, or -1 with the error filled. */
int hak_import_input_end(hak_import *im);

/* A whole file of records of record_bytes each: take_one handles one, or says what is wrong with it. As
 * `run`. */
int hak_import_records(hak_import *im, size_t record_bytes,
                       const char *(*take_one)(hak_import *im, const uint8_t *record));

static inline void hak_import_ignore(hak_import *im)
{
    im->summary->ignored++;
}

#endif
