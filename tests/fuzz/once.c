/* once.c: runs a fuzz target without libFuzzer, so that every build replays the seeds: each file of the
 * folders given, whole, cut off at many places and with single bytes changed. Deterministic. One thread. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

#define MAX_SEED_BYTES ((size_t)1 << 20)
#define VARIANTS       64u /* damaged copies of each kind per seed */

/* A copy of exactly `size` bytes on the heap, so that a sanitizer sees the first byte read past the end. */
static void run_copy(const uint8_t *bytes, size_t size, size_t damage_at, uint8_t damage)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    memcpy(copy, bytes, size);
    if (damage_at < size)
        copy[damage_at] ^= damage;
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_variants(const uint8_t *bytes, size_t size)
{
    run_copy(bytes, size, SIZE_MAX, 0);
    uint32_t state = 12345;
    for (unsigned i = 0; i < VARIANTS && size > 0; i++) {
        state = state * 1664525u + 1013904223u;
        size_t at = (size_t)(state >> 8) % size;
        run_copy(bytes, at, SIZE_MAX, 0);
        run_copy(bytes, size, at, (uint8_t)(1u << (state & 7)));
        run_copy(bytes, size, at, 0xff);
    }
}

static int run_folder(const char *path, unsigned *count)
{
    DIR *folder = opendir(path);
    if (!folder) {
        fprintf(stderr, "fuzz: cannot open '%s'\n", path);
        return -1;
    }
    uint8_t *bytes = malloc(MAX_SEED_BYTES);
    if (!bytes)
        abort();
    for (struct dirent *entry; (entry = readdir(folder));) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(name, "rb");
        if (!file)
            continue;
        size_t size = fread(bytes, 1, MAX_SEED_BYTES, file);
        fclose(file);
        run_variants(bytes, size);
        ++*count;
    }
    free(bytes);
    closedir(folder);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    run_copy((const uint8_t *)"", 0, SIZE_MAX, 0);
    for (int i = 1; i < argc; i++)
        if (run_folder(argv[i], &count))
            return 2;
    printf("%u seeds\n", count);
    return count ? 0 : 2;
}
