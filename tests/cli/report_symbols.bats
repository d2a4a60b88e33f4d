# Names: inlined functions, other languages, separate debug files, debuginfod, names kept in traces, names taken out.
bats_require_minimum_version 1.5.0

load report_app

# A program with an inlined function around a call, and its trace: made.gz, of PROGRAM.
inlined() { # inlined PROGRAM FLAGS…
    cat > in.cc <<'END'
#include <cstdlib>
namespace data { static inline __attribute__((always_inline)) void *fetch(int n) {
    return malloc(n);
} }
struct Store { void *take(int n) { return data::fetch(n); } };
extern "C" __attribute__((noinline)) void *work(int n) {
    Store s;
    return (char *)s.take(n) + 1;
}
int main(int argc, char **) { return work(argc) == nullptr; }
END
    local program=$1
    shift
    g++ -g -O1 -no-pie -o "$program" in.cc "$@"
}
trace_at() { # trace_at PROGRAM FUNCTION: made.gz with one allocation behind the first call in it
    local at id
    at=$(objdump -d "$1" | awk -v f="<$2>:" '$2 == f { on = 1 } on && /call/ { getline; sub(":", "", $1); print $1; exit }')
    id=$(readelf -n "$1" | awk '/Build ID/ { print $3 }')
    printf 'head %s 1\nmodule 0x400000 0x500000 0 %s %s\nmalloc 1 10 0x%s\nend 9\n' "$PWD/$1" "$PWD/$1" "$id" "$at" |
        "$HAKMEM_BIN/make_trace" made.gz
}

@test "inlined functions come with their lines, the innermost first" {
    inlined prog
    trace_at prog work
    "$report" --json --frames=8 --wrappers made.gz > result.json
    json "[f['line'] for f in r['sites'][0]['frames']] == [3, 5, 8]"
    json "[f['inlined'] for f in r['sites'][0]['frames']] == [True, True, False]"
    json "['fetch' in r['sites'][0]['frames'][0]['function'], 'take' in r['sites'][0]['frames'][1]['function'], r['sites'][0]['frames'][2]['function'] == 'work'] == [True] * 3"
}

@test "names of C++, Rust and D are written as in their language" {
    cat > names.c <<'END'
#include <stdlib.h>
__attribute__((noinline)) void *rust(void) __asm__("_ZN6parser5token4next17h0123456789abcdefE");
__attribute__((noinline)) void *rust0(void) __asm__("_RNvC6parser4peek");
__attribute__((noinline)) void *d(void) __asm__("_D3app4loadFiZv");
void *rust(void) { return (char *)malloc(1) + 1; }
void *rust0(void) { return (char *)malloc(1) + 1; }
void *d(void) { return (char *)malloc(1) + 1; }
int main(void) { return rust() == d() || rust0() == d(); }
END
    gcc -O1 -no-pie -o names names.c
    for pair in '_ZN6parser5token4next17h0123456789abcdefE parser::token::next' '_RNvC6parser4peek parser::peek' \
        '_D3app4loadFiZv app.load'; do
        trace_at names "${pair% *}"
        run "$report" --wrappers made.gz
        [[ "$output" == *"  ${pair#* }"* ]]
    done
}

@test "long names lose what says least: arguments of templates, then namespaces in the middle" {
    cat > names.c <<'END'
#include <stdlib.h>
__attribute__((noinline)) void *grow(void) __asm__("_ZNSt6vectorINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEESaIS5_EE17_M_realloc_appendIJRKS5_EEEvDpOT_");
__attribute__((noinline)) void *deep(void) __asm__("_ZN9warehouse6detail8indexing10OrderIndexINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEiE6insertERKS7_i");
__attribute__((noinline)) void *anon(void) __asm__("_ZN12_GLOBAL__N_15Store4takeEi");
__attribute__((noinline)) void *oper(void) __asm__("_ZN5StorelsEi");
__attribute__((noinline)) void *lambda(void) __asm__("_ZZ4workiENKUliE_clEi");
void *grow(void) { return (char *)malloc(1) + 1; }
void *deep(void) { return (char *)malloc(1) + 1; }
void *anon(void) { return (char *)malloc(1) + 1; }
void *oper(void) { return (char *)malloc(1) + 1; }
void *lambda(void) { return (char *)malloc(1) + 1; }
int main(void) { return grow() == deep() || anon() == oper() || lambda() == 0; }
END
    gcc -O1 -no-pie -o names names.c
    shown() { # shown COLUMNS SYMBOL TEXT
        trace_at names "$2"
        COLUMNS=$1 run "$report" --wrappers --sites made.gz
        [[ "$output" == *"  $3"* ]] || { echo "$output"; false; }
    }
    grow=_ZNSt6vectorINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEESaIS5_EE17_M_realloc_appendIJRKS5_EEEvDpOT_
    deep=_ZN9warehouse6detail8indexing10OrderIndexINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEiE6insertERKS7_i
    shown 120 "$grow" 'std::vector<…>::_M_realloc_append<…>'
    shown 80 "$grow" 'std::…::_M_realloc_append'
    shown 160 "$deep" 'warehouse::detail::indexing::OrderIndex<std::string, int>::insert'
    shown 95 "$deep" 'warehouse::…::OrderIndex<…>::insert'
    shown 80 "$deep" 'warehouse::…::insert'
    shown 80 _ZN12_GLOBAL__N_15Store4takeEi '{anonymous}::Store::take'
    shown 80 _ZN5StorelsEi 'Store::operator<<'
    shown 80 _ZZ4workiENKUliE_clEi 'work::{lambda}'
}

@test "a debug file beside a stripped program is found" {
    inlined prog
    objcopy --only-keep-debug prog prog.debug
    strip prog -o stripped
    objcopy --add-gnu-debuglink=prog.debug stripped
    trace_at prog work
    mv stripped prog
    run "$report" --wrappers made.gz
    [[ "$output" == *"fetch  in.cc:3"* ]]
}

@test "a debug file in /usr/lib/debug is found by build-id, also when the program is gone" {
    [ -d /usr/lib/debug ] || skip "there is no /usr/lib/debug"
    unshare -rm mount -t tmpfs tmpfs /usr/lib/debug 2>/dev/null || skip "no mount namespaces here"
    inlined prog -Wl,--build-id
    trace_at prog work
    id=$(readelf -n prog | awk '/Build ID/ { print $3 }')
    objcopy --only-keep-debug prog kept.debug
    strip prog
    run ! grep -q 'in.cc' <("$report" --wrappers made.gz)
    cat > inside.sh <<END
set -e
mount -t tmpfs tmpfs /usr/lib/debug
mkdir -p /usr/lib/debug/.build-id/${id:0:2}
cp kept.debug /usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug
"$report" --json --frames=8 --wrappers made.gz > stripped.json
mv prog away
"$report" --json --frames=8 --wrappers made.gz > gone.json
END
    unshare -rm bash inside.sh
    for file in stripped gone; do
        cp "$file.json" result.json
        json "[f['line'] for f in r['sites'][0]['frames']] == [3, 5, 8]"
    done
}

@test "debuginfod is asked where it is set" {
    [ -e /usr/lib/x86_64-linux-gnu/libdebuginfod.so.1 ] || skip "libdebuginfod1 is not installed"
    inlined prog
    trace_at prog work
    id=$(readelf -n prog | awk '/Build ID/ { print $3 }')
    mkdir -p "www/buildid/$id"
    objcopy --only-keep-debug prog "www/buildid/$id/debuginfo"
    strip prog
    python3 -c '
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="www")
server = http.server.HTTPServer(("127.0.0.1", 0), handler)
print(server.server_address[1], flush=True)
server.serve_forever()' > port 2> log &
    server=$!
    for _ in $(seq 50); do [ -s port ] && break; sleep 0.1; done
    HOME=$PWD DEBUGINFOD_URLS="http://127.0.0.1:$(cat port)" DEBUGINFOD_TIMEOUT=5 run "$report" --wrappers made.gz
    kill "$server"
    [[ "$output" == *"fetch  in.cc:3"* ]]
}

@test "names in the trace serve where the program is not" {
    inlined prog
    trace_at prog work
    "$report" --json --frames=8 --wrappers made.gz > with.json
    run "$report" --symbolize=named.gz made.gz
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    "$report" --verify named.gz
    mv prog away
    run "$report" --wrappers made.gz
    [[ "$output" != *in.cc* ]]
    "$report" --json --frames=8 --wrappers named.gz > result.json
    python3 -c 'import json; a, b = (json.load(open(f)) for f in ("with.json", "result.json")); assert a["sites"] == b["sites"]'
    cp named.gz again.gz
    "$report" --symbolize again.gz
    cmp named.gz again.gz
}

@test "symbolizing changes nothing else" {
    "$report" --json --top=0 "$data/app.gz" > before.json
    "$report" --symbolize=named.gz "$data/app.gz"
    "$report" --json --top=0 named.gz > after.json
    python3 - <<'END'
import json
a, b = (json.load(open(f)) for f in ("before.json", "after.json"))
for report in (a, b):
    report["traces"][0].pop("file")
assert a == b
END
}

@test "an anonymous copy tells the same figures and no names" {
    "$report" --symbolize=named.gz "$data/app.gz"
    run "$report" --anonymize=anon.gz named.gz
    [ "$status" -eq 0 ]
    "$report" --verify anon.gz
    run bash -c 'zcat anon.gz | strings -n 3 | grep -E "app|Cache|xmalloc|worker|main|temp"'
    [ "$status" -eq 1 ]
    "$report" --json anon.gz > result.json
    json "t['allocations'] == 101 and t['peak_bytes'] == 17740 and t['program'] == 'program'"
    json "all(f['function'].startswith('function-') for s in r['sites'] for f in s['frames'])"
    run "$report" --anonymize=x.gz "$data/app.gz" "$data/app.gz"
    [ "$status" -eq 2 ]
}
