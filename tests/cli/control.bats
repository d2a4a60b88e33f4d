#!/usr/bin/env bats
# hakmem-trace --pid: recordings of running programs that are stopped and started.

load scenes.bash
setup() { scenes_setup; }

teardown() {
  rm -f go
  wait
}

# serve ARGUMENTS OF hakmem-trace…: a program that allocates until ./go is gone; its pid goes to $server.
serve() {
  touch go
  hakmem-trace "$@" "$scenes" until_gone go >out.txt 2>err.txt &
  wrapper=$!
  until_true 10 pgrep -P "$wrapper"
  server=$(pgrep -P "$wrapper")
  sleep 0.3
}

four_live() { [ "$(ls ./*.part 2>/dev/null | wc -l)" -eq 4 ]; }

finish() {
  rm go
  wait "$wrapper"
  cat out.txt err.txt
  [ "$(cat out.txt)" = served ]
}

@test "stop and start: each stretch is a whole trace, the program does not notice" {
  serve -o s.gz
  run hakmem-trace --pid "$server" --stop
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *"wrote s.gz"* ]]
  whole s.gz
  first=$(marked s.gz)
  [ "$first" -gt 0 ]
  hakmem-report s.gz | grep -q 'recording ended on request'
  run hakmem-trace --pid "$server" --stop
  [ "$status" -eq 125 ]
  [[ "$output" == *"not being recorded"* ]]
  sleep 0.5
  run hakmem-trace --pid="$server" --start
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *"recording to s.scenes.$server.gz"* ]]
  run hakmem-trace --pid="$server" --start
  [ "$status" -eq 125 ]
  sleep 0.3
  finish
  [ "$(marked s.gz)" -eq "$first" ]
  whole s.gz s.scenes.*.gz
  [ "$(marked s.scenes.*.gz)" -gt 0 ]
}

@test "stopped and started many times, with threads that allocate all the while" {
  cat >b.c <<'END'
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static void *work(void *unused) {
  while (access("go", F_OK) == 0)
    for (int i = 0; i < 1000; i++) { void *volatile p = malloc(64); free(p); }
  return unused;
}
int main(void) {
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, work, 0);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
  return 5;
}
END
  cc -O1 -pthread -o b b.c
  touch go
  hakmem-trace -q -o b.gz ./b &
  wrapper=$!
  until_true 10 pgrep -P "$wrapper"
  server=$(pgrep -P "$wrapper")
  sleep 0.2
  for i in 1 2 3 4 5; do
    hakmem-trace -q --pid "$server" --stop
    hakmem-trace -q --pid "$server" --start
    sleep 0.1
  done
  rm go
  status=0
  wait "$wrapper" || status=$?
  [ "$status" -eq 5 ]
  [ "$(ls ./*.gz | wc -l)" -eq 6 ]
  whole ./*.gz
}

@test "a tree is stopped and started with its children, or without" {
  cat >t.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void work(void) {
  while (access("go", F_OK) == 0) {
    for (int i = 0; i < 100; i++) { void *volatile p = malloc(64); free(p); }
    usleep(1000);
  }
}
int main(void) {
  for (int i = 0; i < 2; i++)
    if (fork() == 0) {
      if (i == 1) fork();
      work();
      while (wait(0) > 0) continue;
      exit(0);
    }
  work();
  while (wait(0) > 0) continue;
  puts("served");
  return 0;
}
END
  cc -O1 -o t t.c
  touch go
  hakmem-trace -q -o t.gz ./t >out.txt 2>err.txt &
  wrapper=$!
  until_true 10 pgrep -P "$wrapper"
  server=$(pgrep -P "$wrapper")
  until_true 10 four_live
  hakmem-trace --pid "$server" --stop
  [ "$(ls ./*.gz | wc -l)" -eq 1 ]
  run hakmem-trace --pid "$server" --stop --children
  echo "$output"
  [ "$status" -eq 0 ]
  [ "$(grep -c '^hakmem-trace: wrote' <<<"$output")" -eq 3 ]
  [ "$(ls ./*.gz | wc -l)" -eq 4 ]
  [ -z "$(ls ./*.part 2>/dev/null)" ]
  whole ./*.gz
  run hakmem-trace --pid "$server" --stop --children
  [ "$status" -eq 125 ]
  run hakmem-trace --pid "$server" --start --children
  echo "$output"
  [ "$status" -eq 0 ]
  until_true 10 four_live
  finish
  [ "$(ls ./*.gz | wc -l)" -eq 8 ]
  whole ./*.gz
}

@test "paused from the beginning: nothing is recorded before the start" {
  serve --paused -o p.gz
  [ -z "$(ls ./*.gz* 2>/dev/null)" ]
  grep -q 'nothing is recorded yet' err.txt
  hakmem-trace --pid "$server" --start
  sleep 0.3
  finish
  whole p.gz
  [ "$(marked p.gz)" -gt 0 ]
}

@test "a program that had the library preloaded by hand" {
  touch go
  LD_PRELOAD="$HAKMEM_LIB/libhakmem-trace.so" HAKMEM_TRACE_OUTPUT=h.gz HAKMEM_TRACE_PAUSED=1 "$scenes" until_gone go >out.txt &
  server=$!
  sleep 0.5
  [ -z "$(ls ./*.gz* 2>/dev/null)" ]
  hakmem-trace --pid "$server" --start
  sleep 0.2
  run hakmem-trace --pid "$server" --stop
  echo "$output"
  [ "$status" -eq 0 ]
  whole ./*.gz
  [ "$(marked ./*.gz)" -gt 0 ]
  rm go
  wait "$server"
  [ "$(cat out.txt)" = served ]
}

@test "who is not there, or is not ours, is not stopped" {
  sleep 30 &
  other=$!
  run hakmem-trace --pid "$other" --stop
  kill "$other"
  [ "$status" -eq 125 ]
  [[ "$output" == *"no collector knows it"* ]]
  run hakmem-trace --pid 4711
  [ "$status" -eq 125 ]
  run hakmem-trace --children ls
  [ "$status" -eq 125 ]
  run hakmem-trace --stop ls
  [ "$status" -eq 125 ]
}
