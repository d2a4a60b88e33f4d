/* trainer_trials.c: candidates as policy files, and their runs, several at once where the options say so.
 * Files: a policy for each run under way, in the training's folder. Never prints. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replay/trainer_evidence.h"
#include "replay/trainer_parts.h"
#include "replay/trainer_sites.h"

int hak_training_policy(const hak_training *t, const hak_candidate *candidate, hak_policy *policy)
{
    size_t len_bytes;
    hak_policy_error error;
    void *bytes = hak_policy_encode(&t->closed_form, &len_bytes, &error);
    if (bytes == NULL)
        return -1;
    int result = hak_policy_decode(bytes, len_bytes, policy, &error);
    free(bytes);
    if (result != 0)
        return -1;
    if (!candidate->families[HAK_TRAIN_CLASSES])
        policy->class_count = 0;
    if (!candidate->families[HAK_TRAIN_CACHES])
        policy->cache_count = 0;
    for (unsigned f = HAK_TRAIN_LIFETIME; f < HAK_TRAIN_KNOBS; f++)
        if (!candidate->families[f] && t->closed_candidate.families[f] &&
            !hak_sites_drop(policy, (hak_train_family)f)) {
            hak_policy_clear(policy);
            return -1;
        }
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++) {
        if (hak_knob_infos[i].family == HAK_FAMILY_GUARD && candidate->families[HAK_TRAIN_LIFETIME])
            continue; /* the closed form's */
        policy->knob_set[i] = candidate->knob_set[i];
        policy->knobs[i] = candidate->knobs[i];
    }
    policy->state = HAK_STATE_FROZEN;
    return 0;
}

static int write_candidate(const hak_training *t, const hak_candidate *candidate, const char *path,
                           hak_trace_error *error)
{
    hak_policy policy;
    hak_policy_error why;
    if (hak_training_policy(t, candidate, &policy) != 0) {
        snprintf(error->text, sizeof error->text, "out of memory");
        return -1;
    }
    int result = hak_policy_write(&policy, path, false, &why);
    hak_policy_clear(&policy);
    if (result != 0)
        snprintf(error->text, sizeof error->text, "candidate policy: %.200s", why.text);
    return result;
}

/* One block's runs, taken by several threads one after the other. */
typedef struct trial_work {
    hak_training *t;
    uint32_t trace;
    hak_trial *trials;
    uint32_t count;
    _Atomic uint32_t next;
    pthread_mutex_t lock; /* of the training's error */
} trial_work;

static int measure(const trial_work *w, uint32_t index, hak_trial *trial, hak_trace_error *error)
{
    const hak_training *t = w->t;
    const hak_material *material = &t->materials[w->trace];
    const hak_candidate *candidate = trial->id == HAK_ARENA_DEFAULT ? NULL : &t->arena.candidates[trial->id];
    hak_target target = t->default_target;
    char path[sizeof t->folder + 32] = "", name[sizeof path + 16];
    hak_measure measured;
    memset(&measured, 0, sizeof measured);
    int result = 0;
    if (candidate != NULL) {
        snprintf(path, sizeof path, "%s/%u.policy", t->folder, index);
        snprintf(name, sizeof name, "hakmem:fast+%s", path);
        result = write_candidate(t, candidate, path, error);
        if (result == 0)
            result = hak_target_parse(name, &target, error);
    }
    /* One pass, unless the caller wants more: a program runs once, and pays for each OS page then. */
    if (result == 0)
        result = hak_measure_run(material->workload, &target, &t->options->measure, &measured, error);
    if (candidate != NULL)
        unlink(path);
    if (result != 0)
        return -1;
    trial->ns_per_op = measured.ns_per_op;
    if (material->single && measured.cpu_ns != 0 && measured.operations != 0)
        trial->ns_per_op = (double)measured.cpu_ns / (double)measured.operations;
    trial->rss_bytes = (double)measured.peak_rss_bytes;
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES; f++)
        trial->acted[f] = candidate != NULL && hak_candidate_has(candidate, (hak_train_family)f)
                              ? hak_train_acted(&measured, f)
                              : 0;
    return 0;
}

static void *work(void *argument)
{
    trial_work *w = argument;
    for (uint32_t i; (i = atomic_fetch_add(&w->next, 1)) < w->count;) {
        hak_trace_error error = {.text = ""};
        if (measure(w, i, &w->trials[i], &error) != 0) /* a key that stops us stops the worker, too */
            w->trials[i].status = hak_training_stopped(w->t) ? 1 : -1;
        if (w->trials[i].status < 0) {
            pthread_mutex_lock(&w->lock);
            *w->t->error = error;
            pthread_mutex_unlock(&w->lock);
        }
    }
    return NULL;
}

void hak_training_trials(void *training, uint32_t trace, hak_trial *trials, uint32_t count)
{
    hak_training *t = training;
    trial_work w = {
        .t = t, .trace = trace, .trials = trials, .count = count, .lock = PTHREAD_MUTEX_INITIALIZER};
    if (!t->journal.reading) {
        pthread_t helpers[HAK_TRAIN_MAX_JOBS];
        uint32_t started = 0;
        while (started + 1 < t->options->jobs && started + 1 < count && started < HAK_TRAIN_MAX_JOBS &&
               pthread_create(&helpers[started], NULL, work, &w) == 0)
            started++;
        work(&w);
        while (started != 0)
            pthread_join(helpers[--started], NULL);
    }
    /* What comes after a run that was not made is not looked at. */
    for (uint32_t i = 0; i < count; i++) {
        hak_journal_run(&t->journal, t->arena.block_count, trace, &trials[i]);
        if (trials[i].status > 0)
            break;
    }
}
