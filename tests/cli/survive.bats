#!/usr/bin/env bats
# Nothing lost, nobody harmed: what programs do to themselves, and to a recorder in them.

load scenes.bash
setup() { scenes_setup; }

# ---- ends ----

@test "killed, crashed, aborted or left at once: all that was appended is in the trace" {
  for scene in kill segv fault abort _exit; do
    same "$scene.gz" "$scene" 1000
    whole "$scene.gz"
    [ "$(marked "$scene.gz")" -eq 1000 ]
  done
}

@test "quick_exit and exit from another thread: handlers at exit are recorded as well" {
  same quick.gz quick_exit 1000
  whole quick.gz
  [ "$(marked quick.gz)" -eq 1010 ]
  same thread.gz thread_exit 1000
  whole thread.gz
  [ "$(marked thread.gz)" -eq 1110 ]
}

@test "the exit status is in the trace and the signal in the wrapper's status" {
  run hakmem-trace -q -o k.gz "$scenes" kill 10
  [ "$status" -eq 137 ]
}

# ---- exec and fork ----

@test "exec at any moment, out of threads that allocate: a trace for each image" {
  same x.gz exec 6
  [ "$(ls ./*.gz | wc -l)" -eq 7 ]
  whole ./*.gz
  [ "$(marked ./*.gz)" -eq 700 ]
}

@test "a tree of forks: a trace for each process, linked by parent" {
  same tree.gz fork_tree 3 3
  count=$(ls ./*.gz | wc -l)
  whole ./*.gz
  hakmem-report -q --json --top=1 ./*.gz >tree.json
  /usr/bin/python3 - "$count" <<'END'
import json, sys
traces = json.load(open("tree.json"))["traces"]
assert len(traces) == int(sys.argv[1]) == 40, len(traces)
pids = {t["pid"] for t in traces}
roots = [t for t in traces if t["parent_pid"] not in pids]
assert len(roots) == 1, roots
END
  [ "$(marked ./*.gz)" -eq $((10 + 39 * 5)) ]
}

@test "a hundred children that are killed or leave at once, beside an allocating thread" {
  same many.gz fork_many 100
  [ "$(ls ./*.gz | wc -l)" -eq 76 ] # vfork without a call is no process of its own
  whole ./*.gz
  [ "$(marked ./*.gz)" -eq 150 ]
}

@test "fork handlers of a library that came before us allocate, from where nobody has" {
  cat >handlers.c <<'END'
#include <pthread.h>
#include <stdlib.h>
__attribute__((noinline)) static void before(void) { void *volatile p = malloc(11); free(p); }
__attribute__((noinline)) static void after(void) { void *volatile p = malloc(12); free(p); }
__attribute__((noinline)) static void in_child(void) { void *volatile p = malloc(13); free(p); }
__attribute__((constructor)) static void start(void) { pthread_atfork(before, after, in_child); }
END
  cc -shared -fPIC -pthread -o libhandlers.so handlers.c
  cat >forks.c <<'END'
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    int status = 1;
    if (fork() == 0)
        _exit(0);
    wait(&status);
    return status;
}
END
  cc -o forks forks.c -Wl,--no-as-needed -L. -lhandlers -Wl,-rpath,"$PWD"
  timeout 60 hakmem-trace -q -o h.%p.gz ./forks
  [ "$(ls ./h.*.gz | wc -l)" -eq 2 ]
  whole ./h.*.gz
}

@test "a fork handler waits for a thread that allocates, from where nobody has" {
  cat >waits.c <<'END'
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int locked, forks;
static void before(void) { forks = 1; pthread_mutex_lock(&lock); }
static void after(void) { pthread_mutex_unlock(&lock); }
__attribute__((constructor)) static void start(void) { pthread_atfork(before, after, after); }
__attribute__((noinline)) static void allocate(void) { void *volatile p = malloc(11); free(p); }
void *hold(void *unused)
{
    pthread_mutex_lock(&lock);
    locked = 1;
    while (!forks)
        usleep(1000);
    usleep(20000);
    allocate();
    pthread_mutex_unlock(&lock);
    return unused;
}
void wait_locked(void) { while (!locked) usleep(1000); }
END
  cc -shared -fPIC -pthread -o libwaits.so waits.c
  cat >forks.c <<'END'
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
void *hold(void *);
void wait_locked(void);
int main(void)
{
    pthread_t thread;
    int status = 1;
    pthread_create(&thread, NULL, hold, NULL);
    wait_locked();
    if (fork() == 0)
        _exit(0);
    wait(&status);
    pthread_join(thread, NULL);
    return status;
}
END
  cc -pthread -o forks forks.c -Wl,--no-as-needed -L. -lwaits -Wl,-rpath,"$PWD"
  timeout 60 hakmem-trace -q -o waits.gz ./forks
  whole waits.gz
}

@test "a daemon: forked twice, own session, every descriptor closed" {
  "$scenes" daemon "$PWD/plain.txt"
  until_true 10 test -s plain.txt
  hakmem-trace -q -o d.gz "$scenes" daemon "$PWD/traced.txt"
  until_true 10 test -s traced.txt
  diff plain.txt traced.txt
  until_true 10 test -z "$(ls ./*.part 2>/dev/null)"
  until_true 10 eval '[ "$(ls ./*.gz | wc -l)" -eq 2 ]' # the process between makes no call
  whole ./*.gz
  [ "$(marked ./*.gz)" -eq 1011 ]
}

@test "a program that resets LD_PRELOAD for its children: they are not recorded, it is" {
  run hakmem-trace -q -o e.gz env -u LD_PRELOAD "$scenes" work 1 10
  [ "$status" -eq 6 ]
  [ "$output" = worked ]
  whole ./*.gz
  [ "$(ls ./*.gz | wc -l)" -eq 1 ]
}

# ---- surroundings ----

@test "descriptors, signals, masks, limits, timers, threads and children are as without us" {
  same s.gz surroundings
  whole s.gz
}

@test "descriptors closed by the caller stay closed" {
  for closed in '<&-' '>&-' '2>&-' '<&- >&-' '<&- 2>&-'; do
    rm -f ./*.gz plain.txt traced.txt
    status=0
    eval "$scenes reuse_numbers plain.txt $closed" || status=$?
    traced=0
    eval "hakmem-trace -q -o c.gz $scenes reuse_numbers traced.txt $closed" || traced=$?
    [ "$status" -eq "$traced" ]
    diff plain.txt traced.txt
    whole c.gz
  done
}

@test "descriptors given by the caller arrive, closefrom(3) and numbers used again harm neither" {
  hakmem-trace -q -o g.gz bash -c 'echo five >&5' 5>five.txt
  [ "$(cat five.txt)" = five ]
  same r.gz reuse_numbers mine.txt
  [ "$(cat mine.txt)" = "$(printf 'mine\nmine')" ] # once plain, once traced
  whole r.gz
  [ "$(marked r.gz)" -eq 1000 ]
}

@test "another root, another user, another folder" {
  [ "$(id -u)" -eq 0 ] || skip "needs root"
  mkdir empty
  chmod 755 empty
  same root.gz chroot empty
  same user.gz setuid
  same folder.gz chdir /
  whole ./*.gz
  [ "$(marked root.gz root.scenes.*.gz)" -eq 53 ]
  [ "$(marked user.gz user.scenes.*.gz)" -eq 53 ]
  [ "$(marked folder.gz)" -eq 20 ]
}

@test "a process id namespace of its own" {
  unshare -pf --mount-proc true 2>/dev/null || skip "unshare is not permitted here"
  same n.gz kill 10
  rm n.gz
  run unshare -pf --mount-proc hakmem-trace -q -o n.gz "$scenes" fork_tree 1 2
  [ "$status" -eq 0 ]
  run hakmem-trace -q -o o.gz unshare -pf --mount-proc "$scenes" fork_tree 1 2
  echo "$output"
  [ "$status" -eq 0 ]
  whole ./*.gz
  [ "$(marked ./n*.gz)" -eq 20 ]
  [ "$(marked ./o*.gz)" -eq 20 ]
}

# ---- stacks and signals ----

@test "own SIGPROF and SIGSEGV handlers, alternate stacks, a stack overflow" {
  same prof.gz sigprof
  [ "$(marked prof.gz)" -eq 100 ]
  same segv.gz sigsegv
  [ "$(marked segv.gz)" -eq 200 ]
  same overflow.gz overflow
  whole ./*.gz
}

@test "longjmp, coroutines, tail calls" {
  same jump.gz longjmp
  [ "$(marked jump.gz)" -eq $((100 * 4 + 100)) ]
  same co.gz coroutines
  [ "$(marked co.gz)" -eq 400 ]
  same tails.gz tails
  [ "$(marked tails.gz)" -eq 1000 ]
  same realigns.gz realigns
  [ "$(marked realigns.gz)" -eq 1000 ]
  whole ./*.gz
}

@test "C++ exceptions, thrown through frames that were recorded" {
  cat >x.cc <<'END'
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>
static int deep(int n) {
  std::string s(40 + n % 7, 'x');
  if (n == 0) throw std::runtime_error(s);
  return deep(n - 1) + static_cast<int>(s.size());
}
int main() {
  int caught = 0;
  for (int i = 0; i < 2000; i++)
    try { deep(i % 60); } catch (const std::exception &e) { caught++; }
  try { std::vector<char> v; v.reserve(static_cast<size_t>(-1)); } catch (const std::length_error &) { caught++; }
  std::printf("%d\n", caught);
}
END
  g++ -O1 -o x x.cc
  ./x >plain.txt
  hakmem-trace -q -o x.gz ./x >traced.txt
  diff plain.txt traced.txt
  whole x.gz
  hakmem-report x.gz | grep -q deep
}

@test "recursion of 500 and of 100,000 frames" {
  same r500.gz recursion 500
  [ "$(marked r500.gz)" -eq 6 ]
  same r100000.gz recursion 100000
  [ "$(marked r100000.gz)" -eq 1001 ]
  whole ./*.gz
}

# Addresses that no frame information covers: libunwind looks whether they can be read, by a call of the kernel's.
@test "a program that has sealed itself: system calls that it does not need are its death" {
  cat >sealed.c <<'END'
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
/* As sshd's before the login: nothing else is done, or the kernel kills. */
static const int allowed[] = {SYS_read, SYS_write, SYS_close, SYS_exit, SYS_exit_group, SYS_brk, SYS_mmap, SYS_munmap,
  SYS_mremap, SYS_madvise, SYS_futex, SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_gettimeofday, SYS_getpid,
  SYS_rt_sigprocmask, SYS_poll, SYS_getrandom};
static void *volatile last;
static void work(void) { free(last); last = malloc(20); }
void past_the_unwinder(void (*)(void)); /* no frame information */
__asm__(".text\n.type past_the_unwinder, @function\npast_the_unwinder:\npush %rbp\nmov %rsp, %rbp\n"
        "call *%rdi\npop %rbp\nret\n.size past_the_unwinder, . - past_the_unwinder\n");
static void deep(int n) { if (n > 0) deep(n - 1); else past_the_unwinder(work); __asm__ volatile(""); }
int main(void) {
  enum { COUNT = sizeof allowed / sizeof allowed[0] };
  struct sock_filter code[2 * COUNT + 2];
  unsigned n = 0;
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < COUNT; i++) {
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  struct sock_fprog filter = {n, code};
  work();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) return 77;
  for (int i = 0; i < 50000; i++) deep(i % 50);
  exit(3);
}
END
  gcc -O1 -fno-optimize-sibling-calls -o sealed sealed.c
  run ./sealed
  [ "$status" -eq 3 ] || skip "no seccomp"
  run hakmem-trace -q -o sealed.gz ./sealed
  [ "$status" -eq 3 ]
  [ -z "$output" ]
  whole sealed.gz
}

@test "generated code" {
  command -v node >/dev/null || skip "node is not installed"
  script='let a=[];for(let i=0;i<20000;i++)a.push({i:"x"+i});console.log(a.map(o=>o.i).join("").length)'
  node -e "$script" >plain.txt
  hakmem-trace -q -o j.gz node -e "$script" >traced.txt
  diff plain.txt traced.txt
  whole j.gz
}

@test "a stripped program" {
  cp "$scenes" stripped
  strip stripped
  scenes=./stripped
  same s.gz work 1 10000
  whole s.gz
  [ "$(marked s.gz)" -eq 100 ]
}

# ---- contexts, threads, modules ----

@test "many contexts" {
  same c.gz contexts 14
  whole c.gz
  [ "$(marked c.gz)" -eq 16384 ]
}

@test "a thousand threads at once, by name, and thousands after one another" {
  same t.gz threads 1000
  whole t.gz
  [ "$(marked t.gz)" -eq 1000 ]
  [ "$(hakmem-report -q --json --top=1 t.gz | grep -o '"name":"worker"' | wc -l)" -eq 1000 ]
  same s.gz thread_stream 5000
  whole s.gz
  [ "$(marked s.gz)" -eq 5000 ]
}

@test "more threads at once than there are rings: those without one are counted" {
  run "$scenes" threads 4200
  [ "$status" -eq 0 ] || skip "so many threads are not allowed here"
  run hakmem-trace -q -o r.gz "$scenes" threads 4200
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *4200* ]]
  [[ "$output" == *"events are missing"* ]]
  hakmem-report -q --verify r.gz
  hakmem-report -q --json --top=1 r.gz >r.json
  marked=$(marked r.gz)
  /usr/bin/python3 - "$marked" <<'END'
import json, sys
t = json.load(open("r.json"))["traces"][0]
assert 4000 <= int(sys.argv[1]) <= 4200, sys.argv[1]
assert t["events_lost"] > 0 and int(sys.argv[1]) + t["events_lost"] >= 4200, t["events_lost"]
END
}

@test "different libraries at one address are told apart" {
  for name in one two; do
    printf '#include <stdlib.h>\nint work(int n) { for (int i = 0; i < n; i++) free(valloc(%d)); return 0; }\n' \
      "$((${#name} + ${#PWD}))" >$name.c
    cc -O0 -shared -fPIC -Wl,--build-id -o lib$name.so $name.c
  done
  same m.gz modules ./libone.so ./libtwo.so
  grep -q 'one address' plain.out
  whole m.gz
  [ "$(marked m.gz)" -eq 100 ]
  hakmem-report -q --json m.gz >m.json
  /usr/bin/python3 -c '
import json
sites = json.load(open("m.json"))["sites"]
calls = {name: sum(s["calls"] for s in sites if s["frames"] and (s["frames"][0]["module"] or "").endswith(name)) for name in ("libone.so", "libtwo.so")}
assert calls == {"libone.so": 50, "libtwo.so": 50}, calls'
}

@test "allocation within dl_iterate_phdr, while another thread loads and unloads" {
  echo 'int work(int n) { return n; }' >w.c
  cc -shared -fPIC -o libw.so w.c
  same l.gz loader_lock ./libw.so
  whole l.gz
}

@test "the wall clock is set forwards and backwards while the recording runs" {
  cat >steps.c <<'END'
#define _GNU_SOURCE
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
/* Every look at the wall clock, by the program and by the collector, finds it set a year on or back. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    static atomic_uint looks;
    long result = syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
        now->tv_sec += (atomic_fetch_add(&looks, 1) % 3 - 1L) * 31536000;
    return (int)result;
}
time_t time(time_t *to)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to != NULL)
        *to = now.tv_sec;
    return now.tv_sec;
}
END
  cc -shared -fPIC -o steps.so steps.c
  LD_PRELOAD=$PWD/steps.so hakmem-trace -q --duration=60 -o c.gz "$scenes" fork_tree 1 2 >out.txt
  whole ./c*.gz
  [ "$(marked ./c*.gz)" -eq 20 ]
  hakmem-report -q --json --top=1 ./c*.gz >clock.json
  /usr/bin/python3 - <<'END'
import json
for trace in json.load(open("clock.json"))["traces"]:
    assert 0 < trace["duration_ns"] < 60e9, trace["duration_ns"]
END
}

# ---- preloads ----

@test "preloaded by hand: the library starts the collector itself" {
  run env LD_PRELOAD="$HAKMEM_LIB/libhakmem-trace.so" HAKMEM_TRACE_OUTPUT=hand.gz "$scenes" work 1 10000
  [ "$status" -eq 6 ]
  [ "$output" = worked ]
  until_true 20 eval 'ls ./*.gz'
  whole ./*.gz
  [ "$(marked ./*.gz)" -eq 100 ]
  timeout 10 sh -c 'env LD_PRELOAD=$0 HAKMEM_TRACE_OUTPUT=p.%p.gz $1 work 1 10 9>&1 | cat' \
    "$HAKMEM_LIB/libhakmem-trace.so" "$scenes" # the collector holds no end of the pipe
  "$scenes" surroundings >plain.txt
  LD_PRELOAD="$HAKMEM_LIB/libhakmem-trace.so" HAKMEM_TRACE_OUTPUT=b.%p.gz "$scenes" surroundings >traced.txt
  diff plain.txt traced.txt
}

@test "before another allocator: jemalloc, and libhakmem" {
  for other in "$(ldconfig -p | sed -n 's/.*libjemalloc.so.2.*=> //p' | head -n 1)" "$HAKMEM_LIB/libhakmem.so"; do
    [ -e "$other" ] || continue
    rm -f ./*.gz
    run env LD_PRELOAD="$other" hakmem-trace -q -o p.gz "$scenes" fork_tree 1 2
    echo "$other: $output"
    [ "$status" -eq 0 ]
    whole ./*.gz
    [ "$(marked ./*.gz)" -eq 20 ]
  done
}
