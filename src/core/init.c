/* init.c: start, the threads' comings and goings, and the end. The first call into the library, from whoever
 * it comes, initializes it; the constructor only makes sure that it happened and registers what needs libc.
 */
#include "core/alloc.h"

#include <errno.h>
#include <pthread.h>

#include "core/include/hakmem.h"
#include "core/decide.h"
#include "core/fork.h"
#include "core/learn.h"
#include "core/mid.h"
#include "core/options.h"
#include "core/outcome.h"
#include "core/policy.h"
#include "core/research.h"
#include "core/secure.h"

#define FREES_WITHOUT_HEAP                                                                                   \
    16 /* of other threads' blocks, before a thread that takes none gets a heap for them */

_Atomic bool hak_ready;

static hak_lock init_lock = HAK_LOCK_INIT(HAK_RANK_INIT);
static pthread_key_t leave_key;
static bool leave_key_made;
static HAK_TLS_IE bool initializing; /* this thread is in init_locked */
static HAK_TLS_IE bool
    thread_left; /* its heap was left: what its last destructors do goes to the shared heap */

static void thread_leaves(void *heap)
{
    thread_left = true;
    hak_tls_heap = &hak_heap_none;
    hak_front_flush(heap);
    hak_mid_flush(heap);
    hak_heap_leave(heap);
}

static void init_locked(void)
{
    hak_secure_init();
    hak_page_map_init();
    hak_options_init();
    const uint32_t *sizes = NULL;
    uint32_t count = hak_feature_on(HAK_FEATURE_POLICY) ? hak_policy_classes(&sizes) : 0;
    hak_classes_init(sizes, count);
    hak_count(HAK_COUNT_POLICY_CLASSES, count);
    hak_count(HAK_COUNT_POLICY_SETTINGS, (uint64_t)__builtin_popcountll(hak_opt.knobs_from_policy));
    hak_decide_init();
    hak_learn_init();
    hak_guard_init();
    hak_heap_init();
    leave_key_made = pthread_key_create(&leave_key, thread_leaves) == 0;
}

void hak_init(void)
{
    hak_lock_take(&init_lock);
    if (!atomic_load_explicit(&hak_ready, memory_order_relaxed)) {
        int saved = errno;
        initializing = true;
        init_locked();
        initializing = false;
        errno = saved;
        atomic_store_explicit(&hak_ready, true, memory_order_release);
    }
    hak_lock_give(&init_lock);
}

HAK_COLD static hak_heap *first_use(void)
{
    if (initializing)
        return NULL;
    if (!atomic_load_explicit(&hak_ready, memory_order_acquire))
        hak_init();
    if (thread_left || !hak_feature_on(HAK_FEATURE_POOL))
        return NULL;
    int saved = errno;
    hak_heap *heap = hak_heap_new();
    if (heap != NULL) {
        hak_tls_heap = heap; /* before pthread_setspecific, which may allocate */
        if (leave_key_made)
            pthread_setspecific(leave_key, heap);
    }
    errno = saved;
    return heap;
}

bool hak_initializing(void)
{
    return initializing;
}

hak_heap *hak_heap_get(void)
{
    hak_heap *heap = hak_tls_heap;
    return HAK_LIKELY(heap != &hak_heap_none) ? heap : first_use();
}

hak_heap *hak_heap_get_to_free(void)
{
    static HAK_TLS_IE uint32_t frees;
    return ++frees > FREES_WITHOUT_HEAP ? hak_heap_get() : NULL;
}

__attribute__((constructor)) static void library_starts(void)
{
    if (!atomic_load_explicit(&hak_ready, memory_order_acquire))
        hak_init();
    hak_fork_register();
    if (hak_opt.show_config)
        hakmem_print_config();
}

__attribute__((destructor)) static void library_ends(void)
{
    hak_learn_end();
    hak_outcome_end();
    if (hak_feature_on(HAK_FEATURE_HEADERS)) {
        hak_quarantine_check();
        hak_research_check_live(!hak_heap_alone(hak_tls_heap));
    }
    if (hak_opt.stats == HAK_STATS_JSON)
        hak_stats_print(HAK_STATS_SHAPE_JSON);
    else if (hak_opt.stats == HAK_STATS_TABLE || hak_feature_on(HAK_FEATURE_DUMP))
        hak_stats_print(HAK_STATS_SHAPE_TABLE);
    else if (hak_feature_on(HAK_FEATURE_SUMMARY))
        hak_stats_print(HAK_STATS_SHAPE_SUMMARY);
}
