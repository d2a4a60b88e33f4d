/* trainer_closed.c: the part of a training that needs no search: what is read, and what follows from it by
 * counting. Never prints, writes nothing. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/trainer_caches.h"
#include "replay/trainer_classes.h"
#include "replay/trainer_parts.h"
#include "replay/trainer_sites.h"

#define CLASSES_MIN_GAIN   0.005 /* of requested bytes */
#define STABLE_MIN_COVERED 0.05  /* foretelling a trace by the others: share of blocks decided */
#define STABLE_MIN_LONGS   0.5   /* or: share of the long-lived ones */
#define STABLE_MAX_WRONG   0.02
#define GUARD_LATE         8                  /* times the longest short life */
#define GUARD_EARLY        0.25               /* times the shortest long one */
#define GUARD_UNKNOWN      25                 /* percent above what was unknown in training */
#define KNOWN_STEP         ((int64_t)2 << 20) /* a huge page */
#define KNOWN_APART        (4.0 * (64 << 10)) /* of each class lies in small pages */
#define GATED_SHARE        0.3 /* of the small allocations may consult sites where only time counts */

/* ---- reading ---- */

/* The whole program's figures as it was recorded: where the recorder noted them. */
static void read_whole(hak_material *m)
{
    const hak_trace_tail *tail = hak_reader_tail(m->reader);
    uint32_t count;
    const hak_trace_rss *samples = hak_reader_rss(m->reader, &count);
    m->program_ns = !tail->ended ? 0 : tail->cpu_ns != 0 ? tail->cpu_ns : tail->duration_ns;
    for (uint32_t i = 0; i < count; i++)
        if (samples[i].rss_bytes > m->program_rss_bytes)
            m->program_rss_bytes = samples[i].rss_bytes;
}

static int read_material(hak_training *t, hak_material *m, bool closed_form)
{
    t->failed = m->path;
    m->reader = hak_reader_open(m->path, t->options->reader_flags, t->error);
    if (m->reader == NULL)
        return -1;
    if (closed_form && hak_train_trace_read(m->reader, &m->digest, t->error) != 0)
        return -1;
    if (hak_reader_rewind(m->reader, t->error) != 0)
        return -1;
    m->workload = hak_workload_build(m->reader, t->options->order, HAK_WORKLOAD_CONTEXTS, t->error);
    if (m->workload == NULL)
        return -1;
    hak_workload_info info;
    hak_workload_info_get(m->workload, &info);
    if (info.allocations == 0) {
        snprintf(t->error->text, sizeof t->error->text, "holds no allocation to learn from");
        return -1;
    }
    m->single = info.threads_max <= 1;
    read_whole(m);
    t->failed = NULL;
    return 0;
}

/* Program and its build, from the first trace. */
static void name_program(hak_training *t)
{
    const hak_reader *reader = t->materials[0].reader;
    const hak_trace_head *head = hak_reader_head(reader);
    const char *slash = strrchr(head->program, '/');
    snprintf(t->report->program, sizeof t->report->program, "%s", slash != NULL ? slash + 1 : head->program);
    uint32_t count;
    const hak_trace_module *modules = hak_reader_modules(reader, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(modules[i].path, head->program) != 0)
            continue;
        for (unsigned k = 0; k < modules[i].build_id_bytes && k < 20; k++)
            snprintf(t->report->build_id + 2 * k, 3, "%02x", modules[i].build_id[k]);
        return;
    }
}

int hak_training_read(hak_training *t)
{
    const hak_train_options *o = t->options;
    t->material_count = o->trace_count + o->holdout_count;
    t->materials = calloc(t->material_count, sizeof *t->materials);
    if (t->materials == NULL)
        return hak_training_fail_memory(t);
    for (size_t i = 0; i < t->material_count; i++) {
        bool training_trace = i < o->trace_count;
        t->materials[i].path = training_trace ? o->traces[i] : o->holdouts[i - o->trace_count];
        hak_training_tell(t, HAK_TRAIN_READING);
        if (read_material(t, &t->materials[i], training_trace) != 0)
            return -1;
    }
    name_program(t);
    return 0;
}

/* ---- closed form ---- */

static hak_site_source source_of(const hak_material *m)
{
    hak_site_source s = {.digest = &m->digest, .reader = m->reader};
    s.nodes = hak_reader_nodes(m->reader, &s.node_count);
    s.rows = hak_reader_rows(m->reader, &s.row_count);
    s.modules = hak_reader_modules(m->reader, &s.module_count);
    return s;
}

/* Builds on all traces but one and asks about that one, for each: contexts that mean something in one run
 * only (an interpreter's) decide little there, or wrongly. */
static bool lifetimes_are_stable(const hak_site_source *sources, size_t count,
                                 const hak_site_options *options)
{
    if (count < 2)
        return true;
    double covered_sum = 0, longs_sum = 0, wrong_max = 0;
    hak_site_source *others = calloc(count, sizeof *others);
    bool done = others != NULL;
    for (size_t out = 0; out < count && done; out++) {
        size_t kept = 0;
        for (size_t i = 0; i < count; i++)
            if (i != out)
                others[kept++] = sources[i];
        hak_policy policy;
        hak_site_result result;
        hak_policy_init(&policy);
        done = hak_sites_build(others, kept, options, &policy, &result);
        if (done) {
            hak_site_forecast forecast = hak_sites_foretell(&policy, &sources[out]);
            covered_sum += forecast.covered;
            longs_sum += forecast.longs_covered;
            wrong_max = fmax(wrong_max, forecast.wrong);
        }
        hak_policy_clear(&policy);
    }
    free(others);
    bool covered =
        covered_sum >= STABLE_MIN_COVERED * (double)count || longs_sum >= STABLE_MIN_LONGS * (double)count;
    return done && covered && wrong_max <= STABLE_MAX_WRONG;
}

static void set_guard(hak_policy *policy, hak_knob knob, double value)
{
    const hak_knob_info *info = &hak_knob_infos[knob];
    policy->knob_set[knob] = true;
    policy->knobs[knob] = (int64_t)fmin(fmax(value, (double)info->min), (double)info->max);
}

/* What the allocator is to be surprised at (guard.c): a good deal more than what training has seen. Ages are
 * counted there in bytes of consulted classes only. */
static void set_guards(hak_training *t, const hak_site_source *sources)
{
    double late = 0, early = INFINITY, unknown = 0;
    for (size_t i = 0; i < t->options->trace_count; i++) {
        const hak_train_trace *digest = sources[i].digest;
        double consulted = 0;
        for (uint32_t g = 0; g < t->closed_form.gate_count; g++)
            for (uint32_t cell = t->closed_form.gate[g][0] / HAK_CELL_BYTES;
                 cell < HAK_CELLS && (cell + 1) * HAK_CELL_BYTES <= t->closed_form.gate[g][1]; cell++)
                consulted += (double)digest->count[cell] * (cell + 1) * HAK_CELL_BYTES;
        double share = consulted / fmax((double)digest->total_bytes, 1);
        late = fmax(late, (double)digest->short_bytes * share);
        early = fmin(early, (double)digest->long_bytes * share);
        unknown = fmax(unknown, hak_sites_foretell(&t->closed_form, &sources[i]).unknown);
    }
    set_guard(&t->closed_form, HAK_KNOB_GUARD_LATE_BYTES, GUARD_LATE * late);
    set_guard(&t->closed_form, HAK_KNOB_GUARD_EARLY_BYTES, GUARD_EARLY * early);
    set_guard(&t->closed_form, HAK_KNOB_GUARD_UNKNOWN_PERCENT, 100 * unknown + GUARD_UNKNOWN);
}

/* Which size classes are worth asking about lives. 0 or -1. */
static int gate_lifetimes(hak_training *t, const hak_site_source *sources)
{
    size_t count = t->options->trace_count;
    hak_train_family_report *family = &t->report->families[HAK_TRAIN_LIFETIME];
    double share = t->options->objective == HAK_OBJECTIVE_TIME ? GATED_SHARE : 1;
    hak_slab_use *uses = calloc(count, sizeof *uses);
    int result = uses != NULL ? 0 : hak_training_fail_memory(t);
    for (size_t i = 0; i < count && result == 0; i++) {
        t->failed = t->materials[i].path;
        uint8_t *lifetimes = hak_sites_lifetimes(&t->closed_form, &sources[i]);
        result = lifetimes == NULL ? hak_training_fail_memory(t)
                                   : hak_slabs_simulate(sources[i].reader, lifetimes,
                                                        sources[i].digest->context_count, &uses[i], t->error);
        free(lifetimes);
    }
    if (result != 0)
        goto out;
    t->failed = NULL;
    if (!hak_sites_gate_lifetimes(sources, uses, count, share, &t->closed_form, &family->modelled))
        result = hak_training_fail_memory(t);
    if (result == 0 && family->modelled == 0) {
        family->verdict = HAK_TRAIN_NO_ROOM;
        family->decisions = 0;
        result = hak_sites_drop(&t->closed_form, HAK_TRAIN_LIFETIME) ? 0 : hak_training_fail_memory(t);
    }
    if (result == 0 && family->modelled > 0)
        set_guards(t, sources);
out:
    free(uses);
    return result;
}

static int fit_sites(hak_training *t, const hak_site_source *sources)
{
    size_t count = t->options->trace_count;
    hak_site_options options = {.families = {[HAK_TRAIN_LIFETIME] = true}};
    hak_train_family_report *families = t->report->families;
    bool stable = lifetimes_are_stable(sources, count, &options);
    options = (hak_site_options){.families = {[HAK_TRAIN_LIFETIME] = stable,
                                              [HAK_TRAIN_REMOTE] = true,
                                              [HAK_TRAIN_RETENTION] = true,
                                              [HAK_TRAIN_SITE_THP] = true,
                                              [HAK_TRAIN_SLACK] = stable}};
    if (!stable) {
        families[HAK_TRAIN_LIFETIME].verdict = HAK_TRAIN_UNSTABLE;
        families[HAK_TRAIN_SLACK].verdict = HAK_TRAIN_UNSTABLE;
    }
    hak_site_result result = {0};
    if (!hak_sites_build(sources, count, &options, &t->closed_form, &result))
        return hak_training_fail_memory(t);
    for (unsigned f = HAK_TRAIN_LIFETIME; f < HAK_TRAIN_KNOBS; f++)
        families[f].decisions = result.decided[f];
    if (result.decided[HAK_TRAIN_LIFETIME] != 0 && gate_lifetimes(t, sources) != 0)
        return -1;
    if (result.decided[HAK_TRAIN_REMOTE] != 0) {
        double share = t->options->objective == HAK_OBJECTIVE_TIME ? GATED_SHARE : 1;
        bool gated;
        if (!hak_sites_gate_remote(sources, count, share, &t->closed_form, &gated))
            return hak_training_fail_memory(t);
        if (!gated) {
            families[HAK_TRAIN_REMOTE].decisions = 0;
            if (!hak_sites_drop(&t->closed_form, HAK_TRAIN_REMOTE))
                return hak_training_fail_memory(t);
        }
    }
    for (unsigned f = HAK_TRAIN_LIFETIME; f < HAK_TRAIN_KNOBS; f++)
        t->closed_candidate.families[f] = families[f].decisions != 0;
    return 0;
}

/* What an input held at once in slabs behind the first ones of each class: these get huge pages (heap.c). */
static double bulk_bytes(const hak_train_trace *digest)
{
    uint32_t ladder[HAK_POLICY_MAX_CLASSES];
    uint32_t classes = hak_standard_ladder(ladder), cell = 0;
    double sum = 0;
    for (uint32_t c = 0; c < classes; c++) {
        double held = 0;
        for (; cell < HAK_CELLS && (cell + 1) * HAK_CELL_BYTES <= ladder[c]; cell++)
            held += (double)digest->peak[cell] * ladder[c];
        sum += fmax(held - KNOWN_APART, 0);
    }
    return sum;
}

/* So much every training input had: there huge pages cost nothing but what they save. */
static void fit_known(hak_training *t)
{
    double least = INFINITY;
    for (size_t i = 0; i < t->options->trace_count; i++)
        least = fmin(least, bulk_bytes(&t->materials[i].digest));
    const hak_knob_info *info = &hak_knob_infos[HAK_KNOB_THP_KNOWN_BYTES];
    int64_t known = (int64_t)fmin(least, (double)info->max) / KNOWN_STEP * KNOWN_STEP;
    if (known < KNOWN_STEP)
        return;
    t->closed_candidate.knob_set[HAK_KNOB_THP_KNOWN_BYTES] = true;
    t->closed_candidate.knobs[HAK_KNOB_THP_KNOWN_BYTES] = known;
}

int hak_training_fit(hak_training *t)
{
    size_t count = t->options->trace_count;
    hak_site_source sources[HAK_TRAIN_MAX_TRACES];
    const hak_train_trace *digests[HAK_TRAIN_MAX_TRACES];
    for (size_t i = 0; i < count; i++) {
        sources[i] = source_of(&t->materials[i]);
        digests[i] = &t->materials[i].digest;
    }
    double gain;
    uint32_t classes = hak_fit_classes(digests, count, t->closed_form.classes, &gain);
    if (gain >= CLASSES_MIN_GAIN) {
        t->closed_form.class_count = classes;
        t->closed_candidate.families[HAK_TRAIN_CLASSES] = true;
        t->report->families[HAK_TRAIN_CLASSES].decisions = classes;
    }
    t->report->families[HAK_TRAIN_CACHES].decisions = hak_fit_caches(digests, count, &t->closed_form);
    t->closed_candidate.families[HAK_TRAIN_CACHES] = t->closed_form.cache_count != 0;
    fit_known(t);
    return fit_sites(t, sources);
}

void hak_training_close_readers(hak_training *t)
{
    for (size_t i = 0; i < t->material_count; i++) {
        hak_train_trace_clear(&t->materials[i].digest);
        if (t->materials[i].reader != NULL)
            hak_reader_close(t->materials[i].reader);
        t->materials[i].reader = NULL;
    }
}
