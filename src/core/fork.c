/* fork.c: every lock is held while the kernel copies the process, so the child gets whole structures; it has
 * one thread, to which all locks belong.
 *
 * The heaps of the threads that did not survive stay as they are: their lists may have been copied while they
 * changed, so nothing is taken from them again. The same holds for what was on remote lists: it is forgotten.
 * That costs the child the free blocks of the other threads, and nothing else. */
#include "core/fork.h"

#include <pthread.h>
#include <string.h>

#include "core/heap.h"
#include "core/large.h"
#include "core/plain.h"
#include "core/research.h"

/* In the order of hak_lock_rank. */
static hak_lock *const locks[] = {&hak_shared_lock,     &hak_heaps_lock,    &hak_plain_lock,
                                  &hak_quarantine_lock, &hak_bigcache_lock, &hak_pool_lock};

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

static void forget_remote(hak_superslab *super, void *context)
{
    (void)context;
    for (unsigned unit = 0; unit < HAK_UNITS; unit++) {
        hak_slab *slab = &super->slabs[unit];
        if (slab->kind == HAK_SLAB_BLOCKS && atomic_load_explicit(&slab->remote, memory_order_relaxed) != 0)
            atomic_store_explicit(&slab->remote, 0, memory_order_relaxed);
    }
}

static void forget_pending(hak_heap *heap, void *context)
{
    (void)context;
    atomic_store_explicit(&heap->pending, NULL, memory_order_relaxed);
    hak_heap_forget_inbox(heap);
}

static void in_child(void)
{
    bool others = hak_heap_lose_others(hak_tls_heap);
    give_all();
    if (!others)
        return;
    hak_pool_visit(forget_remote, NULL);
    hak_heap_visit(forget_pending, NULL);
}

void hak_fork_register(void)
{
    pthread_atfork(before_fork, give_all, in_child);
}
