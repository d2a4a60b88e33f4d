/* core_inbox_model.c: every interleaving of a small model of a heap's inbox (heap.h): two threads post blocks
 * into a ring of two slots, the owner takes and leaves, another thread takes the heap over. One step is one
 * access to shared memory, in program order: what reordering could do is answered by the orderings heap.h
 * names, not here. Checked in every state: a slot is filled only when it is empty, one thread takes at a
 * time, no block comes home twice. Checked in every final state: what was posted is home, or in the inbox of
 * a heap that has a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2, ACTORS = 4, BLOCKS = 5 };
enum { FREER_0, FREER_1, OWNER, NEXT_OWNER };

/* What an actor does next. Each case of step() is one access. */
typedef enum at {
    AT_REST, /* between the actions of its script */
    POST_READ_TAIL,
    POST_READ_HEAD,
    POST_CAS_TAIL,
    POST_FILL,
    POST_COUNT,
    POST_READ_STATE,
    POST_TRY_LOCK,
    POST_LOOK_AGAIN,
    TAKE_READ_POSTED,
    TAKE_READ_SLOT,
    TAKE_EMPTY_SLOT,
    TAKE_STORE_HEAD,
    LEAVE_LOCK,
    LEAVE_STATE,
    OVER_LOCK,
    OVER_STATE,
    UNLOCK,
    AT_END
} at;

typedef enum fault { WHOLE, FORGETS_TO_LOOK, HEAD_TOO_EARLY } fault;

typedef struct actor {
    uint8_t at, action; /* action: index in its script */
    uint8_t tail;       /* as read; then the slots that are its own */
    uint8_t filled;     /* of the blocks of this batch */
    uint8_t head;       /* while it takes */
    uint8_t block;      /* as read */
    uint8_t after;      /* where a take returns to */
} actor;

typedef struct world {
    actor actors[ACTORS];
    uint8_t slots[SLOTS];
    uint8_t head, tail, posted;
    uint8_t home;      /* bit per block */
    uint8_t elsewhere; /* found the inbox full: to the slab, which the other model is about */
    uint8_t abandoned, taking;
    uint8_t lock;     /* actor + 1 */
    uint8_t met_lock; /* somebody's try of the lock failed */
} world;

/* Batches of each freer: first block and how many; 0: the end. */
static const uint8_t batches[2][3][2] = {{{1, 2}, {3, 1}, {0, 0}}, {{4, 1}, {5, 1}, {0, 0}}};
static const uint8_t owner_script[] = {TAKE_READ_POSTED, TAKE_READ_POSTED, LEAVE_LOCK, AT_END};
static const uint8_t next_script[] = {OVER_LOCK, TAKE_READ_POSTED, AT_END};

static fault planted;
static uint32_t ends_abandoned, ends_taken_over;

#define HOLDS(cond)                                                                                          \
    if (!(cond))                                                                                             \
    return #cond

static void begin_take(actor *a, at after)
{
    a->after = (uint8_t)after;
    a->at = TAKE_READ_POSTED;
}

static const char *step_take(world *w, actor *a)
{
    switch ((at)a->at) {
    case TAKE_READ_POSTED:
        a->head = w->head; /* nobody else writes it */
        a->at = w->posted == a->head ? a->after : TAKE_READ_SLOT;
        if (a->at == TAKE_READ_SLOT) {
            HOLDS(!w->taking);
            w->taking = 1;
        }
        break;
    case TAKE_READ_SLOT:
        a->block = w->slots[a->head % SLOTS];
        a->at = a->block == 0 ? TAKE_STORE_HEAD : TAKE_EMPTY_SLOT;
        if (planted == HEAD_TOO_EARLY && a->block != 0)
            w->head = (uint8_t)(a->head + 1);
        break;
    case TAKE_EMPTY_SLOT:
        HOLDS(w->slots[a->head % SLOTS] == a->block);
        HOLDS((w->home >> a->block & 1) == 0);
        w->slots[a->head % SLOTS] = 0;
        w->home = (uint8_t)(w->home | 1u << a->block);
        a->head++;
        a->at = TAKE_READ_SLOT;
        break;
    default: /* TAKE_STORE_HEAD */
        w->head = a->head;
        w->taking = 0;
        a->at = a->after;
        break;
    }
    return NULL;
}

static const char *step_post(world *w, unsigned who, actor *a)
{
    const uint8_t *batch = batches[who][a->action - 1];
    switch ((at)a->at) {
    case POST_READ_TAIL:
        a->tail = w->tail;
        a->at = POST_READ_HEAD;
        break;
    case POST_READ_HEAD:
        a->at = a->tail + batch[1] - w->head > SLOTS ? AT_REST : POST_CAS_TAIL;
        if (a->at == AT_REST)
            for (unsigned i = 0; i < batch[1]; i++)
                w->elsewhere = (uint8_t)(w->elsewhere | 1u << (batch[0] + i));
        break;
    case POST_CAS_TAIL:
        if (w->tail != a->tail) {
            a->tail = w->tail;
            a->at = POST_READ_HEAD;
            break;
        }
        w->tail = (uint8_t)(w->tail + batch[1]);
        a->filled = 0;
        a->at = POST_FILL;
        break;
    case POST_FILL: {
        uint8_t *slot = &w->slots[(a->tail + a->filled) % SLOTS];
        HOLDS(*slot == 0);
        *slot = (uint8_t)(batch[0] + a->filled);
        a->at = ++a->filled < batch[1] ? POST_FILL : POST_COUNT;
        break;
    }
    case POST_COUNT:
        w->posted = (uint8_t)(w->posted + batch[1]);
        a->at = planted == FORGETS_TO_LOOK ? AT_REST : POST_READ_STATE;
        break;
    case POST_READ_STATE:
        a->at = w->abandoned ? POST_TRY_LOCK : AT_REST;
        break;
    case POST_TRY_LOCK:
        a->at = w->lock == 0 ? POST_LOOK_AGAIN : AT_REST;
        w->met_lock |= w->lock != 0;
        w->lock = w->lock == 0 ? (uint8_t)(who + 1) : w->lock;
        break;
    default: /* POST_LOOK_AGAIN */
        if (w->abandoned)
            begin_take(a, UNLOCK);
        else
            a->at = UNLOCK;
        break;
    }
    return NULL;
}

static const char *step_owner(world *w, unsigned who, actor *a)
{
    switch ((at)a->at) {
    case LEAVE_LOCK:
    case OVER_LOCK:
        if (w->lock != 0)
            break;
        w->lock = (uint8_t)(who + 1);
        a->at = a->at == LEAVE_LOCK ? LEAVE_STATE : OVER_STATE;
        break;
    case LEAVE_STATE:
        w->abandoned = 1;
        begin_take(a, UNLOCK);
        break;
    case OVER_STATE:
        if (!w->abandoned)
            a->action = sizeof next_script - 1; /* none is left: it makes a heap of its own */
        w->abandoned = 0;
        a->at = UNLOCK;
        break;
    default: /* UNLOCK */
        w->lock = 0;
        a->at = AT_REST;
        break;
    }
    return NULL;
}

static void next_action(actor *a, unsigned who)
{
    if (who == FREER_0 || who == FREER_1)
        a->at = batches[who][a->action][1] == 0 ? AT_END : POST_READ_TAIL;
    else
        a->at = (who == OWNER ? owner_script : next_script)[a->action];
    if (a->at == TAKE_READ_POSTED)
        begin_take(a, AT_REST);
    a->action++;
}

static const char *step(world *w, unsigned who)
{
    actor *a = &w->actors[who];
    const char *text;
    if (a->at >= TAKE_READ_POSTED && a->at <= TAKE_STORE_HEAD)
        text = step_take(w, a);
    else
        text = a->at < TAKE_READ_POSTED ? step_post(w, who, a) : step_owner(w, who, a);
    if (a->at == AT_REST)
        next_action(a, who);
    return text;
}

/* Where a try of the lock failed, the next free, adoption or new thread sees to what is left; where none did,
 * nothing may be left to a heap without a thread. */
static const char * final(world *w)
{
    ends_abandoned += w->abandoned;
    ends_taken_over += !w->abandoned;
    uint8_t left = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        if (w->slots[i] != 0)
            left = (uint8_t)(left | 1u << w->slots[i]);
    HOLDS((left & w->home) == 0);
    HOLDS((left | w->home | w->elsewhere) == (((1u << BLOCKS) - 1) << 1));
    HOLDS(w->posted == w->tail);
    HOLDS(left == 0 || w->posted != w->head); /* who looks next sees it */
    HOLDS(left == 0 || !w->abandoned || w->met_lock);
    HOLDS(w->lock == 0 && w->taking == 0);
    return NULL;
}

#include "explore.h"

static const char *explore_planted(fault plant)
{
    planted = plant;
    ends_abandoned = ends_taken_over = 0;
    world w = {.lock = 0};
    for (unsigned who = 0; who < ACTORS; who++)
        next_action(&w.actors[who], who);
    return explore_all(&w);
}

static void every_interleaving(void **state)
{
    (void)state;
    const char *text = explore_planted(WHOLE);
    if (text != NULL)
        fail_msg("%s", text);
    print_message("%u states, %u ends abandoned, %u taken over\n", explored.states, ends_abandoned,
                  ends_taken_over);
    assert_true(explored.states > 10000 && ends_abandoned > 10 && ends_taken_over > 10);
}

/* Faults that were planted are found: else the exploration proves nothing. */
static void slots_given_too_early(void **state)
{
    (void)state;
    assert_non_null(explore_planted(HEAD_TOO_EARLY));
}

static void state_not_read(void **state)
{
    (void)state;
    assert_non_null(explore_planted(FORGETS_TO_LOOK));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_interleaving),
                                       cmocka_unit_test(slots_given_too_early),
                                       cmocka_unit_test(state_not_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
