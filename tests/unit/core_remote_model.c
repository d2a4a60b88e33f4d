/* core_remote_model.c: every interleaving of a small model of the remote-free protocol (heap.h): two threads
 * free blocks of two slabs while the owner refills, drains and leaves, and another thread adopts. One step is
 * one access to shared memory, in program order: what reordering could do is answered by the orderings heap.h
 * names, not here. Checked in every state: a slab is on at most one pending stack or in one pair of hands;
 * none is given back to the pool while somebody may still touch it. Checked in every final state: no block is
 * lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SLABS = 2, HEAPS = 2, ACTORS = 4, NONE = 7 };
enum { FREER_0, FREER_1, OWNER, ADOPTER };

/* What an actor does next. Each case of step() is one access. */
typedef enum at {
    AT_REST, /* between the actions of its script */
    FREE_READ_WORD,
    FREE_CAS_WORD,
    FREE_READ_OWNER,
    FREE_READ_TOP,
    FREE_CAS_TOP,
    FREE_READ_STATE,
    FREE_TRY_LOCK,
    FREE_LOOK_AGAIN,
    DRAIN_TAKE_ALL,
    DRAIN_READ_OWNER,
    DRAIN_EMPTY_WORD,
    DRAIN_READ_TOP,
    DRAIN_CAS_TOP,
    DRAIN_DONE,
    REFILL_READ_WORD,
    REFILL_CAS_WORD,
    LEAVE_LOCK,
    LEAVE_STATE,
    LEAVE_UNLOCK,
    ADOPT_LOCK,
    ADOPT_LOOK,
    ADOPT_OWN,
    ADOPT_UNLOCK,
    AT_END
} at;

typedef struct actor {
    uint8_t at, action; /* action: index in its script */
    uint8_t slab;       /* in hand */
    uint8_t word, top;  /* as read */
    uint8_t heap;       /* that it drains or pushes to */
    uint8_t rest;       /* drained chain still to be handled */
    uint8_t after;      /* where the drain returns to */
} actor;

/* remote: number of blocks << 1 | queued. */
typedef struct world {
    actor actors[ACTORS];
    uint8_t remote[SLABS], next[SLABS], owner[SLABS], used[SLABS], given[SLABS];
    uint8_t hands[SLABS]; /* that hold the queued mark: who set it, who drains */
    uint8_t pending[HEAPS], abandoned[HEAPS];
    uint8_t lock; /* actor + 1 */
} world;

/* Blocks that each freer frees, in this order. */
static const uint8_t frees[2][3] = {{0, 1, NONE}, {0, 0, NONE}};
static const uint8_t used_at_start[SLABS] = {3, 1};
/* The owner's and the adopter's scripts. */
static const uint8_t owner_script[] = {REFILL_READ_WORD, DRAIN_TAKE_ALL, REFILL_READ_WORD, LEAVE_LOCK,
                                       AT_END};
static const uint8_t adopter_script[] = {ADOPT_LOCK, DRAIN_TAKE_ALL, ADOPT_LOCK, DRAIN_TAKE_ALL, AT_END};

static bool broken; /* planted: queued is cleared by a refill, too */

static bool on_a_stack(const world *w, unsigned slab)
{
    for (unsigned h = 0; h < HEAPS; h++)
        for (unsigned s = w->pending[h]; s != NONE; s = w->next[s])
            if (s == slab)
                return true;
    return false;
}

#define HOLDS(cond)                                                                                          \
    if (!(cond))                                                                                             \
    return #cond

/* Nobody will touch it: nothing of it is queued or in anybody's hands. */
static const char *give(world *w, unsigned slab)
{
    HOLDS(w->remote[slab] == 0);
    HOLDS(!on_a_stack(w, slab));
    HOLDS(w->hands[slab] == 0);
    w->given[slab] = 1;
    return NULL;
}

/* Blocks came home to heap `h`. */
static const char *home(world *w, unsigned slab, unsigned count)
{
    HOLDS(w->used[slab] >= count);
    w->used[slab] = (uint8_t)(w->used[slab] - count);
    return w->used[slab] == 0 && (w->remote[slab] & 1) == 0 ? give(w, slab) : NULL;
}

static void begin_drain(actor *a, unsigned heap, at after)
{
    a->heap = (uint8_t)heap;
    a->after = (uint8_t)after;
    a->at = DRAIN_TAKE_ALL;
}

static const char *push(world *w, actor *a, at again, at done)
{
    if (w->pending[a->heap] != a->top) {
        a->at = (uint8_t)again;
        return NULL;
    }
    HOLDS(!on_a_stack(w, a->slab));
    HOLDS(!w->given[a->slab]);
    w->next[a->slab] = a->top;
    w->pending[a->heap] = a->slab;
    w->hands[a->slab]--;
    a->at = (uint8_t)done;
    return NULL;
}

static const char *step_free(world *w, unsigned who, actor *a)
{
    switch ((at)a->at) {
    case FREE_READ_WORD:
        HOLDS(!w->given[a->slab]);
        a->word = w->remote[a->slab];
        a->at = FREE_CAS_WORD;
        break;
    case FREE_CAS_WORD:
        if (w->remote[a->slab] != a->word) {
            a->word = w->remote[a->slab];
            break;
        }
        w->remote[a->slab] = (uint8_t)((a->word + 2) | 1);
        w->hands[a->slab] = (uint8_t)(w->hands[a->slab] + ((a->word & 1) == 0));
        HOLDS(w->hands[a->slab] <= 1);
        a->at = (a->word & 1) == 0 ? FREE_READ_OWNER : AT_REST;
        break;
    case FREE_READ_OWNER:
        a->heap = w->owner[a->slab];
        a->at = FREE_READ_TOP;
        break;
    case FREE_READ_TOP:
        a->top = w->pending[a->heap];
        a->at = FREE_CAS_TOP;
        break;
    case FREE_CAS_TOP:
        return push(w, a, FREE_READ_TOP, FREE_READ_STATE);
    case FREE_READ_STATE:
        a->at = w->abandoned[a->heap] ? FREE_TRY_LOCK : AT_REST;
        break;
    case FREE_TRY_LOCK:
        a->at = w->lock == 0 ? FREE_LOOK_AGAIN : AT_REST;
        w->lock = w->lock == 0 ? (uint8_t)(who + 1) : w->lock;
        break;
    default: /* FREE_LOOK_AGAIN */
        if (w->abandoned[a->heap])
            begin_drain(a, a->heap, AT_REST);
        else
            w->lock = 0, a->at = AT_REST;
        break;
    }
    return NULL;
}

static const char *step_drain(world *w, unsigned who, actor *a)
{
    switch ((at)a->at) {
    case DRAIN_TAKE_ALL:
        a->rest = w->pending[a->heap];
        w->pending[a->heap] = NONE;
        for (unsigned s = a->rest; s != NONE; s = w->next[s]) {
            w->hands[s]++;
            HOLDS(w->hands[s] == 1);
        }
        a->at = DRAIN_READ_OWNER;
        break;
    case DRAIN_READ_OWNER:
        if (a->rest == NONE) {
            a->at = DRAIN_DONE;
            break;
        }
        a->slab = a->rest;
        a->rest = w->next[a->slab];
        HOLDS(!w->given[a->slab]);
        a->at = w->owner[a->slab] == a->heap ? DRAIN_EMPTY_WORD : DRAIN_READ_TOP;
        break;
    case DRAIN_EMPTY_WORD: {
        unsigned count = w->remote[a->slab] >> 1;
        w->remote[a->slab] = 0;
        w->hands[a->slab]--;
        a->at = DRAIN_READ_OWNER;
        return home(w, a->slab, count);
    }
    case DRAIN_READ_TOP: /* adopted meanwhile: hand it on */
        a->top = w->pending[w->owner[a->slab]];
        a->at = DRAIN_CAS_TOP;
        break;
    case DRAIN_CAS_TOP: {
        uint8_t mine = a->heap;
        a->heap = w->owner[a->slab];
        const char *fault = push(w, a, DRAIN_READ_TOP, DRAIN_READ_OWNER);
        a->heap = mine;
        return fault;
    }
    default: /* DRAIN_DONE: whoever drains another's heap holds the lock for it */
        if (w->lock == who + 1 && a->after == AT_REST)
            w->lock = 0;
        a->at = a->after;
        break;
    }
    return NULL;
}

static const char *step_owner(world *w, unsigned who, actor *a)
{
    switch ((at)a->at) {
    case REFILL_READ_WORD:
        a->slab = 0;
        if (w->given[0] || w->owner[0] != 0) {
            a->at = AT_REST;
            break;
        }
        a->word = w->remote[0];
        a->at = a->word >> 1 == 0 ? AT_REST : REFILL_CAS_WORD;
        break;
    case REFILL_CAS_WORD:
        if (w->remote[0] != a->word) {
            a->word = w->remote[0];
            break;
        }
        w->remote[0] = broken ? 0 : a->word & 1;
        a->at = AT_REST;
        return home(w, 0, a->word >> 1);
    case LEAVE_LOCK:
        if (w->lock == 0) {
            w->lock = (uint8_t)(who + 1);
            a->at = LEAVE_STATE;
        }
        break;
    case LEAVE_STATE:
        w->abandoned[0] = 1;
        begin_drain(a, 0, LEAVE_UNLOCK);
        break;
    default: /* LEAVE_UNLOCK */
        w->lock = 0;
        a->at = AT_REST;
        break;
    }
    return NULL;
}

static const char *step_adopter(world *w, unsigned who, actor *a)
{
    switch ((at)a->at) {
    case ADOPT_LOCK: /* a try: gives up when somebody has it */
        a->at = w->lock == 0 ? ADOPT_LOOK : AT_REST;
        w->lock = w->lock == 0 ? (uint8_t)(who + 1) : w->lock;
        break;
    case ADOPT_LOOK:
        if (w->abandoned[0])
            begin_drain(a, 0, ADOPT_OWN);
        else
            a->at = ADOPT_UNLOCK;
        break;
    case ADOPT_OWN: /* a slab with a block at home */
        for (unsigned s = 0; s < SLABS; s++)
            if (!w->given[s] && w->owner[s] == 0 && w->used[s] < used_at_start[s]) {
                w->owner[s] = 1;
                break;
            }
        a->at = ADOPT_UNLOCK;
        break;
    default: /* ADOPT_UNLOCK */
        w->lock = 0;
        a->at = AT_REST;
        break;
    }
    return NULL;
}

static void next_action(actor *a, unsigned who)
{
    if (who == FREER_0 || who == FREER_1) {
        a->slab = frees[who][a->action];
        a->at = a->slab == NONE ? AT_END : FREE_READ_WORD;
    } else {
        a->at = (who == OWNER ? owner_script : adopter_script)[a->action];
        if (a->at == DRAIN_TAKE_ALL)
            begin_drain(a, who == OWNER ? 0 : 1, AT_REST);
    }
    a->action++;
}

/* Drains both heaps to the end, as the next calls would. */
static const char * final(world *w)
{
    for (unsigned round = 0; round < 4; round++) {
        actor *a = &w->actors[OWNER];
        begin_drain(a, round % HEAPS, AT_END);
        while (a->at != AT_END) {
            const char *fault = step_drain(w, OWNER, a);
            if (fault != NULL)
                return fault;
        }
    }
    HOLDS(w->used[0] == 0 && w->used[1] == 0);
    HOLDS(w->given[0] && w->given[1]);
    return NULL;
}

static const char *step(world *w, unsigned who)
{
    actor *a = &w->actors[who];
    const char *fault;
    if (a->at >= DRAIN_TAKE_ALL && a->at <= DRAIN_DONE)
        fault = step_drain(w, who, a);
    else
        fault = who == OWNER     ? step_owner(w, who, a)
                : who == ADOPTER ? step_adopter(w, who, a)
                                 : step_free(w, who, a);
    if (a->at == AT_REST)
        next_action(a, who);
    return fault;
}

#include "explore.h"

static const char *explore_planted(bool plant)
{
    broken = plant;
    world w = {.pending = {NONE, NONE}};
    memcpy(w.used, used_at_start, sizeof w.used);
    for (unsigned who = 0; who < ACTORS; who++)
        next_action(&w.actors[who], who);
    return explore_all(&w);
}

static void every_interleaving(void **state)
{
    (void)state;
    const char *fault = explore_planted(false);
    if (fault != NULL)
        fail_msg("%s", fault);
    print_message("%u states, %u ends\n", explored.states, explored.ends);
    assert_true(explored.states > 10000 && explored.ends > 10);
}

/* A fault that was planted is found: else the exploration proves nothing. */
static void planted_fault(void **state)
{
    (void)state;
    assert_non_null(explore_planted(true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_interleaving), cmocka_unit_test(planted_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
