"""A server under load, for the proof: redis with a mix of value sizes and deletions, driven over a unix socket.

run(binary, letter, scale, folder, env) starts the server under env, drives it, stops it, and returns a dict of figures and
a digest of what it answered.
"""
import hashlib
import os
import random
import signal
import socket
import subprocess
import time

# share of set, append, hash field, list push, get, delete; sizes of values; keys
TASKS = {"a": ((40, 0, 0, 0, 40, 20), (16, 400), 20000), "b": ((25, 15, 20, 10, 20, 10), (30, 120), 8000),
         "c": ((30, 0, 30, 10, 10, 20), (100, 2000), 5000), "d": ((35, 10, 10, 5, 20, 20), (16, 900), 12000),
         "e": ((20, 5, 30, 20, 15, 10), (20, 300), 10000)}
BATCH = 16


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def requests(letter, count):
    rng = random.Random(700 + ord(letter))
    shares, (low, high), keys = TASKS[letter]
    filler = bytes(33 + i % 90 for i in range(high * 4))
    for n in range(count):
        kind = rng.choices(range(6), shares)[0]
        key = b"k%d" % rng.randrange(keys)
        if n % (count // 5 + 1) > count // 6:  # sizes drift within each fifth
            value = filler[:rng.randint(low, high)]
        else:
            value = filler[:rng.randint(low, high) * 2]
        yield (command(b"SET", key, value), command(b"APPEND", b"a" + key, value[:40]),
               command(b"HSET", b"h" + key[:4], key, value), command(b"LPUSH", b"l" + key[:3], value),
               command(b"GET", key), command(b"DEL", key))[kind]


def answers(stream, count):
    digest = b""
    for _ in range(count):
        line = stream.readline()
        digest += line[:1]
        if line[:1] == b"$" and line != b"$-1\r\n":
            digest += stream.read(int(line[1:]) + 2)[:8]
        elif not line:
            raise OSError("the server ended")
    return digest


def status_kib(pid, name):
    with open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith(name):
                return int(line.split()[1])
    return 0


def drive(path, pid, letter, count):
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    stream = link.makefile("rb")
    digest, times, rss = hashlib.sha256(), [], []
    batch = []
    for n, text in enumerate(requests(letter, count)):
        batch.append(text)
        if len(batch) < BATCH:
            continue
        begun = time.perf_counter()
        link.sendall(b"".join(batch))
        digest.update(answers(stream, len(batch)))
        times.append(time.perf_counter() - begun)
        if n // BATCH % 64 == 0:
            rss.append(status_kib(pid, "VmRSS"))
        batch = []
    times.sort()
    return digest.hexdigest(), times[int(len(times) * 0.99)] * 1e6 / BATCH, sum(rss) / len(rss)


def run(binary, letter, scale, folder, env, prefix=()):
    path = f"{folder}/redis.{os.getpid()}.sock"
    server = subprocess.Popen([*prefix, binary, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no",
                               "--dir", folder, "--activedefrag", "no"], env=env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    pid = server.pid
    try:
        for _ in range(200):
            if os.path.exists(path):
                break
            time.sleep(0.05)
        if prefix:  # the wrapper's child is the server
            children = open(f"/proc/{server.pid}/task/{server.pid}/children").read().split()
            pid = int(children[0]) if children else pid
        begun = time.perf_counter()
        digest, p99_us, mean_kib = drive(path, pid, letter, int(120000 * scale))
        wall_s = time.perf_counter() - begun
        peak_kib = status_kib(pid, "VmHWM")
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    finally:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        server.wait()
        if os.path.exists(path):
            os.unlink(path)
    return {"wall": wall_s, "cpu": cpu_s, "peak": peak_kib, "mean": mean_kib, "p99": p99_us, "digest": digest}
