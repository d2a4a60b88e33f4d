/* workload_cache.c: compiled workloads kept in a folder of the user's. A file is as its region; it is
 * believed only if it is a regular file of ours, of the right length, with the key it is named by. One thread
 * per call. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "replay/workload_build.h"

#define READ_BYTES HAK_MIB
#define FILES_MAX  16u /* kept in a folder */
#define TURNS_MAX  64

static void fold(hak_workload_key *key, uint64_t word)
{
    key->hash[0] = (key->hash[0] ^ word) * UINT64_C(0x9fb21c651e98df25);
    key->hash[0] ^= key->hash[0] >> 29;
    key->hash[1] = hak_mix64(key->hash[1] + word);
}

int hak_workload_key_of(const char *recording, const char *format, hak_order order, unsigned flags,
                        hak_workload_key *key)
{
    *key = (hak_workload_key){{HAK_W_MAGIC, sizeof(hak_w_header)}};
    fold(key, order);
    fold(key, flags);
    for (; format != NULL && *format != '\0'; format++)
        fold(key, (unsigned char)*format);
    for (const char *version = HAKMEM_VERSION; *version != '\0'; version++)
        fold(key, (unsigned char)*version);
    int fd = open(recording, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat found;
    char *bytes = malloc(READ_BYTES);
    ssize_t got = -1;
    if (fd >= 0 && bytes != NULL && fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) {
        while ((got = read(fd, bytes, READ_BYTES)) > 0) {
            memset(bytes + got, 0,
                   (size_t)got < READ_BYTES ? hak_align_up((uint64_t)got, 8) - (uint64_t)got : 0);
            for (ssize_t at = 0; at < got; at += 8) {
                uint64_t word;
                memcpy(&word, bytes + at, sizeof word);
                fold(key, word);
            }
            fold(key, (uint64_t)got);
        }
    }
    if (fd >= 0)
        close(fd);
    free(bytes);
    return got == 0 ? 0 : -1;
}

static int path_of(char *path, size_t path_bytes, const char *folder, const hak_workload_key *key,
                   const char *end)
{
    int used = snprintf(path, path_bytes, "%s/%016llx%016llx.workload%s", folder,
                        (unsigned long long)key->hash[0], (unsigned long long)key->hash[1], end);
    return used > 0 && (size_t)used < path_bytes ? 0 : -1;
}

static bool believable(const hak_w_header *head, uint64_t words, const hak_workload_key *key)
{
    return head->magic == HAK_W_MAGIC && head->word_count == words && head->key[0] == key->hash[0] &&
           head->key[1] == key->hash[1] && head->saved_at < words &&
           words - head->saved_at >= sizeof(hak_w_saved) / 8;
}

hak_workload *hak_workload_open(const char *folder, const hak_workload_key *key)
{
    char path[4096];
    struct stat found;
    if (path_of(path, sizeof path, folder, key, "") != 0)
        return NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    hak_workload *w = calloc(1, sizeof *w);
    void *at = MAP_FAILED;
    uint64_t words = 0;
    if (w != NULL && fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && found.st_uid == geteuid() &&
        (uint64_t)found.st_size >= sizeof(hak_w_header)) {
        words = (uint64_t)found.st_size / 8;
        at = mmap(NULL, words * 8, PROT_READ, MAP_SHARED, fd, 0);
    }
    if (at == MAP_FAILED || !believable(at, words, key)) {
        if (at != MAP_FAILED)
            munmap(at, words * 8);
        close(fd);
        free(w);
        return NULL;
    }
    w->fd = fd;
    w->words = at;
    w->word_cap = w->word_count = words;
    w->in_file = true;
    w->info = ((const hak_w_saved *)(w->words + ((const hak_w_header *)at)->saved_at))->info;
    return w;
}

/* A workload in an unnamed file only needs a name. */
static int give_name(const hak_workload *w, const char *path)
{
    char from[64];
    snprintf(from, sizeof from, "/proc/self/fd/%d", w->fd);
    return linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

static int copy_out(const hak_workload *w, const char *part, const char *path)
{
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    uint64_t done = 0, all = w->word_count * 8;
    while (done < all) {
        ssize_t n = write(fd, (const char *)w->words + done, all - done < HAK_GIB ? all - done : HAK_GIB);
        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    if (close(fd) == 0 && done == all && rename(part, path) == 0)
        return 0;
    unlink(part);
    return -1;
}

static bool is_kept(const char *name)
{
    size_t len = strlen(name), end = sizeof ".workload" - 1;
    return len > end && strcmp(name + len - end, ".workload") == 0;
}

/* Removes the oldest until at most FILES_MAX - 1 are left. */
static void make_room(const char *folder)
{
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        char oldest[256] = "";
        struct timespec oldest_time = {0, 0};
        unsigned count = 0;
        DIR *list = opendir(folder);
        for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
            struct stat found;
            if (!is_kept(entry->d_name) ||
                fstatat(dirfd(list), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0)
                continue;
            bool older =
                found.st_mtim.tv_sec < oldest_time.tv_sec ||
                (found.st_mtim.tv_sec == oldest_time.tv_sec && found.st_mtim.tv_nsec < oldest_time.tv_nsec);
            if (count++ == 0 || older) {
                snprintf(oldest, sizeof oldest, "%s", entry->d_name);
                oldest_time = found.st_mtim;
            }
        }
        if (list != NULL && count >= FILES_MAX)
            unlinkat(dirfd(list), oldest, 0);
        if (list != NULL)
            closedir(list);
        if (count < FILES_MAX)
            return;
    }
}

int hak_workload_save(hak_workload *w, const char *folder, const hak_workload_key *key)
{
    char path[4096], part[4096], end[32];
    snprintf(end, sizeof end, ".%d.part", (int)getpid());
    if (path_of(path, sizeof path, folder, key, "") != 0 || path_of(part, sizeof part, folder, key, end) != 0)
        return -1;
    hak_w_header *head = (hak_w_header *)w->words;
    head->key[0] = key->hash[0];
    head->key[1] = key->hash[1];
    unlink(path); /* what is there could not be opened */
    make_room(folder);
    return w->in_file ? give_name(w, path) : copy_out(w, part, path);
}
