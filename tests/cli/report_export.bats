# What hakmem-report exports, read by the programs it is for. A reader that is not installed skips its test and says so.
bats_require_minimum_version 1.5.0

load report_app

needs() { # needs PROGRAM
    command -v "$1" >/dev/null || skip "$1 is not installed"
}

@test "folded stacks add up" {
    run "$report" --export=folded:- --sort=bytes "$data/app.gz"
    [ "$status" -eq 0 ]
    [ "$(awk '{ sum += $NF } END { print sum }' <<< "$output")" -eq 18950 ]
    [[ "$output" == *"main;Cache::add(int) 12750"* ]]
    "$report" --export=folded:calls.txt --sort=calls "$data/app.gz"
    [ "$(awk '{ sum += $NF } END { print sum }' calls.txt)" -eq 101 ]
}

@test "pprof: go tool pprof reads it" {
    needs go
    "$report" --export=pprof:app.pb.gz "$data/app.gz"
    gzip -t app.pb.gz
    run go tool pprof -top -unit=B -sample_index=peak_space app.pb.gz
    [ "$status" -eq 0 ]
    [[ "$output" == *"Type: peak_space"*"17740B total"* ]]
    [[ "$output" =~ 12740B\ +71.8[0-9]%.*Cache::add ]]
    run go tool pprof -lines -top -sample_index=alloc_objects app.pb.gz
    [[ "$output" == *"51 50.50%"*"temp"*"app.cc:13"* ]]
    run go tool pprof -raw app.pb.gz
    [[ "$output" == *"alloc_objects/count alloc_space/bytes[dflt] inuse_objects/count inuse_space/bytes peak_objects/count peak_space/bytes"* ]]
    [[ "$output" == *"Mappings"*"1: "*"/app "* ]]
}

@test "heaptrack: heaptrack_print reads it" {
    needs heaptrack_print
    "$report" --export=heaptrack:app.ht.gz "$data/app.gz"
    run heaptrack_print -f app.ht.gz
    [ "$status" -eq 0 ]
    [[ "$output" == *"calls to allocation functions: 101 "* ]]
    [[ "$output" == *"peak heap memory consumption: 17.74K"* ]]
    [[ "$output" == *"total memory leaked: 17.72K"* ]]
    [[ "$output" == *"Cache::add(int)"*"at "*"app.cc:9"* ]]
}

@test "speedscope: its schema takes it, and weights add up" {
    python3 -c 'import jsonschema' 2>/dev/null || skip "python3-jsonschema is not installed"
    "$report" --export=speedscope:app.json "$data/app.gz"
    python3 - "$BATS_TEST_DIRNAME/readers/speedscope.schema.json" <<'END'
import json, sys, warnings
import jsonschema
file = json.load(open("app.json"))
jsonschema.validate(file, json.load(open(sys.argv[1])))
sums = {p["name"]: sum(p["weights"]) for p in file["profiles"]}
assert sums == {"bytes": 18950, "calls": 101, "peak": 17740, "live": 17720, "temporary": 50}, sums
for p in file["profiles"]:
    assert p["endValue"] == sum(p["weights"]) and len(p["samples"]) == len(p["weights"])
    assert all(f < len(file["shared"]["frames"]) for s in p["samples"] for f in s)
END
}

@test "dhat: valgrind's viewer reads it" {
    needs node
    [ -e /usr/libexec/valgrind/dh_view.js ] || skip "valgrind is not installed"
    "$report" --export=dhat:app.dhat "$data/app.gz"
    run node "$BATS_TEST_DIRNAME/readers/dhat.js" app.dhat
    [ "$status" -eq 0 ]
    [ "$output" = "18950 101 17740 17720" ]
}

@test "callgrind: callgrind_annotate reads it" {
    needs callgrind_annotate
    "$report" --export=callgrind:app.callgrind "$data/app.gz"
    run callgrind_annotate --inclusive=yes --threshold=100 app.callgrind
    [ "$status" -eq 0 ]
    [[ "$output" =~ 18,950\ \(100.0%\)\ +101\ \(100.0%\)\ +17,740\ \(100.0%\)\ +17,720\ \(100.0%\)\ +50\ \(100.0%\)\ +PROGRAM ]]
    [[ "$output" == *"12,750 (67.28%)"*"Cache::add(int)"* ]]
}

@test "massif: ms_print reads it" {
    needs ms_print
    "$report" --export=massif:app.massif "$data/app.gz"
    run ms_print app.massif
    [ "$status" -eq 0 ]
    [[ "$output" == *"(peak)"* ]]
    [[ "$output" == *"71.82% (12,740B) 0x"*": Cache::add(int) ("*"app.cc:9)"* ]]
}

@test "a file is whole or not there" {
    run "$report" --export=folded:/nowhere/x "$data/app.gz"
    [ "$status" -eq 2 ]
    [[ "$output" == "hakmem-report: '/nowhere/x': No such file or directory" ]]
    run "$report" --export=nonsense:x "$data/app.gz"
    [ "$status" -eq 2 ]
    [[ "$output" == *"--export knows pprof, heaptrack, folded, speedscope, dhat, callgrind, massif"* ]]
    run "$report" --export=massif:x "$data/app.gz" "$data/app.gz"
    [ "$status" -eq 2 ]
    [ ! -e x ]
    run bash -c "'$report' --export=folded:- '$data/app.gz' > /dev/full"
    [ "$status" -eq 2 ]
    [ -z "$(ls)" ]
}
