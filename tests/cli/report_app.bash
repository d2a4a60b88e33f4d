# A program whose addresses we know, and traces of it made from text: for the bats files of hakmem-report.

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    cat > app.cc <<'END'
#include <cstdlib>
struct Cache { void add(int n); };
__attribute__((noinline)) void *xmalloc(size_t n)
{
    return malloc(n);
}
__attribute__((noinline)) void Cache::add(int n)
{
    xmalloc((size_t)n);
}
__attribute__((noinline)) int temp(int n)
{
    free(malloc((size_t)n));
    return n;
}
int main()
{
    Cache c;
    for (int i = 0; i < 100; i++) { temp(i); c.add(i); }
}
END
    g++ -g -O0 -no-pie -Wl,--build-id=none -o app app.cc
    strip -o stripped app
    { trace_of app 1000000; echo "end 60000000"; } > app.txt
    "$HAKMEM_BIN/make_trace" app.gz < app.txt
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    data=$BATS_FILE_TMPDIR
    report=$HAKMEM_BIN/hakmem-report
}

address() { # address PROGRAM FUNCTION: of an instruction inside
    printf '0x%x' $((0x$(nm -C "$1" | awk -v n="$2" '{ a = $1; $1 = $2 = ""; sub(/^ +/, ""); if ($0 == n) print a }') + 20))
}

# 50 blocks of 10, 20 … 500 bytes kept by Cache::add through a wrapper, each beside a temporary one of 24 bytes; then
# another thread grows the first to 5000 and frees the second.
trace_of() { # trace_of PROGRAM RSS
    local x c t m i
    x=$(address app 'xmalloc(unsigned long)') c=$(address app 'Cache::add(int)') t=$(address app 'temp(int)')
    m=$(address app main)
    echo "head $PWD/$1 4711"
    echo "module 0x400000 0x500000 0 $PWD/$1"
    echo "thread 4711 main"
    for i in $(seq 1 50); do
        echo "at +1000"
        echo "malloc $i $((i * 10)) $x,$c,$m"
        echo "malloc 1000 24 $t,$m"
        echo "at +200"
        echo "free 1000"
    done
    echo "rss $2"
    echo "thread 4712 worker"
    echo "realloc 1 60 5000 $t,$m"
    echo "free 2"
}

json() { # json EXPRESSION: of result.json, which is `r`
    python3 -c "import json, sys; r = json.load(open('result.json')); t = r['traces'][0]; sys.exit(0 if ($1) else 1)"
}
