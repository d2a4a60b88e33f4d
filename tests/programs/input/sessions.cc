/* sessions.cc: a server's memory in one process: sessions SEED REQUESTS
 *
 * Each request parses a document into nodes, all alive until the answer is made, and keeps a few results for later
 * requests. Documents come in kinds, a while of each, whose nodes differ in size: what was kept stands where the nodes of
 * its kind stood. All memory comes through one wrapper, so that the address that calls malloc says nothing. Prints a digest. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % below);
}

__attribute__((noinline)) static void *get_memory(size_t bytes)
{
    void *at = malloc(bytes);
    if (at == nullptr)
        abort();
    return memset(at, (int)(bytes & 0xff), bytes);
}

struct node {
    node *next;
    uint32_t value;
};

__attribute__((noinline)) static node *parse(size_t bytes, unsigned count)
{
    node *first = nullptr;
    for (unsigned i = 0; i < count; i++) {
        node *fresh = static_cast<node *>(get_memory(bytes));
        fresh->next = first;
        fresh->value = draw(1000);
        first = fresh;
    }
    return first;
}

__attribute__((noinline)) static void *remember(size_t bytes, uint32_t value)
{
    node *kept = static_cast<node *>(get_memory(bytes));
    kept->value = value;
    return kept;
}

int main(int argc, char **argv)
{
    static const size_t kinds[] = {48, 80, 112, 176, 240, 336, 480};
    state = argc > 1 ? strtoull(argv[1], nullptr, 10) : 1;
    unsigned requests = argc > 2 ? (unsigned)strtoul(argv[2], nullptr, 10) : 700;
    std::deque<void *> cache;
    uint64_t digest = 14695981039346656037u;
    for (unsigned request = 0; request < requests; request++) {
        size_t bytes = kinds[(request / 20 + draw(2)) % 7];
        unsigned parts = 4 + draw(8);
        std::vector<node *> document;
        for (unsigned part = 0; part < parts; part++) {
            document.push_back(parse(bytes, 200000 / (unsigned)bytes));
            for (unsigned kept = 0; kept < 3; kept++)
                cache.push_back(remember(bytes - draw(8), draw(1000)));
        }
        for (node *list : document)
            while (list != nullptr) {
                node *next = list->next;
                digest = (digest ^ list->value) * 1099511628211u;
                free(list);
                list = next;
            }
        for (; cache.size() > 9000; cache.pop_front())
            free(cache.front());
    }
    printf("%zu %016llx\n", cache.size(), (unsigned long long)digest);
    for (void *kept : cache)
        free(kept);
    return 0;
}
