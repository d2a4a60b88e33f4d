# hakmem-replay import, and recordings of other tools given to the commands directly.
bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR"
    replay=$HAKMEM_BIN/hakmem-replay
}

import() { # import ARGUMENTS…: summary into result.json, trace into out.gz, which must be whole
    "$replay" import -f -o out.gz --json "$@" > result.json
    "$HAKMEM_BIN/hakmem-report" --verify out.gz | grep -q ' 0 events lost'
}

json() { # json EXPRESSION: of result.json, which is `r`
    python3 -c "import json, sys; r = json.load(open('result.json')); sys.exit(0 if ($1) else 1)" ||
        { cat result.json >&2; return 1; }
}

android() {
    printf '%s\n' "10: malloc 0x1000 16" "10: calloc 0x2000 4 8" "11: realloc 0x3000 0x1000 64" "11: memalign 0x4000 64 100" \
        "10: free 0x0" "10: free 0x2000" "10: free 0x9999" "11: malloc 0x3000 0" "11: realloc 0x0 0x3000 0" \
        "11: thread_done 0x0" "11: malloc 0x5000 1"
}

@test "android text, plain, timed, gzipped and zipped" {
    android > a.txt
    import a.txt
    json "r['format'] == 'android' and r['records'] == 11 and r['threads'] == 3 and r['threads_ended'] == 1"
    json "r['allocations'] == 5 and r['reallocs'] == 2 and r['frees'] == 3"
    json "r['null_frees'] == 1 and r['orphan_frees'] == 1 and r['duplicates'] == 1 and r['zero_sizes'] == 2"
    json "r['live_max_bytes'] == 196 and r['live_end_blocks'] == 2 and r['broken'] == 0"
    cp result.json plain.json
    gzip -k a.txt && import a.txt.gz && cmp result.json plain.json
    zip -q a.zip a.txt && import a.zip && cmp result.json plain.json
    printf '%s\n' "7: malloc 0x10 8 1000 1010" "7: calloc 0x20 1 8 3000 3010 8" "7: free 0x10 2000 2010" \
        "7: thread_done 0x0 4000" > timed.txt
    import timed.txt
    json "r['times_back'] == 1 and r['records'] == 4"
}

@test "a file of zstd frames, where libzstd is built in" {
    android > a.txt
    zstd -q a.txt
    run "$replay" import -o out.gz a.txt.zst
    [[ "$output" != *"no libzstd"* ]] || skip "this build has no libzstd"
    [ "$status" -eq 0 ]
    head -c 100 a.txt.zst > cut.zst
    run "$replay" import -f -o out.gz cut.zst
    [ "$status" -eq 2 ]
}

@test "an xz file of several streams, where liblzma is built in; one that is cut off or damaged" {
    command -v xz > /dev/null || skip "no xz"
    android > a.txt
    head -n 5 a.txt | xz > b.xz
    tail -n +6 a.txt | xz >> b.xz
    run "$replay" import -o out.gz b.xz
    [[ "$output" != *"no liblzma"* ]] || skip "this build has no liblzma"
    import a.txt
    cp result.json plain.json
    import b.xz
    cmp result.json plain.json
    head -c 100 b.xz > cut.xz
    run "$replay" import -f -o out.gz cut.xz
    [[ "$status" -eq 2 && "$output" == *"cut off"* ]]
    { head -c 60 b.xz; printf 'xxxxxxxxxxxxxxxxxxxx'; tail -c +81 b.xz; } > bad.xz
    run "$replay" import -f -o out.gz bad.xz
    [[ "$status" -eq 2 && "$output" == *"damaged"* ]]
}

@test "heaptrack of 1.2.0 says no format; a command of several lines is stepped over" {
    printf '%s\n' "v 10200" "X python3 -c import x" "print(1)" "- 1" "s = 2" "+ 3 apples" "I 1000 2d9aeb" "s /bin/a" "i 401000 1" "t 1 0" \
        "a 20 1" "+ 0" "+ 0" "- 0" > old
    import old
    json "r['format'] == 'heaptrack' and r['allocations'] == 2 and r['live_end_blocks'] == 1"
}

@test "heaptrack: raw with modules, interpreted by kind of block" {
    printf '%s\n' "v 10400 3" "x 6 /bin/a" "X ./a" "I 1000 5e298d" "m 1 -" "m 1 x 558ddd2a3000 0 6e8 1000 245" \
        "t 558ddd2a3500 0" "t 558ddd2a3600 1" "+ 10 2 5000" "+ 20 2 6000" "c 5" "R 100" "- 5000" "- 7000" > raw
    import raw
    json "r['format'] == 'heaptrack' and r['allocations'] == 2 and r['frees'] == 2 and r['orphan_frees'] == 1"
    "$HAKMEM_BIN/hakmem-report" --json out.gz | grep -q '/bin/a'
    printf '%s\n' "v 10250 2" "X a b" "I 1000 2d9aeb" "s /bin/a" "i 401000 1" "t 1 0" "a 20 1" "+ 0" "+ 0" "- 0" "a 8 0" "+ 1" \
        "c a" "- 0" "- 0" "# strings: 1" > interpreted
    import interpreted
    json "r['allocations'] == 3 and r['frees'] == 3 and r['lost_identities'] == 1 and r['orphan_frees'] == 1"
    json "r['live_max_bytes'] == 64 and r['live_end_blocks'] == 1"
}

@test "wee_alloc, cheri, malloc lab" {
    printf 'Alloc(552),\nAlloc(120),\nAlloc(0),\nFree(1),\nFree(1),\n' > w.trace
    import w.trace
    json "r['format'] == 'wee_alloc' and r['zero_sizes'] == 1 and r['orphan_frees'] == 1 and r['live_max_bytes'] == 672"
    printf '%s\n' "malloc(8) = 81d220b48<6655>" "realloc(81d220b48<6655>, 16) = 81d3b83a0<6656>    # 8 bytes, allocated" \
        "free(81d3b83a0<6656>)" "malloc(24) = 0x800e00000" "free(0x0)" "munmap(1) = 2" > c.txt
    import c.txt
    json "r['format'] == 'cheri' and r['reallocs'] == 1 and r['orphan_frees'] == 0 and r['null_frees'] == 1 and r['ignored'] == 1"
    printf '%s\n' 20000 3 6 1 "a 0 16" "a 1 40" "r 0 400" "f 1" "f -1" "a 2 99999999999" > a.rep
    import a.rep
    json "r['format'] == 'rep' and r['null_frees'] == 1 and r['live_max_bytes'] == 400 + 99999999999 and not r['note']"
    printf '%s\n' 1 1 3 16 "a 0 16" "w 0 8" "f 0" > w.rep
    import w.rep
    json "r['format'] == 'rep' and r['ignored'] == 1 and r['live_end_blocks'] == 0"
    printf 'call-trace\t15\t50a0805 14\tmalloc\t96\t81d21e100\ncall-trace\t16\t\tfree\t81d21e100\t\n%s' \
        "$(printf 'call-trace\t17\t80 16\trealloc\t0 340\t81d279480\n')" > dtrace.txt
    import dtrace.txt
    json "r['format'] == 'cheri' and r['allocations'] == 1 and r['frees'] == 1 and r['reallocs'] == 1 and r['orphan_frees'] == 0"
    printf '%s\n' "39 make     USER  0x80420 = malloc(26)" "39 make     USER  0x80440 = realloc(0x80420, 17)" "39 make     USER  free(0x0)" \
        "40 make     USER  0x80440 = calloc(2, 35)" "39 make     USER  free(0x80440)" "39 make     CALL  munmap(0,0)" > kdump.txt
    import kdump.txt
    json "r['format'] == 'cheri' and r['threads'] == 2 and r['live_end_blocks'] == 1 and r['duplicates'] == 0 and r['ignored'] == 1"
    printf '%s\n' 1 2 2 4072 "a 0 16" "a 1 40" > b.rep # the later edition: weight, ids, operations, greatest heap
    import b.rep
    json "r['format'] == 'rep' and r['allocations'] == 2"
    printf '%s\n' "# by hand" "a 0 16" "r 0 32" "f 0 # gone" "r 7 10" > a.script
    import a.script
    json "r['format'] == 'script' and r['reallocs'] == 2 and r['frees'] == 1"
}

@test "logalloc, raw and preprocessed, keeps processes apart" {
    printf '%s\n' "18545 18545 malloc(32)=0x7f90495120e0" "18545 18545 calloc(1,148)=0x7f9049537480" \
        "18546 18546 malloc(8)=0x7f90495120e0" "18545 18545 realloc(0x7f90495120e0,64)=0x7f9049536680" \
        "18545 18545 posix_memalign(256,240)=0x7f9049583300" "18545 18545 jemalloc_stats()" "18545 18550 free(0x7f9049536680)" > l.log
    import l.log
    json "r['format'] == 'logalloc' and r['processes'] == 2 and r['threads'] == 3 and r['duplicates'] == 0 and r['ignored'] == 1"
    json "r['orphan_frees'] == 0 and r['live_end_blocks'] == 3"
    printf '%s\n' "1 1 malloc(32)=#1" "1 1 realloc(#1,64)=#1" "1 1 free(#1)" > munged.log
    import munged.log
    json "r['orphan_frees'] == 0 and r['orphan_reallocs'] == 0 and r['live_end_blocks'] == 0"
    printf '%s\n' "1 1 malloc(32)=#1" "1 1 free(#2)" "1 1 realloc(#2,64)=#3" "1 1 free(#1)" "1 1 malloc(5)=#1" "1 1 free(#2)" > null.log # #2: NULL
    import null.log
    json "r['orphan_frees'] == 0 and r['orphan_reallocs'] == 0 and r['null_frees'] == 2 and r['live_end_blocks'] == 2"
}

@test "lttng by vtid, by vpid where there is one" {
    line() { echo "[$1] (+0.1) host lttng_ust_libc:$2: { cpu_id = 3 }, { procname = \"p\", $3 }, { $4 }"; }
    { line 23:59:59.9 malloc "vtid = 7" "size = 8, ptr = 0x10"; line 23:59:59.95 malloc "vtid = 8" "size = 8, ptr = 0x10"
      line 00:00:00.1 realloc "vtid = 7" "in_ptr = 0x10, size = 9, ptr = 0x20"; line 00:00:00.2 free "vtid = 8" "ptr = 0x20"; } > t.txt
    import t.txt
    json "r['format'] == 'lttng' and r['threads'] == 2 and r['duplicates'] == 0 and r['orphan_frees'] == 1 and r['times_back'] == 0"
    { line 1.0 malloc "vpid = 7, vtid = 7" "size = 8, ptr = 0x10"; line 1.1 free "vpid = 7, vtid = 8" "ptr = 0x10"
      line 1.2 posix_memalign "vpid = 7, vtid = 8" "out_ptr = 0x40, alignment = 64, size = 10, result = 0"; } > u.txt
    import u.txt
    json "r['orphan_frees'] == 0 and r['processes'] == 1 and r['live_end_blocks'] == 1"
}

@test "lttng as babeltrace prints it otherwise: names, cycles, colours, no threads, processes in front, remarks" {
    printf '%s\n' '[warning] Tracer discarded 15 events between [20:00:00.1] and [20:00:00.2] in trace x' \
        '[20:38:11.907388453] (+?.?????????) d lttng_ust_libc:malloc: { cpu_id = 1 }, { size = 4, ptr = 0x151BD40 }' \
        '[20:38:11.907391355] (+0.000002902) d lttng_ust_libc:free: { cpu_id = 1 }, { ptr = 0x151BD40 }' \
        '[20:38:11.907391356] (+0.000002902) d other:free: { cpu_id = 1 }, { ptr = 0x151BD40 }' > a.txt
    import a.txt
    json "r['format'] == 'lttng' and r['threads'] == 1 and r['ignored'] == 2 and 'lost 15 events' in r['note'] and r['live_end_blocks'] == 0"
    { echo '[20:38:11.907395979] (+0.1) d:ust:p:(77) ust_libc:calloc: { c = 1 }, { list = [ [0] = 1 ], v = ( "_x" : container = 2 ), f = 1.5e+3, s = "a\"}{, vtid = 9" }, { nmemb = 3, size = 4, ptr = 0x10 }'
      echo '[20:38:11.907395980] (+0.1) d:p:78 ust_libc:memalign: { c = 1 }, { }, { ptr = 0x10, alignment = 64, size = 10 }'
      echo '[20:38:11.907395980] (+0.1) d:p:78 lttng_ust_libc:posix_memalign: { c = 1 }, { out_ptr = 0x7F0, alignment = 64, size = 10, result = 12 }'; } > b.txt
    import b.txt
    json "r['processes'] == 2 and r['threads'] == 2 and r['live_max_bytes'] == 22 and r['failed'] == 1 and r['duplicates'] == 0"
    echo 'timestamp = 00000020464116377024, delta = +0, trace:hostname = e, name = lttng_ust_libc:malloc, stream.packet.context = { cpu_id = 3 }, stream.event.context = { vtid = 1 }, event.fields = { size = 8, ptr = 0x1F }' > c.txt
    import c.txt
    json "r['allocations'] == 1 and r['threads'] == 1 and r['live_max_bytes'] == 8"
    printf '[\033[35m10:00:00.000000001\033[0m] (\033[1m+1\033[0m) d \033[35mlttng_ust_libc:free\033[0m: { vtid = \033[34m1\033[0m }, { ptr = \033[34m0x0\033[0m }\n' > d.txt
    import d.txt
    json "r['null_frees'] == 1"
    echo '[10:00:00.000000001] (+1) d lttng_ust_libc:free: { 3 }, { 16 }' > e.txt
    run "$replay" import -f -o out.gz e.txt
    [[ "$status" -eq 2 && "$output" == *"line 1: not the fields of this call by their names"* ]]
}

@test "a free that stands behind what it made room for is told from one that was missed" {
    # a realloc is written down once it has freed: thread 2 got its block's place already
    printf '%s\n' "1: malloc 0x10 8" "2: malloc 0x20 8" "2: malloc 0x10 99" "1: realloc 0x30 0x10 16" "2: free 0x10" > late.txt
    import late.txt
    json "r['inversions'] == 1 and r['duplicates'] == 0 and r['orphan_frees'] == 0 and r['live_end_blocks'] == 2 and r['live_max_bytes'] == 123"
    # thread 2 frees what it got itself: the older block's free was missed
    printf '%s\n' "1: malloc 0x10 8" "2: malloc 0x20 8" "2: malloc 0x10 99" "2: free 0x10" "1: malloc 0x10 5" > missed.txt
    import missed.txt
    json "r['inversions'] == 0 and r['duplicates'] == 1 and r['orphan_frees'] == 0 and r['live_end_blocks'] == 2"
    # none comes: it is put in at the end, though all threads have ended
    printf '%s\n' "1: malloc 0x10 8" "2: malloc 0x10 99" "1: thread_done 0x0" "2: thread_done 0x0" > never.txt
    import never.txt
    json "r['duplicates'] == 1 and r['live_end_blocks'] == 1"
    printf '%s\n' "v 10400 3" "X ./a" "t 400500 0" "+ 8 1 10" "+ 20 1 10" "- 10" "+ 9 1 30" "- 10" > raw
    import raw
    json "r['format'] == 'heaptrack' and r['inversions'] == 1 and r['orphan_frees'] == 0 and r['live_end_blocks'] == 1"
}

@test "bzip2, also of several streams; a zip archive with a folder in it" {
    command -v bzip2 > /dev/null || skip "no bzip2"
    android > a.txt
    import a.txt
    cp result.json plain.json
    mkdir dir && cp a.txt dir/
    zip -q -r a.zip dir
    import a.zip && cmp result.json plain.json
    zip -q -r b.zip dir a.txt
    run "$replay" import -f -o out.gz b.zip
    [[ "$status" -eq 2 && "$output" == *"several files"* ]]
    { head -n 5 a.txt | bzip2; tail -n +6 a.txt | bzip2; } > a.bz2
    run "$replay" import -f -o out.gz a.bz2
    [[ "$output" != *"no libbz2"* ]] || skip "this build has no libbz2"
    import a.bz2 && cmp result.json plain.json
    head -c 60 a.bz2 > cut.bz2
    run "$replay" import -f -o out.gz cut.bz2
    [[ "$status" -eq 2 && "$output" == *"cut off"* ]]
    { head -c 20 a.bz2; printf xxxxxxxx; tail -c +29 a.bz2; } > bad.bz2
    run "$replay" import -f -o out.gz bad.bz2
    [[ "$status" -eq 2 && "$output" == *"damaged"* ]]
}

@test "comments, carriage returns, blank lines, signed thread numbers and no last newline do no harm" {
    printf '# c\r\n\r\n202: malloc 0xb4827400 1024\r\n-7: free b4827400\r\n# c\r\n202: thread_done 0x0' > a.txt
    run "$HAKMEM_BIN/hakmem-replay" import -f -o o.gz a.txt
    [[ "$status" -eq 0 && "$output" == *"android: 1 allocations, 0 reallocs, 1 frees by 2 threads"* ]]
    printf '\n# c\n1 -1 malloc(42)=#1\r\n  1 1 moz_arena_malloc(3,8)=#2\n\n#c\n1 1 realloc((nil),7)=#3\n1 1 free(#1)\r' > l.log
    run "$HAKMEM_BIN/hakmem-replay" import -f -o o.gz l.log
    [[ "$status" -eq 0 && "$output" == *"logalloc: 2 allocations, 1 reallocs, 1 frees by 2 threads"* ]]
    printf '#c\r\n20000\r\n2\r\n3\r\n1\r\na 0 5\r\na 1 6\r\nf 0' > r.rep
    run "$HAKMEM_BIN/hakmem-replay" import -f -o o.gz r.rep
    [[ "$status" -eq 0 && "$output" == *"rep: 2 allocations, 0 reallocs, 1 frees"* ]]
    printf '# c\r\n[\r\n  Alloc(8),\r\nFree(0),\r\n]' > w.trace
    run "$HAKMEM_BIN/hakmem-replay" import -f -o o.gz w.trace
    [[ "$status" -eq 0 && "$output" == *"wee_alloc: 1 allocations, 0 reallocs, 1 frees"* ]]
}

@test "records of glibc-malloc-trace-utils, WebKit and tracefile.proto" {
    python3 - << 'EOF'
import gzip, struct
rec = lambda t, ty, p1, p2, s, s2=0: struct.pack('<iIQQQQQQQ', t, ty, p1, p2, s, s2, 0, 0, 0)
open('a.mtrace', 'wb').write(
    rec(1, 255, 0x1234, 0, 8) + rec(1, 1, 0, 0x1000, 10) + rec(2, 1, 0, 0x1000, 20) + rec(1, 3, 0x1000, 0, 0) +
    rec(2, 4, 0x1000, 0x2000, 30) + rec(1, 5, 0, 0x3000, 9, 64) + rec(1, 8, 22, 0, 9, 64) + bytes(64))
op = lambda o, t, a, slot, size: struct.pack('<IHHQQ', o, t, a, slot, size)
open('a.ops', 'wb').write(op(0, 0, 0, 0, 16) + op(3, 1, 6, 1, 100) + op(2, 0, 0, 0, 64) + op(1, 1, 0, 1, 0) + op(1, 1, 0, 1, 0))
open('old.ops', 'wb').write(op(0, 999, 5, 0, 16) + op(0, 7, 1234, 1, 8) + op(2, 3, 3, 1, 64) + op(1, 9, 9, 0, 0))
def var(n):
    out = b''
    while n > 127: out += bytes([n & 127 | 128]); n >>= 7
    return out + bytes([n])
def line(field, *values): # None: not written
    body = b''.join(var((i + 1) << 3) + var(v) for i, v in enumerate(values) if v is not None)
    body = var(field << 3 | 2) + var(len(body)) + body
    return b'\x0a' + var(len(body)) + body
with gzip.open('a.pb.gz', 'wb') as f:
    f.write(line(1, 0, 16) + line(1, 1, 100, 64) + line(4, 2, 3, 5) + line(3, 3, 1, 200) + line(2, 3) + line(2) + line(3, 4, None, 7) +
            line(1, None, 9) + line(2, 0, 16, 8) + b'\x10' + var(3))
EOF
    import a.mtrace
    json "r['format'] == 'mtrace' and r['inversions'] == 1 and r['orphan_reallocs'] == 0 and r['failed'] == 1"
    json "r['threads'] == 2 and r['live_end_blocks'] == 2 and r['live_max_bytes'] == 39"
    import a.ops
    json "r['format'] == 'webkit' and r['threads'] == 2 and r['live_end_blocks'] == 1 and r['live_max_bytes'] == 164 and r['ignored'] == 1"
    import old.ops # padding where threads are now
    json "r['format'] == 'webkit' and r['threads'] == 1 and r['live_end_blocks'] == 1 and r['live_max_bytes'] == 80"
    import a.pb.gz
    json "r['format'] == 'protobuf' and r['allocations'] == 4 and r['reallocs'] == 2 and r['live_max_bytes'] == 231 and not r['note']"
    json "r['null_frees'] == 1 and r['failed'] == 1 and r['orphan_frees'] == 0 and r['live_max_blocks'] == 3 and r['live_end_blocks'] == 2"
    head -c 100 a.mtrace > cut.mtrace
    run "$replay" import -f -o out.gz cut.mtrace
    [ "$status" -eq 2 ]
    [[ "$output" == *"record 2 (byte 64)"* ]]
    import --partial cut.mtrace
    json "r['cut_off'] and r['records'] == 1"
}

@test "workloads of glibc-malloc-trace-utils: threads that hand blocks over, packed or not; broken ones" {
    python3 - << 'EOF'
def num(n):
    out = bytes([n & 127]); n >>= 7
    while n: out = bytes([n & 127 | 128]) + out; n >>= 7
    return out
op = lambda code, *values: bytes([code]) + b''.join(num(v) for v in values)
def wl(*streams, signals=2, pointers=9):
    at = 2
    while True:
        offs, pos = [], at
        for s in streams: offs.append(pos); pos += len(s)
        head = op(8, pointers) + op(9, signals) + op(10, len(streams)) + b''.join(op(11, o) for o in offs) + b'\1'
        if len(head) == at: return head + b''.join(streams)
        at = len(head)
# the first stream waits for the second one's block
a = op(7, 1) + op(5, 1) + op(6, 2) + b'\1'
b = op(2, 1, 300) + op(3, 2, 40) + op(6, 1) + op(7, 2) + op(4, 2, 2, 70000) + op(12, 1, 64, 8) + op(5, 0) + op(2, 0, 1 << 40) + op(5, 1) + b'\0\1'
open('a.wl', 'wb').write(wl(a, b))
open('loop.wl', 'wb').write(wl(op(7, 1) + op(6, 2) + b'\1', op(7, 2) + op(6, 1) + b'\1'))
open('odd.wl', 'wb').write(wl(op(2, 1, 3) + b'\x33\1'))
open('end.wl', 'wb').write(wl(op(2, 1, 3)))
EOF
    import a.wl
    json "r['format'] == 'workload' and r['threads'] == 2 and r['threads_ended'] == 2 and r['orphan_frees'] == 0 and r['duplicates'] == 0"
    json "r['live_max_bytes'] == 70008 and r['live_end_blocks'] == 1 and r['null_frees'] == 1 and r['failed'] == 1 and r['records'] == 8"
    cp result.json plain.json
    gzip -k a.wl && import a.wl.gz && cmp result.json plain.json
    run "$replay" import -f -o out.gz loop.wl
    [[ "$status" -eq 2 && "$output" == *"wait for one another"* ]]
    run "$replay" import -f -o out.gz odd.wl
    [[ "$status" -eq 2 && "$output" == *"byte 12: an unknown operation"* ]]
    run "$replay" import -f -o out.gz end.wl
    [[ "$status" -eq 2 && "$output" == *"a stream without an end"* ]]
    import --partial odd.wl
    json "r['cut_off'] and r['allocations'] == 1"
    run "$replay" --rounds=1 --repeats=1 --target=glibc a.wl
    [ "$status" -eq 0 ]
}

@test "a profile of sizes becomes the same workload each time" {
    printf '8, 10.5, 3000\n64, 1e1, 200.5\n1000,2,100\n' > p.csv
    import p.csv
    json "r['format'] == 'fleetbench' and r['allocations'] > 4000 and r['live_end_blocks'] > 2500"
    cp out.gz first.gz
    import p.csv
    cmp <(zcat first.gz | tail -c +64) <(zcat out.gz | tail -c +64)
}

@test "a broken line is named by its number; --partial leaves it out" {
    { android; echo "12: mallocs 0x6000 8"; echo "12: malloc 0x6000 8"; } > broken.txt
    run --separate-stderr "$replay" import -o broken.gz broken.txt
    [ "$status" -eq 2 ]
    [[ "$stderr" == "hakmem-replay: 'broken.txt': line 12: "* ]]
    [ ! -e broken.gz ] && [ ! -e broken.gz.part ]
    import --partial broken.txt
    json "r['broken'] == 1 and r['first_broken'] == 12 and r['records'] == 13 and r['allocations'] == 6"
    printf '%s\n' 20000 3 6 1 "a 0 16" "a 1 40" > cut.rep
    run "$replay" import -o cut.gz cut.rep
    [ "$status" -eq 2 ]
    [[ "$output" == *"promises 6 operations, there are 2"* ]]
    import --partial cut.rep
    android | gzip | head -c 90 > cut.gz
    run "$replay" import -o x.gz --format=android cut.gz
    [ "$status" -eq 2 ]
    [[ "$output" == *"cut off"* ]]
}

@test "recordings are replayed and reported directly; a format can be forced" {
    android > a.txt
    run --separate-stderr "$replay" --rounds=1 --repeats=1 --target=glibc a.txt
    [ "$status" -eq 0 ]
    [[ "$stderr" == *"imported android: 5 allocations"* ]]
    [[ "$output" == *"a.txt: 10 operations, 3 threads"* || "$output" == *"a.txt: 9 operations, 3 threads"* ]]
    run "$HAKMEM_BIN/hakmem-report" -q a.txt
    [ "$status" -eq 0 ]
    run "$replay" --rounds=1 --format=rep --target=glibc a.txt
    [ "$status" -eq 2 ]
    run "$replay" import --format=nothing a.txt
    [ "$status" -eq 2 ]
    [[ "$output" == *"unknown format"* ]]
}

@test "what is no recording is refused; nothing is overwritten" {
    echo "hello" > hello
    : > empty
    for wrong in hello empty nothing . /dev/null; do
        run "$replay" import -o out.gz "$wrong"
        [ "$status" -eq 2 ]
        [[ "$output" == "hakmem-replay: '$wrong': "* ]]
    done
    android > a.txt
    "$replay" import -q a.txt
    [ -s a.trace.gz ]
    run "$replay" import a.txt
    [ "$status" -eq 2 ]
    run "$replay" import a.trace.gz
    [[ "$status" -eq 2 && "$output" == *"is a trace already"* ]]
    run "$replay" import --help
    [[ "$status" -eq 0 && "${lines[0]}" == "Examples:" && "$output" == *"heaptrack"* ]]
}

@test "real recordings, where they are at hand" {
    corpus=${HAKMEM_CORPUS:-$HAKMEM_SOURCE/../shared/corpus}
    [ -d "$corpus" ] || corpus=$HAKMEM_SOURCE/../../shared/corpus
    [ -d "$corpus" ] || skip "no folder of real recordings (HAKMEM_CORPUS)"
    import "$corpus/android/systemui.zip"
    json "r['threads'] == 393 and r['threads_ended'] == 357 and r['null_frees'] == 15818 and r['orphan_frees'] == 0"
    json "10.4e6 < r['live_max_bytes'] < 10.5e6 and r['duplicates'] == 0"
    import "$corpus/heaptrack/heaptrack.david.18594.gz"
    json "r['allocations'] == 2896 and r['frees'] == 2859 and r['orphan_frees'] == 0"
    for file in "$corpus"/wee_alloc/*.trace "$corpus"/cheri/*.txt; do
        import "$file"
        json "r['orphan_frees'] == 0 and r['duplicates'] == 0 and r['broken'] == 0 and r['ignored'] == 0"
    done
    "$replay" import -f -q -o out.gz "$corpus/heaptrack/heaptrack.heaptrack_gui.99454.zst" || skip "this build has no libzstd"
    import "$corpus/heaptrack/heaptrack.heaptrack_gui.99454.zst"
    json "r['allocations'] + r['frees'] == 541651 and 12.1e6 < r['live_max_bytes'] < 12.3e6 and r['orphan_frees'] == 0"
}
