/* trainer_evidence.c: evidence as text, and the counters that prove a policy acted. Writes only the file it
 * is asked for. */
#include "replay/trainer_evidence.h"
#include "replay/code.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FUNCTIONS_MAX 8192 /* sites whose functions are noted */

static const char *const family_texts[HAK_TRAIN_FAMILIES] = {
    [HAK_TRAIN_CLASSES] = "size classes",
    [HAK_TRAIN_CACHES] = "caches by class",
    [HAK_TRAIN_LIFETIME] = "lifetime by site",
    [HAK_TRAIN_REMOTE] = "remote frees by site",
    [HAK_TRAIN_RETENTION] = "BigCache by site",
    [HAK_TRAIN_SITE_THP] = "huge pages by site",
    [HAK_TRAIN_SLACK] = "realloc slack by site",
    [HAK_TRAIN_KNOBS + HAK_FAMILY_TINY] = "tiny settings",
    [HAK_TRAIN_KNOBS + HAK_FAMILY_MID] = "mid settings",
    [HAK_TRAIN_KNOBS + HAK_FAMILY_LARGE] = "large settings",
    [HAK_TRAIN_KNOBS + HAK_FAMILY_PURGE] = "purge settings",
    [HAK_TRAIN_KNOBS + HAK_FAMILY_THP] = "huge page settings",
    [HAK_TRAIN_KNOBS + HAK_FAMILY_SLACK] = "slack settings",
};

static const char *const verdict_texts[] = {
    [HAK_TRAIN_NOTHING_LEARNED] = "nothing learned",
    [HAK_TRAIN_KEPT] = "kept",
    [HAK_TRAIN_UNWEIGHED] = "kept, not weighed alone",
    [HAK_TRAIN_NO_ROOM] = "off: mixing lives holds no memory here",
    [HAK_TRAIN_UNSTABLE] = "off: contexts do not foretell it",
    [HAK_TRAIN_DID_NOT_PAY] = "off: did not pay",
    [HAK_TRAIN_DID_NOT_ACT] = "off: did not act",
};

const char *hak_train_family_text(hak_train_family family)
{
    return family < HAK_TRAIN_FAMILIES ? family_texts[family] : "?";
}

const char *hak_train_verdict_text(hak_train_verdict verdict)
{
    return verdict < HAK_COUNT_OF(verdict_texts) ? verdict_texts[verdict] : "?";
}

void hak_train_machine(char *text, size_t text_bytes)
{
    struct utsname machine = {.machine = "?"};
    uname(&machine);
    snprintf(text, text_bytes, "%.64s cpus %ld kernel %.64s", machine.machine, sysconf(_SC_NPROCESSORS_ONLN),
             machine.release);
}

double hak_objective_max_time(hak_objective objective)
{
    return objective == HAK_OBJECTIVE_RSS ? 0.05 : 0.01;
}

double hak_objective_max_rss(hak_objective objective)
{
    return objective == HAK_OBJECTIVE_TIME ? 0.10 : 0.01;
}

const char *hak_objective_text(hak_objective objective)
{
    static const char *const texts[] = {"balanced", "time", "rss"};
    return objective < HAK_COUNT_OF(texts) ? texts[objective] : "?";
}

/* Names of counters by family; stats.h of the allocator has them. Up to three, NULL ends. */
static const char *const acting[HAK_TRAIN_FAMILIES][4] = {
    [HAK_TRAIN_CLASSES] = {"policy_classes"},
    [HAK_TRAIN_CACHES] = {"policy_refill"},
    [HAK_TRAIN_LIFETIME] = {"policy_short", "policy_long"},
    [HAK_TRAIN_REMOTE] = {"policy_remote"},
    [HAK_TRAIN_RETENTION] = {"policy_keep", "policy_adaptive", "policy_batch"},
    [HAK_TRAIN_SITE_THP] = {"policy_thp"},
    [HAK_TRAIN_SLACK] = {"policy_slack"},
    [HAK_TRAIN_KNOBS + HAK_FAMILY_TINY] = {"policy_settings"},
    [HAK_TRAIN_KNOBS + HAK_FAMILY_MID] = {"policy_settings"},
    [HAK_TRAIN_KNOBS + HAK_FAMILY_LARGE] = {"policy_settings"},
    [HAK_TRAIN_KNOBS + HAK_FAMILY_PURGE] = {"policy_settings"},
    [HAK_TRAIN_KNOBS + HAK_FAMILY_THP] = {"policy_settings"},
    [HAK_TRAIN_KNOBS + HAK_FAMILY_SLACK] = {"policy_settings"},
};

uint64_t hak_train_acted(const hak_measure *measure, hak_train_family family)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < measure->counter_count; i++)
        for (unsigned k = 0; k < 4 && acting[family][k] != NULL; k++)
            if (strcmp(measure->counters[i].name, acting[family][k]) == 0)
                sum += measure->counters[i].value;
    return sum;
}

hak_train_change hak_train_change_of(const hak_estimate *estimate)
{
    return (hak_train_change){
        .mean = expm1(estimate->mean),
        .low = expm1(estimate->low),
        .high = expm1(estimate->high),
        .significant = estimate->high < 0 || estimate->low > 0,
    };
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool add_validation(const hak_train_validation *v, hak_policy *policy)
{
    char line[512];
    snprintf(line, sizeof line,
             "validated %.128s time %+.2f%% [%+.2f, %+.2f] rss %+.2f%% [%+.2f, %+.2f] rounds %" PRIu32
             " decisions %" PRIu64,
             base_name(v->trace), 100 * v->time.mean, 100 * v->time.low, 100 * v->time.high,
             100 * v->rss.mean, 100 * v->rss.low, 100 * v->rss.high, v->rounds, v->decisions);
    return hak_policy_add_evidence(policy, line);
}

static bool add_family(const hak_train_report *report, hak_train_family family, hak_policy *policy)
{
    const hak_train_family_report *f = &report->families[family];
    char line[256];
    int used = snprintf(line, sizeof line, "family %s: %s", hak_train_family_text(family),
                        hak_train_verdict_text(f->verdict));
    if ((f->verdict == HAK_TRAIN_KEPT || f->verdict == HAK_TRAIN_DID_NOT_PAY) && isfinite(f->gain_low) &&
        isfinite(f->gain_high) && f->gain_low < f->gain_high)
        snprintf(line + used, sizeof line - (size_t)used, " (%+.2f%% [%+.2f, %+.2f])", 100 * expm1(f->gain),
                 100 * expm1(f->gain_low), 100 * expm1(f->gain_high));
    return hak_policy_add_evidence(policy, line);
}

/* The functions that the sites lie in, for hakmem-policy remap: the file they were learned on may be gone by
 * then. */
static bool add_functions(hak_policy *policy)
{
    bool done = true;
    for (uint32_t m = 0; m < policy->module_count && done; m++) {
        const hak_policy_module *module = &policy->modules[m];
        const char *wrong;
        uint8_t id[HAK_CODE_ID_BYTES];
        hak_code *code = hak_code_open(policy->module_paths[m], &wrong);
        bool same = code != NULL && module->build_id_bytes != 0 &&
                    hak_code_build_id(code, id) == module->build_id_bytes &&
                    memcmp(id, module->build_id, module->build_id_bytes) == 0;
        for (uint32_t i = 0; same && done && i < policy->node_count && i < FUNCTIONS_MAX; i++) {
            hak_code_place place;
            char line[512];
            if (policy->nodes[i].module == m && hak_code_describe(code, policy->nodes[i].offset, &place) &&
                hak_code_print(&place, id, module->build_id_bytes, policy->nodes[i].offset, line,
                               sizeof line))
                done = hak_policy_add_evidence(policy, line);
        }
        hak_code_close(code);
    }
    return done;
}

bool hak_train_evidence(const hak_train_options *options, const hak_train_report *report, hak_policy *policy)
{
    char line[512];
    snprintf(line, sizeof line,
             "objective %s seed %" PRIu64 " runs %" PRIu64 " generations %" PRIu32 " noise %.4f",
             hak_objective_text(options->objective), options->seed, report->runs, report->generations,
             report->noise);
    bool done = hak_policy_add_evidence(policy, line);
    snprintf(line, sizeof line, "machine %s", report->machine);
    done = done && hak_policy_add_evidence(policy, line);
    for (size_t i = 0; i < options->trace_count && done; i++) {
        snprintf(line, sizeof line, "trained on %.256s", base_name(options->traces[i]));
        done = hak_policy_add_evidence(policy, line);
    }
    for (uint32_t i = 0; i < report->validation_count && done; i++)
        done = add_validation(&report->validations[i], policy);
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES && done; f++)
        done = add_family(report, (hak_train_family)f, policy);
    snprintf(line, sizeof line, "verdict %s: %s", report->frozen ? "better" : "default", report->reason);
    return done && hak_policy_add_evidence(policy, line) && add_functions(policy);
}
