#!/usr/bin/env python3
"""All layers in memory against two at a time: seconds and peak memory of runs over the same documents, interleaved, medians.

A random checkpoint of the shape of NAME, cut to its first layers, is written to FOLDER once (GBs) and removed at the end. Every document is
a batch of about 2,000 tokens, so the layers that do not stay are read again for each. "first" is a run after the file's pages were dropped from
the system's cache, so that it comes from the disk.  The outputs are compared: same bytes.

usage: streaming.py FOLDER [--like llama-3.1-8b] [--layers 6] [--dtype bfloat16] [--documents 3] [--tokens 2048] [--threads 2] [--rounds 3] [--in-memory 2]
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from common import ROOT, digest, engine, write_jsonl  # noqa: E402

CONFIG = """
dataset: {{path: documents.jsonl, split: train, text_column: text}}
model: {{name: model, dtype: {dtype}}}
tokenizer: {{max_length: {tokens}}}
inference: {{batch_size: 1, threads: {threads}}}
capture: {{min_bucket_size: 128, sampler: {{type: log_uniform, base_rate: 4.0}}}}
output: {{data_root: out, layout: branch}}
"""


def once(folder, layers):
    """Seconds of the forward and of everything, peak bytes, digest."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    args = [ROOT / "qkengine", "run", "config.yaml", "--json", "--set", f"inference.layers_in_memory={layers}"]
    began = time.perf_counter()
    process = subprocess.Popen(args, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return json.loads(out)["seconds_forward"], time.perf_counter() - began, usage.ru_maxrss * 1024, digest(folder / "out/final")


def drop_from_cache(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def show(name, runs):
    forward, whole, peak = ([r[i] for r in runs] for i in range(3))
    print(f"{name:22} forward {statistics.median(forward):6.1f} s {[round(s, 1) for s in forward]}, whole run {statistics.median(whole):6.1f} s, "
          f"peak {max(peak) / 1e9:.2f} GB", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--like", default="llama-3.1-8b")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--documents", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-memory", type=int, default=2)
    args = parser.parse_args()
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True)
    try:
        made = engine(["synth", "--like", args.like, "--layers", args.layers, "model"], folder)
        assert made.returncode == 0, made.stderr
        text = (ROOT / "tests/demo/texts.jsonl").read_text() * 2
        write_jsonl(folder / "documents.jsonl", [{"text": text[100 * i:]} for i in range(args.documents)])
        (folder / "config.yaml").write_text(CONFIG.format(**vars(args)))
        few = args.in_memory
        plan = json.loads(engine(["plan", "config.yaml", "--json", "--set", f"inference.layers_in_memory={few}"], folder).stdout)
        print(f"{args.like}, {plan['layers']} layers, {args.dtype}: weights {plan['weight_bytes'] / 1e9:.2f} GB; with {few} layers "
              f"{plan['weight_bytes_in_memory'] / 1e9:.2f} GB, {plan['weight_bytes_read_per_batch'] / 1e9:.2f} GB read for each of "
              f"{args.documents} batches of {args.tokens} tokens; {args.threads} threads", flush=True)
        weights = folder / "model/model.safetensors"
        drop_from_cache(weights)
        show(f"{few} layers, first", [once(folder, few)])
        all_runs, few_runs = [], []
        for _ in range(args.rounds):
            all_runs.append(once(folder, args.layers))
            few_runs.append(once(folder, few))
        show("all layers", all_runs)
        show(f"{few} layers", few_runs)
        assert len({json.dumps(r[3], sort_keys=True) for r in all_runs + few_runs}) == 1, "the bytes differ"
        print("all outputs have the same bytes")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
