"""Inputs of the proof: six tasks of different kinds for each program, made from a seed and nothing else.

make(program, letter, scale, folder) writes what the program reads and returns (argv, stdin path). Letters a, b and c are
trained on, f decides whether the policy is frozen, d and e are seen by nobody before the last table. Scale 1.0 runs for about a
second here.
"""
import json
import pathlib
import random
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
LETTERS = "abcdef"
WORDS = ("amber birch cedar delta ember fjord grove harbor island juniper kernel lantern meadow north opal prairie quartz "
         "river summit timber umber valley willow yarrow zephyr").split()


def sentence(rng, low, high):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def write(folder, name, text):
    path = pathlib.Path(folder) / name
    path.write_text(text)
    return str(path)


# ---- sqlite3 ----

SQL = {"a": ("mixed", 11), "b": ("orders", 12), "c": ("reports", 13), "d": ("ledger", 14), "e": ("series", 15),
       "f": ("desk", 16)}

SQL_ROWS = 120000  # that are there before the first statement


def sqlite3(letter, scale, folder):
    shape, seed = SQL[letter]
    count = int({"reports": 60, "series": 250, "ledger": 1200, "orders": 1500, "desk": 150}.get(shape, 120) * scale)
    path = pathlib.Path(folder) / f"sqlite3.{letter}.sql"
    with open(path, "w") as out:
        subprocess.run([sys.executable, HERE.parent / "programs/input/statements.py", str(seed), str(count), shape,
                        str(int(SQL_ROWS * scale))],
                       stdout=out, check=True)
    return ["/usr/bin/sqlite3", ":memory:"], str(path)


# ---- jq ----

JQ = {
    "a": 'map(select(.price > 5000) | {id, kind, words: (.text | split(" ") | length)}) | group_by(.kind) '
         '| map({kind: .[0].kind, n: length, words: (map(.words) | add)})',
    "b": '[.[] | select(.parts | length == 5) | tostream | select(length == 2) | .[0] |= map(tostring) | .[0] | join("/")] | group_by(.) | map([.[0], length]) '
         '| sort_by(.[1]) | .[-20:]',
    "c": 'map(.parts | map(.name) | join("+")) | unique | length',
    "d": 'map(select(.price > 9000) | walk(if type == "string" then ascii_upcase else . end)) | sort_by(.price, .id) | .[0:50]',
    "e": 'reduce .[] as $d ({}; .[$d.kind][$d.tags[0] // "none"] += ($d.text | ltrimstr("amber") | length))',
    "f": 'map({(.kind): (.parts | map({key: .name, value: .n}) | from_entries)}) | map(to_entries[]) | group_by(.key) '
         '| map({key: .[0].key, value: (map(.value) | add | length)}) | from_entries',
}


def jq(letter, scale, folder):
    rng = random.Random(100 + ord(letter))
    docs = [{"id": n, "kind": rng.choice(WORDS), "price": rng.randint(1, 10**6) / 100, "text": sentence(rng, 1, 30),
             "tags": rng.choices(WORDS, k=rng.randint(0, 6)),
             "parts": [{"n": i, "name": rng.choice(WORDS) + str(i)} for i in range(rng.randint(0, 6))]}
            for n in range(int(20000 * scale))]
    path = write(folder, f"jq.{letter}.json", json.dumps(docs))
    return ["/usr/bin/jq", "-c", JQ[letter], path], "/dev/null"


# ---- the C++ compiler ----

CC_HEADS = {
    "a": ["map", "string", "vector", "algorithm", "sstream"],
    "b": ["regex", "iostream", "set"],
    "c": ["variant", "tuple", "optional", "memory", "functional"],
    "d": ["unordered_map", "deque", "random", "chrono", "iomanip"],
    "e": ["thread", "future", "mutex", "list", "numeric"],
    "f": ["array", "queue", "string_view", "bitset", "type_traits"],
}
CC_BODIES = {
    "a": "std::map<std::string, std::vector<T{n}>> m; for (int i = 0; i < 9; i++) m[std::to_string(i)].push_back(T{n}{{i}});\n"
         "  auto &v = m[\"3\"]; std::sort(v.begin(), v.end(), [](const T{n} &a, const T{n} &b) {{ return a.x < b.x; }});\n"
         "  std::ostringstream o; for (auto &p : m) o << p.first << p.second.size(); return (int)o.str().size();",
    "b": "std::regex r(\"[a-{c}]+{n}\"); std::set<T{n}> s; for (int i = 0; i < 9; i++) s.insert(T{n}{{i}});\n"
         "  std::cout << s.size(); return std::regex_match(\"abc\", r) ? 1 : (int)s.size();",
    "c": "std::variant<int, T{n}, std::unique_ptr<T{n}>> v = std::make_unique<T{n}>(T{n}{{{n}}});\n"
         "  std::function<int(std::tuple<int, T{n}>)> f = [](std::tuple<int, T{n}> t) {{ return std::get<0>(t) + std::get<1>(t).x; }};\n"
         "  std::optional<int> o = f({{3, T{n}{{4}}}}); return o.value_or(0) + (int)v.index();",
    "d": "std::unordered_map<int, std::deque<T{n}>> m; std::mt19937 g({n}); for (int i = 0; i < 9; i++) m[g() % 7].push_front(T{n}{{i}});\n"
         "  auto t = std::chrono::steady_clock::now(); int s = 0; for (auto &p : m) for (auto &q : p.second) s += q.x;\n"
         "  return s + (int)std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - t).count();",
    "e": "std::list<T{n}> l; std::mutex m; for (int i = 0; i < 9; i++) l.push_back(T{n}{{i}});\n"
         "  auto f = std::async([&] {{ std::lock_guard<std::mutex> g(m); return std::accumulate(l.begin(), l.end(), 0, [](int a, const T{n} &b) {{ return a + b.x; }}); }});\n"
         "  l.sort(); return f.get();",
    "f": "std::array<T{n}, 9> a{{}}; std::priority_queue<int> q; std::bitset<{n} + 9> b; for (int i = 0; i < 9; i++) {{ a[i].x = i; q.push(i * {n} % 7); b.set(i); }}\n"
         "  std::string_view s = \"abc{c}\"; static_assert(std::is_aggregate_v<T{n}>); return q.top() + (int)b.count() + a[3].x + (int)s.find('{c}');",
}


def cc1plus(letter, scale, folder):
    rng = random.Random(200 + ord(letter))
    parts = [f"#include <{head}>" for head in CC_HEADS[letter]]
    for n in range(int({"a": 3, "d": 2, "e": 0}.get(letter, 4) * scale) + 1):
        fields = "".join(f" int f{i};" for i in range(rng.randint(0, 5)))
        parts.append(f"struct T{n} {{ int x;{fields} bool operator<(const T{n} &o) const {{ return x < o.x; }} }};\n"
                     f"int work{n}() {{\n  " + CC_BODIES[letter].format(n=n, c=rng.choice("klmnop")) + "\n}")
    source = write(folder, f"cc1plus.{letter}.cc", "\n".join(parts) + "\n")
    whole = source.replace(".cc", ".ii")
    subprocess.run(["g++", "-std=c++17", "-E", "-o", whole, source], check=True)
    compiler = subprocess.run(["g++", "-print-prog-name=cc1plus"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    level = {"a": "-O1", "b": "-O0", "c": "-O2", "d": "-O1", "e": "-O2", "f": "-O1"}[letter]
    return [compiler, "-quiet", "-std=c++17", "-fpreprocessed", level, whole, "-o", "-"], "/dev/null"


# ---- z3 ----

def z3_bits(rng, n):
    lines = [f"(declare-const x{i} (_ BitVec 16))" for i in range(n)]
    for i in range(n - 1):
        lines.append(f"(assert (= (bvmul x{i} #x{rng.randint(3, 999) | 1:04x}) (bvadd x{i + 1} #x{rng.randint(1, 65535):04x})))")
        lines.append(f"(assert (bvult (bvand x{i} x{(i * 7) % n}) #x{rng.randint(40000, 65535):04x}))")
    return lines


def z3_jobs(rng, n):
    lines = [f"(declare-const s{i} Int)(assert (>= s{i} 0))" for i in range(n)]
    for _ in range(2 * n):
        a, b = rng.sample(range(n), 2)
        lines.append(f"(assert (or (>= s{a} (+ s{b} {rng.randint(1, 9)})) (>= s{b} (+ s{a} {rng.randint(1, 9)}))))")
    return lines + [f"(assert (<= s{i} {5 * n // 2}))" for i in range(n)]


def z3_arrays(rng, n):
    lines = ["(declare-const a0 (Array Int Int))"]
    for i in range(n):
        lines.append(f"(declare-const i{i} Int)(assert (and (>= i{i} 0) (< i{i} {n})))")
        lines.append(f"(define-fun a{i + 1} () (Array Int Int) (store a{i} i{i} (+ (select a{i} i{rng.randint(0, i)}) {rng.randint(1, 5)})))")
    return lines + [f"(assert (> (select a{n} {k}) {rng.randint(1, 3)}))" for k in range(0, n, 3)]


def z3_rooms(rng, n):
    lines = [f"(declare-const p{i}_{j} Bool)" for i in range(n) for j in range(n)]
    lines += ["(assert (or " + " ".join(f"p{i}_{j}" for j in range(n)) + "))" for i in range(n)]
    lines += [f"(assert (not (and p{i}_{j} p{k}_{j})))" for j in range(n) for i in range(n) for k in range(i)]
    return lines + [f"(assert (or (not p{rng.randrange(n)}_{rng.randrange(n)}) p{rng.randrange(n)}_{rng.randrange(n)}))"
                    for _ in range(n * n)]


def z3_reals(rng, n):
    lines = [f"(declare-const r{i} Real)" for i in range(n)]
    for _ in range(3 * n):
        a, b, c = rng.sample(range(n), 3)
        lines.append(f"(assert (<= (+ (* {rng.randint(1, 9)} r{a}) (* {rng.randint(-9, -1)} r{b}) r{c}) {rng.randint(5, 50)}))")
    return lines + ["(assert (> (+ " + " ".join(f"r{i}" for i in range(n)) + f") {n}))"]


def z3_strings(rng, n):
    lines = [f"(declare-const t{i} String)" for i in range(n)]
    for i in range(n):
        lines.append(f"(assert (= (str.len t{i}) {rng.randint(3, 9)}))")
        lines.append(f"(assert (str.contains t{i} \"{rng.choice(WORDS)[:2]}\"))")
        if i:
            lines.append(f"(assert (str.prefixof (str.substr t{i} 0 1) t{i - 1}))")
    return lines


Z3 = {"a": (z3_bits, 40, 5), "b": (z3_jobs, 120, 14), "c": (z3_arrays, 40, 1), "d": (z3_rooms, 26, 2), "e": (z3_reals, 40, 2),
      "f": (z3_strings, 8, 4)}


def z3(letter, scale, folder):
    maker, size, problems = Z3[letter]
    text = []
    for k in range(max(1, int(problems * scale))):
        rng = random.Random(300 + ord(letter) * 10 + k)
        text += ["(reset)", *maker(rng, size), "(check-sat)"]
    return ["/usr/bin/z3", "-T:60", write(folder, f"z3.{letter}.smt2", "\n".join(text) + "\n")], "/dev/null"


# ---- ghostscript ----

def gs_text(rng, pages):
    for _ in range(pages):
        for y in range(760, 40, -11):
            size, font = rng.randint(6, 11), rng.choice(["Times-Roman", "Helvetica", "Courier", "Times-Italic"])
            yield f"/{font} findfont {size} scalefont setfont 40 {y} moveto ({sentence(rng, 6, 14)}) show"
        yield "showpage"


def gs_paths(rng, pages):
    for _ in range(pages):
        for _ in range(350):
            c = [rng.randint(20, 780) for _ in range(8)]
            yield (f"{rng.random():.2f} {rng.random():.2f} {rng.random():.2f} setrgbcolor {c[0]} {c[1]} moveto "
                   f"{c[2]} {c[3]} {c[4]} {c[5]} {c[6]} {c[7]} curveto closepath {rng.choice(['fill', 'stroke', 'eofill'])}")
        yield "showpage"


def gs_images(rng, pages):
    for _ in range(pages):
        for k in range(10):
            width = rng.choice([16, 32, 48])
            data = "".join(f"{rng.randrange(256):02x}" for _ in range(width * width))
            yield (f"gsave {rng.randint(0, 400)} {rng.randint(0, 600)} translate {rng.randint(50, 300)} {rng.randint(50, 300)} scale "
                   f"{width} {width} 8 [{width} 0 0 -{width} 0 {width}] {{<{data}>}} image grestore")
        yield "showpage"


def gs_program(rng, pages):
    yield ("/tree { dup 0 gt { gsave 0 0 moveto 0 30 lineto stroke 0 30 translate 0.75 0.75 scale dup 1 sub "
           "25 rotate dup tree -50 rotate tree grestore pop } { pop } ifelse } bind def")
    for _ in range(pages):
        yield f"gsave 300 100 translate {rng.randint(2, 4)} dup scale {rng.randint(8, 9)} tree grestore"
        yield f"0 1 4000 {{ dup {rng.randint(3, 9)} mod array pop 12 string cvs pop }} for showpage"


def gs_mixed(rng, pages):
    for maker in (gs_text, gs_paths, gs_images):
        yield from maker(rng, max(1, pages // 3))


def gs_forms(rng, pages):
    yield "/Times-Roman findfont 9 scalefont setfont /cell { moveto 90 0 rlineto 0 14 rlineto -90 0 rlineto closepath stroke } bind def"
    for _ in range(pages):
        for y in range(60, 760, 16):
            for x in range(40, 540, 100):
                yield f"{x} {y} cell {x + 4} {y + 4} moveto ({rng.choice(WORDS)} {rng.randint(1, 999)}) show"
        yield "showpage"


GS = {"a": (gs_text, 10), "b": (gs_paths, 50), "c": (gs_images, 16), "d": (gs_program, 60), "e": (gs_mixed, 12),
      "f": (gs_forms, 24)}


def ghostscript(letter, scale, folder):
    maker, pages = GS[letter]
    rng = random.Random(400 + ord(letter))
    path = write(folder, f"gs.{letter}.ps", "%!PS\n" + "\n".join(maker(rng, max(1, int(pages * scale)))) + "\n")
    device = "pdfwrite" if letter in "bd" else "png16m"
    return ["/usr/bin/gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", "-r110", "-o", "/dev/null", path], "/dev/null"


# ---- interpreters ----

PERL = {
    "a": 'my %h; for my $i (1..$n) { my $k = "k".($i*7919 % 100003); $h{$k} .= " $i"; delete $h{$k} if length $h{$k} > 60 } print scalar(keys %h), "\\n";',
    "b": 'my @a = map { join "-", $_, $_*3 % 17, "x" x ($_ % 40) } 1..$n/2; my @s = sort { $a cmp $b } @a; print "$s[0] $s[-1]\\n";',
    "c": 'my %c; for my $i (1..$n/2) { $c{$_}{$i % 7}++ for "word".($i*31 % 60013), "t".($i % 977) } print scalar(keys %c), " ", join(",", (sort keys %c)[0..20]), "\\n";',
    "d": 'my @q; for my $i (1..$n) { push @q, { id => $i, tags => [map { $i * $_ % 11 } 1..4] }; shift @q if @q > 60000 } my $s = 0; $s += $_->{tags}[1] for @q; print "$s\\n";',
    "e": 'my %t; for my $i (1..$n/2) { my $p = \\%t; $p = $p->{$_} //= {} for split //, $i*31 % 99991 } my @w = (\\%t); my $c = 0; while (my $x = pop @w) { $c++; push @w, values %$x } print "$c\\n";',
    "f": 'my ($s, %g) = (""); for my $i (1..$n*2/3) { my $l = join ",", $i, $i*7 % 31, "v$i"; my @f = split /,/, $l; push @{$g{$f[1]}}, uc $f[2]; if ($i % 40000 == 0) { $s = join "|", map { scalar @{$g{$_}} } sort keys %g } } print "$s\\n";',
}


def perl(letter, scale, folder):
    return ["/usr/bin/perl", "-e", f"my $n = {int(600000 * scale)}; {PERL[letter]}"], "/dev/null"


LUA = {
    "a": 'local t = {} for i = 1, n do t[i % 200003] = "k" .. i end print(#t)',
    "b": 'local q = {} for i = 1, n do q[#q + 1] = {i, i * 3 % 17} if #q > 150000 then q = {} end end print(#q)',
    "c": 'local s = {} for i = 1, n // 4 do s[#s + 1] = string.rep("ab", i % 30) .. i end table.sort(s) print(s[1], #table.concat(s))',
    "d": 'local t = {} for i = 1, n // 2 do local p = t for c in tostring(i * 31 % 299993):gmatch(".") do p[c] = p[c] or {} p = p[c] end end print(next(t) ~= nil)',
    "e": 'local f = {} for i = 1, n // 2 do local k = i f[i % 200003] = function() return k end end print(f[5]())',
    "f": 'local r = {} for i = 1, n // 6 do local l = i .. ";" .. i % 31 .. ";v" .. i local f = {} for p in l:gmatch("[^;]+") do f[#f + 1] = p end r[i % 80021] = f end print(#r)',
}


def lua(letter, scale, folder):
    return ["/usr/bin/lua5.4", write(folder, f"lua.{letter}.lua", f"local n = {int({'c': 800000, 'e': 6000000, 'b': 2000000}.get(letter, 1000000) * scale)} {LUA[letter]}\n")], "/dev/null"


def python3(letter, scale, folder):
    return ["/usr/bin/python3", str(HERE / "python_tasks.py"), letter, str(2.5 * scale)], "/dev/null"


MAKERS = {"sqlite3": sqlite3, "jq": jq, "cc1plus": cc1plus, "z3": z3, "ghostscript": ghostscript, "perl": perl,
          "lua": lua, "python3": python3}


def make(program, letter, scale, folder):
    return MAKERS[program](letter, scale, folder)
