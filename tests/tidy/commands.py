"""The promises every command keeps: commands.py BIN SOURCE NAME…

--help starts with examples, has no line over 100 columns and exits 0, --version names the version, an unknown option is
refused in one line that begins with the command's name and with the right status, the manual page renders without complaint and describes every option
of --help, and the README mentions the command.
"""
import os
import re
import subprocess
import sys

HELP_COLUMNS = 100
VERBS = {"hakmem-replay": ("import", "merge")}  # with a --help of their own
WRAPPERS = ("hakmem-trace", "hakmem-run")  # their own failures exit with 125, so as not to be taken for the program's


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def verb_help(binary, name):
    """Lines of the verbs' own --help, where a command has such verbs."""
    for verb in VERBS.get(name, ()):
        said = run(binary, verb, "--help")
        yield from said.stdout.splitlines() or ["x" * (HELP_COLUMNS + 1)]


def faults_of(binary, name, source, version):
    said = run(binary, "--help")
    if said.returncode != 0 or said.stderr:
        yield f"--help exits with {said.returncode}, stderr: {said.stderr!r}"
    if "xample" not in "\n".join(said.stdout.splitlines()[:3]):
        yield "--help does not start with examples"
    for line in said.stdout.splitlines() + list(verb_help(binary, name)):
        if len(line) > HELP_COLUMNS:
            yield f"--help has a line of {len(line)} columns: {line}"
    shown = run(binary, "--version")
    if shown.returncode != 0 or not shown.stdout.startswith(f"{name} {version}"):
        yield f"--version says {shown.stdout!r}"
    wrong = run(binary, "--no-such-option")
    expected = 125 if name in WRAPPERS else 2
    if wrong.returncode != expected:
        yield f"an unknown option exits with {wrong.returncode}, not {expected}"
    if wrong.stdout or not wrong.stderr.startswith(f"{name}: "):
        yield f"an unknown option is answered with {wrong.stdout!r} {wrong.stderr!r}"
    if "no-such-option" not in wrong.stderr:
        yield "the refusal does not name the option"
    bare = run(binary)
    if bare.returncode != expected or bare.stdout or not bare.stderr.startswith(f"{name}: "):
        yield f"without arguments: exit {bare.returncode}, {bare.stdout!r} {bare.stderr!r}"
    page = os.path.join(source, "cli", name + ".1")
    if not os.path.exists(page):
        yield f"no manual page {page}"
        return
    rendered = run("man", "--warnings", "-l", "-Tutf8", page)
    if rendered.returncode or rendered.stderr:
        yield f"the manual page: {rendered.stderr.strip()}"
    text = re.sub(r".\x08", "", rendered.stdout).replace("\u2010", "-").replace("\u2212", "-")
    text = re.sub(r"-\n\s*", "-", text)
    for option in sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", said.stdout))):
        if option not in text:
            yield f"{option} is in --help, but not in the manual page"
    with open(os.path.join(source, "README.md"), encoding="utf-8") as readme:
        if name not in readme.read():
            yield "README.md does not mention it"


def main():
    binaries, source, version, *names = sys.argv[1:]
    faults = [f"{name}: {fault}" for name in names
              for fault in faults_of(os.path.join(binaries, name), name, source, version)]
    print("\n".join(faults) if faults else f"{len(names)} commands keep their promises")
    return 1 if faults or not names else 0


sys.exit(main())
