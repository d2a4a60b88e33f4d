/* import.h: recordings that other tools made, turned into hakmem traces. What a format cannot say, and what
 * in a file makes no sense (a free of an unknown block, two blocks at one address), is counted and told in a
 * summary, never guessed away. Every byte of a file is hostile. One import belongs to one thread; several may
 * run at once. Memory: a window of the file, and O(live blocks + threads + contexts); compressed files are
 * never held whole.
 */
#ifndef HAK_IMPORT_H
#define HAK_IMPORT_H

#include "trace/reader.h"
#include "trace/writer.h"

/* Counted while importing. Columns: field, JSON name, text for people ("" where the summary words it itself).
 */
#define HAK_IMPORT_COUNTS(X)                                                                                 \
    X(records, "records", "")                                                                                \
    X(events, "events", "")                                                                                  \
    X(allocations, "allocations", "")                                                                        \
    X(frees, "frees", "")                                                                                    \
    X(reallocs, "reallocs", "")                                                                              \
    X(threads, "threads", "")                                                                                \
    X(threads_ended, "threads_ended", "")                                                                    \
    X(processes, "processes", "")                                                                            \
    X(live_max_bytes, "live_max_bytes", "")                                                                  \
    X(live_max_blocks, "live_max_blocks", "")                                                                \
    X(live_end_blocks, "live_end_blocks", "")                                                                \
    X(null_frees, "null_frees", "frees of NULL")                                                             \
    X(zero_sizes, "zero_sizes", "requests for 0 bytes")                                                      \
    X(failed, "failed", "calls that had returned NULL")                                                      \
    X(orphan_frees, "orphan_frees", "frees of blocks the file does not know")                                \
    X(orphan_reallocs, "orphan_reallocs", "reallocs of blocks the file does not know")                       \
    X(duplicates, "duplicates", "blocks where one was live already (a free was put in before each)")         \
    X(inversions, "inversions", "blocks recorded before the free that made room for them")                   \
    X(lost_identities, "lost_identities", "frees that name a kind of block only (the newest was taken)")     \
    X(times_back, "times_back", "times that ran backwards (set to the last one)")                            \
    X(ignored, "ignored", "records that are no allocation (left out)")                                       \
    X(broken, "broken", "broken records (left out)")

typedef struct hak_import_summary {
    const char *format;    /* name of a hak_import_format */
    const char *limits;    /* what the format has no place for */
    uint64_t first_broken; /* number of the first broken record, from 1; 0: none */
    bool cut_off;          /* the file ends, or breaks, in the middle: with PARTIAL only */
    char note[160];        /* what else is to be said; "" */
#define X(field, name, text) uint64_t field;
    HAK_IMPORT_COUNTS(X)
#undef X
} hak_import_summary;

typedef struct hak_import_format {
    const char *name; /* for --format */
    const char *what;
} hak_import_format;

/* All formats, in the order in which they are tried; constants, NULL from the count on. Any thread. */
size_t hak_import_format_count(void);
const hak_import_format *hak_import_format_at(size_t index);

/* Does the file begin as a trace of hakmem's own? True too where it cannot be opened: the trace reader says
 * why. */
bool hak_import_is_trace(const char *path);

/* Writes `from` as a trace to `to`. format NULL: told from the contents. flags: HAK_READER_PARTIAL leaves out
 * what is broken. 0, or -1 with *error filled: its text names the line or record. */
int hak_import_file(const char *from, const char *to, const char *format, unsigned flags,
                    const hak_writer_options *options, hak_import_summary *summary, hak_trace_error *error);

/* Opens a trace, or imports into a temporary file and opens that; summary->format is NULL for a trace. NULL
 * with *error filled. */
hak_reader *hak_import_open(const char *path, const char *format, unsigned flags, hak_import_summary *summary,
                            hak_trace_error *error);

#endif
