"""docs/results.md from the measurements in build/prove: nothing in it is typed but the remarks (remarks.md beside this file)."""
import datetime
import os
import pathlib
import platform
import re

import figures
import programs
from figures import best_peer, geometric, ratio, text

POLICY, RSS_POLICY, GLOBAL, BALANCED = "hakmem fast+policy", "hakmem fast+rss policy", "hakmem fast, global policy", "hakmem balanced"
HEAD = """# Results

Written by `scripts/prove{quick}` from its measurements; only the remarks are written by hand. Each program is recorded on three inputs to
train on and on a fourth that decides whether the policy is frozen; the figures are of the programs themselves on two further inputs,
of other tasks, that nobody had seen. Ratios, estimated from pairs within interleaved rounds over both inputs, with 95% intervals; * where the
interval excludes 1. Time is processor time unless a column says wall: of the whole process, and of servers while under load.
Peers run at their defaults and at settings that their documentation advises for time and for memory (tests/prove/peers.py); the best one is picked
after measuring, which favours the peer. `glibc again` is glibc measured twice: what differs there is noise.

Machine: {machine}, {cores} processors (the load's clients share them with the servers), Linux {kernel}; {date}. Builds: {builds}.
"""


def counted(found):
    return [r for r in found if r["program"] not in programs.OURS]


def row(cells):
    return "| " + " | ".join(cells) + " |"


def header(*cells):
    return [row(cells), "|" + "---|" * len(cells)]


def decided(trained):
    """How many settings, classes and sites a policy has."""
    counts = [len(re.findall(pattern, trained["text"], re.M)) for pattern in (r"^set (?!guard)", r"^classes ", r"^ *site .*(lifetime|retention|thp|slack|remote)")]
    names = [f"{n} {what}" for n, what in zip(counts, ("settings", "table of size classes", "sites")) if n]
    return ", ".join(names) or "nothing"


def rss_kind(r):
    return RSS_POLICY if RSS_POLICY in r["kinds"] else POLICY


def overview(found):
    lines = header("program", "time / balanced", "peak RSS / balanced", "the peer with the least time × RSS", "time / it", "peak RSS / it",
                   "the policy decides")
    for r in found:
        peer = best_peer(r, ("cpu", "peak"))
        lines.append(row([r["program"] + ("" if r["program"] not in programs.OURS else " (ours)"),
                          *(text(ratio(r, POLICY, BALANCED, key)) for key in ("cpu", "peak")), peer,
                          *(text(ratio(r, POLICY, peer, key)) for key in ("cpu", "peak")), decided(r["trained"]["balanced"])]))
    return lines


def targets(found):
    found = counted(found)
    versus = {r["program"]: [ratio(r, POLICY, BALANCED, key) for key in ("cpu", "peak")] for r in found}
    # A gain counts where its interval excludes 1, too.
    won = [name for name, (t, m) in versus.items() if (t[0] <= 0.97 and t[2] < 1) or (m[0] <= 0.90 and m[2] < 1)]
    lost = [name for name, rs in versus.items() if any(r[0] > 1.01 and r[1] > 1 for r in rs)]
    best = [[ratio(r, POLICY, best_peer(r, ("cpu", "peak")), key)[0] for r in found] for key in ("cpu", "peak")]
    hard = [geometric([ratio(r, POLICY, best_peer(r, (key,)), key)[0] for r in found]) for key in ("cpu", "peak")]
    least = [[ratio(r, rss_kind(r), best_peer(r, ("peak",)), key)[0] for r in found] for key in ("cpu", "peak")]
    return ["Targets, over the programs of Debian:", "",
            f"- At least 3% of time or 10% of peak RSS won against BALANCED, beyond noise: {len(won)} of {len(found)} programs"
            f" ({', '.join(won) or 'none'}); target: half.",
            f"- Worse than BALANCED by more than 1%, beyond noise: {', '.join(lost) or 'none'}; target: none.",
            f"- Balanced objective, against the peer with the least time × peak RSS of each program: geometric mean {geometric(best[0]):.2f} in time, "
            f"{geometric(best[1]):.2f} in peak RSS; target: 0.95 at 1.0.",
            f"- RSS objective, against the peer with the least peak RSS of each program: {geometric(least[1]):.2f} in peak RSS, "
            f"{geometric(least[0]):.2f} in time; target: 0.85 at 1.0.",
            f"- Hardest reading, another peer for each figure: {hard[0]:.2f} in time, {hard[1]:.2f} in peak RSS."]


def means(found):
    """Every allocator over all programs."""
    found = counted(found)
    lines = header("allocator", "time", "wall", "peak RSS", "mean RSS", "programs")
    for kind in found[0]["kinds"] + [k for k in (GLOBAL, RSS_POLICY) if k not in found[0]["kinds"]]:
        with_it = [r for r in found if kind in r["kinds"]]
        if not kind.startswith("policy without") and with_it:
            lines.append(row([kind, *(f"{geometric([ratio(r, kind, 'glibc', key)[0] for r in with_it]):.2f}" for key in ("cpu", "wall", "peak", "mean")),
                              str(len(with_it))]))
    return lines


def ablation(found):
    lines = header("program", "family", "time with / without", "peak RSS with / without")
    for r in found:
        for kind in r["kinds"]:
            if kind.startswith("policy without ") or kind == GLOBAL:
                family = kind.removeprefix("policy without ") if kind != GLOBAL else "everything by site"
                lines.append(row([r["program"], family, *(text(ratio(r, POLICY, kind, key)) for key in ("cpu", "peak"))]))
    return lines if len(lines) > 2 else ["No policy held more than one family, so there is nothing to leave out."]


def minutes(found):
    lines = header("server", "allocator", "requests/s", "CPU s", "p50 µs", "p99 µs", "p99.9 µs", "peak MiB", "mean MiB", "at the end MiB")
    for r in found:
        for kind, run in r.get("long", {"runs": {}})["runs"].items():
            lines.append(row([r["program"], kind, f"{r['long']['requests'] / run['wall']:,.0f}", f"{run['cpu']:.1f}",
                              *(f"{run[key]:.0f}" for key in ("p50", "p99", "p999")), *(f"{run[key] / 1024:.1f}" for key in ("peak", "mean", "end"))]))
    return lines if len(lines) > 2 else []


def families_said(trained):
    return [line for line in trained["said"] if line.strip()]


def section(r):
    server = r["program"] in programs.servers.NAMES
    keys = ["cpu", "wall", "peak", "mean"] + (["p50", "p99", "p999"] if server else [])
    names = ["allocator", "time", "wall", "peak RSS", "mean RSS"] + (["p50", "p99", "p99.9"] if server else [])
    lines = [f"## {r['program']}", ""]
    absolute = [[run[key] for runs in r["runs"].values() for run in runs["glibc"]] for key in ("cpu", "wall", "peak")]
    cpu, wall, peak = (sum(values) / len(values) for values in absolute)
    lines += [f"{r['rounds']} rounds of two inputs, scale {r['scale']:g}; glibc takes {cpu:.2f} s of processor time, {wall:.2f} s, {peak / 1024:.1f} MiB.", ""]
    lines += header(*names)
    for kind in r["kinds"]:
        lines.append(row([kind, *(text(ratio(r, kind, "glibc", key)) for key in keys)]))
    for objective, trained in r["trained"].items():
        lines += ["", f"Training for the objective {objective} took {trained['took']:.0f} s and said:", "", "```", *families_said(trained), "```"]
    if r["changed"]:
        lines += ["", "**The output changed under: " + ", ".join(r["changed"]) + ".**"]
    return lines + [""]


def write(path, found):
    builds = sorted({r["commit"] for r in found} | {t["commit"] for r in found for t in r["trained"].values()})
    head = HEAD.format(quick=" --quick" if found[0]["quick"] else "", machine=platform.machine(), cores=os.cpu_count(), kernel=platform.release(),
                       date=datetime.date.today(), builds=", ".join(builds))
    # About one whole run: they would be false beside another's figures.
    remarks = [] if found[0]["quick"] else [*pathlib.Path(__file__).with_name("remarks.md").read_text().splitlines(), ""]
    lines = [head, "## All programs", "", *overview(found), "", *targets(found), "", *remarks, "## All allocators", "",
             "Geometric means over the programs of Debian, to glibc.", "", *means(found), "", "## Families of decisions, left out one by one", "",
             *ablation(found), ""]
    if minutes(found):
        seconds = max(r["long"]["seconds"] for r in found if "long" in r)
        lines += ["## Servers under minutes of load", "", f"One load of about {seconds:.0f} s each, the same requests for all; one run, so no interval.", "",
                  *minutes(found), ""]
    for r in found:
        lines += section(r)
    pathlib.Path(path).write_text("\n".join(lines))
