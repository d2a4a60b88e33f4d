# bench_allocators and scripts/larson run; what they measure is for people to judge.
bats_require_minimum_version 1.5.0

@test "every scenario runs, with one thread and with several" {
    for threads in 1 2 5; do
        "$HAKMEM_BIN/bench_allocators" --json --rounds 1 --scale 0.002 --threads $threads --allocator glibc \
            > "$BATS_TEST_TMPDIR/b.json"
        python3 - "$BATS_TEST_TMPDIR/b.json" <<'END'
import json, sys
results = json.load(open(sys.argv[1]))["results"]
assert len(results) == 16, len(results)
for r in results:
    a = r["allocators"][0]
    assert a["runs"] == 1 and a["ns_per_op"] > 0, r
END
    done
}

@test "an allocator that cannot be preloaded is refused" {
    run "$HAKMEM_BIN/bench_allocators" --rounds 1 --scale 0.001 --scenario json --allocator "$HAKMEM_SOURCE/LICENSE"
    [ "$status" -eq 2 ]
    [[ "$output" == *"could not be preloaded"* ]]
}

@test "wrong arguments are refused" {
    for wrong in "--scenario what" "--threads 0" "--rounds x" "--allocator null" "--larson 1"; do
        # shellcheck disable=SC2086
        run "$HAKMEM_BIN/bench_allocators" $wrong
        [ "$status" -eq 2 ]
    done
}

@test "the Larson runner knows its profiles" {
    run "$HAKMEM_SOURCE/scripts/larson" tiny --rounds 1 --scale 0.01 --allocator glibc --threads 2
    [ "$status" -eq 0 ]
    [[ "$output" == *"== tiny"*"larson, 2 threads"* ]]
    run "$HAKMEM_SOURCE/scripts/larson" unknown
    [ "$status" -eq 2 ]
}
