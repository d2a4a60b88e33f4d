"""Estimates from paired runs: a measurement is {"runs": {letter: {kind: [figures, …]}}}, where the i-th runs of all kinds made
one interleaved round."""
import math

PEERS = ("glibc", "mimalloc", "jemalloc", "tcmalloc")


def is_peer(kind):
    return kind.split(" ")[0] in PEERS and not kind.endswith("again")


def estimate(values):
    """Median of the pairwise means with the 95% interval of the signed-rank test (Hodges and Lehmann, 1963)."""
    means = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    n = len(values)
    middle = means[len(means) // 2]
    if n < 6:
        return middle, -math.inf, math.inf
    rank = max(1, int(n * (n + 1) / 4 - 1.96 * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)))
    return middle, means[rank - 1], means[len(means) - rank]


def ratio(result, kind, base, key):
    """(estimate, low, high) of kind to base over all unseen inputs, each input weighing alike."""
    logs = []
    for runs in result["runs"].values():
        logs += [math.log(max(a[key], 1e-9) / max(b[key], 1e-9)) for a, b in zip(runs[kind], runs[base])]
    return tuple(math.exp(x) if x < 700 else math.inf for x in estimate(logs))


def text(r):
    if not math.isfinite(r[2]):
        return f"{r[0]:.2f}"
    return f"{r[0]:.2f} [{r[1]:.2f}, {r[2]:.2f}]" + ("*" if r[1] > 1 or r[2] < 1 else "")


def geometric(ratios):
    return math.exp(sum(math.log(r) for r in ratios) / len(ratios)) if ratios else math.nan


def best_peer(result, keys):
    """The peer that is least in the product of keys: ("cpu",), ("peak",), or both."""
    return min(filter(is_peer, result["kinds"]),
               key=lambda kind: math.prod(ratio(result, kind, "glibc", key)[0] for key in keys))
