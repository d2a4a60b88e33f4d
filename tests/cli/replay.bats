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
    "$replay" --rounds=1 --repeats=2 --target=null one.gz # asked for alone, it is enough
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
        for touch in pages none whole use; do
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

@test "what serves the trace best, beyond noise" {
    "$replay" --json --plain --rounds=5 --repeats=2 --target=glibc,glibc:A=1 one.gz > result.json
    json "r['traces'][0]['best']['time']['name'].startswith('glibc') and len(r['traces'][0]['best']['rss']['as_good']) <= 1"
    json "'mode' not in r['traces'][0]['best']"
    run "$replay" --plain --rounds=5 --repeats=2 --target=glibc,glibc:A=1 one.gz
    [[ "$output" == *"BEST HERE"*"least time        glibc"*"least memory      glibc"* ]]
    run "$replay" --plain --rounds=5 --repeats=2 --target=glibc one.gz
    [[ "$output" != *"BEST HERE"* ]]
    run "$replay" --plain --rounds=3 --repeats=2 --target=glibc,glibc:A=1 one.gz
    [[ "$output" != *"BEST HERE"* ]]
    [ -e "$HAKMEM_LIB/libhakmem.so" ] || skip "no libhakmem.so in a sanitizer build"
    run "$replay" --plain --rounds=5 --repeats=2 --mode=balanced,fast one.gz
    [[ "$output" == *"HAKMEM_MODE       "[bf]a* ]]
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

@test "a sampled trace is refused: it says nothing of the program's time or memory" {
    [ -x "$HAKMEM_BIN/hakmem-trace" ] || skip "no recorder in this build"
    "$HAKMEM_BIN/hakmem-trace" -q --sample=1k -o sampled.gz sort --parallel=1 /etc/services > /dev/null
    run "$replay" --rounds=1 --target=glibc sampled.gz
    [ "$status" -eq 2 ]
    [[ "$output" == "hakmem-replay: 'sampled.gz': holds a sample of the calls"* ]]
}

@test "an allocator that uses restartable sequences is replayed with the kernel's threads" {
    printf '#include <stdlib.h>\nextern void *__libc_malloc(size_t); extern const unsigned __rseq_size;\n
void *malloc(size_t s) { return __libc_malloc(s + 0 * __rseq_size); }\n' > rseq.c
    cc -shared -fPIC -fno-builtin -o rseq.so rseq.c
    "$replay" --json --plain --rounds=1 --repeats=1 --target=glibc,./rseq.so many.gz > result.json
    json "all('problem' not in t and t['failed_allocations'] == 0 for t in r['targets'])"
}

@test "latency, memory over time and system calls of each target, and that peaks are reached" {
    "$HAKMEM_BIN/make_program" big.gz 50000 3 20 3 4000000
    "$replay" --json --rounds=1 --repeats=1 --order=strict --touch=whole --target=glibc big.gz > result.json
    json "r['targets'][1]['latency']['malloc']['count'] > 1000 and r['targets'][1]['latency']['free']['p99'] > 0"
    json "r['targets'][1]['latency']['clock_step'] > 0"
    json "all(l['p50'] <= l['p99'] <= l['p999'] for l in r['targets'][1]['latency'].values() if isinstance(l, dict))"
    json "r['targets'][1]['replayed_live_max_bytes'] == r['traces'][0]['live_max_bytes']"
    json "r['targets'][1]['system_calls'] is None or sum(r['targets'][1]['system_calls'].values()) > 0"
    json "r['targets'][1]['rss_mean_bytes'] > 0 and len(r['targets'][1]['samples']) > 3"
    json "max(s[2] for s in r['targets'][1]['samples']) <= r['targets'][1]['replayed_live_max_bytes']"
    json "'latency' not in r['targets'][0]"
    run "$replay" --rounds=1 --repeats=1 --target=glibc one.gz
    [[ "$output" == *"LATENCY"*"p99.9"*"malloc"* && "$output" == *"SYSTEM CALLS"* && "$output" == *"clock steps by"* ]]
    run "$replay" --plain --rounds=1 --repeats=1 --target=glibc one.gz
    [[ "$output" != *"LATENCY"* ]]
}

@test "--aa measures the baseline twice; --jobs measures all all the same" {
    "$replay" --json --plain --jobs=3 --aa --rounds=4 --repeats=1 --target=glibc,glibc:A=1 --target=glibc:A=2 one.gz > result.json
    json "[t['name'] for t in r['targets']] == ['null', 'glibc', 'glibc:A=1', 'glibc:A=2', 'glibc again']"
    json "all(t['rounds'] == 4 for t in r['targets']) and 'low' in r['targets'][4]['time']"
}

@test "a page that needs no network" {
    "$replay" -q --rounds=1 --repeats=1 --html=page.html --target=glibc many.gz > /dev/null
    grep -q '<!DOCTYPE html>' page.html
    grep -q 'Latency of malloc' page.html
    grep -q 'Resident memory over time' page.html
    ! grep -E 'https?://' page.html || false
    python3 -c "
import html.parser
class Check(html.parser.HTMLParser):
    open = []
    def handle_starttag(self, tag, attrs):
        if tag not in ('meta', 'input', 'line', 'polyline'): self.open.append(tag)
    def handle_endtag(self, tag):
        if tag not in ('line', 'polyline'): assert self.open.pop() == tag, tag
c = Check(); c.feed(open('page.html').read()); assert not c.open"
}

@test "a result of before is a budget: one line and status 1 when it is exceeded" {
    "$replay" --json --plain --rounds=2 --repeats=1 --target=glibc one.gz > old.json
    run --separate-stderr "$replay" --plain --rounds=2 --repeats=1 --target=glibc --baseline=old.json --fail-if='rss>1.5,time>100' one.gz
    [ "$status" -eq 0 ]
    run --separate-stderr "$replay" --plain -q --rounds=2 --repeats=1 --target=glibc --baseline=old.json --fail-if='time>100,rss>0.5' one.gz
    [ "$status" -eq 1 ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    [[ "$stderr" == "hakmem-replay: 'one.gz': glibc: its peak RSS is "*" times the baseline's (limit 0.5)" ]]
    for wrong in 'speed>1' 'rss<1' 'rss>' 'rss>x'; do
        run "$replay" --plain -q --rounds=1 --repeats=1 --target=glibc --baseline=old.json --fail-if="$wrong" one.gz
        [ "$status" -eq 2 ]
    done
    head -c 200 old.json > cut.json
    run "$replay" --plain -q --rounds=1 --repeats=1 --target=glibc --baseline=cut.json --fail-if='rss>1' one.gz
    [[ "$status" -eq 2 && "$output" == *"no JSON"* ]]
    run "$replay" --fail-if='rss>1' one.gz
    [ "$status" -eq 2 ]
}

@test "shards of a measurement, spread by GNU parallel, merge into one" {
    if command -v parallel > /dev/null; then
        parallel -j2 "$replay -q --json --plain --rounds=6 --repeats=1 --shard={}/3 --target=glibc one.gz many.gz > s{}.json" ::: 1 2 3
    else
        for i in 1 2 3; do
            "$replay" -q --json --plain --rounds=6 --repeats=1 --shard=$i/3 --target=glibc one.gz many.gz > s$i.json
        done
    fi
    "$replay" merge --json s3.json s1.json s2.json > result.json
    json "[t['trace'] for t in r['traces']] == ['one.gz', 'many.gz'] and r['rounds'] == 6"
    json "all([u['round'] for u in t['runs']] == [0, 1, 2, 3, 4, 5] for x in r['traces'] for t in x['targets'])"
    json "all(t['ns_per_op'] > 0 and t['peak_rss_bytes'] >= 0 for x in r['traces'] for t in x['targets'])"
    run "$replay" merge s1.json s2.json s3.json
    [[ "$status" -eq 0 && "$output" == *"6 interleaved rounds"* && "$output" == *"all 2 traces"* ]]
    "$replay" --json --plain --rounds=1 --repeats=2 --target=glibc one.gz > other.json
    run "$replay" merge s1.json other.json
    [[ "$status" -eq 2 && "$output" == *"other options"* ]]
}

@test "a compiled trace is kept by the hash of what it was made of" {
    mkdir kept
    "$replay" -q --json --plain --cache=kept --rounds=1 --repeats=1 --target=glibc many.gz > first.json
    [ "$(ls kept/*.workload | wc -l)" -eq 1 ]
    inode=$(stat -c %i kept/*.workload)
    "$replay" -q --json --plain --cache=kept --rounds=1 --repeats=1 --target=glibc many.gz > result.json
    [ "$(stat -c %i kept/*.workload)" = "$inode" ]
    json "r['traces'][0]['threads'] == 24 and r['traces'][0]['program'] == '/usr/bin/made'"
    "$replay" -q --plain --cache=kept --order=edges --rounds=1 --repeats=1 --target=glibc many.gz > /dev/null
    cp one.gz many.gz
    "$replay" -q --json --plain --cache=kept --rounds=1 --repeats=1 --target=glibc many.gz > result.json
    json "r['traces'][0]['threads'] == 1"
    [ "$(ls kept/*.workload | wc -l)" -eq 3 ]
    for file in kept/*.workload; do truncate -s -100 "$file"; done
    "$replay" -q --json --plain --cache=kept --rounds=1 --repeats=1 --target=glibc many.gz > result.json
    json "r['traces'][0]['operations'] > 10000"
}

@test "pace, think time and polluted caches: the waits are not counted" {
    printf '%s\n' "1: malloc 0x10 8 1000 1010" "1: free 0x10 50001000 50001010" "1: malloc 0x20 8 100001000 100001010" > slow.txt
    "$replay" -q --json --plain --rounds=1 --repeats=1 --target=glibc slow.txt > result.json
    json "r['targets'][1]['wall_ns'] < 50e6"
    "$replay" -q --json --plain --rounds=1 --repeats=1 --pace=recorded --target=glibc slow.txt > result.json
    json "r['targets'][1]['wall_ns'] > 95e6 and r['targets'][1]['ns_per_op'] < 2e6"
    "$replay" -q --json --plain --rounds=1 --repeats=1 --think --pollute=64 --target=glibc slow.txt > result.json
    json "1.8e6 < r['targets'][1]['wall_ns'] < 50e6 and r['targets'][1]['ns_per_op'] < 0.6e6"
    printf 'a 0 1\nf 0\n' > untimed.script
    run "$replay" --pace=recorded --target=glibc untimed.script
    [[ "$status" -eq 2 && "$output" == *"has no times"* ]]
}

@test "scripts/shards spreads rounds with GNU parallel and as a Slurm array job" {
    export PATH=$PWD/fake:$HAKMEM_BIN:$PATH
    shards=$BATS_TEST_DIRNAME/../../scripts/shards
    mkdir fake
    # What sbatch --wait --array=1-N --wrap=COMMAND does with a job, on this machine.
    printf '%s\n' '#!/bin/bash' 'for a; do case $a in --array=*) n=${a#--array=1-};; --wrap=*) c=${a#--wrap=};; esac; done' \
        'for ((i = 1; i <= n; i++)); do SLURM_ARRAY_TASK_ID=$i bash -c "$c" || exit 1; done' > fake/sbatch
    chmod +x fake/sbatch
    cp one.gz 'a trace.gz'
    run "$shards" --slurm 3 --rounds=6 --repeats=1 --target=glibc 'a trace.gz'
    [[ "$status" -eq 0 && "$output" == *"6 interleaved rounds"* ]]
    cp shards/all.json result.json
    json "[u['round'] for u in r['targets'][1]['runs']] == [0, 1, 2, 3, 4, 5]"
    run "$shards" 0 one.gz
    [ "$status" -eq 2 ]
    command -v parallel > /dev/null || skip "GNU parallel is not installed"
    run "$shards" 2 --rounds=4 --repeats=1 --target=glibc 'a trace.gz'
    [[ "$status" -eq 0 && "$output" == *"4 interleaved rounds"* ]]
}

@test "wrong options are refused" {
    for wrong in --pace=slow --shard=0/2 --shard=3/2 --jobs=0 --touch=some --rounds=0 --rounds=x --order=none --mode=quick --target=nothing --color=red --what; do
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

@test "the real program beside its replay" {
    [ -e "$HAKMEM_BIN/hakmem-trace" ] || skip "no recorder in a sanitizer build"
    script='my @a = map { "x" x (1 + $_ % 300) } 1..30000; print scalar(@a), "\n";'
    "$HAKMEM_BIN/hakmem-trace" -q -o perl.gz -- perl -e "$script" > /dev/null
    "$replay" -q --json --calibrate --touch=use --rounds=2 --repeats=1 --target=glibc,hakmem:minimal perl.gz -- perl -e "$script" > result.json
    json "[t['name'] for t in r['targets']] == ['glibc', 'hakmem:minimal'] and all(t['runs'] == 2 for t in r['targets'])"
    json "r['pairs'] == 1 and r['rss_told_apart'] <= 1 and -1 <= r['tau_rss_all'] <= 1"
    json "all(0.8 < t['replayed_peak_bytes'] / t['real_peak_bytes'] < 1.25 for t in r['targets'])"
    run "$replay" -q --calibrate --rounds=1 --repeats=1 --target=glibc perl.gz -- perl -e "$script"
    [[ "$status" -eq 0 && "$output" == *"peak memory off by"*"order by memory"*"Kendall tau"* ]]
    run "$replay" -q --calibrate --rounds=1 --target=glibc perl.gz -- false
    [[ "$status" -eq 2 && "$output" == *"'false': 'false' failed with status 1 under glibc"* ]]
    run "$replay" --calibrate perl.gz
    [ "$status" -eq 2 ]
}
