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
    """Files that another program wrote into final/ are not overwritten."""
    make_workspace(folder)
    assert run(folder, OUT, "output.layout=branch").returncode == 0
    (folder / "out/final/manifest.json").unlink()
    before = digest(folder / "out/final")
    done = run(folder, OUT, "output.layout=branch")
    assert done.returncode == 1 and "another program wrote them" in done.stderr, done.stderr
    assert digest(folder / "out/final") == before


def damaged_unit(folder):
    """A unit that rotted in staging is named, and removing it heals the run."""
    make_workspace(folder)
    reference = run(folder, "output.data_root=good")
    assert reference.returncode == 0, reference.stderr
    blocker = folder / "out/staging/merged"
    blocker.parent.mkdir(parents=True)
    blocker.write_text("in the way")        # the merge fails, the units stay
    assert run(folder, OUT).returncode == 1
    unit = next((folder / "out/staging").glob("unit-*.qku"))
    data = bytearray(unit.read_bytes())
    data[len(data) // 2] ^= 0xFF
    unit.write_bytes(data)
    blocker.unlink()
    done = run(folder, OUT)
    assert done.returncode == 1 and unit.name in done.stderr and "remove this file" in done.stderr, done.stderr
    unit.unlink()
    (folder / "out/staging/units.json").unlink()
    assert run(folder, OUT).returncode == 0
    assert digest(folder / "out/final") == digest(folder / "good/final")


def full_disk(folder):
    """On a tmpfs with room for less than the output: exit status 3, and the same command goes on later."""
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
        unknown_model_type, truncated_safetensors, nan_in_weights, weights_beyond_the_format, rows_that_overflow, nonfinite_rows_are_counted, vocabulary_mismatch, weights_of_another_shape,
        unsupported_tokenizer, unwritable_output, foreign_files_are_kept, damaged_unit, full_disk]))
