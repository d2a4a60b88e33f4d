/* sink.h: payloads in, gzip members out, to "<path>.part" and in the end to <path>. The caller is one thread;
 * with `background` a thread of the sink's own compresses and writes. After a failure the file ends with the
 * last whole member and later payloads are counted as lost. */
#ifndef HAK_TRACE_SINK_H
#define HAK_TRACE_SINK_H

#include "trace/index.h"
#include "trace/trace_format.h"
#include "trace/writer.h"

typedef struct hak_sink hak_sink;

/* NULL with *error filled. */
hak_sink *hak_sink_open(const char *path, const hak_writer_options *options, hak_trace_error *error);

/* HAK_TRACE_MEMBER_MAX_BYTES to write the next payload into; waits for the background thread when it is
 * behind. */
uint8_t *hak_sink_buffer(hak_sink *sink);

/* Queues what was written into the last buffer. */
void hak_sink_submit(hak_sink *sink, size_t raw_bytes, uint32_t events);

/* Waits until all that was submitted is written or lost. */
void hak_sink_drain(hak_sink *sink);

bool hak_sink_stopped(hak_sink *sink);     /* a write failed or max_bytes is reached; any thread */
int hak_sink_failure(hak_sink *sink);      /* errno of the write that failed, 0: none; any thread */
uint64_t hak_sink_bytes(hak_sink *sink);   /* written so far */
uint64_t hak_sink_written(hak_sink *sink); /* events written so far */

/* After hak_sink_drain. */
const hak_index *hak_sink_index(hak_sink *sink);

/* Drains, writes the tail payload (also past max_bytes), renames, frees the sink. 0, or -1 with *error
 * filled: then the .part file stays. tail NULL or empty: nothing is written or renamed, -1. */
int hak_sink_finish(hak_sink *sink, const hak_bytes *tail, hak_trace_error *error);

#endif
