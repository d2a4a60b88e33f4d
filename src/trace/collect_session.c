/* collect_session.c: see collect_session.h.
 *
 * Each round: take a moment T (of the previous round, so that HAK_RING_SLACK_TICKS have passed), see for
 * every ring that its producer has been outside since, so that all stamped up to T is visible; then merge all
 * rings up to T. */
#include "trace/collect_session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "trace/collect_clock.h"
#include "trace/collect_events.h"
#include "trace/collect_merge.h"
#include "trace/collect_proc.h"

#define CHUNK_BYTES    (HAK_RING_CHUNK * HAK_RING_BYTES)
#define CHUNK_COUNT    (HAK_RING_COUNT / HAK_RING_CHUNK)
#define COMMAND_BYTES  65536
#define OUTSIDE_TRIES  2000 /* looks at a ring that is inside, before the round goes without it */
#define ROUND_MS       1    /* between rounds while events come */
#define IDLE_MS        5
#define LEVEL          4 /* of compression: 10% less than 1, for 25 ns an event on another core */
#define IDLE_ROUNDS    50
#define RSS_EVERY_NS   UINT64_C(5000000)
#define RSS_LATER_NS   UINT64_C(100000000)
#define RSS_EARLY_NS   UINT64_C(5000000000)
#define REAP_EVERY_NS  UINT64_C(1000000000)
#define CUT_EVERY_NS   UINT64_C(1000000000)  /* a member is ended after so long… */
#define CUT_LATER_NS   UINT64_C(10000000000) /* …or so long, when it holds less than CUT_FEW records */
#define CUT_FEW        1000
#define REST_MS        200 /* how soon one that rests sees that the process has joined anew */
#define STOP_ROUNDS    8   /* without a record, before a stopped recording is over */
#define STATUS_WAIT_MS 1000
#define UNKNOWN_STATUS UINT32_MAX

struct hak_session {
    hak_collect_options options;
    hak_session_origin origin;
    int segment;
    hak_share *share;
    hak_merge merge; /* the rings known so far */
    void *chunks[CHUNK_COUNT];
    hak_clock clock;
    hak_events events;
    hak_writer *writer;
    char path[HAK_COLLECT_PATH_MAX];
    char program[HAK_COLLECT_PATH_MAX];
    uint64_t moment;    /* T of the next round */
    uint64_t merged_to; /* all stamped up to here has been used */
    uint64_t start_ns;  /* wall clock */
    uint64_t rss_at_ns; /* next sample */
    uint64_t rss_last;
    uint64_t cpu_ns; /* of the program, when last looked at */
    uint64_t reap_at_ns;
    uint64_t lost; /* of rings that have been given back */
    uint64_t checked, wrong, dynamic;
    uint64_t cut_at_ns; /* when a member was ended last */
    uint64_t uncut;     /* records used since */
    _Atomic bool asked_to_stop;
    _Atomic bool replaced;
    _Atomic uint32_t status;
};

/* ---- life ---- */

hak_session *hak_session_new(const hak_collect_options *options, const hak_session_origin *origin,
                             int *segment)
{
    hak_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->options = *options;
    session->origin = *origin;
    session->status = UNKNOWN_STATUS;
    session->segment = memfd_create("hakmem-trace", MFD_CLOEXEC);
    session->share = MAP_FAILED;
    if (session->segment >= 0 && ftruncate(session->segment, (off_t)HAK_SHARE_BYTES) == 0)
        session->share =
            mmap(NULL, HAK_SHARE_HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, session->segment, 0);
    if (session->share == MAP_FAILED) {
        session->origin.pid_fd = -1; /* stays the caller's */
        hak_session_free(session);
        return NULL;
    }
    session->merge.clock = &session->clock;
    session->merge.events = &session->events;
    session->merge.pid_fd = origin->pid_fd;
    session->start_ns = hak_clock_wall_ns();
    hak_share *share = session->share;
    share->size_bytes = HAK_SHARE_BYTES;
    share->depth = options->depth;
    share->drop = options->drop;
    share->sample_bytes = options->sample_bytes;
    share->same_ids = origin->same_ids;
    share->clock = hak_clock_is_tsc() ? HAK_CLOCK_TSC : HAK_CLOCK_COUNTER;
    share->tsc_base = hak_tsc();
    share->magic = HAK_SHARE_MAGIC;
    hak_clock_start(&session->clock, share);
    *segment = session->segment;
    return session;
}

/* Gives back what only the recording needed. */
static void release(hak_session *session)
{
    for (size_t i = 0; i < session->merge.count; i++)
        hak_stack_ids_done(&session->merge.consumers[i].stacks);
    for (size_t i = 0; i < CHUNK_COUNT; i++)
        if (session->chunks[i] != NULL)
            munmap(session->chunks[i], CHUNK_BYTES);
    hak_events_done(&session->events);
    hak_merge_done(&session->merge);
    memset(session->chunks, 0, sizeof session->chunks);
}

void hak_session_free(hak_session *session)
{
    release(session);
    if (session->share != MAP_FAILED)
        munmap(session->share, HAK_SHARE_HEAD_BYTES);
    if (session->segment >= 0)
        close(session->segment);
    if (session->origin.pid_fd >= 0)
        close(session->origin.pid_fd);
    free(session);
}

uint64_t hak_session_start_ns(const hak_session *session)
{
    return session->start_ns;
}

void hak_session_replaced(hak_session *session)
{
    atomic_store(&session->replaced, true);
}

void hak_session_stop(hak_session *session)
{
    atomic_store(&session->asked_to_stop, true);
}

void hak_session_restart(hak_session *session)
{
    atomic_fetch_add(&session->share->restarts, 1);
}

void hak_session_exit_status(hak_session *session, uint32_t status)
{
    atomic_store(&session->status, status);
}

/* ---- the file ---- */

bool hak_session_open(hak_session *session, hak_collect_message *report)
{
    static const char recorder[] = "hakmem-trace " HAKMEM_VERSION;
    char comm[32];
    char *command = malloc(COMMAND_BYTES);
    hak_trace_error error = {.text = "out of memory"};
    const hak_collect_options *options = &session->options;
    uint64_t pid = session->origin.pid;
    if (command == NULL) {
        snprintf(report->note, sizeof report->note, "%s", error.text);
        return false;
    }
    hak_proc_executable(pid, session->program, sizeof session->program);
    hak_proc_comm(pid, comm, sizeof comm);
    hak_trace_head head = {.program = session->program,
                           .command = command,
                           .command_bytes = hak_proc_command(pid, command, COMMAND_BYTES),
                           .recorder = recorder,
                           .start_unix_ns = session->start_ns,
                           .pid = pid,
                           .parent_pid = session->origin.parent_pid,
                           .parent_start_ns = session->origin.parent_start_ns,
                           .clock = session->share->clock,
                           .depth_max = options->depth,
                           .sample_bytes = options->sample_bytes};
    hak_writer_options how = {
        .level = LEVEL, .background = true, .force = options->force, .max_bytes = options->max_bytes};
    bool ready = hak_events_init(&session->events, NULL, session->program, options->sample_bytes);
    if (ready)
        snprintf(error.text, sizeof error.text, "the name does not fit");
    const hak_collect_choice choice = {.pattern = options->output,
                                       .comm = comm,
                                       .pid = pid,
                                       .plain = session->origin.plain_name,
                                       .force = options->force,
                                       .is_taken = session->origin.is_taken,
                                       .server = session->origin.server};
    if (ready && hak_collect_choose(&choice, session->path, sizeof session->path))
        session->writer = hak_writer_open(session->path, &head, &how, &error);
    free(command);
    session->events.writer = session->writer;
    if (session->writer != NULL) {
        snprintf(report->path, sizeof report->path, "%s", session->path);
        return true;
    }
    snprintf(report->path, sizeof report->path, "%s", session->path);
    snprintf(report->note, sizeof report->note, "%s", error.text);
    return false;
}

/* ---- rings ---- */

static bool know_rings(hak_session *session)
{
    uint32_t high = atomic_load(&session->share->rings_high);
    if (high > HAK_RING_COUNT)
        high = HAK_RING_COUNT;
    if (high <= session->merge.count)
        return true;
    if (!hak_merge_reserve(&session->merge, high))
        return false;
    hak_consumer *consumers = session->merge.consumers;
    for (size_t i = session->merge.count; i < high; i++) {
        size_t chunk = i / HAK_RING_CHUNK;
        if (session->chunks[chunk] == NULL) {
            void *at = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, session->segment,
                            (off_t)(HAK_SHARE_HEAD_BYTES + chunk * CHUNK_BYTES));
            if (at == MAP_FAILED)
                return false;
            session->chunks[chunk] = at;
        }
        consumers[i] = (hak_consumer){.ring = &session->share->rings[i],
                                      .words = (const uint64_t *)((char *)session->chunks[chunk] +
                                                                  i % HAK_RING_CHUNK * HAK_RING_BYTES)};
        session->merge.count = i + 1;
    }
    return true;
}

/* Sees everything that this ring's producer stamped up to the moment; false: it has been inside all along. */
static bool see(hak_consumer *consumer, bool dead)
{
    hak_ring *ring = consumer->ring;
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    bool outside = dead || (head & HAK_RING_INSIDE) == 0;
    for (unsigned i = 0; !outside && i < OUTSIDE_TRIES; i++) {
        uint64_t again = atomic_load_explicit(&ring->head, memory_order_acquire);
        outside = again != head; /* that call has ended; a later one has a later stamp */
        head = again;
        __builtin_ia32_pause();
    }
    uint64_t visible = head >> 1;
    if (visible < consumer->tail || visible - consumer->tail > HAK_RING_WORDS) {
        consumer->broken = true;
        visible = consumer->tail;
    }
    consumer->visible = visible;
    return outside;
}

/* Counts of a ring that is given back, or at the end. */
static void add_counts(hak_session *session, hak_ring *ring)
{
    session->lost += atomic_exchange(&ring->lost, 0);
    session->checked += atomic_exchange(&ring->walks_checked, 0);
    session->wrong += atomic_exchange(&ring->walks_wrong, 0);
    session->dynamic += atomic_exchange(&ring->walks_dynamic, 0);
}

static void give_back(hak_session *session, hak_consumer *consumer)
{
    if (!consumer->end_seen)
        hak_events_thread_gone(&session->events, consumer, session->clock.last_ns);
    consumer->has_thread = false;
    add_counts(session, consumer->ring);
    atomic_store(&consumer->ring->state, HAK_RING_FREE);
}

/* Rings of threads that ended, saying so or not. */
static void reap(hak_session *session, uint64_t now_ns)
{
    bool wanted = atomic_exchange(&session->share->rings_wanted, 0) != 0;
    bool look = (now_ns >= session->reap_at_ns && session->merge.count > 1) || wanted;
    if (look)
        session->reap_at_ns = now_ns + REAP_EVERY_NS;
    for (size_t i = 0; i < session->merge.count; i++) {
        hak_consumer *consumer = &session->merge.consumers[i];
        uint32_t state = atomic_load(&consumer->ring->state);
        if (state == HAK_RING_FREE || atomic_load(&consumer->ring->head) >> 1 != consumer->tail)
            continue;
        bool gone = state == HAK_RING_ENDED;
        if (!gone && consumer->has_thread && (look || state == HAK_RING_ENDING))
            gone = session->origin.same_ids && hak_proc_thread_gone(session->origin.pid, consumer->tid);
        if (gone && atomic_load(&consumer->ring->head) >> 1 == consumer->tail)
            give_back(session, consumer);
    }
    if (look)
        atomic_fetch_add(&session->share->rings_looked, 1);
}

/* ---- rounds ---- */

static void sample_rss(hak_session *session, uint64_t now_ns)
{
    uint64_t elapsed = session->clock.last_ns;
    if (now_ns < session->rss_at_ns)
        return;
    session->rss_at_ns = now_ns + (elapsed < RSS_EARLY_NS ? RSS_EVERY_NS : RSS_LATER_NS);
    uint64_t rss = hak_proc_rss_bytes(session->origin.pid);
    uint64_t cpu_ns = hak_proc_cpu_ns(session->origin.pid);
    session->cpu_ns = cpu_ns != 0 ? cpu_ns : session->cpu_ns;
    for (size_t i = 0; i < session->merge.count; i++) { /* without our own rings */
        uint64_t written = (atomic_load(&session->merge.consumers[i].ring->head) >> 1) * 8;
        uint64_t touched =
            hak_align_up(written < HAK_RING_BYTES ? written : HAK_RING_BYTES, HAK_OS_PAGE_BYTES);
        rss -= rss < touched ? rss : touched;
    }
    if (rss == 0 || rss == session->rss_last)
        return;
    session->rss_last = rss;
    hak_trace_rss sample = {elapsed, rss};
    hak_writer_rss(session->writer, &sample);
}

/* The program's threads notice at their next call. */
static void stop(hak_session *session, hak_trace_end end)
{
    uint32_t running = 0;
    atomic_compare_exchange_strong(&session->share->stopped, &running, end);
    for (size_t i = 0; i < session->merge.count; i++)
        atomic_store(&session->merge.consumers[i].ring->limit, 0); /* partner: hak_thread_room */
}

static void check_limits(hak_session *session, uint64_t now_ns)
{
    uint64_t limit_ns = session->options.duration_ns;
    if (atomic_load(&session->asked_to_stop))
        stop(session, HAK_END_ASKED);
    if (hak_writer_failed(session->writer))
        stop(session, hak_writer_failure(session->writer) != 0 ? HAK_END_WRITE : HAK_END_SIZE);
    if (limit_ns != 0 && now_ns - session->clock.start_ns >= limit_ns)
        stop(session, HAK_END_DURATION);
}

/* What has happened is on disk after a moment, should the collector itself be killed. */
static void cut_member(hak_session *session, uint64_t now_ns, uint64_t used)
{
    session->uncut += used;
    if (session->uncut == 0 ||
        now_ns - session->cut_at_ns < (session->uncut < CUT_FEW ? CUT_LATER_NS : CUT_EVERY_NS))
        return;
    hak_writer_cut(session->writer);
    session->cut_at_ns = now_ns;
    session->uncut = 0;
}

static uint64_t round_once(hak_session *session, bool dead)
{
    uint64_t moment = session->moment;
    bool all_outside = true;
    atomic_fetch_add(&session->share->beat, 1);
    if (!know_rings(session))
        stop(session, HAK_END_MEMORY);
    for (size_t i = 0; i < session->merge.count; i++)
        all_outside &= see(&session->merge.consumers[i], dead);
    uint64_t limit = dead ? UINT64_MAX : all_outside ? moment : session->merged_to;
    uint64_t used = hak_merge_run(&session->merge, limit);
    if (all_outside)
        session->merged_to = moment;
    uint64_t now_ns = hak_os_monotonic_ns();
    hak_clock_adjust(&session->clock, session->merged_to);
    reap(session, now_ns);
    sample_rss(session, now_ns);
    check_limits(session, now_ns);
    cut_member(session, now_ns, used);
    session->moment = hak_clock_now(&session->clock);
    return used;
}

static bool is_dead(hak_session *session, int wait_ms)
{
    struct pollfd process = {.fd = session->origin.pid_fd, .events = POLLIN};
    if (atomic_load(&session->replaced))
        return true;
    if (process.fd >= 0)
        return poll(&process, 1, wait_ms) > 0;
    poll(NULL, 0, wait_ms);
    return kill((pid_t)session->origin.pid, 0) != 0 && errno == ESRCH;
}

static bool is_stopped(const hak_session *session)
{
    return atomic_load(&session->share->stopped) != 0;
}

static uint64_t end_of(hak_session *session)
{
    if (hak_writer_failed(session->writer))
        stop(session, hak_writer_failure(session->writer) != 0 ? HAK_END_WRITE : HAK_END_SIZE);
    return atomic_load(&session->share->stopped);
}

static hak_trace_tail tail_of(hak_session *session)
{
    const hak_events *events = &session->events;
    uint32_t status = atomic_load(&session->status);
    return (hak_trace_tail){.ended = true,
                            .duration_ns = session->clock.last_ns,
                            .events_lost = session->lost + events->lost + atomic_load(&session->share->lost),
                            .walks = events->allocations,
                            .walks_checked = session->checked,
                            .walks_wrong = session->wrong,
                            .walks_dynamic = session->dynamic,
                            .exit_status = status == UNKNOWN_STATUS ? 0 : status,
                            .end = end_of(session),
                            .cpu_ns = session->cpu_ns};
}

static void fill_in(const hak_session *session, const hak_trace_tail *tail, hak_collect_message *report)
{
    const hak_events *events = &session->events;
    struct stat file;
    report->file_bytes = stat(session->path, &file) == 0 ? (uint64_t)file.st_size : 0;
    report->kind = HAK_COLLECT_DONE;
    report->pid = (uint32_t)session->origin.pid;
    report->allocations = events->allocations;
    report->temporary = events->temporary;
    report->peak_bytes = events->peak_bytes;
    report->left_bytes = events->live_bytes;
    report->lost = tail->events_lost;
    report->walks_checked = tail->walks_checked;
    report->walks_wrong = tail->walks_wrong;
    report->threads = events->threads;
    report->sampled = session->options.sample_bytes != 0;
    report->duration_ns = tail->duration_ns;
    report->end = (uint32_t)tail->end;
    snprintf(report->path, sizeof report->path, "%s", session->path);
}

static void finish(hak_session *session, hak_collect_message *report)
{
    hak_trace_error error = {.text = ""};
    for (size_t i = 0; i < session->merge.count; i++) {
        hak_consumer *consumer = &session->merge.consumers[i];
        if (consumer->broken)
            session->events.lost++;
        add_counts(session, consumer->ring);
    }
    for (unsigned ms = 0;
         session->origin.plain_name && session->status == UNKNOWN_STATUS && ms < STATUS_WAIT_MS; ms++)
        poll(NULL, 0, 1);
    hak_writer_flush(session->writer); /* what does not fit any more is known from here on */
    hak_trace_tail tail = tail_of(session);
    int failure = hak_writer_failure(session->writer);
    if (failure != 0)
        snprintf(report->note, sizeof report->note, "%s", strerror(failure));
    if (hak_writer_finish(session->writer, &tail, &error) != 0) {
        report->failed = 1;
        snprintf(report->note, sizeof report->note, "%s", error.text);
    }
    fill_in(session, &tail, report);
}

void hak_session_run(hak_session *session, hak_collect_message *report)
{
    unsigned idle = 0;
    uint64_t used = 0;
    session->moment = hak_clock_now(&session->clock);
    for (;;) {
        bool behind = used > HAK_RING_WORDS / 16; /* a quarter of a ring or more in one round: no sleep */
        int wait_ms = behind ? 0 : idle < IDLE_ROUNDS ? ROUND_MS : IDLE_MS;
        bool dead = is_dead(session, wait_ms);
        bool stopped = is_stopped(session);
        hak_clock_slack(&session->clock, session->moment);
        used = round_once(session, dead);
        idle = used == 0 ? idle + 1 : 0;
        if (dead)
            break;
        if (stopped && used == 0 && idle > STOP_ROUNDS)
            break;
    }
    finish(session, report);
}

void hak_session_rest(hak_session *session)
{
    uint32_t running = 0;
    atomic_compare_exchange_strong(&session->share->stopped, &running, HAK_END_ASKED);
    release(session);
    fallocate(session->segment, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)HAK_SHARE_HEAD_BYTES,
              (off_t)(HAK_SHARE_BYTES - HAK_SHARE_HEAD_BYTES));
    while (!is_dead(session, REST_MS))
        continue;
}
