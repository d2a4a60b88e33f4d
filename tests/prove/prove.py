"""The proof; run by scripts/prove, which says how. Records, trains, measures, writes docs/results.md."""
import argparse
import datetime
import fcntl
import hashlib
import math
import os
import pathlib
import platform
import random
import re
import subprocess
import sys
import tempfile
import time

import inputs
import servers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN, LIB = ROOT / "build/release/bin", ROOT / "build/release/lib"
HAKMEM = str(LIB / "libhakmem.so")
TRAIN, UNSEEN = "abc", "de"
PROGRAMS = ["sqlite3", "jq", "cc1plus", "z3", "ghostscript", "perl", "lua", "python3", "sessions", "redis"]
PEERS = [("mimalloc", "libmimalloc.so.2", {"MIMALLOC_PAGE_RESET": "0"}),
         ("jemalloc", "libjemalloc.so.2", {"MALLOC_CONF": "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0"}),
         ("tcmalloc", "libtcmalloc_minimal.so.4", {"TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES": "67108864"})]


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", flush=True)


def environment(extra):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HAKMEM", "LD_PRELOAD", "MALLOC"))}
    return {**env, "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", **extra}


def peer_path(name):
    text = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, text=True).stdout
    found = re.search(re.escape(name) + r" .*=> (\S+)", text)
    return found.group(1) if found else None


# ---- one run ----

def runner(folder):
    path = pathlib.Path(folder) / "run_once"
    if not path.exists():
        subprocess.run(["cc", "-O2", "-o", path, ROOT / "tests/prove/run_once.c"], check=True)
    return str(path)


def run_plain(argv, stdin, extra, folder):
    """Figures of one process: seconds, KiB, and a digest of what it printed."""
    out = pathlib.Path(folder) / "out"
    extra = {("RUN_ONCE_PRELOAD" if key == "LD_PRELOAD" else key): value for key, value in extra.items()}
    report, write_end = os.pipe()
    with open(stdin) as source, open(out, "wb") as sink:
        # descriptor 3 is the runner's report
        subprocess.run(["/bin/sh", "-c", f'exec 3>&{write_end}; exec "$@"', "sh", runner(folder), *argv], stdin=source,
                       stdout=sink, stderr=subprocess.DEVNULL, env=environment(extra), pass_fds=(write_end,), check=True)
    os.close(write_end)
    with os.fdopen(report) as lines:
        wall, cpu, peak, mean, status = lines.read().split()
    return {"wall": float(wall), "cpu": float(cpu), "peak": int(peak), "mean": float(mean),
            "digest": f"{status} " + hashlib.sha256(out.read_bytes()).hexdigest()}


class Program:
    def __init__(self, name, scale, folder):
        self.name, self.scale, self.folder = name, scale, folder
        self.commands = {}

    def command(self, letter):
        if letter not in self.commands:
            if self.name == "sessions":
                binary = pathlib.Path(self.folder) / "sessions"
                if not binary.exists():
                    subprocess.run(["g++", "-O2", "-g", "-o", binary, ROOT / "tests/programs/input/sessions.cc"], check=True)
                self.commands[letter] = ([str(binary), str(ord(letter)), str(int(700 * self.scale))], "/dev/null")
            else:
                self.commands[letter] = inputs.make(self.name, letter, self.scale, self.folder)
        return self.commands[letter]

    def run(self, letter, extra):
        if self.name == "redis":
            return servers.run("/usr/bin/redis-server", letter, self.scale, self.folder, environment(extra))
        argv, stdin = self.command(letter)
        return run_plain(argv, stdin, extra, self.folder)

    def record(self, letter):
        path = f"{self.folder}/{self.name}.{letter}.trace.gz"
        if os.path.exists(path):
            return path
        wrapper = [str(BIN / "hakmem-trace"), "-q", "-f", "-o", path]
        if self.name == "redis":
            servers.run("/usr/bin/redis-server", letter, self.scale, self.folder, environment({}), wrapper)
        else:
            argv, stdin = self.command(letter)
            with open(stdin) as source:
                subprocess.run([*wrapper, "--", *argv], stdin=source, stdout=subprocess.DEVNULL, env=environment({}), check=True)
        return path


# ---- training ----

def train(program, seconds):
    """(policy, policy without sites or None, what the training said, seconds)"""
    policy = f"{program.folder}/{program.name}.policy"
    said = policy + ".said"
    begun = time.perf_counter()
    if not os.path.exists(policy):
        a, b, c = (program.record(letter) for letter in TRAIN)
        with open(said, "w") as out:
            subprocess.run([BIN / "hakmem-replay", "--mode=learning", f"--time-limit={seconds}", "--seed=1", f"--holdout={c}",
                            f"--export={policy}", f"--match-log={policy}.log", a, b], stderr=out, check=True)
    took = time.perf_counter() - begun
    text = subprocess.run([BIN / "hakmem-policy", "decompile", policy], stdout=subprocess.PIPE, text=True, check=True).stdout
    bare = None
    if re.search(r"^ *site ", text, re.M):
        bare = f"{program.folder}/{program.name}.global.policy"
        kept = [line for line in text.splitlines() if not re.match(r" *(site|gate|module|set guard)", line)]
        pathlib.Path(bare + ".txt").write_text("\n".join(kept) + "\n")
        subprocess.run([BIN / "hakmem-policy", "compile", "-o", bare, bare + ".txt"], check=True)
    return policy, bare, pathlib.Path(said).read_text(), text, took


def variants(policy, bare, quick):
    result = {"glibc": {}}
    for name, library, tuned in PEERS:
        path = peer_path(library)
        if path:
            result[name] = {"LD_PRELOAD": path}
            if not quick:
                result[name + " tuned"] = {"LD_PRELOAD": path, **tuned}
    result["hakmem balanced"] = {"LD_PRELOAD": HAKMEM}
    fast = {"LD_PRELOAD": HAKMEM, "HAKMEM_MODE": "fast"}
    if bare:
        result["hakmem fast, global policy"] = {**fast, "HAKMEM_POLICY": bare}
    result["hakmem fast+policy"] = {**fast, "HAKMEM_POLICY": policy}
    return result


# ---- estimates ----

def estimate(values):
    """Median of the pairwise means with the interval of the signed-rank test (Hodges and Lehmann, 1963)."""
    means = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    n = len(values)
    rank = n * (n + 1) / 4 - 1.96 * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    middle = means[len(means) // 2]
    if n < 6 or rank < 1:
        return middle, -math.inf, math.inf
    return middle, means[int(rank) - 1], means[len(means) - int(rank)]


def ratio(runs, name, base, key):
    logs = [math.log(max(a[key], 1e-9) / max(b[key], 1e-9)) for letter in UNSEEN
            for a, b in zip(runs[letter][name], runs[letter][base])]
    middle, low, high = estimate(logs)
    return math.exp(middle), math.exp(low), math.exp(high)


def text_of(r):
    if not math.isfinite(r[2]):
        return f"{r[0]:.2f}"
    mark = "*" if r[1] > 1 or r[2] < 1 else ""
    return f"{r[0]:.2f} [{r[1]:.2f}, {r[2]:.2f}]{mark}"


# ---- a program ----

def measure(program, options, lock):
    policy, bare, said, text, took = train(program, options.seconds)
    kinds = variants(policy, bare, options.quick)
    runs = {letter: {name: [] for name in kinds} for letter in UNSEEN}
    digests, changed = {}, []
    rng = random.Random(1)
    for letter in UNSEEN:
        for _ in range(options.rounds):
            if lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
            for name in rng.sample(list(kinds), len(kinds)):
                figures = program.run(letter, kinds[name])
                runs[letter][name].append(figures)
                if digests.setdefault(letter, figures["digest"]) != figures["digest"] and name not in changed:
                    changed.append(name)
            if lock:
                fcntl.flock(lock, fcntl.LOCK_UN)
    for name in kinds:
        say(f"  {name:28} time {text_of(ratio(runs, name, 'glibc', 'cpu')):28} peak {text_of(ratio(runs, name, 'glibc', 'peak'))}")
    return {"runs": runs, "kinds": list(kinds), "said": said, "policy": text, "took": took, "changed": changed}


def program_section(name, r):
    lines = [f"## {name}", "", "| allocator | processor time | wall | peak RSS | mean RSS |" + (" p99 of a request |" if name == "redis" else ""),
             "|---|---|---|---|---|" + ("---|" if name == "redis" else "")]
    keys = ["cpu", "wall", "peak", "mean"] + (["p99"] if name == "redis" else [])
    for kind in r["kinds"]:
        lines.append(f"| {kind} | " + " | ".join(text_of(ratio(r["runs"], kind, "glibc", key)) for key in keys) + " |")
    versus = [text_of(ratio(r["runs"], "hakmem fast+policy", "hakmem balanced", key)) for key in ("cpu", "peak")]
    lines += ["", f"fast+policy against balanced: time {versus[0]}, peak RSS {versus[1]}. Training took {r['took']:.0f} s and said:", "", "```"]
    lines += [line for line in r["said"].splitlines() if line.strip() and not line.startswith(("  use:", "hakmem-replay:"))]
    lines += ["```", ""]
    if r["changed"]:
        lines += ["**The output changed under: " + ", ".join(r["changed"]) + ".**", ""]
    return lines


def geometric(results, name, base, key):
    return math.exp(sum(math.log(ratio(r["runs"], name, base(r), key)[0]) for r in results.values()) / len(results))


def best_peer(r, key):
    peers = [kind for kind in r["kinds"] if not kind.startswith("hakmem")]
    return min(peers, key=lambda kind: ratio(r["runs"], kind, "glibc", key)[0])


def summary(results):
    lines = ["| program | time against balanced | peak RSS against balanced | time against the best peer | peak RSS against the best peer | sites |",
             "|---|---|---|---|---|---|"]
    won, lost = 0, []
    for name, r in results.items():
        policy = "hakmem fast+policy"
        time_r, rss_r = (ratio(r["runs"], policy, "hakmem balanced", key) for key in ("cpu", "peak"))
        peers = [best_peer(r, key) for key in ("cpu", "peak")]
        against = [text_of(ratio(r["runs"], policy, peer, key)) + f" ({peer})" for peer, key in zip(peers, ("cpu", "peak"))]
        sites = len(re.findall(r"^ *site ", r["policy"], re.M))
        won += time_r[0] <= 0.97 or rss_r[0] <= 0.90
        if time_r[1] > 1.01 or rss_r[1] > 1.01:
            lost.append(name)
        lines.append(f"| {name} | {text_of(time_r)} | {text_of(rss_r)} | {against[0]} | {against[1]} | {sites} |")
    policy = "hakmem fast+policy"
    lines += ["", f"- At least 3% of time or 10% of peak RSS won against balanced: {won} of {len(results)} programs (target: half).",
              f"- Worse than balanced by more than 1%, beyond noise: {', '.join(lost) or 'none'} (target: none).",
              f"- Geometric mean against the best peer of each program, picked by what is compared: time "
              f"{geometric(results, policy, lambda r: best_peer(r, 'cpu'), 'cpu'):.2f} (target 0.95), peak RSS "
              f"{geometric(results, policy, lambda r: best_peer(r, 'peak'), 'peak'):.2f} (target 1.0)."]
    return lines


def write(path, results, options):
    lines = ["# Results", "",
             "Written by `scripts/prove" + (" --quick" if options.quick else "") + "`; nothing here is edited by hand. Each program is "
             "recorded on two inputs to train on and a third to validate; the figures are of the programs themselves on two further "
             "inputs, of other tasks, that nobody had seen. Ratios to glibc, medians over "
             f"{options.rounds} interleaved rounds and both inputs with 95% intervals; * where the interval excludes 1. Processor time, not "
             "wall time, is what the conclusions use: the machine is shared.", "",
             f"Machine: {platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}; {datetime.date.today()}.", "",
             "## All programs", "", *summary(results), ""]
    for name, r in results.items():
        lines += program_section(name, r)
    pathlib.Path(path).write_text("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(prog="scripts/prove")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--lock")
    parser.add_argument("--keep")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--scale", type=float, help="of the inputs")
    parser.add_argument("--seconds", type=int, help="of training, a program")
    parser.add_argument("--out", default=str(ROOT / "docs/results.md"))
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 6)
    options.seconds = options.seconds or (12 if options.quick else 60)
    names = options.only.split(",") if options.only else PROGRAMS
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        parser.error(f"no such program: {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    lock = open(options.lock, "w") if options.lock else None
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or temporary
        os.makedirs(folder, exist_ok=True)
        for name in names:
            say(name)
            results[name] = measure(Program(name, options.scale or (0.3 if options.quick else 1.0), folder), options, lock)
            write(options.out, results, options)
    say(f"wrote {options.out}")
    return 1 if any(r["changed"] for r in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
