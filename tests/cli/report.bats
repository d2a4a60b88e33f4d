# hakmem-report on traces made from text, of a program whose addresses we know.
bats_require_minimum_version 1.5.0

load report_app

@test "the summary tells totals, peak, what was never freed and the temporary share" {
    run --separate-stderr "$report" "$data/app.gz"
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
    [[ "${lines[0]}" == "app (4711) 60 ms  101 allocations  18.5 KiB in all  peak heap 17.3 KiB  peak RSS 977 KiB" ]]
    [[ "${lines[1]}" == *"never freed 17.3 KiB in 49 blocks  temporary 50%  peak at 60 µs  2 threads" ]]
}

@test "sites have function, file and line; wrappers are looked through" {
    run "$report" "$data/app.gz"
    [[ "$output" == *"to exit       –  Cache::add  app.cc:9 ← main"* ]]
    [[ "$output" == *"98%   192 ns       1  temp  app.cc:13 ← main"* ]]
    [[ "$output" != *xmalloc* ]]
    run "$report" --wrappers "$data/app.gz"
    [[ "$output" == *"xmalloc  app.cc:5 ← Cache::add ← main"* ]]
    run "$report" --frames=1 "$data/app.gz"
    [[ "$output" == *"Cache::add  app.cc:9"* && "$output" != *"←"* ]]
}

@test "each order puts its greatest first" {
    first() { "$report" --csv --sort="$1" "$data/app.gz" | sed -n 2p; }
    [[ "$(first calls)" == *temp* ]]
    [[ "$(first bytes)" == *Cache::add* ]]
    [[ "$(first peak)" == *Cache::add* ]]
    [[ "$(first live)" == *Cache::add* ]]
    [[ "$(first temporary)" == *temp* ]]
    [[ "$(first lifetime)" == *Cache::add* ]]
    [[ "$(first copied)" == *temp* ]]
    [[ "$(first cross-thread)" == *Cache::add* ]]
    [ "$("$report" --csv --top=1 "$data/app.gz" | wc -l)" -eq 2 ]
}

@test "json holds every figure" {
    "$report" --json "$data/app.gz" > result.json
    json "r['schema'] == 1 and t['pid'] == 4711 and t['allocations'] == 101 and t['frees'] == 51"
    json "t['allocated_bytes'] == 12750 + 50 * 24 + 5000 and t['peak_bytes'] == 12740 + 5000"
    json "t['live_bytes'] == 12720 + 5000 and t['live_blocks'] == 49 and t['temporary'] == 50"
    json "t['peak_rss_bytes'] == 1000000 and len(t['threads']) == 2 and t['threads'][1]['frees_of_others'] == 1"
    json "sum(s['calls'] for s in r['sites']) == 101 and sum(s['at_peak_bytes'] for s in r['sites']) == 17740"
    json "sum(s['calls'] for s in t['sizes']) == 101 and t['sizes'][0] == {'up_to': 16, 'calls': 1, 'bytes': 10}"
    json "t['operations'] == {'malloc': 100, 'realloc': 1, 'free': 51}"
    json "r['sites'][0]['frames'][0]['function'] == 'Cache::add(int)' and r['sites'][0]['frames'][0]['line'] == 9"
    json "r['sites'][0]['life_p50_ns'] is None and r['sites'][0]['freed_remotely'] == 1"
    json "max(p[1] for p in t['heap']) == t['peak_bytes']"
}

@test "without names a site is module and offset; a changed file is told and not believed" {
    cd "$data" && trace_of stripped 5 > "$BATS_TEST_TMPDIR/s.txt" && cd "$BATS_TEST_TMPDIR"
    { cat s.txt; echo "end 5"; } | "$HAKMEM_BIN/make_trace" s.gz
    run "$report" s.gz
    [ "$status" -eq 0 ]
    [[ "$output" == *"stripped+0x4"* ]]
}

@test "several traces become one table" {
    "$report" --json "$data/app.gz" "$data/app.gz" > result.json
    json "len(r['traces']) == 2 and len(r['sites']) == 2 and sum(s['calls'] for s in r['sites']) == 202"
    run "$report" "$data/app.gz" "$data/app.gz"
    [ "$(grep -c '(4711)' <<< "$output")" -eq 2 ]
}

@test "a tree of processes: children stand below their parents, the greatest heaps are chosen" {
    for i in 1 2 3; do
        printf 'malloc 1 %d 0x10\nend 9\n' $((i * 100)) | "$HAKMEM_BIN/make_trace" "$i.gz"
    done
    run "$report" --sites 1.gz 2.gz 3.gz
    [[ "$output" == "3 processes  3 allocations  600 B in all  sum of their peak heaps 600 B"* ]]
    run "$report" --sites --top=1 1.gz 2.gz 3.gz
    [[ "$output" == *"300 B     300 B"*"2 more with smaller heaps (--top=0 shows all)"* ]]
}

@test "verify: whole is 0, anything else is 2 and says where" {
    run --separate-stderr "$report" --verify "$data/app.gz"
    [ "$status" -eq 0 ]
    [[ "$output" == *"app.gz: whole: 152 events, 2 threads, 4 contexts, 1 modules, 0 events lost" ]]
    head -c -1 "$data/app.gz" > cut.gz
    run --separate-stderr "$report" --verify cut.gz "$data/app.gz"
    [ "$status" -eq 2 ]
    [[ "$stderr" == "hakmem-report: 'cut.gz': cut off after event 152 (last member incomplete at byte "*"; use --partial"* ]]
    [[ "$output" == *whole* ]]
    cp "$data/app.gz" bad.gz
    printf x | dd of=bad.gz bs=1 seek=300 conv=notrunc status=none
    run "$report" --verify bad.gz
    [ "$status" -eq 2 ]
    [[ "$output" == *"'bad.gz': damaged after event 0 (member does not match its checksum or length at byte "* ]]
}

@test "partial uses what is whole of a killed recording and says so" {
    "$HAKMEM_BIN/make_trace" killed.gz < <(sed '$d' "$data/app.txt"; echo flush)
    [ ! -e killed.gz ]
    run "$report" killed.gz.part
    [ "$status" -eq 2 ]
    [[ "$output" == *"cut off after event 152"*"use --partial"* ]]
    run --separate-stderr "$report" --partial killed.gz.part
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == *"101 allocations"* ]]
    [[ "$stderr" == *"'killed.gz.part': cut off after event 152"* ]]
    run --separate-stderr "$report" -q --partial killed.gz.part
    [ -z "$stderr" ]
}

@test "names from a trace never reach the terminal raw" {
    printf 'head /tmp/evil\033[2Jx\xff 1\nthread 1 n\033]0;x\007\nmalloc 1 1\nthread 2 b\nfree 1\nend 5\n' |
        "$HAKMEM_BIN/make_trace" evil.gz
    run "$report" evil.gz
    [ "$status" -eq 0 ]
    [[ "$output" == *'evil\x1b[2Jx\xff'* ]]
    [[ "$output" != *$'\033'* ]]
    "$report" --json evil.gz > result.json
    json "t['program'] == '/tmp/evil\x1b[2Jx\ufffd'"
    cp evil.gz "$(printf 'a\033b')"
    run "$report" --partial "$(printf 'a\033b')" /nowhere
    [[ "$output" == "hakmem-report: '/nowhere': cannot be opened: No such file or directory" ]]
}

@test "what is no trace is refused with status 2" {
    : > empty
    echo hello > text
    echo hello | gzip > other.gz
    zcat "$data/app.gz" | gzip > again.gz
    mkfifo pipe
    for f in empty text other.gz again.gz pipe . /dev/zero nowhere; do
        run --separate-stderr timeout 10 "$report" "$f"
        [ "$status" -eq 2 ]
        [ -z "$output" ]
        [[ "$stderr" == "hakmem-report: '$f': "* ]]
    done
}

@test "every view fits the terminal" {
    for columns in 60 80 200; do
        for view in --sites --tree --invert --function=main --leaks --temporary --lifetimes --growers --sizes --threads \
            --sort=fragmentation --frames=16 "--wrappers $data/app.gz" "--diff $data/app.gz"; do
            # shellcheck disable=SC2086
            COLUMNS=$columns run "$report" $view "$data/app.gz"
            [ "$status" -eq 0 ]
            while IFS= read -r line; do
                [ "${#line}" -le "$columns" ] || [[ "$line" == "    hakmem-"* ]]
            done <<< "$output"
        done
    done
    run env TERM=xterm "$report" --color=always "$data/app.gz"
    [[ "$output" == *$'\033[1m'* ]]
    run env "$report" "$data/app.gz"
    [[ "$output" != *$'\033'* ]]
}

@test "options: help begins with examples, wrong ones are named, full output is noticed" {
    run "$report" --help
    [ "$status" -eq 0 ]
    [[ "${lines[1]}" == "  hakmem-report app.trace.gz"* ]]
    run "$report" --version
    [[ "$output" == "hakmem-report "*"trace format 1"* ]]
    run "$report"
    [ "$status" -eq 2 ]
    run "$report" --sort=nonsense "$data/app.gz"
    [ "$status" -eq 2 ]
    for wrong in '--json --csv' '--csv --tree' '--verify --tree' '--at=peak --to=1s' '--from=2s --to=1s' '--json --function=main' \
        '--suppressions=/dev/null' "--diff --tree $data/app.gz" "--diff --csv $data/app.gz" '--diff' "--symbolize $data/app.gz"; do
        # shellcheck disable=SC2086
        run --separate-stderr "$report" $wrong "$data/app.gz"
        [ "$status" -eq 2 ]
        [ -z "$output" ]
        [[ "$stderr" == "hakmem-report: --"*"; see hakmem-report --help" ]]
    done
    run "$report" --top=-1 "$data/app.gz"
    [ "$status" -eq 2 ]
    [[ "$output" == "hakmem-report: --top takes a number: --top=-1; see hakmem-report --help" ]]
    run bash -c "'$report' '$data/app.gz' > /dev/full"
    [ "$status" -eq 2 ]
    [[ "$output" == *"No space left"* ]]
}
