#!/usr/bin/env python3
"""Parquet against pyarrow on one thread, both programs in turn: reading the text column of a file of 1 GB, and writing vectors.

usage: parquet.py text [ROUNDS] [MEGABYTES]      makes the files in build/bench and removes them
       parquet.py memory                         the same column in files of many row groups, and of one huge page
       parquet.py vectors FOLDER [ROUNDS]        FOLDER: final/ of a capture; files go to /dev/shm, so no disk is measured

Reading: wall time, and CPU time for a busy machine, from opening the file to its last row, the file in the system's cache. pyarrow reads the same column by
iter_batches and by row groups, whichever is faster. Peak memory is the process's largest resident set, the mapped file included.
Writing: from columns in memory to the closed file. pyarrow: zstd level 3 with its default encoding and with BYTE_STREAM_SPLIT.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "build/cpu/tests/bench"


def show(name, values, unit="MB/s"):
    print(f"{name:34} {statistics.median(values):9.1f} {unit} ({min(values):.1f} to {max(values):.1f})", flush=True)


def say(args):
    return json.loads(subprocess.check_output([str(a) for a in args]))


# ---- reading ----

def words(r, n):
    """n bytes of made-up text: 30,000 words with Zipf's frequencies, sentences and paragraphs."""
    import numpy as np
    syllables = [c + v + e for c in "b c d f g h l m n p r s t w st tr th sh".split() for v in "aeiou" for e in ("", "n", "r", "s", "t")]
    vocabulary = ["".join(r.choice(syllables, 1 + r.integers(3))) for _ in range(30000)]
    vocabulary[7], vocabulary[900] = "naïve", "“déjà”"
    rank = (r.zipf(1.25, n // 5) - 1) % len(vocabulary)
    end = r.random(len(rank))
    return " ".join(vocabulary[k] + (".\n\n" if e < .01 else "." if e < .07 else "," if e < .12 else "") for k, e in zip(rank, end))


def make_text_file(path, codec, megabytes):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    r = np.random.default_rng(7)
    pool = words(r, 48 << 20)
    schema = pa.schema([("id", pa.int64()), ("url", pa.string()), ("text", pa.string()), ("score", pa.float64()),
                        ("date", pa.timestamp("us")), ("tags", pa.list_(pa.string()))])
    with pq.ParquetWriter(path, schema, compression=codec) as w:
        n = 0
        while path.stat().st_size < megabytes * 1e6:
            rows = 10000
            size = np.minimum(r.lognormal(7.6, 1, rows).astype(int) + 20, 200000)
            at = r.integers(0, len(pool) - 200001, rows)
            texts = [None if k % 997 == 3 else pool[a:a + s] for k, (a, s) in enumerate(zip(at, size))]
            urls = [f"https://example.org/{k * 7919 % 100003}/{k}" for k in range(n, n + rows)]
            w.write_table(pa.table([range(n, n + rows), urls, texts, r.random(rows), np.arange(rows), [["a", "b"]] * rows], schema))
            n += rows


PYARROW_READ = """
import json, sys, time
import pyarrow as pa, pyarrow.parquet as pq
pa.set_cpu_count(1); pa.set_io_thread_count(1)
way, path = sys.argv[1:]
begin, cpu = time.perf_counter(), time.process_time()
f = pq.ParquetFile(path)
sizes = rows = 0
if way == 'batches':
    parts = (b.column(0) for b in f.iter_batches(batch_size=1024, columns=['text'], use_threads=False))
else:
    parts = (c for g in range(f.num_row_groups) for c in f.read_row_group(g, columns=['text'], use_threads=False).column(0).chunks)
for part in parts:
    rows += len(part)
    offsets = part.buffers()[1]
    first, last = (int.from_bytes(offsets[4 * k:4 * k + 4].to_pybytes(), 'little') for k in (part.offset, part.offset + len(part)))
    sizes += last - first
seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM:'))
print(json.dumps({'rows': rows, 'bytes': sizes, 'seconds': seconds, 'cpu': cpu, 'peak_kb': peak}))
"""


def text(rounds, megabytes):
    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    for codec in ("zstd", "snappy"):
        path = folder / f"text-{codec}.parquet"
        try:
            make_text_file(path, codec, megabytes)
            compare_reading(path, codec, rounds)
        finally:
            path.unlink(missing_ok=True)


def compare_reading(path, codec, rounds):
    ways = {"qkengine": [PROGRAMS / "parquet_text", path, "text"]}
    ways |= {f"pyarrow {w}": [sys.executable, "-c", PYARROW_READ, w, path] for w in ("batches", "groups")}
    speeds, busy, peaks, totals = {w: [] for w in ways}, {w: [] for w in ways}, {w: 0 for w in ways}, set()
    for _ in range(rounds):
        for way, args in ways.items():
            said = say(args)
            totals.add((said["rows"], said["bytes"]))
            speeds[way].append(said["bytes"] / said["seconds"] / 1e6)
            busy[way].append(said["bytes"] / said["cpu"] / 1e6)
            peaks[way] = max(peaks[way], said["peak_kb"] * 1024)
    assert len(totals) == 1, totals
    rows, size = totals.pop()
    print(f"{codec}: a file of {path.stat().st_size / 1e6:.0f} MB, {rows} rows, {size / 1e6:.0f} MB of text")
    for way in ways:
        show(f"  {way}, peak {peaks[way] / 1e6:.1f} MB", speeds[way])
        show("    by CPU time", busy[way])


def memory():
    """Peak memory by the number of row groups and by the size of the only page."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "memory.parquet"
    pool = words(np.random.default_rng(7), 8 << 20)

    def measure(what, texts, **options):
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, **options)
        said = say([PROGRAMS / "parquet_text", path, "text"])
        assert said["rows"] == len(texts) and said["bytes"] == sum(len(t.encode()) for t in texts)
        f = pq.ParquetFile(path)
        print(f"{what:26} {path.stat().st_size / 1e6:7.1f} MB, footer {f.metadata.serialized_size / 1e6:5.2f} MB, "
              f"{said['bytes'] / 1e6:6.1f} MB of text: peak {said['peak_kb'] / 1e3:6.1f} MB", flush=True)
    try:
        for groups in (200, 2000, 20000):
            texts = [pool[k * 977 % 8000000:k * 977 % 8000000 + 2000] for k in range(groups * 10)]   # min and max of each group: a large footer
            measure(f"{groups} row groups", texts, row_group_size=10, compression="snappy")
        for megabytes in (1, 10, 100, 400):
            texts = [pool[k * 977 % 8000000:k * 977 % 8000000 + 2000] for k in range(megabytes * 500)]
            for codec in ("zstd", "none"):
                measure(f"one page, {codec}", texts, compression=codec, use_dictionary=False, data_page_size=2 << 30, write_batch_size=1 << 30,
                        max_rows_per_page=1 << 30)
    finally:
        path.unlink(missing_ok=True)


# ---- writing ----

def load_rows(folder, path):
    """The rows of all heads in one file, without token strings."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    files = sorted(pathlib.Path(folder).rglob("l*/data.parquet"))
    columns = ["bucket", "example_id", "position", "vector", "sliding_window"]
    table = pa.concat_tables(pq.read_table(f, columns=columns) for f in files).combine_chunks().replace_schema_metadata()
    pq.write_table(table, path, compression="none", use_dictionary=False)
    return table


def vectors(folder, rounds):
    import pyarrow as pa
    import pyarrow.parquet as pq
    pa.set_cpu_count(1)
    shm = pathlib.Path("/dev/shm") / f"parquet-bench-{os.getpid()}"
    shm.mkdir()
    try:
        table = load_rows(folder, shm / "rows.parquet")
        raw = table.num_rows * 4 * table.schema.field("vector").type.list_size
        print(f"{table.num_rows} rows of {table.schema.field('vector').type.list_size} floats, {raw / 1e6:.1f} MB of vectors")
        ints = ["bucket", "example_id", "position", "sliding_window"]
        options = {"default": {}, "split": {"use_dictionary": ints, "use_byte_stream_split": ["vector.list.element"]},
                   "no dictionary": {"use_dictionary": ints},
                   "split, delta": {"use_dictionary": ["bucket", "sliding_window"], "data_page_version": "2.0", "column_encoding": {
                       "vector.list.element": "BYTE_STREAM_SPLIT", "example_id": "DELTA_BINARY_PACKED",
                       "position": "DELTA_BINARY_PACKED"}}}
        speeds, busy, sizes = {}, {}, {}

        def note(name, seconds, cpu, size):
            speeds.setdefault(name, []).append(raw / seconds / 1e6)
            busy.setdefault(name, []).append(raw / cpu / 1e6)
            sizes.setdefault(name, set()).add(size)
        for _ in range(rounds):
            for way in ("split", "plain"):
                said = say([PROGRAMS / "parquet_vectors", shm / "rows.parquet", shm / "ours.parquet", way])
                note(f"qkengine {way}", said["seconds"], said["cpu"], said["bytes"])
                assert pq.read_table(shm / "ours.parquet")["vector"].combine_chunks().flatten().equals(table["vector"].combine_chunks().flatten())
            for way, more in options.items():
                begin, cpu = time.perf_counter(), time.process_time()
                pq.write_table(table, shm / "theirs.parquet", compression="zstd", compression_level=3, **more)
                note(f"pyarrow {way}", time.perf_counter() - begin, time.process_time() - cpu, (shm / "theirs.parquet").stat().st_size)
        for name in speeds:
            assert len(sizes[name]) == 1, sizes
            size = sizes[name].pop()
            show(f"  {name}, {size} bytes ({size / raw:.3f})", speeds[name])
            show("    by CPU time", busy[name])
    finally:
        for p in shm.iterdir():
            p.unlink()
        shm.rmdir()


if __name__ == "__main__":
    if sys.argv[1:2] == ["text"]:
        text(int(sys.argv[2]) if len(sys.argv) > 2 else 5, float(sys.argv[3]) if len(sys.argv) > 3 else 1000)
    elif sys.argv[1:2] == ["memory"]:
        memory()
    elif sys.argv[1:2] == ["vectors"]:
        vectors(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 5)
    else:
        sys.exit(__doc__)
