#!/usr/bin/env bats
# What was recorded is what is replayed: random programs with threads, through the real recorder. The program
# says at 1000 cuts what is live; the replay must hold the same multiset of blocks there.

load scenes.bash
setup() { scenes_setup; }

# live NOTES OUTPUT: the live multiset at each marked cut of the replay's calls is what the program printed.
live() {
  /usr/bin/python3 - "$1" "$2" <<'PYTHON'
import array, sys
M = (1 << 64) - 1
def mix(x):  # hak_mix64
    x ^= x >> 30; x = x * 0xbf58476d1ce4e5b9 & M
    x ^= x >> 27; x = x * 0x94d049bb133111eb & M
    return x ^ x >> 31
notes = array.array('Q'); notes.frombytes(open(sys.argv[1], 'rb').read())
wanted = dict((int(n), int(h, 16)) for n, h in (l.split() for l in open(sys.argv[2])))
known, live, cuts, wrong = {}, 0, 0, 0
for note in notes:
    if note == 0:
        break
    size, freed = note >> 1, note & 1
    if size % 16 == 11:
        if not freed:
            cuts += 1
            wrong += wanted[size // 16] != live
        continue
    h = known.get(size)
    if h is None:
        h = known[size] = mix(size)
    live = (live - h if freed else live + h) & M
print(cuts, "cuts,", wrong, "wrong")
sys.exit(wrong != 0 or cuts != len(wanted))
PYTHON
}

# loop THREADS: through all of it once.
loop() {
  hakmem-trace -q -f -o live.gz "$HAKMEM_BIN/live_program" "$1" 1000 "$1" >cuts.txt
  [ "$(wc -l <cuts.txt)" -eq 1000 ]
  whole live.gz
  rm -f notes && truncate -s 32M notes
  hakmem-replay -q --json --rounds=1 --repeats=1 --plain --order=strict \
    --target="$HAKMEM_BIN/../lib/libnote_malloc.so:NOTE_FILE=$PWD/notes" live.gz >result.json
  live notes cuts.txt
}

@test "the multiset of live blocks is the recorded one at 1000 cuts, with 1, 3 and 20 threads" {
  loop 1
  loop 3
  loop 20
}

@test "the window keeps the greatest sum of live bytes within 5 % with 20 threads, which reorder the most" {
  hakmem-trace -q -f -o live.gz "$HAKMEM_BIN/live_program" 20 1000 7 >/dev/null
  hakmem-replay -q --json --rounds=1 --repeats=1 --target=glibc live.gz >result.json
  /usr/bin/python3 -c "
import json
r = json.load(open('result.json')); t = [t for t in r['targets'] if t['name'] == 'glibc'][0]
ratio = t['replayed_live_max_bytes'] / r['traces'][0]['live_max_bytes']
print(ratio); assert 0.95 < ratio < 1.05"
}
