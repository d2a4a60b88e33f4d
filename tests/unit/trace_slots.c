/* Slots and the index: against plain models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "trace/index.h"
#include "trace/slots.h"

static void slots_are_dense_and_reused_last_in_first_out(void **state)
{
    (void)state;
    hak_slots *slots = hak_slots_new();
    uint32_t lost;
    assert_int_equal(hak_slots_add(slots, 0, &lost), 0);
    assert_int_equal(hak_slots_take(slots, 0), 0);
    for (uint32_t i = 1; i <= 5; i++)
        assert_int_equal(hak_slots_add(slots, i * 16, &lost), i);
    assert_int_equal(hak_slots_take(slots, 2 * 16), 2);
    assert_int_equal(hak_slots_take(slots, 4 * 16), 4);
    assert_int_equal(hak_slots_take(slots, 4 * 16), 0);
    assert_int_equal(hak_slots_live(slots), 3);
    assert_int_equal(hak_slots_add(slots, 1000, &lost), 4);
    assert_int_equal(hak_slots_add(slots, 1001, &lost), 2);
    assert_int_equal(hak_slots_add(slots, 1002, &lost), 6);
    assert_int_equal(lost, 0);
    assert_int_equal(hak_slots_add(slots, 1001, &lost), 2); /* its free was missed */
    assert_int_equal(lost, 2);
    assert_int_equal(hak_slots_live(slots), 6);
    hak_slots_free(slots);
}

/* Addresses collide in the table on purpose (few of them, close together); the model is an array. */
static void slots_agree_with_a_model(void **state)
{
    (void)state;
    enum { ADDRESSES = 20000, STEPS = 2000000 };
    hak_slots *slots = hak_slots_new();
    uint32_t *model = calloc(ADDRESSES + 1, sizeof *model);
    uint8_t *used = calloc(ADDRESSES + 2, 1);
    uint64_t random = 1;
    uint32_t live = 0;
    for (int i = 0; i < STEPS; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t address = 1 + (random >> 33) % ADDRESSES;
        uint32_t lost;
        if (model[address] == 0) {
            uint32_t slot = hak_slots_add(slots, address * 16, &lost);
            assert_int_equal(lost, 0);
            assert_in_range(slot, 1, ADDRESSES);
            assert_int_equal(used[slot], 0);
            used[slot] = 1;
            model[address] = slot;
            live++;
        } else {
            assert_int_equal(hak_slots_take(slots, address * 16), model[address]);
            used[model[address]] = 0;
            model[address] = 0;
            live--;
        }
        assert_int_equal(hak_slots_live(slots), live);
    }
    free(model);
    free(used);
    hak_slots_free(slots);
}

static void index_stays_bounded_and_comparable(void **state)
{
    (void)state;
    hak_index a, b;
    hak_index_init(&a);
    hak_index_init(&b);
    const uint64_t members = 5u * HAK_INDEX_MAX + 3;
    for (uint64_t i = 0; i < members; i++) {
        assert_true(hak_index_add(&a, 100 + i % 7, i % 11));
        assert_true(hak_index_add(&b, 100 + i % 7, i % 11));
    }
    assert_true(a.count <= HAK_INDEX_MAX);
    assert_int_equal(a.stride, 8);
    uint64_t events = 0;
    for (size_t i = 0; i < a.count; i++)
        events += a.entries[i].events;
    uint64_t expected = 0;
    for (uint64_t i = 0; i < members; i++)
        expected += i % 11;
    assert_int_equal(events, expected);
    hak_bytes body = {.at = NULL};
    hak_index_put(&a, &body);
    assert_true(hak_index_equals(&b, hak_wire_in_of(body.at, body.len_bytes)));
    assert_false(hak_index_equals(&b, hak_wire_in_of(body.at, body.len_bytes - 1)));
    hak_index_add(&b, 1, 0);
    assert_false(hak_index_equals(&b, hak_wire_in_of(body.at, body.len_bytes)));
    hak_bytes_done(&body);
    hak_index_done(&a);
    hak_index_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_dense_and_reused_last_in_first_out),
        cmocka_unit_test(slots_agree_with_a_model),
        cmocka_unit_test(index_stays_bounded_and_comparable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
