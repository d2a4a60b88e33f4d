/* targets.c: names to libraries. Peers are found where the loader would find them (the usual folders, by
 * soname); hakmem's own library beside this program. Pure apart from looking at files; any thread. */
#include "replay/measure.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const modes[] = {"minimal", "fast", "balanced", "learning", "research"};

static const struct {
    const char *name;
    const char *sonames[4]; /* newest first */
} peers[] = {
    {"mimalloc", {"libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so"}},
    {"jemalloc", {"libjemalloc.so.2", "libjemalloc.so"}},
    {"tcmalloc", {"libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libtcmalloc_minimal.so"}},
    {"tcmalloc-full", {"libtcmalloc.so.4", "libtcmalloc.so"}},
    {"tbbmalloc", {"libtbbmalloc_proxy.so.2", "libtbbmalloc_proxy.so"}},
    {"rpmalloc", {"librpmalloc.so"}},
    {"snmalloc", {"libsnmallocshim.so"}},
};

static int fail(hak_trace_error *error, const char *what, const char *subject, const char *way_out)
{
    snprintf(error->text, sizeof error->text, "%s '%.120s'%s", what, subject, way_out);
    error->offset_bytes = 0;
    error->event_index = 0;
    return -1;
}

static bool is_file(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && S_ISREG(found.st_mode) && access(path, R_OK) == 0;
}

static bool soname_find(const char *soname, char path[4096])
{
    static const char *const folders[] = {"/usr/local/lib",
                                          "/usr/local/lib/x86_64-linux-gnu",
                                          "/lib/x86_64-linux-gnu",
                                          "/usr/lib/x86_64-linux-gnu",
                                          "/usr/lib64",
                                          "/usr/lib",
                                          "/lib"};
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", getenv("LD_LIBRARY_PATH") != NULL ? getenv("LD_LIBRARY_PATH") : "");
    char *rest = NULL;
    for (char *folder = strtok_r(copy, ":", &rest); folder != NULL; folder = strtok_r(NULL, ":", &rest))
        if (snprintf(path, 4096, "%s/%s", folder, soname) < 4096 && is_file(path))
            return true;
    for (size_t i = 0; i < HAK_COUNT_OF(folders); i++)
        if (snprintf(path, 4096, "%s/%s", folders[i], soname) < 4096 && is_file(path))
            return true;
    return false;
}

/* libhakmem.so: in the build tree or the installed one, beside the folder of this program. */
static bool hakmem_find(char path[4096])
{
    static const char *const places[] = {"../lib", "../lib/x86_64-linux-gnu", "../lib64"};
    char self[2048], wide[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len > 0) {
        self[len] = '\0';
        char *base = strrchr(self, '/');
        if (base != NULL)
            *base = '\0';
        for (size_t i = 0; i < HAK_COUNT_OF(places); i++) {
            snprintf(wide, sizeof wide, "%s/%s/libhakmem.so", self, places[i]);
            char *real = realpath(wide, NULL);
            if (real == NULL)
                continue;
            snprintf(path, 4096, "%s", real);
            free(real);
            if (is_file(path))
                return true;
        }
    }
    return soname_find("libhakmem.so", path);
}

static int env_add(hak_target *target, const char *name, const char *value, hak_trace_error *error)
{
    for (size_t i = 0; i < HAK_TARGET_MAX_ENV; i++) {
        if (target->env[i][0] != '\0')
            continue;
        int used = snprintf(target->env[i], sizeof target->env[i], "%s=%s", name, value);
        if (used < 0 || (size_t)used >= sizeof target->env[i])
            return fail(error, "too long a setting", name, "");
        return 0;
    }
    return fail(error, "too many settings at", name, "");
}

/* "MODE" or "fast+POLICYFILE" */
static int parse_hakmem(const char *text, hak_target *target, hak_trace_error *error)
{
    char mode[32];
    const char *plus = strchr(text, '+');
    size_t len = plus != NULL ? (size_t)(plus - text) : strlen(text);
    bool known = false;
    for (size_t i = 0; i < HAK_COUNT_OF(modes); i++)
        known |= strlen(modes[i]) == len && strncmp(modes[i], text, len) == 0;
    if (!known)
        return fail(error, "unknown hakmem mode", text,
                    "; modes are minimal, fast, balanced, learning, research");
    snprintf(mode, sizeof mode, "%.*s", (int)len, text);
    if (!hakmem_find(target->library))
        return fail(error, "cannot find", "libhakmem.so",
                    " beside this program or in the usual library folders");
    if (env_add(target, "HAKMEM_MODE", mode, error) != 0)
        return -1;
    if (plus == NULL)
        return 0;
    char *policy = realpath(plus + 1, NULL);
    if (policy == NULL || !is_file(policy)) {
        free(policy);
        return fail(error, "no policy file", plus + 1, "");
    }
    int status = env_add(target, "HAKMEM_POLICY", policy, error);
    free(policy);
    return status;
}

static int parse_library(const char *text, hak_target *target, hak_trace_error *error)
{
    char *real = realpath(text, NULL);
    if (real == NULL || !is_file(real)) {
        free(real);
        return fail(error, "no library", text, "");
    }
    /* LD_PRELOAD separates by spaces and colons and knows no quoting. */
    bool usable = strlen(real) < sizeof target->library && strpbrk(real, " :\t\n") == NULL;
    if (usable)
        snprintf(target->library, sizeof target->library, "%s", real);
    free(real);
    return usable ? 0 : fail(error, "the loader cannot preload a path with spaces or colons:", text, "");
}

static int parse_name(const char *name, hak_target *target, hak_trace_error *error)
{
    if (strcmp(name, "null") == 0) {
        target->null = true;
        return 0;
    }
    if (strcmp(name, "glibc") == 0)
        return 0;
    if (strchr(name, '/') != NULL && strncmp(name, "hakmem:", 7) != 0)
        return parse_library(name, target, error);
    if (strcmp(name, "hakmem") == 0)
        return parse_hakmem("balanced", target, error);
    if (strncmp(name, "hakmem:", 7) == 0)
        return parse_hakmem(name + 7, target, error);
    for (size_t i = 0; i < HAK_COUNT_OF(peers); i++) {
        if (strcmp(peers[i].name, name) != 0)
            continue;
        for (size_t k = 0; k < HAK_COUNT_OF(peers[i].sonames) && peers[i].sonames[k] != NULL; k++)
            if (soname_find(peers[i].sonames[k], target->library))
                return 0;
        return fail(error, "not installed:", name, "; give the path of its library instead");
    }
    return fail(error, "unknown target", name,
                "; targets are null, glibc, mimalloc, jemalloc, tcmalloc, hakmem:MODE, hakmem:fast+POLICY, "
                "/path/to/library.so");
}

/* Is this colon-separated part a setting, "NAME=value"? */
static bool is_setting(const char *text)
{
    size_t len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return len != 0 && text[len] == '=' && (text[0] < '0' || text[0] > '9');
}

/* Cuts the first setting off: everything behind the first ":NAME=". A value may hold colons ("a:1,b:2"). */
static char *settings_cut(char *text)
{
    for (char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon + 1, ':'))
        if (is_setting(colon + 1)) {
            *colon = '\0';
            return colon + 1;
        }
    return NULL;
}

int hak_target_parse(const char *text, hak_target *target, hak_trace_error *error)
{
    char copy[8192];
    memset(target, 0, sizeof *target);
    if (strlen(text) >= sizeof copy)
        return fail(error, "too long a target", text, "");
    snprintf(copy, sizeof copy, "%s", text);
    char *setting = settings_cut(copy);
    if (parse_name(copy, target, error) != 0)
        return -1;
    while (setting != NULL) {
        char *next = settings_cut(setting);
        char *equals = strchr(setting, '=');
        *equals = '\0';
        if (env_add(target, setting, equals + 1, error) != 0)
            return -1;
        *equals = '=';
        setting = next;
    }
    snprintf(target->name, sizeof target->name, "%s", text);
    if (strlen(text) >= sizeof target->name) /* long ones keep the end, where they differ */
        snprintf(target->name, sizeof target->name, "...%s", text + strlen(text) - (sizeof target->name - 4));
    return 0;
}

const char *hak_target_policy(const hak_target *target)
{
    static const char name[] = "HAKMEM_POLICY=";
    for (size_t i = 0; i < HAK_TARGET_MAX_ENV; i++)
        if (strncmp(target->env[i], name, sizeof name - 1) == 0)
            return target->env[i] + sizeof name - 1;
    return NULL;
}

size_t hak_targets_installed(hak_target *targets, size_t max)
{
    static const char *const names[] = {
        "null",           "glibc",       "mimalloc",        "jemalloc",        "tcmalloc",
        "hakmem:minimal", "hakmem:fast", "hakmem:balanced", "hakmem:learning", "hakmem:research"};
    hak_trace_error ignored;
    size_t count = 0;
    for (size_t i = 0; i < HAK_COUNT_OF(names) && count < max; i++)
        if (hak_target_parse(names[i], &targets[count], &ignored) == 0)
            count++;
    return count;
}
