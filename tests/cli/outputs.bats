# What every command that writes promises of its outputs: a name that is no regular file is never replaced, and what
# cannot be written is said, with a status.

bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_TMPDIR"
  PATH=$HAKMEM_BIN:$PATH
  trace=$HAKMEM_SOURCE/traces/jq.trace.gz
  mkfifo fifo
}

# Reads the pipe to its end into a file while a command writes to it.
through() {
  cat fifo > "$1" &
  local reader=$!
  shift
  "$@" > out 2> err || { kill "$reader"; cat err; return 1; }
  wait "$reader"
  [ -p fifo ]
}

@test "a pipe, as any device, is written to and stays" {
  through folded hakmem-report --export=folded:fifo "$trace"
  grep -q ';' folded
  through page hakmem-report --html=fifo "$trace"
  grep -q '</html>' page
  through replayed hakmem-replay --rounds=1 --repeats=1 --plain --target=null --html=fifo "$trace"
  grep -q '</html>' replayed
}

@test "a policy or a trace does not take the place of a device" {
  printf 'hakmem-policy 1\nstate frozen\n' > a.txt
  run --separate-stderr hakmem-policy compile -o fifo a.txt
  [ "$status" -eq 2 ]
  [ "$stderr" = "hakmem-policy: 'fifo': exists and is not a regular file" ]
  run -0 hakmem-trace -f -o fifo true
  [[ "$output" == *"'fifo': exists and is not a regular file"* ]]
  [ -p fifo ]
}

@test "a full device is said, with the status of trouble" {
  printf 'hakmem-policy 1\nstate frozen\n' > a.txt
  for command in "hakmem-report $trace" "hakmem-report --json $trace" "hakmem-report --help" "hakmem-policy --help" \
      "hakmem-policy --version" "hakmem-policy show a.txt" "hakmem-policy decompile a.txt" "hakmem-replay --help" \
      "hakmem-replay --version" "hakmem-replay import --help" "hakmem-replay merge --help" \
      "hakmem-replay --rounds=1 --repeats=1 --plain --target=null $trace" \
      "hakmem-report --export=folded:/dev/full $trace"; do
    status=0
    $command > /dev/full 2> err || status=$?
    [ "$status" -eq 2 ] || { echo "$command: $status"; cat err; return 1; }
    grep -q "No space left on device" err || { echo "$command"; cat err; return 1; }
  done
  for command in "hakmem-trace --help" "hakmem-run --help" "hakmem-trace --version" "hakmem-run --version"; do
    status=0
    $command > /dev/full 2> err || status=$?
    [ "$status" -eq 125 ]
    grep -q "No space left on device" err
  done
}

@test "the option that is refused is named, in a cluster too" {
  for command in "hakmem-run -sZ" "hakmem-trace -qZ" "hakmem-replay -qZ" "hakmem-report -qZ" "hakmem-replay import -qZ"; do
    run $command x
    [[ "$output" == *"-Z"*"--help" ]] || { echo "$command: $output"; return 1; }
    run ${command% -*} --nonsense x
    [[ "$output" == *"--nonsense"*"--help" ]]
  done
}

@test "a verb's --help is help" {
  run -0 hakmem-policy show --help
  [[ "$output" == Examples:* ]]
}

@test "a condition or a baseline that makes no sense is refused before anything is measured" {
  echo '{}' > old.json
  run -2 --separate-stderr hakmem-replay --baseline=old.json '--fail-if=rss<2' "$trace"
  [ -z "$output" ]
  run -2 --separate-stderr hakmem-replay --baseline=old.json '--fail-if=rss>2' "$trace"
  [ -z "$output" ]
}
