# The page of hakmem-report --html. What it shows is looked at in headless Chromium; without one those tests say so.
bats_require_minimum_version 1.5.0

load report_app

browser() { # the name of a Chromium, or the test is skipped
    command -v chromium || command -v chromium-headless-shell || command -v chromium-browser || command -v google-chrome
}

# dom FILE#VIEW: the page as it stands once shown. A view stands in the address, so one can be asked for.
dom() {
    local chromium
    chromium=$(browser) || skip "no Chromium is installed"
    timeout 60 "$chromium" --headless --no-sandbox --disable-gpu --user-data-dir="$BATS_TEST_TMPDIR/chromium" \
        --window-size=1200,900 --dump-dom "file://$BATS_TEST_TMPDIR/$1" 2>/dev/null > page.txt
    grep -q 'data-ready="1"' page.txt
}

text() { # text ID: what stands in an element, without tags
    python3 -c '
import html.parser, sys
class Text(html.parser.HTMLParser):
    depth, out = 0, ""
    def handle_starttag(self, tag, attrs):
        if tag not in ("input", "meta", "br") and (self.depth or ("id", sys.argv[1]) in attrs):
            self.depth += 1
    def handle_endtag(self, tag):
        self.depth -= self.depth > 0
    def handle_data(self, data):
        self.out += data if self.depth else ""
parser = Text()
parser.feed(open("page.txt", encoding="utf-8").read())
print(parser.out)' "$1"
}

@test "the page is whole, alone, and its data is safe in it" {
    printf 'head /tmp/</script><b>x 1\nthread 1 </script>\nmalloc 1 100 0x10\nend 5\n' | "$HAKMEM_BIN/make_trace" evil.gz
    run "$report" --html=page.html evil.gz
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [ "$(grep -c '</script>' page.html)" -eq 2 ]
    ! grep -E '(src|href)="?(https?:)?//' page.html || false
    python3 - <<'END'
import json, re
data = json.loads(re.search(r'id="data">(.*?)</script>', open("page.html", encoding="utf-8").read(), re.S).group(1))
side = data["sides"][0]
assert data["schema"] == 1 and side["totals"]["calls"] == 1 and side["threads"][0]["name"] == "</script>"
END
    run "$report" --html=/nowhere/page.html evil.gz
    [ "$status" -eq 2 ]
}

@test "figures of the tree and of the slices add up to the trace" {
    "$report" --html=page.html "$data/app.gz"
    python3 - <<'END'
import json, re
side = json.loads(re.search(r'id="data">(.*?)</script>', open("page.html", encoding="utf-8").read(), re.S).group(1))["sides"][0]
tree = side["tree"]
sums = {w: sum(tree[w]) for w in ("bytes", "calls", "peak", "live", "temporary")}
assert sums == {"bytes": 18950, "calls": 101, "peak": 17740, "live": 17720, "temporary": 50}, sums
assert all(parent < i or i == 0 for i, parent in enumerate(tree["parent"]))
def unpack(text):
    numbers, value, shift = [], 0, 0
    for c in text:
        digit = ord(c) - (63 if c > "\\" else 62)
        value |= (digit & 31) << shift
        shift += 5
        if digit < 32:
            numbers.append(value)
            value = shift = 0
    assert shift == 0
    return numbers
entries = [unpack(text) for text in side["slices"]["packed"]]
cells = [e[i:i + 5] for e in entries for i in range(0, len(e), 5)]
cells = [c[:4] + [(c[4] >> 1) ^ -(c[4] & 1)] for c in cells]
assert [sum(c[k] for c in cells) for k in (1, 2, 3, 4)] == [101, 18950, 50, 17720]
END
}

@test "it renders, with totals" {
    "$report" --html=a.html "$data/app.gz"
    dom "a.html"
    [[ "$(text title)" == *"/app"* ]]
    [[ "$(text tiles)" == *"101"*"allocations"*"17.3 KiB"*"peak heap"*"50%"*"temporary"* ]]
    [[ "$(text panel)" == *"Cache::add"*"app.cc:9"*"temp"* ]]
    [[ "$(cat page.txt)" == *'data-boxes="4"'* ]]
}

@test "it zooms, searches, inverts and changes the figure" {
    "$report" --html=a.html "$data/app.gz"
    dom "a.html#zoom=Cache::add&search=cache"
    [ "$(text zoomed)" = "Cache::add: 12.5 KiB (67%)" ]
    [ "$(text found)" = "1 function, 12.5 KiB (67%)" ]
    [[ "$(text panel)" == *"Cache::add"* && "$(text panel)" != *"temp"*"app.cc:13"* ]]
    dom "a.html#metric=temporary&invert=1&zoom=temp"
    [ "$(text zoomed)" = "temp: 50 (100%)" ]
}

@test "a range of time is selected" {
    { echo "head $data/app 1"
      echo "module 0x400000 0x500000 0 $data/app"
      for i in $(seq 1 100); do echo "at $((i * 1000000))"; echo "malloc $i 1000 0x10"; done
      echo "end 100000000"; } | "$HAKMEM_BIN/make_trace" r.gz
    "$report" --html=r.html r.gz
    dom "r.html#metric=calls&range=32-64"
    [ "$(text zoomed)" = "25" ]
    [ "$(text range)" = "25.0 ms – 50.0 ms" ]
}

@test "threads, histograms, advice, and both sides of a difference" {
    sed 's/^malloc 7 70 /malloc 7 70000 /' "$data/app.txt" | "$HAKMEM_BIN/make_trace" new.gz
    "$report" --diff --html=d.html "$data/app.gz" new.gz
    dom "d.html#tab=threads"
    [[ "$(text tiles)" == *"allocated"*"+369.0%"* ]]
    [[ "$(text panel)" == *"main"*"worker"*"main 4711 → worker 4712"* ]]
    dom "d.html#metric=bytes"
    [[ "$(text panel)" == *"+68.3 KiB"* ]]
    "$report" --html=d.html "$data/app.gz"
    dom "d.html#tab=histograms"
    [[ "$(text panel)" == *"≤ 32 B"*"to exit"* ]]
}

@test "mouse and keys, and windows of every width" {
    command -v node >/dev/null || skip "node is not installed"
    local chromium
    chromium=$(browser) || skip "no Chromium is installed"
    "$report" --html=a.html "$data/app.gz"
    run timeout 120 node "$BATS_TEST_DIRNAME/readers/page.js" "$BATS_TEST_TMPDIR/a.html" "$chromium" "$BATS_TEST_TMPDIR"
    [ "$status" -eq 0 ]
    [ -s sites.png ]
}
