#!/usr/bin/env python3
"""Samples for those who compress and index caches: values, both RoPE states in one pass, log-sum-exp, positions that are always kept or
listed, a sampler for queries and one for keys. Every number comes from another run or is computed here.

usage: samples.py [TEST...]
"""
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import digest, main, make_workspace, refused, run, write_jsonl

KEYS = "bucket", "example_id", "position"
WORDS = "the river turns twice before it finds the sea and nobody on the bridge looks down".split()
SMALL = ["dataset.path=rows.jsonl", "capture.layers=[0,3]", "capture.capture_token_strings=false"]
ALL = [*SMALL, "capture.capture_values=true", "capture.rope=[pre,post]", "capture.capture_lse=true", "capture.head_columns=true",
       "capture.capture_token_ids=true"]


def workspace(folder, n=7):
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", [{"id": f"row-{i}", "text": " ".join(WORDS[(i * k + k) % len(WORDS)] for k in range(8 * i))}
                                        for i in range(n)])
    return folder


def take(folder, out, *settings):
    """{file: table} of a run into a folder of its own."""
    done = run(folder, *settings, f"output.data_root={out}")
    assert done.returncode == 0, done.stderr
    return tables(folder, out)


def tables(folder, out):
    return {p.parent.name: pq.read_table(p) for p in sorted((folder / out / "final").rglob("l*/data.parquet"))}


def columns(table, *names):
    return [tuple(r.values()) for r in table.select(names or KEYS).to_pylist()]


def vectors(table):
    return np.asarray(table.column("vector").combine_chunks().flatten()).reshape(table.num_rows, -1)


def same(a, b, what):
    """The same rows and bits, whatever columns there are beside them."""
    assert columns(a) == columns(b), f"{what}: other positions"
    assert vectors(a).tobytes() == vectors(b).tobytes(), f"{what}: other vectors"


def both_states(folder):
    workspace(folder)
    both = take(folder, "both", *SMALL, "capture.rope=[pre,post]")
    post = take(folder, "post", *SMALL)
    pre = take(folder, "pre", *SMALL, "capture.rope=[pre]")
    older = take(folder, "older", *SMALL, "capture.capture_pre_rope=true")
    assert post.keys() == pre.keys() == older.keys() and len(post) == 12, post.keys()
    assert both.keys() == post.keys() | {f"{n}_pre" for n in post}, sorted(both)
    moved = 0
    for name in post:
        same(both[name], post[name], name)
        same(both[f"{name}_pre"], pre[name], f"{name}_pre")
        same(pre[name], older[name], f"{name} by capture_pre_rope")
        moved += vectors(post[name]).tobytes() != vectors(pre[name]).tobytes()
    assert moved == len(post), f"RoPE changed {moved} of {len(post)} files"
    assert digest(folder / "pre/final") == digest(folder / "older/final"), "rope: [pre] is another run than capture_pre_rope"
    return f"{len(both)} files"


def values(folder):
    workspace(folder)
    with_keys = take(folder, "a", *SMALL, "capture.capture_values=true")
    without = take(folder, "b", *SMALL, "capture.capture_values=true", "capture.capture_keys=false")
    alone = take(folder, "c", *SMALL, "capture.capture_values=true", "capture.capture_keys=false", "capture.capture_queries=false")
    before = take(folder, "d", *SMALL, "capture.capture_values=true", "capture.rope=[pre]")
    names = sorted(n for n in with_keys if n.endswith("v"))
    assert len(names) == 4 and sorted(alone) == names, (names, sorted(alone))
    for name in names:
        assert columns(with_keys[name]) == columns(with_keys[name[:-1] + "k"]), f"{name} does not pair up with its keys"
        assert vectors(with_keys[name]).tobytes() != vectors(with_keys[name[:-1] + "k"]).tobytes(), f"{name} holds keys"
        for other in without, alone, before:
            same(with_keys[name], other[name], name)
    drawn = take(folder, "e", *SMALL, "capture.capture_values=true", "capture.capture_keys=false", "capture.head_sampling.count=2",
                 "capture.head_sampling.seed=3")
    heads = {(n[:3], int(n[4:6]) // 2) for n in drawn if n.endswith("q")}
    assert {(n[:3], int(n[4:6])) for n in drawn if n.endswith("v")} == heads, sorted(drawn)
    return f"{len(names)} files of values"


def log_sum_exp(folder):
    """Against scores from the captured queries and keys; with the values, attention's own output is not needed."""
    workspace(folder)
    got = take(folder, "out", *SMALL, "capture.capture_lse=true", "capture.sampler.type=all", "capture.capture_values=true")
    checked = 0
    for name in (n for n in got if n.endswith("q")):
        q, k = got[name], got[f"{name[:4]}{int(name[4:6]) // 2:02d}k"]
        assert q.schema == k.schema and q["lse"].null_count == 0 and k["lse"].null_count == len(k), (q.column_names, k.column_names)
        lse = np.asarray(q.column("lse").combine_chunks())
        assert q.schema.field("lse").type == pa.float32()
        positions, ids = np.asarray(q.column("position")), np.asarray(q.column("example_id"))
        key_of, key_ids, key_positions = vectors(k), np.asarray(k.column("example_id")), np.asarray(k.column("position"))
        for i, (x, position, example) in enumerate(zip(vectors(q).astype(np.float64), positions, ids)):
            seen = key_of[(key_ids == example) & (key_positions <= position)].astype(np.float64)
            assert len(seen) == position + 1
            scores = seen @ x / 4          # head_dim 16
            expected = scores.max() + np.log(np.exp(scores - scores.max()).sum())
            assert abs(lse[i] - expected) <= 1e-5 * max(1, abs(expected)), (name, i, lse[i], expected)
            checked += 1
    assert checked > 500, checked
    return f"{checked} queries"


def same_bytes(folder):
    workspace(folder)
    more = "capture.sampler.first=1", "capture.sampler.keys.base_rate=3.0", "capture.max_rows_per_batch=12"
    reference = None
    for i, way in enumerate((("inference.batch_size=1", "inference.threads=1"), ("inference.batch_size=3", "inference.threads=2"),
                             ("inference.batch_size=8", "inference.layers_in_memory=2"))):
        take(folder, f"out{i}", *ALL, *more, *way)
        got = digest(folder / f"out{i}/final")
        reference = reference or got
        assert got == reference, (way, [n for n in got if got[n] != reference.get(n)][:3])
    return f"{len(reference)} files, 3 settings"


def one_folder(folder):
    """Runs of one state, of both, with values: files of one folder. A run of the other state alone is refused."""
    workspace(folder)
    prefix = [*SMALL, "output.layout=prefix"]
    first = take(folder, "out", *prefix)
    both = take(folder, "out", *prefix, "capture.rope=[pre,post]", "capture.capture_values=true")
    assert both.keys() > first.keys()
    for name in first:
        same(first[name], both[name], name)
    refused(run(folder, *prefix, "capture.rope=[pre]"), "config.capture.capture_pre_rope", "false then, true now")


def first_positions(folder):
    workspace(folder)
    few = [*SMALL, "capture.sampler.base_rate=1.0"]
    plain, first = take(folder, "plain", *few), take(folder, "first", *few, "capture.sampler.first=2")
    added = 0
    for name in plain:
        old, new = set(columns(plain[name])), set(columns(first[name]))
        assert old <= new and {r[2] for r in new - old} <= {0, 1}, name
        for position in 0, 1:   # the first text is empty: one token
            assert len({r[1] for r in new if r[2] == position}) == 7 - position, f"{name}: position {position} is missing"
        added += len(new - old)
    assert added, "every first position was drawn by chance"
    limited = take(folder, "limited", *SMALL, "capture.sampler.first=2", "capture.sampler.type=all", "capture.max_rows_per_batch=5")
    for name, table in limited.items():
        rows = columns(table, "example_id", "position")
        for example in {e for e, p in rows if p}:
            positions = [p for e, p in rows if e == example]
            assert len(positions) == 5 and positions[:2] == [0, 1] and len(set(positions)) == 5, (name, positions)
    manifest = json.loads(next((folder / "first/final").rglob("manifest.json")).read_text())
    assert manifest["runs"][0]["identity"]["config"]["capture"]["sampler"]["first"] == 2
    return f"{added} rows more"


def listed_positions(folder):
    workspace(folder)
    write_jsonl(folder / "list.jsonl", [{"id": "row-3", "positions": [19, 0, 5, 5]}, {"id": "row-4", "positions": []},
                                        {"positions": [2, 1, 7000]}])
    listed_by = lambda path: [*SMALL, "output.layout=branch", "capture.sampler.base_rate=null", f"capture.sampler.positions={path}"]
    every = take(folder, "every", *SMALL, "capture.sampler.type=all")
    got = take(folder, "out", *listed_by("list.jsonl"), "capture.sampler.first=1")
    for name in every:
        of = {}
        for e, p in columns(every[name], "example_id", "position"):
            of.setdefault(e, []).append(p)
        listed = {}
        for e, p in columns(got[name], "example_id", "position"):
            listed.setdefault(e, []).append(p)
        assert listed.keys() == of.keys()
        counts = sorted(len(v) for v in listed.values())
        assert counts == [1, 1, 3, 3, 3, 3, 3], counts
        assert sorted(listed.values())[:2] == [[0], [0]] and [0, 5, 19] in listed.values() and [0, 1, 2] in listed.values(), listed
        wanted = {(e, p) for e, ps in listed.items() for p in ps}
        bits = {(e, p): v.tobytes() for (e, p), v in zip(columns(every[name], "example_id", "position"), vectors(every[name]))}
        for row, v in zip(columns(got[name], "example_id", "position"), vectors(got[name])):
            assert bits[row] == v.tobytes()
        assert len(wanted) == got[name].num_rows
    # Another file is another run; another path is not.
    (folder / "list.jsonl").rename(folder / "moved.jsonl")
    take(folder, "out", *listed_by("moved.jsonl"), "capture.sampler.first=1")
    write_jsonl(folder / "moved.jsonl", [{"positions": [3]}])
    refused(run(folder, *listed_by("moved.jsonl"), "capture.sampler.first=1"), "positions_sha256")
    refused(run(folder, *listed_by("list.jsonl")), "list.jsonl: cannot open")
    refused(run(folder, *SMALL, "capture.sampler.positions=moved.jsonl"), "'capture.sampler.base_rate' has no effect")


def lines_without_an_example(folder):
    """Who merges says which lines of the file name no example of any process; a part of a run does not know yet."""
    workspace(folder)
    write_jsonl(folder / "list.jsonl", [{"id": i, "positions": [0]} for i in ("row-3", "row3", "row-4", 4, "Row-3", "row-5 ", "", "x")])
    write_jsonl(folder / "one.jsonl", [{"id": "row-0", "positions": [0]}, {"id": "row_0", "positions": [1]}])
    write_jsonl(folder / "whole.jsonl", [{"id": "row-6", "positions": [0]}, {"positions": [1]}])
    list_by = lambda path, out, *more: run(folder, *SMALL, "capture.sampler.base_rate=null", f"capture.sampler.positions={path}", f"output.data_root={out}", *more)
    done = list_by("list.jsonl", "a")
    assert done.returncode == 0 and done.stderr.count("name no example") == 1, done
    assert "warning: list.jsonl: 6 of 8 ids name no example of this run: lines 2, 4, 5, 6 and 2 more\n" in done.stderr, done.stderr
    assert "name no example" not in list_by("list.jsonl", "a").stderr
    assert "no example" not in list_by("whole.jsonl", "b").stderr
    sides = list_by("list.jsonl", "c", "capture.sampler.queries.positions=one.jsonl").stderr
    assert "one.jsonl: 1 of 2 ids names no example of this run: line 2\n" in sides and "list.jsonl: 6 of 8" in sides, sides
    assert "one.jsonl" not in list_by("list.jsonl", "d", "capture.sampler.queries.positions=one.jsonl", "capture.capture_queries=false").stderr


def samplers_for_each_side(folder):
    workspace(folder)
    few, every = take(folder, "few", *SMALL, "capture.sampler.base_rate=0.5"), take(folder, "every", *SMALL, "capture.sampler.type=all")
    got = take(folder, "got", *SMALL, "capture.sampler.queries.base_rate=0.5", "capture.sampler.keys.type=all",
               "capture.capture_values=true")
    again = take(folder, "again", *SMALL, "capture.sampler.base_rate=0.5", "capture.sampler.keys.type=all",
                 "capture.sampler.keys.base_rate=8.0", "capture.capture_values=true")
    assert again.keys() == got.keys()
    for name in few:
        same(got[name], (few if name.endswith("q") else every)[name], name)
    assert digest(folder / "got/final") == digest(folder / "again/final"), "the same samplers, said in another way"
    for name in (n for n in got if n.endswith("v")):
        assert columns(got[name]) == columns(every[name[:-1] + "k"]), name


if __name__ == "__main__":
    sys.exit(main("samples", [both_states, values, log_sum_exp, same_bytes, one_folder, first_positions, listed_positions, lines_without_an_example,
                              samplers_for_each_side]))
