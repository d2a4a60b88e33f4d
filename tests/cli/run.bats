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

@test "a static program is refused with the reason" {
  echo 'int main(void){return 0;}' >s.c
  cc -static -o s s.c || skip "no static libc"
  run hakmem-run ./s
  [ "$status" -eq 125 ]
  [[ "$output" == *"statically linked"* ]]
}

@test "counters at exit" {
  hakmem-run --stats jq -n 1 >/dev/null 2>err
  grep -q free_tls_sll err
}
