#!/usr/bin/env python3
"""qkengine verify on the forward goldens: float32 and bfloat16, and the naive backend.

usage: forward_golden.py FOLDER_OF_CASES [CASE ...]      all cases whose model_type this build knows
"""
import json
import pathlib
import sys

from common import ROOT, engine


def families():
    return {line.split()[0] for line in engine(["families"], ROOT).stdout.splitlines()[1:]}


def main():
    root, known = pathlib.Path(sys.argv[1]), families()
    passed = failed = skipped = 0
    for case in sorted(root.iterdir()):
        if not (case / "golden.safetensors").exists() or (sys.argv[2:] and case.name not in sys.argv[2:]):
            continue
        model_type = json.loads((case / "model/config.json").read_text())["model_type"]
        if model_type not in known:
            print(f"SKIPPED {case.name}: model_type {model_type} is not built yet")
            skipped += 1
            continue
        for options in (["--dtype", "float32"], ["--dtype", "bfloat16"], ["--backend", "ref"]):
            done = engine(["verify", case / "model", case / "golden.safetensors", "--json", *options], ROOT)
            result = json.loads(done.stdout) if done.stdout else {}
            worst = max((t["rms"] or 9 for t in result.get("tensors", {}).values() if t["judged"]), default=9)
            ok = done.returncode == 0 and result["same_bits"] and len(result["tensors"]) >= 4
            passed, failed = passed + ok, failed + (not ok)
            print(f"{'ok  ' if ok else 'FAIL'} {case.name} {' '.join(options)}: largest RMS error {worst:.2e}, "
                  f"allowed {result.get('tolerance', 0):.2e}{'' if ok else ' ' + done.stderr.strip()}")
    print(f"forward goldens: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
