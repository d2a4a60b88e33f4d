"""The other allocators, each at its default and at what its own documentation advises for speed and for memory.

A peer gets every chance: its best setting per program is picked after measuring, by what is compared, and then hakmem is
compared with that one; what was luck in the pick is on the peer's side.
"""
import os
import re
import subprocess

GLIBC_TIME = ("glibc.malloc.tcache_count=1000:glibc.malloc.trim_threshold=268435456:glibc.malloc.top_pad=16777216:"
              "glibc.malloc.mmap_threshold=33554432")
# name, library, (goal, settings)
PEERS = [
    # glibc manual, "Memory Allocation Tunables" and mallopt(3): longer thread caches and fewer calls to the kernel; one arena,
    # no caches and everything given back at once.
    ("glibc", None, {
        "time": {"GLIBC_TUNABLES": GLIBC_TIME},
        "rss": {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0:glibc.malloc.trim_threshold=65536:"
                                  "glibc.malloc.top_pad=0:glibc.malloc.mmap_threshold=65536"}}),
    # mimalloc's readme and options.c of 2.0.9: never give pages back, and large pages where the system has them; give them back
    # at once instead of after 25 ms.
    ("mimalloc", "libmimalloc.so.2", {
        "time": {"MIMALLOC_ALLOW_DECOMMIT": "0", "MIMALLOC_EAGER_COMMIT_DELAY": "0", "MIMALLOC_LARGE_OS_PAGES": "1"},
        "rss": {"MIMALLOC_DECOMMIT_DELAY": "0", "MIMALLOC_SEGMENT_DECOMMIT_DELAY": "0", "MIMALLOC_DECOMMIT_EXTEND_DELAY": "0",
                "MIMALLOC_ABANDONED_PAGE_DECOMMIT": "1"}}),
    # jemalloc's TUNING.md: "prioritizing CPU utilization", and "low resource consumption" (one arena, small caches, quick decay).
    # Its background thread is left to the first only, where the processor has a core to spare.
    ("jemalloc", "libjemalloc.so.2", {
        "time": {"MALLOC_CONF": "background_thread:true,metadata_thp:auto,dirty_decay_ms:30000,muzzy_decay_ms:30000"},
        "rss": {"MALLOC_CONF": "narenas:1,tcache_max:4096,dirty_decay_ms:0,muzzy_decay_ms:0"}}),
    # gperftools' tcmalloc.html: bigger thread caches and nothing given back; the least cache, everything given back at once.
    ("tcmalloc", "libtcmalloc_minimal.so.4", {
        "time": {"TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES": "268435456", "TCMALLOC_RELEASE_RATE": "0",
                 "TCMALLOC_TRANSFER_NUM_OBJ": "512"},
        "rss": {"TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES": "524288", "TCMALLOC_RELEASE_RATE": "10",
                "TCMALLOC_AGGRESSIVE_DECOMMIT": "1"}}),
]
GOALS = ("time", "rss")


def library_path(name):
    text = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, text=True).stdout
    found = re.search(re.escape(name) + r" .*=> (\S+)", text)
    return found.group(1) if found else None


def variants(quick):
    """{name: environment}: each installed peer, as it is and (unless quick) tuned."""
    result = {}
    for name, library, tuned in PEERS:
        path = library_path(library) if library else None
        if library and not path:
            continue
        base = {"LD_PRELOAD": path} if path else {}
        result[name] = base
        for goal in () if quick else GOALS:
            result[f"{name} for {goal}"] = {**base, **tuned[goal]}
    return result


def environment(extra):
    """What a measured program sees: nothing of the caller's that speaks to an allocator."""
    dropped = ("HAKMEM", "LD_PRELOAD", "MALLOC", "GLIBC_TUNABLES", "MIMALLOC", "TCMALLOC")
    env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**env, "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", **extra}
