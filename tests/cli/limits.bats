#!/usr/bin/env bats
# Limits, and what becomes of a recording when its surroundings fail: the program goes on, what was written stays readable,
# what is lacking is said.

load scenes.bash
bats_require_minimum_version 1.5.0
setup() { scenes_setup; }

teardown() {
  [ ! -d full ] || umount full 2>/dev/null || true
}

# small_disk MEGABYTES: a file system of that size at ./full.
small_disk() {
  mkdir -p full
  mount -t tmpfs -o "size=$1" none full 2>/dev/null || skip "mounting is not permitted here"
}

# collector_of FILE: the process that has it open.
collector_of() {
  find /proc/[0-9]*/fd -lname "$PWD/$1" 2>/dev/null | head -n 1 | cut -d / -f 3
}

lost_of() { hakmem-report -q --json --partial --top=1 "$1" | grep -o '"events_lost":[0-9]*' | cut -d : -f 2; }

# ---- asked for ----

@test "--max-size stops the recording, never the program; the trace is whole and says what it lacks" {
  run hakmem-trace --max-size=100k -o m.gz "$scenes" work 3 200000
  echo "$output"
  [ "$status" -eq 6 ]
  [[ "$output" == *worked* ]]
  [[ "$output" == *"'m.gz': recording ended at its size limit"* ]]
  [ "$(stat -c %s m.gz)" -le $((101 * 1024)) ]
  hakmem-report --verify m.gz
  [ "$(lost_of m.gz)" -gt 0 ]
}

@test "--duration stops the recording, never the program" {
  run hakmem-trace --duration=1 -o d.gz "$scenes" work 40 2000 50000
  echo "$output"
  [ "$status" -eq 6 ]
  [[ "$output" == *worked* ]]
  hakmem-report --verify d.gz
  [ "$(marked d.gz)" -eq 0 ] # they come at the end, after two seconds
  duration=$(hakmem-report -q --json --top=1 d.gz | grep -o '"duration_ns":[0-9]*' | cut -d : -f 2)
  echo "$duration"
  [ "$duration" -lt 1900000000 ]
}

@test "--drop never waits and counts exactly what it drops" {
  run hakmem-trace --drop -o d.gz "$scenes" hoard 500000
  echo "$output"
  [ "$status" -eq 0 ]
  hakmem-report --verify d.gz
  written=$(hakmem-report -q --json --top=1 d.gz | grep -o '"events":[0-9]*' | cut -d : -f 2)
  hakmem-trace -q -o all.gz "$scenes" hoard 500000
  all=$(hakmem-report -q --json --top=1 all.gz | grep -o '"events":[0-9]*' | cut -d : -f 2)
  echo "$written + $(lost_of d.gz), all $all"
  [ "$all" -gt 500000 ]
  [ "$all" -eq "$((written + $(lost_of d.gz)))" ]
}

@test "--depth keeps that many frames" {
  hakmem-trace -q --depth=3 -o d.gz "$scenes" recursion 500
  whole d.gz
  [ "$(hakmem-report -q --json --frames=16 d.gz | grep -o '"function":"sink_down"' | wc -l)" -le 4 ]
  run hakmem-trace --depth=0 true
  [ "$status" -eq 125 ]
  run hakmem-trace --depth=1025 true
  [ "$status" -eq 125 ]
  hakmem-trace -q --depth=1024 -o deep.gz "$scenes" recursion 900
  whole deep.gz
}

# ---- disks ----

@test "a full disk: the program is unharmed, the reason is said, what was written stays readable" {
  small_disk 600k
  run hakmem-trace -o full/f.gz "$scenes" work 4 500000
  echo "$output"
  [ "$status" -eq 6 ]
  [[ "$output" == *worked* ]]
  [[ "$output" == *"No space left on device"* ]]
  hakmem-report --verify full/f.gz # the end found room
  [ "$(lost_of full/f.gz)" -gt 0 ]
  [ "$(hakmem-report -q --json --top=1 full/f.gz | operations malloc)" -gt 50000 ]
}

@test "a full disk from the start" {
  small_disk 4k
  head -c 8192 /dev/zero >full/zero || true
  run hakmem-trace -o full/f.gz "$scenes" work 1 1000
  echo "$output"
  [ "$status" -eq 6 ]
  [[ "$output" == *worked* ]]
  [[ "$output" == *"No space left on device"* ]]
  [ ! -e full/f.gz ]
}

@test "a read-only folder is refused at once, or the program runs without us" {
  small_disk 64k
  mount -o remount,ro full
  run hakmem-trace -o full/f.gz "$scenes" work 1 1000
  echo "$output"
  [ "$status" -eq 125 ]
  [[ "$output" == *"Read-only file system"* ]]
  run env LD_PRELOAD="$HAKMEM_LIB/libhakmem-trace.so" HAKMEM_TRACE_OUTPUT=full/f.gz "$scenes" work 1 1000
  [ "$status" -eq 6 ]
  [ "$output" = worked ]
}

@test "a limit on file sizes binds the program as without us, and the trace as the disk would" {
  run bash -c "ulimit -f 64; exec $scenes write_big big.txt"
  plain=$status
  [ "$plain" -ne 0 ]
  [ "$(stat -c %s big.txt)" -eq 65536 ]
  rm big.txt
  run bash -c "ulimit -f 64; exec hakmem-trace -o l.gz $scenes write_big big.txt"
  echo "$output"
  [ "$status" -eq "$plain" ]
  [ "$(stat -c %s big.txt)" -eq 65536 ]
  [[ "$output" == *"limit on file sizes"* || "$output" == *written* ]] # where it may raise its own limit, it records
  chmod 777 .
  # Where another user can be, and gets at the commands: not in root's home.
  if setpriv --reuid 65534 --clear-groups test -x "$HAKMEM_BIN/hakmem-trace" -a -w "$PWD"; then
    rm big.txt
    run setpriv --reuid 65534 --clear-groups bash -c "ulimit -f 64; exec hakmem-trace -o n.gz $scenes write_big big.txt"
    echo "$output"
    [ "$status" -eq "$plain" ]
    [ "$(stat -c %s big.txt)" -eq 65536 ]
    [[ "$output" == *"limit on file sizes"* ]]
  fi
}

# ---- the collector ----

@test "the collector is killed: recording ends, the program does not notice, the rest stays readable" {
  touch go
  hakmem-trace -o k.gz "$scenes" until_gone go >out.txt 2>err.txt &
  wrapper=$!
  until_true 10 test -s k.gz.part
  collector=$(collector_of k.gz.part)
  [ "$collector" -ne "$wrapper" ]
  sleep 2.5 # members are ended every second
  kill -9 "$collector"
  rm go
  status=0
  wait "$wrapper" || status=$?
  cat out.txt err.txt
  [ "$status" -eq 0 ]
  [ "$(cat out.txt)" = served ]
  grep -q 'the collector has died' err.txt
  said=$(hakmem-report --verify --partial k.gz.part)
  echo "$said"
  [[ "$said" == *"whole up to the cut"* ]]
  [ "$(hakmem-report -q --json --partial --top=1 k.gz.part | operations valloc)" -gt 100 ]
}

@test "the collector is killed while the program fills its rings: the program goes on after its patience" {
  touch go
  hakmem-trace -o k.gz "$scenes" work 8 300000 >out.txt 2>err.txt &
  wrapper=$!
  until_true 10 test -s k.gz.part
  kill -9 "$(collector_of k.gz.part)"
  status=0
  wait "$wrapper" || status=$?
  cat out.txt err.txt
  [ "$status" -eq 6 ]
  [ "$(cat out.txt)" = worked ]
}

@test "the collector is stopped for a while: nothing is lost" {
  touch go
  hakmem-trace -o s.gz "$scenes" until_gone go >out.txt 2>err.txt &
  wrapper=$!
  until_true 10 test -s s.gz.part
  collector=$(collector_of s.gz.part)
  kill -STOP "$collector"
  sleep 1
  kill -CONT "$collector"
  rm go
  wait "$wrapper"
  cat out.txt err.txt
  whole s.gz
  [ "$(marked s.gz)" -gt 100 ]
}

@test "the collector is stopped and nobody continues it: the wrapper does, at the end" {
  hakmem-trace -o s.gz "$scenes" work 1 3000000 >out.txt 2>err.txt &
  wrapper=$!
  until_true 10 test -s s.gz.part
  kill -STOP "$(collector_of s.gz.part)"
  status=0
  wait "$wrapper" || status=$?
  cat out.txt err.txt
  [ "$status" -eq 6 ]
  [ "$(cat out.txt)" = worked ]
  hakmem-report --verify s.gz # whole, and says what it lacks
}

# ---- what cannot be entered ----

@test "what cannot be preloaded is refused at once, with the reason" {
  echo 'int main(void) { return 0; }' >s.c
  if cc -static -o s s.c 2>/dev/null; then
    run hakmem-trace ./s
    [ "$status" -eq 125 ]
    [[ "$output" == *"statically linked"* ]]
  fi
  cc -o dynamic s.c
  sed 's|/lib64/ld-linux-x86-64.so.2|/lib/ld-musl-x86_64.so.1\x00\x00|' dynamic >musl
  chmod +x musl
  run hakmem-trace ./musl
  echo "$output"
  [ "$status" -eq 125 ]
  [[ "$output" == *musl* ]]
  { head -c 4 dynamic; printf '\1'; tail -c +6 dynamic; } >narrow
  chmod +x narrow
  run hakmem-trace ./narrow
  [ "$status" -eq 125 ]
  [[ "$output" == *"32-bit"* ]]
  if [ "$(id -u)" -eq 0 ]; then
    cp dynamic raised
    chown 65534 raised
    chmod 4755 raised
    run hakmem-trace ./raised
    [ "$status" -eq 125 ]
    [[ "$output" == *setuid* ]]
  fi
  run -127 hakmem-trace ./none
  run hakmem-trace ./s.c
  [ "$status" -eq 126 ]
  [ -z "$(ls ./*.gz ./*.part 2>/dev/null)" ]
}
