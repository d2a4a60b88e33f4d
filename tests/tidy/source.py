"""House rules that a machine can check in the source: who includes whom, words that mark unfinished work, length,
openings, printing and exiting in libraries, white space, documented environment.

    source.py ROOT          checks the tree; one line per fault; exit status 1 when there are any
    source.py --self-test   plants each kind of fault in a small tree and sees that it is found

Reads files only. Rules are in docs/architecture.md ("The house") and CONTRIBUTING.md.
"""
import os
import re
import sys
import tempfile

# Room (longest prefix wins) -> what its quoted includes may begin with.
ROOMS = {
    "src/core/include/": (),
    "src/core/base/": ("core/base/",),
    "src/core/callsite/": ("core/base/", "core/callsite/"),
    "src/core/": ("core/", "hakmem.h"),
    "src/trace/": ("core/base/", "core/callsite/", "trace/"),
    "src/import/": ("core/base/", "trace/", "import/"),
    "src/replay/": ("core/base/", "core/callsite/frame.h", "trace/", "replay/", "hakmem.h", "core/knobs.h",
                    "core/policy_format.h"),
    "cli/": ("core/base/", "core/callsite/frame.h", "trace/", "import/", "replay/", "cli/", "hakmem.h", "core/knobs.h",
             "core/policy_format.h"),
}
# The replay room and the commands read and write trace files; they never reach into the recorder. The two commands
# that start a recording or a program are the exception that proves it.
RECORDER = re.compile(r"trace/(ring|collector|collect|interpose|record)[a-z_]*\.h")
RECORDER_USERS = ("src/trace/", "cli/hakmem-trace.c", "cli/trace_control.c", "cli/trace_control.h",
                  "cli/trace_summary.c", "cli/trace_summary.h", "cli/hakmem-run.c", "cli/launch.c", "cli/launch.h")

MAX_LINES = 700
CODE = (".c", ".h", ".cc")
TEXT = CODE + (".py", ".sh", ".cmake", ".txt", ".md", ".bats", ".json", ".1", ".3", ".5", ".7", ".pl", ".js", ".bash")
MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK|not implemented|unimplemented|stub|stubs|stubbed|for now|placeholder)\b")
PRINTING = re.compile(r"\b(printf|vprintf|puts|putchar|perror|psignal|err|errx|warn|warnx|exit|quick_exit)\s*\("
                      r"|\bv?fprintf\s*\(\s*std(err|out)|\bf?puts\s*\([^;]*std(err|out)|\bfwrite\s*\([^;]*std(err|out)")
ABORT = re.compile(r"\babort\s*\(")
ABORT_ALLOWED = ("src/core/base/print.c",)
ENVIRONMENT = re.compile(r'"(HAKMEM_[A-Z0-9_]+)=?')
KNOB = re.compile(r'^\s*X\([A-Z_0-9]+, "([a-z_0-9]+)",', re.M)
SKIP = ("build", ".git", "__pycache__", "corpus", ".cache")


def strip_code(text):
    """The text with comments and literals blanked, line numbers kept."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def lines_of(pattern, text):
    for match in pattern.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group()


def room_of(path):
    return max((r for r in ROOMS if path.startswith(r)), key=len, default=None)


def check_includes(path, text):
    room = room_of(path)
    if room is None:
        return
    for line, include in lines_of(re.compile(r'^\s*#\s*include\s+"[^"]*"', re.M), text):
        name = include.split('"')[1]
        if ".." in name or not name.startswith(ROOMS[room] or ("\0",)):
            yield line, f"{room} may not include '{name}'"
        elif RECORDER.match(name) and not path.startswith(RECORDER_USERS):
            yield line, f"only the recorder may include '{name}'"
    for line, include in lines_of(re.compile(r"^\s*#\s*include\s+<(core|trace|import|replay)/[^>]*>", re.M), text):
        yield line, f"own headers are included with quotes: {include.strip()}"


def check_text(path, text):
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield text.count("\n"), "must end with exactly one newline"
    for line, _ in lines_of(re.compile(r"[ \t]+$", re.M), text):
        yield line, "white space at the end of the line"
    if "\r" in text:
        yield 1, "carriage return"
    if path.endswith(CODE) and "\t" in text:
        yield text[: text.index("\t")].count("\n") + 1, "tab"
    count = text.count("\n")
    if count > MAX_LINES and not path.endswith(".md"):
        yield count, f"{count} lines; more than {MAX_LINES} is more than one thing"
    if not path.startswith("tests/tidy/"):
        for line, word in lines_of(MARKS, text):
            yield line, f"'{word}' marks unfinished work"


NEGATED = re.compile(r"^ *! (?!.*\|\| false$)")


def check_bats(path, text):
    """bats does not see the status of a negated command, unless it is a test's last."""
    if path.endswith(".bats"):
        for number, line in enumerate(text.split("\n"), 1):
            if NEGATED.match(line):
                yield number, "'! …' cannot fail here: end it with '|| false'"


def check_opening(path, text):
    if path.startswith(("src/", "cli/")) and path.endswith((".c", ".h")):
        name = os.path.basename(path)
        if not re.match(r"/\* " + re.escape(name) + r"\b", text):
            yield 1, f"must open with '/* {name}: what it is, what it never does, who may call it'"


def check_printing(path, text):
    if not path.startswith("src/") or not path.endswith((".c", ".h")):
        return
    code = strip_code(text)
    for line, call in lines_of(PRINTING, code):
        yield line, f"libraries never print or exit: {call.strip()}"
    if path not in ABORT_ALLOWED:
        for line, _ in lines_of(ABORT, code):
            yield line, "abort only through hak_fatal (core/base/print.h), which says why"


def check_guard(path, text):
    if path.endswith(".h") and path.startswith(("src/", "cli/")):
        if not re.search(r"^#ifndef (HAK\w*_H)\n#define \1$", text, re.M):
            yield 1, "no include guard HAK…_H"


CHECKS = (check_includes, check_text, check_opening, check_bats, check_printing, check_guard)


def files(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIP)
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if path.endswith(TEXT) or path.startswith("scripts/"):
                yield path


def check_environment(texts):
    """Every variable and knob the source names is in a manual or in docs/, and the other way round."""
    used = {}
    for path, text in texts.items():
        if path.startswith(("src/", "cli/")) and path.endswith((".c", ".h")):
            for line, name in lines_of(ENVIRONMENT, text):
                used.setdefault(name.strip('"='), (path, line))
    pages = {p: t.replace("\\-", "-").replace("\\_", "_") for p, t in texts.items()
             if p.endswith((".1", ".3", ".5", ".7")) or p.startswith("docs/")}
    said = set(re.findall(r"HAKMEM_[A-Z0-9_]+", " ".join(pages.values())))
    for name, (path, line) in sorted(used.items()):
        if name not in said and not name.endswith("_") and not name.startswith("HAKMEM_INTERNAL_"):
            yield path, line, f"{name} is in no manual page and not in docs/"
    for name in sorted(said - set(used)):
        if not name.endswith("_") and "src/core/options.c" in texts:
            page = next(p for p, t in pages.items() if name in t)
            yield page, 1, f"{name} is documented, but nothing reads it"
    knobs = KNOB.findall(texts.get("src/core/knobs.h", ""))
    manual = " ".join(pages.values())
    for knob in knobs:
        if knob not in manual:
            yield "src/core/knobs.h", 1, f"the knob {knob} is in no manual page and not in docs/"


def check_tree(root):
    faults, texts = [], {}
    for path in files(root):
        try:
            with open(os.path.join(root, path), encoding="utf-8", newline="") as file:
                texts[path] = file.read()
        except UnicodeDecodeError as error:
            faults.append(f"{path}:1: not UTF-8: {error}")
    for path, text in texts.items():
        for check in CHECKS:
            faults += [f"{path}:{line}: {what}" for line, what in check(path, text)]
    faults += [f"{path}:{line}: {what}" for path, line, what in check_environment(texts)]
    return faults


# path, text, what the fault must say; a tree with one of these must fail, without it it must pass.
GOOD = {
    "src/core/a.h": "/* a.h: x. */\n#ifndef HAK_A_H\n#define HAK_A_H\n#endif\n",
    "src/core/a.c": '/* a.c: prints nothing; exit() and printf() are words here. */\n#include "core/a.h"\n'
                    'const char *a = "HAKMEM_MODE";\n',
    "src/core/knobs.h": "/* knobs.h: x. */\n#ifndef HAK_K_H\n#define HAK_K_H\n"
                        '#define K(X) \\\n    X(FIRST, "first_knob", 1)\n#endif\n',
    "src/core/options.c": "/* options.c: x. */\n",
    "docs/env.md": "HAKMEM_MODE and the knob first_knob\n",
}
BAD = [
    ("src/core/base/b.c", '/* b.c: x. */\n#include "core/heap.h"\n', "may not include"),
    ("src/trace/b.c", '/* b.c: x. */\n#include "core/heap.h"\n', "may not include"),
    ("src/replay/b.c", '/* b.c: x. */\n#include "core/policy.h"\n', "may not include"),
    ("src/replay/b.c", '/* b.c: x. */\n#include "trace/ring.h"\n', "only the recorder"),
    ("src/core/b.c", '/* b.c: x. */\n#include "trace/event.h"\n', "may not include"),
    ("src/core/b.c", '/* b.c: x. */\n#include <core/a.h>\n', "with quotes"),
    ("src/core/b.c", "/* b.c: x. */\nint a;", "exactly one newline"),
    ("src/core/b.c", "/* b.c: x. */\nint a; \n", "white space"),
    ("src/core/b.c", "/* b.c: x. */\r\nint a;\n", "carriage return"),
    ("src/core/b.c", "/* b.c: x. */\n\tint a;\n", "tab"),
    ("src/core/b.c", "/* b.c: x. */\n" + "int a;\n" * MAX_LINES, "more than one thing"),
    ("src/core/b.c", "/* b.c: x. */\n/* TO" "DO: all of it */\n", "unfinished"),
    ("tests/b.bats", "# a st" "ub\n", "unfinished"),
    ("tests/b.bats", "    ! grep -q x y\n", "cannot fail"),
    ("src/core/b.c", "int a;\n", "must open with"),
    ("src/core/b.c", "/* b.c: x. */\nvoid f(void)\n{\n    printf(\"x\");\n}\n", "never print or exit"),
    ("src/core/b.c", "/* b.c: x. */\nvoid f(void)\n{\n    exit(1);\n}\n", "never print or exit"),
    ("src/replay/b.c", "/* b.c: x. */\nvoid f(void)\n{\n    fprintf(stderr, \"x\");\n}\n", "never print or exit"),
    ("src/replay/b.c", "/* b.c: x. */\nvoid f(void)\n{\n    abort();\n}\n", "hak_fatal"),
    ("src/core/b.h", "/* b.h: x. */\nint a;\n", "include guard"),
    ("src/core/b.c", '/* b.c: x. */\nconst char *b = "HAKMEM_SECRET";\n', "in no manual"),
    ("docs/b.md", "HAKMEM_GONE\n", "nothing reads it"),
    ("docs/env.md", "HAKMEM_MODE\n", "the knob first_knob"),
]


def self_test():
    wrong = 0
    for path, text, says in [(None, None, None)] + BAD:
        with tempfile.TemporaryDirectory() as root:
            tree = dict(GOOD, **({path: text} if path else {}))
            for name, content in tree.items():
                os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
                with open(os.path.join(root, name), "w", encoding="utf-8", newline="") as file:
                    file.write(content)
            faults = check_tree(root)
            hit = any(f.startswith(path) or "the knob" in f for f in faults if says in f) if path else not faults
            if not hit:
                print(f"self-test: {path or 'the good tree'}: expected {says!r}, got {faults}")
                wrong += 1
    print(f"{len(BAD)} planted faults, {wrong} missed")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--self-test":
        sys.exit(self_test())
    found = check_tree(sys.argv[1])
    print("\n".join(found) if found else "the house is in order")
    sys.exit(1 if found else 0)
