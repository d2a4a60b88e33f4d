"""A JSON array of documents on stdout: documents.py SEED COUNT"""
import json
import random
import sys

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split()


def document(rng, n):
    return {"id": n, "kind": rng.choice(WORDS), "name": "-".join(rng.choices(WORDS, k=rng.randint(1, 5))),
            "value": rng.randint(0, 1000), "tags": rng.choices(WORDS, k=rng.randint(0, 6)),
            "nested": {rng.choice(WORDS): {"x": i, "text": rng.choice(WORDS) * rng.randint(1, 9)} for i in range(rng.randint(0, 4))}}


rng = random.Random(int(sys.argv[1]))
json.dump([document(rng, n) for n in range(int(sys.argv[2]))], sys.stdout)
