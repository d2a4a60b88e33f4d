"""The proof; run by scripts/prove, which says how. Records, trains and measures one program after the other, keeps what it found
in build/prove/PROGRAM.json, and writes docs/results.md from all that is there."""
import argparse
import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

import figures
import peers
import programs
import table
from programs import BIN, HELD_OUT, ROOT, TRAIN, UNSEEN

HAKMEM = str(ROOT / "build/release/lib/libhakmem.so")
FAST = {"LD_PRELOAD": HAKMEM, "HAKMEM_MODE": "fast"}
# Minutes of load: the allocators at their defaults, and hakmem.
LONG = ("glibc", "mimalloc", "jemalloc", "tcmalloc", "hakmem balanced", "hakmem fast+policy")
DECISIVE = ("glibc", "hakmem balanced", "hakmem fast+policy", "hakmem fast+rss policy")
LOCK_S = 30


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", flush=True)


def commit():
    """Of the build, not of the tree: scripts/prove writes it down when it has built."""
    path = ROOT / "build/release/built-from"
    return path.read_text().strip() if path.exists() else "unknown"


# ---- training ----

def policy_text(path):
    return subprocess.run([BIN / "hakmem-policy", "decompile", path], stdout=subprocess.PIPE, text=True, check=True).stdout


def families(path):
    """What `ablate` can leave out of this policy."""
    said = subprocess.run([BIN / "hakmem-policy", "ablate", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line.split()[0] for line in said.splitlines() if re.match(r"\S+ +[1-9]", line)]


def without(policy, family, path):
    subprocess.run([BIN / "hakmem-policy", "ablate", f"--without={family}", "-o", path, policy], check=True)
    return path


def without_sites(trained, path):
    """The settings and size classes alone, or None where there is nothing else."""
    lines = trained["text"].splitlines()
    kept = [line for line in lines if not re.match(r" *(site|gate|module|set guard)", line)]
    if len(kept) == len(lines):
        return None
    pathlib.Path(path + ".txt").write_text("\n".join(kept) + "\n")
    subprocess.run([BIN / "hakmem-policy", "compile", "-o", path, path + ".txt"], check=True)
    return path


def train(program, objective, seconds):
    """What training said; the policy is in the program's folder."""
    policy = f"{program.folder}/{objective}.policy"
    traces = {letter: program.record(letter) for letter in TRAIN + HELD_OUT}
    begun = time.perf_counter()
    done = subprocess.run([BIN / "hakmem-replay", "--mode=learning", f"--time-limit={seconds}", f"--objective={objective}", "--seed=1",
                           f"--holdout={traces[HELD_OUT]}", f"--export={policy}", f"--match-log={policy}.log",
                           *(traces[letter] for letter in TRAIN)], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{program.name}: training failed: {done.stderr}")
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(("  use:", "hakmem-replay:", "wrote"))]
    trained = {"said": said, "took": time.perf_counter() - begun, "commit": commit(), "text": policy_text(policy)}
    pathlib.Path(policy + ".json").write_text(json.dumps(trained))
    return trained


def trained_already(program, objective):
    path = pathlib.Path(f"{program.folder}/{objective}.policy.json")
    return json.loads(path.read_text()) if path.exists() else None


def is_empty(trained):
    return not re.search(r"^ *(set (?!guard)|class|site) ?", trained["text"], re.M)


# ---- measuring ----

def variants(program, options, trained):
    """What is compared: every peer, hakmem without a policy, with all of it, and with parts of it."""
    result = {**peers.variants(options.quick), "glibc again": {}, "hakmem balanced": {"LD_PRELOAD": HAKMEM}}
    folder = program.folder
    policy = f"{folder}/balanced.policy"
    result["hakmem fast+policy"] = {**FAST, "HAKMEM_POLICY": policy}
    if is_empty(trained["balanced"]):
        held = []
    else:
        held = families(policy)
        whole = without_sites(trained["balanced"], f"{folder}/global.policy")
        if whole:
            result["hakmem fast, global policy"] = {**FAST, "HAKMEM_POLICY": whole}
    for family in held if len(held) > 1 and not options.quick else ():
        result[f"policy without {family}"] = {**FAST, "HAKMEM_POLICY": without(policy, family, f"{folder}/without.{family}.policy")}
    if "rss" in trained and not is_empty(trained["rss"]):
        result["hakmem fast+rss policy"] = {**FAST, "HAKMEM_POLICY": f"{folder}/rss.policy"}
    return result


@contextlib.contextmanager
def quiet(lock):
    if lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if lock:
            fcntl.flock(lock, fcntl.LOCK_UN)


def rounds_of(program, letter, kinds, count, lock, runs, digests):
    """Interleaved rounds, in random order; others may have the machine in between, so that no lock is held for long."""
    rng = random.Random(ord(letter))
    for _ in range(count):
        order = rng.sample(list(kinds), len(kinds))
        while order:
            with quiet(lock):
                begun = time.monotonic()
                while order and time.monotonic() - begun < LOCK_S:
                    kind = order.pop()
                    found = program.run(letter, kinds[kind])
                    digests.setdefault(letter, {}).setdefault(found.pop("digest"), set()).add(kind)
                    runs[letter].setdefault(kind, []).append(found)


def long_load(program, options, result):
    """One load of minutes for each of a few, as many requests for all: what memory becomes of it."""
    kinds = variants(program, options, result["trained"])
    seconds = options.minutes * 60
    share = max(1.0, seconds / min(run["wall"] for run in result["runs"][UNSEEN[0]]["glibc"]))
    runs = {}
    for kind in LONG:
        if kind in kinds:
            runs[kind] = program.run(UNSEEN[0], kinds[kind], share)
            say(f"  {kind:28} {program.requests(share) / runs[kind]['wall']:.0f} requests/s, peak {runs[kind]['peak'] / 1024:.1f} MiB")
    return {"seconds": seconds, "requests": program.requests(share), "runs": runs}


def measure(program, options, lock):
    objectives = ["balanced"] if options.quick else ["balanced", "rss"]
    trained = {objective: trained_already(program, objective) for objective in objectives}
    trained = {objective: found for objective, found in trained.items() if found}
    kinds = variants(program, options, trained)
    runs, digests = {letter: {} for letter in UNSEEN}, {}
    for letter in UNSEEN:
        program.run(letter, {})  # its files are read, its tools built
        rounds_of(program, letter, kinds, options.rounds, lock, runs, digests)
    # What is asked first, whether the policy helps, gets three times as many; the rounds of all kinds stay aligned.
    for letter in UNSEEN:
        rounds_of(program, letter, {kind: kinds[kind] for kind in DECISIVE if kind in kinds}, 2 * options.rounds, lock, runs, digests)
    changed = sorted(kind for by in digests.values() if len(by) > 1
                     for digest, who in by.items() if "glibc" not in who for kind in who)
    result = {"program": program.name, "commit": commit(), "quick": options.quick, "rounds": options.rounds, "scale": options.scale,
              "kinds": list(kinds), "runs": runs, "trained": trained, "changed": changed}
    for kind in kinds:
        say(f"  {kind:28} time {figures.text(figures.ratio(result, kind, 'glibc', 'cpu')):22} "
            f"peak {figures.text(figures.ratio(result, kind, 'glibc', 'peak'))}")
    return result


# ---- the whole ----

def keep(options, name, result):
    partial = options.folder / f"{name}.json.part"
    partial.write_text(json.dumps(result))
    partial.rename(options.folder / f"{name}.json")


def one(name, options, lock):
    program = programs.Program(name, options.scale, options.folder / name)
    good = True
    if "train" in options.steps:
        for objective in ["balanced"] if options.quick else ["balanced", "rss"]:
            say(f"{name}: training, {objective}")
            say("  " + "\n  ".join(train(program, objective, options.seconds)["said"]))
    if "measure" in options.steps:
        if not trained_already(program, "balanced"):
            raise RuntimeError(f"{name}: no policy yet: scripts/prove --only {name}")
        say(f"{name}: measuring")
        result = measure(program, options, lock)
        keep(options, name, result)
        good = not result["changed"]
    if "long" in options.steps and program.is_server and options.minutes > 0:
        say(f"{name}: minutes of load")
        result = json.loads((options.folder / f"{name}.json").read_text())
        result["long"] = long_load(program, options, result)
        keep(options, name, result)
    return good


def parse():
    parser = argparse.ArgumentParser(prog="scripts/prove")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--steps", default="fresh,train,measure,long,table")
    parser.add_argument("--lock")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--scale", type=float)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--out")
    options = parser.parse_args()
    options.folder = ROOT / ("build/prove-quick" if options.quick else "build/prove")
    options.out = options.out or (options.folder / "results.md" if options.quick else ROOT / "docs/results.md")
    options.rounds = options.rounds or (3 if options.quick else 6)
    options.scale = options.scale or (0.3 if options.quick else 1.0)
    options.seconds = options.seconds or (10 if options.quick else 90)
    options.minutes = (0 if options.quick else 2) if options.minutes is None else options.minutes
    options.steps = options.steps.split(",")
    options.names = options.only.split(",") if options.only else list(programs.NAMES)
    unknown = [name for name in options.names if name not in programs.NAMES]
    if unknown:
        parser.error(f"no such program: {', '.join(unknown)}; there are {', '.join(programs.NAMES)}")
    return options


def main():
    options = parse()
    lock = open(options.lock, "w") if options.lock else None
    options.folder.mkdir(parents=True, exist_ok=True)
    good = True
    for name in options.names if {"train", "measure", "long"} & set(options.steps) else ():
        if "fresh" in options.steps:
            shutil.rmtree(options.folder / name, ignore_errors=True)
        good &= one(name, options, lock)
    if "table" in options.steps:
        found = [json.loads((options.folder / f"{name}.json").read_text()) for name in programs.NAMES
                 if (options.folder / f"{name}.json").exists()]
        if found:
            table.write(options.out, found)
            say(f"wrote {os.path.relpath(options.out)}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
