#!/usr/bin/env bats
# The recorded traces in traces/: as the manifest says, readable, and replayable.

setup() { export PATH=$HAKMEM_BIN:$PATH; cd "$HAKMEM_SOURCE/traces" || exit 1; }

@test "every trace is in the manifest, unchanged, and holds the events it says" {
  for file in *.trace.gz; do
    row=$(grep -F "| $file |" README.md)
    sum=$(sha256sum "$file" | cut -d ' ' -f 1)
    [[ "$row" == *"| $sum |" ]]
    gzip -t "$file"
    events=$(echo "$row" | sed 's/ *| [0-9a-f]* |$//; s/.*| //')
    [ "$events" -gt 1000 ]
    said=$(hakmem-report --verify "$file")
    echo "$said"
    [[ "$said" == *"$events events"* ]]
  done
  [ "$(ls ./*.trace.gz | wc -l)" -eq 4 ]
}

@test "the report names what was recorded" {
  hakmem-report sqlite3.trace.gz | grep -q sqlite3
  hakmem-report threads.trace.gz | grep -q '41 threads'
}

@test "every trace replays, threads and all" {
  for file in *.trace.gz; do hakmem-replay --rounds=1 --target=null,glibc "$file"; done
}
