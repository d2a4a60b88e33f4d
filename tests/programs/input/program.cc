// Containers, strings, exceptions, threads: to compile and to run.
#include <algorithm>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

struct alignas(64) Wide {
    double values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
};

template <int N> struct Chain {
    std::map<int, std::string> names;
    Chain<N - 1> rest;
    int fill(int x)
    {
        for (int i = 0; i < 30; i++)
            names[x * i % 17] += std::to_string(i * N);
        return static_cast<int>(names.size()) + rest.fill(x + 1);
    }
};
template <> struct Chain<0> {
    int fill(int x) { return x; }
};

static long work(int seed)
{
    std::unordered_map<std::string, std::vector<int>> index;
    for (int i = 0; i < 4000; i++)
        index["key" + std::to_string(i * seed % 311)].push_back(i);
    long total = 0;
    for (auto &entry : index) {
        std::sort(entry.second.rbegin(), entry.second.rend());
        total += entry.second.front() * static_cast<long>(entry.first.size());
    }
    std::vector<std::unique_ptr<Wide>> wide;
    for (int i = 0; i < 100; i++)
        wide.push_back(std::make_unique<Wide>());
    for (auto &w : wide)
        total += reinterpret_cast<std::uintptr_t>(w.get()) % 64 + static_cast<long>(w->values[3]);
    try {
        throw std::runtime_error(std::string(200, 'x'));
    } catch (const std::exception &e) {
        total += static_cast<long>(std::string(e.what()).size());
    }
    return total;
}

int main()
{
    std::vector<std::future<long>> results;
    for (int i = 1; i <= 8; i++)
        results.push_back(std::async(std::launch::async, work, i));
    for (auto &r : results)
        std::cout << r.get() << '\n';
    Chain<20> chain;
    std::cout << chain.fill(1) << '\n';
    std::stringstream text;
    for (int i = 0; i < 500; i++)
        text << i << ' ';
    std::string s = text.str();
    std::reverse(s.begin(), s.end());
    std::cout << s.size() << ' ' << s.substr(100, 60) << '\n';
    try {
        std::vector<char> huge(static_cast<std::size_t>(1) << 60);
        std::cout << huge.size() << '\n';
    } catch (const std::bad_alloc &) {
        std::cout << "bad_alloc\n";
    }
}
