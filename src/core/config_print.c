/* config_print.c: what is on and off, as a diagram and as lists. Prints to stderr, only when asked. Never
 * allocates. Any thread. */
#include <unistd.h>

#include "core/base/print.h"
#include "core/alloc.h"
#include "core/include/hakmem.h"
#include "core/options.h"
#include "core/policy.h"

#define NAME_WIDTH  24
#define VALUE_WIDTH 14

static const struct {
    const char *category;
    const char *text;
    const char *help;
} features[HAK_FEATURE_COUNT] = {
#define X(category, name, text, help) {#category, text, help},
    HAK_FEATURES(X)
#undef X
};

static const char *mark(hak_feature feature)
{
    return hak_feature_on(feature) ? "[x] " : "[ ] ";
}

static void print_diagram(hak_out *out)
{
    if (!hak_feature_on(HAK_FEATURE_POOL)) {
        hak_out_text(out, "  malloc ──▶ plain heap, one lock ──▶ system\n");
    } else {
        hak_out_text(out, "  malloc ──▶ ");
        hak_out_text(out, mark(HAK_FEATURE_LISTS));
        hak_out_text(out, "thread lists ──▶ ");
        hak_out_text(out, mark(HAK_FEATURE_POOL));
        hak_out_text(out, "SuperSlab pool ──▶ ");
    }
    if (hak_feature_on(HAK_FEATURE_POOL)) {
        hak_out_text(out, mark(HAK_FEATURE_BATCH));
        hak_out_text(out, "batched purge ──▶ system\n");
    }
    hak_out_text(out, "         └─▶ large ──▶ ");
    hak_out_text(out, mark(HAK_FEATURE_BIGCACHE));
    hak_out_text(out, "BigCache ──▶ ");
    hak_out_text(out, mark(HAK_FEATURE_THP));
    hak_out_text(out, "huge pages ──▶ system\n");
    hak_out_text(out, "  contexts ──▶ ");
    hak_out_text(out, mark(HAK_FEATURE_POLICY));
    hak_out_text(out, "policy   ");
    hak_out_text(out, mark(HAK_FEATURE_ELO));
    hak_out_text(out, "ELO   ");
    hak_out_text(out, mark(HAK_FEATURE_EVOLUTION));
    hak_out_text(out, "evolution\n");
}

static void print_features(hak_out *out)
{
    const char *category = "";
    for (unsigned i = 0; i < HAK_FEATURE_COUNT; i++) {
        if (features[i].category != category) {
            category = features[i].category;
            hak_out_text(out, "  ");
            hak_out_text(out, category);
            hak_out_text(out, "\n");
        }
        hak_out_text(out, "    ");
        hak_out_text(out, mark((hak_feature)i));
        hak_out_pad_text(out, features[i].text, 12);
        hak_out_text(out, features[i].help);
        hak_out_text(out, "\n");
    }
}

static void print_settings(hak_out *out)
{
    static const char *const free_words[] = {"adaptive", "batch", "keep"};
    static const char *const evo_words[] = {"learn", "frozen", "canary"};
    hak_out_text(out, "  free policy ");
    hak_out_text(out, free_words[hak_opt.free_policy]);
    hak_out_text(out, ", evolution ");
    hak_out_text(out, evo_words[hak_opt.evo]);
    hak_out_text(out, ", policy ");
    hak_out_text(out, hak_opt.policy_path != NULL ? hak_opt.policy_path : "none");
    if (hak_opt.policy_error != NULL) {
        hak_out_text(out, " (not used: ");
        hak_out_text(out, hak_opt.policy_error);
        hak_out_text(out, ")");
    }
    hak_out_text(out, "\n");
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++) {
        hak_out_text(out, "    ");
        hak_out_pad_text(out, hak_knob_infos[i].text, NAME_WIDTH);
        hak_out_pad_u64(out, (uint64_t)hak_opt.knobs[i], VALUE_WIDTH);
        if ((hak_opt.knobs_from_policy >> i & 1) != 0)
            hak_out_text(out, "  (policy)");
        else if (hak_opt.knobs[i] != hak_knob_infos[i].def)
            hak_out_text(out, "  (environment)");
        hak_out_text(out, "\n");
    }
}

HAK_EXPORT const char *hakmem_version(void)
{
    return HAKMEM_VERSION;
}

HAK_EXPORT const char *hakmem_mode(void)
{
    if (!atomic_load_explicit(&hak_ready, memory_order_acquire))
        hak_init();
    return hak_mode_name(hak_opt.mode);
}

HAK_EXPORT void hakmem_print_config(void)
{
    const char *mode = hakmem_mode();
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem " HAKMEM_VERSION ", mode ");
    hak_out_text(&out, mode);
    hak_out_text(&out, "\n");
    print_diagram(&out);
    print_features(&out);
    print_settings(&out);
    hak_out_flush(&out);
}
