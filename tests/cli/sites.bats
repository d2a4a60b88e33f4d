#!/usr/bin/env bats
# What a policy decides by call context, in a running program: it is taken, it pays where lives that are mixed hold memory,
# a policy that is wrong retires, and a class outside the gate pays nothing.

setup_file() {
  export PATH=$HAKMEM_BIN:$PATH
  cd "$BATS_FILE_TMPDIR" || exit 1
  c++ -O2 -g -o sessions "$HAKMEM_SOURCE/tests/programs/input/sessions.cc"
  for seed in 1 2; do hakmem-trace -q -f -o $seed.gz ./sessions $seed 150; done
}

setup() { cd "$BATS_FILE_TMPDIR" || exit 1; }

counter() { sed -n "s/^hakmem: *$1  *\([0-9][0-9]*\).*/\1/p" "$2"; } # NAME FILE: its value, empty when it is 0

peak_kib() { # COMMAND…: the most that the program had resident
  /usr/bin/python3 -c 'import os, sys
pid = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
print(os.wait4(pid, 0)[2].ru_maxrss)' "$@" | tail -n 1
}

@test "learned from two runs, the policy separates the long-lived, and an unseen run needs less memory" {
  run hakmem-replay --mode=learning --objective=rss --max-time=100 --time-limit=10 --seed=1 --match-log=match.log \
    --export=app.policy 1.gz 2.gz
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *"lifetime by site"*"kept"* ]]
  hakmem-policy show app.policy | grep -q 'lifetime=long'
  ./sessions 3 150 >plain.out
  hakmem-run --mode=fast --policy=app.policy --stats ./sessions 3 150 >out 2>err
  cat err
  cmp plain.out out
  [ "$(counter policy_long err)" -gt 2000 ]
  [ -z "$(counter policy_retired err)" ]
  with=$(peak_kib hakmem-run --mode=fast --policy=app.policy ./sessions 3 150)
  without=$(peak_kib hakmem-run --mode=fast ./sessions 3 150)
  echo "$with KiB with the policy, $without without"
  [ $((with * 10)) -lt $((without * 9)) ]
}

@test "what was learned goes along to a rebuild with a function more, and pays there" {
  mkdir -p rebuilt
  {
    printf '#include <cstdio>\n__attribute__((noinline)) int more(int n) { for (int i = 0; i < n; i++) std::printf("%%d", i * n); return n; }\n'
    printf 'int (*volatile kept)(int) = more;\n'
    cat "$HAKMEM_SOURCE/tests/programs/input/sessions.cc"
  } >more.cc
  c++ -O2 -g -o rebuilt/sessions more.cc
  HAKMEM_MODE=fast HAKMEM_STATS=1 HAKMEM_POLICY=$PWD/app.policy LD_PRELOAD=$HAKMEM_LIB/libhakmem.so \
    rebuilt/sessions 3 150 >out 2>err # as it is, it decides nothing there
  cat err
  [ -z "$(counter policy_long err)" ]
  run hakmem-policy remap --binary=rebuilt/sessions -o moved.policy app.policy
  echo "$output"
  [ "$status" -eq 0 ]
  run diff <(hakmem-policy decompile app.policy | grep '^ *site') <(hakmem-policy decompile moved.policy | grep '^ *site')
  [ "$status" -eq 1 ] # they did move
  hakmem-run --mode=fast --policy=moved.policy --stats rebuilt/sessions 3 150 >out 2>err
  cat err
  ./sessions 3 150 | cmp - out
  [ "$(counter policy_long err)" -gt 2000 ]
  [ -z "$(counter policy_retired err)" ]
  with=$(peak_kib hakmem-run --mode=fast --policy=moved.policy rebuilt/sessions 3 150)
  without=$(peak_kib hakmem-run --mode=fast rebuilt/sessions 3 150)
  echo "$with KiB with the policy, $without without"
  [ $((with * 10)) -lt $((without * 9)) ]
}

@test "the same match log gives the same policy byte for byte, and another training's is refused" {
  hakmem-replay -q --mode=learning --objective=rss --max-time=100 --time-limit=10 --seed=1 --replay-log=match.log \
    --export=again.policy --learning-curve=curve.csv 1.gz 2.gz
  cmp app.policy again.policy
  [ "$(head -n 1 curve.csv)" = phase,generation,runs,elo,elo_deviation,time,rss ]
  [ "$(wc -l <curve.csv)" -gt 2 ]
  hakmem-replay -q --mode=learning --objective=rss --max-time=100 --time-limit=10 --seed=1 --replay-log=match.log \
    --export=again.policy --learning-curve=curve.html 1.gz 2.gz
  grep -q '<polyline' curve.html
  run hakmem-replay -q --mode=learning --objective=rss --max-time=100 --seed=2 --replay-log=match.log --export=other.policy 1.gz 2.gz
  echo "$output"
  [ "$status" -eq 2 ]
  [[ "$output" == *"match.log"*"line "*"of another training"* ]]
  [ ! -e other.policy ]
}

@test "policies to choose from: the leanest first, each next one faster, each one whole; the log gives them again" {
  options=(--mode=learning --max-time=100 --max-rss=100 --time-limit=8 --seed=1 --jobs=2)
  hakmem-replay -q --json "${options[@]}" --match-log=front.log --export=front.policy --pareto=front 1.gz 2.gz >front.json
  cat front.json
  jq -e '.points | length >= 1
    and ([.[].whole_rss.mean] | . == sort)
    and ([.[].whole_time.mean] | . == (sort | reverse))
    and ([.[] | select(.file != "")] | length >= 1)' front.json
  for policy in front/*.policy; do
    hakmem-policy validate "$policy"
    hakmem-policy show "$policy" | grep -q 'verdict better: one of several: program time'
    hakmem-run --mode=fast --policy="$policy" ./sessions 3 150 | cmp - <(./sessions 3 150)
  done
  [ "$(ls front)" = "$(jq -r '.points[].file | select(. != "")' front.json)" ]
  hakmem-replay -q "${options[@]}" --replay-log=front.log --export=front2.policy --pareto=front2 1.gz 2.gz
  cmp front.policy front2.policy
  diff -r front front2
}

@test "an interrupted training keeps the best so far" {
  set -m # its own process group, as a terminal would give it
  hakmem-replay --mode=learning --objective=rss --max-time=100 --time-limit=600 --seed=1 --match-log=cut.log \
    --export=cut.policy 1.gz 2.gz 2>err &
  pid=$!
  set +m
  for _ in $(seq 300); do
    [ "$(grep -c "^run" cut.log 2>/dev/null || true)" = "" ] || [ "$(grep -c "^run" cut.log)" -lt 40 ] || break
    sleep 0.1
  done
  kill -INT -- -$pid
  status=0
  wait $pid || status=$?
  cat err
  [ "$status" -eq 130 ]
  grep -q 'ended early' err
  hakmem-policy validate cut.policy
  hakmem-policy show cut.policy | grep -q 'lifetime=long'
}

@test "lifetimes that are wrong in this program retire, and its lists serve it again" {
  hakmem-policy decompile app.policy | sed '/^set /d' >right.txt
  # Everything the wrapper makes is said to live long; but the nodes of a document do not.
  sed -e '/^evidence/d' -e '/^  site/d' -e 's/^site \(m[0-9]*+0x[0-9a-f]*\) up=[^ ]*/site \1 lifetime=long/' right.txt >wrong.txt
  sed -i '0,/^gate/s//set guard_early_bytes 4000000\n&/' wrong.txt
  hakmem-policy compile -o wrong.policy wrong.txt
  cat wrong.txt
  HAKMEM_FEATURES=+verbose hakmem-run --mode=fast --policy=wrong.policy --stats ./sessions 3 600 >out 2>err
  cat err
  [ "$(counter policy_retired err)" -eq 1 ]
  [ "$(counter guard_wrong err)" -gt 32 ]
  grep -q 'retired in this process: its lifetimes' err
  lookups=$(counter policy_lookup err)
  [ "$lookups" -lt 1000000 ] # of some seven millions
  ./sessions 3 600 | cmp - out
}

@test "a program whose calls come from unknown contexts retires the sites" {
  sed -e '/^set /d' -e '/^evidence/d' -e '/^  site/d' -e 's/^site m0+0x[0-9a-f]* up=.*/site m0+0x1 lifetime=long/' right.txt >strange.txt
  sed -i '0,/^gate/s//set guard_unknown_percent 50\n&/' strange.txt
  hakmem-policy compile -o strange.policy strange.txt
  HAKMEM_FEATURES=+verbose hakmem-run --mode=fast --policy=strange.policy --stats ./sessions 3 300 >out 2>err
  cat err
  [ "$(counter policy_retired err)" -eq 1 ]
  grep -q 'contexts it does not know' err
}

@test "a canary's processes report, with the policy and without" {
  hakmem-policy state -o canary.policy canary gated.policy 2>/dev/null || { sed '/^set /d; /^classes/d' right.txt >gated.txt
    hakmem-policy compile -o gated.policy gated.txt; hakmem-policy state -o canary.policy canary gated.policy; }
  rm -f records
  for _ in $(seq 60); do
    HAKMEM_CANARY_OUT=$PWD/records HAKMEM_MODE=fast HAKMEM_POLICY=$PWD/canary.policy LD_PRELOAD=$HAKMEM_LIB/libhakmem.so ./sessions 1 1 >/dev/null
  done
  cat records
  [ "$(wc -l <records)" -eq 60 ]
  with=$(grep -c ' arm policy ' records)
  [ "$with" -ge 1 ] # one in ten is selected: none of sixty would be one chance in 500
  [ "$with" -le 25 ]
  run hakmem-policy canary --records=records canary.policy
  echo "$output"
  [ "$status" -le 1 ]
  [[ "$output" == "$with records with the policy, $((60 - with)) without, 0 of other"* ]]
}

@test "outside the gate a call executes what it executes without a policy" {
  command -v valgrind >/dev/null || skip "valgrind is not installed"
  cat >outside.c <<'END'
#include <stdlib.h>
int main(int argc, char **argv) {
  (void)argc;
  for (int i = 0, n = atoi(argv[1]); i < n; i++) { void *volatile p = malloc(8192); free(p); }
  return 0;
}
END
  cc -O1 -o outside outside.c
  sed '/^set /d; /^classes/d' right.txt >gated.txt
  hakmem-policy compile -o gated.policy gated.txt
  count() { # TIMES VARIABLE…: instructions within main
    local times=$1; shift
    valgrind --tool=callgrind --callgrind-out-file=cg.out --collect-atstart=no --toggle-collect=main --trace-children=yes \
      env LD_PRELOAD="$HAKMEM_LIB/libhakmem.so" HAKMEM_MODE=fast "$@" ./outside "$times" 2>&1 | sed -n 's/.*Collected : //p' | tail -n 1
  }
  # The first calls make the heap and read the policy; what ten thousand more cost is the malloc and free alone.
  with=$(($(count 20000 HAKMEM_POLICY=gated.policy) - $(count 10000 HAKMEM_POLICY=gated.policy)))
  without=$(($(count 20000) - $(count 10000)))
  echo "10000 pairs: $with instructions with the policy, $without without"
  [ "$with" -eq "$without" ]
  [ "$with" -gt 100000 ]
}

@test "a call that was looked up before is recalled for the right caller, in every thread" {
  cat >callers.c <<'END'
#include <pthread.h>
#include <stdlib.h>
#define ALONE __attribute__((noinline))
ALONE void *wrapper(size_t bytes) { void *at = malloc(bytes); __asm__ volatile("" : : "r"(at) : "memory"); return at; }
ALONE void *by_a(void) { void *at = wrapper(64); __asm__ volatile("" : : "r"(at) : "memory"); return at; }
ALONE void *by_b(void) { void *at = wrapper(64); __asm__ volatile("" : : "r"(at) : "memory"); return at; }
ALONE void *by_c(void) { void *at = wrapper(64); __asm__ volatile("" : : "r"(at) : "memory"); return at; }
static void *work(void *arg) {
  for (int i = 0; i < 100000; i++) { void *a = by_a(); void *b = by_b(); free(a); free(b); if (i % 4 == 0) free(by_c()); }
  return arg;
}
int main(void) {
  pthread_t thread;
  work(NULL);
  pthread_create(&thread, NULL, work, NULL);
  return pthread_join(thread, NULL);
}
END
  cc -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls -Wl,--build-id=sha1 -pthread -o callers callers.c
  after() { objdump -d callers | awk -v f="<$1>:" -v c="$2" 'index($0, f) {on = 1} on && hit {sub(":", "", $1); print $1; exit} on && /call/ && index($0, c) {hit = 1}'; }
  printf 'hakmem-policy 1\nstate frozen\ncreated 0\nset guard_wrong_percent 100\ngate 49 64\nmodule m0 weight=1000000 build-id=%s path=%s\nsite m0+0x%s up=bp+16,-2 blocks=9\n  site m0+0x%s lifetime=short blocks=9\n  site m0+0x%s lifetime=long blocks=9\n' \
    "$(readelf -n callers | sed -n 's/.*Build ID: //p')" "$PWD/callers" "$(after wrapper malloc)" "$(after by_a wrapper)" "$(after by_b wrapper)" >callers.txt
  cat callers.txt
  hakmem-policy compile -o callers.policy callers.txt
  hakmem-run --mode=fast --policy=callers.policy --stats ./callers 2>err
  cat err
  [ "$(counter policy_short err)" -eq 200000 ]
  [ "$(counter policy_long err)" -eq 200000 ]
  [ "$(counter policy_known err)" -eq 50000 ] # by_c: the wrapper's own answer
  [ "$(counter policy_recalled err)" -gt 300000 ]
  [ "$(counter guard_sampled err)" -gt 50 ] # of some 440 turns
}

@test "lists and refills by class, remote-freed contexts and the BigCache by site act, and each can be switched off" {
  cat >families.c <<'END'
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#define ALONE __attribute__((noinline))
static void *blocks[4000];
ALONE static void *handed_over(void) { void *at = malloc(64); __asm__ volatile("" : : "r"(at) : "memory"); return at; }
ALONE static void *large(void) { void *at = malloc(3 << 20); __asm__ volatile("" : : "r"(at) : "memory"); return at; }
static void *give(void *arg) { for (int i = 0; i < 4000; i++) free(blocks[i]); return arg; }
int main(void) {
  pthread_t thread;
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < 4000; i++) blocks[i] = malloc(100);
    for (int i = 0; i < 4000; i++) free(blocks[i]);
    for (int i = 0; i < 4000; i++) blocks[i] = handed_over();
    pthread_create(&thread, NULL, give, NULL);
    pthread_join(thread, NULL);
    free(memset(large(), 1, 3 << 20));
  }
  return 0;
}
END
  cc -O1 -fno-optimize-sibling-calls -Wl,--build-id=sha1 -pthread -o families families.c
  after() { objdump -d families | awk -v f="<$1>:" 'index($0, f) {on = 1} on && hit {sub(":", "", $1); print $1; exit} on && /call/ && /malloc/ {hit = 1}'; }
  printf 'hakmem-policy 1\nstate frozen\ncreated 0\ncache 112 keep=2000 refill=250\ngate 49 64\ngate 1048576 4294967295\nmodule m0 weight=1000000 build-id=%s path=%s\nsite m0+0x%s remote-freed blocks=9\nsite m0+0x%s retention=keep blocks=9\n' \
    "$(readelf -n families | sed -n 's/.*Build ID: //p')" "$PWD/families" "$(after handed_over)" "$(after large)" >families.txt
  cat families.txt
  hakmem-policy compile -o families.policy families.txt
  run_with() { hakmem-run --mode=fast --policy="$1" --stats ./families 2>err; cat err; }
  run_with families.policy
  [ "$(counter policy_caches err)" -eq 1 ]
  [ "$(counter policy_refill err)" -ge 16 ] # of 250 blocks each
  [ "$(counter policy_remote err)" -eq 20000 ]
  [ "$(counter policy_keep err)" -eq 5 ]
  refills=$(counter policy_refill err)
  [ "$refills" -le 200 ] # 64 at a time it would be more than 312
  for family in caches:policy_refill remote:policy_remote retention:policy_keep; do
    hakmem-policy ablate --without="${family%%:*}" -o without.policy families.policy
    run_with without.policy
    [ -z "$(counter "${family##*:}" err)" ]
  done
}

@test "training learns lists by class from bursts, and contexts whose blocks other threads free" {
  hakmem-trace -q -f -o families.gz ./families
  hakmem-replay --mode=learning --time-limit=3 --seed=1 --json --export=learned.policy families.gz >learned.json 2>/dev/null || true
  cat learned.json
  [[ "$(cat learned.json)" =~ \"family\":\"caches\ by\ class\",\"verdict\":\"[a-z\ :,-]*\",\"decisions\":[1-9] ]]
  [[ "$(cat learned.json)" =~ \"family\":\"remote\ frees\ by\ site\",\"verdict\":\"[a-z\ :,-]*\",\"decisions\":[1-9] ]]
}

@test "an interpreter, whose scripts decide what lives how long, switches lifetimes and slack off by itself" {
  /usr/bin/python3 - "$HAKMEM_SOURCE/tests/prove" >scripts.sh <<'END'
import shlex, sys
sys.path.insert(0, sys.argv[1])
import inputs
for letter in "abd":
    print(f"hakmem-trace -q -f -o perl.{letter}.gz --", shlex.join(inputs.make("perl", letter, 0.33, ".")[0]))
END
  . ./scripts.sh >/dev/null
  run hakmem-replay --mode=learning --time-limit=1 --seed=1 --export=perl.policy perl.a.gz perl.b.gz perl.d.gz
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *"lifetime by site       off: contexts do not foretell it"* ]]
  [[ "$output" == *"realloc slack by site  off: contexts do not foretell it"* ]]
  ! hakmem-policy decompile perl.policy | grep -q "^ *site" || false
}
