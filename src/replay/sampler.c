/* sampler.c: see sampler.h. When the room is full every second sample is dropped and the steps double, so
 * that a pass of any length gives a curve of 1,000 to 2,000 points. */
#include "replay/sampler.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_STEP_NS 200000u

void hak_sampler_open(hak_sampler *sampler, pid_t pid, hak_detail *detail)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    *sampler =
        (hak_sampler){.fd = open(path, O_RDONLY | O_CLOEXEC), .step_ns = FIRST_STEP_NS, .detail = detail};
    detail->sample_count = 0;
}

static void thin_out(hak_sampler *sampler)
{
    hak_detail *detail = sampler->detail;
    for (uint32_t i = 0; i < HAK_DETAIL_SAMPLES / 2; i++)
        detail->samples[i] = detail->samples[2 * i];
    detail->sample_count = HAK_DETAIL_SAMPLES / 2;
    sampler->step_ns *= 2;
}

uint64_t hak_sampler_take(hak_sampler *sampler, hak_plan *plan, uint64_t now_ns)
{
    char text[128];
    if (now_ns < sampler->next_ns)
        return sampler->next_ns - now_ns;
    sampler->next_ns = now_ns + sampler->step_ns;
    if (sampler->fd < 0 || atomic_load(&plan->phase) != HAK_PHASE_RUN || plan->run_ns == 0 ||
        now_ns < plan->run_ns)
        return sampler->step_ns;
    ssize_t len = pread(sampler->fd, text, sizeof text - 1, 0);
    if (len <= 0)
        return sampler->step_ns;
    text[len] = '\0';
    char *second = NULL;
    strtoull(text, &second, 10);
    uint64_t rss = strtoull(second, NULL, 10) * HAK_OS_PAGE_BYTES;
    if (sampler->detail->sample_count == HAK_DETAIL_SAMPLES)
        thin_out(sampler);
    sampler->detail->samples[sampler->detail->sample_count++] = (hak_sample){
        .time_ns = now_ns - plan->run_ns,
        .rss_bytes = rss > plan->base_rss_bytes ? rss - plan->base_rss_bytes : 0,
        .live_bytes = atomic_load_explicit(&plan->live.bytes, memory_order_relaxed),
    };
    return sampler->step_ns;
}

void hak_sampler_close(hak_sampler *sampler)
{
    hak_detail *d = sampler->detail;
    double rss = 0, waste = 0, span = 0;
    if (sampler->fd >= 0)
        close(sampler->fd);
    for (uint32_t i = 0; i < d->sample_count; i++) {
        const hak_sample *s = &d->samples[i];
        double weight = (double)(s->time_ns - (i != 0 ? d->samples[i - 1].time_ns : 0));
        uint64_t over = s->rss_bytes > s->live_bytes ? s->rss_bytes - s->live_bytes : 0;
        rss += weight * (double)s->rss_bytes;
        waste += weight * (double)over;
        span += weight;
        if (over > d->waste_max_bytes)
            d->waste_max_bytes = over;
    }
    d->rss_mean_bytes = span > 0 ? rss / span : 0;
    d->waste_mean_bytes = span > 0 ? waste / span : 0;
}
