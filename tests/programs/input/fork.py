"""Forks while threads allocate; children allocate, fork on, exec and exit in several ways."""
import multiprocessing
import os
import subprocess
import sys
import threading

stop = threading.Event()


def churn():
    while not stop.is_set():
        [bytes(n * 13 % 5000) for n in range(300)]


def child(depth):
    data = [str(n) * 10 for n in range(3000)]
    if depth:
        pid = os.fork()
        if pid == 0:
            child(depth - 1)
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status) + len("".join(data)) % 7)
    os._exit(depth + 7)


def square(n):
    return sum(len(str(i)) for i in range(n * 100)) % 1000


threads = [threading.Thread(target=churn) for _ in range(3)]
for t in threads:
    t.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        child(2)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), end=" ")
print()
print(subprocess.run([sys.executable, "-c", "print(sum(len(str(i)) for i in range(9999)))"], capture_output=True).stdout)
print(subprocess.run("echo from a shell; exit 3", shell=True, capture_output=True))
stop.set()
for t in threads:
    t.join()
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(square, range(20)))
sys.stdout.flush()
os.execv("/bin/echo", ["echo", "from exec"])
