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

@test "a child's first allocation has no other chance than any" {
  cat >c.c <<'END'
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
  for (int i = 0; i < 40; i++) {
    if (fork() == 0) { void *volatile p = malloc(8); _exit(p == 0); }
    wait(0);
  }
}
END
  cc -O1 -o c c.c
  hakmem-trace -q --sample=100M -o c.gz ./c
  sum=0
  for file in ./*.gz; do sum=$((sum + $(total "$file" allocations))); done
  [ "$sum" -eq 0 ]
}

@test "what no allocator can hold does not disturb the sampling" {
  cat >h.c <<'END'
#include <stdint.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  (void)argv;
  size_t huge[] = {SIZE_MAX, SIZE_MAX / 2 + (size_t)argc, SIZE_MAX / 2, SIZE_MAX - 4096 * (size_t)argc};
  for (int i = 0; i < 4; i++) {
    void *volatile p = malloc(huge[i]);
    if (p != 0 || (p = calloc(huge[i], 3)) != 0 || (p = realloc(0, huge[i])) != 0) return 1;
  }
  for (int i = 0; i < 100000; i++) { void *volatile p = malloc(100); free(p); }
  for (int i = 0; i < 100000; i++) { void *volatile p = malloc(0); free(p); }
}
END
  cc -O1 -w -o h h.c
  hakmem-trace -q --sample=4k -o h.gz ./h
  whole h.gz
  /usr/bin/python3 -c "assert abs($(total h.gz allocated_bytes) / 1e7 - 1) < 0.15"
}
