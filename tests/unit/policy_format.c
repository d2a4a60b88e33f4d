/* The compiled form and its check, the text form, and that each is the other's inverse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/wire.h"
#include "folder.h"
#include "replay/policy_text.h"

static const char canonical[] =
    "hakmem-policy 1\n"
    "state frozen\n"
    "created 1764000000\n"
    "program sqlite3\\x20\\xc3\\xa9\n"
    "set tiny_cache_bytes 32768\n"
    "set thp 2\n"
    "classes 16 48 32768\n"
    "gate 17 64\n"
    "gate 100 4294967295\n"
    "module m0 weight=1000000 build-id=00112233445566778899aabbccddeeff01234567 path=/usr/bin/sqlite3\n"
    "module m1 weight=500000 path=/lib/a\\x0ab path=odd.so\n"
    "site m0+0x10 lifetime=short blocks=5 purity=1000000 size=32\n"
    "site m1+0x20 up=sp+48,-2 slack=25 blocks=9 purity=10 size=100\n"
    "  site m0+0x30 up=bp+16 lifetime=long remote-freed blocks=1 purity=1 size=1\n"
    "    site m1+0x20 thp=on blocks=1 purity=1 size=1\n"
    "  site m0+0x40 up=*bp-8 retention=batch blocks=1 purity=1 size=1\n"
    "site m1+0x21 retention=keep thp=off blocks=1 purity=1 size=18446744073709551615\n"
    "evidence trace a.gz 12\n"
    "evidence note \\x1b[31m\n";

/* What the program line becomes: a space needs no escape. */
static char *expected_text(void)
{
    char *text = strdup(canonical);
    char *escaped = strstr(text, "sqlite3\\x20");
    memmove(escaped + 8, escaped + 11, strlen(escaped + 11) + 1);
    escaped[7] = ' ';
    return text;
}

static char *print(const hak_policy *policy)
{
    char *text = NULL;
    size_t len_bytes = 0;
    FILE *out = open_memstream(&text, &len_bytes);
    assert_int_equal(hak_policy_print(policy, out), 0);
    fclose(out);
    return text;
}

static void parse(const char *text, hak_policy *policy)
{
    hak_policy_error error = {.text = ""};
    if (hak_policy_parse(text, strlen(text), policy, &error) != 0)
        fail_msg("line %llu: %s", (unsigned long long)error.line, error.text);
}

static uint8_t *encode(const char *text, size_t *len_bytes)
{
    hak_policy policy;
    hak_policy_error error = {.text = ""};
    parse(text, &policy);
    uint8_t *bytes = hak_policy_encode(&policy, len_bytes, &error);
    assert_string_equal(error.text, "");
    assert_non_null(bytes);
    hak_policy_clear(&policy);
    return bytes;
}

/* The same bytes with a checksum that fits them. */
static const char *check_resealed(uint8_t *bytes, size_t len_bytes)
{
    hak_policy_header *header = (void *)bytes;
    header->crc32 = hak_crc32(0, bytes + 20, len_bytes - 20);
    return hak_policy_check(bytes, len_bytes);
}

static void text_to_binary_to_text_is_the_identity(void **state)
{
    (void)state;
    char *expected = expected_text();
    size_t len_bytes, again_bytes;
    uint8_t *bytes = encode(canonical, &len_bytes);
    hak_policy policy;
    hak_policy_error error;
    assert_int_equal(hak_policy_decode(bytes, len_bytes, &policy, &error), 0);
    char *text = print(&policy);
    assert_string_equal(text, expected);
    uint8_t *again = encode(text, &again_bytes);
    assert_int_equal(again_bytes, len_bytes);
    assert_memory_equal(again, bytes, len_bytes);
    assert_string_equal(policy.module_paths[1], "/lib/a\nb path=odd.so");
    hak_policy_clear(&policy);
    free(bytes);
    free(again);
    free(text);
    free(expected);
}

static void sites_in_any_order_become_canonical(void **state)
{
    (void)state;
    hak_policy policy;
    parse("hakmem-policy 1\n# a comment\n\nmodule m0 path=a\n"
          "site m0+0x30\nsite m0+0x20 up=sp+8\n  site m0+0x9\n  site m0+0x8\nsite m0+0x10 up=sp+8\n  site "
          "m0+0x9\n",
          &policy);
    assert_int_equal(policy.node_count, 6);
    const uint64_t offsets[] = {0x10, 0x20, 0x30, 0x9, 0x8, 0x9};
    const uint32_t parents[] = {HAK_POLICY_ROOT, HAK_POLICY_ROOT, HAK_POLICY_ROOT, 0, 1, 1};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(policy.nodes[i].offset, offsets[i]);
        assert_int_equal(policy.nodes[i].parent, parents[i]);
    }
    hak_policy_node extra = {.offset = 0x5, .parent = 4, .row = {0}};
    (void)extra;
    for (unsigned i = 0; i < 20; i++) /* growing after a sort stays within the allocation (asan) */
        assert_int_not_equal(hak_policy_add_node(&policy, &extra), UINT32_MAX);
    hak_policy_clear(&policy);
}

static void refuses(const char *text, const char *why)
{
    hak_policy policy;
    hak_policy_error error = {.text = ""};
    assert_int_equal(hak_policy_parse(text, strlen(text), &policy, &error), -1);
    if (strstr(error.text, why) == NULL)
        fail_msg("'%s' should say '%s', says '%s'", text, why, error.text);
}

#define HEAD "hakmem-policy 1\n"

static void bad_text_is_refused_with_its_reason(void **state)
{
    (void)state;
    refuses("", "empty");
    refuses("hello\n", "not a policy");
    refuses("hakmem-policy 2\n", "another version");
    refuses(HEAD "state thawed\n", "none of");
    refuses(HEAD "set nothing 1\n", "no such setting");
    refuses(HEAD "set thp 3\n", "between 0 and 2");
    refuses(HEAD "classes 16 17\n", "size class");
    refuses(HEAD "classes 32 16\n", "size class");
    refuses(HEAD "classes 99999\n", "up to");
    refuses(HEAD "gate 5 4\n", "gate");
    refuses(HEAD "gate 1 5\ngate 5 6\n", "gate");
    refuses(HEAD "module m1 path=a\n", "numbered");
    refuses(HEAD "module m0 build-id=abc path=a\n", "not understood");
    refuses(HEAD "module m0 path=a\\q\n", "escape");
    refuses(HEAD "module m0 path=a\\x00\n", "escape");
    refuses(HEAD "site m0+0x1\n", "out of bounds");
    refuses(HEAD "module m0 path=a\nsite m0+0x1\nsite m0+0x1\n", "twice");
    refuses(HEAD "module m0 path=a\nsite m0+0x1\n  site m0+0x2\n", "no up=");
    refuses(HEAD "module m0 path=a\n  site m0+0x2\n", "deeper");
    refuses(HEAD "module m0 path=a\nsite m0+0x1 slack=26\n", "not understood");
    refuses(HEAD "module m0 path=a\nsite m0+0x1 up=ax+8\n", "not understood");
    refuses(HEAD "module m0 path=a\nsite m0+0xffffffffffff\n", "out of bounds");
    refuses(HEAD "nonsense 1\n", "not understood");
}

static void too_deep_a_site_is_refused(void **state)
{
    (void)state;
    char text[8192] = HEAD "module m0 path=a\n";
    for (int i = 0; i < 17; i++) {
        char line[128];
        snprintf(line, sizeof line, "%*ssite m0+0x1%s\n", 2 * i, "", i < 16 ? " up=sp+8" : "");
        strcat(text, line);
    }
    refuses(text, "deeper");
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    size_t len_bytes;
    uint8_t *bytes = encode(canonical, &len_bytes);
    assert_null(hak_policy_check(bytes, len_bytes));
    for (size_t bit = 0; bit < 8 * len_bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_non_null(hak_policy_check(bytes, len_bytes));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < len_bytes; cut++)
        assert_non_null(hak_policy_check(bytes, cut));
    free(bytes);
}

static void fields_out_of_range_are_refused_behind_a_right_checksum(void **state)
{
    (void)state;
    size_t len_bytes;
    uint8_t *bytes = encode(canonical, &len_bytes);
    hak_policy_header *header = (void *)bytes;
    hak_policy_node *nodes = (void *)(bytes + header->nodes.offset);
    hak_policy_module *modules = (void *)(bytes + header->modules.offset);
#define REFUSED_WITH(field, value)                                                                           \
    do {                                                                                                     \
        __typeof__(field) kept = (field);                                                                    \
        (field) = (value);                                                                                   \
        if (check_resealed(bytes, len_bytes) == NULL)                                                        \
            fail_msg("accepted with " #field " = " #value);                                                  \
        (field) = kept;                                                                                      \
        assert_null(check_resealed(bytes, len_bytes));                                                       \
    } while (0)
    REFUSED_WITH(header->nodes.count, UINT32_MAX);
    REFUSED_WITH(header->nodes.offset, header->nodes.offset + 4);
    REFUSED_WITH(header->nodes.offset, UINT32_MAX - 7);
    REFUSED_WITH(header->modules.count, 0);
    REFUSED_WITH(header->strings.count, 3);
    REFUSED_WITH(header->knobs.offset, 0);
    REFUSED_WITH(header->state, 4);
    REFUSED_WITH(modules[0].path, header->strings.count);
    REFUSED_WITH(modules[0].build_id_bytes, 21);
    REFUSED_WITH(modules[1].weight, 1000001);
    REFUSED_WITH(nodes[0].module, 2);
    REFUSED_WITH(nodes[0].parent, 0);
    REFUSED_WITH(nodes[3].parent, 0); /* a leaf as parent */
    REFUSED_WITH(nodes[1].parent, 3); /* forward */
    REFUSED_WITH(nodes[0].flags, 4);
    REFUSED_WITH(nodes[0].lifetime, 3);
    REFUSED_WITH(nodes[0].thp, 3);
    REFUSED_WITH(nodes[0].retention, 4);
    REFUSED_WITH(nodes[0].slack_percent, 26);
    REFUSED_WITH(nodes[0].purity_ppm, 1000001);
    REFUSED_WITH(nodes[1].row.kind, HAK_FRAME_END);
    REFUSED_WITH(nodes[1].row.cfa_offset, INT32_MAX);
    REFUSED_WITH(nodes[0].row.kind, HAK_FRAME_SP);
    REFUSED_WITH(nodes[0].offset, UINT64_C(1) << 60);
    free(bytes);
}

/* Whatever passes the check decodes, prints and parses again. */
static void random_damage_is_refused_or_harmless(void **state)
{
    (void)state;
    size_t len_bytes;
    uint8_t *bytes = encode(canonical, &len_bytes);
    uint8_t *copy = malloc(len_bytes);
    uint64_t random = 1;
    unsigned accepted = 0;
    for (unsigned round = 0; round < 20000; round++) {
        memcpy(copy, bytes, len_bytes);
        for (unsigned i = 0; i < 1 + round % 3; i++) {
            random = hak_mix64(random + round);
            copy[20 + random % (len_bytes - 20)] = (uint8_t)(random >> 32);
        }
        if (check_resealed(copy, len_bytes) != NULL)
            continue;
        accepted++;
        hak_policy policy, again;
        hak_policy_error error;
        assert_int_equal(hak_policy_decode(copy, len_bytes, &policy, &error), 0);
        char *text = print(&policy);
        parse(text, &again);
        hak_policy_clear(&again);
        hak_policy_clear(&policy);
        free(text);
    }
    assert_true(accepted > 100);
    free(copy);
    free(bytes);
}

static void files_are_written_whole_and_read_in_either_form(void **state)
{
    (void)state;
    char folder[TEST_PATH], path[TEST_PATH], missing[TEST_PATH];
    assert_true(test_folder_make(folder));
    assert_true(test_path(path, folder, "p") && test_path(missing, folder, "none/p"));
    hak_policy policy, back;
    hak_policy_error error;
    parse(canonical, &policy);
    for (int text = 0; text < 2; text++) {
        assert_int_equal(hak_policy_write(&policy, path, text, &error), 0);
        assert_int_equal(hak_policy_read(path, &back, &error), 0);
        char *a = print(&policy), *b = print(&back);
        assert_string_equal(a, b);
        free(a);
        free(b);
        hak_policy_clear(&back);
    }
    policy.nodes[0].thp = 77; /* must not reach a file */
    assert_int_equal(hak_policy_write(&policy, path, false, &error), -1);
    assert_int_equal(hak_policy_read(path, &back, &error), 0);
    hak_policy_clear(&back);
    assert_int_equal(hak_policy_write(&policy, missing, false, &error), -1);
    assert_int_equal(hak_policy_read(missing, &back, &error), -1);
    assert_int_equal(hak_policy_read(folder, &back, &error), -1);
    assert_string_equal(error.text, "not a regular file");
    hak_policy_clear(&policy);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* no temporary file is left */
}

/* bigcache_ways went to 64 while 8 acted. */
static void a_setting_above_what_acts_today_becomes_the_limit_of_today(void **state)
{
    (void)state;
    hak_policy policy;
    hak_policy_error error = {.text = ""};
    parse("hakmem-policy 1\nstate frozen\ncreated 0\nset bigcache_ways 64\n", &policy);
    assert_int_equal(policy.knobs[HAK_KNOB_BIGCACHE_WAYS], 8);
    hak_policy_clear(&policy);
    size_t len_bytes;
    uint8_t *bytes = encode("hakmem-policy 1\nstate frozen\ncreated 0\nset bigcache_ways 5\n", &len_bytes);
    hak_policy_setting *knobs = (void *)(bytes + ((hak_policy_header *)(void *)bytes)->knobs.offset);
    knobs[0].value = 33;
    assert_null(check_resealed(bytes, len_bytes));
    assert_int_equal(hak_policy_decode(bytes, len_bytes, &policy, &error), 0);
    assert_true(policy.knob_set[HAK_KNOB_BIGCACHE_WAYS]);
    assert_int_equal(policy.knobs[HAK_KNOB_BIGCACHE_WAYS], 8);
    hak_policy_clear(&policy);
    knobs[0].value = 65;
    assert_non_null(check_resealed(bytes, len_bytes));
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_to_binary_to_text_is_the_identity),
        cmocka_unit_test(sites_in_any_order_become_canonical),
        cmocka_unit_test(bad_text_is_refused_with_its_reason),
        cmocka_unit_test(too_deep_a_site_is_refused),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(fields_out_of_range_are_refused_behind_a_right_checksum),
        cmocka_unit_test(random_damage_is_refused_or_harmless),
        cmocka_unit_test(a_setting_above_what_acts_today_becomes_the_limit_of_today),
        cmocka_unit_test(files_are_written_whole_and_read_in_either_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
