/* base/print.h writes what printf would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/print.h"

static void numbers_are_as_printf_has_them(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    hak_out out;
    hak_out_init(&out, ends[1]);
    hak_out_u64(&out, UINT64_MAX);
    hak_out_text(&out, " ");
    hak_out_i64(&out, INT64_MIN);
    hak_out_text(&out, " ");
    hak_out_hex(&out, 0xbeef);
    hak_out_pad_u64(&out, 42, 5);
    hak_out_pad_text(&out, "ab", 4);
    hak_out_text(&out, "|");
    hak_out_flush(&out);

    char want[256], got[256] = "";
    snprintf(want, sizeof want, "%llu %lld 0xbeef%5d%-4s|", (unsigned long long)UINT64_MAX,
             (long long)INT64_MIN, 42, "ab");
    ssize_t n = read(ends[0], got, sizeof got - 1);
    assert_int_equal(n, strlen(want));
    assert_string_equal(got, want);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_are_as_printf_has_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
