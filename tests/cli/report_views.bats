# The views, filters and differences of hakmem-report.
bats_require_minimum_version 1.5.0

load report_app

@test "the tree adds up from main down, and from the allocating functions up" {
    run "$report" --tree --sort=calls "$data/app.gz"
    [ "$status" -eq 0 ]
    [[ "$output" == *"CALL TREE"* ]]
    [[ "$output" == *" 100%        101  main  app.cc:19"* ]]
    [[ "$output" == *" 50%         51  ├ temp  app.cc:13"* ]]
    [[ "$output" == *" 50%         50  └ Cache::add  app.cc:9"* ]]
    run "$report" --invert --sort=bytes "$data/app.gz"
    [[ "$output" == *"12.5 KiB  ├ Cache::add  app.cc:9"*"12.5 KiB  │ main"* ]]
    run "$report" --tree --sort=bytes --threshold=60 "$data/app.gz"
    [[ "$output" == *"Cache::add"* && "$output" != *"temp  app"* ]]
}

@test "callers and callees of a function" {
    run "$report" --function=main --sort=calls "$data/app.gz"
    [[ "$output" == *"main  101 (100%), with all it calls"* ]]
    [[ "$output" == *"50%         51  temp  app.cc:13"* ]]
    run "$report" --function=Cache::add --sort=calls "$data/app.gz"
    [[ "$output" == *"Cache::add  50 (50%)"*"CALLED FROM"*"100%         50  main"* ]]
    run "$report" --function=nowhere "$data/app.gz"
    [ "$status" -eq 0 ]
    [[ "$output" == *"No function 'nowhere'"* ]]
}

@test "leaks, and those that are known" {
    run "$report" --leaks "$data/app.gz"
    [[ "$output" == *"12.4 KiB in 48 blocks never freed"*"    Cache::add  app.cc:9"*"    main  app.cc:19"* ]]
    [[ "$output" == *"17.3 KiB in 49 blocks never freed, from 2 stacks."* ]]
    printf '# known\nrace:other\nleak:^temp(int)\n' > known.supp
    run "$report" --leaks --suppressions=known.supp "$data/app.gz"
    [[ "$output" == *"12.4 KiB in 48 blocks never freed, from 1 stack."* ]]
    [[ "$output" == *"Suppressions used:"*"      1       5000 ^temp(int)"* ]]
    for template in 'leak:Cache::*int' 'leak:app.cc' 'leak:/app$' 'leak:^main$'; do
        printf '%s\n' "$template" > one.supp
        run "$report" --leaks --suppressions=one.supp "$data/app.gz"
        [[ "$output" != *"48 blocks never freed, from"* ]]
    done
    printf 'leak:add$\nleak:^int\n' > none.supp
    run "$report" --leaks --suppressions=none.supp "$data/app.gz"
    [[ "$output" == *"49 blocks never freed, from 2 stacks."* ]]
    echo 'leak:*' > all.supp
    run "$report" --leaks --suppressions=all.supp "$data/app.gz"
    [[ "$output" == *"Everything was freed, or its leak is known."* ]]
    "$report" --json --leaks --tree --invert --threshold=0 "$data/app.gz" > result.json
    json "[(l['bytes'], l['blocks'], l['frames'][0]['function']) for l in r['leaks']] == [(12720, 48, 'Cache::add(int)'), (5000, 1, 'temp(int)')]"
    json "r['tree'][0]['calls'] == 101 and r['tree'][0]['parent'] is None and [n['calls'] for n in r['tree'] if n['parent'] == 1] == [50, 51]"
    json "all(n['parent'] < i for i, n in enumerate(r['inverted']) if i)"
    echo nonsense > bad.supp
    run "$report" --leaks --suppressions=bad.supp "$data/app.gz"
    [ "$status" -eq 2 ]
    [ "$output" = "hakmem-report: 'bad.supp': line 1: no 'leak:' in front" ]
}

@test "temporary with a threshold, lifetimes, growers, sizes, threads: alone and together" {
    run "$report" --temporary "$data/app.gz"
    [[ "$output" == *"50 of 101 allocations (50%) were freed before their thread had allocated again."* ]]
    printf 'malloc 1 8\nmalloc 2 8\nfree 1\nmalloc 3 8\nfree 2\nfree 3\nend 9\n' | "$HAKMEM_BIN/make_trace" t.gz
    for row in '0 1' '1 3' '5 3'; do
        read -r threshold count <<< "$row"
        run "$report" --temporary="$threshold" t.gz
        [[ "$output" == *"$count of 3 allocations"* ]]
    done
    run "$report" --lifetimes --growers --sizes --threads "$data/app.gz"
    [[ "$output" == *"exit"*"GROWS AT"*"Sizes  ≤16"*"OF OTHERS  THREAD"*"FROM → FREED BY"*"4711 main → 4712 worker"* ]]
    [[ "$output" != *"LIFE p50"* ]]
}

@test "a view with nothing in it says so" {
    printf 'malloc 1 100 0x10\nmalloc 2 8 0x10\nfree 1\nfree 2\nend 9\n' | "$HAKMEM_BIN/make_trace" n.gz
    for pair in '--growers:nothing grew by copying' '--leaks:Everything was freed.' '--temporary --from=1s:0 of 0 allocations (0%)' \
        '--tree --sort=live:nothing was left unfreed' '--advice:no advice' '--filter=function:nowhere:nothing was allocated in what' \
        '--sites --from=1s:nothing was allocated in what' '--lifetimes --from=1s:nothing was allocated in what' '--function=nowhere:No function'; do
        # shellcheck disable=SC2086
        run "$report" ${pair%:*} n.gz
        [ "$status" -eq 0 ]
        [[ "$output" == *"${pair##*:}"* ]]
    done
    run "$report" --threads n.gz
    [[ "$output" == *"OF OTHERS  THREAD"* ]]
    run "$report" n.gz
    [[ "$output" != *"nothing"* && "$output" != *"no advice"* && "$output" != *"THREAD"* ]]
}

@test "growers: five, and how many more; --top=0 shows all" {
    awk 'BEGIN { for (i = 1; i <= 8; i++) { at = sprintf("0x%x", 4096 * i)
                     print "new", 2 * i, 100, at; print "new", 2 * i + 1, 200, at; print "delete", 2 * i }
                 print "end 9" }' | "$HAKMEM_BIN/make_trace" eight.gz
    run "$report" --growers eight.gz
    [[ "$output" == *"3 more that grow (--top=0 shows all)"* ]]
    run "$report" --growers --top=0 eight.gz
    [[ "$output" != *"more that grow"* ]]
    [ "$(grep -c ' 0x[0-9a-f]*000' <<< "$output")" -eq 8 ]
}

@test "a container that grows by new and delete is seen" {
    printf 'new 1 100 0x10\nnew 2 200 0x10\ndelete 1\nnew 3 400 0x10\ndelete 2\nnew 4 4000 0x10\ndelete 3\nend 9\n' |
        "$HAKMEM_BIN/make_trace" g.gz
    "$report" --json g.gz > result.json
    json "r['sites'][0]['regrown'] == 2 and r['sites'][0]['regrown_bytes'] == 300"
}

@test "what a container held is freed with it, and does not grow" {
    awk 'BEGIN { for (i = 1; i <= 50; i++) print "new", i, 60 + i, "0x10"
                 for (i = 1; i <= 50; i++) print "delete", i
                 print "end 9" }' | "$HAKMEM_BIN/make_trace" held.gz
    "$report" --json held.gz > result.json
    json "r['sites'][0]['regrown'] <= 1"
}

@test "one live block in a slab pins what is free around it" {
    awk 'BEGIN { for (i = 1; i <= 2048; i++) print "malloc", i, "64 0x10"
                 for (i = 1; i <= 1024; i++) if (i != 500) print "free", i
                 for (i = 1; i <= 20000; i++) print "malloc 9999 100000 0x20\nfree 9999"
                 print "end 9" }' | "$HAKMEM_BIN/make_trace" pins.gz
    "$report" --json --sort=fragmentation pins.gz > result.json
    json "50000 < r['sites'][0]['pinned_bytes'] <= 65536 - 64 and t['pinned_bytes'] == r['sites'][0]['pinned_bytes']"
    run "$report" --sort=fragmentation pins.gz
    [[ "$output" == *"PINNED"* ]]
}

@test "a range of time, and what was live at a time" {
    printf 'at 1000\nmalloc 1 100 0x10\nat 2000\nmalloc 2 200 0x20\nat 3000\nfree 1\nmalloc 3 400 0x30\nat 4000\nfree 2\nfree 3\nend 5000\n' |
        "$HAKMEM_BIN/make_trace" r.gz
    "$report" --json --from=1500ns --to=2500ns r.gz > result.json
    json "t['allocations'] == 1 and t['allocated_bytes'] == 200 and t['live_bytes'] == 200"
    "$report" --json --at=2us r.gz > result.json
    json "t['live_bytes'] == 300"
    "$report" --json --at=peak r.gz > result.json
    json "t['live_bytes'] == 600 and t['peak_bytes'] == 600 and t['allocations'] == 3"
    for wrong in --from=x --to=-1 --at=noon --from=1day; do
        run "$report" "$wrong" r.gz
        [ "$status" -eq 2 ]
    done
}

@test "filters by function, module and thread" {
    "$report" --json --filter=function:Cache::add "$data/app.gz" > result.json
    json "t['allocations'] == 50 and len(r['sites']) == 1 and t['peak_bytes'] == 12750"
    "$report" --json --filter=function:add "$data/app.gz" > result.json
    json "t['allocations'] == 50"
    "$report" --json --filter='function:Cache::*' --filter=function:temp "$data/app.gz" > result.json
    json "t['allocations'] == 0"
    "$report" --json --filter=module:app "$data/app.gz" > result.json
    json "t['allocations'] == 101"
    "$report" --json --filter=module:lib* "$data/app.gz" > result.json
    json "t['allocations'] == 0"
    "$report" --json --filter=thread:worker "$data/app.gz" > result.json
    json "t['allocations'] == 1 and t['allocated_bytes'] == 5000"
    "$report" --json --filter=thread:4711 "$data/app.gz" > result.json
    json "t['allocations'] == 100"
    run "$report" --filter=colour:red "$data/app.gz"
    [ "$status" -eq 2 ]
}

@test "a difference tells what changed, by function" {
    sed 's/^malloc 7 70 /malloc 7 70000 /' "$data/app.txt" | "$HAKMEM_BIN/make_trace" new.gz
    run "$report" --diff --sort=bytes "$data/app.gz" new.gz
    [ "$status" -eq 0 ]
    [[ "$output" == *"allocations          101        101          ="* ]]
    [[ "$output" == *"allocated       18.5 KiB   86.8 KiB    +369.0%"* ]]
    [[ "$output" == *"12.5 KiB   80.7 KiB  +548.5%  Cache::add"* ]]
    [[ "$output" == *"1 site unchanged"* ]]
    "$report" --diff --json "$data/app.gz" new.gz > d.json
    python3 -c "import json; d = json.load(open('d.json')); assert d['totals']['allocated'] == [18950, 88880], d['totals']"
    run "$report" --diff "$data/app.gz"
    [ "$status" -eq 2 ]
}

@test "advice names the place, the evidence and the saving" {
    awk 'BEGIN { for (i = 1; i <= 1000; i++) print "malloc 1 64 0x10\nfree 1"
                 print "end 9" }' | "$HAKMEM_BIN/make_trace" reuse.gz
    run "$report" --advice reuse.gz
    [[ "$output" == *"reuse a buffer: 100% of its blocks, 64 B at most, are freed by free() before the next allocation; saves 1.00 K allocations (100% of all), about 62.5 KiB (100%)"* ]]
    awk 'BEGIN { print "malloc 1 1000 0x20"
                 for (i = 2; i <= 200; i++) print "realloc", i - 1, i, i * 1000, "0x20"
                 print "end 9" }' | "$HAKMEM_BIN/make_trace" grow.gz
    run "$report" --advice grow.gz
    [[ "$output" == *"0x20"*"reserve: it grows to 195 KiB by copying; saves 199 allocations"*"19.0 MiB of copies"* ]]
    awk 'BEGIN { print "thread 1 a"; for (i = 1; i <= 1000; i++) print "malloc", i, "64 0x10"
                 print "thread 2 b"; for (i = 1; i <= 1000; i++) print "free", i
                 print "end 9" }' | "$HAKMEM_BIN/make_trace" remote.gz
    run "$report" --advice remote.gz
    [[ "$output" == *"freed by another thread: 100% of its blocks"* ]]
    # Each handed over before the next: temporary, and yet nothing that could be kept.
    awk 'BEGIN { for (i = 1; i <= 1000; i++) print "thread 1 a\nmalloc 1 64 0x10\nthread 2 b\nfree 1"
                 print "end 9" }' | "$HAKMEM_BIN/make_trace" handed.gz
    run "$report" --advice handed.gz
    [[ "$output" == *"temporary 100%"*"freed by another thread: 100% of its blocks"* && "$output" != *reuse* ]]
    # Few calls that are nearly all of the bytes.
    awk 'BEGIN { for (i = 1; i <= 40; i++) print "malloc 1 1000000 0x10\nfree 1"
                 for (i = 2; i <= 9999; i++) print "malloc", i, "16 0x20"
                 print "end 9" }' | "$HAKMEM_BIN/make_trace" large.gz
    run "$report" --advice large.gz
    [[ "$output" == *"0x10"*"saves 40 allocations (<1% of all), about 38.1 MiB (>99%)"* ]]
    printf 'malloc 1 100000000 0x30\nend 9000000000\n' | "$HAKMEM_BIN/make_trace" huge.gz
    run "$report" --advice huge.gz
    [[ "$output" == *"huge pages would serve: 95.4 MiB"*"saves about 24.4 K page faults"* ]]
    "$report" --json reuse.gz > result.json
    json "r['advice'][0]['kind'] == 'reuse' and r['advice'][0]['saves_calls'] == 1000"
    printf 'malloc 1 64 0x10\nend 9\n' | "$HAKMEM_BIN/make_trace" none.gz
    run "$report" --advice none.gz
    [[ "$output" != *Advice* ]]
}

@test "advice on a real program: each kind at its line, with who frees, where else to keep a buffer, and the policy's commands" {
    [ -e "$HAKMEM_LIB/libhakmem-trace.so" ] || skip "nothing is preloaded in this build"
    cat > shop.cc <<'END'
#include <memory>
#include <string>
#include <thread>
#include <vector>
static volatile char sink;
struct Basket {
    __attribute__((noinline)) int count(int n) {
        std::vector<int> scratch(static_cast<size_t>(n)); // line 8: reuse
        return scratch[static_cast<size_t>(n) / 2] + n;
    }
};
__attribute__((noinline)) static void collect(std::vector<double> &out) {
    for (int i = 0; i < 100000; i++)
        out.push_back(i); // line 14: reserve
}
__attribute__((noinline)) static char *letter() {
    return new char[300]; // line 17: freed by another thread
}
__attribute__((noinline)) static char *node() {
    return static_cast<char *>(malloc(64)); // line 20: pins slabs
}
__attribute__((noinline)) static char *arena() {
    return static_cast<char *>(malloc(16u << 20)); // line 23: huge pages
}
int main() {
    Basket basket;
    char *big = arena();
    std::vector<char *> letters, nodes;
    letters.reserve(2000);
    nodes.reserve(100000);
    for (int i = 0; i < 100000; i++)
        nodes.push_back(node());
    for (size_t i = 0; i < nodes.size(); i++)
        if (i % 1000 != 0)
            free(nodes[i]);
    for (int i = 0; i < 20000; i++)
        sink = static_cast<char>(basket.count(100)); // line 37: or here
    std::vector<double> numbers;
    collect(numbers);
    for (int i = 0; i < 2000; i++)
        letters.push_back(letter());
    std::thread([&] { for (char *l : letters) delete[] l; }).join();
    big[0] = sink;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return big[1];
}
END
    g++ -std=c++17 -g -O1 -o shop shop.cc -pthread
    "$HAKMEM_BIN/hakmem-trace" -q -o shop.gz ./shop
    run "$report" --advice --top=0 shop.gz
    echo "$output"
    [ "$status" -eq 0 ]
    [[ "$output" == *"Basket::count  shop.cc:8 ← main"*"reuse a buffer: 100% of its blocks, 400 B at most, are freed by ~vector() before the next allocation; keep one std::vector here or in main (shop.cc:37); saves 20.0 K allocations"* ]]
    [[ "$output" == *"collect  shop.cc:14 ← main"*"reserve: a std::vector grows to 1.00 MiB by copying; saves 17 allocations"* ]]
    [[ "$output" == *"letter  shop.cc:17 ← main"*"freed by another thread: 100% of its blocks"*"saves 2.00 K remote frees"* ]]
    [[ "$output" == *"node  shop.cc:20 ← main"*"pins slabs: at most 100 K live blocks keep "*" of free memory from being given back"* ]]
    [[ "$output" == *"arena  shop.cc:23 ← main"*"huge pages would serve: 16.0 MiB"*"saves about 4.09 K page faults"* ]]
    [[ "$output" == *"hakmem-replay --mode=learning shop.gz --export=app.policy"*"hakmem-policy explain app.policy shop+0x"* ]]
}

@test "budgets: 0 when they hold, 1 with a line for each that does not, 2 when not understood" {
    run "$report" --check='calls(Cache::add) = 50' --check='temporary<50%' --check='threads=2' --check='duration<1s' \
        --check='rss<1M' --check='bytes(temp)>6000' "$data/app.gz"
    [ "$status" -eq 0 ]
    run --separate-stderr "$report" --check='peak<200M' --check='calls<=101' "$data/app.gz"
    [ "$status" -eq 0 ]
    [ -z "$output$stderr" ]
    run --separate-stderr "$report" --check='peak<10K' --check='leaked=0' --check='calls(add)<1e1' --check='calls<1K' "$data/app.gz"
    [ "$status" -eq 1 ]
    [ -z "$output" ]
    [ "$(wc -l <<< "$stderr")" -eq 3 ]
    [[ "$stderr" == "hakmem-report: check failed: peak<10K: is 17.3 KiB, 7.32 KiB over (+73.2%); most in Cache::add  app.cc:9 (12.4 KiB)"* ]]
    [[ "$stderr" == *"leaked=0: is 17.3 KiB, 17.3 KiB over; most in Cache::add"* ]]
    [[ "$stderr" == *"calls(add)<1e1: is 50, 40 over (+400.0%); most in Cache::add"* ]]
    echo 'leak:app' > all.supp
    run "$report" --suppressions=all.supp --check='leaked=0' "$data/app.gz"
    [ "$status" -eq 0 ]
    for wrong in 'peak' 'peak<' 'weak<1' 'peak<1x' 'rss(a)<1' 'calls()<1' 'calls(a<1' 'peak<-1' 'peak<nan'; do
        run "$report" --check="$wrong" "$data/app.gz"
        [ "$status" -eq 2 ]
    done
    run "$report" --check='peak<1' nowhere.gz
    [ "$status" -eq 2 ]
}

@test "a large trace with many contexts: figures add up" {
    "$HAKMEM_BIN/make_big" big.gz 400000 20000 10000 own
    "$report" --json --top=0 big.gz > result.json
    json "t['events'] == 400000 and t['allocations'] == sum(s['calls'] for s in r['sites']) and len(r['sites']) == 20000"
    json "t['peak_bytes'] == sum(s['at_peak_bytes'] for s in r['sites'])"
    json "t['live_bytes'] == sum(s['live_bytes'] for s in r['sites']) and t['allocations'] - t['frees'] == t['live_blocks']"
}
