/* explore.h: runs a small model of a protocol through every interleaving of its actors. Included once by a
 * test, behind the model: ACTORS; AT_END; world, with actors[], each with `at`, and `lock`, never UINT8_MAX;
 * step(world, who), one access to shared memory by one actor; final(world), where all have ended, which may
 * change its copy. Both return NULL, or what does not hold. A state that was seen is not explored again. One
 * thread. */
#ifndef TESTS_EXPLORE_H
#define TESTS_EXPLORE_H

#define STATES_MAX (1u << 21)

static struct {
    world *seen; /* open addressing */
    uint32_t states, ends;
} explored;

static bool first_time(const world *w)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof *w; i++)
        hash = (hash ^ ((const uint8_t *)w)[i]) * UINT64_C(0x100000001b3);
    for (uint32_t index = (uint32_t)(hash >> 20);; index++) {
        world *slot = &explored.seen[index & (STATES_MAX - 1)];
        if (slot->lock == UINT8_MAX) {
            assert_true(++explored.states < STATES_MAX / 4 * 3);
            *slot = *w;
            return true;
        }
        if (memcmp(slot, w, sizeof *w) == 0)
            return false;
    }
}

/* Depth first; the stack is as deep as the longest run. */
static const char *explore(const world *w)
{
    bool ended = true;
    for (unsigned who = 0; who < ACTORS; who++) {
        if (w->actors[who].at == AT_END)
            continue;
        ended = false;
        world next = *w;
        const char *text = step(&next, who);
        if (text == NULL && first_time(&next))
            text = explore(&next);
        if (text != NULL)
            return text;
    }
    if (!ended)
        return NULL;
    explored.ends++;
    world last = *w;
    return final(&last);
}

/* From that state on; NULL, or the first fault found. */
static const char *explore_all(const world *first)
{
    explored.states = explored.ends = 0;
    explored.seen = malloc(STATES_MAX * sizeof *explored.seen);
    assert_non_null(explored.seen);
    for (uint32_t i = 0; i < STATES_MAX; i++)
        explored.seen[i].lock = UINT8_MAX;
    const char *text = explore(first);
    free(explored.seen);
    return text;
}

#endif
