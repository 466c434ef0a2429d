#!/usr/bin/env python3
"""Whole runs against the reference program's rows (goldens: tests/README.md).

For every case and variant: `qkengine run` in branch layout (old_layout: prefix, per-head masks), then
every file's bucket, example_id, position, token_str and sliding_window must be identical, in order,
the set of files too, and vectors within the bound.
usage: capture_golden.py QKENGINE GOLDEN_FOLDER [CASE ...] [--backend NAME]
A GPU machine may have no pyarrow. Then: --keep FOLDER there, which runs all and judges nothing, and here
       capture_golden.py QKENGINE GOLDEN_FOLDER --judge FOLDER
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import pyarrow.parquet as pq
except ImportError:
    pq = None  # enough for --keep

# Every case of the corpus.
CASES = ["case1_llama_log_uniform", "case2_qwen3_uniform_head_sampling", "case3_gemma3_windows", "case4_mistral_window_max_rows",
         "case5_llama3_scaling_and_yarn", "case6_truncation_and_ids", "case7_qwen3_bfloat16", "old_layout"]
# What the reference stops at half-way, or does nothing for, is refused before the run.
REFUSED = {"case4_mistral_window_max_rows/config_c.yaml": "there is no key head 2",
           "case4_mistral_window_max_rows/config_d.yaml": "every chosen layer has a sliding window"}
BACKEND = []  # more arguments of qkengine run
KEPT = {}  # "keep" or "judge": a folder of finished runs
EXACT = ["bucket", "example_id", "position", "sliding_window", "token_str"]


def variants(case):
    """(config file, folder of the expected rows)"""
    if case.name == "old_layout":
        return [("config.yaml", "expected"), ("config_now.yaml", "expected_now")]
    return [(c.name, "expected" + c.stem.removeprefix("config")) for c in sorted(case.glob("config*.yaml"))]


def run(engine, case, config, work):
    """Runs in a folder that sees the case's model and dataset; returns the folder of the lXXhYYq files."""
    if "judge" in KEPT:
        final = KEPT["judge"] / case.name / config
        return final / "tiny_llama_base_1" if (final / "tiny_llama_base_1").is_dir() else final
    for entry in case.iterdir():
        if not entry.name.startswith("expected"):
            (work / entry.name).symlink_to(entry)
    old = case.name == "old_layout" and config == "config.yaml"
    layout = ["--set", "output.layout=" + ("prefix" if old else "branch")]
    masks = ["--set", "capture.per_head_masks=true", "--set", "output.split=tiny_llama_base_1"] if old else []
    command = [engine, "run", config, "--quiet", "--set", "output.data_root=out", *layout, *masks, *BACKEND]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"exit status {done.returncode}: {done.stderr.strip()}")
    final = work / "out" / "final"
    if "keep" in KEPT:
        shutil.copytree(final, KEPT["keep"] / case.name / config, dirs_exist_ok=True)
    return final / "tiny_llama_base_1" if old else final


def read_ours(folder):
    return {p.parent.name: pq.read_table(p) for p in sorted(folder.glob("l*/data.parquet"))}


def read_golden(path):
    table = pq.read_table(path)
    files = {}
    keys = zip(table["layer"].to_pylist(), table["head"].to_pylist(), table["kind"].to_pylist())
    for row, (layer, head, kind) in enumerate(keys):
        files.setdefault(f"l{layer:02d}h{head:02d}{kind}", []).append(row)
    return {name: table.take(rows) for name, rows in files.items()}


def vectors(table):
    column = table["vector"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(table), -1).astype(np.float64)


def bound(name, layers_in_case):
    """Relative RMS per file: 2e-6 times the layers; bfloat16: what the two kernels of the reference differ by, doubled."""
    return 3e-2 if name == "case7_qwen3_bfloat16/config.yaml" else 2e-6 * layers_in_case


def check_file(label, name, ours, golden, limit):
    for column in EXACT:
        if column not in golden.column_names:
            assert column not in ours.column_names, f"{label} {name}: column {column} was not asked for"
            continue
        a, b = ours[column].to_pylist(), golden[column].to_pylist()
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            raise AssertionError(f"{label} {name}: {column} differs at row {at} of {len(b)} (ours: {len(a)} rows): "
                                 f"{a[at:at + 3]} instead of {b[at:at + 3]}")
    x, y = vectors(ours), vectors(golden)
    error = float(np.sqrt(((x - y) ** 2).sum() / (y ** 2).sum()))
    assert error <= limit, f"{label} {name}: vectors {error:.2e} away, allowed {limit:.2e}"
    return error


def check_refused(engine, case, config, message):
    with tempfile.TemporaryDirectory() as work:
        try:
            run(engine, case, config, pathlib.Path(work))
        except AssertionError as refusal:
            assert "exit status 1" in str(refusal) and message in str(refusal), refusal
            return
    raise AssertionError(f"{case.name}/{config} was not refused")


def check(engine, case, config, expected):
    label = f"{case.name}/{config}"
    layers = json.loads(next(case.rglob("config.json")).read_text())["num_hidden_layers"]
    fails_there = (case / expected / "error.json").exists()
    if label in REFUSED:
        if "judge" in KEPT:
            print(f"     {label}: refused before it leaves anything to judge")
            return
        check_refused(engine, case, config, REFUSED[label])
        print(f"ok   {label}: refused: {REFUSED[label]}")
        return
    with tempfile.TemporaryDirectory() as work:
        folder = run(engine, case, config, pathlib.Path(work))
        if "keep" in KEPT:
            print(f"kept {label}: not judged")
            return
        ours = read_ours(folder)
    golden = read_golden(case / expected / "rows.parquet")
    assert set(ours) == set(golden), f"{label}: files {sorted(set(ours) ^ set(golden))} on one side only"
    if fails_there:
        # The reference stops at a batch of nothing but empty texts; qkengine goes on. What the
        # reference wrote before it stopped must be the beginning of what we wrote.
        ours = {name: table.slice(0, len(golden[name])) for name, table in ours.items()}
    worst = max(check_file(label, n, ours[n], golden[n], bound(label, layers)) for n in golden)
    rows = sum(len(t) for t in golden.values())
    print(f"ok   {label}: {len(golden)} files, {rows} rows identical, vectors within {worst:.1e}"
          + (" (up to where the reference stops)" if fails_there else ""))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", type=pathlib.Path)
    parser.add_argument("golden", type=pathlib.Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--backend")
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--judge", type=pathlib.Path)
    args = parser.parse_args()
    engine, golden = str(args.engine.resolve()), args.golden.resolve()
    BACKEND.extend(["--backend", args.backend] if args.backend else [])
    KEPT.update({k: v.resolve() for k, v in (("keep", args.keep), ("judge", args.judge)) if v})
    if not pq and not args.keep:
        parser.error("needs numpy and pyarrow, or --keep")
    passed = failed = skipped = 0
    for name in args.cases or CASES:
        case = golden / name
        if not case.is_dir():
            print(f"SKIPPED {name}: not in {golden}")
            skipped += 1
            continue
        for config, expected in variants(case):
            try:
                check(engine, case, config, expected)
                passed += 1
            except AssertionError as problem:
                print(f"FAIL {problem}")
                failed += 1
    if "keep" in KEPT:
        passed, skipped = 0, passed + skipped
    print(f"capture goldens: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not (passed or "keep" in KEPT) else 0


if __name__ == "__main__":
    sys.exit(main())
