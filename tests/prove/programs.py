"""The programs of the proof, the same from outside whether they read a file or answer clients: recorded and run on the input
of a letter."""
import hashlib
import os
import pathlib
import subprocess

import inputs
import peers
import servers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = ROOT / "build/release/bin"
TRAIN, HELD_OUT, UNSEEN = "abc", "f", "de"
# sessions is ours, made to show what separating lives can do: it is measured and shown, and counts nowhere.
OURS = ("sessions",)
NAMES = ("sqlite3", "jq", "cc1plus", "z3", "ghostscript", "perl", "lua", "python3", *servers.NAMES, *OURS)


class Program:
    """folder keeps inputs, traces and policies of this one program."""

    def __init__(self, name, scale, folder):
        self.name, self.scale, self.folder = name, scale, str(folder)
        self.is_server = name in servers.NAMES
        self.commands = {}
        os.makedirs(folder, exist_ok=True)

    def requests(self, share=1.0):
        return int(servers.REQUESTS[self.name] * self.scale * share)

    def command(self, letter):
        if letter not in self.commands:
            if self.name == "sessions":
                self.commands[letter] = ([self.built("sessions", "g++", "tests/programs/input/sessions.cc"), str(ord(letter)),
                                          str(int(250 * self.scale))], "/dev/null")
            else:
                self.commands[letter] = inputs.make(self.name, letter, self.scale, self.folder)
        return self.commands[letter]

    def built(self, name, compiler, source):
        path = pathlib.Path(self.folder) / name
        if not path.exists():
            subprocess.run([compiler, "-O2", "-g", "-o", path, ROOT / source], check=True)
        return str(path)

    def run(self, letter, extra, share=1.0):
        """Figures of one run: wall, cpu (seconds), peak, mean (KiB), a digest of what it printed; more for servers."""
        if self.is_server:
            return servers.run(self.name, letter, self.requests(share), self.folder, peers.environment(extra))
        argv, stdin = self.command(letter)
        out = pathlib.Path(self.folder) / "out"
        extra = {("RUN_ONCE_PRELOAD" if key == "LD_PRELOAD" else key): value for key, value in extra.items()}
        runner = self.built("run_once", "cc", "tests/prove/run_once.c")
        report, write_end = os.pipe()
        with open(stdin) as source, open(out, "wb") as sink:
            # descriptor 3 is the runner's report
            subprocess.run(["/bin/sh", "-c", f'exec 3>&{write_end}; exec "$@"', "sh", runner, *argv], stdin=source, stdout=sink,
                           stderr=subprocess.DEVNULL, env=peers.environment(extra), pass_fds=(write_end,), check=True)
        os.close(write_end)
        with os.fdopen(report) as lines:
            wall, cpu, peak, mean, status = lines.read().split()
        return {"wall": float(wall), "cpu": float(cpu), "peak": int(peak), "mean": float(mean),
                "digest": f"{status} " + hashlib.sha256(out.read_bytes()).hexdigest()}

    def record(self, letter):
        path = f"{self.folder}/{letter}.trace.gz"
        if os.path.exists(path):
            return path
        wrapper = [str(BIN / "hakmem-trace"), "-q", "-f", "-o", path]
        if self.is_server:
            servers.run(self.name, letter, self.requests(0.5), self.folder, peers.environment({}), wrapper)
        else:
            argv, stdin = self.command(letter)
            with open(stdin) as source:
                subprocess.run([*wrapper, "--", *argv], stdin=source, stdout=subprocess.DEVNULL, env=peers.environment({}),
                               check=True)
        return path
