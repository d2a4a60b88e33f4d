/* policy.c: the policy's file: read once into read-only memory, checked, and what it sets for the whole
 * process. What it decides by site is policy_sites.c's.
 *
 * Never allocates from malloc. hak_policy_open: one thread; the rest any, lock-free. */
#include "core/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/os.h"

static const uint8_t *bytes_in_force;
static const hak_policy_header *in_force; /* NULL: no policy */
static bool canary_seen;
static uint32_t canary_crc;

/* ---- the file ---- */

static const char *read_whole(int fd, uint8_t *bytes, size_t len_bytes)
{
    size_t done = 0;
    while (done < len_bytes) {
        ssize_t n = read(fd, bytes + done, len_bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return "cannot be read";
        done += (size_t)n;
    }
    return NULL;
}

static const char *load_fd(int fd, const uint8_t **bytes)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return "not a regular file";
    if (info.st_size < (off_t)sizeof(hak_policy_header))
        return "too short to be a policy";
    if (info.st_size > (off_t)HAK_POLICY_MAX_BYTES)
        return "larger than 16 MiB";
    size_t len_bytes = (size_t)info.st_size;
    size_t map_bytes = hak_align_up(len_bytes, HAK_OS_PAGE_BYTES);
    uint8_t *map = hak_os_map(map_bytes, HAK_OS_PAGE_BYTES);
    if (map == NULL)
        return "no memory for it";
    const char *wrong = read_whole(fd, map, len_bytes);
    if (wrong == NULL)
        wrong = hak_policy_check(map, len_bytes);
    if (wrong != NULL) {
        hak_os_unmap(map, map_bytes);
        return wrong;
    }
    mprotect(map, map_bytes, PROT_READ); /* where refused it is only less protected from our own bugs */
    *bytes = map;
    return NULL;
}

static const char *load_path(const char *path, const uint8_t **bytes)
{
    struct stat info;
    /* Links are followed (a ConfigMap volume of Kubernetes is made of them), but no device is opened by them:
     * that alone may act. load_fd looks again at what was opened. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return "not a regular file";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT ? "no such file" : "cannot be opened";
    const char *wrong = load_fd(fd, bytes);
    close(fd);
    return wrong;
}

static bool canary_selects(void)
{
    uint64_t draw = hak_mix64((uint64_t)getpid() ^ hak_os_monotonic_ns() << 20);
    return draw % 100 < HAK_POLICY_CANARY_PERCENT;
}

/* ---- public ---- */

const char *hak_policy_open(const char *path)
{
    if (getauxval(AT_SECURE) != 0)
        return "ignored: the program runs with raised privileges";
    const uint8_t *bytes;
    const char *wrong = load_path(path, &bytes);
    if (wrong != NULL)
        return wrong;
    const hak_policy_header *header = (const void *)bytes;
    if (header->state == HAK_STATE_LEARN)
        return "still learning: freeze it first (hakmem-policy state frozen)";
    if (header->state == HAK_STATE_RETIRED)
        return "retired";
    canary_seen = header->state == HAK_STATE_CANARY;
    canary_crc = header->crc32;
    if (canary_seen && !canary_selects())
        return "";
    if (!hak_policy_sites_open(bytes))
        return "no memory for it";
    bytes_in_force = bytes;
    in_force = header;
    return NULL;
}

bool hak_policy_canary(uint32_t *crc, bool *selected)
{
    *crc = canary_crc;
    *selected = in_force != NULL;
    return canary_seen;
}

bool hak_policy_loaded(void)
{
    return in_force != NULL;
}

bool hak_policy_knob(hak_knob knob, int64_t *value)
{
    if (in_force == NULL)
        return false;
    const hak_policy_setting *knobs = (const void *)(bytes_in_force + in_force->knobs.offset);
    for (uint32_t i = 0; i < in_force->knobs.count; i++)
        if (knobs[i].knob == (uint32_t)knob && knobs[i].class_bytes == 0) {
            *value = knobs[i].value;
            return true;
        }
    return false;
}

uint32_t hak_policy_class_knob(hak_knob knob, uint32_t low_bytes, uint32_t high_bytes)
{
    if (in_force == NULL)
        return 0;
    const hak_policy_setting *knobs = (const void *)(bytes_in_force + in_force->knobs.offset);
    for (uint32_t i = 0; i < in_force->knobs.count; i++)
        if (knobs[i].knob == (uint32_t)knob && knobs[i].class_bytes > low_bytes &&
            knobs[i].class_bytes <= high_bytes)
            return (uint32_t)knobs[i].value;
    return 0;
}

uint32_t hak_policy_classes(const uint32_t **sizes)
{
    if (in_force == NULL || in_force->classes.count == 0)
        return 0;
    *sizes = (const void *)(bytes_in_force + in_force->classes.offset);
    return in_force->classes.count;
}

bool hak_policy_gate_holds(size_t low_bytes, size_t high_bytes)
{
    if (in_force == NULL || hak_policy_sites_stale())
        return false;
    const uint32_t(*gate)[2] = (const void *)(bytes_in_force + in_force->gate.offset);
    for (uint32_t i = 0; i < in_force->gate.count; i++)
        if (gate[i][0] <= high_bytes && gate[i][1] >= low_bytes)
            return true;
    return false;
}
