#!/usr/bin/env python3
"""Peak memory of one long document on SmolLM2-135M, by length: must stay under weights + 600 MB at 32,768 tokens
and grow linearly.  Peak resident set, from the system's account of the finished process.  usage: memory.py [DTYPE]
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from common import ROOT, write_jsonl  # noqa: E402

MODEL = ROOT / "build/smollm2"
DTYPE = sys.argv[1] if len(sys.argv) > 1 else "float32"
LIMIT = 600e6

CONFIG = """
dataset: {{path: documents.jsonl, split: train, text_column: text}}
model: {{name: {model}, dtype: {dtype}}}
tokenizer: {{max_length: {T}}}
capture: {{min_bucket_size: 128, sampler: {{type: log_uniform, base_rate: 4.0}}}}
output: {{data_root: out, layout: branch}}
"""


def peak(folder, T):
    (folder / "config.yaml").write_text(CONFIG.format(model=MODEL, dtype=DTYPE, T=T))
    plan = json.loads(subprocess.run([ROOT / "qkengine", "plan", "config.yaml", "--json"], cwd=folder, capture_output=True).stdout)
    process = subprocess.Popen([ROOT / "qkengine", "run", "config.yaml", "--quiet"], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return usage.ru_maxrss * 1024, plan


def main():
    text = (ROOT / "tests/demo/texts.jsonl").read_text() * 40
    rows = []
    for T in (4096, 8192, 16384, 32768):
        with tempfile.TemporaryDirectory() as folder:
            write_jsonl(pathlib.Path(folder) / "documents.jsonl", [{"text": text}])
            used, plan = peak(pathlib.Path(folder), T)
        weights = plan["weight_bytes"]
        rows.append((T, used - weights))
        print(f"{T:6} tokens: peak {used / 1e6:7.1f} MB = weights {weights / 1e6:.1f} MB + {(used - weights) / 1e6:.1f} MB"
              f" (the plan said {plan['activation_bytes'] / 1e6:.1f} + {plan['capture_bytes'] / 1e6:.1f} MB)", flush=True)
    slope = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(rows, rows[1:])]
    print("bytes per token between those lengths:", ", ".join(f"{s:.0f}" for s in slope))
    ok = rows[-1][1] < LIMIT and max(slope) < 1.5 * min(slope)
    print("within bounds" if ok else "OUT OF BOUNDS")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
