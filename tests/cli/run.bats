#!/usr/bin/env bats
# hakmem-run: the program is itself, on our allocator, and what cannot work is refused beforehand.

setup() {
  export PATH=$HAKMEM_BIN:$PATH
  cd "$BATS_TEST_TMPDIR" || exit 1
}

@test "every mode takes effect, and says so itself" {
  for mode in minimal fast balanced learning research; do
    HAKMEM_SHOW_CONFIG=1 hakmem-run --mode=$mode jq -n '[range(1000)]|add' >out 2>err
    [ "$(cat out)" = 499500 ]
    grep -q "$mode" err
  done
}

@test "exit status and death by signal are the program's" {
  run hakmem-run sh -c 'exit 7'
  [ "$status" -eq 7 ]
  run hakmem-run sh -c 'kill -9 $$'
  [ "$status" -eq 137 ]
}

@test "options behind the program are the program's" {
  [ "$(hakmem-run echo --mode=wrong -p x)" = "--mode=wrong -p x" ]
}

@test "a missing program, a folder, a wrong mode" {
  run hakmem-run ./none
  [ "$status" -eq 127 ]
  run hakmem-run ./
  [ "$status" -eq 126 ]
  run hakmem-run --mode=quick true
  [ "$status" -eq 125 ]
  [[ "$output" == *"'quick' is no mode"* ]]
}

@test "a broken policy is refused with the way out" {
  echo nonsense >bad.policy
  run hakmem-run --policy=bad.policy true
  [ "$status" -eq 125 ]
  [[ "$output" == *"bad.policy"*"hakmem-policy validate"* ]]
  run hakmem-run --policy=/dev/zero true
  [ "$status" -eq 125 ]
}

@test "a script that names no interpreter gets its arguments" {
  echo 'echo "$# $1 $2"' >script
  chmod +x script
  [ "$(hakmem-run ./script 'one word' two)" = "2 one word two" ]
}

@test "under the recorder: it stays in front of the allocator, and sees all calls" {
  hakmem-trace -q -o t.gz hakmem-run sh -c 'echo "$LD_PRELOAD"' >out
  [[ "$(cat out)" == *libhakmem-trace.so:*libhakmem.so ]]
  hakmem-trace -q -o u.gz hakmem-run jq -n '[range(3000)] | length' >out
  [ "$(cat out)" = 3000 ]
  [ "$(hakmem-report --verify u.jq.*.gz | grep -o '[0-9]* events,' | cut -d' ' -f1)" -gt 3000 ]
}

@test "where there is no /proc" {
  unshare -m true || skip "no mount namespaces here"
  unshare -m sh -c 'umount -l /proc && hakmem-run echo ran && hakmem-trace -q -o t.gz echo recorded' >out
  [ "$(cat out)" = "ran
recorded" ]
  hakmem-report --verify t.gz
}

@test "a static program is refused with the reason" {
  echo 'int main(void){return 0;}' >s.c
  cc -static -o s s.c || skip "no static libc"
  run hakmem-run ./s
  [ "$status" -eq 125 ]
  [[ "$output" == *"statically linked"* ]]
}

@test "a library that the program lacks is named by its own loader" {
  echo 'int lib_value(void) { return 0; }' | gcc -shared -fPIC -x c - -o libgone.so
  echo 'int lib_value(void); int main(void) { return lib_value(); }' | gcc -x c - -x none ./libgone.so -o app
  hakmem-run ./app
  rm libgone.so
  run hakmem-run ./app
  [ "$status" -eq 127 ]
  [[ "$output" == *"libgone.so: cannot open shared object file"* ]]
}

@test "a program with hundreds of libraries in long folders is not refused" {
  folder=$PWD/$(printf 'f%.0s' {1..200})
  mkdir "$folder"
  echo 'int lib_value;' | gcc -shared -fPIC -x c - -o "$folder/0.so"
  for i in {1..300}; do cp "$folder/0.so" "$folder/$i.so"; done
  echo 'int main(void) { return 0; }' | gcc -x c - -x none -Wl,--no-as-needed "$folder"/*.so -o app
  [ "$(/lib64/ld-linux-x86-64.so.2 --list ./app | wc -c)" -gt 65536 ]
  HAKMEM_SHOW_CONFIG=1 hakmem-run --mode=minimal ./app 2>err
  grep -q minimal err
}

@test "counters at exit" {
  hakmem-run --stats jq -n 1 >/dev/null 2>err
  grep -q free_tls_sll err
}

@test "counters go to a file where the program has closed its stderr" {
  HAKMEM_STATS_FILE=$PWD/stats.%p hakmem-run ls / >out
  file=$(echo stats.[0-9]*)
  grep -q "free_tls_sll" "$file"
  HAKMEM_STATS=json HAKMEM_STATS_FILE=$PWD/stats.json hakmem-run sort /dev/null
  jq -e '.schema == "hakmem-stats-1" and .mode == "balanced" and .counters.refill_fresh > 0' stats.json
  # Appended to, never through a link, never to what is no file; the program is as it was.
  HAKMEM_STATS=json HAKMEM_STATS_FILE=$PWD/stats.json hakmem-run sort /dev/null
  [ "$(wc -l <stats.json)" = 2 ]
  ln -s stats.json link
  for bad in "$PWD/link" /dev/null "$PWD/none/stats" "$PWD"; do
    HAKMEM_STATS_FILE=$bad hakmem-run jq -n 1 >out 2>err
    [ "$(cat out)" = 1 ]
    grep -q "HAKMEM_STATS_FILE: not a file that can be written" err
  done
  [ "$(wc -l <stats.json)" = 2 ]
  mkfifo pipe
  HAKMEM_STATS_FILE=$PWD/pipe timeout 10 hakmem-run jq -n 1 2>err
}

@test "HAKMEM_STATS=json is one line of JSON on stderr at exit" {
  HAKMEM_STATS=json hakmem-run jq -n '[range(10000)] | length' >out 2>err
  [ "$(cat out)" = 10000 ]
  [ "$(wc -l <err)" = 1 ]
  jq -e '.counters.refill_blocks > 100 and .counters.misuse == 0 and (.pid > 0)' err
}
