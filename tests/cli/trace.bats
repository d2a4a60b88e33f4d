#!/usr/bin/env bats
# hakmem-trace: nothing lost, nobody harmed.

setup() {
  export PATH=$HAKMEM_BIN:$PATH LC_ALL=C.UTF-8
  cd "$BATS_TEST_TMPDIR" || exit 1
}

trace_of() { ls -1 ./*.gz | head -n 1; }

@test "same output and status, a whole gzip file, every call counted" {
  cat >n.c <<'END'
#include <stdlib.h>
#include <stdio.h>
int main(void) { for (int i = 0; i < 1000; i++) free(malloc(100 + i)); void *p = realloc(malloc(10), 10000); free(calloc(3, 5)); printf("%d\n", p != 0); return 3; }
END
  cc -O0 -o n n.c
  run hakmem-trace -q -o n.gz ./n
  [ "$status" -eq 3 ]
  [ "$output" = 1 ]
  gzip -t n.gz
  hakmem-report --verify n.gz
  hakmem-report --json n.gz >n.json
  /usr/bin/python3 -c '
import json
text = json.dumps(json.load(open("n.json")))
assert "main" in text or "n.c" in text, text[:2000]'
}

@test "an existing file is kept without -f" {
  echo precious >x.gz
  run hakmem-trace -o x.gz true
  [ "$(cat x.gz)" = precious ]
  hakmem-trace -q -f -o x.gz ls >/dev/null
  gzip -t x.gz
}

@test "kill -9 loses nothing that was appended" {
  cat >k.c <<'END'
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) { for (int i = 0; i < 5000; i++) if (malloc(77) == 0) return 1; raise(SIGKILL); }
END
  cc -O0 -o k k.c
  run hakmem-trace -q -o k.gz ./k
  [ "$status" -eq 137 ]
  hakmem-report --json --partial "$(ls k.gz* | head -n 1)" >k.json
  /usr/bin/python3 -c '
import json
print(open("k.json").read()[:1500])
def numbers(x):
    if isinstance(x, dict):
        for v in x.values(): yield from numbers(v)
    elif isinstance(x, list):
        for v in x: yield from numbers(v)
    else: yield x
assert 5000 in list(numbers(json.load(open("k.json")))), "the 5000 allocations of one site"'
}

@test "fork and exec are followed, one file a process" {
  hakmem-trace -q -o t.gz bash -c 'ls / >/dev/null; (echo in a child >/dev/null); jq -n 1 >/dev/null; true'
  [ "$(ls ./*.gz | wc -l)" -ge 2 ]
  for file in ./*.gz; do hakmem-report --verify "$file"; done
}

@test "a script that names no interpreter gets its arguments" {
  echo 'echo "$# $1 $2"' >script
  chmod +x script
  [ "$(hakmem-trace -q -o s.gz ./script 'one word' two)" = "2 one word two" ]
  hakmem-report --verify s.gz
}

@test "threads that free each other's blocks" {
  cat >th.c <<'END'
#include <pthread.h>
#include <stdlib.h>
static void *box[4][1000];
static void *make(void *at) { void **row = at; for (int i = 0; i < 1000; i++) row[i] = malloc(16 + i); return 0; }
int main(void) {
  pthread_t t[4];
  for (int r = 0; r < 20; r++) {
    for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, make, box[i]);
    for (int i = 0; i < 4; i++) { pthread_join(t[i], 0); for (int j = 0; j < 1000; j++) free(box[i][j]); }
  }
}
END
  cc -O1 -pthread -o th th.c
  hakmem-trace -q -o th.gz ./th
  hakmem-report --verify th.gz
  hakmem-replay --rounds=1 --target=null,glibc th.gz
}

@test "what cannot be entered is refused with the reason" {
  echo 'int main(void){return 0;}' >s.c
  cc -static -o s s.c || skip "no static libc"
  run hakmem-trace ./s
  [ "$status" -eq 125 ]
  [[ "$output" == *"statically linked"* ]]
  run hakmem-trace ./none
  [ "$status" -eq 127 ]
}

@test "a program that closes every descriptor, and one that recurses deep" {
  cat >c.c <<'END'
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>
#include <fcntl.h>
static int deep(int n) { volatile char pad[64]; pad[0] = 1; void *p = n % 1000 ? 0 : malloc(50); int r = n == 0 ? 0 : deep(n - 1) + pad[0]; free(p); return r; }
int main(void) {
  close_range(3, ~0u, 0);
  int fd = open("mine.txt", O_CREAT | O_RDWR, 0600);
  for (int i = 0; i < 100000; i++) free(malloc(64));
  if (write(fd, "hello", 5) != 5 || fd != 3) return 1;
  return deep(50000) == 50000 ? 0 : 2;
}
END
  cc -O1 -o c c.c
  hakmem-trace -q -o c.gz ./c
  [ "$(cat mine.txt)" = hello ]
  hakmem-report --verify c.gz
}

@test "a read-only folder: the program runs all the same" {
  run hakmem-trace -o /proc/none.gz echo out
  [[ "$output" == *"/proc/none.gz"* ]]
}

@test "blocks that wander between threads: every free is of a block that is known" {
  cat >w.c <<'END'
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
static void *work(void *arg) {
  void *p[8] = {0}; unsigned x = (unsigned)(size_t)arg * 7919 + 1;
  for (int i = 0; i < 200000; i++) {
    x = x * 1103515245 + 12345; unsigned k = x >> 20 & 7;
    if (x >> 28 & 1 && p[k]) p[k] = realloc(p[k], 100 + (x >> 24 & 63)); else { free(p[k]); p[k] = malloc(100 + (x >> 24 & 31)); }
  }
  for (int k = 0; k < 8; k++) free(p[k]);
  return 0;
}
int main(void) {
  pthread_t t[4]; mallopt(M_ARENA_MAX, 1);
  for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, work, (void *)(size_t)(i + 1));
  for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
}
END
  cc -O1 -pthread -o w w.c
  GLIBC_TUNABLES=glibc.malloc.tcache_count=0 hakmem-trace -q -o w.gz ./w
  hakmem-report --json w.gz >w.json
  /usr/bin/python3 -c '
import json
t = json.load(open("w.json"))["traces"][0]
print(t["allocations"], t["foreign_frees"], t["events_lost"], t["walks_checked"], t["walks_wrong"])
assert t["allocations"] >= 800000 and t["foreign_frees"] == 0 and t["events_lost"] == 0
assert t["walks_checked"] > 100 and t["walks_wrong"] == 0'
}

@test "a thread that asks for its own stack before anything else does not wait for ever" {
  timeout 100 hakmem-trace -q -o t.gz "$HAKMEM_BIN/stress_threads" --row first_asks_for_its_stack
  gzip -t t.gz
}

@test "the recorder's benchmark runs" {
  run "$HAKMEM_SOURCE/tests/bench/recorder" --build "$HAKMEM_BIN/.." --quick --rounds 1 --only jq
  [ "$status" -eq 0 ]
  [[ "$output" == *"jq "*" 0 of "* ]]
}

@test "a library opened by a relative path is recorded where it lies" {
    mkdir there
    echo '#include <stdlib.h>
void *plugin_take(void) { return malloc(100); }' > plugin.c
    gcc -g -shared -fPIC -o there/plugin.so plugin.c
    cat > opens.c <<'END'
#include <dlfcn.h>
int main(void)
{
    void *library = dlopen("./there/plugin.so", RTLD_NOW);
    void *(*take)(void) = (void *(*)(void))dlsym(library, "plugin_take");
    int ok = take() != 0;
    dlclose(library);
    return !ok;
}
END
    gcc -o opens opens.c
    "$HAKMEM_BIN/hakmem-trace" -q -o opens.gz ./opens
    cd /
    run "$HAKMEM_BIN/hakmem-report" --top=0 "$BATS_TEST_TMPDIR/opens.gz"
    [[ "$output" == *"plugin_take"*"plugin.c:2"* ]]
}
