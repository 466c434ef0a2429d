#!/usr/bin/env python3
"""What "qkengine.attention" says is enough, and true: rows after RoPE are rebuilt from those before it, log-sum-exps from queries and keys, by
formulas that are written here, in float64, from nothing but the metadata and the rows. A model for each family and each way of RoPE.

usage: attention_truth.py [TEST...]
"""
import json
import math
import random
import shutil
import sys

import numpy as np
import pyarrow.parquet as pq
from common import ROOT, main, run, shared, write_jsonl

IDS = range(3, 95)   # a printable character each; the smallest vocabulary has 96 ids
LENGTHS = 1, 0, 2, 17, 300, 40, 75
EVERYTHING = ["capture.capture_values=true", "capture.rope=[pre,post]", "capture.capture_lse=true", "capture.head_columns=true",
              "capture.capture_token_ids=true", "capture.sampler.type=all", "output.layout=branch"]


# ---- what transformers does, from the members of the metadata ----

def mix(low, high, at):
    return np.clip((at - low) / (high - low), 0, 1)


def frequencies(rope, tokens):
    half, theta, factor = np.arange(rope["rotary"] // 2), rope["theta"], rope["factor"]
    if rope["type"] == "dynamic":
        most = rope["max_position_embeddings"]
        theta *= (factor * max(tokens, most) / most - (factor - 1)) ** (rope["rotary"] / (rope["rotary"] - 2))
    f = theta ** (-2.0 * half / rope["rotary"])
    if rope["type"] == "linear":
        f = f / factor
    if rope["type"] == "llama3":
        turns = rope["original"] * f / (2 * math.pi)
        keep = mix(rope["low_freq_factor"], rope["high_freq_factor"], turns)
        f = f * keep + f / factor * (1 - keep)
    if rope["type"] == "yarn":
        of = lambda turns: rope["rotary"] * math.log(rope["original"] / (turns * 2 * math.pi)) / (2 * math.log(theta))
        low, high = of(rope["beta_fast"]), of(rope["beta_slow"])
        low, high = (math.floor(low), math.ceil(high)) if rope["truncate"] else (low, high)
        low, high = max(low, 0), min(high, rope["rotary"] - 1)
        slow = mix(low, high + (0.001 if low == high else 0), half)
        f = f * (1 - slow) + f / factor * slow
    if rope["type"] == "longrope":
        f = f / np.array(rope["long_factor" if tokens > rope["original"] else "short_factor"])
    return f


def turned(said, layer, x, positions, tokens, query):
    """Rows after RoPE of those before it: x [n, head_dim] of one example."""
    out = x.astype(np.float64)
    if layer["rope"] is not None:
        rope = said["rope"][layer["rope"]]
        angle = positions[:, None] * frequencies(rope, tokens)
        c, s, n = np.cos(angle) * rope["attention_factor"], np.sin(angle) * rope["attention_factor"], rope["rotary"]
        a, b = (slice(0, n, 2), slice(1, n, 2)) if rope["pairs"] == "interleaved" else (slice(0, n // 2), slice(n // 2, n))
        first, second = out[:, a].copy(), out[:, b].copy()
        out[:, a], out[:, b] = first * c - second * s, second * c + first * s
    by_position = said["query_scale_by_position"]
    if query and by_position:
        out *= 1 + by_position["beta"] * np.log(1 + positions // by_position["length"])[:, None]
    return out


def log_sum_exps(said, layer, q, k, positions):
    """q and k of all positions of one example, after RoPE."""
    scores = said["scale"] * (q @ k.T)
    if said["soft_cap"]:
        scores = said["soft_cap"] * np.tanh(scores / said["soft_cap"])
    back = positions[:, None] - positions[None, :]
    scores[(back < 0) | (back >= (layer["window"] or np.inf))] = -np.inf
    most = scores.max(1, keepdims=True)
    return (most + np.log(np.exp(scores - most).sum(1, keepdims=True)))[:, 0]


# ---- runs ----

def write_tokenizer(folder):
    folder.mkdir()
    vocab = {f"x{i}": i for i in range(IDS[0])} | {chr(30 + i): i for i in IDS}   # id 3 is "!"
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
        "decoder": None, "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                                   "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": []}}))


def workspace(folder):
    noise = random.Random(3)
    write_tokenizer(folder / "tokenizer")
    write_jsonl(folder / "rows.jsonl", [{"text": "".join(chr(30 + noise.choice(IDS)) for _ in range(n))} for n in LENGTHS])
    return folder


def capture(folder, name, model, *settings, overrides=None):
    """final/ of a run with everything captured. overrides: of config.json, in a copy of the model."""
    work = folder / name
    work.mkdir()
    if overrides:
        shutil.copytree(model, work / "model")
        raw = json.loads((model / "config.json").read_text())
        (work / "model/config.json").write_text(json.dumps({**raw, **overrides}))
        model = work / "model"
    (work / "config.yaml").write_text(json.dumps({"dataset": {"path": "../rows.jsonl"}, "model": {"name": str(model)}, "tokenizer": {"name": "../tokenizer"},
                                                  "output": {"data_root": "out"}, "inference": {"batch_size": 4}}))
    done = run(work, *EVERYTHING, *settings)
    assert done.returncode == 0, (name, done.stderr)
    return work / "out/final"


def rows_by_example(path):
    table = pq.read_table(path)
    columns = {n: table[n].to_numpy() for n in ("example_id", "position", "token_id") + (("lse",) if "lse" in table.column_names else ())}
    columns["vector"] = np.asarray(table["vector"].combine_chunks().flatten()).reshape(table.num_rows, -1)
    order = np.lexsort((columns["position"], columns["example_id"]))
    columns = {n: c[order] for n, c in columns.items()}
    for example in np.unique(columns["example_id"]):
        yield int(example), {n: c[columns["example_id"] == example] for n, c in columns.items()}


def relative(a, b):
    return float(np.sqrt(((a - b) ** 2).mean() / max((b ** 2).mean(), 1e-30)))


def check(final, rope_error=5e-6, lse_error=3e-6):
    """(largest relative RMS of rotated rows, largest error of a log-sum-exp) of all heads; compares with what is allowed."""
    examples = pq.read_table(final / "examples.parquet")
    said = json.loads(pq.read_metadata(final / "examples.parquet").metadata[b"qkengine.attention"])
    tokens = dict(zip(examples["example_id"].to_pylist(), examples["tokens"].to_pylist()))
    worst_rope = worst_lse = moved = 0
    seen = {i: e for i, e in tokens.items() if e}
    for layer in said["layers"]:
        number = layer["layer"]
        if layer["type"] == "none":
            assert not list(final.glob(f"l{number:02d}h*")), number
            continue
        head = lambda h, kind: dict(rows_by_example(final / f"l{number:02d}h{h:02d}{kind}/data.parquet"))
        keys = {h: (head(h, "k"), head(h, "k_pre"), head(h, "v")) for h in range(said["key_heads"])}
        for h in range(said["query_heads"]):
            of_file = json.loads(pq.read_metadata(final / f"l{number:02d}h{h:02d}q/data.parquet").metadata[b"qkengine.head"])
            k, k_pre, v = keys[of_file["key_head"]]
            assert h in of_file["query_heads"] and of_file["key_head"] == h * said["key_heads"] // said["query_heads"]
            q, q_pre = head(h, "q"), head(h, "q_pre")
            assert q.keys() == q_pre.keys() == k.keys() == v.keys() == seen.keys(), (number, h)
            for example, n in seen.items():
                positions = np.arange(n)
                for after, before, query in ((q, q_pre, True), (k, k_pre, False)):
                    assert (after[example]["position"] == positions).all() and (before[example]["position"] == positions).all()
                    got = after[example]["vector"].astype(np.float64)
                    want = turned(said, layer, before[example]["vector"], positions, n, query)
                    worst_rope = max(worst_rope, relative(got, want))
                    moved += not np.array_equal(got, before[example]["vector"])
                want = log_sum_exps(said, layer, q[example]["vector"].astype(np.float64), k[example]["vector"].astype(np.float64), positions)
                worst_lse = max(worst_lse, float((np.abs(q[example]["lse"] - want) / np.maximum(1, np.abs(want))).max()))
                assert v[example]["token_id"].tolist() == q[example]["token_id"].tolist() == k_pre[example]["token_id"].tolist()
    turns = any(layer["rope"] is not None for layer in said["layers"])
    assert worst_rope <= rope_error and worst_lse <= lse_error and (moved > 0) == turns, (worst_rope, worst_lse, moved)
    return worst_rope, worst_lse


def each(folder, cases, **allowed):
    workspace(folder)
    worst = []
    for name, model, overrides, *settings in cases:
        try:
            worst.append(check(capture(folder, name, model, *settings, overrides=overrides), **allowed))
        except AssertionError as e:
            raise AssertionError(name) from e
    return f"{len(worst)} models, rows within {max(w[0] for w in worst):.0e}, log-sum-exps within {max(w[1] for w in worst):.0e}"


HERE = [p for top in ("forward", "kinds") for p in sorted((ROOT / "tests/data" / top).glob("*/model"))]


def families_here(folder):
    return each(folder, [(p.parent.name, p, None) for p in HERE])


def families_of_the_goldens(folder):
    models = sorted(shared("golden/forward").glob("*/model"))
    if not models:
        return "SKIPPED: no golden/forward"
    return each(folder, [(p.parent.name, p, None) for p in models])


LLAMA, QWEN, GLM, GEMMA = (ROOT / "tests/data" / p / "model" for p in
                           ("forward/llama_bf16_sharded", "forward/qwen3", "kinds/glm4_interleaved_partial", "kinds/gemma2_windows_soft_cap"))
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


def ways_of_rope(folder):
    half = json.loads((LLAMA / "config.json").read_text())["head_dim"] // 2 if "head_dim" in json.loads((LLAMA / "config.json").read_text()) else 8
    scaling = {
        "linear": {"rope_type": "linear", "factor": 3.0}, "dynamic": {"rope_type": "dynamic", "factor": 2.0},
        "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
        "yarn": YARN, "yarn_not_rounded": {**YARN, "truncate": False, "beta_fast": 8.0, "beta_slow": 2.0},
        "yarn_mscale": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.5}, "yarn_own_factor": {**YARN, "attention_factor": 1.3},
        "longrope": {"rope_type": "longrope", "original_max_position_embeddings": 64, "factor": 4.0,
                     "short_factor": [1 + i / 9 for i in range(half)], "long_factor": [1 + i / 2 for i in range(half)]}}
    most = {"dynamic": {"max_position_embeddings": 50}}
    return each(folder, [(name, LLAMA, {"rope_scaling": s, **most.get(name, {})}) for name, s in scaling.items()]
                + [("glm_linear", GLM, {"rope_scaling": {"rope_type": "linear", "factor": 3.0}})])


def windows(folder):
    """A window of one key: the log-sum-exp is the query's own score."""
    return each(folder, [(f"window{n}", GEMMA, {"sliding_window": n}) for n in (1, 2, 1000)])


def number_formats(folder):
    """Rows are rounded to the format; a log-sum-exp is of the rows that are written."""
    return each(folder, [(f"{dtype}{i}", p, None, f"model.dtype={dtype}") for dtype in ("bfloat16", "float16") for i, p in enumerate((QWEN, GLM, GEMMA))],
                rope_error=1e-2)


def backends(folder):
    return each(folder, [(f"{b}{i}", p, None, f"inference.backend={b}") for b in ("ref",) for i, p in enumerate((QWEN, GLM, GEMMA))])


if __name__ == "__main__":
    sys.exit(main("attention truth", [families_here, families_of_the_goldens, ways_of_rope, windows, number_formats, backends]))
