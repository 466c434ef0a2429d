#!/usr/bin/env python3
"""qkengine verify on the forward goldens: float32 and bfloat16, and the naive backend; and the results that
`qkengine families` and engine/families/README.md state.

usage: forward_golden.py FOLDER_OF_CASES... [--write]    --write states what was measured now
"""
import json
import pathlib
import re
import sys

from common import ROOT, engine

RESULTS = ROOT / "engine/families/golden_results.c"
README = ROOT / "engine/families/README.md"
RUNS = {"float32": ["--dtype", "float32"], "bfloat16": ["--dtype", "bfloat16"], "ref": ["--backend", "ref"]}
BEGIN, END = "<!-- families: begin (tests/interop/forward_golden.py --write) -->\n", "<!-- families: end -->"


def families():
    return {line.split()[0] for line in engine(["families"], ROOT).stdout.splitlines()[1:]}


def verify(case, options):
    """(passed, largest judged error, allowed)"""
    done = engine(["verify", case / "model", case / "golden.safetensors", "--json", *options], ROOT)
    result = json.loads(done.stdout) if done.stdout else {}
    worst = max((t["rms"] or 9 for t in result.get("tensors", {}).values() if t["judged"]), default=9)
    ok = done.returncode == 0 and result["same_bits"] and len(result["tensors"]) >= 4
    allowed = result.get("tolerance", 0)
    print(f"{'ok  ' if ok else 'FAIL'} {case.name} {' '.join(options)}: largest RMS error {worst:.2e}, allowed {allowed:.2e}"
          + ("" if ok else " " + done.stderr.strip()))
    return ok, worst, allowed


def table_text(rows):
    text = ("/* Written by tests/interop/forward_golden.py --write. See golden_results.h. */\n"
            '#include "engine/families/golden_results.h"\n\n#include <stddef.h>\n\n'
            "/* clang-format off */\nconst qk_golden_result qk_golden_results[] = {\n")
    for name, (model_type, f32, bf16) in sorted(rows.items()):
        text += f'    {{"{model_type}", "{name}", {f32[0]:.1e}, {f32[1]:.1e}, {bf16[0]:.1e}, {bf16[1]:.1e}}},\n'
    return text + "    {NULL, NULL, 0, 0, 0, 0},\n};\n/* clang-format on */\n"


def stated():
    number = r"([0-9.e+-]+)"
    pattern = rf'\{{"(\w+)", "(\w+)", {number}, {number}, {number}, {number}\}}'
    return {m[1]: (m[0], (float(m[2]), float(m[3])), (float(m[4]), float(m[5]))) for m in re.findall(pattern, RESULTS.read_text())}


def check_stated(rows):
    """What is stated must be what was measured, to within a factor of two: processors may differ in last bits."""
    problems = []
    there = stated()
    for name, row in rows.items():
        if name not in there or there[name][0] != row[0]:
            problems.append(f"{name} is not in {RESULTS.name}")
            continue
        for kind, new, old in (("float32", row[1], there[name][1]), ("bfloat16", row[2], there[name][2])):
            if not 0.5 < new[0] / old[0] < 2:
                problems.append(f"{name}: {kind} is {new[0]:.1e}, {RESULTS.name} states {old[0]:.1e}")
    block = README.read_text().split(BEGIN)[1].split(END)[0]
    if block != engine(["families", "--markdown"], ROOT).stdout:
        problems.append(f"{README.name}'s table is not the output of `qkengine families --markdown`")
    for p in problems:
        print(f"FAIL {p}; run this script with --write")
    return not problems


def write_readme():
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + engine(["families", "--markdown"], ROOT).stdout + END + rest.split(END)[1])
    print(f"{README}: the table of families is written")


def main():
    write = "--write" in sys.argv
    known, rows = families(), {}
    passed = failed = skipped = 0
    for root in [pathlib.Path(a) for a in sys.argv[1:] if not a.startswith("--")]:
        for case in sorted(root.iterdir()):
            if not (case / "golden.safetensors").exists() or case.name in rows:
                continue
            model_type = json.loads((case / "model/config.json").read_text())["model_type"]
            if model_type not in known:
                print(f"SKIPPED {case.name}: model_type {model_type} is not built yet")
                skipped += 1
                continue
            results = {name: verify(case, options) for name, options in RUNS.items()}
            passed += sum(ok for ok, _, _ in results.values())
            failed += sum(not ok for ok, _, _ in results.values())
            rows[case.name] = (model_type, results["float32"][1:], results["bfloat16"][1:])
    if write and not failed:
        RESULTS.write_text(table_text(rows))
        print(f"{RESULTS.relative_to(ROOT)} is written: build, then run this script again")
        write_readme()
    else:
        ok = check_stated(rows)
        passed, failed = passed + ok, failed + (not ok)
    print(f"forward goldens: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
