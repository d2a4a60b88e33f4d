/* trainer_caches.c: see trainer_caches.h. A list that is too short sends blocks home that are wanted again at
 * once; one that is too long holds memory for nothing. The trace says how long each would have become. */
#include "replay/trainer_caches.h"

#include "replay/trainer_classes.h"

#define COVERED     0.99 /* of the frees are to find room on the list */
#define MIN_FREES   1000 /* of a class, over all traces */
#define KEEP_MIN    8
#define KEEP_BYTES  (256u << 10) /* as the allocator takes at most */
#define REFILL_MAX  256
#define LONGER      2 /* times the default, at least, to be worth a setting */
#define SHORTER     4
#define DEFAULT_MAX ((uint32_t)hak_knob_infos[HAK_KNOB_TINY_CACHE_COUNT].def)

/* Shortest list that serves the class in every trace; 0: too few frees to say. */
static uint32_t length_for(const hak_train_trace *const *traces, size_t count, uint32_t class_index)
{
    uint64_t frees = 0;
    uint32_t longest = 0;
    for (size_t t = 0; t < count; t++) {
        const uint64_t *steps = traces[t]->list_lengths[class_index];
        uint64_t all = 0, sum = 0;
        for (unsigned i = 0; i < HAK_LIST_STEPS; i++)
            all += steps[i];
        unsigned step = 0;
        for (; step < HAK_LIST_STEPS - 1 && (double)(sum += steps[step]) < COVERED * (double)all; step++)
            ;
        longest = all != 0 && 1u << step > longest ? 1u << step : longest;
        frees += all;
    }
    return frees >= MIN_FREES ? longest : 0;
}

uint32_t hak_fit_caches(const hak_train_trace *const *traces, size_t count, hak_policy *policy)
{
    uint32_t ladder[HAK_POLICY_MAX_CLASSES];
    uint32_t classes = hak_standard_ladder(ladder), fitted = 0;
    for (uint32_t i = 0; i < classes; i++) {
        uint32_t usual = (uint32_t)hak_knob_infos[HAK_KNOB_TINY_CACHE_BYTES].def / ladder[i];
        uint32_t most = KEEP_BYTES / ladder[i];
        uint32_t keep = length_for(traces, count, i);
        usual = usual < DEFAULT_MAX ? usual : DEFAULT_MAX;
        keep = keep > most ? most : keep;
        if (keep == 0 || (keep < LONGER * usual && keep > usual / SHORTER))
            continue;
        keep = keep < KEEP_MIN ? KEEP_MIN : keep;
        if (keep >= usual && keep < LONGER * usual)
            continue;
        hak_policy_cache *cache = hak_policy_add_cache(policy, ladder[i]);
        if (cache == NULL)
            break;
        cache->keep_count = keep;
        cache->refill_count = keep / 2 < REFILL_MAX ? keep / 2 : REFILL_MAX;
        fitted++;
    }
    return fitted;
}
