/* operators.cc: every C++ operator new and delete, new_handler and bad_alloc. */
#include "rows.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <map>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace
{

const std::size_t too_large = static_cast<std::size_t>(PTRDIFF_MAX) - 4096;

void usable(void *at, std::size_t size, std::size_t align)
{
    EXPECT_OF(at != nullptr, size);
    EXPECT_OF((reinterpret_cast<std::uintptr_t>(at) & (align - 1)) == 0, size);
    EXPECT_OF(malloc_usable_size(at) >= size, size);
    std::memset(at, 0x5a, size);
}

void every_form()
{
    const std::nothrow_t &no = std::nothrow;
    for (std::size_t size = 0; size < (std::size_t(96) << 20); size = size * 3 + 1) {
        void *at = ::operator new(size);
        usable(at, size, 16);
        ::operator delete(at);
        at = ::operator new(size);
        ::operator delete(at, size);
        at = ::operator new[](size);
        usable(at, size, 16);
        ::operator delete[](at);
        at = ::operator new[](size);
        ::operator delete[](at, size);
        at = ::operator new(size, no);
        usable(at, size, 16);
        ::operator delete(at, no);
        at = ::operator new[](size, no);
        usable(at, size, 16);
        ::operator delete[](at, no);
    }
}

void every_aligned_form()
{
    const std::nothrow_t &no = std::nothrow;
    for (std::size_t bytes = 16; bytes <= (1u << 21); bytes *= 2)
        for (std::size_t size = 1; size < (std::size_t(8) << 20); size = size * 5 + 3) {
            const std::align_val_t align{bytes};
            void *at = ::operator new(size, align);
            usable(at, size, bytes);
            ::operator delete(at, align);
            at = ::operator new(size, align);
            ::operator delete(at, size, align);
            at = ::operator new[](size, align);
            usable(at, size, bytes);
            ::operator delete[](at, align);
            at = ::operator new[](size, align);
            ::operator delete[](at, size, align);
            at = ::operator new(size, align, no);
            usable(at, size, bytes);
            ::operator delete(at, align, no);
            at = ::operator new[](size, align, no);
            usable(at, size, bytes);
            ::operator delete[](at, align, no);
        }
    ::operator delete(nullptr);
    ::operator delete[](nullptr, std::size_t(8));
    ::operator delete(nullptr, std::align_val_t(64));
}

/* Where C and C++ meet: the block is the same, whoever frees it. */
void mixed_with_c()
{
    std::free(::operator new(100));
    ::operator delete(std::malloc(100));
    void *at = ::operator new(100);
    std::memset(at, 7, 100);
    at = std::realloc(at, 100000);
    EXPECT(static_cast<char *>(at)[99] == 7);
    ::operator delete(at);
}

template <class Call> bool throws_bad_alloc(Call call)
{
    try {
        call();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void bad_alloc_thrown()
{
    const std::align_val_t align{256};
    volatile std::size_t size = too_large;
    EXPECT(throws_bad_alloc([=] { ::operator delete(::operator new(size)); }));
    EXPECT(throws_bad_alloc([=] { ::operator delete[](::operator new[](size)); }));
    EXPECT(throws_bad_alloc([=] { ::operator delete(::operator new(size, align)); }));
    EXPECT(throws_bad_alloc([=] { ::operator delete[](::operator new[](size, align)); }));
    EXPECT(::operator new(size, std::nothrow) == nullptr);
    EXPECT(::operator new[](size, std::nothrow) == nullptr);
    EXPECT(::operator new(size, align, std::nothrow) == nullptr);
    EXPECT(::operator new[](size, align, std::nothrow) == nullptr);
    std::thread([=] { EXPECT(throws_bad_alloc([=] { ::operator delete(::operator new(size)); })); }).join();
    check_heap();
}

unsigned handler_calls;

void give_up_after_three()
{
    if (++handler_calls % 3 == 0)
        std::set_new_handler(nullptr);
}

void throw_at_second()
{
    if (++handler_calls == 2)
        throw std::bad_alloc();
}

template <class Call> void counts_three(Call call)
{
    handler_calls = 0;
    std::set_new_handler(give_up_after_three);
    call();
    EXPECT_OF(handler_calls == 3, handler_calls);
}

/* The handler is called until it gives up, throws, or memory is there. */
void new_handler_loop()
{
    const std::align_val_t align{256};
    volatile std::size_t size = too_large;
    counts_three([=] { EXPECT(throws_bad_alloc([=] { ::operator delete(::operator new(size)); })); });
    counts_three([=] { EXPECT(throws_bad_alloc([=] { ::operator delete(::operator new(size, align)); })); });
    counts_three([=] { EXPECT(::operator new(size, std::nothrow) == nullptr); });
    counts_three([=] { EXPECT(::operator new[](size, align, std::nothrow) == nullptr); });
    handler_calls = 0;
    std::set_new_handler(throw_at_second);
    EXPECT(throws_bad_alloc([=] { ::operator delete(::operator new(size)); }));
    EXPECT_OF(handler_calls == 2, handler_calls);
    handler_calls = 0;
    EXPECT(::operator new(size, std::nothrow) == nullptr); /* what the handler throws is swallowed */
    EXPECT_OF(handler_calls == 2, handler_calls);
    std::set_new_handler(nullptr);
}

struct alignas(128) Wide {
    char bytes[384];
    explicit Wide(int value)
    {
        if (value < 0)
            throw value;
        std::memset(bytes, value, sizeof bytes);
    }
};

/* A constructor that throws gives its memory back. */
void constructor_throws()
{
    std::size_t before = resident_bytes();
    for (std::size_t i = 0; i < scaled(50000); i++) {
        try {
            delete new Wide(i % 2 ? -1 : 5);
        } catch (int) {
        }
    }
    EXPECT(resident_bytes() < before + (std::size_t(8) << 20));
}

void containers()
{
    std::map<std::string, std::vector<std::string>> index;
    for (std::size_t i = 0; i < scaled(20000); i++)
        index["key " + std::to_string(i % 997)].push_back(std::string(i % 300, 'x') + std::to_string(i));
    std::size_t count = 0;
    for (const auto &entry : index)
        for (const auto &text : entry.second)
            count += text.size() > 0 && (text[0] == 'x' || (text[0] >= '0' && text[0] <= '9'));
    EXPECT(count == scaled(20000));
}

/* Constructed at a thread's first look, destroyed after its last word; both allocate. */
struct Diary {
    std::vector<std::string> lines;
    Diary()
    {
        for (int i = 0; i < 60; i++)
            lines.push_back(std::string(std::size_t(i) * 7, 'd'));
    }
    ~Diary()
    {
        std::vector<std::string> copy(lines);
        copy.resize(500, "the end of a thread, in more than a few letters");
        EXPECT(copy[59] == lines[59] && copy[499].size() > 15);
    }
};
thread_local Diary diary;
thread_local std::map<int, std::string> notes{{1, "a note that is too long for its object"}, {2, "two"}};

void thread_local_objects()
{
    std::size_t settled = 0, count = scaled(1000);
    for (std::size_t i = 0; i < count; i++) {
        std::thread thread([] {
            EXPECT(diary.lines.size() == 60 && diary.lines[10] == std::string(70, 'd'));
            notes[3] = diary.lines[30];
            EXPECT(notes.size() == 3 && notes[1].size() == 38);
        });
        thread.join();
        if (i == count / 10)
            settled = resident_bytes();
    }
    EXPECT_OF(resident_bytes() < settled + (std::size_t(8) << 20), resident_bytes());
}

const stress_row table[] = {
    {"every_form", every_form, 0},
    {"every_aligned_form", every_aligned_form, 0},
    {"mixed_with_c", mixed_with_c, 0},
    {"bad_alloc_thrown", bad_alloc_thrown, 0},
    {"new_handler_loop", new_handler_loop, 0},
    {"constructor_throws", constructor_throws, 0},
    {"containers", containers, 0},
    {"thread_local_objects", thread_local_objects, 0},
};

} // namespace

ROWS_MAIN(table)
