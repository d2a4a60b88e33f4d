#!/usr/bin/env bats
# Traces of every released version of the format stay readable for ever, and say the same for ever.

setup() { cd "$HAKMEM_SOURCE/tests/golden" || exit 1; }

@test "every golden trace says what it said when it was made" {
  count=0
  for trace in v*/*.gz; do
    (cd "$(dirname "$trace")" && ../say "$HAKMEM_BIN/.." "$(basename "$trace")") | diff "$trace.txt" -
    count=$((count + 1))
  done
  [ "$count" -ge 8 ]
}

@test "every golden trace that is whole and no sample replays" {
  for trace in v*/*.gz; do
    [[ $trace != */sample.* && $trace != */cut.* ]] || continue
    "$HAKMEM_BIN/hakmem-replay" --rounds=1 --target=null,glibc "$trace"
  done
}

@test "a golden trace is not made anew" {
  run ./make "$HAKMEM_BIN/.." v1
  [ "$status" -eq 1 ]
}
