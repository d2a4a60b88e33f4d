/* fork.c: every lock is held while the kernel copies the process, so the child gets whole structures; it has
 * one thread, to which all locks belong.
 *
 * What threads that did not survive had begun to hand to other heaps is put in order here; their own heaps
 * are left as they are until memory is wanted (heap_lost.c). */
#include "core/fork.h"

#include <pthread.h>
#include <string.h>

#include "core/heap.h"
#include "core/large.h"
#include "core/plain.h"
#include "core/research.h"

/* In the order of hak_lock_rank. */
static hak_lock *const locks[] = {&hak_shared_lock, &hak_heaps_lock,    &hak_plain_lock, &hak_quarantine_lock,
                                  &hak_purge_lock,  &hak_bigcache_lock, &hak_pool_lock};

static void before_fork(void)
{
    for (size_t i = 0; i < HAK_COUNT_OF(locks); i++)
        hak_lock_take(locks[i]);
    hak_lock_all_mine = true; /* handlers registered before ours run after it, and may allocate */
}

static void give_all(void)
{
    hak_lock_all_mine = false;
    for (size_t i = HAK_COUNT_OF(locks); i-- > 0;)
        hak_lock_give(locks[i]);
}

static void requeue(hak_superslab *super, void *context)
{
    (void)context;
    for (unsigned unit = 0; unit < HAK_UNITS; unit++) {
        hak_slab *slab = &super->slabs[unit];
        if (slab->kind == HAK_SLAB_BLOCKS && atomic_load_explicit(&slab->remote, memory_order_relaxed) != 0)
            hak_slab_requeue(slab);
    }
}

static void forget_pending(hak_heap *heap, void *context)
{
    (void)context;
    atomic_store_explicit(&heap->pending, NULL, memory_order_relaxed);
    hak_heap_repack_inbox(heap);
}

static void in_child(void)
{
    bool others = hak_heap_lose_others(hak_tls_heap);
    give_all();
    if (!others)
        return;
    hak_heap_visit(forget_pending, NULL);
    hak_pool_visit(requeue, NULL);
}

void hak_fork_register(void)
{
    pthread_atfork(before_fork, give_all, in_child);
}
