// user.cc: the same header from C++, with operator new.
#include <hakmem.h>

#include <iostream>
#include <memory>
#include <string>

int main()
{
    auto text = std::make_unique<std::string>(500, 'x');
    std::cout << text->size() << ' ' << hakmem_version() << '\n';
    return hakmem_check() != 0;
}
