#!/usr/bin/env python3
"""Every key of capture at once, in both layouts: the same bytes for any batch, threads, layers in memory, shards, kills and parts; rows that a
second run adds; and that diff and verification see a changed bit of each column.

usage: every_key.py [SEED] [TEST...]
"""
import fnmatch
import json
import random
import shutil
import signal
import sys
import time

from common import digest, engine, main, number_asked, run, write_jsonl
from many_processes import UNITS, Ended, alone, check_final, fresh, start, units

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from datasets import load_dataset

SEED = number_asked(1)
EVERY = ["capture.capture_values=true", "capture.rope=[pre,post]", "capture.capture_lse=true", "capture.capture_token_ids=true",
         "capture.capture_token_strings=true", "capture.head_columns=true", "capture.allow_nonfinite=true", "capture.max_rows_per_batch=9",
         "capture.sampler.first=2", "capture.sampler.queries.type=uniform", "capture.sampler.queries.base_rate=1.5",
         "capture.sampler.keys.positions=list.jsonl", "capture.sampler.keys.first=1"]
LAYOUTS = {"branch": [*EVERY, "output.layout=branch"],
           "prefix": [*EVERY, "output.layout=prefix", "capture.per_head_masks=true", "output.split=mine", "output.vector_encoding=plain"]}
COLUMNS = {"bucket", "example_id", "position", "vector", "sliding_window", "token_str", "token_id", "lse", "layer", "head", "kind"}


def workspace(folder, name):
    work = fresh(folder, name)
    write_jsonl(work / "list.jsonl", [{"id": "doc-3", "positions": [19, 0, 5, 5]}, {"id": "doc-20", "positions": []}, {"positions": [3, 2, 1, 11, 7000]}])
    return work


def each_layout(folder):
    for name, settings in LAYOUTS.items():
        work = workspace(folder, name)
        yield name, settings, work, alone(work, *settings)


def files(final):
    return {p.parent.name: p for p in sorted(final.rglob("l*/data.parquet"))}


def ways_of_computing(folder):
    count = 0
    for name, settings, work, whole in each_layout(folder):
        kinds = {n[6:] for n in files(work / "alone0/final")}
        assert kinds == {"q", "k", "v", "q_pre", "k_pre"}, kinds
        for n, path in files(work / "alone0/final").items():
            assert set(pq.read_schema(path).names) == COLUMNS, (n, pq.read_schema(path).names)
        for way in (["inference.batch_size=1"], ["inference.batch_size=3", "inference.threads=2"], ["inference.batch_size=64", "inference.layers_in_memory=2"],
                    ["inference.isa=portable", "inference.threads=2"], ["output.vector_encoding=" + ("plain" if name == "prefix" else "byte_stream_split")]):
            got = Ended(start(work, *settings, *way, root=f"out{count}")).ok()
            assert got["merged"]
            check_final(work, whole, f"out{count}")
            count += 1
    return f"{count} ways, {len(whole)} files"


def of_its_own_each_backend(folder):
    work = workspace(folder, "w")
    first = alone(work, *LAYOUTS["prefix"], "inference.backend=ref")
    assert alone(work, *LAYOUTS["prefix"], "inference.backend=ref", "inference.threads=2", "inference.batch_size=7") == first


def shards_and_parts(folder):
    """Two shards in folders of their own, whose units are copied to a third; parts on the way."""
    for name, settings, work, whole in each_layout(folder):
        for shard in range(2):
            Ended(start(work, *settings, shard=f"{shard}/2", root=f"s{shard}")).ok()
        shutil.copytree(work / "s0", work / "out")
        sets = [a for s in ["dataset.path=data.jsonl", "output.data_root=out", "output.layout=branch", "tokenizer.max_length=null", *settings] for a in ("--set", s)]
        done = engine(["merge", "config.yaml", "--partial", "--json", *sets], work)
        assert done.returncode == 0, done.stderr
        part, all_of_it = files(work / "out/partial"), files(work / "alone0/final")
        assert part.keys() == all_of_it.keys()
        there = {e for e in pq.read_table(next((work / "out/partial").rglob("examples.parquet")))["example_id"].to_pylist()}
        assert 0 < len(there) < UNITS * 16
        for n in part:
            have, want = pq.read_table(part[n]), pq.read_table(all_of_it[n])
            assert have.equals(want.filter(pa.compute.is_in(want["example_id"], pa.array(there, pa.int32())))), n
        for unit in (work / "s1/staging").glob("unit-*.qku"):
            shutil.copy(unit, work / "out/staging")
        done = engine(["merge", "config.yaml", "--quiet", *sets], work)
        assert done.returncode == 0, done.stderr
        check_final(work, whole)


def killed(folder):
    rng, kills, resumed = random.Random(SEED), 0, 0
    for name, settings, work, whole in each_layout(folder):
        for _ in range(6):
            process, begin = start(work, *settings, "inference.batch_size=1", "inference.backend=auto"), len(units(work))
            for _ in range(200):   # one more unit, or some time
                if process.poll() is not None or len(units(work)) > begin + rng.randint(0, 2):
                    break
                time.sleep(0.003)
            time.sleep(rng.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
            resumed += bool(units(work))
        Ended(start(work, *settings, "inference.batch_size=3")).ok()
        check_final(work, whole)
    assert kills, "no run was alive when it was killed"
    return f"{kills} kills, {resumed} with finished units"


def second_run_adds(folder):
    """Half of the rows, then all: what was there stays, and what one run of all writes is there. The same by join."""
    work = workspace(folder, "w")
    settings = LAYOUTS["prefix"]
    whole = files(work / "alone0/final") if alone(work, *settings) else None
    Ended(start(work, *settings, "dataset.split=train[:70]")).ok()
    shutil.copytree(work / "out/final", work / "first")
    Ended(start(work, *settings, "dataset.split=train[70:]", root="other")).ok()
    Ended(start(work, *settings, "dataset.split=train[70:]")).ok()
    done = engine(["join", "first", "other/final", "joined", "--quiet"], work)
    assert done.returncode == 0, done.stderr
    assert digest(work / "joined") == digest(work / "out/final")
    got = files(work / "out/final")
    assert got.keys() == whole.keys()
    for n, path in got.items():
        assert pq.read_table(path).equals(pq.read_table(whole[n])), n
        assert len(json.loads(pq.read_metadata(path).metadata[b"qkengine.attention"])["runs"]) == 2
    before = {n: pq.read_table(p) for n, p in got.items()}
    more = [s for s in settings if "max_rows" not in s]
    Ended(start(work, *more)).ok()
    for n, path in files(work / "out/final").items():
        now = pq.read_table(path)
        assert now.slice(0, len(before[n])).equals(before[n]), n
        pairs = list(zip(now["example_id"].to_pylist(), now["position"].to_pylist()))
        assert len(pairs) == len(set(pairs)), n


def keys_come_later(folder):
    """A run without any of these keys, then one with all but the limit: rows of both files, each with what its run knows. The same by join."""
    work = workspace(folder, "w")
    plain = ["output.layout=prefix", "output.split=mine", "capture.sampler.base_rate=2.0"]
    later = [s for s in LAYOUTS["prefix"] if "max_rows" not in s]
    Ended(start(work, *plain, "dataset.split=train[:90]", "capture.capture_token_strings=false")).ok()
    shutil.copytree(work / "out/final", work / "first")
    Ended(start(work, *later, "dataset.split=train[40:]", root="other")).ok()
    Ended(start(work, *later, "dataset.split=train[40:]")).ok()
    done = engine(["join", "first", "other/final", "joined", "--quiet"], work)
    assert done.returncode == 0, done.stderr
    assert digest(work / "joined") == digest(work / "out/final")
    both, first, other = (files(work / f) for f in ("out/final", "first", "other/final"))
    for n, path in both.items():
        runs = json.loads(pq.read_metadata(path).metadata[b"qkengine.attention"])["runs"]
        assert len(runs) == (n in first) + (n in other), (n, len(runs))   # a run is named where it made rows
        now, old = pq.read_table(path), pq.read_table(first[n]) if n in first else None
        if old is not None:
            assert now.slice(0, len(old)).select(old.column_names).equals(old), n
            assert now["token_id"].null_count == now["token_str"].null_count == len(old) and now["layer"].null_count == 0, n
    return f"{len(both)} files"


def many_files_as_one_table(folder):
    """Queries and keys are one table to every reader: all of them, of a layer, of a head; also where a file or all of them have no rows."""
    work = workspace(folder, "w")
    write_jsonl(work / "empty.jsonl", [{"id": f"doc-{i}", "text": ""} for i in range(3)])
    write_jsonl(work / "one.jsonl", [{"id": "doc-2", "positions": [0]}])
    every = [s for s in EVERY if "first" not in s]
    for name, more in (("rows", []), ("few", ["capture.sampler.keys.positions=one.jsonl"]), ("none", ["dataset.path=empty.jsonl", "tokenizer.max_length=1"])):
        Ended(start(work, *every, "capture.layers=[0,2]", "output.layout=prefix", *more, root=name)).ok()
        top = work / name / "final/model"
        rows = {n: pq.read_metadata(p).num_rows for n, p in files(top).items()}
        schemas = {n: pq.read_schema(p).remove_metadata() for n, p in files(top).items()}
        assert len(rows) == 28 and len(set(map(str, schemas.values()))) == 1, schemas
        of = lambda pattern: sum(r for n, r in rows.items() if fnmatch.fnmatchcase(n, pattern))
        for config, want in ((None, of("*[qk]")), ("all", of("*[qk]")), ("all_q_pre", of("*q_pre")), ("layer02", of("l02*[qk]")), ("l00h01", of("l00h01[qk]")),
                             ("all_v", of("*v"))):
            if not want:
                continue   # `datasets` has no split of no rows: "corresponds to no data"
            got = load_dataset(str(top.parent), *([config] if config else []), split="model", cache_dir=str(folder / "cache"))
            assert len(got) == want, (name, config, len(got), want)
            if config == "all":
                known = [(k, x is not None) for k, x in zip(got["kind"], got["lse"])]
                assert set(known) <= {("q", True), ("k", False)} and len(got.features) == len(COLUMNS), set(known)
        skip = [".", "README", "manifest", "examples"]
        frame = pandas.read_parquet(top, partitioning=["folder"], ignore_prefixes=skip)
        assert len(frame) == sum(rows.values()) and frame["lse"].notna().sum() == of("*q"), name
        glob = f"{top}/l*/data.parquet"
        assert polars.scan_parquet(glob).select("lse").collect()["lse"].count() == of("*q")
        [(n, lse, joined)] = duckdb.sql(f"select count(*), count(lse), count(tokens) from read_parquet('{glob}') "
                                        f"left join '{top}/examples.parquet' using (example_id)").fetchall()
        assert (n, lse, joined) == (sum(rows.values()), of("*q"), n), (name, n, lse, joined)


def changed_bits(folder):
    """A value of each column, changed in a copy: verification refuses the file; diff, which does not ask digests, names the column."""
    work = workspace(folder, "w")
    Ended(start(work, *LAYOUTS["branch"])).ok()
    path = files(work / "out/final")["l01h01q"]
    whole, seen = path.read_bytes(), []
    table = pq.read_table(path)
    for name in table.column_names:
        column = table[name].combine_chunks()
        if name == "vector":
            values = column.flatten().to_numpy().copy()
            values.view("uint32")[17] ^= 1
            changed = pa.FixedSizeListArray.from_arrays(pa.array(values), column.type.list_size)
        elif pa.types.is_string(column.type):
            changed = pa.array(["other", *column.to_pylist()[1:]])
        elif pa.types.is_floating(column.type):
            values = column.to_numpy().copy()
            values.view("uint32")[3] ^= 1
            changed = pa.array(values)
        else:
            changed = pa.array([7, *column.to_pylist()[1:]], column.type)
        other = folder / "other"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(work / "out/final", other)
        pq.write_table(table.set_column(table.column_names.index(name), table.schema.field(name), changed), other / "l01h01q/data.parquet")
        done = engine(["diff", work / "out/final", other], folder)
        says = {"bucket": "1 with other buckets", "example_id": "1 only in A", "position": "1 only in A", "token_id": "1 with other token ids",
                "vector": "1 of them different", "lse": "1 of them different"}.get(name, "1 with other labels")
        assert done.returncode == 1 and says in done.stdout, (name, done.returncode, done.stdout, done.stderr)
        seen.append(name)
    for at in range(0, len(whole), max(1, len(whole) // 40)):   # a run that finds final/ reads all of it
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        done = run(work, "dataset.path=data.jsonl", "output.data_root=out", "tokenizer.max_length=null", *LAYOUTS["branch"])
        assert done.returncode == 1 and "l01h01q" in done.stderr, (at, done.stderr)
    return f"{len(seen)} columns"


if __name__ == "__main__":
    sys.exit(main("every key", [ways_of_computing, of_its_own_each_backend, shards_and_parts, killed, second_run_adds, keys_come_later, many_files_as_one_table, changed_bits]))
