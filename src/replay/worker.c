/* worker.c: measures one target. The allocator under test is this process's malloc (preloaded), so nothing
 * here calls malloc, nor anything that might, before the last pass is over: entry points are found by weak
 * references, not by dlsym (which allocates when it fails), and files are read with plain system calls. */
#include "replay/worker.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "core/base/os.h"
#include "core/base/print.h"
#include "replay/loop.h"
#include "replay/null.h"
#include "replay/system_calls.h"
#include "replay/ticks.h"
#include "replay/plan.h"

/* Names a target may have; absent ones are NULL. Itanium C++ ABI, 5.1.5: operator new and delete. */
#define WEAK __attribute__((weak))
extern void *_Znwm(size_t) WEAK;
extern void *_Znam(size_t) WEAK;
extern void _ZdlPv(void *) WEAK;
extern void _ZdaPv(void *) WEAK;
extern void *_ZnwmSt11align_val_t(size_t, size_t) WEAK;
extern void *_ZnamSt11align_val_t(size_t, size_t) WEAK;
extern void _ZdlPvSt11align_val_t(void *, size_t) WEAK;
extern void _ZdaPvSt11align_val_t(void *, size_t) WEAK;
extern void *_ZnwmRKSt9nothrow_t(size_t, const void *) WEAK;
extern void *_ZnamRKSt9nothrow_t(size_t, const void *) WEAK;
extern void free_sized(void *, size_t) WEAK;
extern void free_aligned_sized(void *, size_t, size_t) WEAK;
extern void hakmem_replay_site(const uint32_t *place) WEAK;
extern unsigned hakmem_counter_count(void) WEAK;
extern const char *hakmem_counter_name(unsigned) WEAK;
extern uint64_t hakmem_counter_value(unsigned) WEAK;
extern const char *hakmem_version(void) WEAK;
extern int mi_version(void) WEAK;
extern const char *tc_version(int *, int *, const char **) WEAK;
extern int mallctl(const char *, void *, size_t *, void *, size_t) WEAK;
extern const char *gnu_get_libc_version(void) WEAK;

static void *new_nothrow(size_t size)
{
    static const char nothrow; /* std::nothrow is an empty object */
    return _ZnwmRKSt9nothrow_t(size, &nothrow);
}

static void *new_array_nothrow(size_t size)
{
    static const char nothrow;
    return _ZnamRKSt9nothrow_t(size, &nothrow);
}

static const char no_memory[] = "not enough memory for the replay itself";

static int problem(hak_plan *plan, const char *text, const char *detail)
{
    size_t len = 0;
    for (const char *from = text; *from != '\0' && len < sizeof plan->problem - 1;)
        plan->problem[len++] = *from++;
    for (const char *from = detail; *from != '\0' && len < sizeof plan->problem - 1;)
        plan->problem[len++] = *from++;
    plan->problem[len] = '\0';
    atomic_store(&plan->phase, HAK_PHASE_ERROR);
    return 0;
}

/* The operators of the C++ runtime (where it got loaded) call malloc: only a target's own count as entry
 * points. */
static bool target_has(void *function, void *of_malloc)
{
    Dl_info mine, its;
    return function != NULL && dladdr(function, &mine) != 0 && dladdr(of_malloc, &its) != 0 &&
           mine.dli_fbase == its.dli_fbase;
}

static void target_api(hak_api *api)
{
    void *of_malloc = (void *)malloc;
    api->malloc = malloc;
    api->calloc = calloc;
    api->realloc = realloc;
    api->free = free;
    api->memalign = memalign;
    api->aligned_alloc = aligned_alloc;
    api->posix_memalign = posix_memalign;
    api->valloc = valloc;
    api->pvalloc = target_has((void *)pvalloc, of_malloc) ? pvalloc : NULL;
    api->reallocarray = reallocarray;
    if (target_has((void *)free_sized, of_malloc))
        api->free_sized = free_sized;
    if (target_has((void *)free_aligned_sized, of_malloc))
        api->free_aligned_sized = free_aligned_sized;
    if (target_has((void *)hakmem_replay_site, of_malloc))
        api->replay_site = hakmem_replay_site;
    if (target_has((void *)_Znwm, of_malloc) && target_has((void *)_ZdlPv, of_malloc)) {
        api->new_plain = _Znwm;
        api->delete_plain = _ZdlPv;
    }
    if (target_has((void *)_Znam, of_malloc) && target_has((void *)_ZdaPv, of_malloc)) {
        api->new_array = _Znam;
        api->delete_array = _ZdaPv;
    }
    if (target_has((void *)_ZnwmSt11align_val_t, of_malloc) &&
        target_has((void *)_ZdlPvSt11align_val_t, of_malloc)) {
        api->new_aligned = _ZnwmSt11align_val_t;
        api->delete_aligned = _ZdlPvSt11align_val_t;
    }
    if (target_has((void *)_ZnamSt11align_val_t, of_malloc) &&
        target_has((void *)_ZdaPvSt11align_val_t, of_malloc)) {
        api->new_array_aligned = _ZnamSt11align_val_t;
        api->delete_array_aligned = _ZdaPvSt11align_val_t;
    }
    if (target_has((void *)_ZnwmRKSt9nothrow_t, of_malloc))
        api->new_nothrow = new_nothrow;
    if (target_has((void *)_ZnamRKSt9nothrow_t, of_malloc))
        api->new_array_nothrow = new_array_nothrow;
}

/* malloc must be the wanted library's: a preload that cannot be loaded is silently ignored by the loader. */
static bool preload_took_effect(const char *library)
{
    if (library[0] == '\0')
        return true;
    Dl_info info;
    struct stat wanted, found;
    return dladdr((void *)malloc, &info) != 0 && info.dli_fname != NULL &&
           stat(info.dli_fname, &found) == 0 && stat(library, &wanted) == 0 &&
           wanted.st_dev == found.st_dev && wanted.st_ino == found.st_ino;
}

/* The number after `key` in a file of /proc that counts in kB, in bytes; 0 when it is not there. */
static uint64_t proc_bytes(const char *path, const char *key)
{
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size_t len = 0;
    for (ssize_t got; len < sizeof text - 1 && (got = read(fd, text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)got;
    close(fd);
    text[len] = '\0';
    const char *at = strstr(text, key);
    if (at == NULL)
        return 0;
    uint64_t value = 0;
    for (at += strlen(key); *at == ' ' || *at == '\t'; at++) {
    }
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return value * 1024;
}

static uint64_t rss_bytes(void)
{
    uint64_t exact = proc_bytes("/proc/self/smaps_rollup", "\nRss:");
    return exact != 0 ? exact : proc_bytes("/proc/self/status", "\nVmRSS:");
}

/* Starts the kernel's high-water mark anew. False where that is not allowed. */
static bool peak_reset(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, "5", 1) == 1;
    if (fd >= 0)
        close(fd);
    return done;
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void take_counters(hak_measure *result)
{
    if (hakmem_counter_count == NULL || hakmem_counter_name == NULL || hakmem_counter_value == NULL)
        return;
    unsigned count = hakmem_counter_count();
    for (unsigned i = 0; i < count && result->counter_count < HAK_MEASURE_MAX_COUNTERS; i++) {
        const char *name = hakmem_counter_name(i);
        if (name == NULL)
            continue;
        hak_counter *counter = &result->counters[result->counter_count++];
        strncpy(counter->name, name, sizeof counter->name - 1);
        counter->value = hakmem_counter_value(i);
    }
}

/* "5.3.0" of whoever provides malloc; "" when it does not say. May allocate: after the measurement only. */
static void take_version(hak_measure *result, const hak_plan *plan)
{
    hak_out out;
    hak_out_init(&out, -1); /* used as a buffer: never flushed */
    void *of_malloc = (void *)malloc;
    int major = 0, minor = 0;
    const char *rest = "", *jemalloc = "";
    size_t size = sizeof jemalloc;
    if (plan->null) {
        return;
    } else if (target_has((void *)hakmem_version, of_malloc)) {
        hak_out_text(&out, hakmem_version());
    } else if (target_has((void *)mi_version, of_malloc)) {
        int version = mi_version(); /* 209 is 2.0.9 */
        hak_out_u64(&out, (uint64_t)version / 100);
        hak_out_text(&out, ".");
        hak_out_u64(&out, (uint64_t)version / 10 % 10);
        hak_out_text(&out, ".");
        hak_out_u64(&out, (uint64_t)version % 10);
    } else if (target_has((void *)tc_version, of_malloc)) {
        tc_version(&major, &minor, &rest);
        hak_out_u64(&out, (uint64_t)major);
        hak_out_text(&out, ".");
        hak_out_u64(&out, (uint64_t)minor);
    } else if (target_has((void *)mallctl, of_malloc) && mallctl("version", &jemalloc, &size, NULL, 0) == 0) {
        hak_out_bytes(&out, jemalloc, strcspn(jemalloc, "-"));
    } else if (target_has((void *)gnu_get_libc_version, of_malloc)) {
        hak_out_text(&out, gnu_get_libc_version());
    }
    size_t len = out.len_bytes < sizeof result->version - 1 ? out.len_bytes : sizeof result->version - 1;
    memcpy(result->version, out.text, len);
}

/* Where the process stood before the first pass. */
typedef struct base {
    struct rusage usage;
    uint64_t rss, rss_exact;
} base;

static void base_take(base *b, hak_measure *result)
{
    b->rss_exact = rss_bytes();
    result->start_rss_bytes = proc_bytes("/proc/self/status", "\nRssAnon:");
    result->peak_rss_marked = peak_reset();
    b->rss = proc_bytes("/proc/self/status", "\nVmRSS:");
    getrusage(RUSAGE_SELF, &b->usage);
}

/* After the first pass, while all that the recording never freed is live. */
static void memory_take(const base *b, hak_measure *result)
{
    struct rusage now;
    getrusage(RUSAGE_SELF, &now);
    uint64_t peak = proc_bytes("/proc/self/status", "\nVmHWM:");
    uint64_t end = rss_bytes();
    result->minor_faults = (uint64_t)(now.ru_minflt - b->usage.ru_minflt);
    result->major_faults = (uint64_t)(now.ru_majflt - b->usage.ru_majflt);
    result->context_switches =
        (uint64_t)(now.ru_nvcsw - b->usage.ru_nvcsw) + (uint64_t)(now.ru_nivcsw - b->usage.ru_nivcsw);
    result->end_rss_bytes = end > b->rss_exact ? end - b->rss_exact : 0;
    result->peak_rss_bytes = peak > b->rss ? peak - b->rss : 0;
    if (result->peak_rss_bytes < result->end_rss_bytes)
        result->peak_rss_bytes = result->end_rss_bytes; /* the mark moves in steps of a few dozen OS pages */
}

/* As measure.c's sampler counts. */
static uint64_t statm_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    uint64_t pages = 0;
    ssize_t at = 0;
    while (at < len && text[at] != ' ')
        at++;
    for (at++; at < len && text[at] >= '0' && text[at] <= '9'; at++)
        pages = pages * 10 + (uint64_t)(text[at] - '0');
    return pages * HAK_OS_PAGE_BYTES;
}

/* Mapped and touched, so that timing a call faults nothing in. */
static hak_latency *latency_sets(void)
{
    size_t bytes = sizeof(hak_latency) * HAK_LATENCY_POINT_COUNT * HAK_LOOP_LATENCY_SETS;
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void latency_merge(hak_detail *detail, const hak_latency *sets)
{
    for (size_t set = 0; set < HAK_LOOP_LATENCY_SETS; set++)
        for (size_t point = 0; point < HAK_LATENCY_POINT_COUNT; point++) {
            const hak_latency *from = &sets[set * HAK_LATENCY_POINT_COUNT + point];
            hak_latency *to = &detail->latency[point];
            for (size_t i = 0; i < HAK_LATENCY_BUCKETS; i++)
                to->buckets[i] += atomic_load_explicit(&from->buckets[i], memory_order_relaxed);
            if (atomic_load(&from->max) > to->max)
                to->max = atomic_load(&from->max);
        }
}

/* What the clock can tell at all: its step, and what it shows when nothing is between two readings. */
static void timer_describe(hak_detail *detail)
{
    enum { READINGS = 4096 };
    uint64_t step = UINT64_MAX, sum = 0;
    detail->ns_per_tick = 1 / hak_loop_ticks_per_ns();
    for (int i = 0; i < READINGS; i++) {
        uint64_t from = hak_ticks_before(), took = hak_ticks_after() - from;
        sum += took;
        uint64_t first = hak_ticks_before(), next = first;
        while (next == first)
            next = hak_ticks_before();
        step = next - first < step ? next - first : step;
    }
    detail->quantum_ns = (double)step * detail->ns_per_tick;
    detail->timer_ns = (double)sum / READINGS * detail->ns_per_tick;
}

static struct rusage pass_usage;

static void pass_begins(hak_plan *plan)
{
    for (size_t i = 0; i < HAK_SYSTEM_CALL_COUNT; i++)
        atomic_store(&plan->detail.system_calls[i], 0);
    getrusage(RUSAGE_SELF, &pass_usage);
    plan->run_ns = hak_os_monotonic_ns();
}

static void pass_ended(hak_plan *plan)
{
    struct rusage now;
    getrusage(RUSAGE_SELF, &now);
    plan->detail.voluntary_switches = (uint64_t)(now.ru_nvcsw - pass_usage.ru_nvcsw);
    plan->detail.involuntary_switches = (uint64_t)(now.ru_nivcsw - pass_usage.ru_nivcsw);
}

static int passes_run(hak_plan *plan, hak_loop *loop, uint64_t operations, uint32_t threads)
{
    hak_measure *result = &plan->result;
    uint32_t repeats = plan->options.repeats != 0 ? plan->options.repeats : 1;
    uint64_t cold_ns = 0, all_ns = 0;
    base b;
    plan->base_rss_bytes = statm_bytes();
    base_take(&b, result);
    for (uint32_t i = 0; i < repeats; i++) {
        hak_pass pass;
        plan->pass = i + 1;
        if (i != 0)
            hak_loop_clean(loop);
        if (i == 0)
            pass_begins(plan);
        uint64_t cpu_before = cpu_ns();
        if (hak_loop_pass(loop, &pass) != 0)
            return problem(plan, "cannot create a thread: ", strerror(errno));
        uint64_t cpu = cpu_ns() - cpu_before;
        result->cpu_ns += cpu > pass.idle_ns ? cpu - pass.idle_ns : 0;
        result->wall_ns += pass.wall_ns;
        result->failed_allocations += pass.failed;
        /* One thread: its processor time, which on a busy machine says the same as on an idle one. */
        uint64_t took_ns = threads == 1 ? pass.first_cpu_ns : pass.wall_ns;
        if (threads == 1)
            took_ns -= pass.idle_ns < took_ns ? pass.idle_ns : took_ns;
        all_ns += took_ns;
        if (i == 0) {
            cold_ns = took_ns;
            pass_ended(plan);
            memory_take(&b, result);
        }
    }
    result->operations = operations * repeats;
    double per_pass = operations != 0 ? (double)operations : 1;
    result->ns_per_op_cold = (double)cold_ns / per_pass;
    result->ns_per_op = (double)all_ns / (per_pass * repeats);
    result->ns_per_op_warm =
        repeats > 1 ? (double)(all_ns - cold_ns) / (per_pass * (repeats - 1)) : result->ns_per_op_cold;
    take_counters(result);
    take_version(result, plan);
    atomic_store(&plan->phase, HAK_PHASE_DONE);
    return 0;
}

int hak_worker_main(void)
{
    struct stat stat_of_plan;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fstat(HAK_PLAN_FD, &stat_of_plan) != 0 || (size_t)stat_of_plan.st_size < sizeof(hak_plan))
        return 2;
    hak_plan *plan = mmap(NULL, (size_t)stat_of_plan.st_size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_POPULATE, HAK_PLAN_FD, 0);
    if (plan == MAP_FAILED || plan->magic != HAK_PLAN_MAGIC)
        return 2;
    if (!preload_took_effect(plan->library))
        return problem(
            plan, "malloc does not come from this library: it could not be preloaded, or defines no malloc",
            "");
    const uint64_t *region =
        mmap(NULL, plan->workload_bytes, PROT_READ,
             MAP_SHARED | (plan->workload_bytes <= HAK_WORKLOAD_SPILL_BYTES ? MAP_POPULATE : 0),
             HAK_PLAN_WORKLOAD_FD, 0);
    if (region == MAP_FAILED)
        return problem(plan, no_memory, "");
    if (plan->options.cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)plan->options.cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0)
            return problem(plan, "cannot run on the wanted processor: ", strerror(errno));
    }
    const hak_w_header *head = (const hak_w_header *)region;
    static hak_api api;
    if (plan->null)
        hak_null_api(&api, head->size_max);
    else
        target_api(&api);
    hak_api_fill(&api);
    hak_latency *sets = plan->kind == HAK_RUN_LATENCY ? latency_sets() : NULL;
    if (plan->kind == HAK_RUN_LATENCY && sets == NULL)
        return problem(plan, no_memory, "");
    hak_loop_options options = {
        .touch = plan->options.touch,
        .pollute_bytes = plan->options.pollute_bytes,
        .live = plan->kind == HAK_RUN_OBSERVED ? &plan->live : NULL,
        .begun = plan->begun,
        .kernel_threads = plan->kernel_threads != 0,
        .streamed = plan->workload_bytes > HAK_WORKLOAD_SPILL_BYTES,
        .latency = sets,
        .sites = plan->site_count != 0 ? hak_plan_sites(plan) : NULL,
    };
    hak_loop *loop = hak_loop_new(region, &api, &options);
    if (loop == NULL)
        return problem(plan, no_memory, "");
    atomic_store(&plan->phase, HAK_PHASE_RUN);
    if (plan->kind == HAK_RUN_OBSERVED)
        plan->detail.system_calls_known = hak_system_calls_count(plan->detail.system_calls);
    if (sets != NULL)
        timer_describe(&plan->detail);
    int status = passes_run(plan, loop, head->operations, head->thread_count);
    if (sets != NULL)
        latency_merge(&plan->detail, sets);
    return status;
}
