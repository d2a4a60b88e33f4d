/* options.c: environment -> preset -> flags. Reads the environment once, through `environ` and not getenv
 * (which a program may interpose). Never allocates; the caller holds HAK_RANK_INIT. */
#include "core/options.h"

#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "core/base/print.h"
#include "core/policy.h"

#define VALUE_MAX_BYTES    4096 /* longer values are garbage */
#define VARIABLE_MAX_BYTES 64
#define PATH_MAX_BYTES     512 /* of HAKMEM_STATS_FILE */

#define BIT(name) (1u << HAK_FEATURE_##name)
#define POOLED    (BIT(POOL) | BIT(LISTS) | BIT(BIGCACHE) | BIT(BATCH) | BIT(THERMAL) | BIT(THP))

static const struct {
    const char *name;
    uint32_t features;
    hak_evo evo;
} presets[HAK_MODE_COUNT] = {
    [HAK_MODE_MINIMAL] = {"minimal", 0, HAK_EVO_FROZEN},
    [HAK_MODE_FAST] = {"fast", POOLED | BIT(POLICY), HAK_EVO_FROZEN},
    [HAK_MODE_BALANCED] = {"balanced", POOLED, HAK_EVO_FROZEN},
    [HAK_MODE_LEARNING] = {"learning", POOLED | BIT(ELO) | BIT(EVOLUTION) | BIT(SAMPLE) | BIT(SUMMARY),
                           HAK_EVO_LEARN},
    [HAK_MODE_RESEARCH] = {"research",
                           POOLED | BIT(ELO) | BIT(EVOLUTION) | BIT(EVERY) | BIT(HEADERS) | BIT(DUMP) |
                               BIT(VERBOSE),
                           HAK_EVO_LEARN},
};

static const char *const feature_texts[HAK_FEATURE_COUNT] = {
#define X(category, name, text, help) text,
    HAK_FEATURES(X)
#undef X
};

/* Before the environment is read the library behaves as BALANCED; hak_options_init always runs first. */
hak_options hak_opt = {.mode = HAK_MODE_BALANCED, .features = POOLED};

const char *hak_mode_name(hak_mode mode)
{
    return presets[mode].name;
}

static void complain(const char *variable, const char *what)
{
    if (!hak_feature_on(HAK_FEATURE_VERBOSE))
        return;
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem: ");
    hak_out_text(&out, variable);
    hak_out_text(&out, ": ");
    hak_out_text(&out, what);
    hak_out_text(&out, "\n");
    hak_out_flush(&out);
}

extern void *__libc_stack_end __attribute__((weak)); /* ld.so: the stack at the program's entry, at argc */

/* The environment. A library that allocates before libc has started finds `environ` not yet set; then it is
 * read where the kernel put it, behind argc and argv. */
static char **variables(void)
{
    if (environ != NULL || &__libc_stack_end == NULL || __libc_stack_end == NULL)
        return environ;
    const long *argc = __libc_stack_end;
    char **argv = (char **)(argc + 1);
    return *argc >= 0 && argv[*argc] == NULL ? argv + *argc + 1 : NULL;
}

/* Value of a variable or NULL. The environment may be enormous; one pass a variable, at start only. */
static const char *value_of(const char *variable)
{
    size_t len = strlen(variable);
    for (char **at = variables(); at != NULL && *at != NULL; at++)
        if (strncmp(*at, variable, len) == 0 && (*at)[len] == '=')
            return strnlen(*at + len + 1, VALUE_MAX_BYTES) < VALUE_MAX_BYTES ? *at + len + 1 : NULL;
    return NULL;
}

/* Index of the variable's value among the words, or -1 when it is unset or garbage. */
static int word_of(const char *variable, const char *const *words, unsigned count)
{
    const char *value = value_of(variable);
    if (value == NULL || value[0] == '\0')
        return -1;
    for (unsigned i = 0; i < count; i++)
        if (strcmp(value, words[i]) == 0)
            return (int)i;
    complain(variable, "not one of its values; ignored");
    return -1;
}

static bool legacy_switch(const char *variable, int *value)
{
    static const char *const words[] = {"0", "1"};
    *value = word_of(variable, words, 2);
    if (*value >= 0)
        complain(variable, "deprecated; use HAKMEM_MODE or HAKMEM_FEATURES");
    return *value >= 0;
}

static void set_feature(hak_feature feature, bool on)
{
    hak_opt.features = on ? hak_opt.features | 1u << feature : hak_opt.features & ~(1u << feature);
}

/* "+pool,-bigcache,thp" */
static void read_features(void)
{
    const char *at = value_of("HAKMEM_FEATURES");
    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, ",");
        bool signed_word = *at == '+' || *at == '-';
        const char *word = at + signed_word;
        size_t word_len = len - signed_word;
        unsigned i = 0;
        while (i < HAK_FEATURE_COUNT &&
               !(strlen(feature_texts[i]) == word_len && memcmp(word, feature_texts[i], word_len) == 0))
            i++;
        if (i < HAK_FEATURE_COUNT)
            set_feature((hak_feature)i, *at != '-');
        else
            complain("HAKMEM_FEATURES", "unknown feature ignored");
        at += len;
        at += *at == ',';
    }
}

/* Decimal with an optional k, m or g. */
static bool number_of(const char *text, int64_t *number)
{
    bool negative = *text == '-';
    text += negative;
    if (*text < '0' || *text > '9')
        return false;
    int64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *text - '0', &value))
            return false;
    unsigned shift = *text == 'k' || *text == 'K'   ? 10
                     : *text == 'm' || *text == 'M' ? 20
                     : *text == 'g' || *text == 'G' ? 30
                                                    : 0;
    text += shift != 0;
    if (*text != '\0' || value > INT64_MAX >> shift)
        return false;
    *number = (negative ? -value : value) * (INT64_C(1) << shift);
    return true;
}

static void read_knobs(void)
{
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++) {
        const hak_knob_info *info = &hak_knob_infos[i];
        int64_t value = info->def;
        if (hak_feature_on(HAK_FEATURE_POLICY) && hak_policy_loaded() &&
            hak_policy_knob((hak_knob)i, &value) && hak_knob_accept((hak_knob)i, &value))
            hak_opt.knobs_from_policy |= UINT64_C(1) << i;
        else
            value = info->def;
        char variable[VARIABLE_MAX_BYTES] = "HAKMEM_KNOB_";
        strncat(variable, info->text, sizeof variable - strlen(variable) - 1);
        const char *text = value_of(variable);
        if (text == NULL) { /* shells are used to capitals */
            for (char *at = variable; *at != '\0'; at++)
                *at = (char)(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
            text = value_of(variable);
        }
        int64_t given;
        if (text != NULL && number_of(text, &given) && given >= info->min && given <= info->max)
            value = given;
        else if (text != NULL)
            complain(variable, "not a number within its limits; ignored");
        hak_opt.knobs[i] = value;
    }
}

/* The prototype's single variables. */
static void read_single_variables(void)
{
    static const char *const free_words[] = {"adaptive", "batch", "keep"};
    static const char *const thp_words[] = {"off", "auto", "on"};
    static const char *const evo_words[] = {"learn", "frozen", "canary"};
    int word = word_of("HAKMEM_FREE_POLICY", free_words, 3);
    if (word >= 0)
        hak_opt.free_policy = (hak_free_policy)word;
    word = word_of("HAKMEM_EVO_POLICY", evo_words, 3);
    if (word >= 0)
        hak_opt.evo = (hak_evo)word;
    if (legacy_switch("HAKMEM_DISABLE_BIGCACHE", &word) && word == 1)
        set_feature(HAK_FEATURE_BIGCACHE, false);
    if (legacy_switch("HAKMEM_DISABLE_ELO", &word) && word == 1)
        set_feature(HAK_FEATURE_ELO, false);
    if (legacy_switch("HAKMEM_TINY_USE_SUPERSLAB", &word))
        set_feature(HAK_FEATURE_POOL, word == 1);
    word = word_of("HAKMEM_THP", thp_words, 3);
    if (word >= 0) {
        hak_opt.knobs[HAK_KNOB_THP] = word;
        set_feature(HAK_FEATURE_THP, word != HAK_THP_MODE_OFF);
    }
}

static void open_policy(void)
{
    if (!hak_feature_on(HAK_FEATURE_POLICY))
        return;
    const char *path = value_of("HAKMEM_POLICY");
    if (path == NULL || path[0] == '\0') {
        set_feature(HAK_FEATURE_POLICY, false);
        return;
    }
    hak_opt.policy_path = path;
    hak_opt.policy_error = hak_policy_open(path);
    if (hak_opt.policy_error != NULL)
        set_feature(HAK_FEATURE_POLICY, false);
    if (hak_opt.policy_error != NULL && hak_opt.policy_error[0] != '\0') {
        hak_out out;
        hak_out_init(&out, STDERR_FILENO);
        hak_out_text(&out, "hakmem: policy not used: ");
        hak_out_text(&out, hak_opt.policy_error);
        hak_out_text(&out, "\n");
        hak_out_flush(&out);
    }
}

/* What is read at the end is kept as a copy: programs overwrite their environment to show another name. NULL:
 * not set, or empty. */
static const char *path_of(const char *variable, char path[PATH_MAX_BYTES])
{
    const char *value = value_of(variable);
    if (value == NULL || value[0] == '\0')
        return NULL;
    size_t len = strlen(value);
    if (len >= PATH_MAX_BYTES) {
        complain(variable, "too long; ignored");
        return NULL;
    }
    return memcpy(path, value, len + 1);
}

static void read_paths(void)
{
    static char stats[PATH_MAX_BYTES], policy[PATH_MAX_BYTES], canary[PATH_MAX_BYTES];
    hak_opt.policy_out = path_of("HAKMEM_POLICY_OUT", policy);
    hak_opt.canary_out = path_of("HAKMEM_CANARY_OUT", canary);
    hak_opt.stats_path = path_of("HAKMEM_STATS_FILE", stats);
    if (hak_opt.stats_path != NULL && hak_opt.stats == HAK_STATS_NONE) /* asking for the file asks for them */
        hak_opt.stats = HAK_STATS_TABLE;
}

static void use_preset(hak_mode mode)
{
    hak_opt.mode = mode;
    hak_opt.features = presets[mode].features;
    hak_opt.evo = presets[mode].evo;
    hak_opt.free_policy = HAK_FREE_ADAPTIVE;
}

void hak_options_init(void)
{
    use_preset(HAK_MODE_BALANCED);
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++)
        hak_opt.knobs[i] = hak_knob_infos[i].def;
    if (getauxval(AT_SECURE) != 0)
        return;
    const char *words[HAK_MODE_COUNT];
    for (unsigned i = 0; i < HAK_MODE_COUNT; i++)
        words[i] = presets[i].name;
    int mode = word_of("HAKMEM_MODE", words, HAK_MODE_COUNT);
    if (mode >= 0)
        use_preset((hak_mode)mode);
    read_features();
    if (!hak_feature_on(HAK_FEATURE_POOL))
        set_feature(HAK_FEATURE_HEADERS, false); /* the plain heap's blocks carry none */
    open_policy();
    read_knobs();
    read_single_variables();
    static const char *const stats_words[] = {"0", "1", "json"};
    int stats = word_of("HAKMEM_STATS", stats_words, 3);
    if (stats >= 0)
        hak_opt.stats = (hak_stats_form)stats;
    read_paths();
    static const char *const signal_words[] = {"usr1", "usr2"};
    int word = word_of("HAKMEM_POLICY_SIGNAL", signal_words, 2);
    hak_opt.policy_signal = word < 0 ? 0 : word == 0 ? SIGUSR1 : SIGUSR2;
    static const char *const switch_words[] = {"0", "1"};
    hak_opt.show_config = word_of("HAKMEM_SHOW_CONFIG", switch_words, 2) == 1;
    if (hak_opt.knobs[HAK_KNOB_THP] == HAK_THP_MODE_OFF)
        set_feature(HAK_FEATURE_THP, false);
}
