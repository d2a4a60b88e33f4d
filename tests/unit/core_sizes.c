/* core_sizes.c: the ladder of small sizes, the classes of large ones, and the page map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "core/large.h"
#include "core/pagemap.h"
#include "core/size_class.h"

#define WASTE_PERCENT 26 /* of a block, rounding to 16 left out */

/* Every request has a class, the smallest that holds it. */
static void ladder_holds(void)
{
    for (size_t bytes = 0; bytes <= HAK_SMALL_MAX_BYTES; bytes++) {
        unsigned index = hak_class_of(bytes);
        assert_true(index < hak_classes.count);
        assert_true(hak_classes.of[index].block_bytes >= bytes);
        assert_true(index == 0 || hak_classes.of[index - 1].block_bytes < bytes);
    }
    for (unsigned i = 0; i < hak_classes.count; i++) {
        const hak_class *class = &hak_classes.of[i];
        assert_int_equal(class->block_bytes % HAK_CLASS_STEP, 0);
        assert_true(i == 0 || class->block_bytes > hak_classes.of[i - 1].block_bytes);
        assert_true(class->units >= 1 && class->units * HAK_UNIT_BYTES >= 2 * (size_t) class->block_bytes);
    }
}

static void standard_ladder(void **state)
{
    (void)state;
    hak_classes_init(NULL, 0);
    ladder_holds();
    for (size_t bytes = 16; bytes <= HAK_SMALL_MAX_BYTES; bytes++) {
        size_t block = hak_classes.of[hak_class_of(bytes)].block_bytes;
        assert_true(block - bytes < 16 || (block - bytes) * 100 <= bytes * WASTE_PERCENT);
    }
}

static void fitted_ladder(void **state)
{
    (void)state;
    static const uint32_t few[] = {48, 64, 4096};
    hak_classes_init(few, HAK_COUNT_OF(few));
    ladder_holds();
    assert_int_equal(hak_classes.count, 4); /* 32768 was missing */
    assert_int_equal(hak_classes.of[hak_class_of(1)].block_bytes, 48);
    assert_int_equal(hak_classes.of[hak_class_of(65)].block_bytes, 4096);
    static uint32_t many[HAK_CLASS_MAX + 20];
    for (uint32_t i = 0; i < HAK_COUNT_OF(many); i++)
        many[i] = (i + 1) * 16;
    hak_classes_init(many, HAK_COUNT_OF(many));
    ladder_holds();
    assert_true(hak_classes.count <= HAK_CLASS_MAX);
    hak_classes_init(NULL, 0);
}

/* A quotient that is off by one would hand out the same block twice. */
static void quotients(void **state)
{
    (void)state;
    hak_classes_init(NULL, 0);
    for (unsigned i = 0; i < hak_classes.count; i++) {
        size_t block = hak_classes.of[i].block_bytes;
        for (size_t offset = 0; offset < HAK_CHUNK_BYTES; offset += offset % block == 0 ? 1 : block / 2 - 1) {
            uint32_t quotient = hak_class_quotient(hak_classes.of[i].reciprocal, offset);
            assert_int_equal(quotient, offset / block);
        }
        for (size_t number = 1; number * block < HAK_CHUNK_BYTES; number++) {
            assert_int_equal(hak_class_quotient(hak_classes.of[i].reciprocal, number * block), number);
            assert_int_equal(hak_class_quotient(hak_classes.of[i].reciprocal, number * block - 1),
                             number - 1);
        }
    }
}

static void aligned_classes(void **state)
{
    (void)state;
    hak_classes_init(NULL, 0);
    for (size_t align = 32; align <= 4096; align *= 2)
        for (size_t bytes = 1; bytes <= HAK_SMALL_MAX_BYTES; bytes += 37) {
            unsigned index = hak_class_aligned(bytes, align);
            if (index == HAK_CLASS_NONE)
                continue;
            assert_true(hak_classes.of[index].block_bytes >= bytes);
            assert_int_equal(hak_classes.of[index].block_bytes % align, 0);
        }
    assert_int_equal(hak_class_aligned(HAK_SMALL_MAX_BYTES + 1, 16), HAK_CLASS_NONE);
    assert_int_not_equal(hak_class_aligned(1, 4096), HAK_CLASS_NONE);
}

static void large_classes(void **state)
{
    (void)state;
    unsigned before = 0;
    for (size_t bytes = 65536; bytes < (size_t)1 << 30; bytes += bytes / 7) {
        unsigned index = hak_large_class(bytes);
        assert_in_range(index, before, before + 2);
        if (bytes >= 1 << 17) /* eight to a doubling */
            assert_int_equal(hak_large_class(2 * bytes), index + 8);
        before = index;
    }
    assert_int_equal(hak_large_class(1), 0);
    assert_int_equal(hak_large_class(SIZE_MAX / 2), HAK_LARGE_CLASSES - 1);
}

/* Any value may be asked about; only what was set is ours. */
static void page_map(void **state)
{
    (void)state;
    static const uintptr_t odd[] = {0,
                                    1,
                                    15,
                                    UINT64_C(0x7fffffffffff),
                                    UINT64_C(0x800000000000),
                                    UINT64_C(0xffff800000000000),
                                    UINT64_C(0xdeadbeefdeadbeef),
                                    UINTPTR_MAX};
    for (size_t i = 0; i < HAK_COUNT_OF(odd); i++) {
        bool freed;
        assert_int_equal(hak_page_map_kind((void *)odd[i]), HAK_CHUNK_FOREIGN);
        assert_null(hak_large_of((void *)odd[i], &freed));
    }
    char *block = malloc(100), *large = malloc(5 << 20);
    bool freed;
    assert_int_equal(hak_page_map_kind(block), HAK_CHUNK_SUPERSLAB);
    assert_true(hak_page_map_kind(large) >= HAK_CHUNK_REGION);
    assert_non_null(hak_large_of(large, &freed));
    assert_null(hak_large_of(large + 16, &freed));
    assert_int_equal(hak_page_map_kind(&freed), HAK_CHUNK_FOREIGN);
    char *nowhere = (char *)((uintptr_t)3 << 40);
    assert_true(hak_page_map_covers(nowhere, 3));
    hak_page_map_set(nowhere, 3, HAK_CHUNK_PLAIN);
    assert_int_equal(hak_page_map_kind(nowhere - 1), HAK_CHUNK_FOREIGN);
    assert_int_equal(hak_page_map_kind(nowhere), HAK_CHUNK_PLAIN);
    assert_int_equal(hak_page_map_kind(nowhere + 3 * HAK_CHUNK_BYTES - 1), HAK_CHUNK_PLAIN);
    assert_int_equal(hak_page_map_kind(nowhere + 3 * HAK_CHUNK_BYTES), HAK_CHUNK_FOREIGN);
    hak_page_map_set(nowhere, 3, HAK_CHUNK_FOREIGN);
    assert_false(hak_page_map_covers((void *)odd[4], 1));
    assert_false(hak_page_map_covers((void *)(odd[4] - HAK_CHUNK_BYTES), 2));
    assert_false(hak_page_map_covers(nowhere, SIZE_MAX));
    free(large);
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(standard_ladder), cmocka_unit_test(fitted_ladder), cmocka_unit_test(quotients),
        cmocka_unit_test(aligned_classes), cmocka_unit_test(large_classes), cmocka_unit_test(page_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
