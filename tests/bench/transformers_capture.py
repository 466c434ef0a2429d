#!/usr/bin/env python3
"""A whole run, texts to Parquet: qkengine beside the straightforward program that one would write with transformers.

That program is the second half of this file: AutoTokenizer, the backbone without a head, sdpa; an attention function that looks at queries and keys
on their way (they are rotated there), takes the rows that the same rules draw, and calls sdpa; pyarrow writes a file for each head, zstd, whenever
256 MB of rows are there, and at the end. It does what is asked for and no more: no manifest, no card, nothing survives a crash.

Both get the same texts, settings and threads, in turn, a process each. Printed: seconds and peak memory of the processes, medians of the rounds, and
whether the rows are the same: positions exactly, vectors to the format's rounding.

usage: transformers_capture.py TORCH_PYTHON [--model DIR] [--documents 100] [--tokens 4096] [--short] [--dtype float32] [--threads 2] [--rounds 3]
                               [--sampler log_uniform] [--rate 16] [--layers 5,6] [--set KEY=VALUE ...]
TORCH_PYTHON: an interpreter with torch, transformers and pyarrow. --short: lengths from 1/16 of --tokens to all of it, instead of all of it.
--set goes to qkengine alone.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUCKET = 128
FLUSH = 256 << 20   # bytes of rows that wait in memory


# ---- the straightforward program --------------------------------------------------------------------------------------

def mix(v, mask=(1 << 64) - 1):
    v = (v ^ v >> 30) * 0xBF58476D1CE4E5B9 & mask
    v = (v ^ v >> 27) * 0x94D049BB133111EB & mask
    return v ^ v >> 31


def seed_of(example, layer, kind, mask=(1 << 64) - 1):
    """sampler/seed.h: the mask that the heads of (layer, kind) share."""
    s = 0x243F6A8885A308D3
    for part in (example & mask, layer, kind):
        t = (s ^ mix(part)) * 0x9E3779B97F4A7C15 & mask
        s = t ^ t >> 32
    return s


def buckets_of(sampler, tokens):
    import torch
    positions = torch.arange(tokens)
    if sampler != "log_uniform":
        return positions // BUCKET
    return torch.log2(positions.float() + 1).floor().long().clamp(min=BUCKET.bit_length() - 1)


def draw(sampler, rate, buckets, seed):
    """The positions that are kept (sampler/positions.h)."""
    import torch
    if sampler == "all":
        return torch.arange(len(buckets))
    size = BUCKET if sampler == "uniform" else torch.exp2(buckets.float())
    return torch.nonzero(torch.rand(len(buckets), generator=torch.Generator().manual_seed(seed)) < rate / size).flatten()


class Rows:
    """What was taken and not written yet, and the open file of each head."""

    def __init__(self, out):
        self.out, self.files, self.blocks, self.bytes = pathlib.Path(out), {}, {}, 0

    def add(self, layer, kind, example, positions, buckets, vectors):
        """vectors: [heads, rows, head_dim] float32."""
        self.blocks.setdefault((layer, kind), []).append((example, positions.numpy(), buckets.numpy(), vectors.numpy()))
        self.bytes += vectors.nbytes
        if self.bytes > FLUSH:
            self.flush()

    def flush(self):
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq
        for (layer, kind), blocks in self.blocks.items():
            examples = np.concatenate([np.full(len(b[1]), b[0], np.int32) for b in blocks])
            positions, buckets = (np.concatenate([b[i] for b in blocks]).astype(np.int32) for i in (1, 2))
            for head in range(blocks[0][3].shape[0]):
                vectors = np.concatenate([b[3][head] for b in blocks])
                table = pa.table({"bucket": buckets, "example_id": examples, "position": positions,
                                  "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])})
                name = f"l{layer:02d}h{head:02d}{kind}"
                if name not in self.files:
                    (self.out / name).mkdir(parents=True)
                    self.files[name] = pq.ParquetWriter(self.out / name / "data.parquet", table.schema, compression="zstd")
                self.files[name].write_table(table)
        self.blocks, self.bytes = {}, 0

    def close(self):
        self.flush()
        for file in self.files.values():
            file.close()


def capture(o):
    """o: the options as a dict. Writes o["out"]."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(o["threads"])
    sdpa, rows, example = ALL_ATTENTION_FUNCTIONS["sdpa"], Rows(o["out"]), [0]

    def attend(module, query, key, value, *args, **kwargs):
        layer = module.layer_idx
        if o["layers"] is None or layer in o["layers"]:
            buckets = buckets_of(o["sampler"], query.shape[2])
            for kind, x in (("q", query), ("k", key)):
                at = draw(o["sampler"], o["rate"], buckets, seed_of(example[0], layer, ord(kind)))
                rows.add(layer, kind, example[0], at, buckets[at], x[0][:, at].float())
        return sdpa(module, query, key, value, *args, **kwargs)

    ALL_ATTENTION_FUNCTIONS.register("taking", attend)
    tokenizer = AutoTokenizer.from_pretrained(o["model"])
    model = AutoModelForCausalLM.from_pretrained(o["model"], dtype=getattr(torch, o["dtype"]), attn_implementation="sdpa").eval().model
    model.config._attn_implementation = "taking"
    with torch.inference_mode(), open(o["texts"]) as texts:
        for number, line in enumerate(texts):
            example[0] = number
            text = tokenizer(json.loads(line)["text"], truncation=True, max_length=o["tokens"], return_tensors="pt")
            model(text["input_ids"], use_cache=False)
    rows.close()


# ---- the comparison ---------------------------------------------------------------------------------------------------

CONFIG = """
dataset: {{path: texts.jsonl, split: train, text_column: text}}
model: {{name: {model}, dtype: {dtype}}}
tokenizer: {{max_length: {tokens}}}
inference: {{threads: {threads}}}
capture: {{min_bucket_size: {bucket}, sampler: {{type: {sampler}{rate}}}{layers}}}
output: {{data_root: ours, layout: branch}}
"""


def measured(command, folder):
    """Seconds and peak resident bytes of a process."""
    begin = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), cwd=folder, env=dict(os.environ, QKENGINE_CACHE="off"))
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, (command, status)
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def write_texts(path, documents, tokens, short):
    """Texts of more than enough tokens; --short: of some lengths, spread evenly, in a fixed disorder."""
    text = "".join(json.loads(line)["text"] + "\n" for line in (ROOT / "tests/demo/texts.jsonl").read_text().splitlines())
    text *= 2 + 8 * (tokens + 64 * documents) // len(text)
    with open(path, "w") as out:
        for i in range(documents):
            characters = int(4.2 * tokens * max(1 / 16, (1 + i * 37 % documents) / documents)) if short else 8 * tokens
            out.write(json.dumps({"text": text[61 * i:61 * i + characters]}) + "\n")


def same_rows(ours, theirs):
    """The number of files and their largest relative error (root mean square); buckets, examples and positions must be equal."""
    import numpy as np
    import pyarrow.parquet as pq
    files, worst = sorted(p.name for p in theirs.iterdir()), 0
    assert files == sorted(p.parent.name for p in ours.glob("*/data.parquet")), "other files"
    for name in files:
        a, b = (pq.read_table(folder / name / "data.parquet") for folder in (ours, theirs))
        for column in ("bucket", "example_id", "position"):
            assert a[column].to_numpy().tolist() == b[column].to_numpy().tolist(), (name, column)
        x, y = (t["vector"].combine_chunks().flatten().to_numpy().astype(np.float64) for t in (a, b))
        if len(y):
            worst = max(worst, float(np.sqrt(np.mean((x - y) ** 2) / np.mean(y ** 2))))
    return len(files), worst


def main():
    p = argparse.ArgumentParser()
    p.add_argument("python")
    p.add_argument("--model", default=str(ROOT / "build/smollm2"))
    p.add_argument("--documents", type=int, default=100)
    p.add_argument("--tokens", type=int, default=4096)
    p.add_argument("--short", action="store_true")
    p.add_argument("--dtype", default="float32")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--sampler", default="log_uniform", choices=("log_uniform", "uniform", "all"))
    p.add_argument("--rate", type=float, default=16)
    p.add_argument("--layers")
    p.add_argument("--set", action="append", default=[])
    args = p.parse_args()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as top:
        folder = pathlib.Path(top)
        write_texts(folder / "texts.jsonl", args.documents, args.tokens, args.short)
        (folder / "config.yaml").write_text(CONFIG.format(
            **dict(vars(args), model=pathlib.Path(args.model).resolve(), bucket=BUCKET,
                   rate="" if args.sampler == "all" else f", base_rate: {args.rate}", layers=f", layers: [{args.layers}]" if args.layers else "")))
        options = dict(vars(args), texts="texts.jsonl", out="theirs", layers=args.layers and [int(n) for n in args.layers.split(",")])
        for _ in range(args.rounds):
            subprocess.run(["rm", "-rf", "ours", "theirs"], cwd=folder, check=True)
            ours.append(measured([ROOT / "qkengine", "run", "config.yaml", "--quiet", *(s for given in args.set for s in ("--set", given))], folder))
            theirs.append(measured([args.python, __file__, "--capture", json.dumps(options)], folder))
            print("round: " + ", ".join(f"{name} {s:.1f} s, {b / 1e6:.0f} MB" for name, (s, b) in (("qkengine", ours[-1]), ("transformers", theirs[-1]))),
                  flush=True)
        files, worst = same_rows(folder / "ours/final", folder / "theirs")
    (s, b), (S, B) = ([statistics.median(column) for column in zip(*runs)] for runs in (ours, theirs))
    print(f"{args.documents} texts up to {args.tokens} tokens, {args.dtype}, {args.threads} threads: qkengine {s:.1f} s, {b / 1e6:.0f} MB; "
          f"transformers {S:.1f} s, {B / 1e6:.0f} MB; {S / s:.2f} times as fast, {b / B:.2f} of the memory; "
          f"{files} files with the same rows, vectors within {worst:.1e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--capture"]:
        capture(json.loads(sys.argv[2]))
    else:
        main()
