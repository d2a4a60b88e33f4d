/* learn.c: online learning; see learn.h. Two things are learned, both from slow paths:
 *
 * - Which strategy the BigCache should follow. Each strategy is a set of knobs. An epoch is EPOCH_OPS large
 *   allocations under one of them; its cost is the work they caused, by the allocator's own counters:
 * mappings, misses, memory given back that will be faulted in again. Neither an idle program nor a busy
 * machine changes it, and no system call asks for it. The champion and a challenger take turns: two epochs
 * are a match, and a match moves both Elo ratings. LEARN ends after MATCHES_TO_FREEZE; FROZEN keeps the best;
 * every CANARY_EPOCHS one challenger's epoch follows (CANARY), and CANARY_LOSSES lost in a row go back to
 * LEARN.
 * - How long blocks live, by context: one refill in SAMPLE_EVERY is tracked from allocation to free, in fixed
 * tables that forget rather than grow. It is written as evidence; decisions by site are the offline
 * trainer's.
 *
 * Concurrency: one thread at a time steps the epoch (try-flag); counts are relaxed atomics, and a lost update
 * costs a sample, not safety. Knobs are whole words: another thread reads the old one or the new. */
#include "core/learn.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/os.h"
#include "core/base/print.h"
#include "core/base/wire.h"
#include "core/callsite/memo.h"
#include "core/decide.h"
#include "core/options.h"
#include "core/policy_format.h"

#define EPOCH_OPS         128
#define MATCHES_TO_FREEZE 24
#define CANARY_EPOCHS     32 /* frozen epochs between two canaries */
#define CANARY_LOSSES     2
#define CANARY_MARGIN     10 /* percent by which a canary must win */
#define ELO_START         1500
#define ELO_STEP          32      /* K of Elo, The Rating of Chessplayers, 1978 */
#define CALL_NS           2000.0  /* a mapping made, moved or removed */
#define MISS_NS           60000.0 /* a large block whose pages have to be faulted in */
#define FAULT_NS          250.0   /* an OS page given back and wanted again */
#define SAMPLE_EVERY      16
#define CONTEXT_DEPTH     4
#define CONTEXTS          1024 /* power of two */
#define TRACKED           4096 /* power of two */
#define PROBES            8
#define SHORT_SAMPLES     4 /* freed before so many further samples: short-lived */
#define EVIDENCE_BYTES    16384
#define EVIDENCE_SITES    48  /* the heaviest contexts that are written */
#define SITE_BYTES        240 /* of a line */

typedef struct strategy {
    const char *name;
    int64_t bytes;        /* bigcache_bytes; 0: as configured, both */
    int64_t keep_percent; /* bigcache_keep_percent */
} strategy;

/* How much freed memory to keep. "configured" is what the options say. (What a thread keeps for itself is no
 * choice here: where each large block is looked at, it keeps none.) */
static const strategy strategies[] = {
    {"configured", 0, 0},    {"keep", 512 << 20, 200}, {"even", 256 << 20, 100},
    {"half", 128 << 20, 50}, {"thin", 48 << 20, 10},
};
enum { STRATEGIES = HAK_COUNT_OF(strategies) };

static const hak_knob moved[] = {HAK_KNOB_BIGCACHE_BYTES, HAK_KNOB_BIGCACHE_KEEP_PERCENT};

static struct {
    _Atomic uint32_t ops;
    atomic_flag stepping;
    hak_policy_state state;
    int64_t configured[HAK_COUNT_OF(moved)];
    double rating[STRATEGIES];
    unsigned champion, challenger, playing;
    double epoch_work;    /* at the start of the epoch */
    double champion_cost; /* ns per large allocation, last epoch */
    uint32_t matches, frozen_epochs, canary_wins, transitions;
} elo = {.stepping = ATOMIC_FLAG_INIT};

typedef struct lifetimes {
    _Atomic uint64_t key; /* hash of the context; 0: free */
    _Atomic uint32_t seen, freed, brief;
    uintptr_t
        pcs[CONTEXT_DEPTH]; /* innermost first; written once, by whoever took the row, and read at exit */
} lifetimes;

typedef struct tracked {
    _Atomic uintptr_t block;
    uint32_t context;
    uint32_t born; /* number of the sample */
} tracked;

static lifetimes *contexts;
static tracked *blocks;
static _Atomic uint32_t samples;
static _Atomic uint32_t sizes[HAK_CLASS_MAX]; /* samples by size class */

/* ---- strategies ---- */

static int64_t setting_of(unsigned which, unsigned knob)
{
    const strategy *s = &strategies[which];
    const int64_t values[] = {s->bytes, s->keep_percent};
    return s->bytes == 0 ? elo.configured[knob] : values[knob];
}

static void play(unsigned which)
{
    elo.playing = which;
    for (unsigned i = 0; i < HAK_COUNT_OF(moved); i++)
        hak_opt.knobs[moved[i]] = setting_of(which, i);
}

/* 1 / (1 + 10^(gap/400)) by a rational approximation: no libm in an allocator. Off by less than 0.01. */
static double expected(double gap)
{
    double x = gap / 400 * 1.15; /* ln(10) / 2 */
    double tanh_x = x * (27 + x * x) / (27 + 9 * x * x);
    tanh_x = tanh_x > 1 ? 1 : tanh_x < -1 ? -1 : tanh_x;
    return (1 - tanh_x) / 2;
}

static void say_state(const char *from, const char *to)
{
    elo.transitions++;
    if (!hak_feature_on(HAK_FEATURE_VERBOSE))
        return;
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem: learning: ");
    hak_out_text(&out, from);
    hak_out_text(&out, " -> ");
    hak_out_text(&out, to);
    hak_out_text(&out, ", strategy ");
    hak_out_text(&out, strategies[elo.champion].name);
    hak_out_text(&out, ", matches ");
    hak_out_u64(&out, elo.matches);
    hak_out_text(&out, "\n");
    hak_out_flush(&out);
}

static void next_challenger(void)
{
    do
        elo.challenger = (elo.challenger + 1) % STRATEGIES;
    while (elo.challenger == elo.champion);
}

static void rate(bool challenger_won)
{
    double gap = elo.rating[elo.champion] - elo.rating[elo.challenger];
    double points = ELO_STEP * ((challenger_won ? 1 : 0) - expected(gap));
    elo.rating[elo.challenger] += points;
    elo.rating[elo.champion] -= points;
    elo.matches++;
    for (unsigned i = 0; i < STRATEGIES; i++)
        if (elo.rating[i] > elo.rating[elo.champion])
            elo.champion = i;
}

static void step_learn(double cost)
{
    if (elo.playing == elo.champion) {
        elo.champion_cost = cost;
        next_challenger();
        play(elo.challenger);
        return;
    }
    rate(cost < elo.champion_cost);
    play(elo.champion);
    if (elo.matches % MATCHES_TO_FREEZE == 0) {
        elo.state = HAK_STATE_FROZEN;
        elo.frozen_epochs = 0;
        say_state("LEARN", "FROZEN");
    }
}

static void step_frozen(double cost)
{
    elo.champion_cost = cost;
    if (++elo.frozen_epochs < CANARY_EPOCHS)
        return;
    elo.frozen_epochs = 0;
    elo.state = HAK_STATE_CANARY;
    next_challenger();
    play(elo.challenger);
    say_state("FROZEN", "CANARY");
}

static void step_canary(double cost)
{
    bool won = cost * (100 + CANARY_MARGIN) < elo.champion_cost * 100;
    elo.canary_wins = won ? elo.canary_wins + 1 : 0;
    rate(won);
    bool again = elo.canary_wins >= CANARY_LOSSES;
    elo.canary_wins = again ? 0 : elo.canary_wins;
    elo.state = again ? HAK_STATE_LEARN : HAK_STATE_FROZEN;
    play(elo.champion);
    say_state("CANARY", again ? "LEARN" : "FROZEN");
}

static double counted(hak_process_counter counter)
{
    return (double)atomic_load_explicit(&hak_process_counters[counter], memory_order_relaxed);
}

/* Nanoseconds, roughly, that large blocks have cost since the start. */
static double work_done(void)
{
    double calls = counted(HAK_COUNT_OS_MAP) + counted(HAK_COUNT_OS_UNMAP) + counted(HAK_COUNT_OS_REMAP);
    return CALL_NS * calls + MISS_NS * counted(HAK_COUNT_BIGCACHE_MISS) +
           FAULT_NS / HAK_OS_PAGE_BYTES * counted(HAK_COUNT_PURGE_BYTES);
}

/* ---- writing on a signal: opted in by HAKMEM_POLICY_SIGNAL. The handler only leaves a note; the next slow
 * path writes. A handler the program has is left alone, and one that it sets later replaces ours. ---- */

static const char *write_policy(const char *pattern);
static volatile sig_atomic_t write_due;
static atomic_flag writing = ATOMIC_FLAG_INIT;

static void note_signal(int number)
{
    (void)number;
    write_due = 1;
}

static void watch_signal(void)
{
    struct sigaction there;
    struct sigaction ours = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    if (hak_opt.policy_signal != 0 && hak_opt.policy_out != NULL &&
        sigaction(hak_opt.policy_signal, NULL, &there) == 0 && (there.sa_flags & SA_SIGINFO) == 0 &&
        there.sa_handler == SIG_DFL)
        sigaction(hak_opt.policy_signal, &ours, NULL);
}

static HAK_COLD void write_noted(void)
{
    if (atomic_flag_test_and_set_explicit(&writing, memory_order_acquire))
        return;
    int saved = errno;
    write_due = 0;
    write_policy(hak_opt.policy_out); /* what fails now is said at exit */
    errno = saved;
    atomic_flag_clear_explicit(&writing, memory_order_release);
}

/* Called for each large allocation; every EPOCH_OPS one of them judges the epoch. */
static void large_alloc(size_t bytes, hak_frame frame, hak_large_plan *plan)
{
    (void)bytes;
    (void)frame;
    plan->strategy = (uint8_t)(elo.playing + 1);
    if (HAK_UNLIKELY(write_due != 0))
        write_noted();
    if ((atomic_fetch_add_explicit(&elo.ops, 1, memory_order_relaxed) + 1) % EPOCH_OPS != 0 ||
        hak_opt.evo == HAK_EVO_FROZEN || !hak_feature_on(HAK_FEATURE_EVOLUTION) ||
        atomic_flag_test_and_set_explicit(&elo.stepping, memory_order_acquire))
        return;
    double now = work_done();
    double cost = (now - elo.epoch_work) / EPOCH_OPS;
    elo.epoch_work = now;
    switch (elo.state) {
    case HAK_STATE_LEARN:
        step_learn(cost);
        break;
    case HAK_STATE_FROZEN:
        step_frozen(cost);
        break;
    case HAK_STATE_CANARY:
        step_canary(cost);
        break;
    case HAK_STATE_RETIRED:
        break;
    }
    atomic_flag_clear_explicit(&elo.stepping, memory_order_release);
}

/* ---- lifetimes by context ---- */

static uint64_t context_key(hak_frame frame, uintptr_t pcs[CONTEXT_DEPTH])
{
    bool complete;
    memset(pcs, 0, CONTEXT_DEPTH * sizeof *pcs);
    uint64_t key = 0;
    unsigned count = hak_memo_walk(frame, hak_stack_of(frame.sp), pcs, CONTEXT_DEPTH, &complete);
    for (unsigned i = 0; i < count; i++)
        key = hak_mix64(key ^ pcs[i]);
    return key | 1;
}

/* Number of the context's row; CONTEXTS when its neighbourhood is full. */
static uint32_t context_of(uint64_t key)
{
    for (uint32_t i = 0; i < PROBES; i++) {
        uint32_t at = ((uint32_t)(key >> 32) + i) & (CONTEXTS - 1);
        uint64_t there = 0;
        if (atomic_compare_exchange_strong_explicit(&contexts[at].key, &there, key, memory_order_relaxed,
                                                    memory_order_relaxed) ||
            there == key)
            return at;
    }
    return CONTEXTS;
}

static bool sampled(hak_frame frame, size_t bytes)
{
    uintptr_t pcs[CONTEXT_DEPTH];
    if (HAK_UNLIKELY(write_due != 0))
        write_noted();
    if (bytes <= HAK_SMALL_MAX_BYTES)
        atomic_fetch_add_explicit(&sizes[hak_class_of(bytes)], 1, memory_order_relaxed);
    uint32_t context = context_of(context_key(frame, pcs));
    if (context == CONTEXTS)
        return false;
    if (atomic_fetch_add_explicit(&contexts[context].seen, 1, memory_order_relaxed) == 0)
        memcpy(contexts[context].pcs, pcs, sizeof pcs);
    return true;
}

static tracked *slot_of(uintptr_t block, unsigned probe)
{
    return &blocks[(hak_mix64(block) + probe) & (TRACKED - 1)];
}

static void tracked_alloc(void *block, size_t bytes, hak_frame frame)
{
    (void)bytes;
    uint32_t number = atomic_fetch_add_explicit(&samples, 1, memory_order_relaxed);
    uintptr_t pcs[CONTEXT_DEPTH];
    uint32_t context = context_of(context_key(frame, pcs));
    for (unsigned i = 0; i < PROBES && context != CONTEXTS; i++) {
        tracked *slot = slot_of((uintptr_t)block, i);
        uintptr_t there = 0;
        if (!atomic_compare_exchange_strong_explicit(&slot->block, &there, 1, memory_order_acquire,
                                                     memory_order_relaxed))
            continue;
        slot->context = context;
        slot->born = number;
        /* Pairs with the acquire in tracked_free: who finds the block finds its context. */
        atomic_store_explicit(&slot->block, (uintptr_t)block, memory_order_release);
        return;
    }
}

static void tracked_free(void *block)
{
    for (unsigned i = 0; i < PROBES; i++) {
        tracked *slot = slot_of((uintptr_t)block, i);
        if (atomic_load_explicit(&slot->block, memory_order_acquire) != (uintptr_t)block)
            continue;
        lifetimes *row = &contexts[slot->context];
        uint32_t age = atomic_load_explicit(&samples, memory_order_relaxed) - slot->born;
        atomic_fetch_add_explicit(&row->freed, 1, memory_order_relaxed);
        if (age <= SHORT_SAMPLES)
            atomic_fetch_add_explicit(&row->brief, 1, memory_order_relaxed);
        atomic_store_explicit(&slot->block, 0, memory_order_release);
        return;
    }
}

/* ---- what was learned ---- */

typedef struct totals {
    uint64_t contexts, seen, freed, brief;
} totals;

static totals sum_up(void)
{
    totals t = {0, 0, 0, 0};
    for (unsigned i = 0; contexts != NULL && i < CONTEXTS; i++) {
        t.contexts += atomic_load_explicit(&contexts[i].key, memory_order_relaxed) != 0;
        t.seen += atomic_load_explicit(&contexts[i].seen, memory_order_relaxed);
        t.freed += atomic_load_explicit(&contexts[i].freed, memory_order_relaxed);
        t.brief += atomic_load_explicit(&contexts[i].brief, memory_order_relaxed);
    }
    return t;
}

/* The heaviest context not heavier than `below`, first in the table among equals after `after`; CONTEXTS:
 * none. */
static uint32_t next_heaviest(uint32_t below, uint32_t after)
{
    uint32_t best = CONTEXTS, most = 0;
    for (uint32_t i = 0; i < CONTEXTS; i++) {
        uint32_t seen = atomic_load_explicit(&contexts[i].seen, memory_order_relaxed);
        if (seen > most && (seen < below || (seen == below && i > after))) {
            most = seen;
            best = i;
        }
    }
    return best;
}

/* "online.site libx.so+0x12<app+0x34 seen 9 freed 8 short 7": what a context's sampled blocks did. */
static size_t put_site(char *text, size_t room, const lifetimes *row)
{
    char line[SITE_BYTES] = "online.site ";
    size_t len = strlen(line);
    for (unsigned i = 0; i < CONTEXT_DEPTH && row->pcs[i] != 0 && len < sizeof line / 2; i++) {
        Dl_info info;
        if (dladdr((const void *)row->pcs[i], &info) == 0 || info.dli_fname == NULL)
            break;
        const char *slash = strrchr(info.dli_fname, '/');
        len += (size_t)snprintf(line + len, sizeof line - len, "%s%.40s+0x%lx", i == 0 ? "" : "<",
                                slash != NULL ? slash + 1 : info.dli_fname,
                                (unsigned long)(row->pcs[i] - (uintptr_t)info.dli_fbase));
    }
    len += (size_t)snprintf(line + len, sizeof line - len, " seen %u freed %u short %u\n", row->seen,
                            row->freed, row->brief);
    if (len >= sizeof line || len >= room)
        return 0;
    memcpy(text, line, len);
    return len;
}

static size_t put_samples(char *text, size_t room)
{
    size_t len = 0;
    for (unsigned i = 0; i < hak_classes.count && len + 64 < room; i++)
        if (sizes[i] != 0)
            len += (size_t)snprintf(text + len, room - len, "online.size %u samples %u\n",
                                    hak_classes.of[i].block_bytes, sizes[i]);
    uint32_t below = UINT32_MAX, at = CONTEXTS;
    for (unsigned n = 0; n < EVIDENCE_SITES && (at = next_heaviest(below, at)) != CONTEXTS; n++) {
        below = atomic_load_explicit(&contexts[at].seen, memory_order_relaxed);
        len += put_site(text + len, room - len, &contexts[at]);
    }
    return len;
}

static size_t put_evidence(char *text, size_t room)
{
    totals t = sum_up();
    size_t len = 0;
    const struct {
        const char *name;
        uint64_t value;
    } lines[] = {
        {"online.large_allocations", atomic_load_explicit(&elo.ops, memory_order_relaxed)},
        {"online.matches", elo.matches},
        {"online.transitions", elo.transitions},
        {"online.contexts", t.contexts},
        {"online.samples", t.seen},
        {"online.samples_freed", t.freed},
        {"online.samples_short", t.brief},
    };
    for (size_t i = 0; i < HAK_COUNT_OF(lines); i++)
        len += (size_t)snprintf(text + len, room - len, "%s %llu\n", lines[i].name,
                                (unsigned long long)lines[i].value);
    for (unsigned i = 0; i < STRATEGIES; i++)
        len += (size_t)snprintf(text + len, room - len, "online.elo.%s %d\n", strategies[i].name,
                                (int)elo.rating[i]);
    for (unsigned i = 0; i < HAK_COUNT_OF(moved); i++)
        len += (size_t)snprintf(text + len, room - len, "online.threshold %s %lld\n",
                                hak_knob_infos[moved[i]].text, (long long)setting_of(elo.champion, i));
    if (contexts != NULL)
        len += put_samples(text + len, room - len);
    return len;
}

/* Lays a policy out in `bytes` (zeroed); returns its length. */
static size_t put_policy(unsigned char *bytes)
{
    hak_policy_header *header = (hak_policy_header *)bytes;
    hak_policy_setting *settings = (hak_policy_setting *)(bytes + sizeof *header);
    memcpy(header->magic, HAK_POLICY_MAGIC, sizeof header->magic);
    header->version = HAK_POLICY_VERSION;
    header->state = elo.state == HAK_STATE_LEARN ? HAK_STATE_LEARN : HAK_STATE_FROZEN;
    header->created_unix_s = (uint64_t)time(NULL);
    size_t at = sizeof *header;
    header->knobs.offset = (uint32_t)at;
    for (unsigned knob = 0; knob < HAK_KNOB_COUNT && strategies[elo.champion].bytes != 0; knob++)
        for (unsigned i = 0; i < HAK_COUNT_OF(moved); i++)
            if (moved[i] == (hak_knob)knob)
                settings[header->knobs.count++] =
                    (hak_policy_setting){.knob = knob, .value = setting_of(elo.champion, i)};
    at += header->knobs.count * sizeof *settings;
    if (header->knobs.count == 0)
        header->knobs.offset = 0;
    header->evidence.offset = (uint32_t)at;
    header->evidence.count = (uint32_t)put_evidence((char *)bytes + at, EVIDENCE_BYTES);
    at = hak_align_up(at + header->evidence.count, 8);
    header->size_bytes = (uint32_t)at;
    size_t from = offsetof(hak_policy_header, crc32) + sizeof header->crc32;
    header->crc32 = hak_crc32(0, bytes + from, at - from);
    return at;
}

/* %p: the pid, so that the processes of a tree do not overwrite each other's. False: too long. */
static bool expand(const char *pattern, char *path, size_t room)
{
    const char *mark = strstr(pattern, "%p");
    int n = mark == NULL
                ? snprintf(path, room, "%s", pattern)
                : snprintf(path, room, "%.*s%d%s", (int)(mark - pattern), pattern, (int)getpid(), mark + 2);
    return n > 0 && (size_t)n < room;
}

static const char *write_policy(const char *pattern)
{
    static alignas(8) unsigned char
        bytes[sizeof(hak_policy_header) + HAK_KNOB_COUNT * sizeof(hak_policy_setting) + EVIDENCE_BYTES + 8];
    memset(bytes, 0, sizeof bytes); /* what an earlier signal left */
    char path[PATH_MAX];
    char name[PATH_MAX + 32];
    if (!expand(pattern, path, sizeof path))
        return "name too long";
    size_t len = put_policy(bytes);
    const char *fault = hak_policy_check(bytes, len);
    if (fault != NULL)
        return fault;
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
        return "not a file"; /* root could replace even a device */
    snprintf(name, sizeof name, "%s.%d.tmp", path, (int)getpid());
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return "cannot be created";
    bool whole = write(fd, bytes, len) == (ssize_t)len;
    whole = close(fd) == 0 && whole && rename(name, path) == 0;
    if (!whole)
        unlink(name);
    return whole ? NULL : "cannot be written";
}

void hak_learn_init(void)
{
    if (hak_feature_on(HAK_FEATURE_ELO)) {
        elo.state = hak_opt.evo == HAK_EVO_LEARN ? HAK_STATE_LEARN : HAK_STATE_FROZEN;
        for (unsigned i = 0; i < STRATEGIES; i++)
            elo.rating[i] = ELO_START;
        for (unsigned i = 0; i < HAK_COUNT_OF(moved); i++)
            elo.configured[i] = hak_opt.knobs[moved[i]];
        elo.epoch_work = work_done();
        hak_learn_hooks.large_alloc = large_alloc;
    }
    if (hak_feature_on(HAK_FEATURE_ELO) || hak_feature_on(HAK_FEATURE_SAMPLE))
        watch_signal();
    if (!hak_feature_on(HAK_FEATURE_SAMPLE))
        return;
    size_t contexts_bytes = hak_align_up(CONTEXTS * sizeof *contexts, HAK_OS_PAGE_BYTES);
    size_t blocks_bytes = hak_align_up(TRACKED * sizeof *blocks, HAK_OS_PAGE_BYTES);
    contexts = hak_os_map(contexts_bytes, HAK_OS_PAGE_BYTES);
    blocks = hak_os_map(blocks_bytes, HAK_OS_PAGE_BYTES);
    if (contexts == NULL || blocks == NULL)
        return; /* no memory: nothing is sampled */
    hak_learn_hooks.sampled = sampled;
    hak_learn_hooks.tracked_alloc = tracked_alloc;
    hak_learn_hooks.tracked_free = tracked_free;
    hak_learn_hooks.sample_every = SAMPLE_EVERY;
}

void hak_learn_end(void)
{
    bool learning = hak_learn_hooks.large_alloc != NULL || hak_learn_hooks.sampled != NULL;
    if (!learning || hak_opt.policy_out == NULL)
        return;
    if (atomic_flag_test_and_set_explicit(&writing, memory_order_acquire))
        return; /* another thread is at it, for a signal */
    int saved = errno;
    const char *fault = write_policy(hak_opt.policy_out);
    errno = saved;
    if (fault == NULL)
        return;
    hak_out out;
    hak_out_init(&out, STDERR_FILENO);
    hak_out_text(&out, "hakmem: HAKMEM_POLICY_OUT: ");
    hak_out_text(&out, fault);
    hak_out_text(&out, "; what was learned is lost\n");
    hak_out_flush(&out);
}
