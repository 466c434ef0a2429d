#!/usr/bin/env python3
"""Prefill tokens/s of SmolLM2-135M: qkengine against transformers, in turn, same threads, same tokens.

Window: from the first document to the last captured row (qkengine: seconds_forward, which includes reading, tokenizing, sampling,
and writing the unit; its last layer stops at q and k), against the backbone's forward alone (transformers: model.model(ids), sdpa,
no cache, after one warm-up). Loading is outside both. Each round runs one process of each; medians of the rounds are printed.

usage: prefill.py TORCH_PYTHON [--rounds 3] [--threads 2] [--csv FILE]     (TORCH_PYTHON: an interpreter with torch and transformers)
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from common import ROOT, engine, write_jsonl  # noqa: E402

MODEL = ROOT / "build/smollm2"
CASES = [(512, 24), (4096, 4)]   # tokens of a document, documents of a run

TORCH = """
import sys, time, torch
from transformers import AutoModelForCausalLM
model, dtype, T, n, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
torch.set_num_threads(threads)
m = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype), attn_implementation="sdpa").eval().model
ids = torch.randint(0, 49000, (n + 1, 1, T), generator=torch.Generator().manual_seed(1))
with torch.inference_mode():
    m(ids[n], use_cache=False)
    begin = time.perf_counter()
    for i in range(n):
        m(ids[i], use_cache=False)
    print(T * n / (time.perf_counter() - begin))
"""

CONFIG = """
dataset: {{path: documents.jsonl, split: train, text_column: text}}
model: {{name: {model}, dtype: {dtype}}}
tokenizer: {{max_length: {T}}}
inference: {{batch_size: 1, threads: {threads}}}
capture: {{min_bucket_size: 128, sampler: {{type: log_uniform, base_rate: 4.0}}}}
output: {{data_root: {out}, layout: branch}}
"""


def ours(folder, dtype, T, n, threads, number):
    (folder / "config.yaml").write_text(CONFIG.format(model=MODEL, dtype=dtype, T=T, threads=threads, out=f"out{number}"))
    done = engine(["run", "config.yaml", "--quiet", "--json"], folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["tokens"] == T * n, result
    return result["tokens"] / result["seconds_forward"]


def theirs(python, dtype, T, n, threads):
    done = subprocess.run([python, "-c", TORCH, MODEL, dtype, str(T), str(n), str(threads)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--csv")
    args = parser.parse_args()
    text = (ROOT / "tests/demo/texts.jsonl").read_text() * 6
    lines = ["dtype,tokens,qkengine,transformers,ratio"]
    for dtype in ("float32", "bfloat16"):
        for T, n in CASES:
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                write_jsonl(folder / "documents.jsonl", [{"text": text[100 * i:]} for i in range(n)])
                a, b = [], []
                for r in range(args.rounds):
                    a.append(ours(folder, dtype, T, n, args.threads, r))
                    b.append(theirs(args.python, dtype, T, n, args.threads))
            x, y = statistics.median(a), statistics.median(b)
            lines.append(f"{dtype},{T},{x:.0f},{y:.0f},{x / y:.2f}")
            print(f"{dtype:8} {T:5} tokens: qkengine {x:6.0f} tokens/s {[round(v) for v in a]}, "
                  f"transformers {y:6.0f} {[round(v) for v in b]}, ratio {x / y:.2f}", flush=True)
    if args.csv:
        pathlib.Path(args.csv).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
