/* feed.c: see feed.h. Never prints. A ring of batches between one thread that reads and one that asks. */
#include "replay/feed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "trace/grow.h"

enum { BATCHES = 4 };

typedef struct slot {
    hak_feed_batch batch;
    hak_event *events; /* own copy: the reader's array is only good until it reads on */
    size_t room;
    int got; /* what the reader said */
    hak_trace_error error;
} slot;

struct hak_feed {
    hak_reader *reader;
    pthread_t thread;
    bool threaded;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    slot slots[BATCHES];
    unsigned filled; /* slots ever filled; under the lock, as all below */
    unsigned taken;  /* slots ever given back */
    bool holding;    /* the caller has the batch of slot `taken` */
    bool stopped;    /* no more is wanted */
};

/* Fills one slot from the reader; the slot is the filler's own. */
static void fill(hak_feed *feed, slot *to)
{
    const hak_event *events;
    hak_feed_batch *batch = &to->batch;
    to->got = hak_reader_next(feed->reader, &events, &batch->count, &to->error);
    batch->events = events;
    hak_reader_nodes(feed->reader, &batch->nodes);
    hak_reader_threads(feed->reader, &batch->threads);
    batch->slots = hak_reader_slots(feed->reader);
}

static bool copy_events(slot *of)
{
    if (of->got != 1 || of->batch.count == 0)
        return true;
    if (!HAK_GROW(&of->events, &of->room, of->batch.count))
        return false;
    memcpy(of->events, of->batch.events, of->batch.count * sizeof *of->events);
    of->batch.events = of->events;
    return true;
}

/* False once nobody wants more. */
static bool wait_for_room(hak_feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    while (!feed->stopped && feed->filled - feed->taken == BATCHES)
        pthread_cond_wait(&feed->changed, &feed->lock);
    bool wanted = !feed->stopped;
    pthread_mutex_unlock(&feed->lock);
    return wanted;
}

static void *read_ahead(void *argument)
{
    hak_feed *feed = argument;
    for (int got = 1; got == 1 && wait_for_room(feed);) {
        slot *to = &feed->slots[feed->filled % BATCHES]; /* only this thread changes `filled` */
        fill(feed, to);
        if (!copy_events(to)) {
            to->got = -1;
            strcpy(to->error.text, "out of memory");
        }
        got = to->got;
        pthread_mutex_lock(&feed->lock);
        feed->filled++;
        pthread_cond_signal(&feed->changed);
        pthread_mutex_unlock(&feed->lock);
    }
    return NULL;
}

hak_feed *hak_feed_start(hak_reader *reader)
{
    hak_feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL)
        return NULL;
    feed->reader = reader;
    pthread_mutex_init(&feed->lock, NULL);
    pthread_cond_init(&feed->changed, NULL);
    feed->threaded = pthread_create(&feed->thread, NULL, read_ahead, feed) == 0;
    return feed;
}

int hak_feed_next(hak_feed *feed, hak_feed_batch *batch, hak_trace_error *error)
{
    slot *from = &feed->slots[0];
    if (feed->threaded) {
        pthread_mutex_lock(&feed->lock);
        if (feed->holding)
            feed->taken++;
        feed->holding = true;
        pthread_cond_signal(&feed->changed);
        while (feed->filled == feed->taken)
            pthread_cond_wait(&feed->changed, &feed->lock);
        from = &feed->slots[feed->taken % BATCHES];
        pthread_mutex_unlock(&feed->lock);
    } else {
        fill(feed, from);
    }
    *batch = from->batch;
    if (from->got < 0 && error != NULL)
        *error = from->error;
    return from->got;
}

void hak_feed_end(hak_feed *feed)
{
    if (feed == NULL)
        return;
    if (feed->threaded) {
        pthread_mutex_lock(&feed->lock);
        feed->stopped = true;
        pthread_cond_signal(&feed->changed);
        pthread_mutex_unlock(&feed->lock);
        pthread_join(feed->thread, NULL);
    }
    for (unsigned i = 0; i < BATCHES; i++)
        free(feed->slots[i].events);
    pthread_cond_destroy(&feed->changed);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}
