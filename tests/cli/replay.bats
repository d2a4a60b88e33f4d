# hakmem-replay on made traces.
bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR"
    replay=$HAKMEM_BIN/hakmem-replay
    "$HAKMEM_BIN/make_program" one.gz 20000 1 0
    "$HAKMEM_BIN/make_program" many.gz 20000 24 40
}

json() { # json EXPRESSION: of result.json, which is `r`
    python3 -c "import json, sys; r = json.load(open('result.json')); sys.exit(0 if ($1) else 1)"
}

@test "a table with every target, and what the replayer itself costs" {
    run --separate-stderr "$replay" --rounds=1 --repeats=2 --target=glibc one.gz
    [ "$status" -eq 0 ]
    [[ "$output" == *"one.gz: "*" operations, 1 thread"* ]]
    [[ "$output" == *"null "* ]]
    [[ "$output" == *"glibc "* ]]
    [[ "$output" == *"replayer's own"* ]]
    [ -z "$stderr" ]
}

@test "json holds the figures of each target" {
    "$replay" --json --rounds=5 --repeats=2 --target=glibc many.gz > result.json
    json "r['schema'] == 1 and r['traces'][0]['threads'] == 24 and r['traces'][0]['cross_thread_frees'] > 100"
    json "[t['name'] for t in r['targets']] == ['null', 'glibc']"
    json "all(t['ns_per_op'] > 0 and t['ns_per_op_first'] > 0 for t in r['targets'])"
    json "r['targets'][1]['peak_rss_bytes'] > 10000 and r['targets'][1]['minor_faults'] > 10"
    json "r['targets'][1]['failed_allocations'] == 0 and len(r['targets'][1]['runs']) == 5"
    json "r['targets'][1]['baseline'] and r['targets'][0]['null']"
}

@test "peak memory is about what was live, not what the replayer uses" {
    "$HAKMEM_BIN/make_program" big.gz 50000 1 0 3 4000000
    "$replay" --json --rounds=1 --touch=whole --target=glibc big.gz > result.json
    json "0.9 < r['targets'][1]['peak_rss_bytes'] / r['traces'][0]['live_max_bytes'] < 2"
}

@test "every order and every way of touching replays every call" {
    for order in window edges strict; do
        for touch in pages none whole; do
            "$replay" --json --rounds=1 --repeats=2 --order=$order --touch=$touch --target=glibc many.gz > result.json
            json "r['order'] == '$order' and r['touch'] == '$touch' and r['targets'][1]['failed_allocations'] == 0"
            json "r['rss_valid'] == ('$touch' != 'none')"
        done
    done
    run "$replay" --rounds=1 --repeats=1 --touch=none --target=glibc one.gz
    [[ "$output" == *"not touched"* ]]
}

@test "several traces end in a summary" {
    run "$replay" --rounds=1 --repeats=2 --target=glibc one.gz many.gz
    [ "$status" -eq 0 ]
    [[ "$output" == *"all 2 traces"* ]]
}

@test "a setting may hold commas and colons" {
    "$replay" --json --rounds=1 --repeats=1 --target=glibc,glibc:A_B=x:1,y:2:C=3 one.gz > result.json
    json "[t['name'] for t in r['targets']] == ['null', 'glibc', 'glibc:A_B=x:1,y:2:C=3']"
}

@test "a library that is no allocator is refused, not measured as glibc" {
    run "$replay" --rounds=1 --target="$(ldconfig -p | awk '/libz.so.1 .*x86-64/ { print $NF; exit }')" one.gz
    [ "$status" -eq 2 ]
    [[ "$output" == *"malloc does not come from this library"* ]]
}

@test "an allocator that crashes or hangs is told and the others are measured" {
    printf '#include <stdlib.h>\n#include <unistd.h>\nstatic char a[1 << 24]; static size_t at, n;\n
void *malloc(size_t s) { if (++n == 500) { if (getenv("HANG")) pause(); write(2, "ouch\\n", 5); abort(); } void *p = a + at; at += (s + 15) & ~15ul; return p; }\n
void free(void *p) { (void)p; }\nvoid *calloc(size_t c, size_t s) { return malloc(c * s); }\nvoid *realloc(void *p, size_t s) { (void)p; return malloc(s); }\n
void *memalign(size_t x, size_t s) { (void)x; return malloc(s); }\n' > bad.c
    cc -shared -fPIC -fno-builtin -o bad.so bad.c
    run --separate-stderr "$replay" --rounds=2 --repeats=2 --target=glibc,./bad.so one.gz
    [ "$status" -eq 2 ]
    [[ "$output" == *"glibc "*" 1.00 "* ]]
    [[ "$output" == *"./bad.so"*"crashed with SIGABRT at operation "*"ouch"* ]]
    run --separate-stderr "$replay" --rounds=2 --timeout=1 --target=glibc,./bad.so:HANG=1 one.gz
    [ "$status" -eq 2 ]
    [[ "$output" == *"did not finish within 1 s"* ]]
}

@test "what cannot be read is trouble, with the file's name" {
    run "$replay" nothing.gz
    [ "$status" -eq 2 ]
    [[ "$output" == *"hakmem-replay: 'nothing.gz': "* ]]
    head -c 3000 one.gz > cut.gz
    run "$replay" --target=glibc cut.gz
    [ "$status" -eq 2 ]
    [[ "$output" == *"'cut.gz'"* ]]
    run "$replay" -q
    [ "$status" -eq 2 ]
    run "$replay" /dev/null
    [ "$status" -eq 2 ]
}

@test "wrong options are refused" {
    for wrong in --touch=some --rounds=0 --rounds=x --order=none --mode=quick --target=nothing --color=red --what; do
        run "$replay" "$wrong" one.gz
        [ "$status" -eq 2 ]
        [[ "$output" == *"hakmem-replay: "* ]]
    done
}

@test "help begins with examples; version" {
    run "$replay" --help
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "Examples:" ]
    run "$replay" --version
    [[ "$output" == "hakmem-replay "* ]]
}

@test "the worker is not for people" {
    run "$HAKMEM_BIN/hakmem-replay-worker"
    [ "$status" -eq 2 ]
}

@test "a policy's sites are found by recorded context, in every caller they name" {
    [ -e "$HAKMEM_LIB/libhakmem.so" ] || skip "no libhakmem.so in a sanitizer build"
    { # short-lived blocks from 0x401000 called by 0x402000, long-lived ones by 0x402080, others from elsewhere
        echo "head /usr/bin/made 1"
        echo "module 0x400000 0x500000 0x400000 /usr/bin/made"
        echo "thread 1 main"
        for i in $(seq 300); do
            echo "malloc $i 40 0x401000,0x402080"
            echo "malloc 100000$i 40 0x401000,0x402000"
            echo "malloc 200000$i 40 0x403000"
            echo "free 100000$i"
            echo "free 200000$i"
        done
        echo "end 1000000"
    } | "$HAKMEM_BIN/make_trace" sites.gz
    printf '%s\n' "hakmem-policy 1" "state frozen" "gate 1 1024" "module m0 weight=1000000 path=/opt/made" \
        "site m0+0x1000 up=sp+16 blocks=600 purity=500000 size=40" \
        "  site m0+0x2000 lifetime=short blocks=300 purity=1000000 size=40" \
        "  site m0+0x2080 lifetime=long blocks=300 purity=1000000 size=40" > app.txt
    "$HAKMEM_BIN/hakmem-policy" compile -o app.policy app.txt
    "$replay" --json --rounds=1 --repeats=1 --target=hakmem:fast,hakmem:fast+app.policy sites.gz > result.json
    json "[t['counters'].get('policy_short', 0) for t in r['targets'][1:]] == [0, 300]"
    json "[t['counters'].get('policy_long', 0) for t in r['targets'][1:]] == [0, 300]"
    json "r['targets'][2]['counters']['policy_lookup'] >= 900"
}
