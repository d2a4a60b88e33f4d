"""Servers under load, for the proof: redis, memcached and mariadb, each driven over a unix socket by load.c with the task of a
letter: a mix of operations, value sizes and deletions.

run(name, letter, requests, folder, env) starts the server under env, loads it, stops it; returns a dict of figures.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ("redis", "memcached", "mariadb")
# Of one run at scale 1, about a second here.
REQUESTS = {"redis": 250000, "memcached": 250000, "mariadb": 8000}
FIGURES = ("wall", "cpu", "peak", "mean", "end", "p50", "p99", "p999")


def loader(folder):
    path = pathlib.Path(folder) / "load"
    if not path.exists():
        subprocess.run(["cc", "-O2", "-pthread", "-o", path, HERE / "load.c"], check=True)
    return str(path)


def command(name, path, data):
    if name == "redis":
        return ["/usr/bin/redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", data,
                "--activedefrag", "no"]
    if name == "memcached":  # room for all, so that what is evicted does not depend on how the clients interleave
        return ["/usr/bin/memcached", "-s", path, "-t", "2", "-m", "1024", "-u", "root"]
    return ["/usr/sbin/mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-grant-tables", "--skip-networking",
            f"--socket={path}", f"--pid-file={data}/pid", "--lc-messages-dir=/usr/share/mysql", "--skip-log-bin",
            "--performance-schema=off", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M",
            "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0", "--innodb-use-native-aio=0", "--thread-cache-size=8"]


def wait_for(path, server):
    for _ in range(1200):
        if os.path.exists(path):
            return
        if server.poll() is not None:
            raise OSError(f"the server ended at once, status {server.returncode}")
        time.sleep(0.05)
    raise OSError("the server does not listen")


def inner_pid(pid):
    """The server itself, where a wrapper was started."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def run(name, letter, requests, folder, env, prefix=()):
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else folder
    data = f"{shared}/prove.{os.getpid()}.{name}"
    path = f"{data}/socket"
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(f"{data}/mysql" if name == "mariadb" else data)
    load = loader(folder)
    server = subprocess.Popen([*prefix, *command(name, path, data)], env=env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_for(path, server)
        time.sleep(0.3)  # its threads get ready
        pid = inner_pid(server.pid) if prefix else server.pid
        said = subprocess.run([load, name, path, str(pid), letter, str(requests)], stdout=subprocess.PIPE, text=True,
                              check=True).stdout.split()
        os.kill(pid, signal.SIGTERM)
        server.wait(timeout=120)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
        shutil.rmtree(data, ignore_errors=True)
    return {**dict(zip(FIGURES, map(float, said))), "digest": said[-1]}
