#!/usr/bin/env bats
# hakmem-trace --sample: few events, totals that are right on average.

load scenes.bash
setup() { scenes_setup; }

# total FILE FIELD
total() { hakmem-report -q --json --top=1 "$1" | grep -o "\"$2\":[0-9]*" | head -n 1 | cut -d : -f 2; }

@test "totals of a sample are those of the whole, within their deviation" {
  same all.gz work 1 400000
  plain=$?
  for i in 1 2 3 4; do
    hakmem-trace -q --sample=16k -o "s$i.gz" "$scenes" work 1 400000 >out.txt || [ $? -eq 6 ]
    [ "$(cat out.txt)" = worked ]
    whole "s$i.gz"
    [ "$(total "s$i.gz" sample_bytes)" -eq 16384 ]
    [ "$(total "s$i.gz" events)" -lt $(($(total all.gz events) / 4)) ]
  done
  for field in allocations allocated_bytes frees; do
    # 50,000 samples in each of four: a deviation of 0.5 % for bytes, more for calls of small blocks
    sum=0
    for i in 1 2 3 4; do sum=$((sum + $(total "s$i.gz" $field))); done
    echo "$field: whole $(total all.gz $field), mean of samples $((sum / 4))"
    /usr/bin/python3 -c "assert abs($sum / 4 / $(total all.gz $field) - 1) < 0.05"
  done
  hakmem-report s1.gz | grep -q 'estimated from a sample every 16'
}

@test "what is left at the end is estimated, too" {
  hakmem-trace -q --sample=4k -o s.gz "$scenes" hoard 1000000 >/dev/null
  whole s.gz
  /usr/bin/python3 -c "assert abs($(total s.gz live_bytes) / 16e6 - 1) < 0.1, $(total s.gz live_bytes)"
  [ "$(total s.gz frees)" -lt 100 ]
}

@test "threads, forks and exec are sampled each" {
  same t.gz threads 100
  hakmem-trace -q --sample=1k -f -o t.gz "$scenes" threads 100 >/dev/null
  whole t.gz
  hakmem-trace -q --sample=512 -o f.gz "$scenes" fork_tree 2 2
  whole ./f*.gz
  [ "$(ls ./f*.gz | wc -l)" -eq 7 ]
  run hakmem-trace --sample=none true
  [ "$status" -eq 125 ]
}
