"""Makes tests/data/golden.tar.xz: of the goldens in ../shared/golden (or QK_SHARED) what C tests read and what is small.

The Makefile unpacks it into build/golden, where tests look when the whole collection is not there. It holds the input corpus but for its largest
Parquet files, the tiny tokenizers with fewer texts, tables of Unicode, RoPE, configurations, and the five real tokenizers cut down to a few hundred tokens: their
pipelines are whole, and the ids are what the tokenizers package (interop/requirements.txt) gives with what is left of their vocabularies.
Same input, same bytes. usage: build/venv/bin/python tests/tools/make_golden_copy.py
"""
import io
import json
import lzma
import os
import pathlib
import tarfile

import pyarrow as pa
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("QK_SHARED", ROOT.parent / "shared"))
GOLDEN = SHARED / "golden"
LARGE = ["text_very_long", "meta_large", "layout_wide", "enc_dictionary_fallback", "layout_row_groups", "polars_row_groups", "layout_nested_neighbours",
         "layout_content_defined_chunks", "polars_tiny_pages"]   # Parquet files of 9 kB and more that the others cover but for their size
REAL = {"smollm2": "llama", "llama3_1": "llama", "qwen3": "qwen3", "llama2": "mistral", "gemma3": "gemma3_text"}
SHARED_TEXTS = 40   # of each tiny tokenizer's golden
LINES = 60          # of each real tokenizer's golden
LONGEST = 300       # characters of such a line


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def unpacked(path):
    return pa.CompressedInputStream(str(path), "zstd").read()


# ---- a real tokenizer with few tokens ----

def pairs_of(model):
    return [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]


def needed_tokens(tokenizer, whole, texts):
    """What the texts become, and what that is merged from."""
    vocab, first = tokenizer["model"]["vocab"], {}
    for a, b in pairs_of(tokenizer["model"]):
        first.setdefault(a + b, (a, b))
    added = {t["content"] for t in tokenizer["added_tokens"]}
    wanted = [t for text in texts for t in whole.encode(text).tokens]
    wanted += [t for t in vocab if len(t) == 1 and ord(t) < 0x180 or t.startswith("<0x")]
    kept = set()
    while wanted:
        token = wanted.pop()
        if token not in kept and token in vocab:
            kept.add(token)
            wanted += first.get(token, list(token) if len(token) > 1 and token not in added else [])
    return kept


def cut(tokenizer, whole, texts):
    """The same tokenizer with only those tokens, whose ids follow each other in the old order."""
    kept, model = needed_tokens(tokenizer, whole, texts), tokenizer["model"]
    used, post = {t for text in texts for t in whole.encode(text).tokens}, json.dumps(tokenizer.get("post_processor"))
    added = [t for t in tokenizer["added_tokens"] if t["content"] in used or json.dumps(t["content"]) in post]
    kept |= {t["content"] for t in added if t["content"] in model["vocab"]} | ({model["unk_token"]} if model.get("unk_token") else set())
    vocab = {t: i for i, t in enumerate(sorted(kept, key=model["vocab"].get))}
    ids = dict(vocab)
    for t in sorted(added, key=lambda t: t["id"]):
        ids.setdefault(t["content"], len(ids))
    merges = [m for m, (a, b) in zip(model["merges"], pairs_of(model)) if a in vocab and b in vocab and a + b in vocab]
    small = {**tokenizer, "model": {**model, "vocab": vocab, "merges": merges}}
    small["added_tokens"] = sorted(({**t, "id": ids[t["content"]]} for t in added), key=lambda t: t["id"])

    def renumbered(node):
        if isinstance(node, dict):
            if "ids" in node and "tokens" in node:
                return {**node, "ids": [ids[t] for t in node["tokens"]]}
            return {k: renumbered(v) for k, v in node.items()}
        return [renumbered(v) for v in node] if isinstance(node, list) else node

    small["post_processor"] = renumbered(tokenizer.get("post_processor"))
    return small


def golden_line(tokenizer, line):
    encoded = tokenizer.encode(line["text"])
    out = {"name": line["name"], "text": line["text"], "ids": encoded.ids, "tokens": encoded.tokens,
           "ids_plain": tokenizer.encode(line["text"], add_special_tokens=False).ids}
    if len(encoded.ids) > 16:
        tokenizer.enable_truncation(16)
        out["ids_max16"] = tokenizer.encode(line["text"]).ids
        tokenizer.no_truncation()
    return out


def batch_of(tokenizer, texts):
    calls = []
    for limit in (2, 3, 8, 24):
        tokenizer.enable_truncation(limit)
        ids = [tokenizer.encode(t).ids for t in texts]
        calls.append({"max_length": limit, "input_ids": ids, "attention_mask": [[1] * len(i) for i in ids]})
        tokenizer.no_truncation()
    return {"texts": texts, "calls": calls}


def small_tokenizer(name):
    tokenizer = json.loads(unpacked(SHARED / f"tokenizers/{name}/tokenizer.json.zst"))
    lines = [json.loads(line) for line in unpacked(GOLDEN / f"tokenizers/{name}.jsonl.zst").splitlines()]
    lines = [line for line in lines if len(line["text"]) <= LONGEST]
    lines = lines[::len(lines) // LINES][:LINES]
    batch = json.loads((GOLDEN / f"tokenizers/{name}.batch.json").read_text())["texts"]
    small = cut(tokenizer, Tokenizer.from_str(json.dumps(tokenizer)), [line["text"] for line in lines] + batch)
    again = Tokenizer.from_str(json.dumps(small))
    config = json.loads((SHARED / f"tokenizers/{name}/tokenizer_config.json").read_text())
    ids = {t["content"]: t["id"] for t in small["added_tokens"]}
    if "added_tokens_decoder" in config:
        config["added_tokens_decoder"] = {str(ids[t["content"]]): t for t in config["added_tokens_decoder"].values() if t["content"] in ids}
    return {"tokenizer.json": compact(small), "tokenizer_config.json": compact(config),
            "config.json": compact({"model_type": REAL[name]}),
            "golden.jsonl": b"".join(compact(golden_line(again, line)) + b"\n" for line in lines), "batch.json": compact(batch_of(again, batch))}


def fewer_lines(data):
    """Of a tiny tokenizer's golden: a third of the texts that all of them share, and all of its own."""
    lines = data.splitlines(keepends=True)
    kept = [line for i, line in enumerate(lines) if i >= SHARED_TEXTS or i % 3 == 0]
    return b"".join(kept if any(b"ids_max16" in line for line in kept) else [*kept, next(line for line in lines if b"ids_max16" in line)])


# ---- the archive ----

def all_files():
    """{path below golden/: bytes}"""
    files = {}
    for folder in ("inputs", "tokenizers/tiny"):
        for path in sorted((GOLDEN / folder).rglob("*")):
            if path.is_file() and not any(path.name.startswith(f"{n}.") for n in LARGE):
                data = path.read_bytes()
                files[str(path.relative_to(GOLDEN))] = fewer_lines(data) if path.name == "golden.jsonl" else data
    manifest = json.loads(files["inputs/manifest.json"])
    files["inputs/manifest.json"] = compact({k: v for k, v in manifest.items() if f"inputs/{k}" in files})
    for path in ["rope/rope.json", "capture/errors.json", "capture/README.md",
                 *(str(p.relative_to(GOLDEN)) for p in sorted(GOLDEN.glob("capture/*/config*.yaml")))]:
        files[path] = (GOLDEN / path).read_bytes()
    for path in sorted(GOLDEN.glob("forward/*/model/config.json")):
        files[str(path.relative_to(GOLDEN))] = path.read_bytes()
    tables = json.loads(unpacked(GOLDEN / "tokenizers/unicode.json.zst"))
    files["tokenizers/unicode.json"] = compact({k: tables[k] for k in ("normalization", "nfc_compose_pairs")})
    for name in REAL:
        for file, data in small_tokenizer(name).items():
            files[f"tokenizers/small/{name}/{file}"] = data
    return files


def main():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        files = all_files()
        for path in sorted(files, key=lambda p: (pathlib.PurePath(p).suffix, p)):   # alike beside alike
            member = tarfile.TarInfo("golden/" + path)
            member.size = len(files[path])
            tar.addfile(member, io.BytesIO(files[path]))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]
    data = lzma.compress(packed.getvalue(), format=lzma.FORMAT_XZ, filters=filters)
    (ROOT / "tests/data/golden.tar.xz").write_bytes(data)
    for part in ("inputs/parquet", "inputs/expected", "inputs/bad", "inputs/repos", "tokenizers/tiny", "tokenizers/small", "tokenizers/unicode"):
        print(part, len(lzma.compress(b"".join(d for p, d in sorted(files.items()) if p.startswith(part)), preset=6)))
    print(f"{len(files)} files, {len(packed.getvalue())} bytes, packed {len(data)}")


main()
