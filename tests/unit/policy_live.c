/* The policy in a running program: what is refused, and that lookups walk exactly as deep as it says. Each
 * case runs in a child, because a process opens one policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/callsite/memo.h"
#include "core/policy.h"
#include "folder.h"
#include "replay/policy_text.h"

static char folder[TEST_PATH];
static char path[TEST_PATH];

static uintptr_t own_bias;
static uintptr_t pc_inner, pc_by_a, pc_by_b;
static uint32_t found;

/* Stands for malloc. */
HAK_NOINLINE static void fake_malloc(bool learn)
{
    hak_frame frame = HAK_FRAME_OF_CALLER();
    if (learn)
        pc_inner = frame.pc;
    else
        found = hak_policy_find_checked(frame, NULL)->node;
    __asm__ volatile("" ::: "memory");
}

HAK_NOINLINE static void wrapper(bool learn, uintptr_t *caller)
{
    fake_malloc(learn);
    *caller = (uintptr_t)__builtin_return_address(0);
    __asm__ volatile("" ::: "memory");
}

HAK_NOINLINE static void by_a(bool learn)
{
    wrapper(learn, &pc_by_a);
    __asm__ volatile("" ::: "memory");
}

HAK_NOINLINE static void by_b(bool learn)
{
    wrapper(learn, &pc_by_b);
    __asm__ volatile("" ::: "memory");
}

static int own_module(struct dl_phdr_info *info, size_t size_bytes, void *arg)
{
    (void)size_bytes;
    hak_policy_module *module = arg;
    own_bias = info->dlpi_addr;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        if (ph->p_type != PT_NOTE)
            continue;
        for (uintptr_t at = own_bias + ph->p_vaddr; at < own_bias + ph->p_vaddr + ph->p_memsz;) {
            const ElfW(Nhdr) *note = (const void *)at;
            if (note->n_type == 3 && note->n_namesz == 4 && note->n_descsz == 20) {
                module->build_id_bytes = 20;
                memcpy(module->build_id, (const char *)(note + 1) + 4, 20);
                return 1;
            }
            at += sizeof *note + ((note->n_namesz + 3) & ~3u) + ((note->n_descsz + 3) & ~3u);
        }
    }
    return 1; /* the program itself comes first */
}

/* Two contexts through one wrapper: a is short-lived, b is unknown and gets the wrapper's default. */
static void make_policy(hak_policy *policy, bool right_build)
{
    hak_policy_init(policy);
    policy->state = HAK_STATE_FROZEN;
    hak_policy_module module = {.weight = 1000000};
    dl_iterate_phdr(own_module, &module);
    assert_int_equal(module.build_id_bytes, 20);
    if (!right_build)
        module.build_id[0] ^= 1;
    hak_policy_add_module(policy, &module, "/somewhere/test_policy_live");
    by_a(true);
    by_b(true);
    hak_policy_node inner = {.offset = pc_inner - own_bias,
                             .parent = HAK_POLICY_ROOT,
                             .flags = HAK_NODE_DEEPER,
                             .row = {.kind = HAK_FRAME_BP, .cfa_offset = 16, .bp_slot = -2},
                             .lifetime = HAK_LIFETIME_LONG};
    hak_policy_node a = {.offset = pc_by_a - own_bias,
                         .parent = hak_policy_add_node(policy, &inner),
                         .lifetime = HAK_LIFETIME_SHORT};
    hak_policy_add_node(policy, &a);
    hak_policy_add_gate(policy, 100, 200);
    policy->knob_set[HAK_KNOB_THP] = true;
    policy->knobs[HAK_KNOB_THP] = 2;
    policy->class_count = 2;
    policy->classes[0] = 16;
    policy->classes[1] = 4096;
}

static void store(const hak_policy *policy)
{
    hak_policy_error error = {.text = ""};
    if (hak_policy_write(policy, path, false, &error) != 0)
        fail_msg("%s", error.text);
}

/* Runs body in a child; the child's assertions are its exit status. */
static void in_child(void (*body)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        body();
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                                               \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static void look_up_both(void)
{
    CHECK(hak_policy_open(path) == NULL);
    CHECK(hak_policy_loaded());
    CHECK(hak_policy_resolved_ppm() == 1000000);
    int64_t value = 0;
    CHECK(hak_policy_knob(HAK_KNOB_THP, &value) && value == 2);
    CHECK(!hak_policy_knob(HAK_KNOB_MMAP_MIN_BYTES, &value));
    const uint32_t *sizes;
    CHECK(hak_policy_classes(&sizes) == 2 && sizes[1] == 4096);
    CHECK(hak_policy_gate_holds(1, 100) && hak_policy_gate_holds(150, 160) &&
          hak_policy_gate_holds(200, 999));
    CHECK(!hak_policy_gate_holds(1, 99) && !hak_policy_gate_holds(201, 300));
    for (int i = 0; i < 3000; i++) { /* beyond the period at which a module is verified */
        by_a(false);
        CHECK(found != HAK_SITE_NONE && hak_policy_node_at(found)->lifetime == HAK_LIFETIME_SHORT);
        by_b(false);
        CHECK(found != HAK_SITE_NONE && hak_policy_node_at(found)->lifetime == HAK_LIFETIME_LONG);
    }
    hak_policy_relocate();
    by_a(false);
    CHECK(hak_policy_node_at(found)->lifetime == HAK_LIFETIME_SHORT);
    fake_malloc(false);
    CHECK(found == HAK_SITE_NONE);
    hak_frame wild = {.pc = 12345, .sp = 8, .bp = 8};
    CHECK(hak_policy_find(wild, NULL)->node == HAK_SITE_NONE);
    wild.pc = pc_inner; /* a known address whose frame leaves the stack: the deciding node is its default */
    CHECK(hak_policy_find(wild, NULL)->lifetime == HAK_LIFETIME_LONG);
}

static void contexts_are_found_and_unknown_ones_get_the_default(void **state)
{
    (void)state;
    hak_policy policy;
    make_policy(&policy, true);
    store(&policy);
    hak_policy_clear(&policy);
    in_child(look_up_both);
}

static void find_nothing(void)
{
    CHECK(dup2(STDOUT_FILENO, STDERR_FILENO) >= 0);
    CHECK(hak_policy_open(path) == NULL);
    by_a(false);
    CHECK(found == HAK_SITE_NONE);
    CHECK(hak_policy_resolved_ppm() == 0);
    int64_t value;
    CHECK(hak_policy_knob(HAK_KNOB_THP, &value)); /* global settings still apply */
}

static void another_build_keeps_the_global_settings_only(void **state)
{
    (void)state;
    hak_policy policy;
    make_policy(&policy, false);
    store(&policy);
    hak_policy_clear(&policy);
    in_child(find_nothing);
}

static const char *expected_refusal;

static void be_refused(void)
{
    const char *why = hak_policy_open(path);
    CHECK(why != NULL && strstr(why, expected_refusal) != NULL);
    CHECK(!hak_policy_loaded());
    CHECK(hak_policy_find((hak_frame){1, 2, 3}, NULL)->node == HAK_SITE_NONE);
    CHECK(!hak_policy_gate_holds(0, SIZE_MAX));
}

static void refused(const char *why)
{
    expected_refusal = why;
    in_child(be_refused);
}

static void what_is_no_frozen_policy_is_refused(void **state)
{
    (void)state;
    unlink(path);
    refused("no such file");
    assert_int_equal(symlink("/dev/null", path), 0);
    refused("not a regular file");
    unlink(path);
    FILE *out = fopen(path, "w");
    fputs("hakmem-policy 1\n", out);
    fclose(out);
    refused("too short");
    out = fopen(path, "w");
    for (int i = 0; i < 100; i++)
        fputs("hakmem-policy 1\n", out);
    fclose(out);
    refused("not a compiled policy");
    hak_policy policy;
    make_policy(&policy, true);
    policy.state = HAK_STATE_LEARN;
    store(&policy);
    refused("still learning");
    policy.state = HAK_STATE_RETIRED;
    store(&policy);
    refused("retired");
    hak_policy_clear(&policy);
    assert_int_equal(truncate(path, 200), 0);
    refused("cut off");
    unlink(path);
    char kept[64];
    memcpy(kept, path, sizeof kept);
    strcpy(path, "/dev/null");
    refused("not a regular file");
    memcpy(path, kept, sizeof kept);
}

static void be_taken(void)
{
    CHECK(hak_policy_open(path) == NULL);
    CHECK(hak_policy_loaded());
}

/* As volumes of Kubernetes hold their files. */
static void a_link_to_a_policy_is_followed(void **state)
{
    (void)state;
    char file[TEST_PATH];
    hak_policy policy;
    make_policy(&policy, true);
    store(&policy);
    hak_policy_clear(&policy);
    assert_true(test_path(file, folder, "data"));
    assert_int_equal(rename(path, file), 0);
    assert_int_equal(symlink("data", path), 0);
    in_child(be_taken);
    unlink(file);
}

static int make_folder(void **state)
{
    (void)state;
    return test_folder_make(folder) && test_path(path, folder, "p") ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_are_found_and_unknown_ones_get_the_default),
        cmocka_unit_test(another_build_keeps_the_global_settings_only),
        cmocka_unit_test(a_link_to_a_policy_is_followed),
        cmocka_unit_test(what_is_no_frozen_policy_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
