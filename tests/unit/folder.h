/* folder.h: a folder of a test's own, under TMPDIR or /tmp, and its end with whatever is left in it. Paths
 * are the caller's arrays of TEST_PATH bytes. One thread. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEST_PATH PATH_MAX

/* `folder` with a file's name behind it; false: too long. */
static inline bool test_path(char *path, const char *folder, const char *name)
{
    int len = snprintf(path, TEST_PATH, "%s/%s", folder, name);
    return len > 0 && len < TEST_PATH;
}

static inline bool test_folder_make(char *folder)
{
    const char *parent = getenv("TMPDIR");
    return test_path(folder, parent != NULL && parent[0] != '\0' ? parent : "/tmp", "hakmem-test.XXXXXX") &&
           mkdtemp(folder) != NULL;
}

/* 0, or -1: it is still there. Its files are removed, folders in it are not expected. */
static inline int test_folder_remove(const char *folder)
{
    DIR *entries = opendir(folder);
    if (entries == NULL)
        return -1;
    char path[TEST_PATH];
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;)
        if (entry->d_name[0] != '.' && test_path(path, folder, entry->d_name))
            unlink(path);
    closedir(entries);
    return rmdir(folder);
}

#endif
