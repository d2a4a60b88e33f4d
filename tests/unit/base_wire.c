/* Varints, zigzag, bounds and CRC of base/wire.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/wire.h"

static void varint_round_trips(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)delta;
            uint8_t bytes[HAK_VARINT_MAX_BYTES];
            uint8_t *end = hak_put_varint(bytes, value);
            hak_wire_in in = hak_wire_in_of(bytes, (size_t)(end - bytes));
            assert_int_equal(hak_get_varint(&in), value);
            assert_false(in.bad);
            assert_int_equal(hak_wire_left(&in), 0);
            assert_int_equal(hak_unzigzag(hak_zigzag((int64_t)value)), (int64_t)value);
        }
    }
}

static void varint_refuses_what_does_not_fit(void **state)
{
    (void)state;
    const uint8_t long_one[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    hak_wire_in in = hak_wire_in_of(long_one, sizeof long_one);
    assert_int_equal(hak_get_varint(&in), 0);
    assert_true(in.bad);

    const uint8_t cut[] = {0x80, 0x80};
    in = hak_wire_in_of(cut, sizeof cut);
    assert_int_equal(hak_get_varint(&in), 0);
    assert_true(in.bad);

    const uint8_t lying[] = {0x7f, 'a'};
    size_t len_bytes;
    in = hak_wire_in_of(lying, sizeof lying);
    assert_null(hak_get_bytes(&in, &len_bytes));
    assert_true(in.bad);
}

static void fixed_is_little_endian(void **state)
{
    (void)state;
    uint8_t bytes[8];
    hak_put_fixed(bytes, UINT64_C(0x0807060504030201), 8);
    assert_int_equal(bytes[0], 1);
    hak_wire_in in = hak_wire_in_of(bytes, 8);
    assert_int_equal(hak_get_fixed(&in, 4), 0x04030201);
    assert_int_equal(hak_get_fixed(&in, 8), 0);
    assert_true(in.bad);
}

static void crc_is_the_one_of_gzip(void **state)
{
    (void)state;
    assert_int_equal(hak_crc32(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(hak_crc32(hak_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varint_round_trips),
        cmocka_unit_test(varint_refuses_what_does_not_fit),
        cmocka_unit_test(fixed_is_little_endian),
        cmocka_unit_test(crc_is_the_one_of_gzip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
