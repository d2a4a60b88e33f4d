"""Threads that allocate, hand blocks to each other and end."""
import queue
import threading
import zlib

work, done = queue.Queue(50), queue.Queue()


def maker(first):
    for n in range(first, first + 300):
        work.put((n, bytes([n % 251]) * (n * 37 % 20000)))


def taker():
    while (item := work.get()) is not None:
        n, data = item
        done.put((n, zlib.crc32(zlib.compress(data * 3))))


makers = [threading.Thread(target=maker, args=(i * 1000,)) for i in range(4)]
takers = [threading.Thread(target=taker) for _ in range(4)]
for t in makers + takers:
    t.start()
for t in makers:
    t.join()
for _ in takers:
    work.put(None)
for t in takers:
    t.join()
for _ in range(200):  # short-lived ones
    t = threading.Thread(target=lambda: [str(i) * 5 for i in range(200)])
    t.start()
    t.join()
print(sorted(done.get() for _ in range(done.qsize()))[::17])
