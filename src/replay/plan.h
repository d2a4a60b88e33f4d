/* plan.h: what measure.c and the worker process tell each other, in one shared mapping. Written by measure.c
 * before the worker starts, then by the worker only; measure.c reads it when the worker has ended. Same build
 * on both sides (checked by magic), so not a format. */
#ifndef HAK_REPLAY_PLAN_H
#define HAK_REPLAY_PLAN_H

#include "replay/loop.h"
#include "replay/measure.h"

#define HAK_PLAN_MAGIC       UINT64_C(0x314e414c504b4148) /* "HAKPLAN1" */
#define HAK_PLAN_WORKLOAD_FD 3                            /* the worker's descriptors */
#define HAK_PLAN_FD          4

typedef enum hak_run_kind { HAK_RUN_MEASURED, HAK_RUN_OBSERVED, HAK_RUN_LATENCY } hak_run_kind;

/* How far the worker came. */
typedef enum hak_phase {
    HAK_PHASE_START,
    HAK_PHASE_READY,
    HAK_PHASE_RUN,
    HAK_PHASE_DONE,
    HAK_PHASE_ERROR
} hak_phase;

typedef struct hak_plan {
    uint64_t magic;
    /* for the worker */
    uint64_t workload_bytes;
    hak_measure_options options;
    char library[4096]; /* malloc must come from this file; "" for any */
    uint32_t null;
    uint32_t kernel_threads; /* hak_loop_options */
    uint32_t kind;           /* hak_run_kind */
    uint32_t site_count;     /* contexts; their sites stand behind the counters */
    uint32_t begun_count;
    /* from the worker */
    _Atomic uint32_t phase;  /* hak_phase */
    uint32_t pass;           /* number of the present one, from 1 */
    char problem[256];       /* with HAK_PHASE_ERROR */
    uint64_t run_ns;         /* when the first pass began (CLOCK_MONOTONIC) */
    uint64_t base_rss_bytes; /* resident before it, as /proc/PID/statm counts */
    hak_measure result;
    hak_loop_live live;
    hak_detail detail;
    _Atomic uint64_t begun[]; /* operations, per thread of the workload; with HAK_RUN_OBSERVED */
    /* uint32_t sites[site_count] */
} hak_plan;

HAK_INLINE uint32_t *hak_plan_sites(hak_plan *plan)
{
    return (uint32_t *)(void *)&plan->begun[plan->begun_count];
}

#endif
