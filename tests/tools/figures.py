#!/usr/bin/env python3
"""How the tree is built, in figures: folders, what each object includes, circles, functions, sizes. Works on any version of it.

usage: figures.py [TREE ...]      a column for each TREE (.); needs Python and gcc, builds nothing
       figures.py --names [TREE]  also which functions have one caller, by folder

  headers of an object   the project's headers in `gcc -MM` of a .c file
  headers of a header    how many of the project's it pulls in, itself left out
  circle                 modules (x.c with x.h) that include each other, by whatever way; a head and its parts: every way goes through one
  one caller             a static function whose name is written once besides its definition and its declaration
"""
import re
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

TOPS = ("engine", "formats", "hub", "kernels", "sampler")
FLAGS = ["-I.", "-D_GNU_SOURCE", "-DQK_X86", "-fopenmp-simd", "-DQK_ISA=portable", "-DQK_ISA_portable"]
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
# A definition begins in the first column, and its body's last brace stands there, too.
DEFINITION = re.compile(r"^(?P<head>[A-Za-z_][^;{}#=]*?\b(?P<name>[a-z_]\w*)\([^;{}]*\))\s*\n\{\n(?P<body>.*?)^\}", re.M | re.S)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')', re.S)
A_DOZEN = 12
WIDTH = 52  # of a column


def sources(tree):
    """{path: text} of the program: no tests, no generated tables."""
    found = (p for top in TOPS for p in sorted((tree / top).rglob("*.[ch]")))
    return {str(p.relative_to(tree)): p.read_text(encoding="utf-8") for p in found if "unicode_tables" not in p.name}


def seen_by_objects(tree, texts):
    """{source: how many of the project's headers it includes}"""
    def ask(source):
        done = subprocess.run(["gcc", "-MM", *FLAGS, source], cwd=tree, capture_output=True, text=True)
        if done.returncode:
            return None     # needs a toolkit that is not here
        return source, len({w for w in done.stdout.replace("\\\n", " ").split() if w.endswith(".h") and not w.startswith("/")})
    with ThreadPoolExecutor(cpu_count()) as pool:
        return dict(filter(None, pool.map(ask, [t for t in texts if t.endswith(".c")])))


def closure(start, edges):
    seen, todo = set(), [start]
    while todo:
        for other in edges.get(todo.pop(), ()):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


def module_edges(includes):
    """{module: those that it includes}"""
    def module(path):
        return path.rsplit(".", 1)[0]
    edges = defaultdict(set)
    for path, others in includes.items():
        edges[module(path)] |= {module(o) for o in others} - {module(path)}
    return edges


def circles(edges):
    """Sets of modules that reach each other: {"engine/run/plan", ...}"""
    reach = {m: closure(m, edges) for m in edges}
    found = {frozenset(n for n in reach[m] if m in reach.get(n, ())) for m in edges if m in reach[m]}
    return sorted(found, key=lambda c: (-len(c), sorted(c)))


def has_head(circle, edges):
    """Whether every way round goes through one module."""
    return any(not circles({m: (edges[m] & circle) - {head} for m in circle - {head}}) for head in circle)


def functions(texts):
    """[(path, name, lines, is static, how often it is used in its file)]; kernels, which are macros in part, as far as they look like C."""
    found = []
    for path, text in texts.items():
        plain = COMMENT.sub(lambda m: '""' if m.group(1) else "\n" * m.group(0).count("\n"), text)
        words = Counter(re.findall(r"[A-Za-z_]\w*", plain))
        for m in DEFINITION.finditer(plain):
            declared = len(re.findall(rf"^static [^;{{}}=]*\b{m['name']}\([^;{{}}]*\);", plain, re.M))
            found.append((path, m["name"], m["head"].count("\n") + m["body"].count("\n") + 3, m["head"].startswith("static"),
                          words[m["name"]] - 1 - declared))
    return found


def percent(part, whole):
    return f"{100 * part / whole:.0f} %" if whole else "-"


def figures(tree):
    """[(what, value)]"""
    texts = sources(tree)
    includes = {p: {i for i in INCLUDE.findall(t) if i in texts} for p, t in texts.items()}
    engine = [Path(p).relative_to("engine") for p in texts if p.startswith("engine/")]
    at_root = sorted(p.name for p in (tree / "engine").iterdir() if p.is_file())
    yield "engine/: files (.c, .h)", len(engine)
    yield "engine/: folders", len({p.parts[0] for p in engine if len(p.parts) > 1})
    yield "engine/: files at its root", f"{len(at_root)}: {' '.join(at_root)}"

    objects = seen_by_objects(tree, texts)
    most = sorted(objects.items(), key=lambda o: (-o[1], o[0]))
    yield "headers of an object: median", statistics.median_low(objects.values())
    for i, (path, count) in enumerate(most[:5]):
        yield f"headers of an object: most, {i + 1}", f"{count} {path}"

    pulled = {p: len(closure(p, includes) - {p}) for p in texts if p.endswith(".h")}
    beyond = sorted(((n, p) for p, n in pulled.items() if n > A_DOZEN), key=lambda h: (-h[0], h[1]))
    yield "headers of a header: median", statistics.median_low(pulled.values())
    yield "headers of a header: over a dozen", len(beyond)
    for i, (count, path) in enumerate(beyond[:5]):
        yield f"headers of a header: most, {i + 1}", f"{count} {path}"
    edges = module_edges(includes)
    rounds = circles(edges)
    yield "circles", len(rounds)
    yield "circles: of no head and its parts", sum(not has_head(c, edges) for c in rounds)
    for i, c in enumerate(rounds[:5]):
        one = min(c)
        folder = one.rsplit("/", 1)[0] + "/"
        yield f"circles: {i + 1}", " ".join([one] + [m.removeprefix(folder) for m in sorted(c - {one})])

    all_functions = functions(texts)
    lines = [f[2] for f in all_functions]
    static = [f for f in all_functions if f[3]]
    once = [f for f in static if f[4] == 1]
    yield "functions", len(lines)
    yield "functions: lines, median", statistics.median_low(lines)
    yield "functions: lines, nine of ten", statistics.quantiles(lines, n=10, method="inclusive")[-1].__round__()
    yield "functions: static", len(static)
    yield "functions: static with one caller", f"{len(once)} ({percent(len(once), len(static))})"

    def folder(path):
        parts = path.split("/")
        return "/".join(parts[:2]) if parts[0] == "engine" and len(parts) > 2 else parts[0]
    counted = Counter()
    for path, text in texts.items():
        counted[folder(path)] += text.count("\n")
    for name in sorted(counted):
        yield f"lines: {name}", counted[name]
    yield "lines of all folders", sum(counted.values())
    yield "README.md: bytes", (tree / "README.md").stat().st_size


def short(text):
    return text if len(text) <= WIDTH else text[:WIDTH - 4] + " ..."


def table(trees):
    columns = [{what: short(str(value)) for what, value in figures(t)} for t in trees]
    rows = list(dict.fromkeys(k for c in columns for k in c))
    kinds = list(dict.fromkeys(r.split(":")[0] for r in rows))
    rows.sort(key=lambda r: kinds.index(r.split(":")[0]))   # what the first tree lacks stands by its kind
    for row in rows:
        print(f"{row:<36}", *(f"{c.get(row, '-'):<{WIDTH}}" for c in columns[:-1]), columns[-1].get(row, "-"), sep="  ")


def names(tree):
    by_folder = defaultdict(list)
    for path, name, lines, static, uses in functions(sources(tree)):
        if static and uses == 1:
            by_folder[str(Path(path).parent)].append(f"{path}: {name}, {lines} lines")
    for folder in sorted(by_folder):
        print(f"{folder}: {len(by_folder[folder])}", *by_folder[folder], sep="\n  ")


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if not a.startswith("-")]
    if {"-h", "--help"} & set(sys.argv):
        sys.exit(print(__doc__))
    folders = [Path(a) for a in arguments] or [Path(".")]
    for missing in (f for f in folders if not (f / "engine").is_dir()):
        sys.exit(f"{missing}: no tree of qkengine")
    table(folders)
    if "--names" in sys.argv:
        names(folders[0])
