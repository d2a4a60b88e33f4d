/* feed.h: a reader's batches, read ahead by a thread of its own, so that decoding and what is done with the
 * events go on at the same time. Between start and end the reader belongs to the feed: nobody else touches it
 * or its tables. The feed itself belongs to one thread. Memory: a few batches. */
#ifndef HAK_REPLAY_FEED_H
#define HAK_REPLAY_FEED_H

#include "trace/reader.h"

typedef struct hak_feed hak_feed;

/* A batch and how large the reader's tables were when it had been read: its events refer to nothing beyond.
 */
typedef struct hak_feed_batch {
    const hak_event *events; /* until the next call */
    size_t count;
    uint32_t nodes;
    uint32_t threads;
    uint32_t slots;
} hak_feed_batch;

/* NULL: no memory. Where no thread can be had, hak_feed_next reads by itself. */
hak_feed *hak_feed_start(hak_reader *reader);

/* As hak_reader_next: 1, 0 at the end, -1 with *error filled. */
int hak_feed_next(hak_feed *feed, hak_feed_batch *batch, hak_trace_error *error);

/* Stops reading ahead; from then on the reader is the caller's again. */
void hak_feed_end(hak_feed *feed);

#endif
