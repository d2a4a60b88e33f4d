/* trainer_slabs.c: see trainer_slabs.h. The models have slabs of SLAB_BYTES, fill the one that had room last,
 * as the allocator does, and give back an empty one at once. Nothing else of the allocator is modelled: its
 * caches are the same on both sides. No printing. */
#include "replay/trainer_slabs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/trainer_classes.h"

#define SLAB_BYTES   65536
#define SLAB_MIN     8 /* blocks; larger classes have larger slabs */
#define PLACES       3 /* hak_site_lifetime */
#define NO_SLAB      UINT32_MAX
#define PEAK_PERCENT 1 /* the classes are copied when the sum has grown by so much */

typedef struct slab {
    uint32_t used, capacity;
    uint32_t previous, next; /* with room, same class and place */
    uint16_t class_index;
    uint8_t place;
    bool linked;
} slab;

typedef struct model {
    slab *slabs;
    uint32_t count, room;
    uint32_t unused; /* list of empty entries, by next */
    uint32_t with_room[HAK_POLICY_MAX_CLASSES][PLACES];
    uint64_t bytes[HAK_POLICY_MAX_CLASSES];
    double sums[HAK_POLICY_MAX_CLASSES]; /* bytes times allocated bytes they stood for */
    uint64_t since[HAK_POLICY_MAX_CLASSES];
    uint64_t peaks[HAK_POLICY_MAX_CLASSES];
    uint64_t all_bytes;
} model;

typedef struct block {
    uint32_t slabs[2];  /* mixed, apart */
    uint64_t big_bytes; /* of a block that is not small */
    bool live;
} block;

typedef struct simulation {
    uint32_t ladder[HAK_POLICY_MAX_CLASSES];
    uint32_t classes;
    uint8_t class_of[HAK_CELLS];
    model models[2];
    block *blocks;
    uint32_t block_room;
    const uint8_t *lifetimes;
    uint32_t context_count;
    uint64_t clock_bytes, big_bytes, copied_bytes;
    double big_sum;
    uint64_t big_since;
} simulation;

static uint64_t slab_bytes(const simulation *s, unsigned class_index)
{
    uint64_t least = (uint64_t)s->ladder[class_index] * SLAB_MIN;
    return least > SLAB_BYTES ? (least + SLAB_BYTES - 1) / SLAB_BYTES * SLAB_BYTES : SLAB_BYTES;
}

static void link_slab(model *m, uint32_t index)
{
    slab *fresh = &m->slabs[index];
    uint32_t *first = &m->with_room[fresh->class_index][fresh->place];
    fresh->previous = NO_SLAB;
    fresh->next = *first;
    fresh->linked = true;
    if (*first != NO_SLAB)
        m->slabs[*first].previous = index;
    *first = index;
}

static void unlink_slab(model *m, uint32_t index)
{
    slab *old = &m->slabs[index];
    if (old->previous != NO_SLAB)
        m->slabs[old->previous].next = old->next;
    else
        m->with_room[old->class_index][old->place] = old->next;
    if (old->next != NO_SLAB)
        m->slabs[old->next].previous = old->previous;
    old->linked = false;
}

static void account(const simulation *s, model *m, unsigned class_index)
{
    m->sums[class_index] += (double)m->bytes[class_index] * (double)(s->clock_bytes - m->since[class_index]);
    m->since[class_index] = s->clock_bytes;
}

static uint32_t slab_new(const simulation *s, model *m, unsigned class_index, unsigned place)
{
    uint32_t index = m->unused;
    if (index != NO_SLAB) {
        m->unused = m->slabs[index].next;
    } else {
        if (m->count == m->room) {
            uint32_t room = m->room == 0 ? 256 : 2 * m->room;
            slab *slabs = realloc(m->slabs, room * sizeof *slabs);
            if (slabs == NULL)
                return NO_SLAB;
            m->slabs = slabs;
            m->room = room;
        }
        index = m->count++;
    }
    m->slabs[index] = (slab){.capacity = (uint32_t)(slab_bytes(s, class_index) / s->ladder[class_index]),
                             .class_index = (uint16_t)class_index,
                             .place = (uint8_t)place};
    account(s, m, class_index);
    m->bytes[class_index] += slab_bytes(s, class_index);
    m->all_bytes += slab_bytes(s, class_index);
    link_slab(m, index);
    return index;
}

static uint32_t take(const simulation *s, model *m, unsigned class_index, unsigned place)
{
    uint32_t index = m->with_room[class_index][place];
    if (index == NO_SLAB && (index = slab_new(s, m, class_index, place)) == NO_SLAB)
        return NO_SLAB;
    if (++m->slabs[index].used == m->slabs[index].capacity)
        unlink_slab(m, index);
    return index;
}

static void give(const simulation *s, model *m, uint32_t index)
{
    slab *home = &m->slabs[index];
    if (!home->linked)
        link_slab(m, index);
    if (--home->used != 0)
        return;
    unlink_slab(m, index);
    account(s, m, home->class_index);
    m->bytes[home->class_index] -= slab_bytes(s, home->class_index);
    m->all_bytes -= slab_bytes(s, home->class_index);
    home->next = m->unused;
    m->unused = index;
}

static void copy_peak(simulation *s)
{
    uint64_t all = s->models[0].all_bytes + s->big_bytes;
    if (all <= s->copied_bytes + s->copied_bytes * PEAK_PERCENT / 100)
        return;
    s->copied_bytes = all;
    for (unsigned k = 0; k < 2; k++)
        memcpy(s->models[k].peaks, s->models[k].bytes, sizeof s->models[k].peaks);
}

static void account_big(simulation *s)
{
    s->big_sum += (double)s->big_bytes * (double)(s->clock_bytes - s->big_since);
    s->big_since = s->clock_bytes;
}

static bool birth(simulation *s, const hak_event *e)
{
    if (e->slot >= s->block_room) {
        uint64_t room = s->block_room == 0 ? 4096 : s->block_room;
        while (room <= e->slot)
            room *= 2;
        block *blocks = realloc(s->blocks, room * sizeof *blocks);
        if (blocks == NULL)
            return false;
        memset(blocks + s->block_room, 0, (room - s->block_room) * sizeof *blocks);
        s->blocks = blocks;
        s->block_room = (uint32_t)room;
    }
    block *b = &s->blocks[e->slot];
    *b = (block){.live = true};
    if (e->size_bytes <= HAK_POLICY_MAX_CLASS_BYTES) {
        unsigned class_index = s->class_of[e->size_bytes == 0 ? 0 : (e->size_bytes - 1) / HAK_CELL_BYTES];
        unsigned place = e->context < s->context_count ? s->lifetimes[e->context] % PLACES : 0;
        b->slabs[0] = take(s, &s->models[0], class_index, 0);
        b->slabs[1] = take(s, &s->models[1], class_index, place);
        if (b->slabs[0] == NO_SLAB || b->slabs[1] == NO_SLAB)
            return false;
    } else {
        account_big(s);
        b->big_bytes = e->size_bytes;
        s->big_bytes += e->size_bytes;
    }
    s->clock_bytes += e->size_bytes;
    copy_peak(s);
    return true;
}

static void death(simulation *s, uint32_t slot)
{
    if (slot == 0 || slot >= s->block_room || !s->blocks[slot].live)
        return;
    block *b = &s->blocks[slot];
    b->live = false;
    if (b->big_bytes != 0) {
        account_big(s);
        s->big_bytes -= b->big_bytes;
        return;
    }
    for (unsigned k = 0; k < 2; k++)
        give(s, &s->models[k], b->slabs[k]);
}

static bool take_event(simulation *s, const hak_event *e)
{
    if (e->flags & HAK_EVENT_FAILED)
        return true;
    hak_op_class kind = hak_op_class_of((hak_op)e->op);
    if (kind == HAK_CLASS_FREE || kind == HAK_CLASS_REALLOC)
        death(s, e->slot_old);
    return (kind != HAK_CLASS_ALLOC && kind != HAK_CLASS_REALLOC) || e->slot == 0 || birth(s, e);
}

static void set_up(simulation *s)
{
    s->classes = hak_standard_ladder(s->ladder);
    for (uint32_t cell = 0, class_index = 0; cell < HAK_CELLS; cell++) {
        while (s->ladder[class_index] < (cell + 1) * HAK_CELL_BYTES)
            class_index++;
        s->class_of[cell] = (uint8_t)class_index;
    }
    for (unsigned k = 0; k < 2; k++) {
        s->models[k].unused = NO_SLAB;
        memset(s->models[k].with_room, 0xff, sizeof s->models[k].with_room);
    }
}

/* A class's figures stand at its largest cell; the other cells hold nothing. */
static void report(simulation *s, hak_slab_use *use)
{
    double clock = s->clock_bytes != 0 ? (double)s->clock_bytes : 1;
    memset(use, 0, sizeof *use);
    account_big(s);
    use->all_peak = (double)s->copied_bytes;
    use->all_mean = s->big_sum / clock;
    for (unsigned i = 0; i < s->classes; i++) {
        uint32_t cell = s->ladder[i] / HAK_CELL_BYTES - 1;
        for (unsigned k = 0; k < 2; k++)
            account(s, &s->models[k], i);
        use->mixed_peak[cell] = (double)s->models[0].peaks[i];
        use->apart_peak[cell] = (double)s->models[1].peaks[i];
        use->mixed_mean[cell] = s->models[0].sums[i] / clock;
        use->apart_mean[cell] = s->models[1].sums[i] / clock;
        use->all_mean += use->mixed_mean[cell];
    }
}

int hak_slabs_simulate(hak_reader *reader, const uint8_t *lifetimes, uint32_t context_count,
                       hak_slab_use *use, hak_trace_error *error)
{
    simulation *s = calloc(1, sizeof *s);
    int more = -1;
    const hak_event *events;
    size_t count;
    if (s == NULL || hak_reader_rewind(reader, error) != 0)
        goto out;
    s->lifetimes = lifetimes;
    s->context_count = context_count;
    set_up(s);
    while ((more = hak_reader_next(reader, &events, &count, error)) > 0)
        for (size_t i = 0; i < count; i++)
            if (!take_event(s, &events[i])) {
                snprintf(error->text, sizeof error->text, "out of memory");
                more = -1;
                goto out;
            }
    if (more == 0)
        report(s, use);
out:
    if (s != NULL) {
        free(s->models[0].slabs);
        free(s->models[1].slabs);
        free(s->blocks);
    }
    free(s);
    return more == 0 ? 0 : -1;
}
