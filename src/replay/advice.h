/* advice.h: what a profile gives reason to change, each with its evidence. Judges sites; never prints. Pure.
 */
#ifndef HAK_REPLAY_ADVICE_H
#define HAK_REPLAY_ADVICE_H

#include "replay/sites.h"

typedef enum hak_advice_kind {
    HAK_ADVICE_RESERVE, /* a container grows step by step: tell it its size; bytes copied, allocations saved
                         */
    HAK_ADVICE_REUSE,   /* blocks freed before the next allocation: keep one; allocations and about
                           their bytes saved */
    HAK_ADVICE_PINS,    /* few blocks keep much free memory from being given back; bytes saved */
    HAK_ADVICE_REMOTE,  /* freed by other threads than allocated them; such frees saved */
    HAK_ADVICE_HUGE,    /* large and long-lived: huge pages; page faults saved */
} hak_advice_kind;

typedef struct hak_advice {
    hak_advice_kind kind;
    uint32_t site;  /* index in the list that was judged */
    uint64_t calls; /* allocations, frees or page faults saved */
    uint64_t bytes; /* copied, pinned, or mapped */
    double weight;  /* share of the whole that it is about: the order */
} hak_advice;

enum { HAK_ADVICE_MAX = 64 };

/* Judges sites against their total; greatest weight first. Returns how many, at most max. */
size_t hak_advice_find(const hak_site *sites, size_t count, const hak_usage *total, uint64_t peak_bytes,
                       hak_advice *out, size_t max);

/* What a policy can tell apart: sites whose blocks nearly all die young, and those that live on. */
typedef struct hak_lifetime_mix {
    uint64_t short_calls;
    uint64_t long_calls;
    uint32_t short_sites;
    uint32_t long_sites;
} hak_lifetime_mix;

hak_lifetime_mix hak_advice_mix(const hak_site *sites, size_t count);

#endif
