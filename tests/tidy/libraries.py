"""What our shared libraries show and need: libraries.py LIBRARY LIST

Compares the dynamic symbols that LIBRARY defines with LIST (one name a line, '#' comments), sees that it needs nothing
but what LIST allows (lines 'needs NAME'), keeps its thread-local storage within the static block of a program that
loads hundreds of libraries (line 'tls BYTES'), and has no executable stack and no text relocations. Exit status 1 when
something differs.
"""
import re
import subprocess
import sys


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    library, list_path = sys.argv[1:]
    symbols, needs, tls_max = set(), set(), 0
    for line in open(list_path, encoding="utf-8"):
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "needs":
            needs.add(words[1])
        elif words[0] == "tls":
            tls_max = int(words[1])
        else:
            symbols.add(words[0])
    faults = []
    shown = {line.split()[2].split("@")[0] for line in output("nm", "-D", "--defined-only", library).splitlines()}
    faults += [f"exports {name}, which is not in {list_path}" for name in sorted(shown - symbols)]
    faults += [f"does not export {name}" for name in sorted(symbols - shown)]
    dynamic = output("readelf", "-dW", library)
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
    faults += [f"needs {name}" for name in sorted(needed - needs)]
    if "TEXTREL" in dynamic:
        faults.append("has text relocations")
    headers = output("readelf", "-lW", library)
    tls = re.search(r"^\s*TLS\s+\S+\s+\S+\s+\S+\s+\S+\s+(\S+)", headers, re.M)
    if tls and int(tls.group(1), 16) > tls_max:
        faults.append(f"takes {int(tls.group(1), 16)} bytes of thread-local storage, more than {tls_max}")
    if re.search(r"GNU_STACK.*RWE", headers):
        faults.append("wants an executable stack")
    for fault in faults:
        print(f"{library}: {fault}")
    print(f"{library}: {len(shown)} symbols, needs {' '.join(sorted(needed))}")
    return 1 if faults else 0


sys.exit(main())
