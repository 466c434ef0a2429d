#!/usr/bin/env python3
"""Bad input: one message that names the thing and says what to do, the right exit status, nothing
half-written under a final name.

The full-disk test needs a small tmpfs (root); without it that one is skipped, loudly.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common import digest, engine, main, make_workspace, run, write_jsonl

OUT = "output.data_root=out"


def replace(path, old, new):
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new))


def expect(folder, done, status, *words):
    assert done.returncode == status, (done.returncode, done.stderr)
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1, done.stderr
    for word in words:
        assert word in done.stderr, f"{word!r} is not in: {done.stderr}"
    final = folder / "out/final"
    assert not final.exists() or not digest(final), digest(final)
    assert not list(folder.rglob("*.tmp")), list(folder.rglob("*.tmp"))


def weights(folder):
    """(header, offset of the data, bytes) of the model's safetensors file."""
    data = bytearray((folder / "model/model.safetensors").read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), 8 + size, data


def missing_config(folder):
    expect(folder, engine(["run", "nowhere.yaml"], folder), 1, "nowhere.yaml", "check the path")


def wrong_usage(folder):
    expect(folder, engine(["run"], folder), 2, "usage: qkengine run CONFIG.yaml")
    expect(folder, engine(["rnu"], folder), 2, "did you mean 'run'?")
    expect(folder, engine(["run", "x.yaml", "--quite"], folder), 2, "did you mean --quiet?")


def wrong_yaml_type(folder):
    make_workspace(folder)
    replace(folder / "config.yaml", "max_length: 96", "max_length: many")
    expect(folder, run(folder, OUT), 1, "config.yaml:", "tokenizer.max_length", "integer")


def unknown_key(folder):
    make_workspace(folder)
    replace(folder / "config.yaml", "text_column: text", "text_colum: text")
    expect(folder, run(folder, OUT), 1, "config.yaml:", "text_colum", "did you mean", "text_column")


def unknown_setting(folder):
    make_workspace(folder)
    done = run(folder, "capture.layer=[1]", OUT)
    expect(folder, done, done.returncode, "capture.layer", "layers")
    assert done.returncode in (1, 2)


def layer_out_of_range(folder):
    make_workspace(folder)
    expect(folder, run(folder, OUT, "capture.layers=[0, 9]"), 1, "9", "layers")


def head_out_of_range(folder):
    make_workspace(folder)
    expect(folder, run(folder, OUT, "capture.heads=[7]"), 1, "7", "heads")
    # Two key heads, so head 3 exists for queries alone.
    expect(folder, run(folder, OUT, "capture.heads=[3]"), 1, "3", "key")
    done = run(folder, OUT, "capture.heads=[3]", "capture.capture_keys=false")
    assert done.returncode == 0, done.stderr


def text_column_absent(folder):
    make_workspace(folder)
    expect(folder, run(folder, OUT, "dataset.text_column=words"), 1, "words", "train.parquet", "text")


def id_column_absent(folder):
    make_workspace(folder)
    expect(folder, run(folder, OUT, "dataset.id_column=key"), 1, "key", "train.parquet")


def dataset_absent(folder):
    make_workspace(folder)
    expect(folder, run(folder, OUT, "dataset.path=nowhere"), 1, "nowhere")


def split_absent(folder):
    make_workspace(folder)
    expect(folder, run(folder, OUT, "dataset.split=test"), 1, "test", "train")


def null_text(folder):
    make_workspace(folder)
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", None]}), folder / "dataset/train.parquet")
    expect(folder, run(folder, OUT), 1, "train.parquet", "null", "row 1")


def damaged_jsonl(folder):
    make_workspace(folder)
    (folder / "d.jsonl").write_text('{"id": 1, "text": "fine"}\n{"id": 2, "text": }\n')
    expect(folder, run(folder, OUT, "dataset.path=d.jsonl"), 1, "d.jsonl", "line 2")


def model_absent(folder):
    make_workspace(folder)
    expect(folder, run(folder, OUT, "model.name=nowhere"), 1, "nowhere", "model.name")


def unknown_model_type(folder):
    make_workspace(folder)
    replace(folder / "model/config.json", '"llama"', '"mamba"')
    expect(folder, run(folder, OUT), 1, "model_type 'mamba' is not supported", "known:", "llama")


def truncated_safetensors(folder):
    make_workspace(folder)
    path = folder / "model/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    expect(folder, run(folder, OUT), 1, "model.safetensors", "ends past the file", "download it again")


def nan_in_weights(folder):
    make_workspace(folder)
    header, start, data = weights(folder)
    name = "model.layers.2.mlp.up_proj.weight"
    begin = start + header[name]["data_offsets"][0]
    data[begin:begin + 2] = struct.pack("<H", 0x7FC0)   # a bfloat16 NaN
    (folder / "model/model.safetensors").write_bytes(data)
    expect(folder, run(folder, OUT), 1, name, "NaN", "model.safetensors")


def scale(folder, name, factor):
    """Multiplies a bfloat16 tensor of the model; returns how many of its values float16 cannot hold."""
    header, start, data = weights(folder)
    begin, end = (start + at for at in header[name]["data_offsets"])
    values = (np.frombuffer(data[begin:end], np.uint16).astype(np.uint32) << 16).view(np.float32)
    values = np.clip(values.astype(np.float64) * factor, -3.3e38, 3.3e38).astype(np.float32)
    data[begin:end] = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    (folder / "model/model.safetensors").write_bytes(data)
    kept = ((values.view(np.uint32) >> 16) << 16).view(np.float32)
    return int((abs(kept) >= 65520).sum())


def weights_beyond_the_format(folder):
    """Finite in the file, infinite in the format that is computed in."""
    make_workspace(folder)
    name = "model.layers.1.mlp.up_proj.weight"
    n = scale(folder, name, 2e6)
    assert n > 1
    for backend in ("cpu", "ref"):
        done = run(folder, OUT, "model.dtype=float16", f"inference.backend={backend}")
        expect(folder, done, 1, name, f"become infinite in float16 ({n}, the first at [0, ", "model.dtype bfloat16 or float32")
    done = run(folder, OUT, "model.dtype=float16", "inference.layers_in_memory=2")
    expect(folder, done, 1, name, "become infinite in float16")
    for dtype in ("float32", "bfloat16"):
        done = run(folder, f"output.data_root={dtype}", f"model.dtype={dtype}")
        assert done.returncode == 0, done.stderr


def nonfinite_rows(folder):
    """{file: rows of NaN or infinity} of a folder."""
    found = {}
    for path in sorted(folder.glob("l*/data.parquet")):
        vectors = np.array(pq.read_table(path)["vector"].to_pylist())
        bad = int((~np.isfinite(vectors)).any(1).sum())
        if bad:
            found[path.parent.name] = bad
    return found


def rows_that_overflow(folder):
    """Activations beyond float32: the first row of NaN stops the run, or all are kept and counted."""
    make_workspace(folder)
    scale(folder, "model.layers.0.mlp.down_proj.weight", 1e38)
    said = set()
    for settings in ([], ["inference.threads=1"], ["model.dtype=bfloat16"], ["inference.backend=ref", "dataset.max_samples=2"]):
        done = run(folder, OUT, "inference.batch_size=1", *settings)
        expect(folder, done, 1, "layer 1, head 0, query: example ", "position ", "the vector holds NaN", "capture.allow_nonfinite: true")
        assert not list((folder / "out/staging").glob("*.qku*"))
        shutil.rmtree(folder / "out")
        said.add(done.stderr.split("example ")[1].split(" (id '")[0])
    assert len(said) == 1, said
    ids = pq.read_table(folder / "dataset/train.parquet")["id"].to_pylist()
    assert f"example {said.pop()} (id '{ids[0]}')" in done.stderr, done.stderr


def nonfinite_rows_are_counted(folder):
    make_workspace(folder)
    scale(folder, "model.layers.0.mlp.down_proj.weight", 1e38)
    keep = "capture.allow_nonfinite=true"
    kept = {}
    for name, settings in {"one": [], "other": ["inference.batch_size=3", "inference.threads=1"]}.items():
        done = run(folder, f"output.data_root={name}", "output.layout=branch", keep, *settings)
        assert done.returncode == 0 and "rows hold NaN or infinity (capture.allow_nonfinite)" in done.stderr, done.stderr
        final = folder / name / "final"
        kept[name] = digest(final)
        manifest = json.loads((final / "manifest.json").read_text())
        found = nonfinite_rows(final)
        assert found and {n: f["nonfinite_rows"] for n, f in manifest["files"].items() if "nonfinite_rows" in f} == found, found
        assert f"{sum(found.values())} rows hold NaN" in done.stderr, done.stderr
    assert kept["one"] == kept["other"]
    done = run(folder, "output.data_root=one", "output.layout=branch")
    assert done.returncode == 1 and "allow_nonfinite" in done.stderr, done.stderr

    # prefix layout: what a later run adds to a file or leaves alone is counted as well
    for settings in (["dataset.max_samples=3"], ["capture.layers=[1]"], []):
        done = run(folder, OUT, "output.layout=prefix", keep, *settings)
        assert done.returncode == 0, done.stderr
        split = next(p for p in (folder / "out/final").iterdir() if p.is_dir())
        manifest = json.loads((split / "manifest.json").read_text())
        assert {n: f["nonfinite_rows"] for n, f in manifest["files"].items() if "nonfinite_rows" in f} == nonfinite_rows(split)


def vocabulary_mismatch(folder):
    """The tokenizer knows more tokens than the embedding has rows."""
    make_workspace(folder)
    header, start, data = weights(folder)
    entry = header["model.embed_tokens.weight"]
    replace(folder / "model/config.json", '"vocab_size": 512', '"vocab_size": 300')
    body = {}
    for name, t in header.items():
        if name != "__metadata__":
            body[name] = bytes(data[start + t["data_offsets"][0]:start + t["data_offsets"][1]])
    width = entry["shape"][1] * 2
    body["model.embed_tokens.weight"] = body["model.embed_tokens.weight"][:300 * width]
    entry["shape"][0], at = 300, 0
    for name in body:
        header[name]["data_offsets"] = [at, at + len(body[name])]
        at += len(body[name])
    text = json.dumps(header).encode()
    (folder / "model/model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(body.values()))
    expect(folder, run(folder, OUT), 1, "example 0", "vocabulary has 300 tokens", "another model")


def weights_of_another_shape(folder):
    make_workspace(folder)
    expect(folder, run(folder, OUT, "model.config_overrides={num_key_value_heads: 4}"), 1, "k_proj.weight",
           "has shape [32, 64], expected [64, 64]")


def unsupported_tokenizer(folder):
    make_workspace(folder)
    replace(folder / "model/tokenizer.json", '"type":"BPE"', '"type":"WordPiece"')
    expect(folder, run(folder, OUT), 1, "tokenizer.json", "WordPiece")


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % ("a" * 64)
LORA = {"adapter_config.json": '{"base_model_name_or_path": "meta/base", "peft_type": "LORA"}', "adapter_model.safetensors": ""}
# What a folder holds in place of a model, and words of the message and its hint.
NO_MODELS = [
    ({}, "the folder is empty", "downloaded model"),
    (LORA, "an adapter (LoRA)", "merge it into its base model, meta/base"),
    ({"adapter_config.json": "{", "README.md": ""}, "an adapter (LoRA)", "merge it into its base model (merge_and_unload"),
    ({"model.Q4_K_M.gguf": ""}, "GGUF is not supported", "original checkpoint"),
    ({"params.json": "{}", "consolidated.safetensors": "", "tekken.json": ""}, "Mistral's own layout", "for transformers"),
    ({"consolidated.00.pth": ""}, "Meta's own layout", "for transformers"),
    ({"pytorch_model.bin": ""}, "pytorch_model.bin is not supported", "save_pretrained"),
    ({"pytorch_model-00001-of-00002.bin": "", "pytorch_model.bin.index.json": "{}"}, "pytorch_model.bin is not supported", "save_pretrained"),
    ({"zero_to_fp32.py": "", "global_step10/x": ""}, "DeepSpeed", "zero_to_fp32.py . OUT"),
    ({"__0_0.distcp": "", ".metadata": ""}, "distributed training", "save_pretrained"),
    ({"flax_model.msgpack": ""}, "Flax", "original checkpoint"),
    ({"tf_model.h5": ""}, "TensorFlow", "original checkpoint"),
    ({"model.onnx": ""}, "ONNX", "original checkpoint"),
    ({"weights.pt": ""}, "pickled weights", "save_pretrained"),
    ({"model.tar.gz": ""}, "an archive", "unpack it"),
    ({"setup.py": "", "src/model.py": ""}, "a Python package", "downloaded model"),
    ({".git/config": "", "README.md": ""}, "a Git repository without a model", "downloaded model"),
    ({"refs/main": "abc", "snapshots/abc/config.json": "{}", "blobs/1": ""}, "the folder of a cache", "snapshots/abc"),
    ({"inner/config.json": "{}", "README.md": ""}, "in a subfolder", "give given/inner"),
    ({"checkpoint-1/config.json": "{}", "checkpoint-2/config.json": "{}"}, "in a subfolder", "one of its 2 subfolders"),
    ({"README.md": ""}, "there is no config.json", "downloaded model"),
]
NO_WEIGHTS = [
    (["weights.gguf"], "GGUF is not supported", "original checkpoint"),
    (["consolidated.safetensors"], "Mistral's own layout", "for transformers"),
    (["model-00001-of-00002.safetensors"], "only model-00001-of-00002.safetensors", "model.safetensors.index.json, too"),
    (["pytorch_model.safetensors"], "only pytorch_model.safetensors", "the name model.safetensors"),
    (["adapter_model.safetensors"], "an adapter (LoRA)", "merge it into its base model"),
    ([], "no model.safetensors and no model.safetensors.index.json", "downloaded model"),
]
NO_TOKENIZERS = [
    (["tokenizer.model"], "only tokenizer.model", "save_pretrained"), (["tekken.json", "tokenizer.model"], "only tekken.json", "tokenizer.name: Y"),
    (["vocab.json", "merges.txt"], "vocab.json and merges.txt", "save_pretrained"), (["vocab.txt"], "only vocab.txt", "save_pretrained"),
    (["qwen.tiktoken"], "only a .tiktoken file", "save_pretrained"), (["spiece.model"], "only spiece.model", "save_pretrained"),
    (["tokenizer.model.v3"], "tokenizer.model.v", "save_pretrained"), (["x.gguf"], "inside of the GGUF file", "tokenizer.name"),
    ([], "there is no tokenizer.json", "tokenizer.name"),
]


def folders_that_are_no_models(folder):
    make_workspace(folder)
    for files, *words in NO_MODELS:
        for name, text in files.items():
            (folder / "given" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "given" / name).write_text(text)
        (folder / "given").mkdir(exist_ok=True)
        expect(folder, run(folder, OUT, "model.name=given"), 1, "given", *words)
        shutil.rmtree(folder / "given")
    for name, *words in [("x.gguf", "GGUF is not supported"), ("model.safetensors", "a file, not the folder of a model")]:
        (folder / name).touch()
        expect(folder, run(folder, OUT, f"model.name={name}"), 1, f"model.name: {name}", *words)
    return f"{len(NO_MODELS)} folders"


def folders_without_weights(folder):
    make_workspace(folder)
    real = (folder / "model/model.safetensors").read_bytes()
    (folder / "model/model.safetensors").unlink()
    for names, *words in NO_WEIGHTS:
        for name in names:
            (folder / "model" / name).write_bytes(real)
        expect(folder, run(folder, OUT), 1, *words)
        for name in names:
            (folder / "model" / name).unlink()
    (folder / "model/model.safetensors").symlink_to("nowhere")
    expect(folder, run(folder, OUT), 1, "model/model.safetensors", "a link that leads to nothing")


def folders_without_tokenizer(folder):
    make_workspace(folder)
    (folder / "model/tokenizer.json").unlink()
    for names, *words in NO_TOKENIZERS:
        for name in names:
            (folder / "model" / name).touch()
        expect(folder, run(folder, OUT), 1, *words)
        done = engine(["plan", "config.yaml", "--json", "--set", "dataset.max_samples=7"], folder)   # it counts max_length, and says what a run would
        assert done.returncode == 0 and all(w in done.stderr for w in words), done.stderr
        plan = json.loads(done.stdout)
        assert plan["examples_at_full_length"] and plan["tokens"] == 7 * 96, plan
        for name in names:
            (folder / "model" / name).unlink()
    return f"{len(NO_TOKENIZERS)} folders"


def lfs_pointers(folder):
    """A clone without git-lfs: each file that may be a pointer says so."""
    make_workspace(folder)
    config = ["dataset.path=data"]
    for name in ("model/config.json", "model/tokenizer.json", "model/model.safetensors", "model/model.safetensors.index.json", "model/tokenizer_config.json",
                 "data/a.parquet", "data/a.jsonl", "data/a.json", "data/a.csv", "data/a.tsv", "data/a.txt", "data/a.jsonl.gz"):
        shutil.rmtree(folder / "data", ignore_errors=True)
        (folder / "data").mkdir()
        (folder / "data/train.jsonl").write_text('{"id": 1, "text": "fine"}\n')
        path, hidden = folder / name, folder / "model/model.safetensors"
        if name.startswith("data/"):
            (folder / "data/train.jsonl").unlink()
        kept = {p: p.read_bytes() for p in (path, hidden) if p.exists()}
        if "index" in name:
            hidden.unlink()
        path.write_text(POINTER)
        expect(folder, run(folder, OUT, *config), 1, name, "Git LFS pointer", "git lfs pull")
        path.unlink()
        for p, data in kept.items():
            p.write_bytes(data)


def web_pages(folder):
    """A page of the Hub, saved under the name of the file that it shows."""
    make_workspace(folder)
    for name in ("model/config.json", "model/tokenizer.json", "model/tokenizer_config.json", "model/model.safetensors"):
        kept = (folder / name).read_bytes() if (folder / name).exists() else None
        (folder / name).write_text("\n<!DOCTYPE html>\n<html>\n<head></head></html>\n")
        expect(folder, run(folder, OUT), 1, name, "this is a web page", "/resolve/")
        (folder / name).unlink() if kept is None else (folder / name).write_bytes(kept)
    (folder / "data").mkdir(exist_ok=True)
    for name in ("a.parquet", "a.json"):
        (folder / "data" / name).write_text("<html></html>")
        expect(folder, run(folder, OUT, f"dataset.path=data/{name}"), 1, name, "this is a web page")
    (folder / "data/a.txt").write_text("<html></html>\n")   # a text like any other
    done = run(folder, OUT, "dataset.path=data/a.txt", "dataset.id_column=null")
    assert done.returncode == 0, done.stderr


def heads_of_other_tasks(folder):
    """A value head, tied weights under the other name and an F4 tensor of a part that is not run: the same output, and one warning."""
    make_workspace(folder)
    assert run(folder, "output.data_root=plain").returncode == 0
    header, start, data = weights(folder)
    body = bytes(data[start:])
    header["v_head.summary.weight"] = {"dtype": "F32", "shape": [1, 2], "data_offsets": [len(body), len(body) + 8]}
    header["mtp.w"] = {"dtype": "F4", "shape": [2], "data_offsets": [len(body) + 8, len(body) + 9]}
    text = json.dumps(header).encode()
    (folder / "model/model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body + bytes(9))
    done = run(folder, OUT)
    assert done.returncode == 0 and done.stderr.count("warning") == 1, done.stderr
    assert "passed over: 2, the first is 'mtp.w'" in done.stderr, done.stderr
    files = {p: d for p, d in digest(folder / "out/final").items() if p.endswith("data.parquet")}
    assert files and files == {p: d for p, d in digest(folder / "plain/final").items() if p.endswith("data.parquet")}


def unwritable_output(folder):
    make_workspace(folder)
    (folder / "out").write_text("a file is in the way")
    done = run(folder, OUT)
    assert done.returncode == 1 and "out" in done.stderr and "cannot make the folder" in done.stderr, done.stderr
    if os.getuid() == 0:
        return "as root, only the case of a file in the way"
    (folder / "out").unlink()
    (folder / "locked").mkdir(mode=0o555)
    expect(folder, run(folder, "output.data_root=locked/out"), 1, "locked/out", "Permission denied")


def foreign_files_are_kept(folder):
    """Files that another program wrote into final/ are not overwritten: refused, or in prefix layout added to, with a warning."""
    make_workspace(folder)
    assert run(folder, OUT, "output.layout=branch").returncode == 0
    (folder / "out/final/manifest.json").unlink()
    before = digest(folder / "out/final")
    for more in ([], ["model.dtype=bfloat16"]):
        done = run(folder, OUT, "output.layout=branch", *more)
        assert done.returncode == 1 and "another program wrote them" in done.stderr, done.stderr
        assert digest(folder / "out/final") == before
    shutil.rmtree(folder / "out")
    assert run(folder, OUT, "output.layout=prefix", "capture.layers=[0]").returncode == 0
    (folder / "out/final/model/manifest.json").unlink()
    rows = lambda: pq.read_table(folder / "out/final/model/l00h00q/data.parquet").to_pylist()
    old = rows()
    done = run(folder, OUT, "output.layout=prefix", "capture.layers=[0]", "capture.sampler.base_rate=50")
    assert done.returncode == 0 and done.stderr.count("nothing says whether they come from the same weights") == 1, done.stderr
    assert rows()[:len(old)] == old and len(rows()) > len(old)


def one_layout_in_a_folder(folder):
    """A run of the other layout would leave rows that no card and no push knows of."""
    make_workspace(folder)
    for first, second, words in (("branch", "prefix", "one run at its root"), ("prefix", "branch", "holds a folder per model")):
        assert run(folder, OUT, f"output.layout={first}").returncode == 0
        before = digest(folder / "out/final")
        done = run(folder, OUT, f"output.layout={second}")
        assert done.returncode == 1 and words in done.stderr, done.stderr
        assert digest(folder / "out/final") == before
        shutil.rmtree(folder / "out")


def damaged_unit(folder):
    """A unit that rotted in staging is named and computed again: one whose rows did, at the merge, one whose index did, before."""
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", [{"id": i, "text": f"the river {i} turns " * (1 + i % 7)} for i in range(300)])
    rows = "dataset.path=rows.jsonl"
    reference = run(folder, rows, "output.data_root=good")
    assert reference.returncode == 0, reference.stderr
    for place in (0.4, 0.999):
        done = engine(["run", "config.yaml", "--quiet", "--shard", "0/2", "--set", rows, "--set", OUT], folder)
        units = sorted((folder / "out/staging").glob("unit-*.qku"))
        assert done.returncode == 0 and len(units) > 1, done.stderr
        data = bytearray(units[1].read_bytes())
        data[int(len(data) * place)] ^= 0x10
        units[1].write_bytes(data)
        done = run(folder, rows, OUT)
        assert done.returncode == 0 and f"{units[1].name}: this work unit is damaged; it is computed again" in done.stderr, done.stderr
        assert digest(folder / "out/final") == digest(folder / "good/final")
        assert sorted(p.name for p in (folder / "out/staging").iterdir()) == ["builds", "lock"]
        shutil.rmtree(folder / "out")


def full_disk(folder):
    """On a tmpfs that is smaller than the output: exit status 3, and the same command goes on later."""
    make_workspace(folder)
    small = folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], capture_output=True).returncode:
        return "SKIPPED (no tmpfs can be mounted here)"
    try:
        args = ["output.data_root=small/out", "capture.sampler.type=all"]
        done = run(folder, *args)
        assert done.returncode == 3, (done.returncode, done.stderr)
        assert "the disk is full" in done.stderr and "run the same command again" in done.stderr, done.stderr
        assert not (small / "out/final").exists() and not list(small.rglob("*.tmp")), list(small.rglob("*"))
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        done = run(folder, *args)
        assert done.returncode == 0, done.stderr
        assert run(folder, "output.data_root=out", "capture.sampler.type=all").returncode == 0
        assert digest(small / "out/final") == digest(folder / "out/final")
    finally:
        subprocess.run(["umount", small], check=True)


if __name__ == "__main__":
    sys.exit(main("bad input", [
        missing_config, wrong_usage, wrong_yaml_type, unknown_key, unknown_setting, layer_out_of_range, head_out_of_range,
        text_column_absent, id_column_absent, dataset_absent, split_absent, null_text, damaged_jsonl, model_absent,
        unknown_model_type, truncated_safetensors, nan_in_weights, weights_beyond_the_format, rows_that_overflow,
        nonfinite_rows_are_counted, vocabulary_mismatch, weights_of_another_shape, unsupported_tokenizer, folders_that_are_no_models,
        folders_without_weights, folders_without_tokenizer, lfs_pointers, web_pages, heads_of_other_tasks, unwritable_output,
        foreign_files_are_kept, one_layout_in_a_folder, damaged_unit, full_disk]))
