"""Adds up what the suites of the Hub showed when they ran last: the edge cases of tests/hub/cases.py, faults at requests.

usage: hub_cases.py [--run [--full]]    --run: runs the suites first; --full: with 50 SIGKILLs each, and what takes its
time. A record that is older than ./qkengine does not count.
"""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from common import ROOT  # noqa: E402
from hub.cases import CASES, FOLDER, print_cases, print_pairs  # noqa: E402

SUITES = ["hub_pull", "hub_stream", "hub_pull_faults", "hub_push", "hub_push_faults"]


def main():
    if "--run" in sys.argv:
        for suite in SUITES:
            subprocess.run([sys.executable, ROOT / f"tests/interop/{suite}.py", *[a for a in sys.argv if a == "--full"]], check=False)
    built, suites = (ROOT / "qkengine").stat().st_mtime, {}
    for suite in SUITES:
        path = FOLDER / f"{suite}.json"
        if path.is_file() and path.stat().st_mtime >= built:
            suites[suite] = json.loads(path.read_text())
        else:
            print(f"{suite}: no record of this qkengine; run tests/interop/{suite}.py")
    holes = print_pairs(suites)
    covered = print_cases(suites)
    print(f"hub cases: {covered} passed, {len(CASES) - covered + holes + len(SUITES) - len(suites)} failed, 0 skipped")
    return 0 if covered == len(CASES) and not holes and len(suites) == len(SUITES) else 1


if __name__ == "__main__":
    sys.exit(main())
