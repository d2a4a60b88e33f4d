# What the files about hakmem-trace share: the scenes of tests/tools/scenes.c, run without and with a recorder.

scenes_setup() {
  export PATH=$HAKMEM_BIN:$PATH LC_ALL=C.UTF-8
  scenes=$HAKMEM_BIN/scenes
  cd "$BATS_TEST_TMPDIR" || exit 1
}

# same TRACE SCENE ARGUMENTS…: output, errors and status of the scene are what they are without a recorder.
same() {
  local trace=$1 plain=0 traced=0
  shift
  "$scenes" "$@" >plain.out 2>plain.err </dev/null || plain=$?
  hakmem-trace -q -f -o "$trace" "$scenes" "$@" >traced.out 2>traced.err </dev/null || traced=$?
  diff plain.out traced.out
  diff plain.err traced.err
  echo "status $plain, traced $traced"
  [ "$plain" -ne 99 ]
  [ "$plain" -eq "$traced" ]
}

# whole TRACE…: every byte is right and no event is missing.
whole() {
  local file said
  for file; do
    said=$(hakmem-report --verify "$file")
    echo "$said"
    [[ "$said" == *" 0 events lost"* ]]
  done
}

# marked TRACE…: how many marked blocks they hold together.
marked() { hakmem-report -q --json --top=1 "$@" | operations valloc; }
operations() { grep -o "\"$1\":[0-9]*" | cut -d : -f 2 | awk '{ n += $1 } END { print n + 0 }'; }

# until_true SECONDS COMMAND…
until_true() {
  local left=$(($1 * 20))
  shift
  until "$@" 2>/dev/null; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || return 1
    sleep 0.05
  done
}
