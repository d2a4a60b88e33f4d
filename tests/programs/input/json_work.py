"""Parses, changes, indexes and writes JSON: json_work.py SEED ROUNDS

Prints a digest of everything it made, so that two runs can be compared.
"""
import hashlib
import json
import random
import re
import sys

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau".split()


def make(rng, n):
    return {"id": n, "kind": rng.choice(WORDS), "price": rng.randint(1, 10**6) / 100,
            "text": " ".join(rng.choices(WORDS, k=rng.randint(1, 40))),
            "tags": rng.choices(WORDS, k=rng.randint(0, 8)),
            "parts": [{"n": i, "name": rng.choice(WORDS) + str(i)} for i in range(rng.randint(0, 6))]}


def main():
    seed, rounds = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    digest = hashlib.sha256()
    by_kind, kept = {}, []
    for n in range(rounds):
        batch = json.dumps([make(rng, n * 20 + i) for i in range(20)])
        for doc in json.loads(batch):
            doc["words"] = len(re.findall(r"[a-z]+ta\b", doc["text"]))
            by_kind.setdefault(doc["kind"], {})[doc["id"]] = doc["text"].upper().split()
            if rng.random() < 0.1:
                kept.append(doc)
        digest.update(batch.encode())
        if n % 50 == 49:
            kept = sorted(kept, key=lambda d: (d["words"], d["id"]))[-500:]
            by_kind = {k: dict(list(v.items())[-200:]) for k, v in by_kind.items()}
    out = json.dumps({"kept": kept, "kinds": {k: sorted(v) for k, v in sorted(by_kind.items())}}, sort_keys=True, indent=1)
    digest.update(out.encode())
    print(len(out), digest.hexdigest())


main()
