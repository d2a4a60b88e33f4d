/* core_options.c: what the environment makes of the options, sensible and not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/options.h"

static const hak_options nothing;

/* Reads the options from these variables alone; the last one is NULL. */
static void read_from(const char *const *variables)
{
    char **saved = environ;
    hak_opt = nothing;
    environ = (char **)variables;
    hak_options_init();
    environ = saved;
}

#define READ(...) read_from((const char *const[]){__VA_ARGS__, NULL})

static void assert_defaults(void)
{
    assert_int_equal(hak_opt.mode, HAK_MODE_BALANCED);
    assert_true(hak_feature_on(HAK_FEATURE_POOL) && hak_feature_on(HAK_FEATURE_BIGCACHE));
    assert_false(hak_feature_on(HAK_FEATURE_HEADERS) || hak_feature_on(HAK_FEATURE_POLICY) ||
                 hak_feature_on(HAK_FEATURE_SAMPLE));
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++)
        assert_int_equal(hak_opt.knobs[i], hak_knob_infos[i].def);
    assert_int_equal(hak_opt.stats, HAK_STATS_NONE);
    assert_false(hak_opt.show_config);
}

static void defaults(void **state)
{
    (void)state;
    READ("PATH=/bin");
    assert_defaults();
    read_from((const char *const[]){NULL});
    assert_defaults();
}

static void modes(void **state)
{
    (void)state;
    READ("HAKMEM_MODE=minimal");
    assert_int_equal(hak_opt.mode, HAK_MODE_MINIMAL);
    assert_int_equal(hak_opt.features, 0);
    READ("HAKMEM_MODE=fast"); /* without a policy there is none to follow */
    assert_int_equal(hak_opt.mode, HAK_MODE_FAST);
    assert_false(hak_feature_on(HAK_FEATURE_POLICY));
    READ("HAKMEM_MODE=learning");
    assert_true(hak_feature_on(HAK_FEATURE_SAMPLE) && hak_feature_on(HAK_FEATURE_ELO));
    READ("HAKMEM_MODE=research");
    assert_true(hak_feature_on(HAK_FEATURE_HEADERS) && hak_feature_on(HAK_FEATURE_EVERY));
    assert_string_equal(hak_mode_name(hak_opt.mode), "research");
}

static void features(void **state)
{
    (void)state;
    READ("HAKMEM_FEATURES=-bigcache,+sample,thermal,-thp");
    assert_false(hak_feature_on(HAK_FEATURE_BIGCACHE) || hak_feature_on(HAK_FEATURE_THP));
    assert_true(hak_feature_on(HAK_FEATURE_SAMPLE) && hak_feature_on(HAK_FEATURE_THERMAL));
    READ("HAKMEM_MODE=research", "HAKMEM_FEATURES=-pool"); /* the plain heap knows no headers */
    assert_false(hak_feature_on(HAK_FEATURE_POOL) || hak_feature_on(HAK_FEATURE_HEADERS));
    READ("HAKMEM_FEATURES=+poo,+pools,,,+,-,=,++bigcache");
    assert_defaults();
    READ("HAKMEM_DISABLE_BIGCACHE=1", "HAKMEM_DISABLE_ELO=1", "HAKMEM_MODE=learning");
    assert_false(hak_feature_on(HAK_FEATURE_BIGCACHE) || hak_feature_on(HAK_FEATURE_ELO));
    READ("HAKMEM_TINY_USE_SUPERSLAB=0");
    assert_false(hak_feature_on(HAK_FEATURE_POOL));
}

static void knobs(void **state)
{
    (void)state;
    READ("HAKMEM_KNOB_tiny_cache_bytes=32k", "HAKMEM_KNOB_bigcache_bytes=1g", "HAKMEM_KNOB_bigcache_ways=5");
    assert_int_equal(hak_opt.knobs[HAK_KNOB_TINY_CACHE_BYTES], 32 * HAK_KIB);
    assert_int_equal(hak_opt.knobs[HAK_KNOB_BIGCACHE_BYTES], HAK_GIB);
    assert_int_equal(hak_opt.knobs[HAK_KNOB_BIGCACHE_WAYS], 5);
    READ("HAKMEM_THP=off");
    assert_int_equal(hak_opt.knobs[HAK_KNOB_THP], HAK_THP_MODE_OFF);
    assert_false(hak_feature_on(HAK_FEATURE_THP));
    /* Each at both ends of its range, and one step past them. */
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++) {
        const hak_knob_info *info = &hak_knob_infos[i];
        const int64_t asked[] = {info->min, info->max, info->min - 1, info->max + 1};
        for (unsigned k = 0; k < 4; k++) {
            char text[128];
            snprintf(text, sizeof text, "HAKMEM_KNOB_%s=%lld", info->text, (long long)asked[k]);
            READ(text);
            assert_int_equal(hak_opt.knobs[i], k < 2 ? asked[k] : info->def);
        }
    }
}

static void garbage(void **state)
{
    (void)state;
    static char longest[70000] = "HAKMEM_MODE=";
    memset(longest + 12, 'r', sizeof longest - 13);
    READ("HAKMEM_MODE=Research", "HAKMEM_STATS=yes", "HAKMEM_SHOW_CONFIG=true", "HAKMEM_THP=1",
         "HAKMEM_FREE_POLICY=", "HAKMEM_EVO_POLICY=\xff", "HAKMEM_KNOB_mmap_min_bytes=0x100000",
         "HAKMEM_KNOB_bigcache_ways=9223372036854775808", "HAKMEM_KNOB_thp= 1",
         "HAKMEM_KNOB_bigcache_bytes=1kk", "HAKMEM_KNOB_=5", "HAKMEM_", "=", "");
    assert_defaults();
    READ(longest);
    assert_defaults();
    READ("HAKMEM_MODE", "HAKMEM_MODEL=minimal", "hakmem_mode=minimal");
    assert_defaults();
    READ("HAKMEM_MODE=fast", "HAKMEM_MODE=minimal"); /* the first one counts, as for getenv */
    assert_int_equal(hak_opt.mode, HAK_MODE_FAST);
}

static void statistics(void **state)
{
    (void)state;
    READ("HAKMEM_STATS=json");
    assert_int_equal(hak_opt.stats, HAK_STATS_JSON);
    assert_null(hak_opt.stats_path);
    READ("HAKMEM_STATS_FILE=/tmp/here.%p"); /* asks for them, too */
    assert_int_equal(hak_opt.stats, HAK_STATS_TABLE);
    assert_string_equal(hak_opt.stats_path, "/tmp/here.%p");
    static char longest[2000] = "HAKMEM_STATS_FILE=/";
    memset(longest + 19, 'x', sizeof longest - 20);
    READ(longest);
    assert_null(hak_opt.stats_path);
    assert_defaults();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(modes),   cmocka_unit_test(features),
        cmocka_unit_test(knobs),    cmocka_unit_test(garbage), cmocka_unit_test(statistics),
    };
    hak_options before = hak_opt; /* the allocator of this very program goes by them */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hak_opt = before;
    return failed;
}
