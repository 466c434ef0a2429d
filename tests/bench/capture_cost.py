#!/usr/bin/env python3
"""What capture costs in whole runs, to hold `qkengine bench` against: pairs of runs over the same documents, one that captures every head and
one that captures a row now and then of one head of the last layer, so that both compute the same layers. In turns, the second of a pair first in
every other one. Seconds are those of the run's own stages (forward, rows, write), so that loading and hashing do not count, and processor
time is that of the whole process. The difference is the median of the pairs' ratios, with the interval of order statistics of engine/bench/stats.h.

A random checkpoint of the shape of NAME is written to FOLDER once and removed at the end.

usage: capture_cost.py FOLDER [--like smollm2-135m] [--layers 30] [--dtype float32] [--documents 4] [--tokens 512] [--threads 2] [--pairs 20] [--base-rate 16]
"""
import argparse
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from common import ROOT, engine, write_jsonl  # noqa: E402

CONFIG = """
dataset: {{path: documents.jsonl, split: train, text_column: text}}
model: {{name: model, dtype: {dtype}}}
tokenizer: {{max_length: {tokens}}}
inference: {{batch_size: 1, threads: {threads}}}
capture: {{min_bucket_size: 128, sampler: {{type: log_uniform, base_rate: {base_rate}}}}}
output: {{data_root: out, layout: branch}}
"""


def once(folder, settings):
    """Seconds of the stages that a document pays, and of processor time."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    args = [str(ROOT / "qkengine"), "run", "config.yaml", "--json", *(word for s in settings for word in ("--set", s))]
    process = subprocess.Popen(args, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    stages = json.loads(out)["stages"]
    return sum(stages[s] for s in ("forward", "rows", "write")), usage.ru_utime + usage.ru_stime


def interval(ratios):
    """Median, low, high, confidence."""
    n, rank, confidence = len(ratios), 1, 1 - 2 * 0.5 ** len(ratios)
    for k in range(2, n // 2 + 1):
        wider = 1 - 2 * sum(math.comb(n, j) for j in range(k)) / 2 ** n
        if wider < 0.95:
            break
        rank, confidence = k, wider
    ordered = sorted(ratios)
    return statistics.median(ratios), ordered[rank - 1], ordered[-rank], confidence


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--like", default="smollm2-135m")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--documents", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--base-rate", type=float, default=16)
    args = parser.parse_args()
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True)
    try:
        made = engine(["synth", "--quiet", "--like", args.like, "--layers", args.layers, "model"], folder)
        assert made.returncode == 0, made.stderr
        text = (ROOT / "tests/demo/texts.jsonl").read_text() * 8
        write_jsonl(folder / "documents.jsonl", [{"text": text[100 * i:]} for i in range(args.documents)])
        (folder / "config.yaml").write_text(CONFIG.format(**vars(args)))
        ways = [[], [f"capture.layers={args.layers - 1}", "capture.heads=0", "capture.capture_keys=false", "capture.sampler.base_rate=0.01"]]
        took = [[], []]
        for way in ways:
            once(folder, way)      # pages, clocks
        for pair in range(args.pairs):
            for i in (0, 1) if pair % 2 else (1, 0):
                took[i].append(once(folder, ways[i]))
        for what, at in ("wall clock of forward, rows, write", 0), ("processor time of the whole run", 1):
            ratios = [100 * (a[at] / b[at] - 1) for a, b in zip(*took)]
            middle, low, high, confidence = interval(ratios)
            print(f"{what}: {statistics.median(a[at] for a in took[0]):.2f} s with, {statistics.median(b[at] for b in took[1]):.2f} s without; "
                  f"added {middle:+.2f} % ({low:.2f} to {high:.2f}, confidence {confidence:.3f}, {args.pairs} pairs)", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
