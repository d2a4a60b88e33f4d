#!/usr/bin/env bats
# The whole loop, station by station, on a small sqlite3 job: each test goes on from what the one before has left.

setup_file() {
  export PATH=$HAKMEM_BIN:$PATH LC_ALL=C.UTF-8
  export work=$BATS_FILE_TMPDIR
  unset LD_PRELOAD
  local letter seed=1
  for letter in a b c; do
    /usr/bin/python3 "$HAKMEM_SOURCE/tests/programs/input/statements.py" $seed 400 >"$work/$letter.sql"
    seed=$((seed + 1))
  done
}

setup() { cd "$work" || exit 1; }

sql() { # PREFIX… LETTER: sqlite3 on the letter's statements
  local letter=${*: -1}
  "${@:1:$#-1}" sqlite3 :memory: <"$letter.sql"
}

@test "record: same output, whole gzip, no leftovers" {
  for letter in a b c; do
    sql $letter >plain.out
    sql hakmem-trace -q -f -o $letter.gz $letter >traced.out
    cmp plain.out traced.out
    gzip -t $letter.gz
  done
  run ls
  [[ "$output" != *.part* ]]
}

@test "the trace verifies, and a cut-off or damaged one does not" {
  hakmem-report --verify a.gz
  head -c $(($(stat -c %s a.gz) / 2)) a.gz >cut.gz
  run hakmem-report --verify cut.gz
  [ "$status" -eq 2 ]
  [[ "$output" == hakmem-report:* ]]
  cp a.gz bad.gz
  printf 'XXXX' | dd of=bad.gz bs=1 seek=$(($(stat -c %s a.gz) / 3)) conv=notrunc status=none
  run hakmem-report --verify bad.gz
  [ "$status" -eq 2 ]
}

@test "report: the profile counts what was recorded" {
  hakmem-report --json a.gz >report.json
  /usr/bin/python3 - <<'END'
import json
profile = json.load(open("report.json"))
assert "schema" in profile, profile.keys()
text = json.dumps(profile)
assert "sqlite3" in text
END
  hakmem-report a.gz | grep -q sqlite3
}

@test "replay: every figure that was promised, for every target" {
  hakmem-replay --rounds=2 --target=null,glibc --json a.gz >replay.json
  hakmem-replay --rounds=2 --mode=all --json a.gz >modes.json
  /usr/bin/python3 - <<'END'
import json
for name, expected in (("replay.json", 2), ("modes.json", 5)):
    targets = json.load(open(name))["targets"]
    assert len(targets) >= expected, [t["name"] for t in targets]
    for target in targets:
        assert target["ns_per_op"] > 0, target
        assert target["minor_faults"] >= 0 and target["peak_rss_bytes"] >= 0, target
names = {t["name"] for t in json.load(open("modes.json"))["targets"]}
assert {"hakmem:" + m for m in ("minimal", "fast", "balanced", "learning", "research")} <= names, names
END
}

@test "learn: a policy that validates, or the honest answer" {
  run hakmem-replay --mode=learning --time-limit=8 --seed=3 --holdout=c.gz --export=app.policy a.gz b.gz
  echo "$output"
  [ "$status" -eq 0 ]
  [ -s app.policy ]
  hakmem-policy validate app.policy
  hakmem-policy show app.policy | grep -qi frozen
}

@test "policy: text and compiled form are the same thing" {
  hakmem-policy decompile app.policy -o once.txt
  hakmem-policy compile once.txt -o again.policy
  hakmem-policy decompile again.policy -o twice.txt
  cmp once.txt twice.txt
  cmp app.policy again.policy
}

@test "deploy: same output under the policy, on an input it has not seen" {
  sql c >plain.out
  sql hakmem-run --mode=fast --policy=app.policy --stats c >deployed.out 2>deployed.err
  cmp plain.out deployed.out
  # What the trainer found to pay, if anything, is what the allocator says that it took.
  taken=$(sed -n 's/^hakmem: *policy_settings  *\([0-9]*\).*/\1/p' deployed.err)
  [ "${taken:-0}" -eq "$(grep -c '^set ' once.txt)" ]
}

@test "deploy: a policy with two settings and two size classes proves by counters that it acts" {
  printf 'hakmem-policy 1\nstate frozen\ncreated 1764000000\nprogram sqlite3\nset tiny_refill_count 32\nset purge_delay_ms 64\nclasses 16 32768\n' >made.txt
  hakmem-policy compile made.txt -o made.policy
  sql c >plain.out
  sql hakmem-run --mode=fast --policy=made.policy --stats c >deployed.out 2>deployed.err
  cmp plain.out deployed.out
  cat deployed.err
  grep -Eq 'policy_settings +2 ' deployed.err
  grep -Eq 'policy_classes +2 ' deployed.err
}

@test "a damaged policy is refused before the program starts, and ignored where it is preloaded" {
  cp app.policy bad.policy
  printf 'X' | dd of=bad.policy bs=1 seek=40 conv=notrunc status=none
  run hakmem-run --mode=fast --policy=bad.policy true
  [ "$status" -eq 125 ]
  run env LD_PRELOAD="$HAKMEM_LIB/libhakmem.so" HAKMEM_MODE=fast HAKMEM_POLICY=bad.policy echo fine
  [ "$status" -eq 0 ]
  [[ "$output" == *fine* ]]
  [[ "$output" == *"policy"* ]]
}
