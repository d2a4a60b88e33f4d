"""Six tasks for python3: python_tasks.py LETTER SCALE. Each prints a digest of what it made."""
import ast
import csv
import dataclasses
import hashlib
import heapq
import io
import json
import random
import re
import string
import sys
import xml.etree.ElementTree as tree

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi omicron pi rho sigma tau".split()


def words(rng, low, high):
    return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))


def documents(rng, n):
    """JSON, written, parsed, changed, kept for a while."""
    kept = {}
    for i in range(int(300 * n)):
        text = json.dumps([{"id": i * 20 + k, "text": words(rng, 1, 40), "tags": rng.choices(WORDS, k=4),
                            "parts": [{"n": p, "name": words(rng, 1, 2)} for p in range(rng.randint(0, 6))]} for k in range(20)])
        for doc in json.loads(text):
            kept[doc["id"] % 12007] = doc
    return json.dumps(kept, sort_keys=True)


def compiled(rng, n):
    """Source text, parsed to trees that are kept as a checker of a project would, walked and compiled."""
    out, trees = [], []
    for i in range(int(40 * n)):
        lines = []
        for k in range(40):
            a, b = rng.sample(WORDS, 2)
            lines += [f"def {a}_{k}(x, *, y={k}):", f"    \"\"\"{words(rng, 3, 9)}\"\"\"",
                      f"    {b} = [x * {k} + j for j in range(y) if j % {rng.randint(2, 9)}]",
                      f"    return {{'{a}': {b}, '{b}': len({b}) + {rng.randint(1, 99)}}}"]
        source = "\n".join(lines)
        parsed = ast.parse(source)
        trees.append(parsed)
        out.append(sum(isinstance(node, ast.Name) for node in ast.walk(parsed)))
        out.append(len(compile(parsed, f"m{i}", "exec").co_consts))
    return str(out)


@dataclasses.dataclass
class Row:
    ident: int
    kind: str
    amount: float
    note: str


def tables(rng, n):
    """CSV to objects, sorted and grouped."""
    out = []
    for _ in range(int(n) + 1):
        sink = io.StringIO()
        writer = csv.writer(sink)
        for i in range(40000):
            writer.writerow([i, rng.choice(WORDS), rng.randint(1, 10**6) / 100, words(rng, 0, 6)])
        rows = [Row(int(r[0]), r[1], float(r[2]), r[3]) for r in csv.reader(io.StringIO(sink.getvalue()))]
        rows.sort(key=lambda r: (r.kind, -r.amount))
        groups = {}
        for row in rows:
            groups.setdefault(row.kind, []).append(row.note.title())
        out.append({k: (len(v), len(set(v))) for k, v in groups.items()})
    return str(out)


def markup(rng, n):
    """XML, built, written, parsed, searched."""
    found = []
    for i in range(int(2 * n)):
        root = tree.Element("catalog", {"n": str(i)})
        for k in range(4000):
            item = tree.SubElement(root, rng.choice(WORDS), {"id": str(k), "kind": rng.choice(WORDS)})
            tree.SubElement(item, "text").text = words(rng, 1, 20)
            for _ in range(rng.randint(0, 4)):
                tree.SubElement(item, "part").text = rng.choice(WORDS)
        parsed = tree.fromstring(tree.tostring(root))
        found.append(len(parsed.findall(".//part")) + sum(len(e.text or "") for e in parsed.iter("text")))
    return str(found)


def searched(rng, n):
    """A graph of objects, searched with a heap; long strings cut by regular expressions."""
    size = int(6000 * n) + 10
    edges = {i: [(rng.randrange(size), rng.randint(1, 50)) for _ in range(5)] for i in range(size)}
    total = 0
    for start in range(4):
        best, heap = {}, [(0, start)]
        while heap:
            cost, at = heapq.heappop(heap)
            if at in best:
                continue
            best[at] = cost
            for to, length in edges[at]:
                if to not in best:
                    heapq.heappush(heap, (cost + length, to))
        total += sum(best.values())
    text = words(rng, int(60000 * n), int(60000 * n))
    counts = {}
    for match in re.finditer(r"(\w+ta) (\w+)", text):
        counts[match.groups()] = counts.get(match.groups(), 0) + 1
    return str((total, sorted(counts.items())))


def pages(rng, n):
    """Templates filled in, joined, cached."""
    template = string.Template("<h1>$title</h1><p class='$kind'>$body</p><i>$n</i>")
    cache, length = {}, 0
    for i in range(int(30000 * n)):
        page = template.substitute(title=words(rng, 1, 4).title(), kind=rng.choice(WORDS), body=words(rng, 2, 20), n=i)
        cache[i % 20011] = page.split("<")
        length += len(page)
    return str((length, len(cache)))


TASKS = {"a": documents, "b": compiled, "c": tables, "d": markup, "e": searched, "f": pages}

if __name__ == "__main__":
    made = TASKS[sys.argv[1]](random.Random(500 + ord(sys.argv[1])), float(sys.argv[2]))
    print(len(made), hashlib.sha256(made.encode()).hexdigest())
