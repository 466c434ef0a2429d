#!/usr/bin/env python3
"""configs/reader/qkread.py on folders that are made here with pyarrow: every number is known from plain loops over the rows."""
import contextlib
import io
import json
import math
import re
import sys

from common import ROOT, main, make_workspace, run

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(ROOT / "configs/reader"))
import qkread

D, LOW, T = 8, 5, 12
IDS = [7, -3, LOW, LOW + (1 << 32)]   # the last two share their low 32 bits


def info(**changes):
    spans = [{"bucket": 0, "first": 0, "last": 2, "probability_q": 0.5, "probability_k": 1.0},
             {"bucket": 1, "first": 3, "last": T - 1, "probability_q": 0.25, "probability_k": 1.0}]
    rule = {"type": "log_uniform", "base_rate": 1.0, "min_bucket_size": 4, "max_rows": None, "first": 1}
    return {"format": "qkengine attention 1", "model": "m", "model_type": "gemma2", "dtype": "float32", "head_dim": D, "query_heads": 4, "key_heads": 2,
            "scale": 0.3, "soft_cap": 2.0, "state": "post", "states": ["post"], "query_scale_by_position": None, "qk_norm": None,
            "rope": [{"type": "default", "theta": 10000.0, "rotary": 4, "pairs": "interleaved"}],
            "layers": [{"layer": 0, "type": "full_attention", "window": None, "rope": 0},
                       {"layer": 1, "type": "sliding_attention", "window": 4, "rope": None}],
            "runs": [{"fingerprint": "0" * 12, "queries": rule, "keys": rule, "buckets": spans}], **changes}


def write_folder(folder, ids=IDS, says_which=True, seed=1, **changes):
    """A split folder: both layers, all heads, every key, every other query; rows of all examples in one file."""
    folder.mkdir(parents=True)
    noise, text = np.random.default_rng(seed), json.dumps(info(**changes))
    low = np.array(ids).astype(np.int32)
    table = pa.table({"index": range(len(ids)), "id": ids, "id_text": [f"t{i}" for i in ids], "tokens": pa.array([T] * len(ids), pa.int32()), "example_id": low})
    pq.write_table(table.replace_schema_metadata({"qkengine.attention": text}), folder / "examples.parquet")
    for layer in range(2):
        for kind, heads, step in (("q", 4, 2), ("k", 2, 1), ("v", 2, 1)):
            for head in range(heads):
                positions = np.array([*range(0, T, step)])[::-1]   # rows need not be in the order of positions
                n = len(positions)
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(noise.standard_normal(n * len(ids) * D).astype(np.float32)), D)
                columns = {"bucket": np.tile(positions >= 3, len(ids)).astype(np.int32), "example_id": np.repeat(low, n),
                           "position": np.tile(positions, len(ids)).astype(np.int32), "vector": vectors,
                           "sliding_window": pa.array([None if layer == 0 else 4] * n * len(ids), pa.int32())}
                if kind == "q":
                    columns["lse"] = np.full(n * len(ids), 3.0, np.float32)
                which = [[i * n, n, str(full)] for i, full in enumerate(ids) if list(low).count(low[i]) > 1]
                meta = {"qkengine.shared_ids": json.dumps(which)} if which and says_which else None
                (folder / f"l{layer:02d}h{head:02d}{kind}").mkdir()
                pq.write_table(pa.table(columns).replace_schema_metadata(meta), folder / f"l{layer:02d}h{head:02d}{kind}/data.parquet")
    return folder


def refused(call, *words):
    try:
        call()
    except qkread.Error as e:
        assert all(word in str(e) for word in words) and "\n" not in str(e), (words, str(e))
        return
    raise AssertionError(f"not refused: {words}")


def heads_and_ids(folder):
    data = qkread.open(write_folder(folder / "final/m").parent)
    assert len(data.heads()) == 16 and data.heads()[0] == (0, 0, "k") and (1, 3, "q") in data.heads()
    assert [data.key_head(h) for h in range(4)] == [0, 0, 1, 1]
    rows = data.head(1, 2)
    table = pq.read_table(folder / "final/m/l01h02q/data.parquet")
    assert rows.vector.dtype == np.float32 and rows.vector.tolist() == table["vector"].to_pylist()
    assert rows.example.tolist() == [i for i in IDS for _ in range(T // 2)] and rows.position.tolist() == table["position"].to_pylist()
    assert len(rows[rows.example == LOW]) == T // 2
    return f"{len(data.heads())} heads, {len(rows)} rows"


def logits_are_those_of_a_loop(folder):
    data, count = qkread.open(write_folder(folder / "m")), 0
    for layer, head in ((0, 1), (1, 2)):
        for q, k in [data.pair(layer, head), data.pair(layer, head, IDS[3])]:
            logits, chances = data.logits(q, k), data.attention(q, k)
            for i in range(len(q)):
                for j in range(len(k)):
                    back = int(q.position[i]) - int(k.position[j])
                    seen = q.example[i] == k.example[j] and 0 <= back < (4 if layer else T)
                    score = 0.3 * sum(float(a) * float(b) for a, b in zip(q.vector[i], k.vector[j]))
                    want = 2 * math.tanh(score / 2) if seen else -math.inf
                    assert logits[i, j] == want or abs(logits[i, j] - want) < 1e-12, (layer, i, j)
                    assert abs(chances[i, j] - math.exp(want - 3)) < 1e-12
                    count += 1
    assert q.position.tolist() == [*range(0, T, 2)] and set(q.example) == {IDS[3]}
    return f"{count} pairs"


def chances(folder):
    data = qkread.open(write_folder(folder / "m"))
    rows = data.head(0, 0)
    assert data.probability(rows).tolist() == [1 if p < 1 else 0.5 if p < 3 else 0.25 for p in rows.position]
    assert (data.probability(data.head(0, 0, "v")) == 1).all()
    runs = info()["runs"]
    other = json.loads(json.dumps(runs))
    other[0]["buckets"][0]["probability_q"] = 0.75
    two = qkread.open(write_folder(folder / "two", runs=runs + other))
    refused(lambda: two.probability(rows), "other chances")
    assert 0.75 in two.probability(rows, run=1)
    other[0]["queries"] = {**other[0]["queries"], "max_rows": 3}
    limited = qkread.open(write_folder(folder / "limited", runs=other))
    refused(lambda: limited.probability(rows), "max_rows_per_batch")


def rope_and_texts(folder):
    data = qkread.open(write_folder(folder / "m"))
    dims, frequency = data.rope_pairs(0)
    assert dims.tolist() == [[0, 1], [2, 3]] and np.allclose(frequency, [1, 0.01])
    assert len(data.rope_pairs(1)[0]) == 0
    assert data.texts({"id": [f"t{i}" for i in IDS], "text": list("abcd")}, id="id") == dict(zip(IDS, "abcd"))
    assert data.texts({"text": list("abcd")}) == dict(zip(IDS, "abcd"))


def several_folders(folder):
    first, second = write_folder(folder / "a", IDS[:2]), write_folder(folder / "b", IDS[2:3], seed=2)
    data = qkread.open(first, second)
    rows = data.head(0, 0)
    assert rows.example.tolist() == [i for i in IDS[:3] for _ in range(T // 2)] and len(data.info["runs"]) == 2
    refused(lambda: qkread.open(first, first), "several of these folders")
    refused(lambda: qkread.open(first, write_folder(folder / "c", IDS[3:], scale=0.5)), "'scale'")
    refused(lambda: qkread.open(folder), "'a'", "split=")
    assert qkread.open(folder, split="b").examples.num_rows == 1


def refusals(folder):
    write_folder(folder / "m", says_which=False)
    data = qkread.open(folder / "m")
    refused(lambda: data.head(0, 0), "stands for 2 examples")
    refused(lambda: data.head(0, 9), "not captured")
    refused(lambda: qkread.open(folder / "none"), "no examples.parquet")
    refused(lambda: qkread.open(write_folder(folder / "old", format="something else")), "newer qkengine")
    pre = qkread.open(write_folder(folder / "pre", IDS[:2], state="pre"))
    refused(lambda: pre.logits(*pre.pair(0, 0)), "before RoPE")
    assert np.isfinite(pre.logits(*pre.pair(1, 0))).any(), "a layer without RoPE"
    refused(lambda: pre.logits(pre.head(0, 3), pre.head(0, 0, "k")), "reads key head 1")
    refused(lambda: pre.pair(0, 0, 99), "example 99")


def of_a_real_run(folder):
    """The metadata is that of the program, and the rows are read as pyarrow has them."""
    work = make_workspace(folder)
    done = run(work, "output.data_root=out", "capture.sampler.type=all", "output.layout=branch")
    assert done.returncode == 0, done.stderr
    data = qkread.open(work / "out/final")
    config, pairs = json.loads((work / "model/config.json").read_text()), 0
    assert (data.info["query_heads"], data.info["key_heads"]) == (config["num_attention_heads"], config["num_key_value_heads"])
    for layer, head, kind in data.heads():
        rows = data.head(layer, head, kind)
        table = pq.read_table(work / f"out/final/l{layer:02d}h{head:02d}{kind}/data.parquet")
        assert rows.vector.tolist() == table["vector"].to_pylist() and (data.probability(rows) == 1).all()
        assert rows.example.astype(np.int32).tolist() == table["example_id"].to_pylist()
        if kind == "q":
            q, k = data.pair(layer, head, rows.example[0])
            logits = data.logits(q, k)
            assert logits.shape == (len(q), len(q)) and (np.isfinite(logits) == np.tri(len(q), dtype=bool)).all()
            pairs += np.isfinite(logits).sum()
    return f"{len(data.heads())} heads, {pairs} logits"


def the_tour(folder):
    """The notebook's cells, one after the other: with the log-sum-exp, and without it."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    cells = json.loads((ROOT / "configs/reader/tour.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    program = [compile("".join(cell["source"]), "tour.ipynb", "exec") for cell in cells if cell["cell_type"] == "code"]
    work = make_workspace(folder)
    for name, more in (("exact", ["capture.capture_lse=true", "capture.sampler.first=1"]), ("plain", ["capture.sampler.type=all"])):
        done = run(work, f"output.data_root={name}", "output.layout=prefix", *more)
        assert done.returncode == 0, done.stderr
        with contextlib.chdir(work / name), contextlib.redirect_stdout(io.StringIO()) as printed:
            (work / name / "data").symlink_to(".")     # "data/final" is what the first cell opens
            names = {}
            for cell in program:
                exec(cell, names)
            data, share = names["data"], names["share"]
            assert str(len(data.examples)) in printed.getvalue() and len(plt.get_fignums()) == 4
            for axis in (axis for number in plt.get_fignums() for axis in plt.figure(number).axes):
                assert axis.lines or axis.images or axis.get_label() == "<colorbar>", axis.get_title()
            plt.close("all")
            # the share of position 0 of a head, by a loop; every key is there in "plain", so that both are probabilities
            q, k = data.pair(1, 2)
            logits, some = data.logits(q, k), []
            for i in np.flatnonzero(q.position > 0):
                [zero] = np.flatnonzero((k.position == 0) & (k.example == q.example[i]))
                total = np.exp(np.float64(q.lse[i])) if name == "exact" else np.exp(logits[i]).sum()
                some.append(np.exp(logits[i, zero]) / total)
            assert abs(share[1, 2] - np.mean(some)) < 1e-6 and np.isfinite(share).all(), (share[1, 2], np.mean(some))


def the_picture(folder):
    """The run and the lines of README.md: the picture is that of probabilities that sum to one."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    text = (ROOT / "configs/reader/README.md").read_text(encoding="utf-8")
    settings = re.search(r"`\./qkengine run my.yaml --set (.*?)`", text)[1].split(" --set ")
    [lines] = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "savefig" in block]
    work = make_workspace(folder)
    assert run(work, *settings, "dataset.id_column=null", "output.layout=prefix").returncode == 0
    with contextlib.chdir(work):
        names = {}
        exec(compile(lines, "README.md", "exec"), names)
    [picture] = plt.gcf().axes[0].images
    shown, q = np.asarray(picture.get_array()), names["q"]
    assert (work / "attention.png").read_bytes()[:4] == b"\x89PNG" and shown.shape == (len(q), len(q)) and len(q) > 1
    assert abs(shown.sum(1) - 1).max() < 1e-5 and (shown[np.triu_indices(len(q), 1)] == 0).all()
    plt.close("all")


def size(folder):
    lines = sum(len(p.read_text().splitlines()) for p in (ROOT / "configs/reader").rglob("*.py"))
    assert lines <= 150, lines
    return f"{lines} lines"


if __name__ == "__main__":
    sys.exit(main("reader", [heads_and_ids, logits_are_those_of_a_loop, chances, rope_and_texts, several_folders, refusals, of_a_real_run, the_tour, the_picture, size]))
