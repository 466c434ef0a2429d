#!/usr/bin/env python3
"""What readers see: datasets.load_dataset, pyarrow's schema and statistics, DuckDB."""
import json
import shutil
import sys

from common import ROOT, engine, main, make_workspace, run, write_jsonl  # first: it silences progress bars

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_dataset

SCHEMA = pa.schema([("bucket", pa.int32()), ("example_id", pa.int32()), ("position", pa.int32()),
                    ("vector", pa.list_(pa.field("element", pa.float32()), 16)), ("sliding_window", pa.int32()),
                    ("token_str", pa.string())])
EXAMPLES = pa.schema([("index", pa.int64()), ("id", pa.int64()), ("id_text", pa.string()), ("tokens", pa.int32()),
                      ("truncated", pa.bool_()), ("sha256", pa.string()), ("example_id", pa.int32())])


def make(folder, layout, *more):
    work = make_workspace(folder / layout) if (folder / layout).mkdir() is None else None
    done = run(work, "output.data_root=out", f"output.layout={layout}", *more)
    assert done.returncode == 0, done.stderr
    return work / "out/final"


def files(folder):
    return {p.parent.name: p for p in sorted(folder.rglob("l*/data.parquet"))}


def load_dataset_by_every_name(folder):
    for layout in ("branch", "prefix"):
        final, split = make(folder, layout), "train" if layout == "branch" else "model"
        rows = {name: pq.read_metadata(path).num_rows for name, path in files(final).items()}
        wanted = {
            "l00h00q": rows["l00h00q"],
            "l00h00": rows["l00h00q"] + rows["l00h00k"],
            "l03h03": rows["l03h03q"],
            "layer00": sum(n for f, n in rows.items() if f.startswith("l00")),
            "layer01_k": sum(n for f, n in rows.items() if f.startswith("l01") and f.endswith("k")),
            "all_q": sum(n for f, n in rows.items() if f.endswith("q")),
            "all": sum(rows.values()),
            None: sum(rows.values()),
        }
        for name, count in wanted.items():
            data = load_dataset(str(final), *([name] if name else []), split=split, cache_dir=str(folder / "cache"))
            assert len(data) == count, (layout, name, len(data), count)
        data = load_dataset(str(final), "l00h00q", split=split, cache_dir=str(folder / "cache"))
        table = pq.read_table(files(final)["l00h00q"])
        assert data[3]["vector"] == table["vector"][3].as_py() and data[3]["token_str"] == table["token_str"][3].as_py()
    return f"{len(wanted)} names in both layouts, {sum(rows.values())} rows"


def schema_is_the_documented_one(folder):
    final = make(folder, "branch")
    for name, path in files(final).items():
        assert pq.read_schema(path).remove_metadata().equals(SCHEMA), (name, pq.read_schema(path))
    assert pq.read_schema(final / "examples.parquet").remove_metadata().equals(EXAMPLES)
    plain = make(folder / "x" if (folder / "x").mkdir() is None else folder, "branch", "capture.capture_token_strings=false")
    got = pq.read_schema(plain / "l00h00q/data.parquet").remove_metadata()
    assert got.equals(SCHEMA.remove(5)), got


def metadata_agrees_with_the_data(folder):
    chunks = 0
    for path in files(make(folder, "branch")).values():
        file = pq.ParquetFile(path, page_checksum_verification=True)
        assert file.read().num_rows == file.metadata.num_rows
        assert file.metadata.created_by.startswith("qkengine")
        for g in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(g)
            data = file.read_row_group(g)
            for c in range(group.num_columns):
                column = group.column(c)
                assert column.compression == "ZSTD", column
                assert column.file_offset >= 0 and column.total_compressed_size > 0
                chunks += 1
                if column.path_in_schema not in data.column_names or not column.statistics:
                    continue
                values = [v for v in data[column.path_in_schema].to_pylist() if v is not None]
                stats = column.statistics
                assert not stats.has_null_count or stats.null_count == len(data) - len(values), column
                if values and stats.has_min_max:
                    low, high = (min(values), max(values))
                    if isinstance(low, str):
                        low, high = (f(values, key=lambda s: s.encode()) for f in (min, max))
                    assert (stats.min, stats.max) == (low, high), (column.path_in_schema, stats, low, high)
    return f"{chunks} column chunks"


def duckdb_reads_the_same_rows(folder):
    for path in files(make(folder, "branch")).values():
        table = pq.read_table(path)
        got = duckdb.sql(f"select * from read_parquet('{path}')").fetchall()
        want = list(zip(*(table[c].to_pylist() for c in table.column_names)))
        assert [tuple(list(v) if isinstance(v, tuple) else v for v in r) for r in got] == want, path
    return f"last file: {len(want)} rows"


def encodings_hold_the_same_values(folder):
    a = files(make(folder, "branch"))
    b = files(make(folder / "p" if (folder / "p").mkdir() is None else folder, "branch", "output.vector_encoding=plain"))
    for name in a:
        assert pq.read_table(a[name]).equals(pq.read_table(b[name])), name


def rerun_adds_only_new_rows(folder):
    """prefix layout: the same examples and one more; old rows stay in front, in their order."""
    work = folder / "w"
    work.mkdir()
    make_workspace(work)
    rows = [{"id": f"x{i}", "text": f"Text number {i} about maps, boats and bread."} for i in range(4)]
    args = ["output.data_root=out", "output.layout=prefix", "dataset.path=d.jsonl", "capture.sampler.base_rate=3.0"]
    write_jsonl(work / "d.jsonl", rows[:3])
    assert run(work, *args).returncode == 0
    before = {n: pq.read_table(p) for n, p in files(work / "out/final").items()}
    write_jsonl(work / "d.jsonl", rows[:1] + rows[3:] + rows[1:3])
    done = run(work, *args)
    assert done.returncode == 0, done.stderr
    only_new = folder / "n"
    only_new.mkdir()
    make_workspace(only_new)
    write_jsonl(only_new / "d.jsonl", rows[3:])
    assert run(only_new, *args).returncode == 0
    new = {n: pq.read_table(p) for n, p in files(only_new / "out/final").items()}
    for name, path in files(work / "out/final").items():
        both = pa.concat_tables([before[name], new[name]])
        assert pq.read_table(path).equals(both), name
    assert pq.read_table(work / "out/final/model/examples.parquet").num_rows == 4


def ids_that_share_32_bits_stay_apart(folder):
    """Two ids with the same low 32 bits: both keep their rows, also when one comes in a later run."""
    a, b = 7, 2 ** 40 + 7
    def go(name, *runs):
        work = folder / name
        work.mkdir()
        make_workspace(work)
        for ids in runs:
            write_jsonl(work / "d.jsonl", [{"id": i, "text": "The same text for every example here."} for i in ids])
            done = run(work, "output.data_root=out", "output.layout=prefix", "dataset.path=d.jsonl",
                       "capture.sampler.type=all", "capture.layers=[0]")
            assert done.returncode == 0, done.stderr
            said.append(done.stderr)
        kept = pq.read_table(next((work / "out/final").rglob("examples.parquet")))["id"].to_pylist()
        assert sorted(kept) == sorted(set().union(*runs)), kept     # all 64 bits
        return {n: pq.read_table(p) for n, p in files(work / "out/final").items()}
    said = []
    once, twice, thrice = go("once", [a, b]), go("twice", [a], [b]), go("thrice", [a], [b], [b, a])
    warned = [f"the ids {a} and {b}" in text and f"are both stored as example_id {a}" in text for text in said]
    assert warned == [True, False, True, False, True, False], said      # by the run that brings the second one
    single = go("single", [a])
    for name in once:
        assert len(once[name]) == 2 * len(single[name])
        assert once[name].equals(twice[name]) and once[name].equals(thrice[name]), name


def two_models_share_a_folder(folder):
    work = folder / "w"
    work.mkdir()
    make_workspace(work)
    (work / "model").rename(work / "first-model")
    import shutil
    shutil.copytree(ROOT / "tests/data/capture/old_layout/tiny/llama-base.1", work / "second.model")
    for name in ("first-model", "second.model"):
        done = run(work, "output.data_root=out", "output.layout=prefix", f"model.name={name}")
        assert done.returncode == 0, done.stderr
    final = str(work / "out/final")
    one = load_dataset(final, "all", split="first_model", cache_dir=str(folder / "cache"))
    two = load_dataset(final, "all", split="second_model", cache_dir=str(folder / "cache"))
    assert len(one) and len(two)
    data = load_dataset(final, "l03h00q", cache_dir=str(folder / "cache"))
    assert list(data) == ["first_model"], data   # the second model has two layers


def inspect_and_diff(folder):
    final = make(folder, "branch")
    other = make(folder / "o" if (folder / "o").mkdir() is None else folder, "branch", "capture.sampler.base_rate=2.0")
    for target in (final, final / "l00h00q/data.parquet", ROOT / "tests/data/capture/case1_llama_log_uniform/model"):
        for flags in ([], ["--json"]):
            done = engine(["inspect", target, *flags], folder)
            assert done.returncode == 0 and done.stdout, (target, done.stderr)
    assert engine(["diff", final, final], folder).returncode == 0
    done = engine(["diff", final, other], folder)
    assert done.returncode == 1 and "only in" in done.stdout, (done.stdout, done.stderr)
    changed = folder / "changed"
    shutil.copytree(final, changed)
    table = pq.read_table(final / "l00h00q/data.parquet")
    columns = {"lse": pa.array([0.0] * len(table), pa.float32()), "token_id": pa.array([1] * len(table), pa.int32())}
    for top, of_last in ((final, 0), (changed, 2)):
        for name, column in columns.items():
            values = column.to_pylist()
            table = table.drop_columns([name]) if name in table.column_names else table
            table = table.append_column(name, pa.array([*values[:-1], values[-1] + of_last], column.type))
        pq.write_table(table, top / "l00h00q/data.parquet")
    done = engine(["diff", final, changed, "--json"], folder)
    said = json.loads(done.stdout)["files"]["l00h00q"]
    assert done.returncode == 1 and said["token_ids_that_differ"] == 1 and said["rms"] == 0, said
    assert said["lse_largest"] == 2 and abs(said["lse_rms"] - 2 / len(table) ** 0.5) < 1e-12, said


if __name__ == "__main__":
    sys.exit(main("load", [load_dataset_by_every_name, schema_is_the_documented_one, metadata_agrees_with_the_data,
                              duckdb_reads_the_same_rows, encodings_hold_the_same_values, rerun_adds_only_new_rows,
                              ids_that_share_32_bits_stay_apart, two_models_share_a_folder, inspect_and_diff]))
