/* A program to compile and run: enough of the language to make a compiler allocate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CASES(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)
#define FUNCTIONS(T)                                                                                         \
    static unsigned f##T(unsigned x)                                                                         \
    {                                                                                                        \
        switch (x % 10) {                                                                                    \
            CASES(ONE)                                                                                       \
        }                                                                                                    \
        return x;                                                                                            \
    }                                                                                                        \
    static unsigned g##T(unsigned x)                                                                         \
    {                                                                                                        \
        unsigned s = T;                                                                                      \
        for (unsigned i = 0; i < x % 50; i++)                                                                \
            s += f##T(s + i) ^ i << (T % 7);                                                                 \
        return s;                                                                                            \
    }
#define ONE(N)                                                                                               \
    case N:                                                                                                  \
        return x * (N + 3u) + (x >> N) - 0x##N##N##u;
FUNCTIONS(1)
FUNCTIONS(2) FUNCTIONS(3) FUNCTIONS(4) FUNCTIONS(5) FUNCTIONS(6) FUNCTIONS(7) FUNCTIONS(8)



struct node {
    struct node *left, *right;
    unsigned key;
    char text[20];
};

static struct node *insert(struct node *at, unsigned key)
{
    if (!at) {
        at = calloc(1, sizeof *at);
        if (!at)
            abort();
        at->key = key;
        snprintf(at->text, sizeof at->text, "%u", key);
    } else if (key < at->key) {
        at->left = insert(at->left, key);
    } else if (key > at->key) {
        at->right = insert(at->right, key);
    }
    return at;
}

static unsigned long sum(const struct node *at)
{
    return at ? strlen(at->text) + at->key + sum(at->left) + sum(at->right) : 0;
}

static void drop(struct node *at)
{
    if (!at)
        return;
    drop(at->left);
    drop(at->right);
    free(at);
}

int main(void)
{
    struct node *root = NULL;
    unsigned x = 1;
    for (unsigned i = 0; i < 20000; i++) {
        x = g1(x) ^ g2(x) ^ g3(x) ^ g4(x) ^ g5(x) ^ g6(x) ^ g7(x) ^ g8(x) ^ (i * 2654435761u);
        root = insert(root, x % 100000);
    }
    printf("%lu\n", sum(root));
    drop(root);
    return 0;
}
