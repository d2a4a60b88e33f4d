/* record_process.c: see record_process.h. Holds no lock; concurrency is settled by compare-and-swap on
 * states. What programs interpose to watch descriptors, sockets and processes is called raw; mmap(2) and its
 * kin, and prctl(2), go by the C library's names: who interposes those sees the mappings that the process
 * really has. */
#include "trace/record_process.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "trace/record_fork.h"
#include "trace/record_launch.h"
#include "trace/record_modules.h"
#include "trace/record_next.h"
#include "trace/record_put.h"
#include "trace/record_sample.h"
#include "trace/trace_format.h"
#include "trace/record_unwinder.h"

#define PATIENCE_NS    UINT64_C(5000000000) /* a collector that does not move for so long is given up */
#define WAIT_NS        10000000             /* between looks at its heart */
#define JOIN_TIMEOUT_S 10
#define RING_WAIT_NS   1000000 /* between looks for a ring */
#define RING_LOOKS     2       /* of the collector at all threads, before a thread goes without */
#define RING_AGAIN_NS  UINT64_C(1000000000) /* for so long nobody waits again after that */
#define PREPARE_WORDS  (HAK_RING_WORDS / 8) /* how far a producer runs between looks at the consumer */
#define ENDING_ROUNDS                                                                                        \
    3 /* of PTHREAD_DESTRUCTOR_ITERATIONS (4): let other destructors free their memory first */
#define CHUNK_COUNT     (HAK_RING_COUNT / HAK_RING_CHUNK)
#define CHUNK_BYTES     (HAK_RING_CHUNK * HAK_RING_BYTES)
#define FIRST_MAP_BYTES (HAK_SHARE_HEAD_BYTES + CHUNK_BYTES)

typedef enum process_state { PROCESS_IDLE, PROCESS_JOINING, PROCESS_ON, PROCESS_OFF } process_state;

HAK_TLS_IE hak_thread hak_self = {.epoch = HAK_NO_EPOCH};
static hak_live off_page;
hak_live *hak_live_page = &off_page;
hak_share *hak_shared;
uint64_t hak_sample_bytes;

static _Atomic uint32_t state;
static uint32_t epoch;                /* counts joins: rings of earlier ones are not ours */
static const hak_share *control_page; /* first page of the segment, inherited by children */
static uint32_t restarts_seen;
static uint64_t session;                      /* the collector's number for this process */
static _Atomic uintptr_t chunks[CHUNK_COUNT]; /* where each chunk of rings is mapped; 0: nowhere yet */
static hak_walk *walks[HAK_RING_COUNT];       /* by ring: whoever owns the ring owns the walk */
static _Atomic uint64_t
    no_ring_until_ns; /* all rings belong to living threads: who finds none goes without */
static char socket_name[HAK_SOCKET_NAME_BYTES]; /* "" until known */
static pthread_key_t ending_key;
static bool ending_key_made;

static uint32_t live_epoch(void)
{
    return atomic_load_explicit(&hak_live_page->on, memory_order_relaxed) & ~HAK_ON_SAMPLED;
}

/* In this epoch: another thread may have begun the next one. */
static void stop_recording(uint32_t of_epoch)
{
    uint32_t running = PROCESS_ON;
    uint32_t on = atomic_load(&hak_live_page->on);
    if ((on & ~HAK_ON_SAMPLED) != of_epoch)
        return;
    atomic_compare_exchange_strong(&state, &running,
                                   PROCESS_OFF); /* first: ON with a page of zero means a fork */
    atomic_compare_exchange_strong(&hak_live_page->on, &on, 0);
}

/* ---- joining ---- */

static int connect_to_collector(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strnlen(socket_name, sizeof socket_name);
    struct timeval patience = {.tv_sec = JOIN_TIMEOUT_S};
    long fd = syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    memcpy(address.sun_path + 1, socket_name, len); /* first byte 0: the abstract namespace */
    syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (syscall(SYS_connect, fd, &address, offsetof(struct sockaddr_un, sun_path) + 1 + len) == 0)
        return (int)fd;
    syscall(SYS_close, fd);
    return -1;
}

/* Says hello; the segment's descriptor, or -1. */
static int ask(int fd, uint64_t parent_session, hak_welcome *welcome)
{
    hak_hello hello = {.magic = HAK_HELLO_MAGIC,
                       .parent_session = parent_session,
                       .rings_mapped = FIRST_MAP_BYTES,
                       .own_pid = (uint32_t)syscall(SYS_getpid)};
    if (syscall(SYS_sendto, fd, &hello, sizeof hello, MSG_NOSIGNAL, NULL, 0) != sizeof hello)
        return -1;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec io = {welcome, sizeof *welcome};
    struct msghdr message = {.msg_iov = &io,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    long got;
    do
        got = syscall(SYS_recvmsg, fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int segment = -1;
    if (got >= 0 && header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(&segment, CMSG_DATA(header), sizeof segment);
    if (got == sizeof *welcome && welcome->magic == HAK_HELLO_MAGIC && welcome->session != 0)
        return segment;
    if (segment >= 0)
        syscall(SYS_close, segment);
    return -1;
}

/* Read where no ring may be: in a child that has not joined, and after the recording. */
static bool map_control(int segment)
{
    void *page = mmap(NULL, HAK_OS_PAGE_BYTES, PROT_READ, MAP_SHARED, segment, 0);
    if (page == MAP_FAILED)
        return false;
    control_page = page; /* the one before stays: another thread may be reading it */
    restarts_seen = 0;
    return true;
}

static hak_share *map_segment(int segment)
{
    hak_share *share = mmap(NULL, FIRST_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, segment, 0);
    if (share == MAP_FAILED)
        return NULL;
    if (share->magic != HAK_SHARE_MAGIC || share->size_bytes != HAK_SHARE_BYTES || share->depth == 0 ||
        share->depth > HAK_RECORD_DEPTH_MAX) {
        munmap(share, FIRST_MAP_BYTES);
        return NULL;
    }
    if (!map_control(segment)) {
        munmap(share, FIRST_MAP_BYTES);
        return NULL;
    }
    madvise(share, FIRST_MAP_BYTES, MADV_DONTFORK); /* a child must not write into its parent's rings */
    return share;
}

/* The page that tells a forked child that it is one. */
static hak_live *make_live_page(void)
{
    hak_live *page =
        mmap(NULL, HAK_OS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, HAK_OS_PAGE_BYTES, MADV_WIPEONFORK) != 0) {
        munmap(page, HAK_OS_PAGE_BYTES);
        return NULL;
    }
    return page;
}

static bool join_collector(uint64_t parent_session)
{
    hak_welcome welcome;
    if (hak_live_page == &off_page) {
        hak_live *page = make_live_page();
        if (page == NULL)
            return false;
        hak_live_page = page;
    }
    int fd = connect_to_collector();
    if (fd < 0)
        return false;
    int segment = ask(fd, parent_session, &welcome);
    syscall(SYS_close, fd);
    if (segment < 0)
        return false;
    hak_share *share = map_segment(segment);
    syscall(SYS_close, segment);
    if (share == NULL)
        return false;
    hak_shared = share;
    hak_sample_bytes = share->sample_bytes;
    hak_sample_set(hak_sample_bytes != 0);
    session = welcome.session;
    hak_seen_process_starts();
    for (size_t i = 1; i < CHUNK_COUNT; i++)
        atomic_store(&chunks[i], 0);
    atomic_store(&chunks[0], (uintptr_t)share + HAK_SHARE_HEAD_BYTES);
    epoch++;
    return true;
}

static bool find_socket(bool may_launch)
{
    if (socket_name[0] != 0)
        return true;
    if (environ == NULL)
        return false;
    const char *name = getenv(HAK_ENV_SOCKET);
    if (name == NULL)
        return may_launch && hak_launch_collector(socket_name);
    size_t len = strlen(name);
    if (len == 0 || len >= sizeof socket_name)
        return false;
    memcpy(socket_name, name, len + 1);
    return true;
}

static bool wants_restart(void)
{
    return control_page != NULL &&
           atomic_load_explicit(&control_page->restarts, memory_order_relaxed) != restarts_seen;
}

/* Joins, or joins anew in a forked child. True when recording is on. */
static bool process_join(hak_thread *self, bool may_launch)
{
    uint32_t was = atomic_load(&state);
    bool forked = was == PROCESS_ON && atomic_load(&hak_live_page->on) == 0;
    bool again = was == PROCESS_OFF && wants_restart();
    if (was == PROCESS_ON && !forked)
        return true;
    if ((was != PROCESS_IDLE && !forked && !again) ||
        !atomic_compare_exchange_strong(&state, &was, PROCESS_JOINING))
        return false;
    int saved = errno;
    uint64_t all = ~UINT64_C(0);
    uint64_t old_mask = 0;
    bool off = getauxval(AT_SECURE) != 0;
    bool joined = false;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old_mask, sizeof all);
    if (!off && find_socket(may_launch)) {
        if (again)
            restarts_seen = atomic_load(&control_page->restarts);
        joined = join_collector(forked ? session : 0);
        off = !joined;
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old_mask, NULL, sizeof all);
    if (joined) {
        self->ring = NULL;
        self->epoch = HAK_NO_EPOCH;
        atomic_store(&hak_live_page->on, epoch | (hak_sample_bytes != 0 ? HAK_ON_SAMPLED : 0));
        atomic_store(&state, PROCESS_ON);
    } else { /* IDLE: the environment was not there yet, or the constructor may launch a collector */
        atomic_store(&state, off || may_launch ? PROCESS_OFF : PROCESS_IDLE);
    }
    errno = saved;
    return joined;
}

/* ---- rings ---- */

/* Where chunk `index` is mapped; maps it when needed: a shared mapping grows by duplicating its start at a
 * larger size (mremap(2) with old size 0), without a descriptor. 0: no address space. */
static uintptr_t chunk_at(size_t index)
{
    uintptr_t at = atomic_load_explicit(&chunks[index], memory_order_acquire);
    if (at != 0)
        return at;
    size_t before = HAK_SHARE_HEAD_BYTES + index * CHUNK_BYTES;
    char *copy = mremap(hak_shared, 0, before + CHUNK_BYTES, MREMAP_MAYMOVE);
    if (copy == MAP_FAILED)
        return 0;
    munmap(copy, before);
    madvise(copy + before, CHUNK_BYTES, MADV_DONTFORK);
    if (atomic_compare_exchange_strong(&chunks[index], &at, (uintptr_t)copy + before))
        return (uintptr_t)copy + before;
    munmap(copy + before, CHUNK_BYTES);
    return at;
}

static hak_ring *ring_take(size_t *index)
{
    for (size_t i = 0; i < HAK_RING_COUNT; i++) {
        uint32_t expected = HAK_RING_FREE;
        hak_ring *ring = &hak_shared->rings[i];
        if (atomic_load_explicit(&ring->state, memory_order_relaxed) != HAK_RING_FREE)
            continue;
        if (chunk_at(i / HAK_RING_CHUNK) == 0)
            return NULL;
        if (!atomic_compare_exchange_strong(&ring->state, &expected, HAK_RING_ACTIVE))
            continue;
        uint32_t high = atomic_load(&hak_shared->rings_high);
        while (high <= i && !atomic_compare_exchange_weak(&hak_shared->rings_high, &high, (uint32_t)i + 1))
            continue;
        *index = i;
        return ring;
    }
    return NULL;
}

/* Threads that have ended hold rings until the collector has seen it. */
static hak_ring *ring_wait(size_t *index)
{
    hak_ring *ring = ring_take(index);
    uint64_t since = hak_os_monotonic_ns();
    uint32_t looked = atomic_load(&hak_shared->rings_looked);
    if (ring != NULL || hak_shared->drop != 0 || since < atomic_load(&no_ring_until_ns))
        return ring;
    while (ring == NULL && atomic_load(&hak_shared->rings_looked) - looked < RING_LOOKS &&
           hak_os_monotonic_ns() - since < PATIENCE_NS && atomic_load(&hak_shared->stopped) == 0) {
        struct timespec pause = {.tv_nsec = RING_WAIT_NS};
        atomic_store(&hak_shared->rings_wanted, 1);
        syscall(SYS_nanosleep, &pause, NULL);
        ring = ring_take(index);
    }
    if (ring == NULL)
        atomic_store(&no_ring_until_ns, hak_os_monotonic_ns() + RING_AGAIN_NS);
    return ring;
}

static hak_walk *walk_new(void)
{
    hak_walk *walk = hak_walk_new(hak_shared->depth, (uint32_t)hak_tsc());
    if (walk != NULL)
        hak_seen_count_walk(hak_walk_bytes(hak_shared->depth));
    return walk;
}

static bool thread_claim(hak_thread *self)
{
    if (self->epoch == epoch && self->ring != NULL)
        return true;
    int saved = errno;
    size_t index;
    self->ring = NULL;
    if (atomic_load(&hak_shared->stopped) != 0) {
        stop_recording(epoch);
        return false;
    }
    hak_ring *ring = ring_wait(&index);
    if (ring != NULL && walks[index] == NULL)
        walks[index] = walk_new();
    if (ring != NULL && walks[index] == NULL) {
        atomic_store(&ring->state, HAK_RING_FREE);
        ring = NULL;
    }
    if (ring == NULL) {
        atomic_fetch_add(&hak_shared->lost, 1);
        errno = saved;
        return false;
    }
    self->walk = walks[index];
    ring->tid = (uint32_t)syscall(SYS_gettid);
    prctl(PR_GET_NAME, ring->name);
    self->words = (uint64_t *)(chunk_at(index / HAK_RING_CHUNK) + index % HAK_RING_CHUNK * HAK_RING_BYTES);
    self->head = atomic_load(&ring->head) >> 1;
    self->share = hak_shared;
    atomic_store(&ring->limit, 0); /* the first record looks at the consumer */
    self->stamp_high = UINT32_MAX; /* none: the first record tells its time */
    self->walk->counts = (hak_walk_counts){0};
    self->walk->told_count = 0;
    hak_walk_forget(self->walk);
    if (self->seen.memory == NULL)
        hak_seen_init(&self->seen);
    hak_seen_clear(&self->seen);
    self->ring = ring;
    self->epoch = epoch;
    if (self->ended || !ending_key_made)
        self->ending = 0;
    else if (self->ending == 0)
        pthread_setspecific(ending_key, self);
    hak_put_thread_start(self, self->ended);
    errno = saved;
    return true;
}

static void thread_end(void *value)
{
    hak_thread *self = value;
    if (self->ring == NULL || live_epoch() != self->epoch)
        return;
    if (++self->ending <= ENDING_ROUNDS) {
        pthread_setspecific(ending_key, self);
        return;
    }
    int saved = errno;
    prctl(PR_GET_NAME, self->ring->name);
    hak_put_thread_end(self);
    hak_ring *ring = self->ring;
    bool seen_dead = hak_shared->same_ids != 0;
    hak_seen_done(&self->seen);
    self->seen.final = true;
    if (!seen_dead) {
        self->ring = NULL;
        self->epoch = HAK_NO_EPOCH;
        self->ended = true;
    }
    atomic_store_explicit(&ring->state, seen_dead ? HAK_RING_ENDING : HAK_RING_ENDED, memory_order_release);
    errno = saved;
}

/* ---- entering and waiting ---- */

/* A hook that a signal handler or an exception jumped out of is no more: its frame has been given up, or
 * holds something else. On a stack that is not the thread's own, nested calls are simply not recorded. */
static bool was_abandoned(const hak_thread *self, hak_frame caller)
{
    hak_stack stack = hak_stack_of(caller.sp);
    uintptr_t slot = self->inside_sp - 8;
    if (!hak_stack_holds(stack, slot, 8))
        return false;
    return caller.sp > self->inside_sp || *(const uintptr_t *)slot != self->inside_pc;
}

bool hak_thread_enter_sample(hak_thread *self, hak_frame caller)
{
    if (self->inside_sp != 0) {
        uintptr_t inside = self->inside_sp;
        self->inside_sp = UINTPTR_MAX - 7; /* no stack: a call from below here is nested for certain */
        bool abandoned =
            inside != UINTPTR_MAX - 7 &&
            was_abandoned(&(hak_thread){.inside_sp = inside, .inside_pc = self->inside_pc}, caller);
        self->inside_sp = inside;
        if (!abandoned)
            return false;
        if (self->ring != NULL && live_epoch() == self->epoch) {
            hak_publish(self, 0);
            self->walk->told_count = 0; /* what it was telling has not been told */
        }
        if (self->seen.memory != NULL)
            hak_seen_clear(&self->seen); /* it may have been at work there */
    }
    if (atomic_load_explicit(&state, memory_order_relaxed) == PROCESS_OFF && !wants_restart())
        return false;
    self->inside_pc = caller.pc;
    self->inside_sp = caller.sp;
    bool first = atomic_load_explicit(&hak_live_page->on, memory_order_relaxed) == 0;
    if (process_join(self, false) && thread_claim(self)) {
        if (first)
            hak_modules_announce(self);
        return true;
    }
    self->inside_sp = 0;
    return false;
}

HAK_COLD bool hak_thread_enter(hak_thread *self, hak_frame caller)
{
    const _Atomic uint32_t *on = &hak_live_page->on;
    if ((atomic_load_explicit(on, memory_order_relaxed) & HAK_ON_SAMPLED) != 0)
        return false;
    if (!hak_thread_enter_sample(self, caller))
        return false;
    if ((atomic_load_explicit(&hak_live_page->on, memory_order_relaxed) & HAK_ON_SAMPLED) == 0)
        return true;
    hak_leave(self); /* has joined just now, and is sampled: this call by its chance, too */
    return false;
}

/* Waits until `words` fit. False: the collector is dead or has stopped. */
static bool wait_for_room(hak_thread *self, uint64_t wanted_head)
{
    hak_ring *ring = self->ring;
    hak_share *share = self->share;
    uint64_t beat = atomic_load(&share->beat);
    uint64_t since = hak_os_monotonic_ns();
    for (;;) {
        uint32_t room = atomic_load(&ring->room);
        atomic_store(&ring->waiting, 1); /* partner: the collector's exchange after it has moved tail */
        if (wanted_head <= atomic_load(&ring->tail) + HAK_RING_WORDS)
            break;
        struct timespec pause = {.tv_nsec = WAIT_NS};
        syscall(SYS_futex, &ring->room, FUTEX_WAIT, room, &pause, NULL, 0);
        uint64_t now = hak_os_monotonic_ns();
        if (atomic_load(&share->beat) != beat) {
            beat = atomic_load(&share->beat);
            since = now;
        } else if (now - since > PATIENCE_NS) {
            uint32_t running = 0;
            atomic_compare_exchange_strong(&share->stopped, &running, HAK_END_STALLED);
        }
        if (atomic_load(&share->stopped) != 0)
            return false;
    }
    atomic_store(&ring->waiting, 0);
    return true;
}

static void count_lost(hak_thread *self)
{
    hak_ring *ring = self->ring;
    atomic_store(&ring->lost, atomic_load_explicit(&ring->lost, memory_order_relaxed) + 1);
}

HAK_COLD uint64_t *hak_thread_room(hak_thread *self, size_t words, hak_weight weight)
{
    hak_ring *ring = self->ring;
    size_t at = self->head & (HAK_RING_WORDS - 1);
    size_t pad = at + words > HAK_RING_WORDS ? HAK_RING_WORDS - at : 0;
    uint64_t wanted = self->head + pad + words;
    int saved = errno;
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (atomic_load(&self->share->stopped) !=
        0) { /* what follows the end is not lost: the trace says when it was */
        stop_recording(self->epoch);
        errno = saved;
        return NULL;
    }
    if (wanted > tail + HAK_RING_WORDS) {
        bool drop = self->share->drop != 0 && weight != HAK_WEIGHT_TABLE;
        if (drop || !wait_for_room(self, wanted)) {
            uint32_t end = atomic_load(&self->share->stopped);
            if (weight == HAK_WEIGHT_EVENT && (end == 0 || end == HAK_END_STALLED))
                count_lost(self);
            errno = saved;
            return NULL;
        }
        tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    }
    if (pad != 0) {
        self->words[at] = hak_record_word0(0, HAK_RECORD_PAD, 0, 0);
        self->head += pad;
        at = 0;
    }
    uint64_t end = (self->head | (HAK_RING_WORDS - 1)) + 1; /* of the ring's memory: records do not wrap */
    uint64_t ahead = self->head + words + PREPARE_WORDS;
    uint64_t limit = ahead < tail + HAK_RING_WORDS ? ahead : tail + HAK_RING_WORDS;
    atomic_store(&ring->limit, limit < end ? limit : end);
    if (atomic_load(&self->share->stopped) != 0) /* partner: the collector stores stopped, then the limit */
        atomic_store(&ring->limit, 0);
    errno = saved;
    return self->words + at;
}

void hak_process_start(void)
{
    if (getauxval(AT_SECURE) != 0) {
        atomic_store(&state, PROCESS_OFF);
        return;
    }
    hak_thread *self = &hak_self;
    hak_frame here = HAK_FRAME_OF_CALLER();
    hak_next_resolve();
    self->inside_pc = here.pc;
    self->inside_sp = here.sp;
    hak_fork_watch();
    pthread_atfork(NULL, NULL, hak_sample_forked);
    ending_key_made = pthread_key_create(&ending_key, thread_end) == 0;
    bool had_joined = atomic_load(&state) == PROCESS_ON;
    if (process_join(self, true)) {
        hak_sample_set(hak_sample_bytes !=
                       0); /* who joined during the lookup did not know the functions yet */
        hak_unwinder_load();
        if (thread_claim(self) && !had_joined)
            hak_modules_announce(self);
        if (had_joined && ending_key_made)
            pthread_setspecific(ending_key, self);
    }
    self->inside_sp = 0;
}
