/* check.c: liveness of slots as a bitmap. One thread. */
#include "trace/check.h"

#include "trace/grow.h"
#include "trace/trace_format.h"

void hak_live_init(hak_live *live)
{
    *live = (hak_live){.bits = NULL};
}

void hak_live_done(hak_live *live)
{
    free(live->bits);
    *live = (hak_live){.bits = NULL};
}

static bool is_live(const hak_live *live, uint32_t slot)
{
    return slot <= live->high && (live->bits[slot >> 6] >> (slot & 63) & 1) != 0;
}

static void set_dead(hak_live *live, uint32_t slot)
{
    live->bits[slot >> 6] &= ~(UINT64_C(1) << (slot & 63));
}

/* The first use of a slot: it must be the next one. */
static const char *extend(hak_live *live, uint32_t slot)
{
    if (slot != live->high + 1 || slot >= HAK_TRACE_MAX_SLOTS)
        return "slot out of range";
    size_t words = ((size_t)slot >> 6) + 1;
    size_t before = live->room;
    if (!HAK_GROW(&live->bits, &live->room, words))
        return "out of memory";
    for (size_t i = before; i < live->room; i++)
        live->bits[i] = 0;
    live->high = slot;
    return NULL;
}

static const char *begin(hak_live *live, uint32_t slot)
{
    if (HAK_UNLIKELY(slot > live->high)) {
        const char *fault = extend(live, slot);
        if (fault != NULL)
            return fault;
    } else if (HAK_UNLIKELY(is_live(live, slot))) {
        return "allocation into a live slot";
    }
    live->bits[slot >> 6] |= UINT64_C(1) << (slot & 63);
    return NULL;
}

static const char *apply_alloc(hak_live *live, const hak_event *event)
{
    if (HAK_UNLIKELY(event->slot_old != HAK_SLOT_NONE))
        return "allocation that frees";
    if (HAK_UNLIKELY((event->flags & HAK_EVENT_FAILED) != 0))
        return event->slot == HAK_SLOT_NONE ? NULL : "failed allocation with a block";
    if (HAK_UNLIKELY(event->slot == HAK_SLOT_NONE))
        return "allocation without a block";
    return begin(live, event->slot);
}

static const char *apply_realloc(hak_live *live, const hak_event *event)
{
    uint32_t old = event->slot_old;
    if (old != HAK_SLOT_NONE && (!is_live(live, old) || (event->flags & HAK_EVENT_FOREIGN) != 0))
        return "realloc of a slot that is not live";
    if ((event->flags & HAK_EVENT_FAILED) != 0)
        return event->slot == HAK_SLOT_NONE ? NULL : "failed realloc with a block";
    if (old != HAK_SLOT_NONE)
        set_dead(live, old);
    if (event->slot == HAK_SLOT_NONE)
        return NULL; /* realloc(p, 0) that freed */
    const char *fault = begin(live, event->slot);
    if (fault != NULL && old != HAK_SLOT_NONE)
        live->bits[old >> 6] |= UINT64_C(1) << (old & 63);
    return fault;
}

static const char *apply_free(hak_live *live, const hak_event *event)
{
    uint32_t old = event->slot_old;
    if (HAK_UNLIKELY(event->slot != HAK_SLOT_NONE))
        return "free that allocates";
    if (old == HAK_SLOT_NONE)
        return NULL;
    if (HAK_UNLIKELY(!is_live(live, old) || (event->flags & HAK_EVENT_FOREIGN) != 0))
        return "free of a slot that is not live";
    set_dead(live, old);
    return NULL;
}

const char *hak_live_apply(hak_live *live, const hak_event *event)
{
    if (HAK_UNLIKELY(event->op >= HAK_OP_COUNT))
        return "unknown operation";
    if (HAK_UNLIKELY(event->align_log2 > 63 || event->flags >= HAK_EVENT_FOREIGN * 2))
        return "alignment or flags out of range";
    switch (hak_op_class_of((hak_op)event->op)) {
    case HAK_CLASS_ALLOC:
        return apply_alloc(live, event);
    case HAK_CLASS_REALLOC:
        return apply_realloc(live, event);
    case HAK_CLASS_FREE:
        return apply_free(live, event);
    case HAK_CLASS_THREAD:
        break;
    }
    return event->slot == HAK_SLOT_NONE && event->slot_old == HAK_SLOT_NONE ? NULL
                                                                            : "thread event with a block";
}
