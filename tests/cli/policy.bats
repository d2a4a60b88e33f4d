# hakmem-policy: every verb, every exit status.

setup() {
  cd "$BATS_TEST_TMPDIR"
  cat > a.txt <<'TEXT'
hakmem-policy 1
state frozen
created 1764000000
program app
set purge_delay_ms 64
classes 16 48 32768
cache 48 keep=512 refill=32
gate 17 64
module m0 weight=1000000 build-id=00112233445566778899aabbccddeeff01234567 path=/usr/bin/app
module m1 weight=500000 build-id=aa112233445566778899aabbccddeeff01234567 path=/lib/libx.so.1
site m0+0x10 lifetime=short blocks=500 purity=1000000 size=32
site m1+0x20 up=sp+48,-2 blocks=900 purity=1000000 size=100
  site m0+0x30 lifetime=long blocks=100 purity=995000 size=1
evidence validated c.gz time -1.00% [-2.00, -0.50] rss +0.00% [+0.00, +0.00] rounds 12 decisions 3
TEXT
  "$HAKMEM_BIN/hakmem-policy" compile -o a.policy a.txt
}

@test "text to binary to text is the identity" {
  "$HAKMEM_BIN/hakmem-policy" decompile a.policy > b.txt
  diff a.txt b.txt
  "$HAKMEM_BIN/hakmem-policy" compile -o b.policy b.txt
  cmp a.policy b.policy
}

@test "show lists settings, sites by weight, callers and evidence" {
  run "$HAKMEM_BIN/hakmem-policy" show a.policy
  [ "$status" -eq 0 ]
  [[ "$output" == *"a.policy: frozen, for app"* ]]
  [[ "$output" == *"purge_delay_ms"*"64"*"default 500"* ]]
  [[ "$output" == *"2 sites decide"*"app+0x10"*"lifetime=short"*"app+0x30"*"lifetime=long"*"through libx.so.1+0x20"* ]]
  [[ "$output" == *"validated c.gz"* ]]
  run "$HAKMEM_BIN/hakmem-policy" show --top=1 a.policy
  [[ "$output" == *"and 1 more"* ]]
}

@test "show --json is JSON with a schema" {
  command -v jq > /dev/null || skip "jq is not installed"
  "$HAKMEM_BIN/hakmem-policy" show --json a.policy > a.json
  [ "$(jq -r '.schema, .state, .settings.purge_delay_ms, .site_count, .sites[1].context[1]' a.json | tr '\n' ' ')" = \
    "1 frozen 64 2 libx.so.1+0x20 " ]
}

@test "explain names evidence and callers of one site" {
  run "$HAKMEM_BIN/hakmem-policy" explain a.policy app+0x30
  [ "$status" -eq 0 ]
  [[ "$output" == *"calls       libx.so.1+0x20"*"decision    lifetime=long"*"100 blocks"*"99.50%"* ]]
  run "$HAKMEM_BIN/hakmem-policy" explain a.policy m1+0x20
  [[ "$output" == *"1 known, 1 of them decide"* ]]
  run "$HAKMEM_BIN/hakmem-policy" explain a.policy nowhere+0x1
  [ "$status" -eq 2 ]
}

@test "diff: 0 when equal, 1 with the decisions that differ" {
  run "$HAKMEM_BIN/hakmem-policy" diff a.policy a.txt
  [ "$status" -eq 0 ]
  [ -z "$output" ]
  sed 's/purge_delay_ms 64/purge_delay_ms 32/; s/lifetime=short/lifetime=long/' a.txt > b.txt
  run "$HAKMEM_BIN/hakmem-policy" diff a.policy b.txt
  [ "$status" -eq 1 ]
  [[ "$output" == *"- set purge_delay_ms 64"* ]]
  [[ "$output" == *"+ set purge_delay_ms 32"* ]]
  [[ "$output" == *"- site app+0x10 lifetime=short"* ]]
  [[ "$output" == *"+ site app+0x10 lifetime=long"* ]]
}

@test "merge keeps what both decide and what one has seen, drops what they dispute" {
  sed 's/lifetime=long blocks=100/lifetime=short blocks=300/; s/^site m0+0x10/site m0+0x11/; s/ms 64/ms 65/' a.txt > b.txt
  "$HAKMEM_BIN/hakmem-policy" merge -o m.policy a.policy b.txt
  "$HAKMEM_BIN/hakmem-policy" decompile m.policy > m.txt
  grep -q '^state learn' m.txt
  ! grep -q '^set ' m.txt || false
  grep -q '^classes 16 48 32768' m.txt
  grep -q '^site m0+0x10 lifetime=short blocks=500' m.txt
  grep -q '^site m0+0x11 lifetime=short blocks=500' m.txt
  grep -q '^  site m0+0x30 blocks=400' m.txt
  [ "$(grep -c '^evidence' m.txt)" -eq 2 ]
  for bytes in 30000000 20000000 40000000; do # what all inputs held: the least
    sed "s/^set .*/set thp_known_bytes $bytes/" a.txt >"$bytes.txt"
  done
  "$HAKMEM_BIN/hakmem-policy" merge -o m.policy 30000000.txt 20000000.txt 40000000.txt
  "$HAKMEM_BIN/hakmem-policy" decompile m.policy | grep -q '^set thp_known_bytes 20000000'
  "$HAKMEM_BIN/hakmem-policy" merge -o m.policy 30000000.txt a.txt
  ! "$HAKMEM_BIN/hakmem-policy" decompile m.policy | grep -q thp_known_bytes || false
}

@test "validate compares the build-id of a binary" {
  run "$HAKMEM_BIN/hakmem-policy" validate a.policy
  [ "$status" -eq 0 ]
  run "$HAKMEM_BIN/hakmem-policy" validate --binary=/bin/sh a.policy
  [ "$status" -eq 1 ]
  [[ "$output" == *"not a module"* ]]
  id=$(readelf -n "$(readlink -f /bin/sh)" | sed -n 's/.*Build ID: //p')
  sed "s/00112233445566778899aabbccddeeff01234567/$id/" a.txt > b.txt
  run "$HAKMEM_BIN/hakmem-policy" validate --binary="$(readlink -f /bin/sh)" b.txt
  [ "$status" -eq 0 ]
  [[ "$output" == *"the build it was learned on"* ]]
  run "$HAKMEM_BIN/hakmem-policy" validate --binary=a.txt a.policy
  [ "$status" -eq 2 ]
}

@test "lint finds what a reviewer should see" {
  run "$HAKMEM_BIN/hakmem-policy" lint a.policy
  [ "$status" -eq 0 ]
  sed '/^evidence/d; s/blocks=500/blocks=5/; s/ms 64/ms 500/; s/frozen/learn/; /^gate/d' a.txt > b.txt
  run "$HAKMEM_BIN/hakmem-policy" lint b.txt
  [ "$status" -eq 1 ]
  [[ "$output" == *"not frozen"*"no validation"*"is the default"*"without a gate"*"few blocks"* ]]
}

@test "state changes the state and nothing else" {
  "$HAKMEM_BIN/hakmem-policy" state -o r.policy retired a.policy
  run "$HAKMEM_BIN/hakmem-policy" diff a.policy r.policy
  [ "${#lines[@]}" -eq 2 ]
  run "$HAKMEM_BIN/hakmem-policy" state -o r.policy thawed a.policy
  [ "$status" -eq 2 ]
}

@test "broken files are named with the line or the reason, exit status 2, no output file" {
  printf 'hakmem-policy 1\nset nothing 1\n' > bad.txt
  run "$HAKMEM_BIN/hakmem-policy" compile -o bad.policy bad.txt
  [ "$status" -eq 2 ]
  [[ "$output" == *"'bad.txt': line 2: no such setting: nothing"* ]]
  printf 'hakmem-policy 1\ncache 48 keep=0\n' > bad.txt
  run "$HAKMEM_BIN/hakmem-policy" compile -o bad.policy bad.txt
  [ "$status" -eq 2 ]
  [[ "$output" == *"line 2: keep must be between 1 and"* ]]
  [ ! -e bad.policy ]
  head -c 200 a.policy > cut.policy
  run "$HAKMEM_BIN/hakmem-policy" show cut.policy
  [ "$status" -eq 2 ]
  [[ "$output" == *"cut off"* ]]
  run "$HAKMEM_BIN/hakmem-policy" show .
  [ "$status" -eq 2 ]
  run "$HAKMEM_BIN/hakmem-policy" nonsense a.policy
  [ "$status" -eq 2 ]
  run "$HAKMEM_BIN/hakmem-policy"
  [ "$status" -eq 2 ]
}

@test "learning options need --mode=learning and --export" {
  run "$HAKMEM_BIN/hakmem-replay" --export=x.policy a.gz
  [ "$status" -eq 2 ]
  [[ "$output" == *"--mode=learning --export=FILE"* ]]
}

@test "show --site keeps the sites of a module or function" {
  run "$HAKMEM_BIN/hakmem-policy" show --site=libx a.policy
  [ "$status" -eq 0 ]
  [[ "$output" == *"1 sites decide"*"app+0x30"* ]]
  [[ "$output" != *"app+0x10"* ]]
}

@test "explain names function and line of a build that is here, the interval, and what else would happen" {
  printf '#include <stdlib.h>\n__attribute__((noinline)) void *make(void) { void *p = malloc(8); ((char *)p)[0] = 1; return p; }\nint main(void) { free(make()); return 0; }\n' >made.c
  cc -O1 -g -Wl,--build-id=sha1 -o made made.c
  id=$(readelf -n made | sed -n 's/.*Build ID: //p')
  offset=$(objdump -d made | awk '/<make>:/ {in_make = 1} in_make && next_line {sub(":", "", $1); print $1; exit} in_make && /call/ {next_line = 1}')
  printf 'hakmem-policy 1\nstate frozen\ncreated 0\ngate 0 64\nmodule m0 weight=1000000 build-id=%s path=%s\nsite m0+0x%s lifetime=long blocks=100 purity=990000 size=8\n' \
    "$id" "$PWD/made" "$offset" >made.txt
  run "$HAKMEM_BIN/hakmem-policy" explain made.txt "made+0x$offset"
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *"source      make"*"made.c:2"*"[94.55%, 99.82%]"*"otherwise   with all the others"* ]]
  run "$HAKMEM_BIN/hakmem-policy" show --site=make made.txt
  [[ "$output" == *"1 sites decide"* ]]
}

@test "overlap counts the sites both decide on, and otherwise" {
  sed 's/lifetime=short/lifetime=long/; s/^  site m0+0x30/  site m0+0x31/' a.txt >b.txt
  run "$HAKMEM_BIN/hakmem-policy" overlap a.policy b.txt
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *"a.policy: 2 sites decide; the other decides on 1 of them (83.3% of the blocks), otherwise on 1 (83.3%)"* ]]
  [[ "$output" == *"settings: 1 in either, 1 the same; size classes: the same"* ]]
}

@test "ablate lists families and takes one out" {
  run "$HAKMEM_BIN/hakmem-policy" ablate a.policy
  [ "$status" -eq 0 ]
  [[ "$output" == *"classes "*"caches "*"lifetime "*"purge "* ]]
  "$HAKMEM_BIN/hakmem-policy" ablate --without=caches -o without.policy a.policy
  ! "$HAKMEM_BIN/hakmem-policy" decompile without.policy | grep -q '^cache' || false
  "$HAKMEM_BIN/hakmem-policy" ablate --without=lifetime -o without.policy a.policy
  "$HAKMEM_BIN/hakmem-policy" decompile without.policy >without.txt
  ! grep -q '^ *site' without.txt || false
  ! grep -q '^gate' without.txt || false
  grep -q '^classes 16 48 32768' without.txt
  "$HAKMEM_BIN/hakmem-policy" ablate --without=purge -o without.policy a.policy
  ! "$HAKMEM_BIN/hakmem-policy" decompile without.policy | grep -q '^set' || false
  run "$HAKMEM_BIN/hakmem-policy" ablate --without=nothing -o without.policy a.policy
  [ "$status" -eq 2 ]
}

@test "merge counts by weight, and a lifetime that is not pure over all returns to the default" {
  sed 's/purity=995000/purity=900000/' a.txt >b.txt
  "$HAKMEM_BIN/hakmem-policy" merge -o m.policy --weight=99,a.policy b.txt
  "$HAKMEM_BIN/hakmem-policy" decompile m.policy >m.txt
  grep -q 'site m0+0x30 lifetime=long blocks=10000 purity=994050' m.txt
  "$HAKMEM_BIN/hakmem-policy" merge -o m.policy a.policy b.txt
  "$HAKMEM_BIN/hakmem-policy" decompile m.policy >m.txt
  grep -q 'site m0+0x30 blocks=200 purity=947500' m.txt
  run "$HAKMEM_BIN/hakmem-policy" merge -o m.policy --weight=x,a.policy b.txt
  [ "$status" -eq 2 ]
}

@test "canary promotes, retires and waits, by what processes reported" {
  "$HAKMEM_BIN/hakmem-policy" state -o c.policy canary a.policy
  crc=$(od -An -tx4 -j16 -N4 c.policy | tr -d ' ' | sed 's/^0*//')
  records() { # RATIO OF TIME, COUNT, RETIRED
    awk -v crc="$crc" -v ratio="$1" -v count="$2" -v retired="$3" 'BEGIN { srand(7)
      for (i = 0; i < count; i++) {
        printf "canary 1 policy %s arm policy pid 1 cpu_ms %.1f peak_kib 10000 retired %d\n", crc, 1000 * ratio + 20 * rand(), retired
        printf "canary 1 policy %s arm default pid 1 cpu_ms %.1f peak_kib 10000 retired 0\n", crc, 1000 + 20 * rand()
      }
      print "canary 1 policy abc arm policy pid 1 cpu_ms 1.0 peak_kib 1 retired 0"; print "rubbish" }'
  }
  records 0.9 40 0 >good
  run "$HAKMEM_BIN/hakmem-policy" canary --records=good -o out.policy c.policy
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *"40 records with the policy, 40 without, 2 of other"*"promoted"* ]]
  "$HAKMEM_BIN/hakmem-policy" show out.policy | grep -q 'frozen'
  records 1.1 40 0 >bad
  run "$HAKMEM_BIN/hakmem-policy" canary --records=bad -o out.policy c.policy
  [[ "$output" == *"retired"* ]]
  "$HAKMEM_BIN/hakmem-policy" show out.policy | grep -q 'retired'
  records 0.9 40 1 >guard
  run "$HAKMEM_BIN/hakmem-policy" canary --records=guard c.policy
  [[ "$output" == *"its own guard in 40 processes"*"retired"* ]]
  records 1.0 40 0 >same
  run "$HAKMEM_BIN/hakmem-policy" canary --records=same c.policy
  [ "$status" -eq 1 ]
  [[ "$output" == *"undecided"* ]]
  records 0.9 3 0 >few
  run "$HAKMEM_BIN/hakmem-policy" canary --records=few c.policy
  [ "$status" -eq 1 ]
  run "$HAKMEM_BIN/hakmem-policy" canary --records=good a.policy
  [ "$status" -eq 2 ]
}

@test "remap finds the sites in a rebuilt program where their functions are the same, and drops the changed ones" {
  [ -e "$HAKMEM_LIB/libhakmem.so" ] || skip "the library is not built here"
  cat >app.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#define ALONE __attribute__((noinline))
extern int count;
int count;
#ifdef MORE
ALONE int more(int n) { for (int i = 0; i < n; i++) count += i * n; printf("%d\n", count); return count; }
#endif
ALONE void *first(void) { void *at = malloc(64); count++; __asm__ volatile("" : : "r"(at) : "memory"); return at; }
#ifdef CHANGED
ALONE void *second(void) { void *at = malloc(64); count += 3; if (count == 7) puts("seven"); __asm__ volatile("" : : "r"(at) : "memory"); return at; }
#else
ALONE void *second(void) { void *at = malloc(64); count--; __asm__ volatile("" : : "r"(at) : "memory"); return at; }
#endif
int main(void) {
#ifdef MORE
  more(0);
#endif
  for (int i = 0; i < 1000; i++) { free(first()); free(second()); }
  return 0;
}
END
  build() { cc -O1 -fno-optimize-sibling-calls -Wl,--build-id=sha1 "$@" app.c; }
  after() { objdump -d "$1" | awk -v f="<$2>:" 'index($0, f) {on = 1} on && hit {sub(":", "", $1); print $1; exit} on && /call/ && /malloc/ {hit = 1}'; }
  counter() { sed -n "s/^hakmem: *$1  *\([0-9][0-9]*\).*/\1/p" err; }
  mkdir old new changed
  build -o old/app && build -DMORE -o new/app && build -DMORE -DCHANGED -o changed/app
  [ "$(after old/app first)" != "$(after new/app first)" ]
  printf 'hakmem-policy 1\nstate frozen\ncreated 0\nset guard_wrong_percent 100\ngate 49 64\nmodule m0 weight=1000000 build-id=%s path=%s\nsite m0+0x%s lifetime=long blocks=1000\nsite m0+0x%s lifetime=short blocks=500\n' \
    "$(readelf -n old/app | sed -n 's/.*Build ID: //p')" "$PWD/old/app" "$(after old/app first)" "$(after old/app second)" >app.txt
  "$HAKMEM_BIN/hakmem-policy" compile -o app.policy app.txt
  HAKMEM_MODE=fast HAKMEM_STATS=1 HAKMEM_POLICY=$PWD/app.policy LD_PRELOAD=$HAKMEM_LIB/libhakmem.so new/app 2>err # stale: it says so, and nothing is decided
  cat err
  [[ "$(cat err)" == *"other builds of the loaded modules; only its global settings"* ]]
  [ -z "$(counter policy_long)" ]
  [ -z "$(counter policy_lookup)" ] # nor asked: the gate is shut
  run "$HAKMEM_BIN/hakmem-policy" remap --binary=new/app -o moved.policy app.policy
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *"2 of 2 sites are in this build, 100.0%"* ]]
  "$HAKMEM_BIN/hakmem-policy" decompile moved.policy | grep -q "^site m0+0x$(after new/app first | sed 's/^0*//') lifetime=long"
  run "$HAKMEM_BIN/hakmem-policy" validate --binary=new/app moved.policy
  [ "$status" -eq 0 ]
  HAKMEM_MODE=fast HAKMEM_STATS=1 HAKMEM_POLICY=$PWD/moved.policy LD_PRELOAD=$HAKMEM_LIB/libhakmem.so new/app 2>err
  cat err
  [ "$(counter policy_long)" -eq 1000 ]
  [ "$(counter policy_short)" -eq 1000 ]
  # hakmem-run does so by itself: once, with a word.
  export XDG_CACHE_HOME=$PWD/cache
  run_it() { "$HAKMEM_BIN/hakmem-run" --stats --policy="$1" "$2" >/dev/null 2>err; cat err; }
  run_it app.policy new/app
  [[ "$(cat err)" == *"is of another build: 2 of 2 sites, 100.0%"*"kept as '$PWD/cache/hakmem/app.policy-"* ]]
  [ "$(counter policy_long)" -eq 1000 ]
  [ "$(counter policy_short)" -eq 1000 ]
  run_it app.policy new/app
  [[ "$(cat err)" != *"another build"* ]]
  [ "$(counter policy_long)" -eq 1000 ]
  run_it app.policy old/app
  [[ "$(cat err)" != *"another build"* ]]
  [ "$(counter policy_long)" -eq 1000 ]
  run_it app.policy changed/app
  [[ "$(cat err)" == *"1 of 2 sites, 66.7%"* ]]
  [ "$(counter policy_long)" -eq 1000 ]
  [ -z "$(counter policy_short)" ]
  [ "$(ls cache/hakmem | wc -l)" -eq 2 ]
  : >cache/hakmem/"$(ls cache/hakmem | head -n 1)" # damaged: made anew
  run_it app.policy new/app
  [ "$(counter policy_long)" -eq 1000 ]
  run_it app.policy changed/app
  [ "$(counter policy_long)" -eq 1000 ]
  env -u XDG_CACHE_HOME -u HOME "$HAKMEM_BIN/hakmem-run" --stats --policy=app.policy new/app 2>err
  [[ "$(cat err)" == *"no folder to keep one"* ]]
  [ -z "$(counter policy_long)" ]
  # The build it comes from is gone: the evidence of the last move knows its functions.
  rm old/app new/app
  run "$HAKMEM_BIN/hakmem-policy" remap --binary=changed/app -o again.policy moved.policy
  echo "$output"
  [ "$status" -eq 1 ]
  [[ "$output" == *"1 of 2 sites are in this build, 66.7%"* ]]
  HAKMEM_MODE=fast HAKMEM_STATS=1 HAKMEM_POLICY=$PWD/again.policy LD_PRELOAD=$HAKMEM_LIB/libhakmem.so changed/app >/dev/null 2>err
  cat err
  [ "$(counter policy_long)" -eq 1000 ]
  [ -z "$(counter policy_short)" ]
  # Less than 60% left: settings only.
  sed 's/blocks=1000/blocks=100/' app.txt >light.txt
  build -o old/app
  run "$HAKMEM_BIN/hakmem-policy" remap --binary=changed/app -o light.policy light.txt
  echo "$output"
  [ "$status" -eq 1 ]
  [[ "$output" == *"less than 60%: the sites are dropped"* ]]
  ! "$HAKMEM_BIN/hakmem-policy" decompile light.policy | grep -q '^site' || false
  "$HAKMEM_BIN/hakmem-policy" decompile light.policy | grep -q '^set guard'
  "$HAKMEM_BIN/hakmem-policy" compile -o lighter.policy light.txt
  run_it lighter.policy changed/app
  [[ "$(cat err)" == *"only its settings apply"* ]]
  [ -z "$(counter policy_lookup)" ]
  run "$HAKMEM_BIN/hakmem-policy" remap --binary=/bin/sh -o x.policy app.policy
  [ "$status" -eq 2 ]
}
