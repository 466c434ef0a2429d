#!/usr/bin/env python3
"""Files written with every option are read alike by pyarrow, DuckDB, Polars and fastparquet: every column, value by value, floats by
their bits. fastparquet knows no BYTE_STREAM_SPLIT: there it must say so, and read everything else and all of `plain`.
"""
import struct
import sys

from common import CASE, make_workspace, main, parquet_sample, run, shared

import duckdb
import fastparquet
import pandas
import polars
import pyarrow.parquet as pq

NO_SPLIT = "Encoding 9"   # what fastparquet says to BYTE_STREAM_SPLIT


def same(v):
    """A value as one that can be compared: lists of floats as their bits, any kind of null as None."""
    if v is None or v is pandas.NA or isinstance(v, float) and v != v:
        return None
    if hasattr(v, "__len__") and not isinstance(v, (str, bytes)):
        return struct.pack(f"<{len(v)}f", *v)
    return v.item() if hasattr(v, "item") else v


def by_pyarrow(path):
    table = pq.read_table(path, page_checksum_verification=True)
    return {name: table[name].to_pylist() for name in table.column_names}


def by_duckdb(path):
    got = duckdb.sql(f"select * from read_parquet('{path}')")
    return dict(zip(got.columns, map(list, zip(*got.fetchall())))) if len(got) else {c: [] for c in got.columns}


def by_polars(path):
    return polars.read_parquet(path).to_dict(as_series=False)


def by_polars_lazily(path):
    return polars.scan_parquet(path).collect(engine="streaming").to_dict(as_series=False)


def by_fastparquet(path, columns=None):
    frame = fastparquet.ParquetFile(str(path)).to_pandas(columns=columns)
    return {name: list(frame[name]) for name in frame.columns}


READERS = [by_duckdb, by_polars, by_polars_lazily]


def compare(path, reader, got, want):
    assert list(got) == list(want), (path, reader.__name__, list(got))
    for name in want:
        a, b = [same(v) for v in got[name]], [same(v) for v in want[name]]
        at = next((i for i in range(max(len(a), len(b))) if a[i:i + 1] != b[i:i + 1] or type(a[i]) is not type(b[i])), None)
        assert at is None, (path, reader.__name__, name, at, a[at:at + 1], b[at:at + 1])


def check(path, split):
    want = by_pyarrow(path)
    for reader in READERS:
        compare(path, reader, reader(path), want)
    if not split:
        compare(path, by_fastparquet, by_fastparquet(path), want)
        return
    try:
        by_fastparquet(path)
    except NotImplementedError as e:
        assert NO_SPLIT in str(e), e
    else:
        raise AssertionError("fastparquet reads BYTE_STREAM_SPLIT by now: README.md should say so")
    others = [c for c in want if c != "vector"]
    compare(path, by_fastparquet, by_fastparquet(path, others), {c: want[c] for c in others})


def capture(folder, case, name):
    """Every combination of layout, encoding and token strings; counts files and rows."""
    files = rows = windows = 0
    work = make_workspace(folder / name, case)
    for layout in ("branch", "prefix"):
        for way in ("byte_stream_split", "plain"):
            for tokens in ("true", "false"):
                root = f"{layout}-{way}-{tokens}"
                done = run(work, f"output.data_root={root}", f"output.layout={layout}", f"output.vector_encoding={way}",
                           f"capture.capture_token_strings={tokens}")
                assert done.returncode == 0, done.stderr
                for path in sorted((work / root / "final").rglob("data.parquet")):
                    check(path, way != "plain")
                    table = pq.read_table(path)
                    assert ("token_str" in table.column_names) == (tokens == "true")
                    windows += len(table) - table["sliding_window"].null_count
                    files, rows = files + 1, rows + len(table)
                examples = list((work / root / "final").rglob("examples.parquet"))
                assert len(examples) == 1
                check(examples[0], False)
    return files, rows, windows


def full_attention(folder):
    files, rows, windows = capture(folder, CASE, "full")
    assert rows and windows == 0
    return f"{files} files, {rows} rows, no window"


def sliding_windows(folder):
    case = shared("golden/capture/case3_gemma3_windows")
    if not case.is_dir():
        return f"SKIPPED: {case} is not there"
    files, rows, windows = capture(folder, case, "windows")
    assert 0 < windows < rows, "there should be layers of both kinds"
    return f"{files} files, {rows} rows, {windows} with a window"


def many_row_groups_and_pages(folder):
    """Nulls, booleans, 64-bit numbers, NaN, dictionaries that do not pay; no rows at all."""
    sizes = [(0, 700), (1, 700), (699, 700), (3000, 700), (120_000, 100_000)]
    for rows, group in sizes:
        for way in ("split", "plain"):
            check(parquet_sample(folder, rows, way, group), way == "split" and rows)
    return f"{len(sizes)} sizes, both encodings"


if __name__ == "__main__":
    print("pyarrow", pq.core.pa.__version__, "DuckDB", duckdb.__version__, "Polars", polars.__version__, "fastparquet", fastparquet.__version__)
    sys.exit(main("readers alike", [full_attention, sliding_windows, many_row_groups_and_pages]))
