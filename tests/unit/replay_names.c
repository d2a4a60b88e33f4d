/* replay_names.c: parts of names of C++, Rust and D, and which functions only pass an allocation on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "replay/names.h"
#include "replay/wrapper.h"

static void parts(void **state)
{
    (void)state;
    static const struct {
        const char *function;
        const char *bare;
        const char *owner;
        const char *last;
    } cases[] = {
        {"int ns::Class<T>::method(int) const", "ns::Class<T>::method", "Class", "method"},
        {"Store::operator+(int)", "Store::operator+", "Store", "operator+"},
        {"main", "main", "", "main"},
        {"helper.part.0", "helper.part.0", "", "helper.part.0"},
        {"<app::Set<fn() -> u8> as core::fmt::Debug>::fmt", "<app::Set<fn() -> u8> as core::fmt::Debug>::fmt",
         "", "fmt"},
        {"app::parse::{{closure}}", "app::parse::{{closure}}", "parse", "{{closure}}"},
        {"std.array.Array!(int, app.Pair!(int)).reserve(ulong)",
         "std.array.Array!(int, app.Pair!(int)).reserve", "Array", "reserve"},
        {"app.Store.add(int)", "app.Store.add", "Store", "add"},
    };
    for (size_t i = 0; i < HAK_COUNT_OF(cases); i++) {
        char text[128];
        const char *end;
        const char *start = hak_name_bare(cases[i].function, &end);
        assert_int_equal((size_t)(end - start), strlen(cases[i].bare));
        assert_memory_equal(start, cases[i].bare, strlen(cases[i].bare));
        hak_name_owner(cases[i].function, text, sizeof text);
        assert_string_equal(text, cases[i].owner);
        hak_name_last(cases[i].function, text, sizeof text);
        assert_string_equal(text, cases[i].last);
    }
    assert_true(hak_name_matches("reserve", "std.array.Array!(int).reserve(ulong)"));
    assert_true(hak_name_matches("app.Store.*", "app.Store.add(int)"));
    assert_false(hak_name_matches("part", "helper.part.0"));
}

static void wrappers(void **state)
{
    (void)state;
    static const char *const passing_on[] = {
        "malloc", "xmalloc", "g_strdup", "operator new(unsigned long)", "sqlite3DbMallocRaw",
        "std::vector<int>::push_back(int&&)", "alloc::vec::Vec<T,A>::push",
        /* Rust, as its newer mangling names them */
        "<alloc::alloc::Global>::alloc_impl_runtime", "<alloc::raw_vec::RawVecInner>::finish_grow",
        "<alloc::vec::Vec<app::Token> as core::iter::traits::collect::Extend<app::Token>>::extend",
        "<&mut [alloc::string::String] as core::fmt::Debug>::fmt", "<str>::repeat",
        "<str as alloc::string::ToString>::to_string", "<app::Token as alloc::string::ToString>::to_string",
        "<[u8] as core::clone::Clone>::clone", "<T as core::convert::Into<U>>::into",
        /* D */
        "std.array.Array!(int).reserve(ulong)", "rt.lifetime._d_newarrayU(const(TypeInfo), ulong)"};
    static const char *const own[] = {"main",
                                      "Cache::add(int)",
                                      "parse(std::string const&)",
                                      "app::main::{{closure}}",
                                      "<app::Token as core::clone::Clone>::clone",
                                      "<app::Set<alloc::string::String>>::insert",
                                      "<app::A as app::Shape>::make",
                                      "<&app::A as core::fmt::Debug>::fmt",
                                      "core.part.0",
                                      "core",
                                      "rt.cold",
                                      "app.Store.add(int)",
                                      "app.Pool!(std.array.Array!(int)).put(int)"};
    for (size_t i = 0; i < HAK_COUNT_OF(passing_on); i++) {
        if (!hak_is_wrapper(passing_on[i]))
            fail_msg("%s is taken for the program's own", passing_on[i]);
    }
    for (size_t i = 0; i < HAK_COUNT_OF(own); i++) {
        if (hak_is_wrapper(own[i]))
            fail_msg("%s is taken for a wrapper", own[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts), cmocka_unit_test(wrappers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
