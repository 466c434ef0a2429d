#!/usr/bin/env python3
"""Attention logits rebuilt from a dataset by configs/reader alone, beside those of transformers in float32 (eager): all heads, 8 texts.

Runs ./qkengine on the model (build/smollm2) with every position captured; scale, soft cap, windows and the map of heads are those of the dataset's
metadata. Needs torch, transformers, numpy, pyarrow. Exit status 1 beyond 2e-4.

usage: logits_against_transformers.py [MODEL] [KEY=VALUE ...]      settings of the run, such as inference.backend=ref

Both sides round, so this is no exact number. The cpu backend adds a product of matrices in one chain (kernels/README.md), and is about twice as far from
float64 as transformers in float32 is; the ref backend a third as far. Measured: kernels/SPEED.md.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "configs/reader"))
import qkread

transformers.utils.logging.disable_progress_bar()
ALLOWED, TEXTS = 2e-4, 8
CONFIG = """
dataset: {{path: texts.jsonl, split: train, text_column: text, id_column: id}}
model: {{name: {model}, dtype: float32}}
tokenizer: {{max_length: 512}}
inference: {{batch_size: 4}}
capture: {{sampler: {{type: all}}}}
output: {{data_root: out, layout: branch}}
"""


def scores_of(model, ids):
    """[layers, heads, T, T]: what the softmax of each layer is given, scaled, capped and masked."""
    softmax, seen = torch.nn.functional.softmax, []

    def record(scores, *rest, **more):
        seen.append(scores[0].float().numpy())
        return softmax(scores, *rest, **more)

    torch.nn.functional.softmax = record
    try:
        with torch.no_grad():
            model.model(input_ids=torch.tensor([ids]), use_cache=False)
    finally:
        torch.nn.functional.softmax = softmax
    assert len(seen) == model.config.num_hidden_layers
    return np.stack(seen)


def main():
    settings = [part for given in sys.argv[1:] if "=" in given for part in ("--set", given)]
    models = [given for given in sys.argv[1:] if "=" not in given]
    source = pathlib.Path(models[0] if models else ROOT / "build/smollm2").resolve()
    lines = [json.loads(line) for line in (ROOT / "tests/demo/texts.jsonl").read_text().splitlines()]
    rows = [{"id": f"text-{i}", "text": " ".join(row["text"] for row in lines[6 * i:6 * i + 6])} for i in range(TEXTS)]
    with tempfile.TemporaryDirectory() as top:
        folder = pathlib.Path(top)
        (folder / "texts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        (folder / "config.yaml").write_text(CONFIG.format(model=source))
        subprocess.run([ROOT / "qkengine", "run", "config.yaml", "--quiet", *settings], cwd=folder, check=True)
        data = qkread.open(folder / "out/final")
        texts = data.texts({"id": [r["id"] for r in rows], "text": [r["text"] for r in rows]}, id="id")
        assert len(texts) == TEXTS
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        model = transformers.AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager", dtype=torch.float32).eval()
        true = {example: scores_of(model, tokenizer(text).input_ids) for example, text in texts.items()}
        count, worst, largest = 0, 0.0, 0.0
        heads = [(layer, head) for layer, head, kind in data.heads() if kind == "q"]
        assert len(heads) == model.config.num_hidden_layers * model.config.num_attention_heads
        for layer, head in heads:
            all_q, all_k = data.pair(layer, head)
            for example, scores in true.items():
                logits = data.logits(q := all_q[all_q.example == example], k := all_k[all_k.example == example])
                want = scores[layer, head][q.position][:, k.position]
                seen = np.isfinite(logits)
                assert logits.shape == scores[layer, head].shape and (seen == (want > -1e30)).all(), (layer, head, example)
                count, worst = count + int(seen.sum()), max(worst, float(np.abs(logits - want)[seen].max()))
                largest = max(largest, float(np.abs(want[seen]).max()))
    print(f"{len(heads)} heads, {TEXTS} texts, {count} logits up to {largest:.1f}: largest difference {worst:.2e}, allowed {ALLOWED:.0e}")
    return worst > ALLOWED


sys.exit(main())
